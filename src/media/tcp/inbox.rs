//! A shard's inbox: what the connections, which are tasks of the control plane, have for a shard.
//!
//! Bytes lie in one buffer that the shard swaps with an empty one of its own, so that neither side allocates once
//! warm and the shard reads without a lock. The buffer is bounded: a connection that finds no room waits, which TCP
//! passes on to the peer.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;
use tokio::sync::Notify;

use crate::ice::{ClientPath, ServerPath};

/// Bytes that may wait for a shard.
const MAX_BYTES: usize = 1 << 20;

/// Something that happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// A client's connection is gone.
    ClientClosed(ClientPath),
    /// A connection to a server is up.
    ServerOpen(ServerPath),
    /// A connection to a server is gone, or has not come up.
    ServerClosed(ServerPath),
}

/// What a shard finds in its inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::media) enum Arrival {
    /// The first frame of a client's connection, which has to authenticate it.
    FirstOfClient(ClientPath),
    /// A later frame of a client.
    Client(ClientPath),
    /// A frame of a server.
    Server(ServerPath),
    /// No frame.
    Event(StreamEvent),
}

/// Arrivals in order, with their frames.
#[derive(Debug, Default)]
pub(in crate::media) struct Load {
    bytes: Vec<u8>,
    /// Each with the length of its frame.
    arrivals: Vec<(Arrival, usize)>,
}

impl Load {
    /// Every arrival with its frame; events have an empty one.
    pub(in crate::media) fn iter(&self) -> impl Iterator<Item = (Arrival, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.arrivals.iter().map(move |(arrival, len)| {
            let (frame, after) = rest.split_at(*len);
            rest = after;
            (*arrival, frame)
        })
    }

    /// Empties it; it keeps its buffers.
    pub(in crate::media) fn clear(&mut self) {
        self.bytes.clear();
        self.arrivals.clear();
    }

    fn push(&mut self, arrival: Arrival, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.arrivals.push((arrival, frame.len()));
    }
}

/// The inbox of one shard.
#[derive(Debug)]
pub(in crate::media) struct Inbox {
    load: Mutex<Load>,
    room: Notify,
    waker: Arc<Waker>,
}

impl Inbox {
    /// An empty one; `waker` wakes its shard.
    pub(in crate::media) fn new(waker: Arc<Waker>) -> Self {
        Self {
            load: Mutex::default(),
            room: Notify::new(),
            waker,
        }
    }

    /// Puts a frame in, as soon as there is room.
    pub(super) async fn put(&self, arrival: Arrival, frame: &[u8]) {
        while !self.try_put(arrival, frame) {
            let mut room = pin!(self.room.notified());
            // From here on a shard that makes room is not missed.
            room.as_mut().enable();
            if self.try_put(arrival, frame) {
                return;
            }
            room.await;
        }
    }

    fn try_put(&self, arrival: Arrival, frame: &[u8]) -> bool {
        let mut load = self.lock();
        if load.bytes.len() + frame.len() > MAX_BYTES {
            return false;
        }
        self.push(&mut load, arrival, frame);
        true
    }

    /// Puts an event in. There are few for each connection, so that they always find room.
    pub(super) fn put_event(&self, event: StreamEvent) {
        self.push(&mut self.lock(), Arrival::Event(event), &[]);
    }

    fn push(&self, load: &mut Load, arrival: Arrival, frame: &[u8]) {
        let was_empty = load.arrivals.is_empty();
        load.push(arrival, frame);
        if was_empty && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "media shard cannot be woken");
        }
    }

    /// Takes everything out, into a load that is empty.
    pub(in crate::media) fn take(&self, into: &mut Load) {
        std::mem::swap(&mut *self.lock(), into);
        if !into.arrivals.is_empty() {
            self.room.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use mio::{Poll, Token};

    use super::*;
    use crate::ice::SocketId;

    fn inbox() -> (Inbox, Poll) {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        (Inbox::new(Arc::new(waker)), poll)
    }

    fn from(number: u32) -> Arrival {
        Arrival::Server(ServerPath {
            socket: SocketId::of_connection(number),
            remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        })
    }

    fn taken(inbox: &Inbox) -> Vec<(Arrival, Vec<u8>)> {
        let mut load = Load::default();
        inbox.take(&mut load);
        load.iter()
            .map(|(arrival, frame)| (arrival, frame.to_vec()))
            .collect()
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_in_order() {
        let (inbox, _poll) = inbox();
        inbox.put(from(1), b"one").await;
        let Arrival::Server(path) = from(1) else {
            unreachable!()
        };
        inbox.put_event(StreamEvent::ServerClosed(path));
        inbox.put(from(2), b"three").await;
        let expected = [
            (from(1), b"one".to_vec()),
            (Arrival::Event(StreamEvent::ServerClosed(path)), Vec::new()),
            (from(2), b"three".to_vec()),
        ];
        assert_eq!(taken(&inbox), expected);
        assert_eq!(taken(&inbox), []);
    }

    #[tokio::test]
    async fn a_full_inbox_makes_the_connection_wait_until_the_shard_has_taken() {
        let (inbox, _poll) = inbox();
        let inbox = Arc::new(inbox);
        let frame = vec![7; MAX_BYTES / 4];
        for number in 0..4 {
            inbox.put(from(number), &frame).await;
        }
        let waiting = tokio::spawn({
            let inbox = inbox.clone();
            async move { inbox.put(from(4), b"last").await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert_eq!(taken(&inbox).len(), 4);
        waiting.await.unwrap();
        assert_eq!(taken(&inbox), [(from(4), b"last".to_vec())]);
    }
}
