//! Calls on loopback, without browsers and without namespaces: str0m at both ends, the real `xrtc` in the middle.
//!
//! ```text
//!   Caller (str0m) ──▶ xrtc, a process ──▶ EchoServer (str0m)
//!   a socket or stream    one UDP port,       a UDP port for each call, or one for all
//!                         one TCP port
//! ```
//!
//! Each end knows the call's name by the signalling and puts it into every message, so that a packet that strays
//! into another call does not go unnoticed. Nothing below repeats a lost packet: a [`Caller`] says a message again until
//! it has come back and counts how often, and [`settle()`] tells what the kernel lost from what anybody else did.

mod caller;
mod daemon;
mod echo;
mod gso;
mod http;
mod hub;
mod kernel;
mod leg;
mod metrics;
mod settle;
pub mod stun;

use tokio::runtime::Builder;

use crate::lab::{Result, WorkDir};

pub use crate::lab::binary as xrtc_binary;

pub use caller::{Caller, Progress, signal};
pub use daemon::{Daemon, Setup};
pub use echo::{EchoServer, Ports, Signalled};
pub use gso::send_train;
pub use http::{Reply, get, post};
pub use kernel::MAX_RUN;
pub use leg::{Leg, Stream};
pub use metrics::Metrics;
pub use settle::{Books, settle};

/// Runs `test` with a scratch directory, on two threads.
pub fn scope(test: impl AsyncFn(&WorkDir) -> Result<()>) {
    WorkDir::scope(|work| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(test(work))
    });
}

/// The two routes that a [`Daemon`] has to its server, by the first segment of their paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// ICE ends at xrtc.
    Hijack,
    /// ICE passes through.
    Direct,
}

impl Route {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hijack, Self::Direct];

    /// Its path on the daemon.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Hijack => "/hijack",
            Self::Direct => "/direct",
        }
    }
}
