//! Which server of a group a request belongs to. What creates a call decides where the rest of it goes, in this order:
//!
//! 1. the call's own path, noted when it was created ([`mod@learn`]): a Janus session, a WHIP or WHEP resource. A CORS
//!    preflight has the path of what it announces, and so follows it.
//! 2. the client's cookie, if it keeps one ([`cookie`]) and its server is up;
//! 3. the group's balancer.
//!
//! What is noted is forgotten when the daemon restarts. A server that is asked for a Janus session, or to change or end
//! a WHIP or WHEP resource, of another one says so and has done nothing ([`is_disclaimer`]); then the others are asked,
//! and who knows the call is noted again.
//!
//! The first is binding: the call exists on that server only, so even one that is down is asked, and no other. The
//! second is a wish. A WebSocket needs no entry, being one connection; a Janus session that is claimed from another
//! WebSocket than its own is looked for by `claim`.

mod cookie;
mod learn;
mod table;

use std::sync::Arc;
use std::time::Instant;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::config::{Balance, HashBy};
use crate::upstream::{Group, Lease, Peer, Purpose, ServerId, UpstreamError, Wish};

use super::headers::client_ip;
use super::site::Exchange;

pub(super) use learn::{Told, denies_session, is_disclaimer, learn};
pub use table::Affinity;

/// The server for a request.
pub(super) struct Choice {
    pub(super) lease: Arc<Lease>,
    /// The request belongs to a call that is there and nowhere else.
    pub(super) bound: bool,
    /// To be set at the client, so that it comes back.
    pub(super) cookie: Option<HeaderValue>,
}

/// Chooses a server, other than those that were tried in vain.
pub(super) fn choose(
    exchange: &Exchange<'_>,
    purpose: Purpose,
    headers: &HeaderMap,
    tried: &[ServerId],
) -> Result<Choice, UpstreamError> {
    let now = Instant::now();
    let shared = &exchange.site.shared;
    let group = shared.upstreams.group(exchange.route.upstream);
    let alone = |peer: Arc<Peer>| Choice {
        lease: Arc::new(peer.lease(now)),
        bound: false,
        cookie: None,
    };
    let wish = Wish {
        purpose,
        key: key(exchange, group, headers),
        tried,
    };
    if !serves_calls(group, purpose) {
        return group.pick(&wish, now).map(alone);
    }
    let noted = shared
        .affinity
        .server(exchange.route.id, exchange.target.path(), now);
    if let Some(peer) = noted.and_then(|id| group.server(purpose, id)) {
        shared.counters.affinity_followed.add();
        return Ok(Choice {
            bound: true,
            ..alone(peer)
        });
    }
    let Some(jar) = cookie::Jar::of(exchange, group, purpose) else {
        return group.pick(&wish, now).map(alone);
    };
    let named = jar.server(headers);
    let usable = |peer: &Arc<Peer>| peer.is_up(now) && !tried.contains(&peer.id());
    if let Some(peer) = named.filter(usable) {
        shared.counters.affinity_by_cookie.add();
        return Ok(alone(peer));
    }
    let peer = group.pick(&wish, now)?;
    Ok(Choice {
        cookie: jar.fresh(peer.id(), headers),
        ..alone(peer)
    })
}

/// Whether it matters which server of the group is asked.
pub(super) fn serves_calls(group: &Group, purpose: Purpose) -> bool {
    group.peers(purpose).len() > 1
}

/// What `mode: hash` hashes; where it is missing, the client's address.
fn key(exchange: &Exchange<'_>, group: &Group, headers: &HeaderMap) -> u64 {
    let Balance::Hash(by) = &group.config().mode else {
        return 0;
    };
    let named = match by {
        HashBy::ClientIp => None,
        HashBy::Header(name) => headers.get(name).map(|value| value.as_bytes().to_vec()),
        HashBy::Cookie(name) => cookie::value(headers, name).map(|value| value.as_bytes().to_vec()),
    };
    let text = named.unwrap_or_else(|| {
        let trusted = exchange.site.trusted_proxies();
        client_ip(headers, &exchange.visitor.conn, trusted)
            .to_string()
            .into()
    });
    let digest: [u8; 32] = Sha256::digest(text).into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}
