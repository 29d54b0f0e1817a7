//! The embedded default upstream: a WebRTC echo server and the page that calls it.
//!
//! It makes `make run` show something true. To the proxy it is a foreign server: HTTP signalling in the manner
//! of WHIP (RFC 9725) on one loopback port, full ICE on another. It shares the process with xrtc and nothing
//! else: no type, no key, no shortcut. What works with it works with any server of that kind.
//!
//! ```text
//! GET    /            the page        (page)   embedded files
//! POST   /echo        offer → answer  (http)   201, Location: /echo/<id>
//! DELETE /echo/<id>   hang up         (calls)  the table of calls and their UDP socket
//!                                     (echo)   one call: what comes in goes out
//! ```
//!
//! It is not a media server: no rooms, no recording, no trickle, no ICE restart.

mod calls;
mod echo;
mod http;
mod page;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use calls::{Calls, Limits};

/// A running echo server on two loopback ports of the system's choice. Dropping it ends it, calls included.
#[derive(Debug)]
pub struct Demo {
    http: SocketAddr,
    ice: SocketAddr,
    calls: Arc<Calls>,
    /// Held for its `Drop`, which aborts the tasks.
    _tasks: JoinSet<()>,
}

impl Demo {
    /// Binds both ports and serves from then on.
    ///
    /// # Errors
    /// When a loopback port cannot be bound or the DTLS certificate cannot be made.
    pub async fn start() -> io::Result<Self> {
        Self::with_limits(Limits::default()).await
    }

    async fn with_limits(limits: Limits) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (http, ice) = (listener.local_addr()?, socket.local_addr()?);
        let calls = Arc::new(Calls::new(socket, ice, limits)?);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&calls).receive());
        tasks.spawn(http::serve(listener, Arc::clone(&calls)));
        tracing::debug!(%http, %ice, "the demo's echo server is up");
        Ok(Self {
            http,
            ice,
            calls,
            _tasks: tasks,
        })
    }

    /// The TCP port of the page and its signalling, on 127.0.0.1.
    pub fn http_port(&self) -> u16 {
        self.http.port()
    }

    /// The UDP address that every answer offers as its one host candidate.
    pub fn ice_addr(&self) -> SocketAddr {
        self.ice
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.calls.hang_up_all();
    }
}
