//! Calls over a restart, without a gap: a snapshot of the live hijacked calls, and how they live again.
//!
//! A call's token is enough to carry it on, but the token comes with the client's next check, which may be seconds
//! away. A snapshot says what that check would: which calls there are, and which client tuples have had a good check
//! lately. With it the server leg is established at once, and the client's packets are taken from the first one on.
//! It is an accelerator only; what is lost with it is those seconds.
//!
//! ```text
//!  calls ─▶ Snapshot ─▶ seal (MAC) ─▶ file ─▶ restart ─▶ revive: verify, open each token, build the call
//!                                                         ├─▶ arrivals: a shard starts the server leg's checks
//!                                                         └─▶ tuples: a shard that misses one takes it from there
//! ```
//!
//! The rules of a fresh call hold: the token must open, its route must exist, and its server must be allowed. A tuple
//! is bound on the word of the daemon that checked it ([`Attested`](crate::ice::Attested)), with the consent that is
//! left of that check and no more. Transactions that were seen before the restart are not remembered: for a captured
//! check a restart is what it is without a snapshot. The server leg comes back on the port that it had, if it can be
//! had: a server that has not noticed anything does not go on sending to a port where nobody is. That port is for
//! revived calls alone until the pairs have rested that calls may have had on it (`REST` in `shared`).
//! ICE-TCP tuples die with their connections and are left out.

mod format;
mod revive;
mod snapshot;
#[cfg(test)]
mod tests;
mod waiting;

pub(super) use format::Uplink;
pub use format::{MAX_LEN, SnapshotError};
pub use revive::revive;
pub use snapshot::Snapshot;
pub(super) use waiting::{Arrival, Waiting};
