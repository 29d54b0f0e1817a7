//! What waits to be sent on one connection, in bounds.
//!
//! Three queues of frames: STUN goes first, then DTLS, then media, so that a peer that reads too slowly keeps its
//! consent and its handshake. Media makes room for media: the oldest packets are given up. STUN and DTLS never make
//! room for anything; only when a peer has left more of them unread than any sender has under way does the newest one
//! stay out. (A data channel is DTLS, and sees that as the loss that slows it down.)

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::wire::demux::{Datagram, classify};
use crate::wire::frame::{HEADER_LEN, write_header};

/// About a second of video: what is older is of no use to anyone.
const MAX_MEDIA: usize = 256 << 10;
/// A DTLS flight is a few thousand bytes; the rest is room for data channels.
const MAX_DTLS: usize = 512 << 10;
/// More than a hundred checks and answers.
const MAX_STUN: usize = 16 << 10;
/// Bytes handed to the socket at once.
const BATCH: usize = 16 << 10;
/// A queue that has grown beyond this gives its memory back when it is empty.
const KEPT: usize = 32 << 10;

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not authenticated yet.
    New,
    /// It may stay.
    Known,
    /// It has not authenticated, and is to be closed.
    Refused,
    /// Its call is over, and it is to be closed.
    Over,
}

/// Frames one behind the other in a ring of bytes.
#[derive(Debug, Default)]
struct Queue(VecDeque<u8>);

impl Queue {
    fn push(&mut self, len: u16, packet: &[u8]) {
        self.0.extend(&write_header(len));
        self.0.extend(packet);
    }

    /// The length of the first frame, header included.
    fn first(&self) -> Option<usize> {
        let header = [*self.0.front()?, *self.0.get(1)?];
        Some(HEADER_LEN + usize::from(u16::from_be_bytes(header)))
    }

    fn drop_first(&mut self) -> bool {
        let Some(len) = self.first() else { return false };
        self.0.drain(..len);
        true
    }

    /// Moves whole frames over until the batch is full.
    fn move_into(&mut self, batch: &mut Vec<u8>) {
        while batch.len() < BATCH
            && let Some(len) = self.first()
        {
            let (front, back) = self.0.as_slices();
            let (front, back) = (
                &front[..len.min(front.len())],
                &back[..len.saturating_sub(front.len())],
            );
            batch.extend_from_slice(front);
            batch.extend_from_slice(back);
            self.0.drain(..len);
        }
        if self.0.is_empty() && self.0.capacity() > KEPT {
            self.0 = VecDeque::new();
        }
    }
}

#[derive(Debug, Default)]
struct Queues {
    stun: Queue,
    dtls: Queue,
    media: Queue,
}

impl Queues {
    fn is_empty(&self) -> bool {
        self.stun.0.is_empty() && self.dtls.0.is_empty() && self.media.0.is_empty()
    }
}

/// The queues of one connection, and how it stands.
#[derive(Debug)]
pub(super) struct Outbox {
    queues: Mutex<Queues>,
    filled: Notify,
    standing: watch::Sender<Standing>,
}

impl Outbox {
    /// Empty queues.
    pub(super) fn new(standing: Standing) -> Self {
        Self {
            queues: Mutex::default(),
            filled: Notify::new(),
            standing: watch::Sender::new(standing),
        }
    }

    /// Queues a packet. Returns how many packets were given up for it, or with it.
    pub(super) fn push(&self, packet: &[u8]) -> usize {
        let Ok(len) = u16::try_from(packet.len()) else {
            return 1;
        };
        let mut queues = self.lock();
        let was_empty = queues.is_empty();
        let room = HEADER_LEN + packet.len();
        let mut dropped = 0;
        let (queue, limit) = match classify(packet) {
            Datagram::Stun => (&mut queues.stun, MAX_STUN),
            Datagram::Dtls => (&mut queues.dtls, MAX_DTLS),
            Datagram::Rtp | Datagram::Other => {
                while queues.media.0.len() + room > MAX_MEDIA && queues.media.drop_first() {
                    dropped += 1;
                }
                (&mut queues.media, MAX_MEDIA)
            }
        };
        if queue.0.len() + room > limit {
            return dropped + 1;
        }
        queue.push(len, packet);
        drop(queues);
        if was_empty {
            self.filled.notify_one();
        }
        dropped
    }

    /// Waits until there is something to send, and moves as much of it into `batch` as is written at once.
    pub(super) async fn next_batch(&self, batch: &mut Vec<u8>) {
        loop {
            self.move_into(batch);
            if !batch.is_empty() {
                return;
            }
            self.filled.notified().await;
        }
    }

    fn move_into(&self, batch: &mut Vec<u8>) {
        let mut queues = self.lock();
        queues.stun.move_into(batch);
        queues.dtls.move_into(batch);
        queues.media.move_into(batch);
    }

    /// Notes that the connection has authenticated. `true` if it had not before.
    pub(super) fn keep(&self) -> bool {
        self.change(Standing::New, Standing::Known)
    }

    /// Has the connection closed if it has not authenticated. `true` if so.
    pub(super) fn refuse(&self) -> bool {
        self.change(Standing::New, Standing::Refused)
    }

    /// Has the connection closed.
    pub(super) fn close(&self) {
        self.standing.send_replace(Standing::Over);
    }

