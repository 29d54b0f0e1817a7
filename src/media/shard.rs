//! A shard: one thread, its sockets, its multiplexer.
//!
//! A turn serves every socket that has something once, one batch each, so that a busy socket holds up neither the
//! others nor the timers. All shards do the same; the kernel spreads the clients over their sockets. What came on TCP
//! connections lies in the shard's inbox, and filling that wakes the shard.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Registry, Token, Waker};

use super::batch::{RecvBatch, SendQueue};
use super::clock::Clock;
use super::entropy::Entropy;
use super::listeners::{self, Changes};
use super::outlet::{Outlet, Sockets, Source};
use super::pool::Pool;
use super::socket::{ListenerSockets, Socket};
use super::tcp::{Arrival, Inbox, Load, StreamEvent, Streams};
use crate::ice::{ClientPath, Counter, Counters, DropReason, ListenerId, Now, ServerPath, Shell};

const WAKER: Token = Token(usize::MAX);
/// Events fetched at once; what is left comes with the next turn.
const EVENTS: usize = 256;

/// Decides where packets go. A shard owns one and calls it from its own thread only.
pub trait Multiplexer: Send + 'static {
    /// Takes a packet that came in on a listener.
    fn handle_client<'b>(&mut self, now: Now, from: ClientPath, packet: &'b [u8], shell: &mut impl Shell<'b>);

    /// Takes a packet that came in on a server-leg socket.
    fn handle_server<'b>(&mut self, now: Now, from: ServerPath, packet: &'b [u8], shell: &mut impl Shell<'b>);

    /// Takes note of what happened to a TCP connection. A multiplexer that knows none has nothing to do.
    fn handle_stream<'b>(&mut self, _now: Now, _event: StreamEvent, _shell: &mut impl Shell<'b>) {}

    /// Does what is due; called when [`Self::next_timeout`] has come and when the shard is woken.
    fn handle_timeout<'b>(&mut self, now: Now, shell: &mut impl Shell<'b>);

    /// When something will be due, in milliseconds of [`Now::mono`].
    fn next_timeout(&self) -> Option<u64>;
}

/// What a multiplexer may know of the shard that it is made for.
#[derive(Debug)]
pub struct ShardSeat<'a> {
    /// The shard's number, from zero.
    pub shard: usize,
    /// How many shards there are.
    pub shards: usize,
    /// The shard's counters. The shard itself counts the packets and bytes received, and what its [`Shell`] drops.
    pub counters: &'a Arc<Counters>,
    /// The server-leg sockets of all shards.
    pub pool: &'a Arc<Pool>,
    /// The clock that the shard will tell the time by.
    pub clock: Clock,
}

/// A shard before it runs.
pub(super) struct Shard<M> {
    pub(super) mux: M,
    pub(super) poll: Poll,
    pub(super) entropy: Entropy,
    pub(super) post: Post,
    pub(super) changes: Arc<Changes>,
    pub(super) stop: Arc<AtomicBool>,
}

/// Where a shard stands: what it receives from, sends on, counts in and tells the time by.
pub(super) struct Post {
    pub(super) listeners: Vec<ListenerSockets>,
    pub(super) pool: Arc<Pool>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
    pub(super) inbox: Arc<Inbox>,
    pub(super) streams: Arc<Streams>,
    /// The shard's number.
    pub(super) number: usize,
}

/// The buffers of a running shard. They hold pointers, so each thread makes its own.
#[derive(Default)]
struct Buffers {
    recv: RecvBatch,
    send: SendQueue,
    load: Load,
}

/// Makes the waker of a shard's poll.
pub(super) fn waker(poll: &Poll) -> io::Result<Waker> {
    Waker::new(poll.registry(), WAKER)
}

