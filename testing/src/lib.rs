//! The test lab of xrtc: what its end-to-end tests are made of. Not part of the daemon.

pub mod calls;
pub mod lab;
pub mod sim;
