//! ICE over TCP (RFC 6544, framed as RFC 4571): the connections of clients, and those to servers.
//!
//! ```text
//!  peer ◀─ TCP ─▶ connection (a task) ─▶ inbox ─▶ shard ─▶ multiplexer
//!                        ▲                          │
//!                        └───────── outbox ◀────────┘
//! ```
//! A connection belongs to one shard, so that its frames stay in order. A shard never waits for a connection: what a
//! slow peer does not read is given up in its [outbox]. A connection may wait for a shard.

mod connection;
mod inbox;
mod outbox;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::ice::{ClientPath, Counter, Counters, DropReason, ServerPath, SocketId, TcpConnId};

use connection::Connection;
pub use inbox::StreamEvent;
pub(super) use inbox::{Arrival, Inbox, Load};
use outbox::{Outbox, Standing};

/// Connections at once, of clients and to servers together.
const MAX_CONNECTIONS: usize = 32_768;
/// For a server to take a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// What the kernel may hold of what it has not sent yet: the rest stays in our queues, where media can be given up
/// and STUN goes first.
const UNSENT: u32 = 16 << 10;
/// A server that leaves data unacknowledged for this long is gone.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// All connections.
#[derive(Debug)]
pub struct Streams {
    /// By names that we gave, so that a fast hash will do.
    clients: DashMap<TcpConnId, Arc<Outbox>, RandomState>,
    servers: DashMap<SocketId, Arc<Outbox>, RandomState>,
    shards: Box<[Door]>,
    next_client: AtomicU64,
    next_server: AtomicU32,
    open: AtomicUsize,
    runtime: OnceLock<Handle>,
}

/// A shard as its connections see it.
#[derive(Debug)]
struct Door {
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
}

impl Streams {
    /// For shards with these inboxes and counters.
    pub(super) fn new(shards: impl Iterator<Item = (Arc<Inbox>, Arc<Counters>)>) -> Self {
        Self {
            clients: DashMap::default(),
            servers: DashMap::default(),
            shards: shards.map(|(inbox, counters)| Door { inbox, counters }).collect(),
            next_client: AtomicU64::new(0),
            next_server: AtomicU32::new(0),
            open: AtomicUsize::new(0),
            runtime: OnceLock::new(),
        }
    }

    /// Has connections to servers run on `runtime`. Before this there are none. Only the first call counts.
    pub fn dial_on(&self, runtime: Handle) {
        let _ = self.runtime.set(runtime);
    }

    /// Connections at this moment.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Serves a client's connection to its end. `already_read` is how its stream begins.
    pub async fn serve_client(
        self: Arc<Self>,
        io: impl AsyncRead + AsyncWrite + Unpin,
        already_read: &[u8],
        remote: SocketAddr,
    ) {
        let number = self.next_client.fetch_add(1, Ordering::Relaxed);
        let conn = TcpConnId(number);
        let path = ClientPath::Tcp { conn, remote };
        let door = self.door_of(conn);
        let outbox = Arc::new(Outbox::new(Standing::New));
        let Some(_entered) = Entered::new(&self, End::Client { conn, path }, outbox.clone()) else {
            return door.counters.dropped(DropReason::TcpLimit);
        };
        door.connection(io, outbox).serve_client(path, already_read).await;
    }

    /// Begins a connection to a server, whose frames and events go to shard number `shard`. `None`: there are too
    /// many, or nothing to run it on.
    pub(super) fn dial(self: &Arc<Self>, remote: SocketAddr, shard: usize) -> Option<SocketId> {
        let runtime = self.runtime.get()?;
        let number = self.next_server.fetch_add(1, Ordering::Relaxed);
        let socket = SocketId::of_connection(number);
        let path = ServerPath { socket, remote };
        let outbox = Arc::new(Outbox::new(Standing::Known));
        let Some(entered) = Entered::new(self, End::Server { path, shard }, outbox.clone()) else {
            self.shards[shard].counters.dropped(DropReason::TcpLimit);
            return None;
        };
        runtime.spawn(connect_and_serve(entered, path, outbox));
        Some(socket)
    }

