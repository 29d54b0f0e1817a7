//! A Janus session that is claimed from another WebSocket than its own, as `janus.js` does after a lost connection: of
//! a group's servers only one has it, and the claim comes after the choice among them.
//!
//! A claim is the first message of its WebSocket, and nothing follows it before its answer. Where a server answers that
//! it knows no such session, the claim goes to the next one, over a WebSocket with the same handshake; the client's own
//! stays as it is. When none is left, the last answer passes. Whatever begins otherwise is never looked at again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::SinkExt as _;
use hyper::header::{HeaderMap, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL};
use hyper::upgrade;
use hyper::{Request, Response, StatusCode, Uri};
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::upstream::{Body, Client, Lease, Peer, Purpose};

use super::affinity::{denies_session, serves_calls};
use super::content::empty;
use super::relay::{CLOSE_TIMEOUT, Passage};
use super::site::Exchange;
use super::websocket::{self, Leg};

/// The subprotocol of Janus' API.
const PROTOCOL: &str = "janus-protocol";
/// A claim is a hundred bytes or so.
const MAX_CLAIM: usize = 1024;

/// The beginning of one WebSocket, until it is known not to be a claim, or who has the session.
pub(super) struct Claims {
    settled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    /// There is nothing to look for.
    #[default]
    Settled,
    /// The client has said nothing yet.
    Open(Box<Others>),
    /// It has claimed a session, and waits for the answer.
    Asked(Box<Others>, Message),
}

/// A claim that a server knows nothing of, and those that may.
pub(super) struct Denial {
    others: Box<Others>,
    claim: Message,
    reply: Message,
}

/// The servers that have not been asked, and how a WebSocket to them begins.
pub(super) struct Others {
    client: Arc<Client>,
    uri: Uri,
    headers: HeaderMap,
    peers: Vec<Arc<Peer>>,
}

impl Claims {
    /// Whoever was asked first has it, or nobody.
    pub(super) fn none() -> Self {
        Self::new(State::Settled)
    }

    /// Of a WebSocket that a server has just taken; `ours` makes the request that asked it to.
    pub(super) fn of(
        exchange: &Exchange<'_>,
        ours: impl FnOnce() -> Request<Body>,
        asked: &Lease,
        taken: &Response<Body>,
    ) -> Self {
        let group = exchange.site.shared.upstreams.group(exchange.route.upstream);
        let chosen = taken.headers().get(SEC_WEBSOCKET_PROTOCOL);
        if !serves_calls(group, Purpose::WebSocket) || chosen.is_none_or(|chosen| chosen != PROTOCOL) {
            return Self::none();
        }
        let peers = group.peers(Purpose::WebSocket).iter();
        let (parts, _) = ours().into_parts();
        Self::new(State::Open(Box::new(Others {
            client: exchange.site.client.clone(),
            uri: parts.uri,
            headers: parts.headers,
            peers: peers.filter(|peer| peer.id() != asked.id()).cloned().collect(),
        })))
    }

    fn new(state: State) -> Self {
        Self {
            settled: AtomicBool::new(matches!(state, State::Settled)),
            state: Mutex::new(state),
        }
    }

    /// The client says something.
    pub(super) fn said(&self, message: &Message) {
        self.step(message, |state| match state {
            State::Open(others) if is_claim(message) => (State::Asked(others, message.clone()), None),
            _ => (State::Settled, None),
        });
    }

    /// A server answers: what is to be done if it is a denial, and others can be asked.
    pub(super) fn answered(&self, message: &Message) -> Option<Denial> {
        self.step(message, |state| match state {
            State::Asked(others, claim) if is_denial(message) && !others.peers.is_empty() => {
                let reply = message.clone();
                let denial = Denial { others, claim, reply };
                (State::Settled, Some(denial))
            }
            _ => (State::Settled, None),
        })
    }

    /// Pings and pongs say nothing.
    fn step(&self, message: &Message, next: impl FnOnce(State) -> (State, Option<Denial>)) -> Option<Denial> {
        if self.settled.load(Ordering::Relaxed) || !(message.is_text() || message.is_binary()) {
            return None;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (after, outcome) = next(std::mem::take(&mut *state));
        self.settled
            .store(matches!(after, State::Settled), Ordering::Relaxed);
        *state = after;
        outcome
    }
}

impl Denial {
    /// Asks the next server that can be reached, and lets go of the one that denied. If there is none, the client gets
    /// the denial. Returns the server's leg to go on with.
    pub(super) async fn ask_another(self, client: &mut Leg, mut server: Leg, passage: &mut Passage) -> Leg {
        let Self {
            mut others,
            claim,
            reply,
        } = self;
        passage.signalling.shared.counters.affinity_searched.add();
        let Some((mut next, lease)) = others.open(passage).await else {
            passage.claims = Claims::none();
            // Whether it takes the answer shows when the legs are relayed again.
            let _ = timeout(passage.send_timeout, client.send(reply)).await;
            return server;
        };
        tokio::spawn(async move { timeout(CLOSE_TIMEOUT, server.close(None)).await });
        passage.signalling = passage.signalling.toward(&lease).await;
        passage.lease = lease;
        // The same here.
        let _ = next.send(claim.clone()).await;
        passage.claims = Claims::new(State::Asked(others, claim));
        next
    }
}

impl Others {
    /// A WebSocket to the next server that takes one.
    async fn open(&mut self, passage: &Passage) -> Option<(Leg, Arc<Lease>)> {
        while let Some(peer) = self.peers.pop() {
            let now = Instant::now();
            if !peer.is_up(now) {
                continue;
            }
            let lease = Arc::new(peer.lease(now));
            passage.visit.sent_to(lease.server());
            let key = generate_key();
            let Ok(mut response) = self.client.send(&lease, self.handshake(&key)).await else {
                continue;
            };
            let is_taken = response.status() == StatusCode::SWITCHING_PROTOCOLS
                && websocket::check(response.headers(), &key, &[PROTOCOL.to_owned()]).is_ok();
            if let (true, Ok(server)) = (is_taken, upgrade::on(&mut response).await) {
                return Some((websocket::server_leg(server, &passage.limits).await, lease));
            }
        }
        None
    }

    fn handshake(&self, key: &str) -> Request<Body> {
        let mut request = Request::new(empty());
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let key = key.try_into().expect("base64 makes a header value");
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
        request
    }
}

fn is_claim(message: &Message) -> bool {
    let Message::Text(text) = message else {
        return false;
    };
    text.len() <= MAX_CLAIM
        && serde_json::from_str::<Value>(text).is_ok_and(|message| message["janus"] == "claim")
}

fn is_denial(message: &Message) -> bool {
    matches!(message, Message::Text(text) if denies_session(text.as_bytes()))
}
