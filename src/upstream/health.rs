//! Active checks: each server of a group that asks for them is looked at again and again, whatever else it is doing.
//!
//! An `http` or `https` server is healthy if it answers a GET with an expected status in time. A `ws` or `wss` server
//! is healthy if it accepts a connection: what it would say to a plain GET tells nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Empty;
use hyper::header::USER_AGENT;
use hyper::{Request, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::{HealthCheck, Http, Scheme, Server};

use super::connector::Connector;
use super::peer::Peer;
use super::tls::TlsId;
use super::{Names, Upstreams};

/// What to check, and how.
pub(super) struct Checks<'a> {
    pub(super) config: &'a HealthCheck,
    pub(super) tls: TlsId,
    pub(super) peers: Vec<&'a Arc<Peer>>,
}

struct Checker<'a> {
    config: &'a HealthCheck,
    client: legacy::Client<Connector, Empty<Bytes>>,
    names: &'a Names,
}

impl Checks<'_> {
    /// Checks for as long as it is polled.
    pub(super) async fn run(self, upstreams: &Upstreams) {
        let http = Http {
            dial_timeout: self.config.timeout,
            ..Http::default()
        };
        let checker = Checker {
            config: self.config,
            // A fresh connection each time: that a server still has an old one tells little.
            client: legacy::Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build(Connector::new(upstreams, upstreams.tls.get(self.tls), &http)),
            names: upstreams.names(),
        };
        join_all(self.peers.into_iter().map(|peer| checker.watch(peer))).await;
    }
}

impl Checker<'_> {
    async fn watch(&self, peer: &Peer) {
        let mut every = interval(self.config.interval);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let healthy = timeout(self.config.timeout, self.check(peer.server())).await;
            let healthy = healthy.unwrap_or_else(|_| Err("no answer in time".into()));
            if let Err(reason) = &healthy {
                tracing::debug!(server = %peer.server(), reason, "health check failed");
            }
            peer.checked(healthy.is_ok(), Instant::now());
        }
    }

    async fn check(&self, server: &Server) -> Result<(), String> {
        if matches!(server.scheme, Scheme::Ws | Scheme::Wss) {
            return self.connect(server).await.map_err(|error| error.to_string());
        }
        let uri: Uri = format!("{server}{}", self.config.path)
            .parse()
            .map_err(|_| "the path makes no URL".to_owned())?;
        let request = Request::get(uri)
            .header(USER_AGENT, concat!("xrtc/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        if self.config.expect.contains(&status) {
            Ok(())
        } else {
            Err(format!("status {status}"))
        }
    }

    async fn connect(&self, server: &Server) -> io::Result<()> {
        let addresses = self.names.resolve(&server.host).await?;
        let addresses: Vec<_> = addresses
            .into_iter()
            .map(|ip| SocketAddr::new(ip, server.port))
            .collect();
        TcpStream::connect(&addresses[..]).await.map(drop)
    }
}
