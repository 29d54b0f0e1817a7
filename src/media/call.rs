//! A hijacked call from its token: whether the token may be used, and the call that follows from it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;

use crate::ice::{Claims, DropReason, KeyRing, Mode, Now, RoutePolicy, Session, Transport};
use crate::wire::stun::IntegrityKey;

use super::mux::socket_hash;
use super::shared::{Call, Shared};

/// A token may come from a node whose clock is ahead by this much, in seconds.
const CLOCK_SKEW: u64 = 60;

impl Shared {
    /// Whether a token that opened may be used now: the policy of its route.
    pub(super) fn judge(&self, claims: &Claims, now: Now) -> Result<Arc<RoutePolicy>, DropReason> {
        let (minted, unix) = (u64::from(claims.minted_at), now.unix / 1_000);
        if minted > unix + CLOCK_SKEW || unix > minted + self.limits.token_lifetime {
            return Err(DropReason::TokenExpired);
        }
        let policy = self.policy(claims.route).ok_or(DropReason::TokenRoute)?;
        if policy.mode != Mode::Hijack {
            return Err(DropReason::TokenRoute);
        }
        let refused = |addr| !policy.allow.permits(addr);
        if !claims.candidates.is_empty() && claims.candidates.iter().all(|candidate| refused(candidate.addr))
        {
            return Err(DropReason::ServerNotAllowed);
        }
        Ok(policy)
    }
}

impl Call {
    /// The call of a token that opened and a client's ufrag, with no tuple and no path to the server yet.
    pub(super) fn new(
        keys: &KeyRing,
        (token, client_ufrag): (&str, &str),
        claims: &Claims,
        client_key: IntegrityKey,
        now: Now,
        tie_breaker: u64,
    ) -> Self {
        let local = keys.server_facing(claims.route, client_ufrag, Some(token));
        let session = Session::new(keys, token, claims, client_ufrag, client_key, now, tie_breaker);
        Self {
            route: claims.route,
            token: token.into(),
            client_ufrag: client_ufrag.into(),
            server_username: format!("{}:{}", local.ufrag, claims.ufrag).into(),
            socket_hash: socket_hash(&local.ufrag),
            downlink: ArcSwapOption::empty(),
            uplink: ArcSwapOption::empty(),
            wake: u64::MAX.into(),
            closed: false.into(),
            session: Mutex::new(session),
        }
    }
}

/// The addresses in a token that the server leg may try.
pub(super) fn servers<'c>(
    claims: &'c Claims,
    policy: &'c RoutePolicy,
) -> impl Iterator<Item = SocketAddr> + 'c {
    claims
        .candidates
        .iter()
        .filter(|candidate| candidate.transport == Transport::Udp && policy.allow.permits(candidate.addr))
        .map(|candidate| candidate.addr)
}
