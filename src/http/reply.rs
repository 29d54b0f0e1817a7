//! An upstream's response on its way to the client: its headers translated, its signalling rewritten, and what it tells
//! of calls noted.

use hyper::header::SET_COOKIE;
use hyper::http::{request, response};
use hyper::{Method, Response, StatusCode};

use crate::signaling::Direction;
use crate::upstream::Body;

use super::affinity::{self, Choice, Told};
use super::content::{self, Gathered, Incomplete};
use super::context::Signalling;
use super::errors::Error;
use super::headers;
use super::proxy::is_asset;
use super::references::References;
use super::site::Exchange;

/// A response, collected as far as it may hold signalling.
pub(super) struct Reply {
    parts: response::Parts,
    body: Gathered,
    choice: Choice,
    signalling: Signalling,
}

impl Reply {
    /// Takes what a server answered.
    pub(super) async fn of(
        exchange: &Exchange<'_>,
        method: &Method,
        choice: Choice,
        signalling: Signalling,
        response: Response<Body>,
    ) -> Result<Self, Error> {
        let (mut parts, body) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::BadResponse("it switched protocols unasked"));
        }
        headers::strip_hop_by_hop(&mut parts.headers);
        references(exchange).translate(&mut parts.headers);
        let counters = &exchange.site.shared.counters;
        let body = if has_body(method, parts.status) {
            content::gather(counters, Direction::ToClient, &parts.headers, body)
                .await
                .map_err(|incomplete| match incomplete {
                    Incomplete::Broken(error) => {
                        tracing::debug!(%error, "response body broke off");
                        Error::BadResponse("its body broke off")
                    }
                    Incomplete::Stalled => Error::DownloadStalled,
                })?
        } else {
            Gathered::Stream(body)
        };
        Ok(Self {
            parts,
            body,
            choice,
            signalling,
        })
    }

    /// The server that answered.
    pub(super) fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Whether the server says that the call is not one of its own, and another may know it.
    pub(super) fn is_disclaimer(&self, exchange: &Exchange<'_>) -> bool {
        !self.choice.bound && affinity::is_disclaimer(exchange, self.whole())
    }

    /// The response for the client.
    pub(super) fn into_response(self, exchange: &Exchange<'_>, asked: &request::Parts) -> Response<Body> {
        let told = Told {
            method: &asked.method,
            request: &asked.headers,
            status: self.parts.status,
            response: &self.parts.headers,
            body: self.whole(),
        };
        affinity::learn(exchange, &self.choice, &told);
        let Self {
            mut parts,
            body,
            choice,
            signalling,
        } = self;
        let body = match body {
            Gathered::Whole(whole) => {
                let body = content::rewrite(&signalling, Direction::ToClient, &mut parts.headers, whole);
                content::full(body)
            }
            Gathered::Stream(body) => body,
        };
        let cookie = choice
            .cookie
            .filter(|_| keeps_cookies(&asked.method, exchange.target.path()));
        if let Some(cookie) = cookie {
            parts.headers.append(SET_COOKIE, cookie);
        }
        Response::from_parts(parts, body)
    }

    fn whole(&self) -> Option<&[u8]> {
        match &self.body {
            Gathered::Whole(whole) => Some(whole),
            Gathered::Stream(_) => None,
        }
    }
}

fn references<'a>(exchange: &'a Exchange<'_>) -> References<'a> {
    let group = exchange.site.shared.upstreams.group(exchange.route.upstream);
    References {
        servers: group.all().map(|peer| peer.server()).collect(),
        authority: &exchange.target.authority,
        secure: exchange.secure,
        rule: exchange.rule.as_ref(),
    }
}

/// Preflights keep none, and a cookie would keep assets out of caches.
fn keeps_cookies(method: &Method, path: &str) -> bool {
    method != Method::OPTIONS && !is_asset(path)
}

/// RFC 9112 section 6.3. The length that such a response names is of a body that is not there. A part of a body is
/// not looked at either: it may begin and end anywhere.
fn has_body(method: &Method, status: StatusCode) -> bool {
    let bodiless = [
        StatusCode::NO_CONTENT,
        StatusCode::NOT_MODIFIED,
        StatusCode::PARTIAL_CONTENT,
    ];
    method != Method::HEAD && !status.is_informational() && !bodiless.contains(&status)
}
