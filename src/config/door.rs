//! What stands before a service's protocols: its certificates, the redirect to HTTPS, and the proxies it trusts.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ipnet::IpNet;

use super::addresses::network;
use super::certificates::{Certificate, CertificateError, expiry_notice};
use super::errors::{Mark, Problem};
use super::keys;
use super::model::{ServiceKind, TlsFiles};
use super::resolve::Walk;
use super::scalars::{boolean, path};
use super::section::Section;
use super::tree::Node;

const CRT: &str = "tls_crt_file";
const KEY: &str = "tls_key_file";
const CERTIFICATES: &str = "certificates";
const REDIRECT: &str = "redirect_https";
const TRUSTED: &str = "trusted_proxies";

/// The settings of one service.
#[derive(Default)]
pub(super) struct Door {
    pub(super) certificates: Vec<TlsFiles>,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) redirect_https: bool,
}

/// Reads them from a `net` section.
pub(super) fn read(kind: ServiceKind, net: Section<'_>, walk: &mut Walk<'_>) -> Door {
    if kind == ServiceKind::Udp {
        let keys = [CRT, KEY, CERTIFICATES, REDIRECT, TRUSTED];
        for entry in keys.iter().filter_map(|key| net.entry(key)) {
            let text = format!("`{}` does nothing for `proto: udp`", entry.key.text);
            walk.sink.warn(entry.key.mark, text);
        }
        return Door::default();
    }
    let first = pair(net, CRT, KEY, walk);
    let more = net.items(CERTIFICATES, walk.sink);
    let more = more.iter().filter_map(|item| certificate(item, walk));
    let certificates: Vec<TlsFiles> = first.into_iter().chain(more).collect();
    Door {
        certificates,
        trusted_proxies: net.list(TRUSTED, walk.sink, network),
        redirect_https: net.value(REDIRECT, walk.sink, boolean).unwrap_or(false),
    }
}

fn certificate(item: &Node, walk: &mut Walk<'_>) -> Option<TlsFiles> {
    let section = Section::of(item.mark, item, keys::CERTIFICATE, walk.sink);
    for key in ["crt", "key"] {
        section.required(key, keys::CERTIFICATE, walk.sink, || {
            format!("this item of `{CERTIFICATES}`")
        });
    }
    pair(section, "crt", "key", walk)
}

/// A certificate and its key, under these keys of a section; both or neither.
fn pair(
    section: Section<'_>,
    crt_key: &'static str,
    key_key: &'static str,
    walk: &mut Walk<'_>,
) -> Option<TlsFiles> {
    let mut file = |key| section.value(key, walk.sink, |node| existing_file(node, walk.base));
    let (crt, key) = (file(crt_key), file(key_key));
    let half = match (section.entry(crt_key), section.entry(key_key)) {
        (Some(entry), None) => Some((entry, crt_key, key_key)),
        (None, Some(entry)) => Some((entry, key_key, crt_key)),
        (Some(_), Some(_)) | (None, None) => None,
    };
    // Items of `certificates` have been told what they lack.
    if let Some((entry, given, missing)) = half.filter(|(_, given, _)| [CRT, KEY].contains(given)) {
        walk.sink
            .error(entry.key.mark, Problem::HalfPair { given, missing });
    }
    walk.secrets.extend(key.clone());
    let files = TlsFiles { crt: crt?, key: key? };
    let mark = |key| {
        section
            .entry(key)
            .map_or_else(Mark::default, |entry| entry.value.mark)
    };
    match Certificate::load(&files) {
        Ok(certificate) => {
            let notice = expiry_notice(&files.crt, certificate.expires, SystemTime::now());
            if let Some(text) = notice {
                walk.sink.warn(mark(crt_key), text);
            }
        }
        Err(error) => {
            let mark = match error {
                CertificateError::Crt { .. } => mark(crt_key),
                CertificateError::Key { .. } | CertificateError::Mismatch { .. } => mark(key_key),
            };
            walk.sink.error(mark, error.into());
        }
    }
    Some(files)
}

fn existing_file(node: &Node, base: &Path) -> Result<PathBuf, Problem> {
    let file = path(node, base)?;
    if file.is_file() {
        Ok(file)
    } else {
        Err(Problem::NoSuchFile(file.display().to_string()))
    }
}
