//! What a request is aimed at: its host, its path and its WebSocket subprotocols, refused where they are ambiguous.

use hyper::ext::Protocol;
use hyper::header::{HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING};
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
    /// [`Error::BadRequest`] for what two servers might read in two ways: an unknown transfer coding, no host or
    /// several, or a path with `.` or `..` segments, which would pass one route's prefix and mean another's.
    pub(super) fn of<B>(request: &Request<B>, websocket: bool) -> Result<Self, Error> {
        if request.method() == Method::CONNECT && !websocket {
            return Err(if request.extensions().get::<Protocol>().is_some() {
                Error::UnknownProtocol
            } else {
                Error::MethodNotAllowed
            });
        }
        if request.uri().scheme().is_none() && request.uri().authority().is_some() && !websocket {
            return Err(Error::BadRequest("the target is only a host"));
        }
        if request.uri().path() == "*" && request.method() != Method::OPTIONS {
            return Err(Error::BadRequest("the target is no path"));
        }
        is_framed(request.headers())?;
        let authority = authority(request)?;
        let path = request.uri().path();
        if has_dot_segments(path) {
            return Err(Error::BadRequest("the path has dot segments"));
        }
        Ok(Self {
            host: bare_host(&authority),
            protos: if websocket {
                list(request.headers(), &SEC_WEBSOCKET_PROTOCOL)
                    .map(str::to_owned)
                    .collect()
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

/// A body ends where its length says, or its chunks; nothing else is understood. Of one with both, hyper has taken
/// the length away, and ends the connection behind it (RFC 9112 section 6.3).
fn is_framed(headers: &HeaderMap) -> Result<(), Error> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Error::UnknownCoding);
    }
    Ok(())
}

/// The target's authority outranks the Host header (RFC 9112 section 3.2.2), except that over HTTP/2 the two have to
/// be the same (RFC 9113 section 8.3.1). Only HTTP/1.0 knows requests without either.
fn authority<B>(request: &Request<B>) -> Result<String, Error> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(Error::BadRequest("more than one Host header"));
    }
    if host.is_none() && request.version() == Version::HTTP_11 {
        // Whatever the target says (RFC 9112 section 3.2).
        return Err(Error::BadRequest("no Host header"));
    }
    if let Some(authority) = request.uri().authority() {
        let text = authority.as_str();
        let differs = |host: &HeaderValue| !host.as_bytes().eq_ignore_ascii_case(text.as_bytes());
        if request.version() == Version::HTTP_2 && host.is_some_and(differs) {
            return Err(Error::BadRequest("the Host header is not that of the target"));
        }
        return fit(text);
    }
    match host {
        Some(host) => fit(host.to_str().unwrap_or_default()),
        None if request.version() <= Version::HTTP_10 => Ok(String::new()),
        // An HTTP/2 request without authority.
        None => Err(Error::BadRequest("no Host header")),
    }
}

/// RFC 9110 section 4.2.4: a user before the host is more likely to deceive than to be meant.
fn fit(authority: &str) -> Result<String, Error> {
    match Authority::try_from(authority) {
        Ok(_) if !authority.contains('@') => Ok(authority.to_owned()),
        Ok(_) | Err(_) => Err(Error::BadRequest("the host is none")),
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
    // Most paths have nothing of the kind.
    if !path.contains(['.', '%']) {
        return false;
    }
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
pub(super) fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
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
        assert_eq!(host("http://b.example:80/x", "a.example"), "b.example");
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        let two = request("/", &[("host", "a"), ("host", "b")]);
        assert!(matches!(Target::of(&two, false), Err(Error::BadRequest(_))));
        for path in [
            "/a/../b",
            "/..",
            "/%2e%2e/b",
            "/a/.%2E/b",
            "/a/..%2fb",
            "/a/..%5Cb",
            "/./a",
        ] {
            let request = request(path, &[("host", "a")]);
            assert!(
                matches!(Target::of(&request, false), Err(Error::BadRequest(_))),
                "{path}"
            );
        }
        for request in [request("*", &[("host", "a")]), request("http://a/", &[])] {
            let target = Target::of(&request, false);
            assert!(matches!(target, Err(Error::BadRequest(_))), "{}", request.uri());
        }
        for path in ["/a..b/.c/...", "/a%2", "/%"] {
            let request = request(path, &[("host", "a")]);
            assert!(Target::of(&request, false).is_ok(), "{path}");
        }
        for host in ["", "a b", "a/b", "user@a"] {
            let request = request("/", &[("host", host)]);
            assert!(
                matches!(Target::of(&request, false), Err(Error::BadRequest(_))),
                "{host}"
            );
        }
    }

    #[test]
    fn only_http_1_0_does_without_a_host_and_http_2_names_one() {
        let mut bare = request("/", &[]);
        assert!(Target::of(&bare, false).is_err());
        *bare.version_mut() = Version::HTTP_10;
        assert_eq!(Target::of(&bare, false).unwrap().authority, "");
        let mut two = request("http://a/", &[("host", "b")]);
        assert_eq!(Target::of(&two, false).unwrap().authority, "a");
        *two.version_mut() = Version::HTTP_2;
        assert!(Target::of(&two, false).is_err());
        two.headers_mut().insert("host", HeaderValue::from_static("A"));
        assert!(Target::of(&two, false).is_ok());
    }

    #[test]
    fn subprotocols_are_every_element_of_every_line_and_count_for_websockets_only() {
        let headers = [
            ("sec-websocket-protocol", "a, b"),
            ("sec-websocket-protocol", "c,"),
            ("host", "a"),
        ];
        let request = request("/", &headers);
        assert_eq!(Target::of(&request, true).unwrap().protos, ["a", "b", "c"]);
        assert!(Target::of(&request, false).unwrap().protos.is_empty());
    }
}
