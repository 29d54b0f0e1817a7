//! The shell around the multiplexer: turns paths into sockets and addresses, and queues what is sent to them.
//!
//! One lives for one turn of a shard. What goes to a peer on TCP is copied into the queue of its connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::batch::{Destination, SendBatch, SendQueue};
use super::entropy::Entropy;
use super::pool::Pool;
use super::socket::{ListenerSockets, Socket};
use super::tcp::Streams;
use crate::ice::{
    ClientPath, Counter, Counters, DropReason, ListenerId, ServerPath, Shell, SocketId, Transport,
};

/// A socket that a shard receives from, and its place in the poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// One family of a listener.
    Listener { id: ListenerId, ipv6: bool },
    /// A server-leg socket.
    ServerLeg(SocketId),
}

impl Source {
    /// Its token: listeners are even and odd by family, server-leg sockets lie beyond all of them.
    pub(super) const fn token(self) -> Token {
        match self {
            Self::Listener { id, ipv6 } => Token(id.0 as usize * 2 + ipv6 as usize),
            Self::ServerLeg(id) => Token(FIRST_SERVER_LEG + id.0 as usize),
        }
    }

    /// The source of a token that [`Self::token`] made.
    pub(super) fn of(token: Token) -> Option<Self> {
        match token.0.checked_sub(FIRST_SERVER_LEG) {
            Some(id) => Some(Self::ServerLeg(SocketId(u32::try_from(id).ok()?))),
            None => Some(Self::Listener {
                id: ListenerId(u16::try_from(token.0 / 2).ok()?),
                ipv6: token.0 % 2 == 1,
            }),
        }
    }

    /// What its packets and their bytes are counted as.
    pub(super) const fn counters(self) -> (Counter, Counter) {
        match self {
            Self::Listener { .. } => (Counter::ClientPackets, Counter::ClientBytes),
            Self::ServerLeg(_) => (Counter::ServerPackets, Counter::ServerBytes),
        }
    }

    /// Has a poll tell when there is something to receive.
    pub(super) fn register(self, registry: &Registry, socket: &Socket) -> io::Result<()> {
        registry.register(
            &mut SourceFd(&socket.as_raw_fd()),
            self.token(),
            Interest::READABLE,
        )
    }
}

/// More than two per possible [`ListenerId`].
const FIRST_SERVER_LEG: usize = 1 << 20;

/// The sockets that a shard may send on.
#[derive(Clone, Copy)]
pub(super) struct Sockets<'b> {
    pub(super) listeners: &'b [ListenerSockets],
    pub(super) pool: &'b Pool,
    pub(super) streams: &'b Arc<Streams>,
    /// The shard's number.
    pub(super) shard: usize,
}

impl<'b> Sockets<'b> {
    fn towards_client(&self, to: &ClientPath) -> Option<Destination<'b>> {
        let ClientPath::Udp {
            listener,
            local,
            remote,
        } = *to
        else {
            return None;
        };
        let socket = self.listener(listener)?.family(remote.is_ipv6())?;
        Some(Destination {
            socket,
            local: explicit_source(socket, local),
            remote,
        })
    }

    fn towards_server(&self, to: &ServerPath) -> Option<Destination<'b>> {
        let socket = self.pool.get(to.socket)?;
        (socket.bound().is_ipv6() == to.remote.is_ipv6()).then_some(Destination {
            socket,
            local: None,
            remote: to.remote,
        })
    }

    fn listener(&self, id: ListenerId) -> Option<&'b ListenerSockets> {
        self.listeners.iter().find(|listener| listener.id == id)
    }
}

/// The address that a packet must be told to leave from, where the socket has several.
fn explicit_source(socket: &Socket, local: IpAddr) -> Option<IpAddr> {
    (socket.is_wildcard() && !local.is_unspecified() && local.is_ipv6() == socket.bound().is_ipv6())
        .then_some(local)
}

/// A [`Shell`] for one turn.
pub(super) struct Outlet<'t, 'b> {
    batch: SendBatch<'t, 'b>,
    sockets: Sockets<'b>,
    registry: &'t Registry,
    counters: &'b Counters,
    entropy: &'t mut Entropy,
}

impl<'t, 'b> Outlet<'t, 'b> {
    pub(super) fn new(
        send: &'t mut SendQueue,
        sockets: Sockets<'b>,
        registry: &'t Registry,
        counters: &'b Counters,
        entropy: &'t mut Entropy,
    ) -> Self {
        Self {
            batch: send.batch(),
            sockets,
            registry,
            counters,
            entropy,
        }
    }

