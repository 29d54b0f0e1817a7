//! Which route takes a request. Pure.
//!
//! Kinds of condition have precedence over file order: all `hosts` are tried, then all `protos`, then all `paths`;
//! within a kind the first route in the file wins. A route with `match: all` stands at the kind of its first condition
//! and asks for the others as well. Paths are compared as sent, without decoding; [`super::target`] has refused the
//! ones that mean something else to a server that decodes.

use std::sync::Arc;

use crate::config::{Http, PathRule, Route};

/// What routing looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// Lower case, without port, brackets and trailing dot.
    pub(super) host: &'a str,
    /// The elements of `Sec-WebSocket-Protocol`; empty for what is no WebSocket.
    pub(super) protos: &'a [String],
    /// The path, without query.
    pub(super) path: &'a str,
}

/// The routing table of one `http:` section.
#[derive(Clone, Debug)]
pub(super) struct Router {
    servername: Option<String>,
    routes: Vec<Arc<Route>>,
}

/// A route and the path to ask its upstream for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) route: Arc<Route>,
    /// `None`: the request's own.
    pub(super) path: Option<String>,
    /// The rule that made it.
    pub(super) rule: Option<PathRule>,
}

#[derive(Clone, Copy)]
enum Kind {
    Hosts,
    Protos,
    Paths,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Hosts, Self::Protos, Self::Paths];

    /// The key of the file.
    fn as_str(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Protos => "protos",
            Self::Paths => "paths",
        }
    }

    /// The condition of a route that holds, as it is written.
    fn condition(self, route: &Route, key: &Key<'_>) -> String {
        let written = match self {
            Self::Hosts => route
                .hosts
                .iter()
                .find(|pattern| host_matches(pattern, key.host))
                .cloned(),
            Self::Protos => route
                .protos
                .iter()
                .find(|proto| key.protos.contains(proto))
                .map(|proto| format!("ws@{proto}")),
            Self::Paths => path_rule(route, key.path).map(|rule| rule.prefix.clone()),
        };
        written.unwrap_or_default()
    }

    fn given(self, route: &Route) -> bool {
        match self {
            Self::Hosts => !route.hosts.is_empty(),
            Self::Protos => !route.protos.is_empty(),
            Self::Paths => !route.paths.is_empty(),
        }
    }

    fn holds(self, route: &Route, key: &Key<'_>) -> bool {
        match self {
            Self::Hosts => route.hosts.iter().any(|pattern| host_matches(pattern, key.host)),
            Self::Protos => route.protos.iter().any(|proto| key.protos.contains(proto)),
            Self::Paths => path_rule(route, key.path).is_some(),
        }
    }
}

impl Router {
    pub(super) fn new(http: &Http) -> Self {
        Self {
            servername: http.servername.clone(),
            routes: http.routes.iter().cloned().map(Arc::new).collect(),
        }
    }

    /// The route of a request; `None`: static files.
    pub(super) fn route(&self, key: &Key<'_>) -> Option<Match> {
        let ours = self.servername.as_deref();
        if ours.is_some_and(|name| !host_matches(name, key.host)) {
            return None;
        }
        let route = Kind::ALL
            .into_iter()
            .find_map(|kind| self.routes.iter().find(|route| takes(route, kind, key)))?;
        Some(matched(route, key))
    }

    /// The same, with the decisions on the way.
    pub(super) fn explained(&self, key: &Key<'_>) -> (Vec<Step<'_>>, Option<Match>) {
        let ours = self.servername.as_deref();
        let named = ours.map(|name| (name, host_matches(name, key.host)));
        let mut steps = vec![Step::ServerName(named)];
        if named.is_some_and(|(_, ours)| !ours) {
            return (steps, None);
        }
        for kind in Kind::ALL {
            let mut routes = self.routes.iter();
            if let Some(route) = routes.find(|route| takes(route, kind, key)) {
                steps.push(Step::Taken {
                    kind: kind.as_str(),
                    tag: &route.tag,
                    by: kind.condition(route, key),
                });
                return (steps, Some(matched(route, key)));
            }
            let before = steps.len();
            let missed = self.routes.iter().filter(|route| kind.holds(route, key));
            steps.extend(missed.map(|route| Step::Missed {
                kind: kind.as_str(),
                tag: &route.tag,
            }));
            if steps.len() == before {
                steps.push(Step::Nothing(kind.as_str()));
            }
        }
        (steps, None)
    }
}

