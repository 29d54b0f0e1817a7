//! Revived calls reach a shard: their server legs by whichever shard comes first, their tuples by the shard that the
//! kernel gives the client's packets to.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::ice::{ClientPath, Counter, Now, ServerCandidate, ServerPath, Shell, Transport};
use crate::media::revival::{Arrival, Uplink};
use crate::media::shared::{Call, Peer, REST};

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
        for arrival in arrivals {
            let Arrival {
                call,
                mut servers,
                uplink,
            } = arrival;
            if uplink.is_some() {
                // UDP has worked; what is known to work does not wait for TCP.
                servers.retain(|candidate| candidate.transport == Transport::Udp);
            }
            let named = uplink.is_some() || !servers.is_empty();
            if let Some(uplink) = uplink {
                self.reopen(&call, uplink, now, shell);
            }
            // Its client may have left already.
            if call.is_closed() || !self.connect(&call, servers, now, shell) && named {
                self.shared.close(&call, now.mono);
                continue;
            }
            self.counters.add(Counter::SessionsOpened, 1);
            self.counters.add(Counter::SessionsRevived, 1);
            self.drive(&call, now, shell);
        }
    }

    /// Gives a call the path to its server that it had, on the same port if that can be had.
    fn reopen<'b>(&mut self, call: &Arc<Call>, uplink: Uplink, now: Now, shell: &mut impl Shell<'b>) {
        let Uplink { server, port } = uplink;
        let peer = Peer::Hijack(call.clone());
        let held = shell.server_socket_on(server.is_ipv6(), port).and_then(|socket| {
            let path = ServerPath {
                socket,
                remote: server,
            };
            self.shared.hold(path, &peer, now.mono)
        });
        let Some(path) = held else {
            let server = ServerCandidate {
                transport: Transport::Udp,
                addr: server,
            };
            return self.add_paths(call, [server], now, shell);
        };
        if !self.reopened.iter().any(|(_, _, socket)| *socket == path.socket) {
            self.reopened
                .push((now.mono + REST, server.is_ipv6(), path.socket));
        }
        if !call.lock().add_path(path, now) {
            self.shared.release(path, now.mono);
        }
    }

    /// Lets every call use the sockets that have been reopened, once it is safe.
    pub(super) fn join_reopened(&mut self, now: Now) {
        let shared = &self.shared;
        self.reopened.retain(|&(due, ipv6, socket)| {
            if due <= now.mono {
                shared.add_socket(ipv6, socket);
            }
            due > now.mono
        });
    }

    /// Gives a call that has been entered its paths to the server, those that were trickled included; whether it has
    /// any.
    pub(super) fn connect<'b>(
        &self,
        call: &Arc<Call>,
        servers: impl IntoIterator<Item = ServerCandidate>,
        now: Now,
        shell: &mut impl Shell<'b>,
    ) -> bool {
        self.add_paths(call, servers, now, shell);
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
