//! Upstream groups: those that the file declares, and those of one server that a route names by URL.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::addresses::{network, url};
use super::errors::{Problem, Sink};
use super::keys;
use super::members;
use super::model::{Server, UpstreamGroup};
use super::nearest::nearest;
use super::scalars::{boolean, duration, integer, unexpected};
use super::section::Section;
use super::tree::{Key, Node, quoted, short};

/// Calls at once that any limit may allow.
pub(super) const MAX_SESSIONS: usize = 10_000_000;

/// The groups so far.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    groups: Vec<UpstreamGroup>,
    /// Declared names, and the URLs that routes have named.
    index: HashMap<String, usize>,
}

impl Upstreams {
    /// Adds the group of a service of `proto: upstream`. All come before the first route asks.
    pub(super) fn declare(&mut self, name: &Key, service: Section<'_>, base: &Path, sink: &mut Sink) {
        let items = service.items("servers", sink).iter();
        let servers: Vec<Server> = items.filter_map(|item| members::server(item, sink)).collect();
        if service.lacks("servers") {
            sink.error(name.mark, Problem::NoServers(short(&name.text)));
        }
        let media = service.section("media", keys::MEDIA, sink);
        let default = UpstreamGroup::new(name.text.clone(), servers);
        let group = UpstreamGroup {
            mode: members::mode(service, sink),
            health: members::health(service, sink),
            slow_start: service
                .value("slow_start", sink, |node| duration(node, Duration::ZERO))
                .unwrap_or(default.slow_start),
            cookie: service.value("cookie", sink, boolean).unwrap_or(default.cookie),
            tls: members::tls(service, base, sink),
            media_allow: media.list("allow", sink, network),
            max_sessions: media.value("max_sessions", sink, |node| integer(node, 1..=MAX_SESSIONS)),
            ..default
        };
        self.add(name.text.clone(), group);
    }

    /// The group that a route's `upstream` means: a declared one by its name, or one server by its URL.
    ///
    /// # Errors
    /// Not a URL; a group's name with a port or path; a bare word that is no group.
    pub(super) fn find(&mut self, node: &Node, sink: &Sink) -> Result<usize, Problem> {
        const EXPECTED: &str = "`http://GROUP`, or the URL of a server like `http://host:port`";
        let url = url(node, EXPECTED).map_err(|problem| self.word(problem, node))?;
        if let Some(&group) = self.index.get(url.host) {
            let part = if url.port.is_some() {
                Some("port")
            } else {
                url.has_path.then_some("path")
            };
            return part.map_or(Ok(group), |part| {
                Err(Problem::GroupUrl {
                    name: short(url.host),
                    part,
                    hint: (part == "path").then(|| "`paths` can rewrite: `/a: /b`".to_owned()),
                })
            });
        }
        if url.is_word() {
            return Err(self.unknown(url.host, sink));
        }
        url.server()
            .map(|server| self.single(server))
            .ok_or_else(|| unexpected(EXPECTED, node))
    }

    /// All groups.
    pub(super) fn into_groups(self) -> Vec<UpstreamGroup> {
        self.groups
    }

    fn single(&mut self, server: Server) -> usize {
        let name = server.to_string();
        if let Some(&group) = self.index.get(&name) {
            return group;
        }
        let group = UpstreamGroup::new(name.clone(), vec![server]);
        self.add(name, group)
    }

    fn add(&mut self, name: String, group: UpstreamGroup) -> usize {
        let at = self.groups.len();
        self.groups.push(group);
        self.index.insert(name, at);
        at
    }

    /// A bare word may be the name of a group.
    fn word(&self, problem: Problem, node: &Node) -> Problem {
        let group = self.index.keys().find(|name| node.is_text(name));
        problem.meaning(group.map(|name| format!("did you mean {}?", quoted(&format!("http://{name}")))))
    }

    fn unknown(&self, host: &str, sink: &Sink) -> Problem {
        let name = short(host);
        // The index also holds URLs; no word is near one.
        let names = || self.index.keys().map(String::as_str);
        let near = if sink.is_full() {
            None
        } else {
            nearest(host, names())
        };
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "if it is a host, write its port".to_owned(),
        };
        Problem::UnknownUpstream { name, hint }
    }
}
