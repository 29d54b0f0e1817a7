//! Who holds which pair of server-leg socket and server address.
//!
//! A pair belongs to one call at a time and rests after it, so that what still comes to it from the last call's server
//! reaches no other. The tables are [`Shared`]'s; here is what changes this one.

use std::net::SocketAddr;

use dashmap::mapref::entry::Entry as MapEntry;

use crate::ice::{ClientPath, ListenerId, ServerPath, Transport};

use super::{Peer, Shared};

/// A pair of socket and server address rests this long before another call gets it: a server that tells calls
/// apart by address must have forgotten the last one. Milliseconds.
pub(in crate::media) const REST: u64 = 60_000;

#[derive(Debug)]
pub(super) enum PairUse {
    Held(Peer),
    Resting { until: u64 },
}

impl Shared {
    /// Takes a socket that no other call uses towards `remote`: the one that `hash` names first, so that a restarted
    /// daemon comes back on the same port, then the others in order. `None` if all are taken.
    pub fn reserve(&self, remote: SocketAddr, hash: u64, peer: &Peer, mono: u64) -> Option<ServerPath> {
        let sockets = self.sockets.load();
        sockets
            .in_order(remote, hash)
            .find_map(|socket| self.hold(ServerPath { socket, remote }, peer, mono))
    }

    /// Takes one pair of socket and address, if it is free.
    pub fn hold(&self, path: ServerPath, peer: &Peer, mono: u64) -> Option<ServerPath> {
        match self.pairs.entry((path.socket, path.remote)) {
            MapEntry::Occupied(mut held) => match held.get() {
                PairUse::Resting { until } if *until <= mono => {
                    held.insert(PairUse::Held(peer.clone()));
                    Some(path)
                }
                PairUse::Held(_) | PairUse::Resting { .. } => None,
            },
            MapEntry::Vacant(free) => {
                free.insert(PairUse::Held(peer.clone()));
                Some(path)
            }
        }
    }

    /// Who holds a pair.
    #[must_use]
    pub fn holder(&self, path: ServerPath) -> Option<Peer> {
        match self.pairs.get(&(path.socket, path.remote))?.value() {
            PairUse::Held(peer) => Some(peer.clone()),
            PairUse::Resting { .. } => None,
        }
    }

    /// Whether some call has its client on this listener.
    #[must_use]
    pub fn is_used(&self, listener: ListenerId) -> bool {
        let on_it =
            |path: &ClientPath| matches!(path, ClientPath::Udp { listener: on, .. } if *on == listener);
        self.pairs.iter().any(|pair| match pair.value() {
            PairUse::Held(Peer::Hijack(call)) => {
                let downlink = call.downlink.load();
                downlink.as_ref().is_some_and(|tuple| on_it(&tuple.path))
            }
            PairUse::Held(Peer::Direct(flow)) => !flow.is_closed() && on_it(&flow.client),
            PairUse::Resting { .. } => false,
        })
    }

    /// Lets a pair rest. A TCP connection never serves another call.
    pub fn release(&self, path: ServerPath, mono: u64) {
        if path.transport() == Transport::Tcp {
            self.pairs.remove(&(path.socket, path.remote));
            return;
        }
        if let Some(mut held) = self.pairs.get_mut(&(path.socket, path.remote)) {
            *held = PairUse::Resting { until: mono + REST };
        }
    }

    /// Sets pairs free that have rested.
    pub(super) fn sweep_pairs(&self, mono: u64) {
        self.pairs.retain(|_, pair| {
            // A path that was admitted while its call ended on another shard.
            if matches!(pair, PairUse::Held(peer) if peer.is_closed()) {
                *pair = PairUse::Resting { until: mono + REST };
            }
            !matches!(pair, PairUse::Resting { until } if *until <= mono)
        });
    }
}
