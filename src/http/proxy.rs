//! One request through to its upstream and its response back. Bodies stream both ways with back-pressure, except for
//! the small ones that may hold signalling.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use crate::signaling::Direction;
use crate::upstream::{Body, Purpose};

use super::affinity::{self, Choice, Told};
use super::content::{self, Gathered, Incomplete};
use super::context::Signalling;
use super::errors::Error;
use super::headers;
use super::references::References;
use super::retry::{Attempts, Repeatable};
use super::site::Exchange;
use super::upload::{Upload, UploadStalled, UploadTooLarge};

/// Endings of paths whose responses hold no signalling, so that they may come compressed.
const ASSETS: [&str; 20] = [
    "js", "mjs", "css", "html", "htm", "map", "wasm", "svg", "png", "jpg", "jpeg", "gif", "webp", "ico",
    "woff", "woff2", "ttf", "mp4", "webm", "mp3",
];

/// Forwards a request and returns its response.
pub(super) async fn forward(
    exchange: &Exchange<'_>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let limits = &exchange.limits;
    let body = Upload::new(
        body,
        limits.body_timeout,
        limits.body_bytes,
        exchange.visit.clone(),
    )
    .boxed_unsync();
    let counters = &exchange.site.shared.counters;
    let gathered = content::gather(counters, Direction::ToServer, &parts.headers, body).await;
    let body = Repeatable::new(gathered.map_err(|incomplete| match incomplete {
        Incomplete::Broken(error) if error.is::<UploadTooLarge>() => Error::BodyTooLarge,
        Incomplete::Broken(error) if !error.is::<UploadStalled>() => Error::UploadBroken,
        Incomplete::Broken(_) | Incomplete::Stalled => Error::UploadStalled,
    })?);
    let mut attempts = Attempts::default();
    loop {
        let choice = attempts.choose(exchange, Purpose::Request, &parts.headers)?;
        let server = choice.lease.server();
        let signalling = exchange.signalling(server, exchange.visitor.connection).await;
        let ours = to_upstream(exchange, &signalling, &parts, &body);
        exchange.visit.sent_to(server);
        match exchange.site.client.send(&choice.lease, ours).await {
            Ok(response) => {
                exchange.visit.upstream_answered();
                return to_client(
                    exchange,
                    &signalling,
                    &parts.method,
                    &parts.headers,
                    choice,
                    response,
                )
                .await;
            }
            Err(error) => {
                let may_repeat = body.may_repeat(&parts.method, &error);
                attempts.failed(exchange, &choice, error, may_repeat)?;
            }
        }
    }
}

/// The request for one attempt: what a server sees of the client depends on the server.
fn to_upstream(
    exchange: &Exchange<'_>,
    signalling: &Signalling,
    parts: &Parts,
    body: &Repeatable,
) -> Request<Body> {
    let mut headers = parts.headers.clone();
    exchange.to_upstream(&mut headers);
    if !is_asset(parts.uri.path()) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let body = match body {
        Repeatable::Whole(whole) => {
            let body = content::rewrite(signalling, Direction::ToServer, &mut headers, whole.clone());
            content::full(body)
        }
        Repeatable::Stream(slot) => slot.lend(),
    };
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = headers;
    request
}

/// Makes an upstream's response fit for the client; also what refused a WebSocket.
pub(super) async fn to_client(
    exchange: &Exchange<'_>,
    signalling: &Signalling,
    method: &Method,
    asked: &HeaderMap,
    choice: Choice,
    response: Response<Body>,
) -> Result<Response<Body>, Error> {
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::BadResponse("it switched protocols unasked"));
    }
    headers::strip_hop_by_hop(&mut parts.headers);
    references(exchange).translate(&mut parts.headers);
    let counters = &exchange.site.shared.counters;
    let gathered = if has_body(method, parts.status) {
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
    let told = Told {
        method,
        request: asked,
        status: parts.status,
        response: &parts.headers,
        body: match &gathered {
            Gathered::Whole(whole) => Some(whole),
            Gathered::Stream(_) => None,
        },
    };
    affinity::learn(exchange, &choice.lease, &told);
    let body = match gathered {
        Gathered::Whole(whole) => {
            let body = content::rewrite(signalling, Direction::ToClient, &mut parts.headers, whole);
            content::full(body)
        }
        Gathered::Stream(body) => body,
    };
    if let Some(cookie) = choice
        .cookie
        .filter(|_| keeps_cookies(method, exchange.target.path()))
    {
        parts.headers.append(SET_COOKIE, cookie);
    }
    Ok(Response::from_parts(parts, body))
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

fn is_asset(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| ASSETS.iter().any(|asset| ending.eq_ignore_ascii_case(asset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_told_by_their_ending() {
        for path in ["/a/janus.js", "/x.PNG", "/index.html"] {
            assert!(is_asset(path), "{path}");
        }
        for path in [
            "/",
            "/janus",
            "/janus/123",
            "/whip/endpoint",
            "/js",
            "/a.js/b",
            "/offer.json",
        ] {
            assert!(!is_asset(path), "{path}");
        }
    }
}
