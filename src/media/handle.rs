//! The handle of the media plane: starts it, stops it, and answers what the rest of the daemon asks of it.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use mio::{Poll, Waker};

use super::clock::Clock;
use super::entropy::Entropy;
use super::listeners::{Change, Changes, OpenedUdp};
use super::outlet::Source;
use super::pool::Pool;
use super::route::SourceAddresses;
use super::shard::{self, Multiplexer, Post, Shard, ShardSeat};
use super::socket::{ListenerSockets, UdpListen};
use super::tcp::{Inbox, Streams};
use crate::ice::{Counters, ListenerId};

/// What the media plane is made of.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// The UDP listeners. Their ids differ.
    pub listeners: Vec<UdpListen>,
    /// Threads; at least one is started.
    pub shards: usize,
    /// Source ports of the server leg; `None`: any. A range shorter than four per shard makes for fewer sockets.
    pub upstream_ports: Option<RangeInclusive<u16>>,
    /// Server-leg sockets at most, all shards and both families together.
    pub max_server_sockets: usize,
}

impl MediaConfig {
    /// The usual bound on server-leg sockets.
    pub const DEFAULT_MAX_SERVER_SOCKETS: usize = 1024;
}

/// The running media plane. Dropping it stops it.
#[derive(Debug)]
pub struct Media {
    /// What is listened on, as it changes.
    bound: Mutex<Vec<(ListenerId, SocketAddr)>>,
    changes: Vec<Arc<Changes>>,
    pool: Arc<Pool>,
    counters: Vec<Arc<Counters>>,
    sources: SourceAddresses,
    clock: Clock,
    streams: Arc<Streams>,
    stop: Arc<AtomicBool>,
    threads: Vec<Thread>,
}

#[derive(Debug)]
struct Thread {
    waker: Arc<Waker>,
    handle: JoinHandle<()>,
}

