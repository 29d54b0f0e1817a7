//! xrtc: a reverse proxy for WebRTC services.
//!
//! One daemon shows any number of unmodified WebRTC servers to the world through one TCP port and one UDP
//! port: it proxies their HTTP and WebSocket signalling, rewrites the SDP in it, and carries the media.
//! DTLS and SRTP stay end to end; xrtc never opens them.
//!
//! The library is the daemon's parts; its only stable interface is the `xrtc` command.
//! `wire`, `sdp`, `ice` and `signaling` are pure: time, randomness and bytes are arguments there.

pub mod admin;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod http;
pub mod ice;
pub mod media;
pub mod sdp;
pub mod signaling;
pub mod upstream;
pub mod wire;
