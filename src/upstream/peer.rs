//! One server of a group at run time: how busy it is, and whether it is up.
//!
//! Two judges can call a server down. The requests sent to it: `max_fails` failures within `fail_timeout` take it out
//! for `fail_timeout`, then one request after the other may try it, and the first success brings it back. And the
//! active checks, where the group has some. A server that comes back warms up: its share grows to the full one over
//! `slow_start`.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::config::Server;

use super::histogram::{Histogram, Observed};
use super::tls::TlsId;

/// Active checks in a row that must agree before a server changes sides.
pub(super) const CHECKS_THAT_AGREE: u32 = 2;
/// The share of a server that has just come back, in percent of its own.
const FIRST_SHARE: u64 = 10;
const FULL_SHARE: u64 = 100;

/// Names a server by its URL, the same in every process and after a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId(pub(super) u64);

impl ServerId {
    fn of(server: &Server) -> Self {
        let digest: [u8; 32] = Sha256::digest(server.to_string()).into();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(first))
    }

    /// The id as bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// A server and its state.
#[derive(Debug)]
pub struct Peer {
    server: Server,
    /// Its address, if that is what it is configured by.
    literal: Option<IpAddr>,
    id: ServerId,
    slow_start: Duration,
    tls: TlsId,
    active: AtomicUsize,
    health: Mutex<Health>,
    done: Done,
}

/// What has been done so far.
#[derive(Debug, Default)]
struct Done {
    failed: AtomicU64,
    checks_passed: AtomicU64,
    checks_failed: AtomicU64,
    /// Of the requests that were answered, to the headers of the answer.
    times: Histogram,
}

#[derive(Debug, Default)]
struct Health {
    fails: u32,
    /// When the failures began to be counted.
    counted_since: Option<Instant>,
    /// Set while the requests say that it is down.
    out: Option<Out>,
    /// The active checks say that it is down.
    unhealthy: bool,
    /// Active checks in a row that say otherwise than `unhealthy`.
    dissent: u32,
    /// When it came back; `None`: it was never away.
    back_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Out {
    since: Instant,
    /// When a request may try it again.
    until: Instant,
}

/// Whether a server may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may, with this weight.
    Up(u64),
    /// Requests have failed. It may if nothing better is left.
    Out,
    /// Active checks have failed.
    Unhealthy,
}