    /// Counts what became of a packet for a connection.
    fn queued(&self, given_up: Option<usize>, unknown: DropReason) {
        match given_up {
            Some(packets) => self.counters.dropped_many(DropReason::QueueFull, packets as u64),
            None => self.counters.dropped(unknown),
        }
    }

    /// Sends everything.
    pub(super) fn finish(self) {
        let refused = self.batch.finish() as u64;
        self.counters.dropped_many(DropReason::SendFailed, refused);
    }
}

impl<'b> Shell<'b> for Outlet<'_, 'b> {
    fn forward_to_client(&mut self, to: &ClientPath, packet: &'b [u8]) {
        if let ClientPath::Tcp { .. } = to {
            return self.send_to_client(to, packet);
        }
        match self.sockets.towards_client(to) {
            Some(destination) => self.batch.push(destination, packet),
            None => self.counters.dropped(DropReason::UnknownTuple),
        }
    }

    fn forward_to_server(&mut self, to: &ServerPath, packet: &'b [u8]) {
        if to.transport() == Transport::Tcp {
            return self.send_to_server(to, packet);
        }
        match self.sockets.towards_server(to) {
            Some(destination) => self.batch.push(destination, packet),
            None => self.counters.dropped(DropReason::NoServerSocket),
        }
    }

    fn send_to_client(&mut self, to: &ClientPath, packet: &[u8]) {
        if let ClientPath::Tcp { conn, .. } = to {
            let given_up = self.sockets.streams.send_to_client(*conn, packet);
            return self.queued(given_up, DropReason::UnknownTuple);
        }
        match self.sockets.towards_client(to) {
            Some(destination) => self.batch.push_copy(destination, packet),
            None => self.counters.dropped(DropReason::UnknownTuple),
        }
    }

    fn send_to_server(&mut self, to: &ServerPath, packet: &[u8]) {
        if to.transport() == Transport::Tcp {
            let given_up = self.sockets.streams.send_to_server(to.socket, packet);
            return self.queued(given_up, DropReason::NoServerSocket);
        }
        match self.sockets.towards_server(to) {
            Some(destination) => self.batch.push_copy(destination, packet),
            None => self.counters.dropped(DropReason::NoServerSocket),
        }
    }

    fn open_server_socket(&mut self, ipv6: bool) -> Option<SocketId> {
        let registry = self.registry;
        self.sockets.pool.open_one(ipv6, |id, socket| {
            Source::ServerLeg(id).register(registry, socket)
        })
    }

    fn server_socket_on(&mut self, ipv6: bool, port: u16) -> Option<SocketId> {
        let registry = self.registry;
        self.sockets.pool.on_port(ipv6, port, |id, socket| {
            Source::ServerLeg(id).register(registry, socket)
        })
    }

    fn random(&mut self) -> u64 {
        self.entropy.next()
    }

    fn keep_client(&mut self, client: &ClientPath) {
        if let ClientPath::Tcp { conn, .. } = client {
            self.sockets.streams.keep_client(*conn);
        }
    }

    fn hang_up_client(&mut self, client: &ClientPath) {
        if let ClientPath::Tcp { conn, .. } = client {
            self.sockets.streams.hang_up_client(*conn);
        }
    }

    fn dial_server(&mut self, remote: SocketAddr) -> Option<SocketId> {
        self.sockets.streams.dial(remote, self.sockets.shard)
    }

    fn hang_up_server(&mut self, server: &ServerPath) {
        if server.transport() == Transport::Tcp {
            self.sockets.streams.hang_up_server(server.socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_sources_are_one_to_one() {
        let mut tokens = Vec::new();
        for source in [
            Source::Listener {
                id: ListenerId(0),
                ipv6: false,
            },
            Source::Listener {
                id: ListenerId(0),
                ipv6: true,
            },
            Source::Listener {
                id: ListenerId(u16::MAX),
                ipv6: true,
            },
            Source::ServerLeg(SocketId(0)),
            Source::ServerLeg(SocketId(1023)),
        ] {
            assert_eq!(Source::of(source.token()), Some(source));
            assert!(!tokens.contains(&source.token()));
            tokens.push(source.token());
        }
    }
}
