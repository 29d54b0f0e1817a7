//! Names for the two ends of a forwarded packet: where a client is, and where a server is.
//!
//! A path is a value: copying it costs a few words, and comparing it is how tuples are told apart.

use std::net::{IpAddr, SocketAddr};

/// A transport of RFC 8445 candidates as xrtc uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// UDP datagrams.
    Udp,
    /// TCP with RFC 4571 framing.
    Tcp,
}

/// A UDP listening address of the daemon: the same number on every shard, each of which has a socket of its own there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// One accepted ICE-TCP connection, unique for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TcpConnId(pub u64);

/// A socket of the server leg, unique for the life of the process: a UDP socket of the pool, on which any shard may
/// send and whose owner receives, or a TCP connection to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

impl SocketId {
    /// Set in the names of TCP connections; the pool counts its sockets from zero.
    const TCP: u32 = 1 << 31;

    /// The name of a TCP connection by its number.
    #[must_use]
    pub const fn of_connection(number: u32) -> Self {
        Self(number | Self::TCP)
    }

    /// What it carries packets over.
    #[must_use]
    pub const fn transport(self) -> Transport {
        if self.0 & Self::TCP == 0 {
            Transport::Udp
        } else {
            Transport::Tcp
        }
    }
}

/// The client end of a tuple: where packets of a client come from and where packets for it go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientPath {
    /// A client on UDP.
    Udp {
        /// Our listener.
        listener: ListenerId,
        /// Our address that the client sent to (the listener may be bound to the wildcard), unspecified if unknown.
        local: IpAddr,
        /// The client's address.
        remote: SocketAddr,
    },
    /// A client on an accepted ICE-TCP connection.
    Tcp {
        /// The connection.
        conn: TcpConnId,
        /// The client's address.
        remote: SocketAddr,
    },
}

impl ClientPath {
    /// The client's address, as XOR-MAPPED-ADDRESS reports it.
    #[must_use]
    pub const fn remote(&self) -> SocketAddr {
        match self {
            Self::Udp { remote, .. } | Self::Tcp { remote, .. } => *remote,
        }
    }
}

/// The server end of a tuple: our server-leg socket and the server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerPath {
    /// Our socket.
    pub socket: SocketId,
    /// The server's address.
    pub remote: SocketAddr,
}

impl ServerPath {
    /// What it carries packets over.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.socket.transport()
    }
}