    /// The shard of a client's connection.
    fn door_of(&self, client: TcpConnId) -> &Door {
        &self.shards[(client.0 % self.shards.len() as u64) as usize]
    }

    /// Queues a packet for a client. Returns how many packets were given up for it; `None`: there is no such client.
    pub(super) fn send_to_client(&self, client: TcpConnId, packet: &[u8]) -> Option<usize> {
        Some(self.clients.get(&client)?.push(packet))
    }

    /// Queues a packet for a server. Returns how many packets were given up for it; `None`: there is no such server.
    pub(super) fn send_to_server(&self, server: SocketId, packet: &[u8]) -> Option<usize> {
        Some(self.servers.get(&server)?.push(packet))
    }

    /// A client has authenticated.
    pub(super) fn keep_client(&self, client: TcpConnId) {
        if let Some(outbox) = self.clients.get(&client)
            && outbox.keep()
        {
            self.door_of(client).counters.add(Counter::TcpAccepted, 1);
        }
    }

    /// The first frame of a client has been looked at: if it did not authenticate, its connection is closed.
    pub(super) fn judge_client(&self, client: TcpConnId) {
        if let Some(outbox) = self.clients.get(&client) {
            outbox.refuse();
        }
    }

    /// Closes a client's connection.
    pub(super) fn hang_up_client(&self, client: TcpConnId) {
        if let Some(outbox) = self.clients.get(&client) {
            outbox.close();
        }
    }

    /// Closes a connection to a server.
    pub(super) fn hang_up_server(&self, server: SocketId) {
        if let Some(outbox) = self.servers.get(&server) {
            outbox.close();
        }
    }

    /// Closes every connection.
    pub(super) fn hang_up(&self) {
        self.clients.iter().for_each(|outbox| outbox.close());
        self.servers.iter().for_each(|outbox| outbox.close());
    }
}

impl Door {
    fn connection<IO>(&self, io: IO, outbox: Arc<Outbox>) -> Connection<'_, IO> {
        Connection {
            io,
            inbox: &self.inbox,
            outbox,
            counters: &self.counters,
        }
    }
}

async fn connect_and_serve(entered: Entered, path: ServerPath, outbox: Arc<Outbox>) {
    let streams = entered.streams.clone();
    let door = entered.end.door(&streams);
    let connected = tokio::select! {
        connected = timeout(DIAL_TIMEOUT, connect(path.remote)) => connected,
        _ = outbox.closed() => return,
    };
    let Ok(Ok(io)) = connected else {
        return door.counters.dropped(DropReason::DialFailed);
    };
    door.counters.add(Counter::TcpDialled, 1);
    door.inbox.put_event(StreamEvent::ServerOpen(path));
    door.connection(io, outbox).serve_server(path).await;
}

async fn connect(remote: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(remote).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    // Best effort: a connection without these is still one.
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    Ok(stream)
}

/// A connection's entry in the tables: goes with it, however it ends, and tells the shard.
struct Entered {
    streams: Arc<Streams>,
    end: End,
}

/// The far end of a connection.
#[derive(Clone, Copy)]
enum End {
    Client { conn: TcpConnId, path: ClientPath },
    Server { path: ServerPath, shard: usize },
}

impl End {
    fn door<'s>(&self, streams: &'s Streams) -> &'s Door {
        match *self {
            Self::Client { conn, .. } => streams.door_of(conn),
            Self::Server { shard, .. } => &streams.shards[shard],
        }
    }
}

impl Entered {
    fn new(streams: &Arc<Streams>, end: End, outbox: Arc<Outbox>) -> Option<Self> {
        if streams.open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            streams.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        match end {
            End::Client { conn, .. } => streams.clients.insert(conn, outbox),
            End::Server { path, .. } => streams.servers.insert(path.socket, outbox),
        };
        let streams = streams.clone();
        Some(Self { streams, end })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let event = match self.end {
            End::Client { conn, path } => {
                self.streams.clients.remove(&conn);
                StreamEvent::ClientClosed(path)
            }
            End::Server { path, .. } => {
                self.streams.servers.remove(&path.socket);
                StreamEvent::ServerClosed(path)
            }
        };
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
        self.end.door(&self.streams).inbox.put_event(event);
    }
}
