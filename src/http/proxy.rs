//! One request through to its upstream and its response back. Bodies stream both ways with back-pressure, except for
//! the small ones that may hold signalling.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::signaling::Direction;
use crate::upstream::{Body, Purpose};

use super::content::{self, Incomplete};
use super::context::Signalling;
use super::errors::Error;
use super::headers;
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
    let upstreams = &exchange.site.shared.upstreams;
    let server = upstreams.group(exchange.route.upstream).pick(Purpose::Request)?;
    let signalling = exchange.signalling(server, exchange.visitor.connection).await;
    let method = request.method().clone();
    let request = to_upstream(exchange, &signalling, request).await?;
    exchange.visit.sent_to(server);
    let response = exchange.site.client.send(server, request).await?;
    exchange.visit.upstream_answered();
    to_client(&signalling, &method, response).await
}

async fn to_upstream(
    exchange: &Exchange<'_>,
    signalling: &Signalling,
    request: Request<Incoming>,
) -> Result<Request<Body>, Error> {
    let (mut parts, body) = request.into_parts();
    let authority = &exchange.target.authority;
    headers::to_upstream(&mut parts.headers, &exchange.visitor.conn, authority, exchange.id);
    if !is_asset(parts.uri.path()) {
        parts
            .headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let limits = &exchange.limits;
    let body = Upload::new(
        body,
        limits.body_timeout,
        limits.body_bytes,
        exchange.visit.clone(),
    )
    .boxed_unsync();
    let body = content::inspect(signalling, Direction::ToServer, &mut parts.headers, body)
        .await
        .map_err(|incomplete| match incomplete {
            Incomplete::Broken(error) if error.is::<UploadTooLarge>() => Error::BodyTooLarge,
            Incomplete::Broken(error) if !error.is::<UploadStalled>() => Error::UploadBroken,
            Incomplete::Broken(_) | Incomplete::Stalled => Error::UploadStalled,
        })?;
    Ok(Request::from_parts(parts, body))
}

/// Makes an upstream's response fit for the client; also what refused a WebSocket.
pub(super) async fn to_client(
    signalling: &Signalling,
    method: &Method,
    response: Response<Body>,
) -> Result<Response<Body>, Error> {
    let (mut parts, mut body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::BadResponse("it switched protocols unasked"));
    }
    headers::strip_hop_by_hop(&mut parts.headers);
    if has_body(method, parts.status) {
        body = content::inspect(signalling, Direction::ToClient, &mut parts.headers, body)
            .await
            .map_err(|incomplete| match incomplete {
                Incomplete::Broken(error) => {
                    tracing::debug!(%error, "response body broke off");
                    Error::BadResponse("its body broke off")
                }
                Incomplete::Stalled => Error::DownloadStalled,
            })?;
    }
    Ok(Response::from_parts(parts, body))
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
