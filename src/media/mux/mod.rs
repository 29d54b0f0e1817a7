//! The multiplexer of one shard: packet in, packets out.
//!
//! ```text
//!  client ─▶ STUN? ─▶ USERNAME ─▶ call (authenticate, bind tuple, answer)      server-leg agent ─▶ server
//!            else ─▶ tuple ───▶ call.uplink (atomic load) ──────────────────────────────────────▶ server
//!  server ─▶ STUN? ─▶ USERNAME or pair ─▶ call's server leg
//!            else ─▶ pair ────▶ call.downlink (atomic load) ─────▶ client
//! ```
//!
//! Contract: time, packets and randomness are arguments, packets leave through the [`Shell`]; it reads no clock and
//! owns no socket, so that a simulation can drive it. Forwarding a packet takes no lock and allocates nothing.
//! Nothing that has not passed MESSAGE-INTEGRITY changes a table, gets an answer or is logged above trace.

mod client;
mod direct;
mod revival;
mod server;
mod streams;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::ice::server_leg::Outbox;
use crate::ice::{
    ClientPath, Counter, Counters, DropReason, Now, ServerCandidate, ServerPath, Session, Shell, SocketId,
    Transport, Tuple,
};

use super::Multiplexer;
use super::call::in_use;
use super::direct::DirectFlow;
use super::shared::{Call, Peer, Shared};
use super::tcp::StreamEvent;
pub use client::socket_hash;
use timers::Timers;

/// Housekeeping happens this often, in milliseconds.
const SWEEP: u64 = 5_000;

/// Whom a client tuple belongs to.
#[derive(Clone, Debug)]
enum ClientPeer {
    Hijack(Arc<Call>, Arc<Tuple>),
    Direct(Arc<DirectFlow>),
}

impl ClientPeer {
    fn is_closed(&self) -> bool {
        match self {
            Self::Hijack(call, _) => call.is_closed(),
            Self::Direct(flow) => flow.is_closed(),
        }
    }

    fn has_consent(&self, mono: u64) -> bool {
        match self {
            Self::Hijack(_, tuple) => tuple.has_consent(mono),
            Self::Direct(flow) => flow.has_consent(mono),
        }
    }
}

/// The tables and timers of one shard.
#[derive(Debug)]
pub struct Mux {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    /// Filled by authenticated checks only, so that a fast, randomly seeded hash will do.
    clients: HashMap<ClientPath, ClientPeer, RandomState>,
    /// Filled from [`Shared`], whose pairs are reserved by us.
    servers: HashMap<(SocketId, SocketAddr), Peer, RandomState>,
    timers: Timers,
    next_sweep: u64,
    /// When more revived calls are to be taken, while there are more.
    next_arrivals: Option<u64>,
    /// Sockets reopened for revived calls: when any call may use them, and whether they are IPv6.
    reopened: Vec<(u64, bool, SocketId)>,
}

impl Mux {
    /// A shard's multiplexer over the shared tables.
    #[must_use]
    pub fn new(shared: Arc<Shared>, counters: Arc<Counters>) -> Self {
        Self {
            shared,
            counters,
            clients: HashMap::default(),
            servers: HashMap::default(),
            timers: Timers::default(),
            next_sweep: 0,
            next_arrivals: None,
            reopened: Vec::new(),
        }
    }

