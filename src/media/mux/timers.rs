//! When each call wants to be polled: a heap with one entry per call of this shard.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::media::shared::Call;

#[derive(Debug)]
struct Timer {
    due: u64,
    call: Arc<Call>,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    /// Reversed: the heap's greatest is the one that is due first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.due.cmp(&self.due)
    }
}

/// The heap.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Timer>,
}

impl Timers {
    /// Polls `call` at `due`.
    pub(super) fn push(&mut self, due: u64, call: Arc<Call>) {
        self.heap.push(Timer { due, call });
    }

    /// When the first one is due.
    pub(super) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|timer| timer.due)
    }

    /// Takes out one that is due.
    pub(super) fn pop(&mut self, mono: u64) -> Option<Arc<Call>> {
        if self.next()? > mono {
            return None;
        }
        self.heap.pop().map(|timer| timer.call)
    }
}
