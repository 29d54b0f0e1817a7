//! The upstream side of HTTP: groups of servers, the choice among them, their addresses, and connections to them.
//!
//! Knows nothing of clients, routes or signalling. Shared by every `http:` section; what a section configures
//! (timeouts, connection limits) lives in its [`Client`].

mod balance;
mod client;
mod connector;
mod error;
mod group;
mod guarded;
mod h2;
mod health;
mod names;
mod peer;
mod permits;
mod upload;

use std::net::IpAddr;

use futures_util::future::join_all;
use hyper_rustls::ConfigBuilderExt as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Scheme, UpstreamGroup};

pub use client::{Body, BoxError, Client};
pub use error::UpstreamError;
pub use group::{Group, Purpose, Wish};
pub(crate) use guarded::Guarded;
pub use names::{FRESH_FOR, Names};
pub use peer::{Lease, Peer, ServerId};

/// Every upstream group of a configuration.
#[derive(Debug)]
pub struct Upstreams {
    groups: Vec<Group>,
    names: Names,
    tls: ClientConfig,
}

impl Upstreams {
    /// The groups in the order of [`crate::config::Config::upstreams`]. The system's trusted roots are read if a
    /// server is spoken to over TLS.
    ///
    /// # Errors
    /// The system's roots are needed and cannot be read.
    pub fn new(groups: &[UpstreamGroup]) -> std::io::Result<Self> {
        let secure = groups
            .iter()
            .flat_map(|group| &group.servers)
            .any(|server| matches!(server.scheme, Scheme::Https | Scheme::Wss));
        let tls = if secure {
            ClientConfig::builder().with_native_roots()?.with_no_client_auth()
        } else {
            ClientConfig::builder()
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth()
        };
        Ok(Self {
            groups: groups.iter().map(Group::new).collect(),
            names: Names::default(),
            tls,
        })
    }

    /// The group that a route names (`config::Route::upstream`).
    ///
    /// # Panics
    /// If the index is not of the configuration that this was made of.
    #[must_use]
    pub fn group(&self, index: usize) -> &Group {
        &self.groups[index]
    }

    /// The resolver that connections and the allow-list share.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What the names of a group's servers resolved to last, without duplicates; for the allow-list. A name that
    /// never resolved adds nothing: call [`Self::refresh`] first.
    #[must_use]
    pub fn addresses(&self, index: usize) -> Vec<IpAddr> {
        let mut all: Vec<_> = self
            .group(index)
            .all()
            .flat_map(|peer| self.names.known(&peer.server().host))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Looks up every server name whose answer is not fresh. To be called at start and every
    /// [`FRESH_FOR`] or so; names that fail keep their last good answer.
    pub async fn refresh(&self) {
        let peers = self.groups.iter().flat_map(Group::all);
        join_all(peers.map(|peer| self.names.resolve(&peer.server().host))).await;
    }

    /// Runs the active checks of the groups that ask for them, for as long as it is polled.
    pub async fn check_health(&self) {
        let checks = self.groups.iter().filter_map(Group::checks);
        join_all(checks.map(|checks| checks.run(self))).await;
    }

    fn tls(&self) -> ClientConfig {
        self.tls.clone()
    }
}
