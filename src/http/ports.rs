//! What the HTTP side needs of the rest of the daemon, as traits that the daemon implements and tests mock.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Route;
use crate::ice::KeyRing;
use crate::signaling::{Fact, ProxyCandidate, Refusal};

/// The ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnInfo {
    /// Our end: the address that the client reached us at.
    pub local: SocketAddr,
    /// The client's end.
    pub remote: SocketAddr,
    /// The client speaks TLS.
    pub secure: bool,
}

/// The media plane, as the HTTP side sees it. Called from many tasks at once; must not block.
pub trait Calls: Send + Sync {
    /// What a signalling message told, before the rewritten message is sent on. `connection` is unique to a client
    /// connection or WebSocket for the life of the process.
    fn learned(&self, route: &Route, connection: u64, fact: Fact);

    /// The address shown to a server as its client's candidate; `ufrag` is what the server will see of the client.
    fn server_leg_address(&self, server: IpAddr, ufrag: &str) -> Option<SocketAddr>;

    /// The candidates shown to a client whose connection has these ends, best first.
    fn client_candidates(&self, conn: &ConnInfo) -> Vec<ProxyCandidate>;

    /// A description was left as it was.
    fn refused(&self, route: &Route, refusal: Refusal);

    /// Whether a route's calls may be sent to `addr`; `upstream_ips` is what its group's servers resolve to.
    fn permits(&self, route: &Route, upstream_ips: &[IpAddr], addr: SocketAddr) -> bool;

    /// The current keys.
    fn keys(&self) -> Arc<KeyRing>;

    /// Seconds since the Unix epoch.
    fn unix_now(&self) -> u32;
}

/// A client's byte stream: TCP, or TLS over it.
pub trait AsyncReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin> AsyncReadWrite for IO {}

/// A connection under way.
pub type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What takes the connections that carry ICE (RFC 4571 frames) and not HTTP.
pub trait IceTcp: Send + Sync {
    /// Takes a connection over. `already_read` is how its stream begins: one frame with a Binding request, or the
    /// beginning of it, and whatever came with that. The connection counts among the server's until the future ends;
    /// a server that closes drops the future.
    fn accept(&self, io: Box<dyn AsyncReadWrite>, already_read: Bytes, conn: ConnInfo) -> Served;
}
