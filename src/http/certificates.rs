//! The certificates of a service: which one a client gets, and how they follow their files.
//!
//! Files are looked at by name every few seconds, so that a certificate that is written in place, renamed into place
//! or swapped behind a symlink is noticed the same way. A change counts when it has come to rest: a certificate and
//! its key are written one after the other. What cannot be used leaves in place what was there.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::sleep;

use crate::config::{Certificate, CertificateError, TlsFiles};

use super::counters::Counters;

/// All certificates of a service.
#[derive(Debug)]
pub(super) struct Certificates {
    files: Vec<TlsFiles>,
    /// What the files looked like before they were first read.
    stamps: Vec<Stamp>,
    current: ArcSwap<Table>,
}

/// As they were read last.
#[derive(Debug)]
struct Table {
    certificates: Vec<Certificate>,
    /// Indices into `certificates`, in their order.
    by_name: HashMap<String, Vec<usize>>,
}

/// What a file looked like: device, inode, length, and time of change in seconds and nanoseconds.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Certificates {
    /// # Errors
    /// The first pair that is of no use.
    pub(super) fn load(files: &[TlsFiles]) -> Result<Self, CertificateError> {
        let stamps = stamps(files);
        let certificates = files.iter().map(Certificate::load).collect::<Result<_, _>>()?;
        Ok(Self {
            files: files.to_vec(),
            stamps,
            current: ArcSwap::from_pointee(Table::new(certificates)),
        })
    }

    /// The files that are in use now, with the ends of what is in them.
    pub(super) fn expiries(&self) -> Vec<(PathBuf, Option<SystemTime>)> {
        let now = self.current.load();
        let files = self.files.iter().zip(&now.certificates);
        files
            .map(|(files, certificate)| (files.crt.clone(), certificate.expires))
            .collect()
    }

    /// Follows the files until `self` is gone.
    pub(super) fn watch(self: &Arc<Self>, poll: Duration, counters: Arc<Counters>) {
        tokio::spawn(follow(Arc::downgrade(self), self.stamps.clone(), poll, counters));
    }

    fn reload(&self, counters: &Counters) {
        let before = self.current.load();
        let renewed = |(files, old): (&TlsFiles, &Certificate)| match Certificate::load(files) {
            Ok(new) if new.key.cert == old.key.cert => old.clone(),
            Ok(new) => {
                counters.certificates_reloaded.add();
                tracing::info!(file = %files.crt.display(), "a new certificate");
                new
            }
            Err(error) => {
                counters.certificates_refused.add();
                tracing::warn!(%error, "the changed certificate cannot be used; the one before it stays");
                old.clone()
            }
        };
        let certificates = self.files.iter().zip(&before.certificates).map(renewed).collect();
        self.current.store(Arc::new(Table::new(certificates)));
    }
}

async fn follow(
    certificates: Weak<Certificates>,
    mut known: Vec<Stamp>,
    poll: Duration,
    counters: Arc<Counters>,
) {
    let mut last = known.clone();
    loop {
        sleep(poll).await;
        let Some(certificates) = certificates.upgrade() else {
            return;
        };
        let (seen_before, already_known, counters) = (last, known.clone(), counters.clone());
        let look = move || {
            let now = stamps(&certificates.files);
            let at_rest = now == seen_before;
            if at_rest && now != already_known {
                certificates.reload(&counters);
            }
            (now, at_rest)
        };
        let Ok((now, at_rest)) = tokio::task::spawn_blocking(look).await else {
            return;
        };
        if at_rest {
            known.clone_from(&now);
        }
        last = now;
    }
}

fn stamps(files: &[TlsFiles]) -> Vec<Stamp> {
    files
        .iter()
        .flat_map(|files| [stamp(&files.crt), stamp(&files.key)])
        .collect()
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((
        meta.dev(),
        meta.ino(),
        meta.len(),
        meta.ctime(),
        meta.ctime_nsec(),
    ))
}

impl Table {
    fn new(certificates: Vec<Certificate>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, certificate) in certificates.iter().enumerate() {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_default().push(index);
            }
        }
        Self {
            certificates,
            by_name,
        }
    }

    /// The certificates for a name, best first: for itself, for a wildcard in its first label's place, the default.
    fn candidates(&self, name: Option<&str>) -> impl Iterator<Item = &Certificate> {
        let name = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let wildcard = name
            .as_deref()
            .and_then(|name| name.split_once('.'))
            .map(|(_, rest)| format!("*.{rest}"));
        let found = [name, wildcard]
            .into_iter()
            .flatten()
            .filter_map(|name| self.by_name.get(&name));
        let found = found.flatten().filter_map(|&index| self.certificates.get(index));
        found.chain(self.certificates.first())
    }
}

impl ResolvesServerCert for Certificates {
    /// The best one that the client can verify: a name may have an RSA and an ECDSA certificate. If there is none, the
    /// handshake is left to fail for its own reason.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.current.load();
        let schemes = hello.signature_schemes();
        let fits = |certificate: &&Certificate| certificate.key.key.choose_scheme(schemes).is_some();
        let mut candidates = table.candidates(hello.server_name());
        let chosen = candidates.find(fits).or_else(|| table.certificates.first())?;
        Some(chosen.key.clone())
    }
}