/// One decision of the router.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'r> {
    /// The section's name, and whether it is the one asked for; `None`: any is.
    ServerName(Option<(&'r str, bool)>),
    /// No route has a condition of this kind that holds.
    Nothing(&'static str),
    /// A condition of this kind holds, but not all that the route asks for.
    Missed { kind: &'static str, tag: &'r str },
    /// This condition decides.
    Taken {
        kind: &'static str,
        tag: &'r str,
        by: String,
    },
}

fn matched(route: &Arc<Route>, key: &Key<'_>) -> Match {
    let rule = path_rule(route, key.path).filter(|rule| rule.rewrite.is_some());
    Match {
        route: route.clone(),
        path: rule.and_then(|rule| rewritten(rule, key.path)),
        rule: rule.cloned(),
    }
}

fn takes(route: &Route, kind: Kind, key: &Key<'_>) -> bool {
    if !route.match_all {
        return kind.holds(route, key);
    }
    let mut given = Kind::ALL.into_iter().filter(|kind| kind.given(route)).peekable();
    let first = given.peek().is_some_and(|first| *first as u8 == kind as u8);
    first && given.all(|kind| kind.holds(route, key))
}

/// `*.example.com` stands for every name below `example.com`, not for itself.
fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => {
            host.len() > suffix.len()
                && host
                    .get(host.len() - suffix.len()..)
                    .is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
        }
        None => pattern.eq_ignore_ascii_case(host),
    }
}

fn path_rule<'r>(route: &'r Route, path: &str) -> Option<&'r PathRule> {
    route
        .paths
        .iter()
        .find(|rule| below(&rule.prefix, path).is_some())
}

/// What follows a prefix in a path, if the prefix ends where a segment does.
fn below<'p>(prefix: &str, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

