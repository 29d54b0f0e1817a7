//! Prints the figures of the release build: its size, its memory, and how fast it forwards. `make bench` runs it.
//!
//! Speed is told in packets for each second of processor time, which other load on the machine hardly changes, and as
//! a ratio to a plain forwarder that the same run measures on the same machine.

mod forwarder;
mod memory;
mod process;
mod throughput;

use std::env;

use xrtc_testing::lab::Result;

fn main() -> Result<()> {
    if let Some(server) = forwarder::wanted(env::args())? {
        return forwarder::run(server);
    }
    memory::size()?;
    memory::idle()?;
    memory::sessions();
    throughput::measure();
    Ok(())
}
