//! The boundary between the pure core and the world: time in, packets out.

use std::net::SocketAddr;

use super::path::{ClientPath, ServerPath, SocketId};

/// The moment at which something happens, as told by the caller (read once per batch of packets).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Milliseconds on a monotonic clock that all shards share.
    pub mono: u64,
    /// Milliseconds since the Unix epoch.
    pub unix: u64,
}

/// What the multiplexer asks of its surroundings. `'b` is the life of the receive buffers: a forwarded packet is a
/// slice of one and may be kept until the shell flushes its batch; everything else must be copied.
pub trait Shell<'b> {
    /// Forwards a received packet to a client, unchanged.
    fn forward_to_client(&mut self, to: &ClientPath, packet: &'b [u8]);
    /// Forwards a received packet to a server, unchanged.
    fn forward_to_server(&mut self, to: &ServerPath, packet: &'b [u8]);
    /// Sends a packet that the core made or kept; copied.
    fn send_to_client(&mut self, to: &ClientPath, packet: &[u8]);
    /// Sends a packet that the core made or kept; copied.
    fn send_to_server(&mut self, to: &ServerPath, packet: &[u8]);
    /// Opens one more server-leg socket of the given family on this shard, if the pool may still grow.
    fn open_server_socket(&mut self, ipv6: bool) -> Option<SocketId>;
    /// The server-leg socket on a port; opened on this shard if it is not open yet and may be.
    fn server_socket_on(&mut self, ipv6: bool, port: u16) -> Option<SocketId>;
    /// 64 random bits.
    fn random(&mut self) -> u64;

    // Connections. A shell without TCP has none.

    /// A client has authenticated on this path: if it is a TCP connection, it may stay.
    fn keep_client(&mut self, _client: &ClientPath) {}
    /// What a client's path was for is over: if it is a TCP connection, it may be closed.
    fn hang_up_client(&mut self, _client: &ClientPath) {}
    /// Begins a TCP connection to a server. What is sent on it before it is up waits for it, within bounds.
    fn dial_server(&mut self, _remote: SocketAddr) -> Option<SocketId> {
        None
    }
    /// What a server's path was for is over: if it is a TCP connection, it may be closed.
    fn hang_up_server(&mut self, _server: &ServerPath) {}
}