    /// The next moment at which [`Mux::handle_timeout`] has something to do, in [`Now::mono`] milliseconds.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        let sweep = Some(self.next_sweep);
        self.timers
            .next()
            .into_iter()
            .chain(self.next_arrivals)
            .chain(sweep)
            .min()
    }

    /// Runs the timers that are due, takes up what the control plane has told, and tidies.
    pub fn handle_timeout<'b>(&mut self, now: Now, shell: &mut impl Shell<'b>) {
        self.take_arrivals(now, shell);
        for call in self.shared.take_poked() {
            self.add_early_candidates(&call, now, shell);
            self.drive(&call, now, shell);
        }
        while let Some(call) = self.timers.pop(now.mono) {
            self.drive(&call, now, shell);
        }
        if self.next_sweep <= now.mono {
            self.next_sweep = now.mono + SWEEP;
            self.sweep(now, shell);
        }
    }

    /// Polls a call, and ends it if it is over.
    fn drive<'b>(&mut self, call: &Arc<Call>, now: Now, shell: &mut impl Shell<'b>) {
        if call.is_closed() {
            return;
        }
        let mut session = call.lock();
        if session.is_over(now) {
            session
                .server_paths()
                .for_each(|path| shell.hang_up_server(&path));
            drop(session);
            if self.shared.close(call, now.mono) {
                self.counters.add(Counter::SessionsClosed, 1);
            }
            return;
        }
        session.poll(now, &mut Out::new(shell));
        self.settle(call, &mut session, now, shell);
    }

    /// Publishes what has changed in a session to the packet path, sends what waited for it, and sees to it that the
    /// call is polled in time.
    fn settle<'b>(&mut self, call: &Arc<Call>, session: &mut Session, now: Now, shell: &mut impl Shell<'b>) {
        if session.newly_connected() {
            self.counters.add(Counter::SessionsConnected, 1);
        }
        let waiting = session.release_to_server();
        let uplink = waiting.as_ref().map(|(path, _)| *path);
        if call.uplink.load().as_deref().copied() != uplink {
            call.uplink.store(uplink.map(Arc::new));
        }
        if let Some((path, packets)) = waiting {
            packets
                .iter()
                .for_each(|packet| shell.send_to_server(&path, packet));
        }
        if let Some((tuple, packets)) = session.release_to_client(now) {
            self.point_downlink(call, &tuple);
            packets
                .iter()
                .for_each(|packet| shell.send_to_client(&tuple.path, packet));
        }
        self.timers.set(session.deadline().max(now.mono + 1), call);
    }

    fn point_downlink(&self, call: &Call, tuple: &Arc<Tuple>) {
        let old = call.downlink.load();
        if old.as_ref().is_some_and(|old| Arc::ptr_eq(old, tuple)) {
            return;
        }
        if old.is_some() {
            self.counters.add(Counter::DownlinkMoved, 1);
        }
        call.downlink.store(Some(tuple.clone()));
    }

    /// Reserves a server-leg pair for a call or flow, with one more socket if all are taken.
    fn reserve<'b>(
        &self,
        remote: SocketAddr,
        hash: u64,
        peer: &Peer,
        now: Now,
        shell: &mut impl Shell<'b>,
    ) -> Option<ServerPath> {
        self.shared.reserve(remote, hash, peer, now.mono).or_else(|| {
            let socket = shell.open_server_socket(remote.is_ipv6())?;
            // Held before others see the socket.
            let path = self.shared.hold(ServerPath { socket, remote }, peer, now.mono);
            self.shared.add_socket(remote.is_ipv6(), socket);
            path
        })
    }

    /// Paths to the candidates that were trickled, as far as the route permits them.
    fn add_early_candidates<'b>(&self, call: &Arc<Call>, now: Now, shell: &mut impl Shell<'b>) {
        let Some(policy) = self.shared.policy(call.route) else {
            return;
        };
        let candidates = self.shared.early_candidates(&call.token);
        let (permitted, refused): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .partition(|candidate| policy.allow.permits(candidate.addr));
        for _ in refused {
            self.counters.dropped(DropReason::ServerNotAllowed);
        }
        let prefers_tcp = call.lock().prefers_tcp();
        self.add_paths(call, in_use(&permitted, prefers_tcp), now, shell);
    }

    /// Paths to candidates that the route permits.
    fn add_paths<'b>(
        &self,
        call: &Arc<Call>,
        candidates: impl IntoIterator<Item = ServerCandidate>,
        now: Now,
        shell: &mut impl Shell<'b>,
    ) {
        for ServerCandidate { transport, addr } in candidates {
            if call.lock().knows_server(transport, addr) {
                continue;
            }
            let path = match transport {
                Transport::Udp => {
                    let peer = Peer::Hijack(call.clone());
                    self.reserve(addr, call.socket_hash, &peer, now, shell)
                }
                Transport::Tcp => self.dial(addr, &Peer::Hijack(call.clone()), now, shell),
            };
            let Some(path) = path else {
                self.counters.dropped(DropReason::NoServerSocket);
                continue;
            };
            if !call.lock().add_path(path, now) {
                self.release(path, now, shell);
            }
        }
    }

    fn sweep<'b>(&mut self, now: Now, shell: &mut impl Shell<'b>) {
        self.join_reopened(now);
        let (shared, counters) = (&self.shared, &self.counters);
        self.clients.retain(|path, peer| {
            if !peer.has_consent(now.mono)
                && let ClientPeer::Direct(flow) = peer
            {
                direct::close(shared, counters, flow, now, shell);
            }
            // A long call of a client that moves about would gather tuples without end.
            let stays = peer.has_consent(now.mono) && !peer.is_closed();
            if !stays {
                shell.hang_up_client(path);
            }
            stays
        });
        self.servers.retain(|_, peer| !peer.is_closed());
        self.shared.sweep(now.mono);
    }
}

/// Lends a shell to a server leg.
struct Out<'s, S> {
    shell: &'s mut S,
}

impl<'s, S> Out<'s, S> {
    fn new(shell: &'s mut S) -> Self {
        Self { shell }
    }
}

impl<'b, S: Shell<'b>> Outbox for Out<'_, S> {
    fn send(&mut self, to: &ServerPath, packet: &[u8]) {
        self.shell.send_to_server(to, packet);
    }

    fn random(&mut self) -> u64 {
        self.shell.random()
    }
}

impl Multiplexer for Mux {
    fn handle_client<'b>(
        &mut self,
        now: Now,
        from: ClientPath,
        packet: &'b [u8],
        shell: &mut impl Shell<'b>,
    ) {
        Self::handle_client(self, now, from, packet, shell);
    }

    fn handle_server<'b>(
        &mut self,
        now: Now,
        from: ServerPath,
        packet: &'b [u8],
        shell: &mut impl Shell<'b>,
    ) {
        Self::handle_server(self, now, from, packet, shell);
    }

    fn handle_stream<'b>(&mut self, now: Now, event: StreamEvent, shell: &mut impl Shell<'b>) {
        Self::handle_stream(self, now, event, shell);
    }

    fn handle_timeout<'b>(&mut self, now: Now, shell: &mut impl Shell<'b>) {
        Self::handle_timeout(self, now, shell);
    }

    fn next_timeout(&self) -> Option<u64> {
        Self::next_timeout(self)
    }
}
