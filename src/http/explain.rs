//! Which rule takes a request, and why: the router's decision retold, for `xrtc check --explain`.
//!
//! A request is judged by its URL, its method and, for a WebSocket, its subprotocols. HTTP/1.1 and HTTP/2 are routed
//! alike, and a PROXY header changes nobody's route.

use std::fmt;
use std::path::Path;

use hyper::header::LOCATION;
use hyper::{Method, Uri};

use crate::config::{Config, Scheme, Server, Service, UpstreamGroup};

use super::redirect::Redirect;
use super::router::{Key, Router, Step};

/// A request to explain: `GET https://host/path`, or `wss://host/path janus-protocol` for a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    method: Method,
    uri: Uri,
    /// `https` or `wss`.
    secure: bool,
    websocket: bool,
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
        let first = words.next().ok_or(AskedError::NoUrl)?;
        // Every WebSocket begins with GET, as it is asked for here.
        let (method, url) = if first.starts_with("ws://") || first.starts_with("wss://") {
            (Method::GET, first)
        } else {
            let method = first.parse().map_err(|_| AskedError::NoUrl)?;
            (method, words.next().ok_or(AskedError::NoUrl)?)
        };
        let uri: Uri = url.parse().map_err(|_| AskedError::NoUrl)?;
        let (scheme, host) = uri.scheme_str().zip(uri.host()).ok_or(AskedError::NotOurs)?;
        let (secure, websocket) = match scheme {
            "http" => (false, false),
            "https" => (true, false),
            "ws" => (false, true),
            "wss" => (true, true),
            _ => return Err(AskedError::NotOurs),
        };
        let default_port = if secure { 443 } else { 80 };
        let bare = host.trim_start_matches('[').trim_end_matches([']', '.']);
        Ok(Self {
            secure,
            websocket,
            host: bare.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(default_port),
            path: uri.path().to_owned(),
            protos: if websocket {
                words.map(str::to_owned).collect()
            } else {
                Vec::new()
            },
            method,
            uri,
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
        let is_mapped = on_port.is_empty();
        let services = if is_mapped {
            lines.push(format!(
                "no service serves HTTP on port {}; asking every one that does",
                asked.port
            ));
            serving().collect()
        } else {
            on_port
        };
        for service in services {
            explain(config, service, asked, is_mapped, &mut lines);
        }
        Self(lines)
    }
}

fn explain(config: &Config, service: &Service, asked: &Asked, is_mapped: bool, lines: &mut Vec<String>) {
    let Some(http) = &service.http else { return };
    lines.push(format!("service {} ({})", service.name, service.addr));
    if asked.secure && service.certificates.is_empty() && !is_mapped {
        lines.push(
            "  TLS: there is no certificate; only a proxy in front can bring this request here".to_owned(),
        );
    }
    if let Some(location) = redirected(service, asked) {
        lines.push(format!(
            "  redirect_https: 308 to {location}, whatever the routes say"
        ));
        return;
    }
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
            Some(root) => format!(
                "  no route takes it: {}",
                file(root, http.fallback.as_deref(), asked)
            ),
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
    lines.push(format!(
        "  asked for {path} at {}",
        servers(upstream, asked.websocket)
    ));
}

/// Where a request is sent that came in the clear and must not.
fn redirected(service: &Service, asked: &Asked) -> Option<String> {
    let redirect = Redirect {
        enabled: service.redirect_https && !asked.secure,
        same_port: !service.certificates.is_empty(),
    };
    let applies = redirect.applies(&asked.uri);
    let response = applies.then(|| {
        redirect
            .response(asked.uri.authority()?.as_str(), &asked.uri)
            .ok()
    })??;
    let location = response.headers().get(LOCATION)?;
    location.to_str().ok().map(str::to_owned)
}

/// The servers that may get it, and how one is chosen.
fn servers(upstream: &UpstreamGroup, websocket: bool) -> String {
    let is_ws = |server: &&Server| matches!(server.scheme, Scheme::Ws | Scheme::Wss);
    let has_ws = upstream.servers.iter().any(|server| is_ws(&server));
    let fit = upstream
        .servers
        .iter()
        .filter(|server| is_ws(server) == (websocket && has_ws));
    let names: Vec<String> = fit
        .map(|server| match server.backup {
            true => format!("{server} (backup)"),
            false => server.to_string(),
        })
        .collect();
    match names.len() {
        0 => "no server: the group has none for requests, 502".to_owned(),
        1 => names.concat(),
        _ => format!("{} (mode {})", names.join(" or "), upstream.mode),
    }
}

