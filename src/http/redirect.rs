//! The redirect of plain HTTP to HTTPS.

use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode, Uri};

use crate::upstream::Body;

use super::errors::{self, Error};
use super::ports::ConnInfo;

/// Certificate authorities ask here over plain HTTP before there is a certificate (RFC 8555 section 8.3).
const ACME: &str = "/.well-known/acme-challenge/";

/// Which of a connection's plain requests are redirected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Redirect {
    /// Any at all.
    pub(super) enabled: bool,
    /// HTTPS is on the port that was asked, else on 443.
    pub(super) same_port: bool,
    /// The peer is a proxy whose word on its client's connection is taken.
    pub(super) trusted_peer: bool,
}

impl Redirect {
    pub(super) fn applies<B>(self, conn: &ConnInfo, request: &Request<B>) -> bool {
        let secure = conn.secure || (self.trusted_peer && forwarded_secure(request));
        self.enabled && !secure && !request.uri().path().starts_with(ACME)
    }

    /// The redirect of a request for `uri` at `authority`.
    ///
    /// # Errors
    /// The client did not say which host it wants.
    pub(super) fn response(self, authority: &str, uri: &Uri) -> Result<Response<Body>, Error> {
        if authority.is_empty() {
            return Err(Error::BadRequest("the request names no host"));
        }
        let host = if self.same_port {
            authority
        } else {
            without_port(authority)
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let location = HeaderValue::try_from(format!("https://{host}{path}"))
            .map_err(|_| Error::BadRequest("the host is no text"))?;
        let mut response = errors::text(StatusCode::PERMANENT_REDIRECT, "use https");
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }
}

/// The proxy next to us speaks last.
fn forwarded_secure<B>(request: &Request<B>) -> bool {
    let last = request.headers().get_all("x-forwarded-proto").iter().next_back();
    let last = last.and_then(|value| value.to_str().ok()).unwrap_or_default();
    last.rsplit(',')
        .next()
        .is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(same_port: bool, authority: &str, uri: &'static str) -> String {
        let redirect = Redirect {
            enabled: true,
            same_port,
            trusted_peer: false,
        };
        let response = redirect.response(authority, &Uri::from_static(uri)).unwrap();
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        response.headers()[LOCATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_location_keeps_host_path_and_query() {
        assert_eq!(
            location(true, "a.example:6443", "/x%2Fy?q=1"),
            "https://a.example:6443/x%2Fy?q=1"
        );
        assert_eq!(location(false, "a.example:80", "/x"), "https://a.example/x");
        assert_eq!(location(false, "[2001:db8::1]:80", "/"), "https://[2001:db8::1]/");
        assert_eq!(location(false, "[2001:db8::1]", "/"), "https://[2001:db8::1]/");
    }

    #[test]
    fn only_plain_requests_go_and_only_a_trusted_peer_is_believed() {
        let conn = ConnInfo {
            local: "192.0.2.1:80".parse().unwrap(),
            remote: "192.0.2.2:5000".parse().unwrap(),
            secure: false,
        };
        let request = |path: &str, proto: &str| {
            let request = Request::get(path).header("x-forwarded-proto", proto);
            request.body(()).unwrap()
        };
        let redirect = Redirect {
            enabled: true,
            ..Redirect::default()
        };
        assert!(redirect.applies(&conn, &request("/", "https")));
        assert!(!redirect.applies(&conn, &request("/.well-known/acme-challenge/x", "")));
        assert!(!redirect.applies(&ConnInfo { secure: true, ..conn }, &request("/", "")));
        assert!(!Redirect::default().applies(&conn, &request("/", "")));
        let trusted = Redirect {
            trusted_peer: true,
            ..redirect
        };
        assert!(!trusted.applies(&conn, &request("/", "http, HTTPS")));
        assert!(trusted.applies(&conn, &request("/", "https, http")));
    }
}
