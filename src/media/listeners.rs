//! UDP listeners that come and go while the media plane runs.
//!
//! Opening one binds its sockets, which is all that can fail for reasons of the configuration. Serving and closing it
//! are changes that every shard makes to its own sockets, between two turns; until a shard has made them, the kernel
//! keeps what comes in.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mio::Registry;

use super::outlet::Source;
use super::socket::{self, ListenerSockets, UdpListen};
use crate::ice::ListenerId;

/// A listener that is bound and not served yet. Dropping it gives the address up.
#[derive(Debug)]
pub struct OpenedUdp {
    id: ListenerId,
    /// One entry per shard.
    pub(super) sockets: Vec<ListenerSockets>,
}

impl OpenedUdp {
    /// Binds a listener for so many shards.
    ///
    /// # Errors
    /// The address is taken, or not ours; the error's inner one is a [`ListenError`](super::ListenError).
    pub(super) fn open(listen: UdpListen, shards: usize) -> io::Result<Self> {
        Ok(Self {
            id: listen.id,
            sockets: socket::listen(listen, shards)?,
        })
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> ListenerId {
        self.id
    }

    /// The addresses that it is bound to, with the port that the kernel chose: one per family.
    pub fn bound(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let first = self.sockets.first().into_iter();
        first
            .flat_map(|sockets| [&sockets.v4, &sockets.v6])
            .flatten()
            .map(socket::Socket::bound)
    }
}

/// What a shard does to its listeners.
#[derive(Debug)]
pub(super) enum Change {
    /// Serve this one.
    Serve(ListenerSockets),
    /// Close the one of this name.
    Close(ListenerId),
}

/// The changes that a shard has yet to make. Bounded by the configuration: one per listener that it names or drops.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<Vec<Change>>);

impl Changes {
    /// One more; the shard must be woken after it.
    pub(super) fn push(&self, change: Change) {
        self.lock().push(change);
    }

    /// Makes them all.
    pub(super) fn make(&self, listeners: &mut Vec<ListenerSockets>, registry: &Registry) {
        for change in self.lock().drain(..) {
            match change {
                Change::Serve(sockets) => match register(&sockets, registry) {
                    Ok(()) => listeners.push(sockets),
                    Err(error) => tracing::error!(%error, "a shard cannot poll a UDP listener"),
                },
                // The poll forgets a socket that is closed.
                Change::Close(id) => listeners.retain(|listener| listener.id != id),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Change>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a poll watch a listener. What waits in its sockets already is told at once.
pub(super) fn register(listener: &ListenerSockets, registry: &Registry) -> io::Result<()> {
    for ipv6 in [false, true] {
        if let Some(socket) = listener.family(ipv6) {
            let id = listener.id;
            Source::Listener { id, ipv6 }.register(registry, socket)?;
        }
    }
    Ok(())
}
