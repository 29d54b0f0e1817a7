//! The HTTP side as a whole: real sockets on loopback, upstreams made of hyper and tungstenite, and a mock of the
//! media plane.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod drain;
mod failures;
mod files;
mod front;
mod origin;
mod proxying;
mod signalling;
#[path = "../upstreams/mod.rs"]
mod upstreams;
mod websocket;