/// A server's state in the eyes of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It gets its full share.
    Up,
    /// It has come back, and its share grows.
    Warming,
    /// Requests to it have failed: it is out for a while.
    Failing,
    /// Its active checks fail.
    Unhealthy,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Up, Self::Warming, Self::Failing, Self::Unhealthy];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Warming => "warming",
            Self::Failing => "failing",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Peer {
    pub(super) fn new(server: Server, slow_start: Duration, tls: TlsId) -> Self {
        Self {
            id: ServerId::of(&server),
            literal: server.host.parse().ok(),
            server,
            slow_start,
            tls,
            active: AtomicUsize::new(0),
            health: Mutex::default(),
            done: Done::default(),
        }
    }

    /// The server as configured.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its name for tables and cookies.
    #[must_use]
    pub fn id(&self) -> ServerId {
        self.id
    }

    /// Requests and WebSockets now.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Takes part of its attention for a request or a WebSocket, until dropped.
    #[must_use]
    pub fn lease(self: &Arc<Self>, now: Instant) -> Lease {
        self.active.fetch_add(1, Ordering::Relaxed);
        Lease {
            peer: self.clone(),
            began: now,
        }
    }

    /// Whether new work may go to it.
    #[must_use]
    pub fn is_up(&self, now: Instant) -> bool {
        matches!(self.standing(now), Standing::Up(_))
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        let health = self.health();
        if health.unhealthy {
            return Standing::Unhealthy;
        }
        if health.out.is_some_and(|out| now < out.until) {
            return Standing::Out;
        }
        let share = match health.back_since {
            Some(since) if health.out.is_none() => self.share(now.saturating_duration_since(since)),
            _ => FULL_SHARE,
        };
        Standing::Up(u64::from(self.server.weight) * share)
    }

    /// Its state as an operator wants to know it.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        let full = u64::from(self.server.weight) * FULL_SHARE;
        match self.standing(now) {
            Standing::Unhealthy => State::Unhealthy,
            Standing::Out => State::Failing,
            Standing::Up(weight) if weight < full => State::Warming,
            Standing::Up(_) => State::Up,
        }
    }

    /// Requests and WebSocket handshakes that it did not answer.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.done.failed.load(Ordering::Relaxed)
    }

    /// Those that it answered: how long the headers of the answer took.
    #[must_use]
    pub fn answers(&self) -> Observed {
        self.done.times.observed()
    }

    /// Active checks that it passed, and that it failed.
    #[must_use]
    pub fn checks(&self) -> (u64, u64) {
        let Done {
            checks_passed,
            checks_failed,
            ..
        } = &self.done;
        (
            checks_passed.load(Ordering::Relaxed),
            checks_failed.load(Ordering::Relaxed),
        )
    }

    /// The share of a server that has been back for so long, in percent.
    fn share(&self, back_for: Duration) -> u64 {
        if back_for >= self.slow_start {
            return FULL_SHARE;
        }
        let warmed = back_for.as_nanos() * u128::from(FULL_SHARE) / self.slow_start.as_nanos().max(1);
        u64::try_from(warmed).unwrap_or(FULL_SHARE).max(FIRST_SHARE)
    }

    /// It has been chosen. If it was to be tried again, this is the one that tries; the next may after `fail_timeout`.
    pub(super) fn chosen(&self, now: Instant) {
        let mut health = self.health();
        if let Some(out) = health.out.as_mut().filter(|out| now >= out.until) {
            out.until = now + self.server.fail_timeout;
        }
    }

    fn succeeded(&self, began: Instant, now: Instant) {
        self.done.times.observe(now.saturating_duration_since(began));
        let mut health = self.health();
        // An answer to what was asked before it failed is no news.
        if health.out.is_some_and(|out| began >= out.since) {
            health.out = None;
            health.come_back(now);
            drop(health);
            tracing::info!(server = %self.server, "upstream server answers again");
        }
    }

    fn failed(&self, now: Instant) {
        self.done.failed.fetch_add(1, Ordering::Relaxed);
        let Server {
            max_fails,
            fail_timeout,
            ..
        } = self.server;
        if max_fails == 0 {
            return;
        }
        let mut health = self.health();
        if let Some(out) = &mut health.out {
            out.until = now + fail_timeout;
            return;
        }
        let counted = health
            .counted_since
            .filter(|since| now.saturating_duration_since(*since) < fail_timeout);
        if counted.is_none() {
            health.counted_since = Some(now);
            health.fails = 0;
        }
        health.fails += 1;
        if health.fails >= max_fails {
            health.out = Some(Out {
                since: now,
                until: now + fail_timeout,
            });
            drop(health);
            tracing::warn!(server = %self.server, retry_after = ?fail_timeout, "upstream server fails");
        }
    }

    /// The outcome of an active check.
    pub(super) fn checked(&self, healthy: bool, now: Instant) {
        let done = &self.done;
        let count = if healthy {
            &done.checks_passed
        } else {
            &done.checks_failed
        };
        count.fetch_add(1, Ordering::Relaxed);
        let mut health = self.health();
        if healthy != health.unhealthy {
            health.dissent = 0;
            return;
        }
        health.dissent += 1;
        if health.dissent < CHECKS_THAT_AGREE {
            return;
        }
        health.dissent = 0;
        health.unhealthy = !healthy;
        if healthy {
            // Fresher news than what the requests said.
            health.out = None;
            health.come_back(now);
        }
        drop(health);
        if healthy {
            tracing::info!(server = %self.server, "upstream server is healthy again");
        } else {
            tracing::warn!(server = %self.server, "upstream server fails its health check");
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    fn come_back(&mut self, now: Instant) {
        self.fails = 0;
        self.counted_since = None;
        self.back_since = Some(now);
    }
}

/// A request or a WebSocket that a server is busy with.
#[derive(Debug)]
pub struct Lease {
    peer: Arc<Peer>,
    began: Instant,
}

impl Lease {
    /// The server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.peer.server
    }

    /// The server's address, if that is what it is configured by.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        self.peer.literal
    }

    /// The server's name for tables and cookies.
    #[must_use]
    pub fn id(&self) -> ServerId {
        self.peer.id
    }

    /// How the server is verified.
    pub(super) fn tls(&self) -> TlsId {
        self.peer.tls
    }

    pub(super) fn succeeded(&self, now: Instant) {
        self.peer.succeeded(self.began, now);
    }

    pub(super) fn failed(&self, now: Instant) {
        self.peer.failed(now);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.peer.active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Scheme;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn peer(max_fails: u32) -> Arc<Peer> {
        let server = Server {
            max_fails,
            fail_timeout: 10 * SECOND,
            weight: 2,
            ..Server::new(Scheme::Http, "a", 80)
        };
        Arc::new(Peer::new(server, 10 * SECOND, TlsId::default()))
    }

    #[test]
    fn failures_count_within_the_timeout_only() {
        let (peer, start) = (peer(2), Instant::now());
        peer.failed(start);
        peer.failed(start + 11 * SECOND);
        assert!(peer.is_up(start + 11 * SECOND), "the first is forgotten");
        peer.failed(start + 12 * SECOND);
        assert_eq!(peer.standing(start + 12 * SECOND), Standing::Out);
        assert_eq!(peer.standing(start + 21 * SECOND), Standing::Out);
        assert!(peer.is_up(start + 22 * SECOND), "it may be tried");
    }

    #[test]
    fn without_max_fails_a_server_is_never_out() {
        let (peer, start) = (peer(0), Instant::now());
        (0..100).for_each(|_| peer.failed(start));
        assert!(peer.is_up(start));
    }

    #[test]
    fn one_request_at_a_time_tries_a_server_again_and_a_success_brings_it_back() {
        let (peer, start) = (peer(1), Instant::now());
        let early = peer.lease(start);
        peer.failed(start + SECOND);
        let later = start + 11 * SECOND;
        assert!(peer.is_up(later));
        peer.chosen(later);
        assert_eq!(peer.standing(later), Standing::Out, "the others wait");
        early.succeeded(later);
        assert_eq!(peer.standing(later), Standing::Out, "asked before it failed");
        peer.lease(later).succeeded(later);
        assert!(peer.is_up(later));
    }

    #[test]
    fn a_server_that_returns_warms_up() {
        let (peer, start) = (peer(1), Instant::now());
        assert_eq!(peer.standing(start), Standing::Up(200), "a new one need not");
        peer.failed(start);
        let back = start + 10 * SECOND;
        peer.lease(back).succeeded(back);
        for (after, weight) in [(0, 20), (5, 100), (9, 180), (10, 200), (100, 200)] {
            assert_eq!(
                peer.standing(back + after * SECOND),
                Standing::Up(weight),
                "{after} s"
            );
        }
    }

    #[test]
    fn active_checks_must_agree_before_they_count() {
        let (peer, start) = (peer(1), Instant::now());
        peer.checked(false, start);
        peer.checked(true, start);
        peer.checked(false, start);
        assert!(peer.is_up(start));
        peer.checked(false, start);
        assert_eq!(peer.standing(start), Standing::Unhealthy);
        peer.checked(true, start);
        assert_eq!(peer.standing(start), Standing::Unhealthy);
        peer.checked(true, start);
        assert_eq!(peer.standing(start), Standing::Up(20), "and warms up");
    }

    #[test]
    fn leases_count_what_a_server_is_busy_with() {
        let peer = peer(1);
        let leases = [peer.lease(Instant::now()), peer.lease(Instant::now())];
        assert_eq!(peer.active(), 2);
        drop(leases);
        assert_eq!(peer.active(), 0);
    }

    #[test]
    fn ids_tell_servers_apart_by_their_url() {
        let id = |port| ServerId::of(&Server::new(Scheme::Http, "a", port));
        assert_eq!(id(80), id(80));
        assert_ne!(id(80), id(81));
    }
}
