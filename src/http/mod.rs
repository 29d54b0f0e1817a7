//! The TCP port's HTTP side: accepts connections, routes requests, proxies them and their WebSockets, and lets
//! `signaling` rewrite what they carry.
//!
//! ```text
//!  listen ─▶ server: accept, limits ─▶ front: first bytes ─┬▶ connection ─▶ site ─┬▶ proxy ─────▶ upstream
//!                                                           └▶ IceTcp              ├▶ websocket ─▶ upstream, then relay
//!                                                                                  └▶ files
//! ```
//! A [`Front`] is one service at work; a reload gives it another, and its [`LiveSite`] another [`Site`], which is one
//! `http:` section. The media plane is reached through [`Calls`] only. This is no cache and no general web server:
//! static files are there for demo pages.

mod access_log;
mod affinity;
mod certificates;
mod claim;
mod connection;
mod content;
mod context;
mod counters;
mod delivery;
mod drain;
mod encoding;
mod errors;
mod explain;
mod files;
mod frames;
mod front;
mod generations;
mod h2;
mod headers;
mod idle;
mod limiter;
mod limits;
mod listen;
mod live;
mod memory;
mod networks;
mod opening;
mod pings;
mod ports;
mod proxy;
mod proxy_protocol;
mod redirect;
mod references;
mod relay;
mod reply;
mod request_id;
mod retry;
mod router;
mod server;
mod shelf;
mod site;
mod slots;
mod ssltcp;
mod target;
mod tls;
mod traffic;
mod upload;
mod visit;
mod websocket;

pub use access_log::AccessLogs;
pub use affinity::Affinity;
pub use counters::Counters;
pub use drain::{Admission, Phase};
pub use explain::{Asked, AskedError, Explanation};
pub use front::Front;
pub use listen::bind;
pub use live::LiveSite;
pub use memory::TokenMemory;
pub use ports::{AsyncReadWrite, Calls, ConnInfo, IceTcp, Served};
pub use server::{Limits, Server};
pub use site::{Shared, Site};
pub use tls::{CERTIFICATE_POLL, Tls, TlsError};
pub use traffic::{Open, RouteName, RouteTraffic, Routes};
