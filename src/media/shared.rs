//! What all shards and the control plane share: the calls, by every name under which a packet or a message asks for
//! them, and who holds which pair of server-leg socket and server address.
//!
//! The packet path comes here only when its own table has no answer (a first packet, a tuple that has moved). No
//! guard of a map is held while another map or a call is locked.

mod pairs;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::{ArcSwap, ArcSwapOption};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry as MapEntry;

use crate::ice::{
    KeyRing, RouteId, RoutePolicy, ServerCandidate, ServerPath, Session, SocketId, Tuple, client_leg::CONSENT,
};

use super::direct::{DirectCall, DirectFlow};
use super::revival::Waiting;
use pairs::PairUse;
pub(super) use pairs::REST;

/// Sessions that one token may carry: a browser has one, and one more while it restarts.
const MAX_PER_TOKEN: usize = 4;
/// Trickled candidates of calls that have not begun, kept at most for this long and this many.
const EARLY_LIFETIME: u64 = 60_000;
const MAX_EARLY: usize = 4_096;
const MAX_EARLY_PER_CALL: usize = 8;

/// A hijacked call as the tables hold it: what the packet path reads without a lock, and the session behind one.
#[derive(Debug)]
pub struct Call {
    /// The route.
    pub route: RouteId,
    /// The token, which is the client's view of the server's ufrag.
    pub token: Box<str>,
    /// The client's ufrag.
    pub client_ufrag: Box<str>,
    /// USERNAME of the server's checks.
    pub server_username: Box<str>,
    /// What the server-leg socket is chosen by.
    pub socket_hash: u64,
    /// Where packets for the client go.
    pub downlink: ArcSwapOption<Tuple>,
    /// Where packets for the server go.
    pub uplink: ArcSwapOption<ServerPath>,
    /// When a shard polls it next, in [`Now::mono`](crate::ice::Now::mono) milliseconds; `u64::MAX` if none does.
    pub wake: AtomicU64,
    /// Set once, when the call ends; whoever holds the call by a tuple lets it go then.
    pub closed: AtomicBool,
    /// The rest. Taken for STUN, timers and the first packets; not for forwarding.
    pub session: Mutex<Session>,
}

impl Call {
    /// Whether the call has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The session. A panic of another thread inside it is a bug that has been reported; the call's state stays usable.
    pub fn lock(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whose packets a tuple carries.
#[derive(Clone, Debug)]
pub enum Peer {
    /// A hijacked call.
    Hijack(Arc<Call>),
    /// One client tuple of an icedirect call.
    Direct(Arc<DirectFlow>),
}

impl Peer {
    /// Whether what it belongs to has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Hijack(call) => call.is_closed(),
            Self::Direct(flow) => flow.is_closed(),
        }
    }
}

/// Limits of the media plane.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls at once.
    pub max_sessions: usize,
    /// How long a token opens, in seconds.
    pub token_lifetime: u64,
}

/// Server-leg sockets by family, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// IPv4.
    pub v4: Vec<SocketId>,
    /// IPv6.
    pub v6: Vec<SocketId>,
    /// How many of each family there were at start. A hash chooses among these, so that it names the same socket
    /// however many have come since, and in the next run.
    pub initial: [usize; 2],
}

impl Sockets {
    /// The sockets of an address's family, the one that `hash` names first.
    fn in_order(&self, remote: SocketAddr, hash: u64) -> impl Iterator<Item = SocketId> + '_ {
        let sockets = if remote.is_ipv4() { &self.v4 } else { &self.v6 };
        let initial = self.initial[usize::from(remote.is_ipv6())].min(sockets.len());
        let first = (hash % initial.max(1) as u64) as usize;
        sockets[first..].iter().chain(&sockets[..first]).copied()
    }
}

