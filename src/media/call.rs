//! A hijacked call from its token: whether the token may be used, and the call that follows from it.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;

use crate::ice::{Claims, DropReason, KeyRing, Mode, Now, RoutePolicy, ServerCandidate, Session, Transport};
use crate::wire::stun::IntegrityKey;

use super::mux::socket_hash;
use super::shared::{Call, Shared};

/// A token may come from a node whose clock is ahead by this much, in seconds.
const CLOCK_SKEW: u64 = 60;
/// Of a server's TCP candidates no more are connected to for one call or tuple.
const MAX_DIALLED: usize = 2;

impl Shared {
    /// Whether a token that opened may be used now: the policy of its route.
    pub(super) fn judge(&self, claims: &Claims, now: Now) -> Result<Arc<RoutePolicy>, DropReason> {
        let (minted, unix) = (u64::from(claims.minted_at), now.unix / 1_000);
        if minted > unix + CLOCK_SKEW || unix > minted + self.token_lifetime() {
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

/// The candidates in a token that the server leg tries.
pub(super) fn servers(claims: &Claims, policy: &RoutePolicy) -> Vec<ServerCandidate> {
    let mut permitted = claims.candidates.clone();
    permitted.retain(|candidate| policy.allow.permits(candidate.addr));
    in_use(&permitted, claims.icetcp).collect()
}

/// The candidates that paths are made to: TCP where it is preferred, or where there is nothing else.
pub(super) fn in_use(
    permitted: &[ServerCandidate],
    prefers_tcp: bool,
) -> impl Iterator<Item = ServerCandidate> {
    let is_udp = |candidate: &ServerCandidate| candidate.transport == Transport::Udp;
    let dialled = if prefers_tcp || !permitted.iter().any(is_udp) {
        MAX_DIALLED
    } else {
        0
    };
    let udp = permitted.iter().filter(move |candidate| is_udp(candidate));
    let tcp = permitted.iter().filter(move |candidate| !is_udp(candidate));
    tcp.take(dialled).chain(udp).copied()
}
