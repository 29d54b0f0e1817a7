//! Revived calls reach a shard: their server legs by whichever shard comes first, their tuples by the shard that the
//! kernel gives the client's packets to.

use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::ice::{ClientPath, Counter, Now, Shell};
use crate::media::revival::Arrival;
use crate::media::shared::Call;

use super::client::forget;
use super::{ClientPeer, Mux};

/// Server legs started in one turn, and the pause until the next turn in milliseconds: thousands of first checks at
/// once would be lost in the servers' buffers, and hold up what else the shard does.
const AT_ONCE: usize = 128;
const PAUSE: u64 = 5;

impl Mux {
    /// Starts the server legs of some calls that have arrived.
    pub(super) fn take_arrivals<'b>(&mut self, now: Now, shell: &mut impl Shell<'b>) {
        let (arrivals, more) = self.shared.waiting.take_arrivals(AT_ONCE);
        self.next_arrivals = more.then_some(now.mono + PAUSE);
        for Arrival { call, servers } in arrivals {
            let named = !servers.is_empty();
            if call.is_closed() || !self.connect(&call, servers, now, shell) && named {
                self.shared.close(&call, now.mono);
                continue;
            }
            self.counters.add(Counter::SessionsOpened, 1);
            self.counters.add(Counter::SessionsRevived, 1);
            self.drive(&call, now, shell);
        }
    }

    /// Gives a call that has been entered its paths to the server, those that were trickled included; whether it has
    /// any.
    pub(super) fn connect<'b>(
        &self,
        call: &Arc<Call>,
        servers: impl IntoIterator<Item = SocketAddr>,
        now: Now,
        shell: &mut impl Shell<'b>,
    ) -> bool {
        for addr in servers {
            self.add_path(call, addr, now, shell);
        }
        self.add_early_candidates(call, now, shell);
        call.lock().server_paths().next().is_some()
    }

    /// Makes a revived tuple this shard's own; whether `from` is one.
    pub(super) fn adopt_tuple(&mut self, now: Now, from: ClientPath) -> bool {
        let Some((call, tuple)) = self.shared.waiting.take_tuple(&from) else {
            return false;
        };
        match self.clients.entry(from) {
            Entry::Vacant(free) => {
                free.insert(ClientPeer::Hijack(call, tuple));
            }
            // Another call was faster, or the same one by a check.
            Entry::Occupied(taken) => {
                if !matches!(taken.get(), ClientPeer::Hijack(owner, _) if Arc::ptr_eq(owner, &call)) {
                    forget(&call, &tuple, now);
                }
            }
        }
        true
    }
}
