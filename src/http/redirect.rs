//! The redirect of plain HTTP to HTTPS.

use hyper::header::{HeaderValue, LOCATION};
use hyper::{Response, StatusCode, Uri};

use crate::upstream::Body;

use super::errors::{self, Error};

/// Certificate authorities ask here over plain HTTP before there is a certificate (RFC 8555 section 8.3).
const ACME: &str = "/.well-known/acme-challenge/";

/// Which of a connection's plain requests are redirected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Redirect {
    /// Any at all.
    pub(super) enabled: bool,
    /// HTTPS is on the port that was asked, else on 443.
    pub(super) same_port: bool,
}

impl Redirect {
    /// Whether a request that came in the clear is redirected.
    pub(super) fn applies(self, uri: &Uri) -> bool {
        self.enabled && !uri.path().starts_with(ACME)
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
    fn challenges_of_certificate_authorities_are_answered_in_the_clear() {
        let redirect = Redirect {
            enabled: true,
            same_port: true,
        };
        assert!(redirect.applies(&Uri::from_static("/.well-known/other")));
        assert!(!redirect.applies(&Uri::from_static("/.well-known/acme-challenge/x")));
        assert!(!Redirect::default().applies(&Uri::from_static("/")));
    }
}