/// What is served of `root`, as things are now.
fn file(root: &Path, fallback: Option<&str>, asked: &Asked) -> String {
    if !matches!(asked.method, Method::GET | Method::HEAD) {
        return format!(
            "there are files only, below {}, and {} is not for files: 405",
            root.display(),
            asked.method
        );
    }
    let path = &asked.path;
    if path.contains('%') {
        return format!("a file below {}", root.display());
    }
    let mut found = root.join(path.trim_start_matches('/'));
    if found.is_dir() && !path.ends_with('/') {
        return format!("{} is a directory: a redirect to {path}/", found.display());
    }
    if path.ends_with('/') {
        found.push("index.html");
    }
    match fallback {
        _ if found.is_file() => format!("the file {}", found.display()),
        Some(fallback) => format!("no file {}; `try`: {fallback}", found.display()),
        None => format!("no file {}: 404", found.display()),
    }
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
        of(FILE, request)
    }

    fn of(file: &str, request: &str) -> String {
        let config = crate::config::parse(file, Path::new("/")).unwrap();
        let asked: Asked = request.parse().unwrap();
        Explanation::of(&config, &asked).to_string()
    }

    #[test]
    fn the_rule_that_takes_a_request_is_named_with_those_before_it() {
        assert_eq!(
            explained("GET https://H.example:6443/a/x?q"),
            "service t (:6443)\n  TLS: there is no certificate; only a proxy in front can bring this request here\n  servername: `_`, any host\n  hosts: route both has `match: all`, and another of \
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
    fn a_websocket_goes_to_servers_of_its_own_by_the_groups_mode() {
        let file = FILE.replace(
            "servers: ['http://a:1']",
            "mode: least_conn, servers: ['http://a:1', 'ws://a:2', {url: 'ws://b:2', backup: true}]",
        );
        let explained = |request: &str| of(&file, request);
        let websocket = explained("wss://x:6443/ws janus-protocol");
        assert!(
            websocket.ends_with("asked for /ws at ws://a:2 or ws://b:2 (backup) (mode least_conn)\n"),
            "{websocket}"
        );
        assert!(websocket.contains("TLS: there is no certificate"), "{websocket}");
        let request = explained("POST http://x:6443/a");
        assert!(request.ends_with("asked for /b at http://a:1\n"), "{request}");
    }

    #[test]
    fn what_is_redirected_is_not_routed() {
        let file = FILE.replace("net: {addr: ':6443'}", "net: {addr: ':80', redirect_https: true}");
        assert_eq!(
            of(&file, "GET http://x/a?q"),
            "service t (:80)\n  redirect_https: 308 to https://x/a?q, whatever the routes say\n"
        );
        let challenge = of(&file, "GET http://x/.well-known/acme-challenge/a");
        assert!(challenge.contains("no route asks for"), "{challenge}");
    }

    #[test]
    fn files_are_told_as_they_are() {
        let root = env!("CARGO_MANIFEST_DIR");
        let file = FILE.replace("      routes:", &format!("      root: {root}\n      routes:"));
        let told = |request: &str| of(&file, request).lines().last().unwrap().to_owned();
        for (request, expected) in [
            (
                "GET http://x:6443/Cargo.toml",
                format!("the file {root}/Cargo.toml"),
            ),
            (
                "GET http://x:6443/nothing",
                format!("no file {root}/nothing: 404"),
            ),
            (
                "GET http://x:6443/src",
                format!("{root}/src is a directory: a redirect to /src/"),
            ),
            ("GET http://x:6443/", format!("no file {root}/index.html: 404")),
        ] {
            assert_eq!(told(request), format!("  no route takes it: {expected}"));
        }
        assert!(told("DELETE http://x:6443/Cargo.toml").ends_with("DELETE is not for files: 405"));
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
