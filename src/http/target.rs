//! What a request is aimed at: its host, its path and its WebSocket subprotocols, refused where they are ambiguous.

use hyper::ext::Protocol;
use hyper::header::{HOST, HeaderName, SEC_WEBSOCKET_PROTOCOL};
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
    /// [`Error::BadRequest`] for what two servers might read in two ways: several Host headers or none, or a path with `.`
    /// or `..` segments, which would pass one route's prefix and mean another's.
    pub(super) fn of<B>(request: &Request<B>, websocket: bool) -> Result<Self, Error> {
        if request.method() == Method::CONNECT && !websocket {
            return Err(if request.extensions().get::<Protocol>().is_some() {
                Error::UnknownProtocol
            } else {
                Error::MethodNotAllowed
            });
        }
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

/// The target's authority outranks the Host header (RFC 9112 section 3.2.2).
fn authority<B>(request: &Request<B>) -> Result<String, Error> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(Error::BadRequest("more than one Host header"));
    }
    // RFC 9112 section 3.2.
    if host.is_none() && request.version() == Version::HTTP_11 {
        return Err(Error::BadRequest("there is no Host header"));
    }
    if let Some(authority) = request.uri().authority() {
        let text = authority.as_str();
        return Ok(text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned());
    }
    let host = host.map_or(Ok(""), |host| host.to_str());
    host.map(str::to_owned)
        .map_err(|_| Error::BadRequest("the Host header is no text"))
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
        assert_eq!(host("http://user@b.example:80/x", "a.example"), "b.example");
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        let two = request("/", &[("host", "a"), ("host", "b")]);
        assert!(matches!(Target::of(&two, false), Err(Error::BadRequest(_))));
        let mut none = Request::new(());
        assert!(matches!(Target::of(&none, false), Err(Error::BadRequest(_))));
        *none.version_mut() = Version::HTTP_10;
        assert!(Target::of(&none, false).is_ok());
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
