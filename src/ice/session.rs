//! One hijacked call: a client leg, a server leg, and the packets that wait for a leg that is not up yet.
//!
//! Liveness is coupled: a client without consent ends the call, and with it the server leg's checks; a server leg that
//! has failed leaves the client's checks unanswered, so that each end sees the failure that really happened.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::wire::stun::{Authenticated, IntegrityKey, Message};

use super::attest::Attested;
use super::client_leg::{Checked, ClientLeg, LastSeen, Tuple};
use super::counters::DropReason;
use super::keys::KeyRing;
use super::path::{ClientPath, ServerPath, Transport};
use super::server_leg::{LegState, Outbox, ServerLeg};
use super::shell::Now;
use super::token::Claims;

/// A flight of DTLS is at most about five packets; this keeps one and a little more.
const MAX_PENDING_PACKETS: usize = 8;
const MAX_PENDING_BYTES: usize = 12_000;

/// Packets that waited, in order.
pub type Flight = VecDeque<Box<[u8]>>;

/// Packets kept for a leg that is not up.
#[derive(Debug, Default)]
struct Pending {
    packets: Flight,
    bytes: usize,
}

impl Pending {
    fn push(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        if self.packets.len() >= MAX_PENDING_PACKETS || self.bytes + packet.len() > MAX_PENDING_BYTES {
            return Err(DropReason::LegNotReady);
        }
        self.bytes += packet.len();
        self.packets.push_back(packet.into());
        Ok(())
    }

    fn take(&mut self) -> Flight {
        self.bytes = 0;
        std::mem::take(&mut self.packets)
    }
}

/// The mutable part of a hijacked call.
#[derive(Debug)]
pub struct Session {
    client: ClientLeg,
    server: ServerLeg,
    to_server: Pending,
    to_client: Pending,
    announced: bool,
}

impl Session {
    /// A call that begins with its first authenticated check.
    #[must_use]
    pub fn new(
        keys: &KeyRing,
        token: &str,
        claims: &Claims,
        client_ufrag: &str,
        client_key: IntegrityKey,
        now: Now,
        tie_breaker: u64,
    ) -> Self {
        let local = keys.server_facing(claims.route, client_ufrag, Some(token));
        Self {
            client: ClientLeg::new(client_key, now.mono),
            server: ServerLeg::new(claims, &local, now.mono, now.unix, tie_breaker),
            to_server: Pending::default(),
            to_client: Pending::default(),
            announced: false,
        }
    }

    /// Takes over the client's tuples from before a restart.
    pub fn restore_tuples(
        &mut self,
        tuples: impl IntoIterator<Item = (ClientPath, LastSeen)>,
        proof: &Attested<'_>,
    ) {
        self.client.restore(tuples, proof);
    }

    /// The client's tuples, with or without consent.
    #[must_use]
    pub fn tuples(&self) -> &[Arc<Tuple>] {
        self.client.tuples()
    }

    /// The key of the client's checks.
    #[must_use]
    pub fn client_key(&self) -> &IntegrityKey {
        self.client.key()
    }

    /// Takes a check of the client and writes the answer into `buf`.
    ///
    /// # Errors
    /// Why it gets no answer.
    pub fn handle_check(
        &mut self,
        now: Now,
        from: ClientPath,
        check: &Authenticated<'_>,
        buf: &mut [u8],
    ) -> Result<Checked, DropReason> {
        if self.server.state() == LegState::Failed {
            self.client.ignore_check(now.mono);
            return Err(DropReason::ServerLegFailed);
        }
        self.client.handle_check(now.mono, from, check, buf)
    }

    /// Whether a request of the server verifies with our password towards it.
    #[must_use]
    pub fn is_from_server(&self, message: &Message<'_>) -> bool {
        self.server.authenticates(message)
    }

    /// Takes a request of the server.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn handle_server_request(
        &mut self,
        now: Now,
        from: ServerPath,
        message: &Message<'_>,
        out: &mut impl Outbox,
    ) -> Result<(), DropReason> {
        self.server.handle_request(now.mono, from, message, out)
    }

    /// Takes a response of the server.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn handle_server_response(
        &mut self,
        now: Now,
        from: ServerPath,
        message: &Message<'_>,
        out: &mut impl Outbox,
    ) -> Result<(), DropReason> {
        self.server.handle_response(now.mono, from, message, out)
    }

    /// Adds a path to the server. `false` if it is known or there are too many.
    pub fn add_path(&mut self, path: ServerPath, now: Now) -> bool {
        self.server.add_path(path, now.mono)
    }

    /// A TCP connection to the server is up.
    pub fn open_path(&mut self, path: ServerPath, now: Now) {
        self.server.open_path(path, now.mono);
    }

    /// A TCP connection to the server is gone, or has not come up. Returns whether the server had answered on it.
    pub fn remove_path(&mut self, path: ServerPath, now: Now) -> bool {
        self.server.remove_path(path, now.mono)
    }

    /// Whether the server's TCP candidates come first.
    #[must_use]
    pub fn prefers_tcp(&self) -> bool {
        self.server.prefers_tcp()
    }

    /// Whether a path to this address is known.
    #[must_use]
    pub fn knows_server(&self, transport: Transport, remote: SocketAddr) -> bool {
        self.server.knows(transport, remote)
    }

    /// Every server path of the call.
    pub fn server_paths(&self) -> impl Iterator<Item = ServerPath> + '_ {
        self.server.paths()
    }

    /// Keeps a packet for the server until its leg is up.
    ///
    /// # Errors
    /// [`DropReason::LegNotReady`] beyond one flight.
    pub fn hold_for_server(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        self.to_server.push(packet)
    }

    /// Keeps a packet for the client until a tuple has consent.
    ///
    /// # Errors
    /// [`DropReason::LegNotReady`] beyond one flight.
    pub fn hold_for_client(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        self.to_client.push(packet)
    }

    /// Where data for the server goes, once its leg is up.
    #[must_use]
    pub fn server_path(&self) -> Option<ServerPath> {
        self.server.selected()
    }

    /// Packets that may go to the server now: none before its leg is up.
    pub fn release_to_server(&mut self) -> Option<(ServerPath, Flight)> {
        let path = self.server.selected()?;
        Some((path, self.to_server.take()))
    }

    /// Packets that may go to the client now: none before a tuple has consent.
    pub fn release_to_client(&mut self, now: Now) -> Option<(Arc<Tuple>, Flight)> {
        let tuple = self.client.best(now.mono)?.clone();
        Some((tuple, self.to_client.take()))
    }

    /// Forgets a client tuple that another call has taken.
    pub fn forget_tuple(&mut self, path: &ClientPath) {
        self.client.forget(path);
    }

    /// Sends what is due.
    pub fn poll(&mut self, now: Now, out: &mut impl Outbox) {
        self.server.poll(now.mono, out);
    }

    /// `true` exactly once: when the server leg has come up.
    pub fn newly_connected(&mut self) -> bool {
        self.server.state() == LegState::Connected && !std::mem::replace(&mut self.announced, true)
    }

    /// Whether the call is over: the client is gone. A failed server leg alone does not end it: the client has to notice
    /// by its own unanswered checks, and for as long as it sends them they must not start the call anew.
    #[must_use]
    pub fn is_over(&self, now: Now) -> bool {
        self.client.is_gone(now.mono)
    }

    /// The next moment at which something is due.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        let client = self.client.deadline();
        self.server.deadline().map_or(client, |server| server.min(client))
    }
}
