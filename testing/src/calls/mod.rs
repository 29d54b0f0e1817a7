//! Calls on loopback, without browsers and without namespaces: str0m at both ends, the real `xrtc` in the middle.
//!
//! ```text
//!   Caller (str0m) ──▶ xrtc, a process ──▶ EchoServer (str0m)
//!      one socket         one UDP port        a UDP port for each call, or one for all
//! ```
//!
//! Each end knows the call's name by the signalling and puts it into every message, so that a packet that strays
//! into another call does not go unnoticed. Messages are sent once and never again: a lost packet is a lost message.

mod caller;
mod daemon;
mod echo;
mod http;
mod hub;
mod metrics;
pub mod stun;

pub use caller::{Caller, Progress};
pub use daemon::{Daemon, Setup};
pub use echo::{EchoServer, Ports};
pub use http::{Reply, get, post};
pub use metrics::Metrics;

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
