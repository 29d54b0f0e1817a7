//! Icedirect calls: ICE passes through, and xrtc is one more NAT on the way.
//!
//! A [`DirectCall`] is what the server's SDP told. A [`DirectFlow`] is one client tuple of it, with server-leg pairs of
//! its own, so that every check and its answer take the same way (RFC 8445 section 7.2.5.2.1). A tuple is admitted by a
//! request that verifies with the server's password. This state is local to the node: a restart ends such calls.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;

use crate::ice::client_leg::CONSENT;
use crate::ice::{ClientPath, RouteId, SeenTransactions, ServerCandidate, ServerPath, Transport};
use crate::wire::stun::{IntegrityKey, TransactionId};

use super::shared::DIRECT_LIFETIME;

/// No more server addresses than these are tried for one tuple.
pub const MAX_PATHS: usize = 4;
/// A chosen path that has been silent for this long is one among the others again. Milliseconds.
const SILENCE: u64 = 10_000;
/// While TCP connects and is not answered, UDP waits for it this long. Milliseconds.
const HEAD_START: u64 = 1_000;
/// Checks of the server whose answers are waited for; more than a full agent has under way on all paths.
const MAX_ASKED: usize = 4 * MAX_PATHS;

/// An icedirect call, by the server's credentials.
#[derive(Debug)]
pub struct DirectCall {
    /// The route.
    pub route: RouteId,
    /// The server's ufrag.
    pub ufrag: Box<str>,
    /// The server's password, ready to verify.
    pub key: IntegrityKey,
    pwd: Box<str>,
    candidates: Mutex<Vec<ServerCandidate>>,
    seen: Mutex<SeenTransactions>,
    last_used: AtomicU64,
}

impl DirectCall {
    /// A call whose server has these credentials and addresses.
    #[must_use]
    pub fn new(route: RouteId, ufrag: &str, pwd: &str, candidates: Vec<ServerCandidate>, mono: u64) -> Self {
        Self {
            route,
            ufrag: ufrag.into(),
            key: IntegrityKey::new(pwd),
            pwd: pwd.into(),
            candidates: Mutex::new(candidates),
            seen: Mutex::default(),
            last_used: mono.into(),
        }
    }

    /// Whether it is the same call.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.route == other.route && self.ufrag == other.ufrag && self.pwd == other.pwd
    }

    /// Takes over what a newer description of the same call says.
    pub fn renew(&self, newer: &Self) {
        self.last_used
            .fetch_max(newer.last_used.load(Ordering::Relaxed), Ordering::Relaxed);
        for candidate in newer.candidates() {
            self.add_candidate(candidate);
        }
    }

    /// One more address of the server.
    pub fn add_candidate(&self, candidate: ServerCandidate) {
        let mut candidates = lock(&self.candidates);
        if candidates.len() < 2 * MAX_PATHS && !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }

    /// The server's addresses, best first.
    #[must_use]
    pub fn candidates(&self) -> Vec<ServerCandidate> {
        lock(&self.candidates).clone()
    }

    /// Whether a check that opens a new tuple has been seen on another: captured, and replayed.
    #[must_use]
    pub fn has_seen(&self, id: TransactionId) -> bool {
        lock(&self.seen).contains(id)
    }

    /// Notes an authenticated check.
    pub fn saw(&self, id: TransactionId) {
        lock(&self.seen).enter(id);
    }

    /// Notes that a tuple of it is alive.
    pub fn used(&self, mono: u64) {
        self.last_used.store(mono, Ordering::Relaxed);
    }

    /// Whether no tuple of it has been alive for long.
    #[must_use]
    pub fn is_stale(&self, mono: u64) -> bool {
        mono.saturating_sub(self.last_used.load(Ordering::Relaxed)) >= DIRECT_LIFETIME
    }
}

/// What a panic elsewhere has left behind is still usable: every change under these locks is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client tuple of an icedirect call.
#[derive(Debug)]
pub struct DirectFlow {
    /// The call.
    pub call: Arc<DirectCall>,
    /// The client.
    pub client: ClientPath,
    /// Sealed in USERNAME: the client's ufrag.
    pub client_ufrag: Box<str>,
    paths: Mutex<Vec<ServerPath>>,
    chosen: ArcSwapOption<ServerPath>,
    /// Before this, nothing is done on UDP: TCP is in use or hoped for.
    udp_after: AtomicU64,
    asked: Mutex<VecDeque<(TransactionId, ServerPath)>>,
    connected: AtomicBool,
    last_check: AtomicU64,
    last_from_server: AtomicU64,
    closed: AtomicBool,
}

impl DirectFlow {
    /// A flow that has just been admitted.
    #[must_use]
    pub fn new(call: Arc<DirectCall>, client: ClientPath, client_ufrag: &str, mono: u64) -> Self {
        Self {
            call,
            client,
            client_ufrag: client_ufrag.into(),
            paths: Mutex::default(),
            chosen: ArcSwapOption::empty(),
            udp_after: AtomicU64::new(0),
            asked: Mutex::default(),
            connected: AtomicBool::new(false),
            last_check: mono.into(),
            last_from_server: mono.into(),
            closed: AtomicBool::new(false),
        }
    }

