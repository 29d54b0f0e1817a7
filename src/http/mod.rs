//! The TCP port's HTTP side: accepts connections, routes requests, proxies them and their WebSockets, and lets
//! `signaling` rewrite what they carry.
//!
//! ```text
//!  listen ─▶ server: accept, limits ─▶ connection: HTTP/1.1 ─▶ site ─┬▶ proxy ─────▶ upstream
//!                                                                     ├▶ websocket ─▶ upstream, then relay
//!                                                                     └▶ files
//! ```
//! A [`Site`] is one `http:` section at work, which a [`LiveSite`] replaces on a reload; [`serve_connection`] takes any
//! byte stream, so that TLS and protocol detection go before it. The media plane is reached through [`Calls`] only. This is no cache and no general web
//! server: static files are there for demo pages.

mod access_log;
mod connection;
mod content;
mod context;
mod counters;
mod drain;
mod encoding;
mod errors;
mod files;
mod headers;
mod idle;
mod limiter;
mod limits;
mod listen;
mod live;
mod memory;
mod ports;
mod proxy;
mod relay;
mod router;
mod server;
mod site;
mod slots;
mod target;
mod upload;
mod visit;
mod websocket;

pub use access_log::AccessLogs;
pub use connection::serve_connection;
pub use counters::Counters;
pub use drain::{Admission, Phase};
pub use listen::bind;
pub use live::LiveSite;
pub use memory::TokenMemory;
pub use ports::{Calls, ConnInfo};
pub use server::{Limits, Server};
pub use site::{Shared, Site};