impl<M: Multiplexer> Shard<M> {
    /// Has the poll watch the listeners.
    pub(super) fn register_listeners(&self) -> io::Result<()> {
        let listeners = &self.post.listeners;
        listeners
            .iter()
            .try_for_each(|listener| listeners::register(listener, self.poll.registry()))
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        let mut buffers = Buffers::default();
        let mut events = Events::with_capacity(EVENTS);
        let (mut ready, mut again) = (Vec::with_capacity(EVENTS), Vec::with_capacity(EVENTS));
        loop {
            match self.poll.poll(&mut events, self.patience(!ready.is_empty())) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
                Err(error) => return tracing::error!(%error, "media shard cannot poll"),
            }
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let woken = events.iter().any(|event| event.token() == WAKER);
            ready.extend(events.iter().map(Event::token).filter(|token| *token != WAKER));
            // A socket left over from the last turn may have been reported once more.
            ready.sort_unstable();
            ready.dedup();
            for token in ready.drain(..) {
                if self.serve(token, &mut buffers) {
                    again.push(token);
                }
            }
            std::mem::swap(&mut ready, &mut again);
            if woken {
                self.changes.make(&mut self.post.listeners, self.poll.registry());
                self.serve_streams(&mut buffers);
            }
            self.tick(woken, &mut buffers.send);
        }
    }

    /// How long to wait for packets.
    fn patience(&self, busy: bool) -> Option<Duration> {
        if busy {
            return Some(Duration::ZERO);
        }
        let due = self.mux.next_timeout()?;
        Some(Duration::from_millis(
            due.saturating_sub(self.post.clock.now().mono),
        ))
    }

    /// Receives one batch from a socket and sends what comes of it. Returns whether the socket may have more.
    ///
    /// Readiness is edge-triggered: a batch that was not full has emptied the socket, and the next packet brings the
    /// next event.
    fn serve(&mut self, token: Token, buffers: &mut Buffers) -> bool {
        let Some((source, socket)) = self.post.source(token) else {
            return false;
        };
        let more = buffers.recv.receive(socket);
        let now = self.post.clock.now();
        let mut outlet = self
            .post
            .outlet(&mut buffers.send, self.poll.registry(), &mut self.entropy);
        let (mut packets, mut bytes) = (0, 0);
        for message in buffers.recv.messages() {
            bytes += message.bytes() as u64;
            if let Some(total) = message.dropped {
                let missed = socket.newly_dropped(total).into();
                self.post.counters.dropped_many(DropReason::ReceiveBuffer, missed);
            }
            match source {
                Source::Listener { id: listener, .. } => {
                    let local = message.local.unwrap_or_else(|| socket.bound().ip());
                    let from = ClientPath::Udp {
                        listener,
                        local,
                        remote: message.remote,
                    };
                    for packet in message.packets() {
                        packets += 1;
                        self.mux.handle_client(now, from, packet, &mut outlet);
                    }
                }
                Source::ServerLeg(socket) => {
                    let from = ServerPath {
                        socket,
                        remote: message.remote,
                    };
                    for packet in message.packets() {
                        packets += 1;
                        self.mux.handle_server(now, from, packet, &mut outlet);
                    }
                }
            }
        }
        let truncated = buffers.recv.truncated() as u64;
        self.post.counters.dropped_many(DropReason::Truncated, truncated);
        // Before the packets leave: whoever sees one come out finds it counted.
        self.post.count(source.counters(), (packets, bytes));
        outlet.finish();
        more
    }

    /// Takes what came on TCP connections and sends what comes of it.
    fn serve_streams(&mut self, buffers: &mut Buffers) {
        self.post.inbox.take(&mut buffers.load);
        let now = self.post.clock.now();
        let mut outlet = self
            .post
            .outlet(&mut buffers.send, self.poll.registry(), &mut self.entropy);
        let (mut clients, mut servers) = ((0, 0), (0, 0));
        for (arrival, frame) in buffers.load.iter() {
            let counted = match arrival {
                Arrival::FirstOfClient(path) | Arrival::Client(path) => {
                    self.mux.handle_client(now, path, frame, &mut outlet);
                    &mut clients
                }
                Arrival::Server(path) => {
                    self.mux.handle_server(now, path, frame, &mut outlet);
                    &mut servers
                }
                Arrival::Event(event) => {
                    self.mux.handle_stream(now, event, &mut outlet);
                    continue;
                }
            };
            counted.0 += 1;
            counted.1 += frame.len() as u64;
            if let Arrival::FirstOfClient(ClientPath::Tcp { conn, .. }) = arrival {
                self.post.streams.judge_client(conn);
            }
        }
        self.post
            .count((Counter::ClientPackets, Counter::ClientBytes), clients);
        self.post
            .count((Counter::ServerPackets, Counter::ServerBytes), servers);
        outlet.finish();
        buffers.load.clear();
    }

    /// Lets the multiplexer do what is due.
    fn tick(&mut self, woken: bool, send: &mut SendQueue) {
        let now = self.post.clock.now();
        if woken || self.mux.next_timeout().is_some_and(|due| due <= now.mono) {
            let mut outlet = self.post.outlet(send, self.poll.registry(), &mut self.entropy);
            self.mux.handle_timeout(now, &mut outlet);
            outlet.finish();
        }
    }
}

impl Post {
    /// The socket of a token, and what it is.
    fn source(&self, token: Token) -> Option<(Source, &Socket)> {
        let source = Source::of(token)?;
        let socket = match source {
            Source::Listener { id, ipv6 } => self.listener(id)?.family(ipv6)?,
            Source::ServerLeg(id) => self.pool.get(id)?,
        };
        Some((source, socket))
    }

    fn listener(&self, id: ListenerId) -> Option<&ListenerSockets> {
        self.listeners.iter().find(|listener| listener.id == id)
    }

    fn outlet<'t, 'b>(
        &'b self,
        send: &'t mut SendQueue,
        registry: &'t Registry,
        entropy: &'t mut Entropy,
    ) -> Outlet<'t, 'b> {
        let sockets = Sockets {
            listeners: &self.listeners,
            pool: &self.pool,
            streams: &self.streams,
            shard: self.number,
        };
        Outlet::new(send, sockets, registry, &self.counters, entropy)
    }

    fn count(&self, names: (Counter, Counter), (packets, bytes): (u64, u64)) {
        self.counters.add(names.0, packets);
        self.counters.add(names.1, bytes);
    }
}
