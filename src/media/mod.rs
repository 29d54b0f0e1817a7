//! The media plane: the calls, the sockets, batches of packets, one thread per core, and the handle by which the
//! rest of the daemon reaches them.
//!
//! [`Media::start`] binds the listeners and the server-leg sockets and gives every shard a [`Multiplexer`], which
//! decides where packets go. A shard reads a batch, lets the multiplexer look at each packet, and sends what came
//! out of it grouped by destination. On that way a packet is not copied, takes no lock and allocates nothing.
//!
//! [`mux::Mux`] is the multiplexer, over the tables of [`shared`] that all shards and the control plane see.

mod batch;
mod call;
mod clock;
pub mod direct;
mod entropy;
mod handle;
mod listeners;
pub mod mux;
mod outlet;
mod pool;
pub mod revival;
mod route;
mod shard;
pub mod shared;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use handle::{Media, MediaConfig};
pub use listeners::OpenedUdp;
pub use pool::Pool;
pub use shard::{Multiplexer, ShardSeat};
pub use socket::{ListenError, UdpListen};
pub use tcp::{StreamEvent, Streams};
