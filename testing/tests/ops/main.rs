//! Running xrtc day by day: limits, access logs, reloads, streaming and static files, as an operator and clients meet
//! them. The daemon is the real one, a process of its own with a configuration file; only its upstreams are in
//! process. Everything is on loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod access_log;
mod calls;
mod client;
mod daemon;
mod files;
mod limits;
mod load;
mod logged;
mod metrics;
#[path = "../http/origin.rs"]
mod origin;
mod reload;
mod streaming;
mod udp;
