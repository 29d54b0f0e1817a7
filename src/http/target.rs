//! What a request is aimed at: its host, its path and its WebSocket subprotocols, refused where they are ambiguous.

use hyper::ext::Protocol;
use hyper::header::{HOST, HeaderValue, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, Request, Version};

use super::errors::Error;
use super::router::Key;

/// The aim of a request that is fit to be routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Host and port as the client named them; empty for HTTP/1.0 without Host.
    pub(super) authority: String,
    host: String,
    protos: Vec<String>,
    path: String,
}

impl Target {
    /// # Errors
    /// [`Error::BadRequest`] for what two servers might read in two ways: no Host header, several, or one that names
    /// no host; a target or a transfer coding of another kind; a path with `.` or `..` segments, which would pass one
    /// route's prefix and mean another's.
    pub(super) fn of<B>(request: &Request<B>, websocket: bool) -> Result<Self, Error> {
        if request.method() == Method::CONNECT && !websocket {
            return Err(if request.extensions().get::<Protocol>().is_some() {
                Error::UnknownProtocol
            } else {
                Error::MethodNotAllowed
            });
        }
        let authority = authority(request)?;
        check_coding(request.headers())?;
        let path = request.uri().path();
        if !path.starts_with('/') && (request.method() != Method::OPTIONS || path != "*") {
            return Err(Error::BadRequest("the target is no path"));
        }
        if has_dot_segments(path) {
            return Err(Error::BadRequest("the path has dot segments"));
        }
        Ok(Self {
            host: bare_host(&authority),
            protos: if websocket {
                list(request.headers(), SEC_WEBSOCKET_PROTOCOL.as_str())
            } else {
                Vec::new()
            },
            path: path.to_owned(),
            authority,
        })
    }

    pub(super) fn key(&self) -> Key<'_> {
        Key {
            host: &self.host,
            protos: &self.protos,
            path: &self.path,
        }
    }

    /// The path that the client asked for, without query.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn protos(&self) -> &[String] {
        &self.protos
    }
}

/// The target's authority outranks the Host header (RFC 9112 section 3.2.2).
fn authority<B>(request: &Request<B>) -> Result<String, Error> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(Error::BadRequest("more than one Host header"));
    }
    if host.is_none() && request.version() == Version::HTTP_11 {
        return Err(Error::BadRequest("HTTP/1.1 asks for a Host header"));
    }
    if host.is_some_and(|host| !is_host(host)) {
        return Err(Error::BadRequest("the Host header names no host"));
    }
    if let Some(authority) = request.uri().authority() {
        let text = authority.as_str();
        return Ok(text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned());
    }
    let host = host.and_then(|host| host.to_str().ok());
    Ok(host.unwrap_or_default().to_owned())
}

/// RFC 9112 section 3.2: a host and a port, or nothing at all.
fn is_host(value: &HeaderValue) -> bool {
    value.is_empty() || (!value.as_bytes().contains(&b'@') && Authority::try_from(value.as_bytes()).is_ok())
}

/// RFC 9112 section 6.1: a body in any coding but chunked would be passed on as if it were in none.
fn check_coding(headers: &HeaderMap) -> Result<(), Error> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), _) => Err(Error::BadRequest("a transfer coding other than chunked")),
    }
}

fn bare_host(authority: &str) -> String {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn has_dot_segments(path: &str) -> bool {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, after) = match rest {
            [b'%', b'2', b'e' | b'E', after @ ..] => (b'.', after),
            [b'%', b'2', b'f' | b'F', after @ ..] | [b'%', b'5', b'c' | b'C', after @ ..] => (b'/', after),
            [b'\\', after @ ..] => (b'/', after),
            _ => (*first, tail),
        };
        decoded.push(byte);
        rest = after;
    }
    decoded
        .split(|byte| *byte == b'/')
        .any(|segment| matches!(segment, b"." | b".."))
}

/// The elements of a comma-separated header, however many lines it takes.
pub(super) fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|element| element.trim().to_owned())
        .filter(|element| !element.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let builder = headers
            .iter()
            .fold(Request::builder().uri(uri), |builder, (name, value)| {
                builder.header(*name, *value)
            });
        builder.body(()).unwrap()
    }

    fn host(uri: &str, header: &str) -> String {
        Target::of(&request(uri, &[("host", header)]), false)
            .unwrap()
            .host
    }

    #[test]
    fn the_host_loses_its_port_brackets_dot_and_case() {
        assert_eq!(host("/", "A.Example.com:6443"), "a.example.com");
        assert_eq!(host("/", "a.example.com."), "a.example.com");
        assert_eq!(host("/", "[2001:DB8::1]:443"), "2001:db8::1");
        assert_eq!(host("http://user@b.example:80/x", "a.example"), "b.example");
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        let refused = |uri, headers: &[_]| {
            let target = Target::of(&request(uri, headers), false);
            assert!(matches!(target, Err(Error::BadRequest(_))), "{uri} {headers:?}");
        };
        refused("/", &[]);
        refused("http://a/", &[]);
        refused("/", &[("host", "a"), ("host", "b")]);
        for host in ["a b", "a/b", "u@a", "http://a"] {
            refused("/", &[("host", host)]);
        }
        refused("a.example:80", &[("host", "a.example:80")]);
        refused("*", &[("host", "a")]);
        let coding = "transfer-encoding";
        for value in ["gzip, chunked", "chunked, chunked", "identity"] {
            refused("/", &[("host", "a"), (coding, value)]);
        }
        refused("/", &[("host", "a"), (coding, "chunked"), (coding, "chunked")]);
        for headers in [&[("host", "")][..], &[("host", "a"), (coding, "Chunked")]] {
            assert!(Target::of(&request("/", headers), false).is_ok(), "{headers:?}");
        }
        let mut old = request("/", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(Target::of(&old, false).unwrap().authority, "");
        for path in [
            "/a/../b",
            "/..",
            "/%2e%2e/b",
            "/a/.%2E/b",
            "/a/..%2fb",
            "/a/..%5Cb",
            "/./a",
        ] {
            refused(path, &[("host", "a")]);
        }
        for path in ["/a..b/.c/...", "/a%2", "/%"] {
            let request = request(path, &[("host", "a")]);
            assert!(Target::of(&request, false).is_ok(), "{path}");
        }
    }

    #[test]
    fn subprotocols_are_every_element_of_every_line_and_count_for_websockets_only() {
        let headers = [
            ("host", "a"),
            ("sec-websocket-protocol", "a, b"),
            ("sec-websocket-protocol", "c,"),
        ];
        let request = request("/", &headers);
        assert_eq!(Target::of(&request, true).unwrap().protos, ["a", "b", "c"]);
        assert!(Target::of(&request, false).unwrap().protos.is_empty());
    }
}