impl Media {
    /// Opens all sockets and starts the shards, each with a multiplexer of its own.
    ///
    /// # Errors
    /// An address to listen on is taken or not ours, no server-leg socket can be opened, or the system is out of
    /// descriptors, threads or random numbers. Nothing is left running then.
    pub fn start<M: Multiplexer>(
        config: MediaConfig,
        mut make_mux: impl FnMut(ShardSeat<'_>) -> M,
    ) -> io::Result<Self> {
        let shards = config.shards.max(1);
        let mut polls = (0..shards).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        // Before the server leg, whose ports may be a range that ours lies in.
        let (listeners, bound) = listen(&config.listeners, shards)?;
        let pool = Pool::open(
            shards,
            config.upstream_ports,
            config.max_server_sockets,
            |owner, id, socket| Source::ServerLeg(id).register(polls[owner].registry(), socket),
        )?;
        let wakers = polls
            .iter()
            .map(|poll| shard::waker(poll).map(Arc::new))
            .collect::<io::Result<Vec<_>>>()?;
        let (mut media, inboxes) = Self::without_shards(bound, pool, &wakers);
        for (number, (poll, listeners)) in polls.drain(..).zip(listeners).enumerate() {
            let counters = &media.counters[number];
            let mux = make_mux(ShardSeat {
                shard: number,
                shards,
                counters,
                pool: &media.pool,
                clock: media.clock,
            });
            let shard = Shard {
                mux,
                poll,
                entropy: Entropy::new()?,
                post: Post {
                    listeners,
                    pool: Arc::clone(&media.pool),
                    counters: Arc::clone(counters),
                    clock: media.clock,
                    inbox: inboxes[number].clone(),
                    streams: media.streams.clone(),
                    number,
                },
                stop: Arc::clone(&media.stop),
                changes: Arc::clone(&media.changes[number]),
            };
            shard.register_listeners()?;
            let waker = wakers[number].clone();
            let handle = thread::Builder::new()
                .name(format!("media-{number}"))
                .spawn(|| shard.run())?;
            media.threads.push(Thread { waker, handle });
        }
        Ok(media)
    }

    /// All but the shards, which these wake, and their inboxes.
    fn without_shards(
        bound: Vec<(ListenerId, SocketAddr)>,
        pool: Pool,
        wakers: &[Arc<Waker>],
    ) -> (Self, Vec<Arc<Inbox>>) {
        let inboxes: Vec<_> = wakers
            .iter()
            .map(|waker| Arc::new(Inbox::new(waker.clone())))
            .collect();
        let counters: Vec<Arc<Counters>> = wakers.iter().map(|_| Arc::default()).collect();
        let streams = Streams::new(inboxes.iter().cloned().zip(counters.iter().cloned()));
        let media = Self {
            bound: Mutex::new(bound),
            changes: wakers.iter().map(|_| Arc::default()).collect(),
            pool: Arc::new(pool),
            counters,
            sources: SourceAddresses::default(),
            clock: Clock::start(),
            streams: Arc::new(streams),
            stop: Arc::default(),
            threads: Vec::with_capacity(wakers.len()),
        };
        (media, inboxes)
    }

    /// Has every shard do what is due now, and ask its multiplexer anew when the next thing is.
    pub fn wake(&self) {
        for thread in &self.threads {
            if let Err(error) = thread.waker.wake() {
                tracing::error!(%error, "media shard cannot be woken");
            }
        }
    }

    /// The address that a server sees packets of a call come from: where the kernel's routes lead out, and the port
    /// of the server-leg socket that the call's hash points to. `None`: no route, or no socket of that family.
    #[must_use]
    pub fn server_leg_address(&self, towards: SocketAddr, hash: u64) -> Option<SocketAddr> {
        let port = self.pool.port(self.pool.preferred(towards.is_ipv6(), hash)?)?;
        Some(SocketAddr::new(
            self.sources.towards(towards, self.clock.now().mono)?,
            port,
        ))
    }

    /// The addresses that are listened on now, with the ports that the kernel chose. A listener on all addresses has
    /// an entry per family.
    #[must_use]
    pub fn bound(&self) -> Vec<(ListenerId, SocketAddr)> {
        self.lock_bound().clone()
    }

    fn lock_bound(&self) -> MutexGuard<'_, Vec<(ListenerId, SocketAddr)>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds one more listener, for [`Self::serve`]. Its id must be one that no listener has.
    ///
    /// # Errors
    /// The address is taken, or not ours; the error's inner one is a [`ListenError`](super::ListenError).
    pub fn open(&self, listen: UdpListen) -> io::Result<OpenedUdp> {
        OpenedUdp::open(listen, self.changes.len())
    }

    /// Has the shards serve a listener.
    pub fn serve(&self, listener: OpenedUdp) {
        let id = listener.id();
        self.lock_bound().extend(listener.bound().map(|addr| (id, addr)));
        for (changes, sockets) in self.changes.iter().zip(listener.sockets) {
            changes.push(Change::Serve(sockets));
        }
        self.wake();
    }

    /// Has the shards close a listener. What is sent to its clients from then on is dropped and counted.
    pub fn close(&self, id: ListenerId) {
        self.lock_bound().retain(|(bound, _)| *bound != id);
        for changes in &self.changes {
            changes.push(Change::Close(id));
        }
        self.wake();
    }

    /// The counters, shard by shard.
    #[must_use]
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// The server-leg sockets.
    #[must_use]
    pub const fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The TCP connections of clients and to servers.
    #[must_use]
    pub const fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// The clock that the shards tell the time by.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// Whether every shard still runs. One that panicked does not come back.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.threads.iter().all(|thread| !thread.handle.is_finished())
    }

    /// Stops the shards and waits for them.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.streams.hang_up();
        self.wake();
        for thread in self.threads.drain(..) {
            if thread.handle.join().is_err() {
                tracing::error!("media shard had panicked");
            }
        }
    }
}

/// Opens the listeners: each shard's sockets, and the addresses that they are bound to.
#[expect(clippy::type_complexity, reason = "two lists, taken apart at once")]
fn listen(
    config: &[UdpListen],
    shards: usize,
) -> io::Result<(Vec<Vec<ListenerSockets>>, Vec<(ListenerId, SocketAddr)>)> {
    let mut by_shard: Vec<_> = (0..shards).map(|_| Vec::with_capacity(config.len())).collect();
    let mut bound = Vec::new();
    for listener in config {
        let opened = OpenedUdp::open(*listener, shards)?;
        bound.extend(opened.bound().map(|addr| (listener.id, addr)));
        for (shard, sockets) in by_shard.iter_mut().zip(opened.sockets) {
            shard.push(sockets);
        }
    }
    Ok((by_shard, bound))
}
