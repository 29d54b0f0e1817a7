//! References to resources in response headers: those that name the upstream, or its side of a path rewrite, are made
//! to mean what the client can ask for.
//!
//! What comes out has no scheme and host where it can do without: right whatever stands in front of us.

use hyper::HeaderMap;
use hyper::header::{CONTENT_LOCATION, HeaderName, HeaderValue, LINK, LOCATION};

use crate::config::{PathRule, Scheme, Server};

use super::router::rewritten;

/// What is to be translated on one exchange.
pub(super) struct References<'a> {
    /// The servers of the group.
    pub(super) servers: Vec<&'a Server>,
    /// The host and port that the client asked for.
    pub(super) authority: &'a str,
    /// The client came over TLS.
    pub(super) secure: bool,
    /// The rule that made the upstream's path.
    pub(super) rule: Option<&'a PathRule>,
}

/// A reference, taken apart as far as needed.
struct Absolute<'r> {
    scheme: &'r str,
    authority: &'r str,
    rest: &'r str,
}

impl References<'_> {
    /// Translates `Location`, `Content-Location` and `Link`.
    pub(super) fn translate(&self, headers: &mut HeaderMap) {
        for name in [LOCATION, CONTENT_LOCATION] {
            each(headers, &name, |value| self.client_view(value));
        }
        each(headers, &LINK, |value| self.link(value));
    }

    /// The targets of a `Link` stand between angle brackets (RFC 8288 section 3).
    fn link(&self, value: &str) -> Option<String> {
        let mut translated = String::with_capacity(value.len());
        let (mut rest, mut changed) = (value, false);
        while let Some((before, after)) = rest.split_once('<') {
            let Some((target, tail)) = after.split_once('>') else {
                break;
            };
            let ours = self.client_view(target);
            changed |= ours.is_some();
            translated.extend([before, "<", ours.as_deref().unwrap_or(target), ">"]);
            rest = tail;
        }
        translated.push_str(rest);
        changed.then_some(translated)
    }

    /// A reference as the client should see it; `None`: as it is.
    fn client_view(&self, reference: &str) -> Option<String> {
        let Some(absolute) = Absolute::of(reference) else {
            let is_path = reference.starts_with('/') && !reference.starts_with("//");
            return is_path.then(|| self.client_path(reference)).flatten();
        };
        let Absolute {
            scheme,
            authority,
            rest,
        } = absolute;
        let path = if rest.starts_with('/') {
            self.client_path(rest)
        } else {
            None
        };
        if self.is_upstream(scheme, authority) {
            return Some(origin_form(&path.unwrap_or_else(|| rest.to_owned())));
        }
        if !same(authority, self.authority, scheme) {
            return None;
        }
        // The server knows our name from the Host header, but may take its own side for the client's.
        let mistaken = self.secure && scheme.eq_ignore_ascii_case("http");
        if mistaken && self.servers.iter().any(|server| !is_tls(server.scheme)) {
            return Some(origin_form(&path.unwrap_or_else(|| rest.to_owned())));
        }
        path.map(|path| format!("{scheme}://{authority}{path}"))
    }

    /// A path on the upstream as it is on our side; `None`: the same.
    fn client_path(&self, path_and_more: &str) -> Option<String> {
        let PathRule { prefix, rewrite } = self.rule?;
        let back = PathRule {
            prefix: rewrite.clone()?,
            rewrite: Some(prefix.clone()),
        };
        let end = path_and_more.find(['?', '#']).unwrap_or(path_and_more.len());
        let (path, more) = path_and_more.split_at(end);
        let ours = rewritten(&back, path)?;
        Some(origin_form(&format!("{ours}{more}")))
    }

    fn is_upstream(&self, scheme: &str, authority: &str) -> bool {
        self.servers.iter().any(|server| {
            let host = if server.host.contains(':') {
                format!("[{}]:{}", server.host, server.port)
            } else {
                format!("{}:{}", server.host, server.port)
            };
            same(authority, &host, scheme)
        })
    }
}

impl<'r> Absolute<'r> {
    fn of(reference: &'r str) -> Option<Self> {
        let (scheme, after) = reference.split_once("://")?;
        let known = Scheme::ALL
            .iter()
            .any(|known| known.as_str().eq_ignore_ascii_case(scheme));
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        known.then_some(Self {
            scheme,
            authority,
            rest,
        })
    }
}

/// Whether two authorities are the same to a scheme, which knows its port.
fn same(a: &str, b: &str, scheme: &str) -> bool {
    let default = Scheme::ALL
        .iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(scheme))
        .map_or(80, |known| known.default_port());
    let split = |authority| match str::rsplit_once(authority, ':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(default)),
        _ => (authority, default),
    };
    let ((host_a, port_a), (host_b, port_b)) = (split(a), split(b));
    host_a.eq_ignore_ascii_case(host_b) && port_a == port_b
}

fn is_tls(scheme: Scheme) -> bool {
    matches!(scheme, Scheme::Https | Scheme::Wss)
}

/// A path as a reference: two slashes at its beginning would make it a host.
fn origin_form(path: &str) -> String {
    match path {
        "" => "/".to_owned(),
        path if path.starts_with("//") => format!("/.{path}"),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    }
}

