//! The upstream side of HTTP: groups of servers, the choice among them, their addresses, and connections to them.
//!
//! Knows nothing of clients, routes or signalling. Shared by every `http:` section; what a section configures
//! (timeouts, connection limits) lives in its [`Client`].

mod client;
mod connector;
mod error;
mod group;
mod guarded;
mod names;

use std::net::IpAddr;

use futures_util::future::join_all;
use hyper_rustls::ConfigBuilderExt as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Scheme, UpstreamGroup};

pub use client::{Body, BoxError, Client};
pub use error::UpstreamError;
pub use group::{Group, Purpose};
pub(crate) use guarded::Guarded;
pub use names::{FRESH_FOR, Names};

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
        Self::with_names(groups, Names::default())
    }

    /// The groups of a new configuration, with what is known of names so far.
    ///
    /// # Errors
    /// As of [`Self::new`].
    pub fn succeed(&self, groups: &[UpstreamGroup]) -> std::io::Result<Self> {
        Self::with_names(groups, self.names.clone())
    }

    fn with_names(groups: &[UpstreamGroup], names: Names) -> std::io::Result<Self> {
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
            names,
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
            .servers()
            .flat_map(|server| self.names.known(&server.host))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Looks up every server name whose answer is not fresh. To be called at start and every
    /// [`FRESH_FOR`] or so; names that fail keep their last good answer.
    pub async fn refresh(&self) {
        let servers = self.groups.iter().flat_map(Group::servers);
        join_all(servers.map(|server| self.names.resolve(&server.host))).await;
    }

    fn tls(&self) -> ClientConfig {
        self.tls.clone()
    }
}
