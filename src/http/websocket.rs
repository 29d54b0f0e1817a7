//! WebSocket handshakes of HTTP/1.1 (RFC 6455 section 4) and HTTP/2 (RFC 8441): the upstream is asked first, always
//! over HTTP/1.1, and only what it accepts is accepted from the client. A refusal passes as the response that it is.
//!
//! No extension is negotiated on either side, so that messages can be read.

use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, SET_COOKIE,
    UPGRADE,
};
use hyper::upgrade::{self, OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::config::Limits;
use crate::upstream::{Body, Purpose};

use super::affinity::Choice;
use super::claim::Claims;
use super::content::empty;
use super::context::Signalling;
use super::errors::Error;
use super::relay::Passage;
use super::reply::Reply;
use super::retry::{self, Attempts};
use super::site::Exchange;
use super::target::list;
use super::{headers, relay};

const WEBSOCKET: &str = "websocket";
/// Of each leg; tungstenite's own default is for bulk transfer.
const BUFFER: usize = 16 * 1024;

/// Whether a request asks for a WebSocket.
pub(super) fn is_handshake<B>(request: &Request<B>) -> bool {
    if let Some(protocol) = request.extensions().get::<Protocol>() {
        return *request.method() == Method::CONNECT && protocol.as_str() == WEBSOCKET;
    }
    let names = |header: HeaderName, token: &str| {
        list(request.headers(), &header).any(|named| named.eq_ignore_ascii_case(token))
    };
    names(UPGRADE, WEBSOCKET) && names(CONNECTION, "upgrade")
}

/// Answers an upgrade request, and relays the WebSocket that comes of it until it ends.
pub(super) async fn serve(
    exchange: &Exchange<'_>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    if request
        .headers()
        .get(SEC_WEBSOCKET_VERSION)
        .map(HeaderValue::as_bytes)
        != Some(b"13")
    {
        return Err(Error::WebSocketVersion);
    }
    let mut accepted = acceptance(&request)?;
    let client = upgrade::on(&mut request);
    // Upstreams, and the rules for repeating requests, know HTTP/1.1's handshake only.
    *request.method_mut() = Method::GET;

    let key = generate_key();
    let opened = open(exchange, &request, &key).await?;
    let Opened {
        choice,
        signalling,
        mut response,
    } = opened;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        if accepted.status() == StatusCode::OK && response.status().is_success() {
            return Err(Error::BadResponse(
                "it answered a WebSocket handshake as a request",
            ));
        }
        let (parts, _) = request.into_parts();
        let reply = Reply::of(exchange, &parts.method, choice, signalling, response).await?;
        return Ok(reply.into_response(exchange, &parts));
    }
    check(response.headers(), &key, exchange.target.protos())?;
    let ours = || handshake(exchange, &request, &key);
    let claims = Claims::of(exchange, ours, &choice.lease, &response);
    let server = upgrade::on(&mut response);
    copy_headers(response.headers(), accepted.headers_mut());
    if let Some(cookie) = choice.cookie {
        accepted.headers_mut().append(SET_COOKIE, cookie);
    }
    let passage = Passage {
        signalling,
        admission: exchange.visitor.admission.clone(),
        limits: exchange.limits.clone(),
        send_timeout: exchange.visitor.limits.send_timeout,
        visit: exchange.visit.clone(),
        claims,
        lease: choice.lease,
    };
    passage.visit.is_websocket();
    tokio::spawn(run(client, server, passage));
    Ok(accepted)
}

