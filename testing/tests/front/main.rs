//! The front door: every protocol that a service tells from a connection's first bytes, over real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod calls;
mod crowd;
mod door;
mod http2;
mod origin;
mod proxies;
mod refusals;
mod segments;
mod tls;
mod unread;
mod upstream_tls;
mod wire;
