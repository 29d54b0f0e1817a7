//! Hostile and unlucky HTTP: slow, flooding, ambiguous and dying clients and upstreams, and what becomes of them. Each
//! outcome is a row of `testing/reports/robustness.md`.
//!
//! The daemon is the real one, a process whose memory is looked at; clients and upstreams speak bytes where a library
//! would be too polite. Everything is on loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../ops/client.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of daily business, which use the rest"
)]
mod client;
#[path = "../ops/daemon.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of daily business, which use the rest"
)]
mod daemon;
mod desync;
mod downgrade;
mod floods;
mod h2;
mod halves;
#[path = "../ops/load.rs"]
mod load;
mod memory;
mod networks;
#[path = "../http/origin.rs"]
#[allow(dead_code, reason = "shared with the tests of proxying, which use the rest")]
mod origin;
mod reload;
mod slow;
mod tls;
mod volume;
mod witness;