/// What the client is told once the upstream has accepted, apart from the upstream's own headers.
fn acceptance<B>(request: &Request<B>) -> Result<Response<Body>, Error> {
    let mut response = Response::new(empty());
    if request.extensions().get::<Protocol>().is_some() {
        // RFC 8441 section 5: no key, no upgrade, and 200 like any other CONNECT.
        return Ok(response);
    }
    if *request.method() != Method::GET {
        return Err(Error::BadRequest("a WebSocket begins with GET"));
    }
    let key = request.headers().get(SEC_WEBSOCKET_KEY);
    let key = key.ok_or(Error::BadRequest("the WebSocket handshake has no key"))?;
    let accept =
        HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 makes a header value");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// An upstream's answer to a handshake.
struct Opened {
    choice: Choice,
    signalling: Signalling,
    response: Response<Body>,
}

/// Asks a server, and the next if that one cannot be reached.
async fn open(exchange: &Exchange<'_>, request: &Request<Incoming>, key: &str) -> Result<Opened, Error> {
    let site = exchange.site;
    let connection = site.shared.next_connection();
    let mut attempts = Attempts::default();
    loop {
        let choice = attempts.choose(exchange, Purpose::WebSocket, request.headers())?;
        let signalling = exchange.signalling(&choice.lease, connection).await;
        let ours = handshake(exchange, request, key);
        exchange.visit.sent_to(choice.lease.server());
        match site.client.send(&choice.lease, ours).await {
            Ok(response) => {
                exchange.visit.upstream_answered();
                return Ok(Opened {
                    choice,
                    signalling,
                    response,
                });
            }
            Err(error) => {
                let may_repeat = retry::is_harmless(request.method(), &error);
                attempts.failed(exchange, &choice, error, may_repeat)?;
            }
        }
    }
}

/// One side of a WebSocket that is open.
pub(super) type Leg = WebSocketStream<TokioIo<Upgraded>>;

/// The side of an upstream.
pub(super) async fn server_leg(server: Upgraded, limits: &Limits) -> Leg {
    leg(server, Role::Client, limits).await
}

async fn leg(stream: Upgraded, ours: Role, limits: &Limits) -> Leg {
    let config = config(limits.websocket_message_bytes);
    WebSocketStream::from_raw_socket(TokioIo::new(stream), ours, Some(config)).await
}

/// Longer messages end the WebSocket with code 1009.
fn config(max_message: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
}

/// Our own handshake towards the upstream, with the client's end-to-end headers.
fn handshake(exchange: &Exchange<'_>, request: &Request<Incoming>, key: &str) -> Request<Body> {
    let mut ours = Request::new(empty());
    *ours.uri_mut() = request.uri().clone();
    let map = ours.headers_mut();
    *map = exchange.to_upstream(request.headers());
    map.remove(CONTENT_LENGTH);
    map.remove(SEC_WEBSOCKET_EXTENSIONS);
    map.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    map.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    let key = HeaderValue::from_str(key).expect("base64 makes a header value");
    map.insert(SEC_WEBSOCKET_KEY, key);
    ours
}

/// What a client must check of a server's handshake (RFC 6455 section 4.1).
pub(super) fn check(headers: &HeaderMap, key: &str, offered: &[String]) -> Result<(), Error> {
    let accept = headers.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if accept != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(Error::BadResponse("its WebSocket accept key is wrong"));
    }
    if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(Error::BadResponse("it chose a WebSocket extension unasked"));
    }
    let chosen: Vec<&str> = list(headers, &SEC_WEBSOCKET_PROTOCOL).collect();
    let is_offered = |proto: &&str| offered.iter().any(|offered| offered == proto);
    if chosen.len() > 1 || !chosen.iter().all(is_offered) {
        return Err(Error::BadResponse("it chose a WebSocket protocol unasked"));
    }
    Ok(())
}

/// The upstream's own headers (the chosen protocol, cookies) go to the client; those of the handshake are ours.
fn copy_headers(theirs: &HeaderMap, ours: &mut HeaderMap) {
    let mut theirs = theirs.clone();
    headers::strip_hop_by_hop(&mut theirs);
    for name in [SEC_WEBSOCKET_ACCEPT, CONTENT_LENGTH] {
        theirs.remove(name);
    }
    for (name, value) in &theirs {
        ours.append(name, value.clone());
    }
}

/// Waits for both connections to be upgraded and relays between them. If the client is gone by then, so is the
/// upstream's connection. The server counts as busy with it all the while.
async fn run(client: OnUpgrade, server: OnUpgrade, mut passage: Passage) {
    let (Ok(client), Ok(server)) = tokio::join!(client, server) else {
        return;
    };
    let mut client = leg(client, Role::Server, &passage.limits).await;
    let mut server = server_leg(server, &passage.limits).await;
    let shared = passage.signalling.shared.clone();
    shared.counters.websockets_opened.add();
    let _open = shared.counters.open.websocket.enter();
    while let Some(denied) = relay::relay(client, server, &passage).await {
        client = denied.client;
        let asked = denied
            .denial
            .ask_another(&mut client, denied.server, &mut passage);
        server = Box::pin(asked).await;
    }
    shared.counters.websockets_closed.add();
}
