//! Which rule takes a request, and why: the router's decision retold, for `xrtc check --explain`.

use std::fmt;

use hyper::Uri;

use crate::config::{Config, Service};

use super::router::{Key, Router, Step};

/// A request to explain: `GET https://host/path`, or `GET wss://host/path janus-protocol` for a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    host: String,
    port: u16,
    path: String,
    protos: Vec<String>,
}

/// What is wrong with a request to explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskedError {
    /// No method and URL.
    #[error("expected a method and a URL, like `GET https://host/path`")]
    NoUrl,
    /// The URL has no host or another scheme.
    #[error("expected a URL with a host, of http, https, ws or wss")]
    NotOurs,
}

/// Every decision on the way to a route.
#[derive(Debug)]
pub struct Explanation(Vec<String>);

impl std::str::FromStr for Asked {
    type Err = AskedError;

    fn from_str(text: &str) -> Result<Self, AskedError> {
        let mut words = text.split_whitespace();
        let (Some(_method), Some(url)) = (words.next(), words.next()) else {
            return Err(AskedError::NoUrl);
        };
        let uri: Uri = url.parse().map_err(|_| AskedError::NoUrl)?;
        let (scheme, host) = uri.scheme_str().zip(uri.host()).ok_or(AskedError::NotOurs)?;
        let (default_port, websocket) = match scheme {
            "http" => (80, false),
            "https" => (443, false),
            "ws" => (80, true),
            "wss" => (443, true),
            _ => return Err(AskedError::NotOurs),
        };
        let bare = host.trim_start_matches('[').trim_end_matches([']', '.']);
        Ok(Self {
            host: bare.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(default_port),
            path: uri.path().to_owned(),
            protos: if websocket {
                words.map(str::to_owned).collect()
            } else {
                Vec::new()
            },
        })
    }
}

impl Explanation {
    /// What a configuration does with a request. It is asked of the services that listen on its port; where there is
    /// none (another port may be mapped to them), of all.
    #[must_use]
    pub fn of(config: &Config, asked: &Asked) -> Self {
        let mut lines = Vec::new();
        let serving = || config.services.iter().filter(|service| service.http.is_some());
        let on_port: Vec<&Service> = serving()
            .filter(|service| service.addr.port == asked.port)
            .collect();
        let services = if on_port.is_empty() {
            lines.push(format!(
                "no service serves HTTP on port {}; asking every one that does",
                asked.port
            ));
            serving().collect()
        } else {
            on_port
        };
        for service in services {
            explain(config, service, asked, &mut lines);
        }
        Self(lines)
    }
}

fn explain(config: &Config, service: &Service, asked: &Asked, lines: &mut Vec<String>) {
    let Some(http) = &service.http else { return };
    lines.push(format!("service {} ({})", service.name, service.addr));
    let key = Key {
        host: &asked.host,
        protos: &asked.protos,
        path: &asked.path,
    };
    let router = Router::new(http);
    let (steps, found) = router.explained(&key);
    lines.extend(steps.iter().map(|step| format!("  {}", told(step, asked))));
    let Some(found) = found else {
        lines.push(match &http.root {
            Some(root) => format!("  no route takes it: a file below {}", root.display()),
            None => "  no route takes it, and there is no `root`: 404".to_owned(),
        });
        return;
    };
    let upstream = &config.upstreams[found.route.upstream];
    lines.push(format!(
        "  route {} takes it, upstream {}",
        found.route.tag, upstream.name
    ));
    let path = found.path.as_deref().unwrap_or(&asked.path);
    let servers: Vec<String> = upstream.servers.iter().map(ToString::to_string).collect();
    lines.push(format!("  asked for {path} at {}", servers.join(" or ")));
}

fn told(step: &Step<'_>, asked: &Asked) -> String {
    match step {
        Step::ServerName(None) => "servername: `_`, any host".to_owned(),
        Step::ServerName(Some((name, true))) => format!("servername: {name}, as asked for"),
        Step::ServerName(Some((name, false))) => {
            format!("servername: {name}, not {}: no route is looked at", asked.host)
        }
        Step::Nothing(kind) => format!("{kind}: no route asks for {}", subject(kind, asked)),
        Step::Missed { kind, tag } => {
            format!("{kind}: route {tag} has `match: all`, and another of its conditions does not hold")
        }
        Step::Taken { kind, tag, by } => format!("{kind}: route {tag} asks for {by}, the first in the file"),
    }
}

fn subject(kind: &str, asked: &Asked) -> String {
    match kind {
        "hosts" => asked.host.clone(),
        "protos" if asked.protos.is_empty() => "a request that offers no WebSocket subprotocol".to_owned(),
        "protos" => asked.protos.join(" or "),
        _ => asked.path.clone(),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const FILE: &str = "
services:
  g: {proto: upstream, servers: ['http://a:1']}
  t:
    proto: http
    net: {addr: ':6443'}
    http:
      routes:
        both: {upstream: 'http://g', match: all, hosts: [h.example], paths: [/both]}
        ws: {upstream: 'http://g', protos: ['ws@janus-protocol']}
        rewritten: {upstream: 'http://g', paths: [/a: /b]}
";

    fn explained(request: &str) -> String {
        let config = crate::config::parse(FILE, Path::new("/")).unwrap();
        let asked: Asked = request.parse().unwrap();
        Explanation::of(&config, &asked).to_string()
    }

    #[test]
    fn the_rule_that_takes_a_request_is_named_with_those_before_it() {
        assert_eq!(
            explained("GET https://H.example:6443/a/x?q"),
            "service t (:6443)\n  servername: `_`, any host\n  hosts: route both has `match: all`, and another of \
             its conditions does not hold\n  protos: no route asks for a request that offers no WebSocket \
             subprotocol\n  paths: route rewritten asks for /a, the first in the file\n  route rewritten takes it, \
             upstream g\n  asked for /b/x at http://a:1\n"
        );
        let both = explained("GET http://h.example:6443/both");
        assert!(
            both.contains("  hosts: route both asks for h.example, the first in the file\n"),
            "{both}"
        );
        let websocket = explained("GET ws://x:6443/ janus-protocol");
        assert!(
            websocket.contains("protos: route ws asks for ws@janus-protocol"),
            "{websocket}"
        );
    }

    #[test]
    fn what_no_route_takes_is_said_too() {
        let nothing = explained("GET http://x:6443/c");
        assert!(nothing.contains("  paths: no route asks for /c\n"), "{nothing}");
        assert!(
            nothing.ends_with("no route takes it, and there is no `root`: 404\n"),
            "{nothing}"
        );
        let elsewhere = explained("GET https://x/a");
        assert!(
            elsewhere.starts_with("no service serves HTTP on port 443; "),
            "{elsewhere}"
        );
        assert!(elsewhere.contains("route rewritten takes it"), "{elsewhere}");
    }

    #[test]
    fn only_requests_can_be_explained() {
        for (text, error) in [
            ("", AskedError::NoUrl),
            ("GET", AskedError::NoUrl),
            ("GET /path", AskedError::NotOurs),
            ("GET ftp://h/", AskedError::NotOurs),
        ] {
            assert_eq!(text.parse::<Asked>(), Err(error), "{text}");
        }
    }
}
