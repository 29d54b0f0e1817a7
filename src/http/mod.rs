//! The TCP port's HTTP side: accepts connections, routes requests, proxies them and their WebSockets, and lets
//! `signaling` rewrite what they carry.
//!
//! ```text
//!  listen ─▶ server: accept, limits ─▶ connection: HTTP/1.1 ─▶ site ─┬▶ proxy ─────▶ upstream
//!                                                                     ├▶ websocket ─▶ upstream, then relay
//!                                                                     └▶ files
//! ```
//! A [`Site`] is one `http:` section at work; [`serve_connection`] takes any byte stream, so that TLS and protocol
//! detection go before it. The media plane is reached through [`Calls`] only. This is no cache and no general web
//! server: static files are there for demo pages.

mod affinity;
mod connection;
mod content;
mod context;
mod counters;
mod drain;
mod encoding;
mod errors;
mod explain;
mod files;
mod generations;
mod headers;
mod listen;
mod memory;
mod ports;
mod proxy;
mod references;
mod relay;
mod retry;
mod router;
mod server;
mod site;
mod target;
mod upload;
mod websocket;

pub use affinity::Affinity;
pub use connection::serve_connection;
pub use counters::Counters;
pub use drain::{Admission, Phase};
pub use explain::{Asked, AskedError, Explanation};
pub use listen::bind;
pub use memory::TokenMemory;
pub use ports::{Calls, ConnInfo};
pub use server::{Limits, Server};
pub use site::{Shared, Site};
