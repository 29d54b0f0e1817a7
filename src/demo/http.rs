//! The HTTP side: the page, and signalling in the manner of WHIP (RFC 9725) without its trickle.
//!
//! HTTP/1.1 without TLS, since the only client is the proxy on the same machine.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    HeaderValue, LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use str0m::change::SdpOffer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::calls::{Calls, Refusal};
use super::page;

/// Largest offer: browsers send 5 to 10 KiB.
const BODY: usize = 64 * 1024;
/// Connections at the same time.
const CONNECTIONS: usize = 256;
/// How long a client may take for a request's head, and again for its body.
const PATIENCE: Duration = Duration::from_secs(10);
/// The media type of an offer and of an answer (RFC 9725 4.2).
const SDP: &str = "application/sdp";
/// The page needs its own files, its own origin and the camera; nothing else gets a chance.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Reply = Response<Full<Bytes>>;

/// Serves `listener` for ever.
pub(super) async fn serve(listener: TcpListener, calls: Arc<Calls>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve_connection(stream, Arc::clone(&calls)))),
                // Out of descriptors: the only cure is that others end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, calls: Arc<Calls>) {
    let service = service_fn(move |request| {
        let calls = Arc::clone(&calls);
        async move { Ok::<_, Infallible>(respond(request, &calls).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::trace!(%error, "a connection to the demo ended early");
    }
}

async fn respond(request: Request<Incoming>, calls: &Arc<Calls>) -> Reply {
    let path = request.uri().path();
    if path == "/echo" {
        return cross_origin(match *request.method() {
            Method::POST => call(request, calls).await,
            Method::OPTIONS => preflight("POST"),
            _ => not_allowed("OPTIONS, POST"),
        });
    }
    if let Some(id) = path.strip_prefix("/echo/") {
        return cross_origin(match *request.method() {
            Method::DELETE if calls.hang_up(id) => reply(StatusCode::OK, Bytes::new()),
            Method::DELETE => refuse(StatusCode::NOT_FOUND, "no such call"),
            Method::OPTIONS => preflight("DELETE"),
            _ => not_allowed("DELETE, OPTIONS"),
        });
    }
    match (page::asset(path), request.method()) {
        (Some(asset), &Method::GET | &Method::HEAD) => show(asset),
        (Some(_), _) => not_allowed("GET, HEAD"),
        (None, _) => refuse(StatusCode::NOT_FOUND, "not found"),
    }
}

/// Takes an offer, gives an answer.
async fn call(request: Request<Incoming>, calls: &Arc<Calls>) -> Reply {
    if !is_sdp(request.headers()) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "an offer is application/sdp");
    }
    let body = Limited::new(request.into_body(), BODY).collect();
    let body = match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "an offer has at most 64 KiB");
        }
        Ok(Err(_)) => return refuse(StatusCode::BAD_REQUEST, "the body did not arrive"),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
    };
    let Some(offer) = parse_offer(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "the body is not an SDP offer");
    };
    match calls.open(offer) {
        Ok(opened) => created(&opened.id, opened.answer),
        Err(refusal) => refuse_call(&refusal),
    }
}

fn parse_offer(body: &[u8]) -> Option<SdpOffer> {
    SdpOffer::from_sdp_string(std::str::from_utf8(body).ok()?).ok()
}

/// Media types are compared without their parameters and regardless of case (RFC 9110 8.3.1).
fn is_sdp(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(SDP))
}

fn show(asset: &page::Asset) -> Reply {
    let reply = reply(StatusCode::OK, asset.body);
    let reply = with(reply, CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    let reply = with(reply, CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    with(reply, X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
}

fn created(id: &str, answer: String) -> Reply {
    let location =
        HeaderValue::try_from(format!("/echo/{id}")).expect("an id is hexadecimal, so a header can hold it");
    let reply = with(reply(StatusCode::CREATED, answer), LOCATION, location);
    with(reply, CONTENT_TYPE, HeaderValue::from_static(SDP))
}

fn refuse_call(refusal: &Refusal) -> Reply {
    let reason = refusal.to_string();
    match refusal {
        Refusal::Busy(_) => {
            let reply = refuse(StatusCode::SERVICE_UNAVAILABLE, reason);
            with(reply, RETRY_AFTER, HeaderValue::from_static("10"))
        }
        Refusal::Offer(_) => refuse(StatusCode::BAD_REQUEST, reason),
        Refusal::Entropy(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, reason),
    }
}

fn preflight(methods: &'static str) -> Reply {
    let reply = reply(StatusCode::NO_CONTENT, Bytes::new());
    let reply = with(
        reply,
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(methods),
    );
    with(
        reply,
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("content-type"),
    )
}

/// Any page may call the echo server, as it may any public WHIP server: it holds nothing of value.
fn cross_origin(reply: Reply) -> Reply {
    let reply = with(reply, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    with(
        reply,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("location"),
    )
}

fn not_allowed(allow: &'static str) -> Reply {
    let reply = refuse(StatusCode::METHOD_NOT_ALLOWED, format!("allowed here: {allow}"));
    with(reply, ALLOW, HeaderValue::from_static(allow))
}

fn refuse(status: StatusCode, reason: impl Into<String>) -> Reply {
    let reply = reply(status, reason.into() + "\n");
    with(
        reply,
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    )
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    // The page changes with the binary, and an answer is for one call.
    with(reply, CACHE_CONTROL, HeaderValue::from_static("no-cache"))
}

fn with(mut reply: Reply, name: HeaderName, value: HeaderValue) -> Reply {
    reply.headers_mut().insert(name, value);
    reply
}
