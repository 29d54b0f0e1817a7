//! Real servers and real browsers on one machine, kept apart by network namespaces.
//!
//! ```text
//!   client ns            proxy ns                  server ns
//!   browser ── 10.77.1 ── xrtc ── 10.77.2 ── Janus + video source
//! ```
//!
//! Nothing forwards and there is no default route, so a call that works went through the proxy. Every
//! resource is released when its owner is dropped, panics included; what a killed run left behind, the next
//! one sweeps up. Waiting is always for an observed state, with a deadline.
//!
//! It needs root (or `unshare -Urnm` with a tmpfs on `/run`) and the programs that `testing/setup.sh`
//! installs; without them the tests fail with one line that says so.

mod authority;
mod browser;
mod call;
mod capture;
mod demos;
mod error;
mod janus;
mod namespace;
mod page_server;
mod pcap;
mod prerequisites;
mod process;
mod report;
mod rest;
mod topology;
mod trace;
mod workdir;
mod xrtc;

pub use authority::Authority;
pub use browser::{Browser, BrowserKind};
pub use call::{Call, CallKind, CallOptions, Candidate, Gap, Gaps, Stats, Transport};
pub use capture::Capture;
pub use demos::Demos;
pub use error::{Error, Result};
pub use janus::{Janus, JanusOptions, VIDEO_MOUNTPOINT};
pub use namespace::Namespace;
pub use page_server::PageServer;
pub use process::{Process, cpu_seconds};
pub use report::report;
pub use rest::rest_clients;
pub use topology::Topology;
pub use trace::Trace;
pub use workdir::WorkDir;
pub use xrtc::{PORT, Xrtc, XrtcOptions, binary};
