//! The server leg: xrtc as a full ICE agent towards a WebRTC server (RFC 8445), sans IO.
//!
//! One component, no gathering, few remote addresses; all paths leave from sockets that the caller chose. It checks,
//! answers, nominates (or waits for the server's nomination), keeps consent fresh (RFC 7675) and says when it has
//! failed.
//!
//! Why not a general agent: three needs of a proxy that carries calls over its own restarts do not fit one. PRIORITY
//! must be a strictly growing function of the token's age with 24 bits of resolution (libnice keeps sending to the
//! old port otherwise), transaction ids must come from the caller so that a failure can be repeated from its seed,
//! and an idle leg must cost hundreds of bytes.

mod messages;
mod pairs;

use std::net::SocketAddr;

use crate::wire::stun::{Authenticated, Class, IntegrityKey, Message, Role};

use super::counters::DropReason;
use super::credentials::Credentials;
use super::path::{ServerPath, Transport};
use super::token::Claims;
use messages::{Check, answer, priority, transaction};
use pairs::{NEVER, Pair, Request};

/// A leg without a valid answer for this long has failed (RFC 7675 section 5.1: 30 s).
pub const CONSENT_TIMEOUT: u64 = 30_000;
/// No more pairs than these per call: sealed and trickled candidates, and what the server sends from.
pub const MAX_PAIRS: usize = 16;

/// Checks on the selected pair come at most this far apart: ex_ice gives up after 8 s of silence.
const KEEPALIVE: u64 = 3_200;
const KEEPALIVE_JITTER: u64 = 800;
/// After this long without an answer on the selected pair every pair is checked again.
const DOUBT: u64 = 5_000;
/// Where TCP is preferred, UDP waits this long for it to connect and be answered.
const HEAD_START: u64 = 1_000;

/// What the leg has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegState {
    /// No pair has answered yet.
    Checking,
    /// Data may flow on the selected path.
    Connected,
    /// Nothing answers; the call is over.
    Failed,
}

/// The agent of one call.
#[derive(Debug)]
pub struct ServerLeg {
    username: String,
    local_key: IntegrityKey,
    remote_key: IntegrityKey,
    controlling: bool,
    tie_breaker: u64,
    priority: u32,
    pairs: Vec<Pair>,
    selected: Option<usize>,
    prefers_tcp: bool,
    /// Before this, nothing is done on UDP: TCP is preferred, and in use or hoped for.
    udp_after: u64,
    last_answer: u64,
    state: LegState,
}

/// Where the leg's own packets go.
pub trait Outbox {
    /// Sends one packet.
    fn send(&mut self, to: &ServerPath, packet: &[u8]);
    /// 64 random bits.
    fn random(&mut self) -> u64;
}

impl ServerLeg {
    /// A leg to the server that `claims` names, with `local` as our credentials. `mono` and `unix` are milliseconds.
    #[must_use]
    pub fn new(claims: &Claims, local: &Credentials, mono: u64, unix: u64, tie_breaker: u64) -> Self {
        Self {
            username: format!("{}:{}", claims.ufrag, local.ufrag),
            local_key: IntegrityKey::new(&local.pwd),
            remote_key: IntegrityKey::new(&claims.pwd),
            // Only a full server that made the offer controls (RFC 8445 section 6.1.1).
            controlling: !claims.server_offers || claims.server_lite,
            tie_breaker,
            priority: priority(unix, claims.minted_at),
            pairs: Vec::new(),
            selected: None,
            prefers_tcp: claims.icetcp,
            udp_after: 0,
            last_answer: mono,
            state: LegState::Checking,
        }
    }

    /// What has been reached.
    #[must_use]
    pub fn state(&self) -> LegState {
        self.state
    }

    /// Where data for the server goes: the nominated path, before that any that answered.
    #[must_use]
    pub fn selected(&self) -> Option<ServerPath> {
        self.selected.map(|at| self.pairs[at].path)
    }

    /// Whether the server's TCP candidates come first.
    #[must_use]
    pub fn prefers_tcp(&self) -> bool {
        self.prefers_tcp
    }

    /// Whether a path to this address is known already.
    #[must_use]
    pub fn knows(&self, transport: Transport, remote: SocketAddr) -> bool {
        self.pairs
            .iter()
            .any(|pair| pair.path.transport() == transport && pair.path.remote == remote)
    }

