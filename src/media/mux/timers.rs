//! When calls want to be polled: a heap for each shard.
//!
//! A call's next poll belongs to the shard whose timer is in [`Call::wake`]; what happens on another shard may bring it
//! forward, and then that shard has it. An entry that no longer names the call's next poll is worth nothing.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

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
    /// Polls `call` at `due`, unless it is to be polled before.
    pub(super) fn set(&mut self, due: u64, call: &Arc<Call>) {
        if call.wake.fetch_min(due, Relaxed) > due {
            let call = call.clone();
            self.heap.push(Timer { due, call });
        }
    }

    /// When the first one is due.
    pub(super) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|timer| timer.due)
    }

    /// How many entries there are, those worth nothing included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Takes out one that is due; its next poll is to be set then.
    pub(super) fn pop(&mut self, mono: u64) -> Option<Arc<Call>> {
        while self.next()? <= mono {
            let Timer { due, call } = self.heap.pop()?;
            if call
                .wake
                .compare_exchange(due, u64::MAX, Relaxed, Relaxed)
                .is_ok()
            {
                return Some(call);
            }
        }
        None
    }
}