/// The path that a rule makes of one below its prefix.
pub(super) fn rewritten(rule: &PathRule, path: &str) -> Option<String> {
    let rest = below(&rule.prefix, path)?;
    let base = rule.rewrite.as_deref()?;
    Some(match (base.ends_with('/'), rest.strip_prefix('/')) {
        (true, Some(rest)) => format!("{base}{rest}"),
        (false, None) if !rest.is_empty() => format!("{base}/{rest}"),
        _ => format!("{base}{rest}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::RouteId;

    fn route(tag: &str, hosts: &[&str], protos: &[&str], paths: &[(&str, Option<&str>)]) -> Route {
        let owned = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect();
        Route {
            tag: tag.into(),
            id: RouteId::of("test", tag),
            upstream: 0,
            icetcp: false,
            icedirect: false,
            match_all: false,
            hosts: owned(hosts),
            protos: owned(protos),
            paths: paths
                .iter()
                .map(|&(prefix, rewrite)| PathRule {
                    prefix: prefix.into(),
                    rewrite: rewrite.map(Into::into),
                })
                .collect(),
            limits: None,
        }
    }

    fn all(mut route: Route) -> Route {
        route.match_all = true;
        route
    }

    fn router(servername: Option<&str>, routes: Vec<Route>) -> Router {
        Router {
            servername: servername.map(Into::into),
            routes: routes.into_iter().map(Arc::new).collect(),
        }
    }

    fn tag(router: &Router, host: &str, protos: &[&str], path: &str) -> Option<String> {
        let protos: Vec<String> = protos.iter().map(|&s| s.to_owned()).collect();
        let key = Key {
            host,
            protos: &protos,
            path,
        };
        router.route(&key).map(|found| found.route.tag.clone())
    }

    fn path(router: &Router, path: &str) -> Option<String> {
        let key = Key {
            host: "h",
            protos: &[],
            path,
        };
        router.route(&key).and_then(|found| found.path)
    }

    #[test]
    fn hosts_come_before_protos_before_paths_whatever_the_file_order() {
        let router = router(
            None,
            vec![
                route("path", &[], &[], &[("/", None)]),
                route("proto", &[], &["janus-protocol"], &[]),
                route("host", &["a.example"], &[], &[]),
            ],
        );
        let protos = ["other", "janus-protocol"];
        assert_eq!(tag(&router, "a.example", &protos, "/x").as_deref(), Some("host"));
        assert_eq!(tag(&router, "b.example", &protos, "/x").as_deref(), Some("proto"));
        assert_eq!(
            tag(&router, "b.example", &["other"], "/x").as_deref(),
            Some("path")
        );
    }

    #[test]
    fn within_a_kind_the_first_in_the_file_wins() {
        let router = router(
            None,
            vec![
                route("first", &["a"], &[], &[("/x", None)]),
                route("second", &["a"], &[], &[("/x", None)]),
                route("wide", &[], &[], &[("/", None)]),
                route("never", &[], &[], &[("/y", None)]),
            ],
        );
        assert_eq!(tag(&router, "a", &[], "/").as_deref(), Some("first"));
        assert_eq!(tag(&router, "b", &[], "/x").as_deref(), Some("first"));
        assert_eq!(tag(&router, "b", &[], "/y").as_deref(), Some("wide"));
    }

    #[test]
    fn prefixes_match_whole_segments() {
        let router = router(
            None,
            vec![
                route("janus", &[], &[], &[("/janus", None)]),
                route("api", &[], &[], &[("/api/", None)]),
            ],
        );
        for path in ["/janus", "/janus/", "/janus/1/2"] {
            assert_eq!(tag(&router, "h", &[], path).as_deref(), Some("janus"), "{path}");
        }
        for path in ["/janus.js", "/janusx", "/", "/x/janus", "/Janus", "/api"] {
            assert_eq!(tag(&router, "h", &[], path), None, "{path}");
        }
        assert_eq!(tag(&router, "h", &[], "/api/x").as_deref(), Some("api"));
    }

    #[test]
    fn wildcards_match_names_below_only_and_hosts_ignore_case() {
        let router = router(None, vec![route("wild", &["*.example.com"], &[], &[])]);
        for host in ["a.example.com", "a.b.EXAMPLE.com"] {
            assert_eq!(tag(&router, host, &[], "/").as_deref(), Some("wild"), "{host}");
        }
        for host in [
            "example.com",
            "badexample.com",
            "example.com.evil",
            "",
            "éxample.com",
        ] {
            assert_eq!(tag(&router, host, &[], "/"), None, "{host}");
        }
    }

    #[test]
    fn match_all_asks_for_every_kind_that_is_given() {
        let router = router(
            None,
            vec![
                all(route("both", &["a"], &[], &[("/x", None)])),
                route("fallback", &[], &[], &[("/", None)]),
                all(route("nothing given", &[], &[], &[])),
            ],
        );
        assert_eq!(tag(&router, "a", &[], "/x/1").as_deref(), Some("both"));
        assert_eq!(tag(&router, "a", &[], "/y").as_deref(), Some("fallback"));
        assert_eq!(tag(&router, "b", &[], "/x").as_deref(), Some("fallback"));
    }

    #[test]
    fn another_servername_matches_no_route() {
        let router = router(
            Some("www.example.com"),
            vec![route("r", &[], &[], &[("/", None)])],
        );
        assert_eq!(tag(&router, "www.example.com", &[], "/").as_deref(), Some("r"));
        assert_eq!(tag(&router, "example.com", &[], "/"), None);
    }

    #[test]
    fn rewrites_replace_the_prefix_and_join_with_one_slash() {
        for (prefix, rewrite, from, to) in [
            ("/a", "/b", "/a", "/b"),
            ("/a", "/b", "/a/x/y", "/b/x/y"),
            ("/a", "/", "/a/x", "/x"),
            ("/a", "/", "/a", "/"),
            ("/a/", "/b", "/a/x", "/b/x"),
            ("/", "/b", "/x", "/b/x"),
            ("/", "/b/", "/", "/b/"),
        ] {
            let router = router(None, vec![route("r", &[], &[], &[(prefix, Some(rewrite))])]);
            assert_eq!(
                path(&router, from).as_deref(),
                Some(to),
                "{prefix}: {rewrite} on {from}"
            );
        }
        let plain = router(None, vec![route("r", &[], &[], &[("/a", None)])]);
        assert_eq!(path(&plain, "/a/x"), None);
    }
}