fn each(headers: &mut HeaderMap, name: &HeaderName, translate: impl Fn(&str) -> Option<String>) {
    if !headers.contains_key(name) {
        return;
    }
    let values: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    let translated = values.iter().map(|value| {
        let ours = value.to_str().ok().and_then(&translate);
        ours.and_then(|ours| HeaderValue::try_from(ours).ok())
    });
    let translated: Vec<Option<HeaderValue>> = translated.collect();
    if translated.iter().all(Option::is_none) {
        return;
    }
    headers.remove(name);
    for (value, ours) in values.into_iter().zip(translated) {
        headers.append(name, ours.unwrap_or(value));
    }
}

/// The path that a reference means on a page at `base`, without query; the host, if it names one, is not looked at.
pub(super) fn resolved_path(base: &str, reference: &str) -> Option<String> {
    let path = match Absolute::of(reference) {
        Some(absolute) => absolute.rest,
        None if reference.starts_with("//") || reference.contains("://") => return None,
        None => reference,
    };
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let path = &path[..end];
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        let directory = base.rfind('/').map_or("", |slash| &base[..slash]);
        format!("{directory}/{path}")
    };
    let mut segments: Vec<&str> = Vec::new();
    for segment in whole.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    Some(format!("/{}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(reference: &str, secure: bool, rule: Option<(&str, &str)>) -> Option<String> {
        let servers = [
            Server::new(Scheme::Http, "janus", 8088),
            Server::new(Scheme::Http, "::1", 80),
        ];
        let rule = rule.map(|(prefix, rewrite)| PathRule {
            prefix: prefix.into(),
            rewrite: Some(rewrite.into()),
        });
        let references = References {
            servers: servers.iter().collect(),
            authority: "www.example.com:6443",
            secure,
            rule: rule.as_ref(),
        };
        references.client_view(reference)
    }

    #[test]
    fn what_names_the_upstream_loses_its_host() {
        for (from, to) in [
            ("http://janus:8088/a/b?q#f", "/a/b?q#f"),
            ("HTTP://JANUS:8088/a", "/a"),
            ("ws://janus:8088/a", "/a"),
            ("http://janus:8088", "/"),
            ("http://janus:8088?q", "/?q"),
            ("http://[::1]/x", "/x"),
            ("http://janus:8088//evil.example/", "/.//evil.example/"),
        ] {
            assert_eq!(view(from, false, None).as_deref(), Some(to), "{from}");
        }
    }

    #[test]
    fn what_names_others_stays() {
        for reference in [
            "http://janus/a",
            "http://janus:80880/a",
            "https://elsewhere.example/janus:8088",
            "stun:janus:8088",
            "//janus:8088/a",
            "http://user@janus:8088/a",
            "a/b",
            "?q",
            "",
            "/a",
        ] {
            assert_eq!(view(reference, true, None), None, "{reference}");
        }
    }

    #[test]
    fn a_rewritten_path_is_mapped_back() {
        let rule = Some(("/a", "/b"));
        for (from, to) in [
            ("/b", Some("/a")),
            ("/b/c?d=/b", Some("/a/c?d=/b")),
            ("http://janus:8088/b/c", Some("/a/c")),
            ("http://janus:8088/other", Some("/other")),
            (
                "http://www.example.com:6443/b/c",
                Some("http://www.example.com:6443/a/c"),
            ),
            (
                "https://www.example.com:6443/b/c",
                Some("https://www.example.com:6443/a/c"),
            ),
            ("/bc", None),
            ("/", None),
            ("c", None),
        ] {
            assert_eq!(view(from, false, rule).as_deref(), to, "{from}");
        }
        assert_eq!(view("/x/y", false, Some(("/a", "/"))).as_deref(), Some("/a/x/y"));
    }

    #[test]
    fn our_own_name_with_the_servers_scheme_is_ours() {
        let plain = "http://www.example.com:6443/x";
        assert_eq!(view(plain, true, None).as_deref(), Some("/x"));
        assert_eq!(view(plain, false, None), None);
        assert_eq!(
            view("https://www.example.com:6443/x", false, None),
            None,
            "a redirect to TLS stays one"
        );
    }

    #[test]
    fn links_are_translated_one_by_one_and_headers_line_by_line() {
        let server = Server::new(Scheme::Http, "up", 1);
        let references = References {
            servers: vec![&server],
            authority: "c",
            secure: false,
            rule: None,
        };
        let mut headers = HeaderMap::new();
        let link = r#"<http://up:1/a>; rel="next", <stun:s.example>; rel="ice-server", <http://up:1/b"#;
        headers.append(LINK, link.parse().unwrap());
        headers.append(LINK, "<https://other.example/>; rel=x".parse().unwrap());
        headers.append(LOCATION, "http://up:1/l".parse().unwrap());
        references.translate(&mut headers);
        let links: Vec<_> = headers.get_all(LINK).iter().collect();
        assert_eq!(
            links[0],
            r#"</a>; rel="next", <stun:s.example>; rel="ice-server", <http://up:1/b"#
        );
        assert_eq!(links[1], "<https://other.example/>; rel=x");
        assert_eq!(headers[LOCATION], "/l");
    }

    #[test]
    fn references_resolve_against_the_path_that_was_asked_for() {
        for (reference, expected) in [
            ("/x/1", Some("/x/1")),
            ("r/1", Some("/whip/r/1")),
            ("../r", Some("/r")),
            ("../../../r", Some("/r")),
            ("./r?x#y", Some("/whip/r")),
            ("http://any:1/x/1?y", Some("/x/1")),
            ("//host/x", None),
            ("gopher://host/x", None),
        ] {
            assert_eq!(
                resolved_path("/whip/live", reference).as_deref(),
                expected,
                "{reference}"
            );
        }
    }
}