    /// One more way to the server. A TCP connection comes before UDP for a while, and for good once it is answered on.
    pub fn add_path(&self, path: ServerPath, mono: u64) {
        if path.transport() == Transport::Tcp {
            self.udp_after.store(mono + HEAD_START, Ordering::Relaxed);
        }
        lock(&self.paths).push(path);
    }

    /// A TCP connection is gone, or has not come up. Returns whether the server had answered on it.
    pub fn remove_path(&self, path: ServerPath) -> bool {
        let mut paths = lock(&self.paths);
        paths.retain(|known| *known != path);
        if paths.iter().all(|path| path.transport() == Transport::Udp) {
            self.udp_after.store(0, Ordering::Relaxed);
        }
        let was_chosen = self.chosen() == Some(path);
        if was_chosen {
            self.chosen.store(None);
        }
        was_chosen
    }

    /// Whether a path has to wait for a better one.
    #[must_use]
    pub fn holds_back(&self, path: &ServerPath, mono: u64) -> bool {
        path.transport() == Transport::Udp && mono < self.udp_after.load(Ordering::Relaxed)
    }

    /// Every way to the server.
    #[must_use]
    pub fn paths(&self) -> Vec<ServerPath> {
        lock(&self.paths).clone()
    }

    /// The way that the server has answered on.
    #[must_use]
    pub fn chosen(&self) -> Option<ServerPath> {
        self.chosen.load().as_deref().copied()
    }

    /// Notes an authenticated check of the client.
    pub fn checked(&self, mono: u64) {
        self.last_check.store(mono, Ordering::Relaxed);
        self.call.used(mono);
        if mono.saturating_sub(self.last_from_server.load(Ordering::Relaxed)) >= SILENCE {
            self.chosen.store(None);
            self.udp_after.fetch_min(mono, Ordering::Relaxed);
        }
    }

    /// Notes a packet of the server.
    pub fn heard(&self, path: ServerPath, mono: u64) {
        if self.chosen().is_none_or(|chosen| chosen == path) {
            self.last_from_server.store(mono, Ordering::Relaxed);
        }
    }

    /// Keeps to the way on which the server has answered a check. `true` exactly once, for the first answer.
    pub fn answered(&self, path: ServerPath) -> bool {
        if self.chosen.load().is_none() {
            self.chosen.store(Some(Arc::new(path)));
            if path.transport() == Transport::Tcp {
                self.udp_after.store(u64::MAX, Ordering::Relaxed);
            }
        }
        !self.connected.swap(true, Ordering::Relaxed)
    }

    /// Remembers which way a check of the server came: its answer has to go back there.
    pub fn asked(&self, id: TransactionId, path: ServerPath) {
        let mut asked = lock(&self.asked);
        asked.truncate(MAX_ASKED - 1);
        asked.push_front((id, path));
    }

    /// The way that a check of the server came.
    #[must_use]
    pub fn asked_on(&self, id: TransactionId) -> Option<ServerPath> {
        lock(&self.asked)
            .iter()
            .find(|(asked, _)| *asked == id)
            .map(|(_, path)| *path)
    }

    /// Whether the client's last good check is recent enough.
    #[must_use]
    pub fn has_consent(&self, mono: u64) -> bool {
        mono.saturating_sub(self.last_check.load(Ordering::Relaxed)) < CONSENT
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Ends it. `true` the first time.
    pub fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::{SocketId, TcpConnId};

    fn path(n: u8) -> ServerPath {
        ServerPath {
            socket: SocketId(0),
            remote: ([10, 0, 0, n], 9_000).into(),
        }
    }

    fn flow() -> DirectFlow {
        let call = DirectCall::new(RouteId(1), "abcd", "pwd", Vec::new(), 0);
        let client = ClientPath::Tcp {
            conn: TcpConnId(1),
            remote: ([198, 51, 100, 1], 5_000).into(),
        };
        DirectFlow::new(Arc::new(call), client, "efgh", 0)
    }

    #[test]
    fn a_chosen_path_that_is_silent_is_left_whatever_comes_on_others() {
        let flow = flow();
        flow.heard(path(1), 1_000);
        assert!(flow.answered(path(1)));
        for mono in (2_000..=10_999).step_by(500) {
            flow.heard(path(2), mono);
            flow.checked(mono);
            assert_eq!(flow.chosen(), Some(path(1)), "{mono}");
        }
        flow.checked(1_000 + SILENCE);
        assert_eq!(flow.chosen(), None);
        assert!(!flow.answered(path(2)), "connected before");
        assert_eq!(flow.chosen(), Some(path(2)));
    }

    #[test]
    fn the_last_checks_of_the_server_are_remembered() {
        let flow = flow();
        for n in 0..100 {
            flow.asked(TransactionId([n; 12]), path(n));
        }
        let known = (0..100).filter(|&n| flow.asked_on(TransactionId([n; 12])) == Some(path(n)));
        assert!(known.eq(100 - MAX_ASKED as u8..100));
    }
}
