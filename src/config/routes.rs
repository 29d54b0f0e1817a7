//! The `http:` section of a service and its routes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ice::RouteId;

use super::addresses::{host_pattern, server_name};
use super::errors::{Problem, Sink};
use super::hints;
use super::keys;
use super::limits::limits;
use super::model::{AccessLog, Http, Limits, LogFormat, LogTarget, PathRule, Route};
use super::resolve::Walk;
use super::scalars::{boolean, choice, duration, integer, name, path, text, unexpected};
use super::section::Section;
use super::tree::{Entry, Key, Node, Value, quoted, short};

const MAX_CONNS: usize = 1_000_000;

/// Reads the `http:` section of a service.
pub(super) fn http(service: &Key, section: Section<'_>, walk: &mut Walk<'_>) -> Http {
    let default = Http::default();
    let sink = &mut *walk.sink;
    let mut wait = |key: &str, default: Duration| {
        // No wait may be none, but flushing at once is a wish like others.
        let least = if key.ends_with("flush_interval") {
            Duration::ZERO
        } else {
            Duration::from_millis(1)
        };
        section
            .value(key, sink, |node| duration(node, least))
            .unwrap_or(default)
    };
    let mut http = Http {
        idle_conn_timeout: wait("idle_conn_timeout", default.idle_conn_timeout),
        dial_timeout: wait("dial_timeout", default.dial_timeout),
        response_header_timeout: wait("response_header_timeout", default.response_header_timeout),
        keepalive_timeout: wait("keepalive_timeout", default.keepalive_timeout),
        flush_interval: wait("flush_interval", default.flush_interval),
        global_flush_interval: wait("global_flush_interval", default.global_flush_interval),
        ..default
    };
    http.servername = section.value("servername", sink, server_name).flatten();
    http.root = root(section, walk.base, sink);
    if let (Some(root), Some(entry)) = (&http.root, section.entry("root")) {
        walk.roots.push((root.clone(), entry.mark()));
    }
    http.fallback = fallback(section, sink);
    http.access_log = access_log(section, walk.base, sink);
    if let Some(AccessLog {
        target: LogTarget::File(file),
        ..
    }) = &http.access_log
    {
        walk.secrets.push(file.clone());
    }
    http.limits = limits(section, &http.limits, sink);
    http.max_conns = section.value("max_conns", sink, |node| integer(node, 1..=MAX_CONNS));
    if let Some(Entry { key, value }) = section.entry("routes") {
        let routes = Section::open(key.mark, value, sink);
        http.routes = routes
            .entries
            .iter()
            .map(|entry| route(service, entry, &http.limits, walk))
            .collect();
    }
    http
}

fn root(section: Section<'_>, base: &Path, sink: &mut Sink) -> Option<PathBuf> {
    let root = section.value("root", sink, |node| path(node, base))?;
    if let Some(entry) = section.entry("root").filter(|_| !root.is_dir()) {
        sink.warn(
            entry.key.mark,
            format!("`root`: {} is not a directory", root.display()),
        );
    }
    Some(root)
}

/// The file that stands in for one that is not there.
fn fallback(section: Section<'_>, sink: &mut Sink) -> Option<String> {
    const EXPECTED: &str = "the path of a file below `root`, like `/index.html`";
    let entry = section.entry("try")?;
    if section.entry("root").is_none() {
        sink.warn(entry.key.mark, "`try` does nothing without `root`".to_owned());
    }
    section.value("try", sink, |node| {
        url_path(text(node, EXPECTED)?)
            .filter(|path| path != "/" && !path.starts_with("//"))
            .ok_or_else(|| unexpected(EXPECTED, node))
    })
}

fn access_log(section: Section<'_>, base: &Path, sink: &mut Sink) -> Option<AccessLog> {
    const FORMATS: &[(&str, LogFormat)] = &[("combined", LogFormat::Combined), ("json", LogFormat::Json)];
    let entry = section.entry("access_log")?;
    let log = section.section("access_log", keys::ACCESS_LOG, sink);
    log.required("path", keys::ACCESS_LOG, sink, || "`access_log`".to_owned());
    let target = log.value("path", sink, |node| {
        match text(node, "a file path, or `stdout`")? {
            "stdout" => Ok(LogTarget::Stdout),
            _ => path(node, base).map(LogTarget::File),
        }
    });
    if let Some(LogTarget::File(file)) = &target
        && file.parent().is_some_and(|directory| !directory.is_dir())
    {
        let text = format!("`access_log`: {} is in no directory that exists", file.display());
        sink.warn(entry.key.mark, text);
    }
    let format = log.value("format", sink, |node| choice(node, FORMATS));
    Some(AccessLog {
        target: target?,
        format: format.unwrap_or_default(),
    })
}

