//! The file as a whole: services and upstreams in two passes, since a route may name a group that comes after it.
//!
//! Every part is walked even after a mistake, with a stand-in for what is missing: the result counts only if the sink
//! stays empty.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ice::RouteId;

use super::addresses::{listen, ports};
use super::errors::{Mark, Problem, Sink};
use super::keys;
use super::listeners::Listeners;
use super::model::{Config, Global, ServiceKind};
use super::scalars::{choice, duration, integer, name, path, unexpected};
use super::section::Section;
use super::services;
use super::tree::{Entry, Key, Node, short};
use super::upstreams::{MAX_SESSIONS, Upstreams};

const MAX_THREADS: usize = 1024;

/// The value of `proto`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proto {
    Listen(ServiceKind),
    Upstream,
}

const PROTOS: &[(&str, Proto)] = &[
    ("http", Proto::Listen(ServiceKind::Http)),
    ("tcp", Proto::Listen(ServiceKind::Tcp)),
    ("udp", Proto::Listen(ServiceKind::Udp)),
    ("upstream", Proto::Upstream),
];

/// What the walk over the services knows.
pub(super) struct Walk<'a> {
    pub(super) base: &'a Path,
    pub(super) sink: &'a mut Sink,
    pub(super) upstreams: Upstreams,
    pub(super) listeners: Listeners,
    /// Each `root`, and where it stands.
    pub(super) roots: Vec<(PathBuf, Mark)>,
    /// Private keys, where the daemon keeps its own, and access logs.
    pub(super) secrets: Vec<PathBuf>,
    /// `service/tag` by id.
    ids: HashMap<RouteId, String>,
}

impl Walk<'_> {
    /// Takes an id for a route: it is sealed into tokens, so no two may share one.
    pub(super) fn claim_id(&mut self, service: &Key, tag: &Key, id: RouteId) {
        let path = format!("`{}/{}`", short(&service.text), short(&tag.text));
        if let Some(other) = self.ids.insert(id, path) {
            self.sink.error(
                tag.mark,
                Problem::RouteIdTaken {
                    tag: short(&tag.text),
                    other,
                },
            );
        }
    }

    /// Static files are for everyone: no `root` may contain a secret.
    fn check_roots(&mut self) {
        let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let secrets: Vec<PathBuf> = self.secrets.iter().map(real).collect();
        for (root, mark) in &self.roots {
            let root = real(root);
            if let Some(secret) = secrets.iter().find(|secret| secret.starts_with(&root)) {
                self.sink
                    .error(*mark, Problem::SecretInRoot(secret.display().to_string()));
            }
        }
    }
}

/// Resolves the whole file. What is wrong goes to the sink; then the result means nothing.
pub(super) fn config(root: &Node, base: &Path, sink: &mut Sink) -> Config {
    let top = Section::of(root.mark, root, keys::TOP, sink);
    let services = services(top, sink);
    let mut walk = Walk {
        base,
        sink,
        upstreams: Upstreams::default(),
        listeners: Listeners::default(),
        roots: Vec::new(),
        secrets: Vec::new(),
        ids: HashMap::new(),
    };
    let mut listening = Vec::new();
    for (key, proto, section) in services {
        match proto {
            Proto::Upstream => walk.upstreams.declare(key, section, walk.base, walk.sink),
            Proto::Listen(kind) => listening.push((key, kind, section)),
        }
    }
    let services = listening
        .into_iter()
        .map(|(key, kind, section)| services::service(key, kind, section, &mut walk));
    let services = services.collect();
    let global = global(top, &mut walk);
    walk.check_roots();
    let upstreams = walk.upstreams.into_groups();
    let warnings = sink.take_warnings();
    Config {
        services,
        upstreams,
        global,
        warnings,
    }
}

fn services<'t>(top: Section<'t>, sink: &mut Sink) -> Vec<(&'t Key, Proto, Section<'t>)> {
    let entry = top.required("services", keys::TOP, sink, || "the file".to_owned());
    let Some(Entry { key, value }) = entry else {
        return Vec::new();
    };
    let all = Section::open(key.mark, value, sink);
    if all.entries.is_empty() && sink.is_empty() {
        sink.error(key.mark, unexpected("at least one service", value));
    }
    all.entries.iter().map(|entry| service(entry, sink)).collect()
}

fn service<'t>(Entry { key, value }: &'t Entry, sink: &mut Sink) -> (&'t Key, Proto, Section<'t>) {
    sink.check(key.mark, name(&key.text));
    let section = Section::of(key.mark, value, keys::SERVICE, sink);
    section.required("proto", keys::SERVICE, sink, || {
        format!("service `{}`", short(&key.text))
    });
    let written = section.value("proto", sink, |node| choice(node, PROTOS));
    // The likelier one, so that the rest is checked all the same.
    let servers = section.entry("servers").is_some();
    let proto = written.unwrap_or(if servers {
        Proto::Upstream
    } else {
        Proto::Listen(ServiceKind::Tcp)
    });
    if written.is_some() {
        refuse_foreign(proto, section, sink);
    }
    (key, proto, section)
}

/// Reports the keys that belong to services of the other sort.
fn refuse_foreign(proto: Proto, section: Section<'_>, sink: &mut Sink) {
    let (proto, foreign) = match proto {
        Proto::Upstream => ("upstream", &["net", "enable_http", "http"][..]),
        Proto::Listen(kind) => (
            kind.as_str(),
            &[
                "mode",
                "hash",
                "servers",
                "health",
                "slow_start",
                "cookie",
                "tls",
                "media",
            ][..],
        ),
    };
    for &key in foreign {
        if let Some(entry) = section.entry(key) {
            sink.error(entry.key.mark, Problem::NotForProto { key, proto });
        }
    }
}

fn global(top: Section<'_>, walk: &mut Walk<'_>) -> Global {
    let default = Global::default();
    let sink = &mut *walk.sink;
    let admin = top.section("admin", keys::ADMIN, sink);
    let global = Global {
        state_dir: top.value("state_dir", sink, |node| path(node, walk.base)),
        drain_timeout: top
            .value("drain_timeout", sink, |node| duration(node, Duration::ZERO))
            .unwrap_or(default.drain_timeout),
        token_lifetime: top
            .value("token_lifetime", sink, |node| {
                duration(node, Duration::from_secs(1))
            })
            .unwrap_or(default.token_lifetime),
        upstream_ports: top.value("upstream_ports", sink, ports),
        media_threads: top.value("media_threads", sink, |node| integer(node, 1..=MAX_THREADS)),
        max_sessions: top
            .value("max_sessions", sink, |node| integer(node, 1..=MAX_SESSIONS))
            .unwrap_or(default.max_sessions),
        admin: admin.value("addr", sink, listen),
    };
    if top.entry("admin").is_some() {
        admin.required("addr", keys::ADMIN, sink, || "`admin`".to_owned());
    }
    if let (Some(addr), Some(entry)) = (global.admin, admin.entry("addr")) {
        walk.listeners
            .claim("tcp", addr, "`admin`".to_owned(), entry.value.mark, sink);
    }
    walk.secrets.extend(global.state_dir.clone());
    global
}
