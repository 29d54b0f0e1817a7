//! One request through to its upstream and its response back. Bodies stream both ways with back-pressure, except for
//! the small ones that may hold signalling.

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT_ENCODING, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response};

use crate::signaling::Direction;
use crate::upstream::{Body, Purpose};

use super::content::{self, Incomplete};
use super::context::Signalling;
use super::errors::Error;
use super::reply::Reply;
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
    let body = if body.is_end_stream() {
        Repeatable::Nothing
    } else {
        Box::pin(taken(exchange, &parts, body)).await?
    };
    let mut attempts = Attempts::default();
    // The answer of a server that knows nothing of the call, in case that none does.
    let mut disclaimer: Option<Reply> = None;
    loop {
        let choice = match (
            attempts.choose(exchange, Purpose::Request, &parts.headers),
            disclaimer.take(),
        ) {
            (Ok(choice), _) => choice,
            (Err(_), Some(reply)) => return Ok(reply.into_response(exchange, &parts)),
            (Err(error), None) => return Err(error.into()),
        };
        let server = choice.lease.server();
        let signalling = exchange
            .signalling(&choice.lease, exchange.visitor.connection)
            .await;
        let ours = to_upstream(exchange, &signalling, &parts, &body);
        exchange.visit.sent_to(server);
        match exchange.site.client.send(&choice.lease, ours).await {
            Ok(response) => {
                exchange.visit.upstream_answered();
                let reply = Reply::of(exchange, &parts.method, choice, signalling, response).await?;
                if !(body.is_kept() && reply.is_disclaimer(exchange, &parts)) {
                    return Ok(reply.into_response(exchange, &parts));
                }
                attempts.disclaimed(exchange, reply.choice());
                disclaimer = Some(reply);
            }
            Err(error) => {
                let may_repeat = body.may_repeat(&parts.method, &error);
                attempts.failed(exchange, &choice, error, may_repeat)?;
            }
        }
    }
}

/// A request's body, as far as it must be there before the request goes on.
async fn taken(exchange: &Exchange<'_>, parts: &Parts, body: Incoming) -> Result<Repeatable, Error> {
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
    let gathered = gathered.map_err(|incomplete| match incomplete {
        Incomplete::Broken(error) if error.is::<UploadTooLarge>() => Error::BodyTooLarge,
        Incomplete::Broken(error) if !error.is::<UploadStalled>() => Error::UploadBroken,
        Incomplete::Broken(_) | Incomplete::Stalled => Error::UploadStalled,
    })?;
    Ok(Repeatable::new(gathered))
}

/// The request for one attempt: what a server sees of the client depends on the server.
fn to_upstream(
    exchange: &Exchange<'_>,
    signalling: &Signalling,
    parts: &Parts,
    body: &Repeatable,
) -> Request<Body> {
    let mut headers = exchange.to_upstream(&parts.headers);
    if !is_asset(parts.uri.path()) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let body = match body {
        Repeatable::Nothing => content::empty(),
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

/// Whether a path is one of a script, a picture or the like.
pub(super) fn is_asset(path: &str) -> bool {
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
