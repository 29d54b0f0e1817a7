//! A listening service: `proto: http`, `tcp` or `udp`.

use super::addresses::{candidate, listen};
use super::door;
use super::errors::{Problem, Sink};
use super::keys;
use super::limits;
use super::model::{CandidateHost, CandidateIps, Http, ListenAddr, Service, ServiceKind};
use super::resolve::Walk;
use super::routes;
use super::scalars::{boolean, integer};
use super::section::Section;
use super::tree::{Entry, Key, Node, Value, short};

const MAX_CONNECTIONS: usize = 10_000_000;
const DEFAULT_CONNECTIONS: usize = 16_384;

/// Reads a service and claims its address.
pub(super) fn service(name: &Key, kind: ServiceKind, section: Section<'_>, walk: &mut Walk<'_>) -> Service {
    let net = section.section("net", keys::NET, walk.sink);
    let addr = addr(name, kind, net, walk);
    let door = door::read(kind, net, walk);
    let enable_ice = net.value("enable_ice", walk.sink, boolean).unwrap_or(false);
    if let Some(entry) = net
        .entry("enable_ice")
        .filter(|_| enable_ice && kind == ServiceKind::Http)
    {
        let problem = Problem::NotForProto {
            key: "enable_ice",
            proto: kind.as_str(),
        };
        walk.sink.error(entry.key.mark, problem);
    }
    let candidate_ips = candidate_ips(net, enable_ice, walk.sink);
    let max_connections = max_connections(kind, net, walk.sink);
    not_for_udp("per_network", kind, net, walk.sink);
    let per_network = limits::network_connections(net, walk.sink);
    let http = http(name, kind, section, walk).map(|http| Http {
        service: name.text.clone(),
        trusted_proxies: door.trusted_proxies.clone(),
        ..http
    });
    if kind != ServiceKind::Http && !enable_ice && http.is_none() {
        let text = format!(
            "service `{}` has neither `enable_ice` nor HTTP: it refuses all",
            short(&name.text)
        );
        walk.sink.warn(name.mark, text);
    }
    Service {
        name: name.text.clone(),
        kind,
        addr,
        certificates: door.certificates,
        trusted_proxies: door.trusted_proxies,
        redirect_https: door.redirect_https,
        enable_ice,
        candidate_ips,
        max_connections,
        per_network,
        http,
    }
}

fn max_connections(kind: ServiceKind, net: Section<'_>, sink: &mut Sink) -> usize {
    const KEY: &str = "max_connections";
    let written = net.value(KEY, sink, |node| integer(node, 1..=MAX_CONNECTIONS));
    not_for_udp(KEY, kind, net, sink);
    written.unwrap_or(DEFAULT_CONNECTIONS)
}

/// Refuses a key that is about connections, of which `udp` has none.
fn not_for_udp(key: &'static str, kind: ServiceKind, net: Section<'_>, sink: &mut Sink) {
    if let Some(entry) = net.entry(key).filter(|_| kind == ServiceKind::Udp) {
        let proto = kind.as_str();
        sink.error(entry.key.mark, Problem::NotForProto { key, proto });
    }
}

fn addr(name: &Key, kind: ServiceKind, net: Section<'_>, walk: &mut Walk<'_>) -> ListenAddr {
    let what = format!("service `{}`", short(&name.text));
    let nowhere = ListenAddr { ip: None, port: 0 };
    let entry = net.required("addr", keys::NET, walk.sink, || format!("`net` of {what}"));
    let Some(entry) = entry else { return nowhere };
    let Some(addr) = net.value("addr", walk.sink, listen) else {
        return nowhere;
    };
    walk.listeners
        .claim(kind.transport(), addr, what, entry.value.mark, walk.sink);
    addr
}

fn candidate_ips(net: Section<'_>, enable_ice: bool, sink: &mut Sink) -> CandidateIps {
    let hosts = match net.entry("candidate_ips").map(|entry| &entry.value) {
        // A single one needs no list.
        Some(
            node @ Node {
                value: Value::Scalar(_),
                ..
            },
        ) => sink.check(node.mark, candidate(node)).into_iter().collect(),
        _ => net.list("candidate_ips", sink, candidate),
    };
    if let Some(entry) = net
        .entry("candidate_ips")
        .filter(|_| !enable_ice && !hosts.is_empty())
    {
        sink.warn(
            entry.key.mark,
            "`candidate_ips` does nothing without `enable_ice: true`".to_owned(),
        );
    }
    if hosts.iter().all(|host| *host == CandidateHost::Auto) {
        CandidateIps::Auto
    } else {
        CandidateIps::List(hosts)
    }
}

/// The `http:` section is checked even where `enable_http` leaves it unused.
fn http(name: &Key, kind: ServiceKind, section: Section<'_>, walk: &mut Walk<'_>) -> Option<Http> {
    let enabled = section.value("enable_http", walk.sink, boolean);
    let refuse = |key: &'static str, walk: &mut Walk<'_>| {
        if let Some(entry) = section.entry(key) {
            let problem = Problem::NotForProto {
                key,
                proto: kind.as_str(),
            };
            walk.sink.error(entry.key.mark, problem);
        }
    };
    let wanted = match kind {
        ServiceKind::Http => {
            if enabled == Some(false) {
                refuse("enable_http", walk);
            }
            true
        }
        ServiceKind::Tcp => enabled.unwrap_or(false),
        ServiceKind::Udp => {
            if enabled == Some(true) {
                refuse("enable_http", walk);
            }
            refuse("http", walk);
            return None;
        }
    };
    let http = routes::http(name, section.section("http", keys::HTTP, walk.sink), walk);
    if let Some(Entry { key, .. }) = section.entry("http").filter(|_| !wanted) {
        walk.sink.warn(
            key.mark,
            "`http` does nothing without `enable_http: true`".to_owned(),
        );
    }
    wanted.then_some(http)
}
