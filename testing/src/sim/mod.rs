//! Simulation of whole calls: the pure core under a virtual clock, between simulated clients and servers, over a
//! seeded network. A minute of a call takes milliseconds, and a seed repeats a run.
//!
//! ```text
//!  Browser / IsPeer ──▶ Network ──▶ Proxy (Shared + one Mux per shard) ──▶ Network ──▶ Server / IsPeer
//! ```
//!
//! A [`World`] holds one of each and moves the clock from event to event. Nothing here opens a socket or sleeps.

pub mod browser;
pub mod call;
pub mod check;
pub mod is_peer;
pub mod net;
pub mod proxy;
pub mod rng;
pub mod server;
pub mod stream;
pub mod world;

use std::any::Any;
use std::net::SocketAddr;

use net::Packet;
pub use world::World;

/// A party at the end of the network.
pub trait Endpoint: Any {
    /// Its addresses.
    fn addresses(&self) -> Vec<SocketAddr>;
    /// Takes a packet; what it sends goes to `out`.
    fn receive(&mut self, now: u64, packet: &Packet, out: &mut Vec<Packet>);
    /// Does what is due.
    fn poll(&mut self, now: u64, out: &mut Vec<Packet>);
    /// When something is due; after a poll, later than `now`.
    fn next(&mut self, now: u64) -> u64;
}

/// Runs a test once for each of `seeds`, and says which one it was if it fails.
pub fn with_seeds(seeds: std::ops::Range<u64>, test: impl Fn(u64)) {
    for seed in seeds {
        let _says_which = Seed(seed);
        test(seed);
    }
}

struct Seed(u64);

impl Drop for Seed {
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}
