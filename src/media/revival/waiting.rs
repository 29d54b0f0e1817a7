//! Revived calls until the shards have them: calls whose server leg is to be started, and client tuples that no shard
//! has seen a packet of yet (the kernel decides which shard will).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::format::Uplink;
use crate::ice::{ClientPath, ServerCandidate, Tuple};
use crate::media::shared::Call;

/// A revived call, and the addresses at which its server may be.
#[derive(Debug)]
pub(in crate::media) struct Arrival {
    pub(in crate::media) call: Arc<Call>,
    pub(in crate::media) servers: Vec<ServerCandidate>,
    /// How it was reached before.
    pub(in crate::media) uplink: Option<Uplink>,
}

/// What waits.
#[derive(Debug, Default)]
pub(in crate::media) struct Waiting {
    arrivals: Mutex<Vec<Arrival>>,
    tuples: DashMap<ClientPath, (Arc<Call>, Arc<Tuple>)>,
    /// Tuples, so that a shard need not look into an empty map.
    count: AtomicUsize,
}

impl Waiting {
    /// Enters a call for whichever shard comes first. The shards must be woken after it.
    pub(super) fn arrive(&self, arrival: Arrival) {
        self.arrivals().push(arrival);
    }

    /// Takes some calls out; whether there are more.
    pub(in crate::media) fn take_arrivals(&self, most: usize) -> (Vec<Arrival>, bool) {
        let mut arrivals = self.arrivals();
        let left = arrivals.len().saturating_sub(most);
        (arrivals.split_off(left), left > 0)
    }

    /// Enters a tuple. `false` if another call has it.
    pub(super) fn enter_tuple(&self, call: &Arc<Call>, tuple: &Arc<Tuple>) -> bool {
        match self.tuples.entry(tuple.path) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                // Before the tuple can be taken, or the count would pass below zero.
                self.count.fetch_add(1, Ordering::Relaxed);
                free.insert((call.clone(), tuple.clone()));
                true
            }
        }
    }

    /// Whether any tuple waits; one atomic load.
    fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Takes a tuple out.
    pub(in crate::media) fn take_tuple(&self, from: &ClientPath) -> Option<(Arc<Call>, Arc<Tuple>)> {
        if !self.any() {
            return None;
        }
        let (_, waiting) = self.tuples.remove(from)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(waiting)
    }

    /// Drops tuples that nothing has come on: without consent, or of a call that has ended.
    pub(in crate::media) fn sweep(&self, mono: u64) {
        if !self.any() {
            return;
        }
        self.tuples.retain(|_, (call, tuple)| {
            let keep = !call.is_closed() && tuple.has_consent(mono);
            if !keep {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            keep
        });
    }

    fn arrivals(&self) -> std::sync::MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
