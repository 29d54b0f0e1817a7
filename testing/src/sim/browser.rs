//! A client with the habits of a browser: it checks every pair, nominates in Chrome's or in Firefox's way, keeps
//! consent, answers checks, and sends media on the pair that it has selected.
//!
//! It knows nothing of the proxy: what it has is a ufrag, a password and addresses, as an SDP would tell.

use std::net::SocketAddr;

use xrtc::wire::stun::{Class, Message, Role, TransactionId};

use super::Endpoint;
use super::check::{Check, Login, answer, transaction};
use super::net::Packet;
use super::rng::Rng;
use super::stream::Stream;

/// An answer to one of the last few checks of a pair counts.
const OUTSTANDING: usize = 16;
/// Unanswered for this long, a pair is no longer written to (libwebrtc's write timeout).
const WRITE_TIMEOUT: u64 = 15_000;
/// Consent ends (RFC 7675).
const CONSENT: u64 = 30_000;
/// Host candidates' type preference, RFC 8445 section 5.1.2.1; a peer-reflexive priority follows from it.
const PRIORITY: u32 = 110 << 24 | 0x00ff_ffff;

/// Whose habits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Checks every pair for ever; nominates the selected pair only.
    Chrome,
    /// Nominates in every check; after the start only the selected pair is checked.
    Firefox,
}

#[derive(Debug)]
struct Pair {
    local: SocketAddr,
    remote: SocketAddr,
    due: u64,
    outstanding: Vec<TransactionId>,
    last_answer: Option<u64>,
}

/// The client.
#[derive(Debug)]
pub struct Browser {
    /// Its own credentials.
    pub local: Login,
    /// Those of the server, as its SDP shows them.
    pub remote: Login,
    /// Media.
    pub stream: Stream,
    /// Addresses that answers said it has.
    pub mapped: Vec<SocketAddr>,
    /// 487s that came.
    pub conflicts: u64,
    /// Checks that came and were answered.
    pub checks_answered: u64,
    forced_pair: Option<usize>,
    habit: Habit,
    controlling: bool,
    tie_breaker: u64,
    pairs: Vec<Pair>,
    last_answer: u64,
    rng: Rng,
}

impl Browser {
    /// A client that starts at `now`. `pairs` are its addresses and the server's, best pair first.
    #[must_use]
    pub fn new(
        habit: Habit,
        local: Login,
        remote: Login,
        pairs: &[(SocketAddr, SocketAddr)],
        tag: u32,
        mut rng: Rng,
        now: u64,
    ) -> Self {
        let pairs = pairs.iter().map(|&(local, remote)| Pair {
            local,
            remote,
            due: now,
            outstanding: Vec::new(),
            last_answer: None,
        });
        Self {
            local,
            remote,
            stream: Stream::new(tag),
            mapped: Vec::new(),
            conflicts: 0,
            checks_answered: 0,
            forced_pair: None,
            habit,
            controlling: true,
            tie_breaker: rng.bits(),
            pairs: pairs.collect(),
            last_answer: now,
            rng,
        }
    }

    /// Falls silent.
    pub fn stop(&mut self) {
        self.pairs.clear();
        self.forced_pair = None;
    }

    /// Starts in the controlled role, as against a full server that offers.
    pub const fn start_controlled(&mut self) {
        self.controlling = false;
    }

    /// Selects a pair, whatever its rank, as after a change of networks.
    pub fn use_pair(&mut self, at: usize, now: u64) {
        self.forced_pair = Some(at);
        self.pairs[at].due = now;
    }

    /// Checks every pair at `now`, whatever its turn.
    pub fn check_now(&mut self, now: u64) {
        self.pairs.iter_mut().for_each(|pair| pair.due = now);
    }

    /// Whether a pair carries media.
    #[must_use]
    pub fn is_connected(&self, now: u64) -> bool {
        self.selected(now).is_some()
    }

    /// Whether ICE has failed: no answer for as long as consent lasts.
    #[must_use]
    pub const fn has_failed(&self, now: u64) -> bool {
        now.saturating_sub(self.last_answer) >= CONSENT
    }