/// The tables.
#[derive(Debug)]
pub struct Shared {
    /// Opens tokens.
    pub keys: ArcSwap<KeyRing>,
    /// Routes by their sealed names.
    pub policies: ArcSwap<HashMap<RouteId, Arc<RoutePolicy>>>,
    limits: ArcSwap<Limits>,
    sockets: ArcSwap<Sockets>,
    calls: DashMap<Box<str>, Vec<Arc<Call>>>,
    by_server_username: DashMap<Box<str>, Arc<Call>>,
    pairs: DashMap<(SocketId, SocketAddr), PairUse>,
    direct: DashMap<Box<str>, Vec<Arc<DirectCall>>>,
    early: DashMap<Box<str>, (u64, Vec<ServerCandidate>)>,
    open: AtomicUsize,
    open_by_route: DashMap<RouteId, usize>,
    poked: Mutex<Vec<Arc<Call>>>,
    /// Revived calls on their way to the shards.
    pub(super) waiting: Waiting,
}

impl Shared {
    /// Empty tables.
    #[must_use]
    pub fn new(keys: KeyRing, limits: Limits) -> Self {
        Self {
            keys: ArcSwap::from_pointee(keys),
            policies: ArcSwap::default(),
            limits: ArcSwap::from_pointee(limits),
            sockets: ArcSwap::default(),
            calls: DashMap::new(),
            by_server_username: DashMap::new(),
            pairs: DashMap::new(),
            direct: DashMap::new(),
            early: DashMap::new(),
            open: AtomicUsize::new(0),
            open_by_route: DashMap::new(),
            poked: Mutex::default(),
            waiting: Waiting::default(),
        }
    }

    /// A route's policy.
    #[must_use]
    pub fn policy(&self, route: RouteId) -> Option<Arc<RoutePolicy>> {
        self.policies.load().get(&route).cloned()
    }

    /// Calls at this moment, hijacked ones and icedirect tuples.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The limits from now on. Calls that are there stay, also where they are more than may be.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// How long a token opens, in seconds.
    pub(super) fn token_lifetime(&self) -> u64 {
        self.limits.load().token_lifetime
    }

    // Sockets.

    /// Tells which server-leg sockets there are.
    pub fn set_sockets(&self, sockets: Sockets) {
        self.sockets.store(Arc::new(sockets));
    }

    /// One more server-leg socket.
    pub fn add_socket(&self, ipv6: bool, id: SocketId) {
        self.sockets.rcu(|old| {
            let mut new = Sockets::clone(old);
            let sockets = if ipv6 { &mut new.v6 } else { &mut new.v4 };
            if !sockets.contains(&id) {
                sockets.push(id);
            }
            new
        });
    }

    // Hijacked calls.

    /// The call of a client's USERNAME.
    #[must_use]
    pub fn call(&self, token: &str, client_ufrag: &str) -> Option<Arc<Call>> {
        self.calls
            .get(token)?
            .iter()
            .find(|call| &*call.client_ufrag == client_ufrag)
            .cloned()
    }

    /// Every hijacked call.
    #[must_use]
    pub fn hijacked(&self) -> Vec<Arc<Call>> {
        self.calls.iter().flat_map(|calls| calls.clone()).collect()
    }

    /// The call of a server's USERNAME.
    #[must_use]
    pub fn call_by_server(&self, username: &str) -> Option<Arc<Call>> {
        Some(self.by_server_username.get(username)?.clone())
    }

    /// Enters a call, unless its USERNAME has one (which is returned instead) or a limit is reached.
    ///
    /// # Errors
    /// The call itself when a limit is reached.
    pub fn enter(&self, call: Arc<Call>, route_limit: usize) -> Result<Arc<Call>, Arc<Call>> {
        if !self.count(call.route, route_limit) {
            return Err(call);
        }
        let mut siblings = self.calls.entry(call.token.clone()).or_default();
        let known = siblings
            .iter()
            .find(|sibling| sibling.client_ufrag == call.client_ufrag)
            .cloned();
        if known.is_none() && siblings.len() < MAX_PER_TOKEN {
            siblings.push(call.clone());
            drop(siblings);
            self.by_server_username
                .insert(call.server_username.clone(), call.clone());
            return Ok(call);
        }
        drop(siblings);
        self.uncount(call.route);
        known.ok_or(call)
    }