fn route(service: &Key, Entry { key, value }: &Entry, of_section: &Limits, walk: &mut Walk<'_>) -> Route {
    let sink = &mut *walk.sink;
    sink.check(key.mark, name(&key.text));
    let section = Section::of(key.mark, value, keys::ROUTE, sink);
    let mut flag = |key: &str| section.value(key, sink, boolean).unwrap_or(false);
    let (icetcp, icedirect) = (flag("icetcp"), flag("icedirect"));
    let route = Route {
        tag: key.text.clone(),
        id: RouteId::of(&service.text, &key.text),
        upstream: upstream(key, section, walk),
        icetcp,
        icedirect,
        match_all: section
            .value("match", walk.sink, |node| {
                choice(node, &[("any", false), ("all", true)])
            })
            .unwrap_or(false),
        hosts: section.list("hosts", walk.sink, host_pattern),
        protos: section.list("protos", walk.sink, subprotocol),
        paths: section
            .items("paths", walk.sink)
            .iter()
            .flat_map(|item| rules(item, walk.sink))
            .collect(),
        limits: section
            .entry("limits")
            .map(|_| limits(section, of_section, walk.sink)),
    };
    walk.claim_id(service, key, route.id);
    check_conditions(key, section, &route, walk.sink);
    route
}

fn upstream(tag: &Key, section: Section<'_>, walk: &mut Walk<'_>) -> usize {
    let what = || format!("route `{}`", short(&tag.text));
    let entry = section.required("upstream", keys::ROUTE, walk.sink, what);
    let Some(entry) = entry else { return 0 };
    let found = walk.upstreams.find(&entry.value, walk.sink);
    walk.sink.check(entry.mark(), found).unwrap_or(0)
}

/// A route that matches nothing is odd; one that matches all because it asks for nothing is a hole.
fn check_conditions(tag: &Key, section: Section<'_>, route: &Route, sink: &mut Sink) {
    if !["hosts", "protos", "paths"]
        .into_iter()
        .all(|key| section.lacks(key))
    {
        return;
    }
    if route.match_all {
        sink.error(tag.mark, Problem::MatchAllOfNothing(short(&tag.text)));
    } else {
        let tag_text = short(&tag.text);
        sink.warn(
            tag.mark,
            format!("route `{tag_text}` has no `hosts`, `protos` or `paths`: nothing takes it"),
        );
    }
}

/// `ws@NAME`, where NAME is a token of RFC 6455 section 11.3.4.
fn subprotocol(node: &Node) -> Result<String, Problem> {
    const EXPECTED: &str = "a WebSocket subprotocol, like `ws@janus-protocol`";
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let name = text(node, EXPECTED)?.strip_prefix("ws@");
    let name = name.filter(|name| !name.is_empty() && name.bytes().all(token));
    name.map(str::to_owned)
        .ok_or_else(|| unexpected(EXPECTED, node).meaning(hints::subprotocol(node)))
}

/// An item of `paths`: `/prefix`, or `/prefix: /replacement`.
fn rules(item: &Node, sink: &mut Sink) -> Vec<PathRule> {
    const EXPECTED: &str = "a path like `/janus`, or a rewrite like `/a: /b`";
    let Value::Section(entries) = &item.value else {
        let prefix = checked_path(item, EXPECTED, sink);
        return sink
            .check(item.mark, prefix)
            .map(|prefix| PathRule {
                prefix,
                rewrite: None,
            })
            .into_iter()
            .collect();
    };
    let rewrite = |Entry { key, value }: &Entry| {
        let from = Node::text(key.mark, &key.text);
        let mut checked = |node: &Node| {
            let path = checked_path(node, EXPECTED, sink);
            sink.check(node.mark, path)
        };
        let (prefix, to) = (checked(&from), checked(value));
        Some(PathRule {
            prefix: prefix?,
            rewrite: Some(to?),
        })
    };
    entries.iter().filter_map(rewrite).collect()
}

/// A path of a route. A star is a character like others, which hardly anyone means.
fn checked_path(node: &Node, expected: &str, sink: &mut Sink) -> Result<String, Problem> {
    let path = url_path(text(node, expected)?)
        .ok_or_else(|| unexpected(expected, node).meaning(hints::path(node)))?;
    if path.contains('*') {
        let text = format!(
            "{}: `*` stands for itself; a path takes all that is below it",
            quoted(&path)
        );
        sink.warn(node.mark, text);
    }
    Ok(path)
}

/// A URL path of visible ASCII characters without query, fragment or dot segments; without its last slash.
pub(super) fn url_path(path: &str) -> Option<String> {
    let visible = |b: u8| b.is_ascii_graphic() && !b"?#\\".contains(&b);
    let valid = path.starts_with('/')
        && path.bytes().all(visible)
        && !path.split('/').any(|segment| matches!(segment, "." | ".."));
    let trimmed = path.trim_end_matches('/');
    valid.then(|| if trimmed.is_empty() { "/" } else { trimmed }.to_owned())
}
