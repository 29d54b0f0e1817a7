//! The `xrtc` command.
fn main() {}