    /// Every path that was added; all are reserved for this call.
    pub fn paths(&self) -> impl Iterator<Item = ServerPath> + '_ {
        self.pairs.iter().map(|pair| pair.path)
    }

    /// Adds a path to be checked from now on, or, if it is a TCP connection, once it is [open](Self::open_path).
    /// `false` if it is known or there are [`MAX_PAIRS`].
    pub fn add_path(&mut self, path: ServerPath, mono: u64) -> bool {
        if self.pairs.len() >= MAX_PAIRS || self.pairs.iter().any(|pair| pair.path == path) {
            return false;
        }
        let tcp = path.transport() == Transport::Tcp;
        if tcp && self.prefers_tcp && self.selected.is_none() {
            self.udp_after = mono + HEAD_START;
        }
        self.pairs.push(Pair::new(path, mono));
        true
    }

    /// A TCP connection is up.
    pub fn open_path(&mut self, path: ServerPath, mono: u64) {
        if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.path == path) {
            pair.due = mono;
        }
    }

    /// A TCP connection is gone, or has not come up. Returns whether the server had answered on it.
    pub fn remove_path(&mut self, path: ServerPath, mono: u64) -> bool {
        let Some(at) = self.pairs.iter().position(|pair| pair.path == path) else {
            return false;
        };
        let Pair { succeeded, .. } = self.pairs.remove(at);
        match self.selected {
            Some(selected) if selected == at => {
                self.selected = None;
                self.recheck(mono);
            }
            Some(selected) if selected > at => self.selected = Some(selected - 1),
            Some(_) | None => {}
        }
        if self
            .pairs
            .iter()
            .all(|pair| pair.path.transport() == Transport::Udp)
        {
            self.udp_after = 0;
        }
        succeeded
    }

    /// Sends what is due and notices the end of consent.
    pub fn poll(&mut self, mono: u64, out: &mut impl Outbox) {
        if self.state == LegState::Failed {
            return;
        }
        if mono.saturating_sub(self.last_answer) >= CONSENT_TIMEOUT {
            self.state = LegState::Failed;
            self.selected = None;
            return;
        }
        self.doubt(mono);
        for at in 0..self.pairs.len() {
            if self.is_due(at, mono) {
                self.check(at, mono, out);
            }
        }
    }

    /// The next moment at which [`ServerLeg::poll`] has something to do; `None` once failed.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        if self.state == LegState::Failed {
            return None;
        }
        let due = (0..self.pairs.len())
            .filter(|&at| self.is_checked(at))
            .map(|at| self.due(at))
            .min();
        let end = self.last_answer + CONSENT_TIMEOUT;
        Some(due.map_or(end, |due| due.min(end)))
    }

    /// Whether a request verifies with our password.
    #[must_use]
    pub fn authenticates(&self, message: &Message<'_>) -> bool {
        message.authenticate(&self.local_key).is_some()
    }

    /// Answers a request of the server. The caller has routed it here by its USERNAME and made sure that `from` may
    /// be sent to.
    ///
    /// # Errors
    /// The reason for which it was dropped, without an answer.
    pub fn handle_request(
        &mut self,
        mono: u64,
        from: ServerPath,
        message: &Message<'_>,
        out: &mut impl Outbox,
    ) -> Result<(), DropReason> {
        let request = message
            .authenticate(&self.local_key)
            .ok_or(DropReason::StunIntegrity)?;
        if self.state == LegState::Failed {
            return Err(DropReason::ServerLegFailed);
        }
        if from.transport() == Transport::Udp && mono < self.udp_after {
            return Err(DropReason::UdpHeldBack);
        }
        if self.resolve_conflict(&request) == Conflict::Refuse {
            answer(&request, Some(487), &self.local_key, &from, out);
            return Ok(());
        }
        answer(&request, None, &self.local_key, &from, out);
        self.add_path(from, mono);
        let Some(at) = self.pairs.iter().position(|pair| pair.path == from) else {
            return Ok(());
        };
        let nominates = !self.controlling && request.use_candidate();
        let pair = &mut self.pairs[at];
        pair.nominated |= nominates;
        if !pair.succeeded {
            pair.trigger(mono);
        } else if nominates {
            self.selected = Some(at);
        }
        self.poll(mono, out);
        Ok(())
    }

    /// Takes a response of the server.
    ///
    /// # Errors
    /// The reason for which it was dropped.
    pub fn handle_response(
        &mut self,
        mono: u64,
        from: ServerPath,
        message: &Message<'_>,
        out: &mut impl Outbox,
    ) -> Result<(), DropReason> {
        // Symmetry (RFC 8445 section 7.2.5.2.1): an answer counts only on the path of its request.
        let at = self
            .pairs
            .iter()
            .position(|pair| pair.path == from)
            .ok_or(DropReason::StunUnsolicited)?;
        if !self.pairs[at].awaits(message.transaction()) {
            return Err(DropReason::StunUnsolicited);
        }
        let response = message
            .authenticate(&self.remote_key)
            .ok_or(DropReason::StunIntegrity)?;
        let pair = &mut self.pairs[at];
        let request = pair
            .take(response.transaction())
            .ok_or(DropReason::StunUnsolicited)?;
        match response.class() {
            Class::Success => self.succeeded(at, mono, out),
            Class::Error if response.error_code() == Some(487) => {
                // The first of several conflicts has switched the role already.
                self.controlling = !request.controlling;
                pair.retry(mono);
            }
            // libnice says 400 and 401 while it waits for credentials: not the end of a pair.
            Class::Error => {}
            Class::Request | Class::Indication => return Err(DropReason::StunUnsupported),
        }
        self.poll(mono, out);
        Ok(())
    }

    fn succeeded(&mut self, at: usize, mono: u64, out: &mut impl Outbox) {
        self.last_answer = mono;
        self.state = LegState::Connected;
        let jitter = out.random() % KEEPALIVE_JITTER;
        let pair = &mut self.pairs[at];
        let first = pair.succeed(mono + KEEPALIVE + jitter);
        let take = match self.selected {
            None => true,
            Some(now) => {
                now != at && (pair.nominated && !self.pairs[now].nominated || !self.pairs[now].succeeded)
            }
        };
        if take {
            self.selected = Some(at);
        }
        if self.prefers_tcp
            && self
                .selected()
                .is_some_and(|path| path.transport() == Transport::Tcp)
        {
            self.udp_after = NEVER;
        }
        if first && self.selected == Some(at) && self.controlling {
            // Regular nomination (RFC 8445 section 8.1.1): the same pair once more, with USE-CANDIDATE.
            self.pairs[at].due = mono;
        }
    }

    /// A selected pair that has been silent is no longer trusted alone: all pairs are tried again.
    fn doubt(&mut self, mono: u64) {
        let Some(at) = self.selected else { return };
        if mono.saturating_sub(self.last_answer) < DOUBT || !self.pairs[at].succeeded {
            return;
        }
        self.udp_after = self.udp_after.min(mono);
        self.recheck(mono);
    }

    /// Checks every pair anew.
    fn recheck(&mut self, mono: u64) {
        self.pairs.iter_mut().for_each(|pair| pair.doubt(mono));
    }

    fn due(&self, at: usize) -> u64 {
        let pair = &self.pairs[at];
        match pair.path.transport() {
            Transport::Udp => pair.due.max(self.udp_after),
            Transport::Tcp => pair.due,
        }
    }

    /// Once a pair is selected the others rest, after a few tries.
    fn is_checked(&self, at: usize) -> bool {
        let pair = &self.pairs[at];
        self.selected
            .is_none_or(|selected| selected == at || pair.is_hopeful())
    }

    fn is_due(&self, at: usize, mono: u64) -> bool {
        self.is_checked(at) && self.due(at) <= mono
    }

    fn check(&mut self, at: usize, mono: u64, out: &mut impl Outbox) {
        let check = Check {
            id: transaction(out),
            username: &self.username,
            priority: self.priority,
            role: self.role(),
            nominate: self.controlling && self.selected == Some(at),
        };
        let request = Request {
            id: check.id,
            controlling: self.controlling,
        };
        let pair = &mut self.pairs[at];
        pair.checked(request, mono);
        check.send(&self.remote_key, &pair.path, out);
    }

    fn role(&self) -> Role {
        if self.controlling {
            Role::Controlling(self.tie_breaker)
        } else {
            Role::Controlled(self.tie_breaker)
        }
    }

    /// RFC 8445 section 7.3.1.1.
    fn resolve_conflict(&mut self, request: &Authenticated<'_>) -> Conflict {
        match request.role() {
            Some(Role::Controlling(theirs)) if self.controlling => {
                if self.tie_breaker >= theirs {
                    return Conflict::Refuse;
                }
                self.controlling = false;
            }
            Some(Role::Controlled(theirs)) if !self.controlling => {
                if self.tie_breaker < theirs {
                    return Conflict::Refuse;
                }
                self.controlling = true;
            }
            Some(Role::Controlling(_) | Role::Controlled(_)) | None => {}
        }
        Conflict::None
    }
}

#[derive(PartialEq, Eq)]
enum Conflict {
    None,
    Refuse,
}

#[cfg(test)]
mod tests;
