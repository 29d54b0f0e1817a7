//! What a group of servers is made of: its servers, the choice among them, their health checks, their certificates.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::addresses::{certificate_name, url};
use super::certificates::load_roots;
use super::errors::{Problem, Sink};
use super::hints;
use super::keys;
use super::model::{Balance, HashBy, HealthCheck, Server, UpstreamTls};
use super::routes::url_path;
use super::scalars::{self, boolean, choice, duration, integer, text, unexpected};
use super::section::Section;
use super::tree::{Node, Value};

const MAX_WEIGHT: usize = 1_000;
const MAX_FAILS: usize = 1_000_000;
/// No wait may be none.
const LEAST: Duration = Duration::from_millis(1);

#[derive(Clone, Copy)]
enum Mode {
    RoundRobin,
    Random,
    LeastConn,
    Hash,
}

const MODES: &[(&str, Mode)] = &[
    ("rr", Mode::RoundRobin),
    ("random", Mode::Random),
    ("least_conn", Mode::LeastConn),
    ("hash", Mode::Hash),
];

/// `mode` and `hash`.
pub(super) fn mode(service: Section<'_>, sink: &mut Sink) -> Balance {
    let by = service.value("hash", sink, hash_by);
    let written = service.value("mode", sink, |node| choice(node, MODES));
    let mode = match written.unwrap_or(Mode::RoundRobin) {
        Mode::RoundRobin => Balance::RoundRobin,
        Mode::Random => Balance::Random,
        Mode::LeastConn => Balance::LeastConn,
        Mode::Hash => return Balance::Hash(by.unwrap_or(HashBy::ClientIp)),
    };
    if let Some(entry) = service.entry("hash") {
        sink.warn(
            entry.key.mark,
            "`hash` does nothing without `mode: hash`".to_owned(),
        );
    }
    mode
}

/// `tls`.
pub(super) fn tls(service: Section<'_>, base: &Path, sink: &mut Sink) -> UpstreamTls {
    let section = service.section("tls", keys::UPSTREAM_TLS, sink);
    let tls = UpstreamTls {
        ca: section.value("ca", sink, |node| roots(node, base)),
        server_name: section.value("server_name", sink, certificate_name),
        insecure: section.value("insecure", sink, boolean).unwrap_or(false),
    };
    if let Some(entry) = section.entry("insecure").filter(|_| tls.insecure) {
        let text = "`insecure`: whoever is on the way to these servers can read and change what is sent";
        sink.warn(entry.key.mark, text.to_owned());
    }
    tls
}

fn roots(node: &Node, base: &Path) -> Result<PathBuf, Problem> {
    let file = scalars::path(node, base)?;
    load_roots(&file)?;
    Ok(file)
}

/// `ip`, `header NAME` or `cookie NAME`.
fn hash_by(node: &Node) -> Result<HashBy, Problem> {
    const EXPECTED: &str = "`ip`, `header NAME` or `cookie NAME`";
    // A token of RFC 9110 section 5.6.2, as names of headers and cookies are.
    let token = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let parsed = match text(node, EXPECTED)?.split_once(' ') {
        None => node.is_text("ip").then_some(HashBy::ClientIp),
        Some(("header", name)) if token(name) => Some(HashBy::Header(name.to_ascii_lowercase())),
        Some(("cookie", name)) if token(name) => Some(HashBy::Cookie(name.to_owned())),
        Some(_) => None,
    };
    parsed.ok_or_else(|| unexpected(EXPECTED, node))
}

/// An item of `servers`: a URL, or a section with a URL.
pub(super) fn server(item: &Node, sink: &mut Sink) -> Option<Server> {
    if !matches!(item.value, Value::Section(_)) {
        return sink.check(item.mark, server_url(item));
    }
    let section = Section::of(item.mark, item, keys::SERVER, sink);
    section.required("url", keys::SERVER, sink, || "this server".to_owned());
    let server = section.value("url", sink, server_url);
    let number = |key, range, sink: &mut Sink| {
        let number = section.value(key, sink, |node| integer(node, range));
        number.and_then(|number| u32::try_from(number).ok())
    };
    let weight = number("weight", 1..=MAX_WEIGHT, sink);
    let max_fails = number("max_fails", 0..=MAX_FAILS, sink);
    let backup = section.value("backup", sink, boolean);
    let fail_timeout = section.value("fail_timeout", sink, |node| duration(node, LEAST));
    let server = server?;
    Some(Server {
        weight: weight.unwrap_or(server.weight),
        backup: backup.unwrap_or(server.backup),
        max_fails: max_fails.unwrap_or(server.max_fails),
        fail_timeout: fail_timeout.unwrap_or(server.fail_timeout),
        ..server
    })
}

fn server_url(node: &Node) -> Result<Server, Problem> {
    const EXPECTED: &str = "a server like `http://host:port` (http, https, ws or wss; no path)";
    let server = url(node, EXPECTED).and_then(|url| url.server().ok_or_else(|| unexpected(EXPECTED, node)));
    server.map_err(|problem| problem.meaning(hints::server(node)))
}

/// `health:`; leaving it empty asks for checks with every default.
pub(super) fn health(service: Section<'_>, sink: &mut Sink) -> Option<HealthCheck> {
    service.entry("health")?;
    let section = service.section("health", keys::HEALTH, sink);
    let mut wait = |key, default| {
        section
            .value(key, sink, |node| duration(node, LEAST))
            .unwrap_or(default)
    };
    let interval = wait("interval", Duration::from_secs(5));
    let timeout = wait("timeout", Duration::from_secs(2));
    Some(HealthCheck {
        path: section
            .value("path", sink, path)
            .unwrap_or_else(|| "/".to_owned()),
        interval,
        timeout,
        expect: section.value("expect", sink, statuses).unwrap_or(200..=399),
    })
}

fn path(node: &Node) -> Result<String, Problem> {
    const EXPECTED: &str = "a path like `/health`";
    let written = text(node, EXPECTED)?;
    let (path, query) = match written.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (written, None),
    };
    let visible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let valid = url_path(path).is_some() && query.is_none_or(visible);
    valid
        .then(|| written.to_owned())
        .ok_or_else(|| unexpected(EXPECTED, node))
}

/// `200`, or `200-299`.
fn statuses(node: &Node) -> Result<RangeInclusive<u16>, Problem> {
    const EXPECTED: &str = "a status like `200`, or a range like `200-299`";
    let written = text(node, EXPECTED)?;
    let (low, high) = written.split_once('-').unwrap_or((written, written));
    let status = |digits: &str| digits.parse().ok().filter(|status| (100..=599).contains(status));
    status(low)
        .zip(status(high))
        .map(|(low, high)| low..=high)
        .filter(|range| !range.is_empty())
        .ok_or_else(|| unexpected(EXPECTED, node))
}