    /// Ends a call: every name of it goes, its server pairs rest. Returns whether this was the end.
    pub fn close(&self, call: &Arc<Call>, mono: u64) -> bool {
        if call.closed.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.uncount(call.route);
        if let MapEntry::Occupied(mut siblings) = self.calls.entry(call.token.clone()) {
            siblings.get_mut().retain(|sibling| !Arc::ptr_eq(sibling, call));
            if siblings.get().is_empty() {
                siblings.remove();
            }
        }
        self.by_server_username
            .remove_if(&call.server_username, |_, entered| Arc::ptr_eq(entered, call));
        let paths: Vec<ServerPath> = call.lock().server_paths().collect();
        for path in paths {
            self.release(path, mono);
        }
        call.downlink.store(None);
        call.uplink.store(None);
        true
    }

    /// Counts one more call of a route, unless a limit is reached.
    pub fn count(&self, route: RouteId, route_limit: usize) -> bool {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limits.load().max_sessions {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let mut of_route = self.open_by_route.entry(route).or_insert(0);
        if *of_route >= route_limit {
            drop(of_route);
            self.open.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        *of_route += 1;
        true
    }

    /// Counts one call of a route less.
    pub fn uncount(&self, route: RouteId) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(mut of_route) = self.open_by_route.get_mut(&route) {
            *of_route = of_route.saturating_sub(1);
        }
    }

    // Candidates that a server trickled.

    /// A candidate that the server of a hijacked call has trickled: for the calls of its token that have begun, and
    /// for those that will. The shards must be woken after it.
    pub fn late_candidate(&self, token: &str, candidate: ServerCandidate, mono: u64) {
        if self.early.len() >= MAX_EARLY {
            self.early
                .retain(|_, (since, _)| mono.saturating_sub(*since) < EARLY_LIFETIME);
        }
        if self.early.len() < MAX_EARLY {
            let mut early = self
                .early
                .entry(token.into())
                .or_insert_with(|| (mono, Vec::new()));
            if early.1.len() < MAX_EARLY_PER_CALL && !early.1.contains(&candidate) {
                early.1.push(candidate);
            }
        }
        let begun = self
            .calls
            .get(token)
            .map(|calls| calls.clone())
            .unwrap_or_default();
        self.poked().extend(begun);
    }

    /// The candidates that were trickled for a token.
    #[must_use]
    pub fn early_candidates(&self, token: &str) -> Vec<ServerCandidate> {
        self.early
            .get(token)
            .map(|early| early.1.clone())
            .unwrap_or_default()
    }

    /// Calls that something new is known of, once.
    #[must_use]
    pub fn take_poked(&self) -> Vec<Arc<Call>> {
        std::mem::take(&mut *self.poked())
    }

    fn poked(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Call>>> {
        self.poked
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    // Icedirect calls.

    /// Enters an icedirect call, or adds what is new to the one that has these credentials. `false` at the limit.
    pub fn register_direct(&self, call: DirectCall) -> bool {
        if self.direct.len() >= self.limits.load().max_sessions.saturating_mul(2) {
            return false;
        }
        let mut same_ufrag = self.direct.entry(call.ufrag.clone()).or_default();
        match same_ufrag.iter().find(|known| known.is_same(&call)) {
            Some(known) => known.renew(&call),
            None if same_ufrag.len() < MAX_PER_TOKEN * 4 => same_ufrag.push(Arc::new(call)),
            None => return false,
        }
        true
    }

    /// Icedirect calls whose server has this ufrag; few, since ufrags are short but random.
    #[must_use]
    pub fn direct_calls(&self, server_ufrag: &str) -> Vec<Arc<DirectCall>> {
        self.direct
            .get(server_ufrag)
            .map(|calls| calls.clone())
            .unwrap_or_default()
    }

    /// Housekeeping, every few seconds: what has rested, what has expired.
    pub fn sweep(&self, mono: u64) {
        self.waiting.sweep(mono);
        self.sweep_pairs(mono);
        self.early
            .retain(|_, (since, _)| mono.saturating_sub(*since) < EARLY_LIFETIME);
        self.direct.retain(|_, calls| {
            calls.retain(|call| !call.is_stale(mono));
            !calls.is_empty()
        });
        self.open_by_route.retain(|_, open| *open > 0);
    }
}

/// How long an icedirect call is kept without any admitted tuple: a client that lost its network may come back.
pub(super) const DIRECT_LIFETIME: u64 = 10 * CONSENT;

#[cfg(test)]
mod tests;