    fn selected(&self, now: u64) -> Option<usize> {
        let limit = match self.habit {
            Habit::Chrome => WRITE_TIMEOUT,
            Habit::Firefox => CONSENT,
        };
        let fresh = |pair: &Pair| pair.last_answer.is_some_and(|at| now.saturating_sub(at) < limit);
        self.forced_pair
            .or_else(|| self.pairs.iter().position(fresh))
            .filter(|&at| self.pairs[at].last_answer.is_some())
    }

    fn check(&mut self, at: usize, now: u64, out: &mut Vec<Packet>) {
        let selected = self.selected(now) == Some(at);
        let id = transaction(&mut self.rng);
        let packet = Check {
            id,
            to: &self.remote,
            from: &self.local.ufrag,
            role: if self.controlling {
                Role::Controlling(self.tie_breaker)
            } else {
                Role::Controlled(self.tie_breaker)
            },
            priority: PRIORITY - at as u32,
            nominate: self.controlling && (selected || self.habit == Habit::Firefox),
        }
        .packet();
        let jitter = self.rng.below(1_000);
        let pair = &mut self.pairs[at];
        let answered = pair.last_answer.is_some_and(|last| now - last < WRITE_TIMEOUT);
        pair.due = now
            + match (self.habit, answered) {
                (_, false) => 500 + jitter / 20,
                (Habit::Chrome, true) => 2_400 + jitter / 5,
                (Habit::Firefox, true) if selected => 4_000 + 2 * jitter,
                (Habit::Firefox, true) => CONSENT * 10,
            };
        if pair.outstanding.len() == OUTSTANDING {
            pair.outstanding.remove(0);
        }
        pair.outstanding.push(id);
        out.push(Packet {
            src: pair.local,
            dst: pair.remote,
            bytes: packet,
        });
    }

    fn response(&mut self, now: u64, packet: &Packet, message: &Message<'_>) {
        let Some(response) = message.authenticate(&self.remote.key()) else {
            return;
        };
        let mine = self.pairs.iter_mut().find(|pair| {
            pair.local == packet.dst
                && pair.remote == packet.src
                && pair.outstanding.contains(&response.transaction())
        });
        let Some(pair) = mine else { return };
        pair.outstanding.retain(|id| *id != response.transaction());
        if response.class() == Class::Error {
            if response.error_code() == Some(487) {
                self.conflicts += 1;
                self.controlling = !self.controlling;
                pair.due = now;
            }
            return;
        }
        if pair.last_answer.is_none() && self.habit == Habit::Chrome {
            // Chrome checks a newly selected pair again at once, to nominate it.
            pair.due = now;
        }
        pair.last_answer = Some(now);
        self.last_answer = now;
        self.mapped.extend(response.xor_mapped_address());
    }

    fn request(&mut self, packet: &Packet, message: &Message<'_>, out: &mut Vec<Packet>) {
        let own = message
            .username_parts()
            .is_some_and(|(to, _)| to == self.local.ufrag);
        if !own || message.authenticate(&self.local.key()).is_none() {
            return;
        }
        self.checks_answered += 1;
        out.push(Packet {
            src: packet.dst,
            dst: packet.src,
            bytes: answer(message, packet.src, &self.local.key(), false),
        });
    }
}

impl Endpoint for Browser {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.pairs.iter().map(|pair| pair.local).collect()
    }

    fn receive(&mut self, now: u64, packet: &Packet, out: &mut Vec<Packet>) {
        match Message::parse(&packet.bytes) {
            Ok(message) if message.class() == Class::Request => self.request(packet, &message, out),
            Ok(message) => self.response(now, packet, &message),
            Err(_) => self.stream.receive(now, &packet.bytes),
        }
    }

    fn poll(&mut self, now: u64, out: &mut Vec<Packet>) {
        for at in 0..self.pairs.len() {
            if self.pairs[at].due <= now {
                self.check(at, now, out);
            }
        }
        if let Some(at) = self.selected(now)
            && let Some(bytes) = self.stream.take(now)
        {
            let pair = &self.pairs[at];
            out.push(Packet {
                src: pair.local,
                dst: pair.remote,
                bytes,
            });
        }
    }

    fn next(&mut self, now: u64) -> u64 {
        let checks = self.pairs.iter().map(|pair| pair.due).min().unwrap_or(u64::MAX);
        if self.selected(now).is_some() {
            checks.min(self.stream.next())
        } else {
            checks
        }
    }
}