    fn change(&self, from: Standing, to: Standing) -> bool {
        self.standing.send_if_modified(|standing| {
            let changes = *standing == from;
            if changes {
                *standing = to;
            }
            changes
        })
    }

    /// Returns once the connection has authenticated.
    pub(super) async fn known(&self) {
        self.wait_for(|standing| standing == Standing::Known).await;
    }

    /// Returns once the connection is to be closed; whether that is because it was refused.
    pub(super) async fn closed(&self) -> bool {
        let closed = |standing| matches!(standing, Standing::Refused | Standing::Over);
        self.wait_for(closed).await == Standing::Refused
    }

    async fn wait_for(&self, condition: impl Fn(Standing) -> bool) -> Standing {
        let mut watched = self.standing.subscribe();
        match watched.wait_for(|now| condition(*now)).await {
            Ok(now) => *now,
            // The sender would have to be gone, and it is ours.
            Err(_) => Standing::Over,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of a kind (by first byte) with a number in it.
    fn packet(first: u8, number: u32, len: usize) -> Vec<u8> {
        let mut packet = vec![0; len];
        packet[0] = first;
        packet[len - 4..].copy_from_slice(&number.to_be_bytes());
        packet
    }

    const RTP: u8 = 0x80;
    const DTLS: u8 = 22;

    fn stun(number: u32) -> Vec<u8> {
        let mut packet = packet(0, number, 100);
        packet[..8].copy_from_slice(&[1, 1, 0, 80, 0x21, 0x12, 0xa4, 0x42]);
        packet
    }

    async fn drained(outbox: &Outbox) -> Vec<(u8, u32)> {
        let mut all = Vec::new();
        while !outbox.lock().is_empty() {
            let mut batch = Vec::new();
            outbox.next_batch(&mut batch).await;
            assert!(batch.len() < 2 * BATCH);
            let mut rest = batch.as_slice();
            while let Some((header, after)) = rest.split_first_chunk::<2>() {
                let (frame, after) = after.split_at(u16::from_be_bytes(*header).into());
                let number = u32::from_be_bytes(frame[frame.len() - 4..].try_into().unwrap());
                all.push((frame[0], number));
                rest = after;
            }
        }
        all
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_loses_its_oldest_media_and_nothing_else() {
        let outbox = Outbox::new(Standing::Known);
        let mut dropped = 0;
        for number in 0..2_000 {
            dropped += outbox.push(&packet(RTP, number, 1200));
            if number % 100 == 0 {
                assert_eq!(outbox.push(&stun(number)), 0);
                assert_eq!(outbox.push(&packet(DTLS, number, 1200)), 0);
            }
        }
        let sent = drained(&outbox).await;
        let of = |first| {
            sent.iter()
                .filter(move |(byte, _)| *byte == first)
                .map(|(_, number)| *number)
        };
        assert_eq!(
            of(1).collect::<Vec<_>>(),
            (0..2_000).step_by(100).collect::<Vec<_>>()
        );
        assert_eq!(
            of(DTLS).collect::<Vec<_>>(),
            (0..2_000).step_by(100).collect::<Vec<_>>()
        );
        let media: Vec<u32> = of(RTP).collect();
        assert_eq!(media.len(), MAX_MEDIA / 1202);
        assert_eq!(media.len() + dropped, 2_000);
        let newest = 2_000 - media.len() as u32..2_000;
        assert_eq!(media, newest.collect::<Vec<_>>(), "the newest are left, in order");
        assert_eq!(sent[0].0, 1, "STUN leads");
    }

    #[test]
    fn nothing_grows_without_bound() {
        let outbox = Outbox::new(Standing::Known);
        let mut dropped = [0; 3];
        for number in 0..5_000 {
            dropped[0] += outbox.push(&stun(number));
            dropped[1] += outbox.push(&packet(DTLS, number, 1200));
            dropped[2] += outbox.push(&packet(RTP, number, 60_000));
        }
        let queues = outbox.lock();
        assert!(queues.stun.0.len() <= MAX_STUN && queues.dtls.0.len() <= MAX_DTLS);
        assert!(queues.media.0.len() <= MAX_MEDIA);
        assert_eq!(dropped[0], 5_000 - MAX_STUN / 102);
        assert_eq!(dropped[1], 5_000 - MAX_DTLS / 1202);
    }

    #[tokio::test]
    async fn what_a_burst_took_is_given_back() {
        let outbox = Outbox::new(Standing::Known);
        (0..200).for_each(|number| assert_eq!(outbox.push(&packet(RTP, number, 1200)), 0));
        assert!(outbox.lock().media.0.capacity() > KEPT);
        assert_eq!(drained(&outbox).await.len(), 200);
        assert_eq!(outbox.lock().media.0.capacity(), 0);
    }

    #[tokio::test]
    async fn a_new_connection_is_kept_or_refused_once() {
        let outbox = Outbox::new(Standing::New);
        assert!(outbox.keep());
        assert!(!outbox.keep() && !outbox.refuse());
        outbox.known().await;
        outbox.close();
        assert!(!outbox.closed().await);
        let other = Outbox::new(Standing::New);
        assert!(other.refuse() && !other.keep());
        assert!(other.closed().await);
    }
}
