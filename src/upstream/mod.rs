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
mod histogram;
mod link;
mod names;
mod peer;
mod permits;
mod pool;
mod tls;
mod upload;

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::config::UpstreamGroup;

pub use client::{Body, BoxError, Client};
pub use error::UpstreamError;
pub use group::{Group, Purpose, Wish};
pub(crate) use guarded::Guarded;
pub use histogram::{Histogram, Observed};
pub use names::{FRESH_FOR, Names};
pub use peer::{Lease, Peer, ServerId, State};

/// Every upstream group of a configuration.
#[derive(Debug)]
pub struct Upstreams {
    groups: Vec<Arc<Group>>,
    names: Names,
    tls: tls::Settings,
}

impl Upstreams {
    /// The groups in the order of [`crate::config::Config::upstreams`]. The system's trusted roots are read if a
    /// server is verified against them.
    ///
    /// # Errors
    /// The system's roots, or those of a group, are needed and cannot be read.
    pub fn new(groups: &[UpstreamGroup]) -> std::io::Result<Self> {
        Self::build(groups, Names::default(), &[])
    }

    /// Those of a new configuration. What is known of names stays known, and groups that are the same stay as they
    /// are: whose turn it is, who is down, who is busy.
    ///
    /// # Errors
    /// As of [`Self::new`].
    pub fn succeed(&self, groups: &[UpstreamGroup]) -> std::io::Result<Self> {
        Self::build(groups, self.names.clone(), &self.groups)
    }

    fn build(groups: &[UpstreamGroup], names: Names, before: &[Arc<Group>]) -> std::io::Result<Self> {
        let mut settings = tls::Settings::default();
        let groups = groups.iter().map(|group| {
            let tls = settings.of(group)?;
            let same = before.iter().find(|before| before.is_of(group, tls));
            Ok(same.cloned().unwrap_or_else(|| Arc::new(Group::new(group, tls))))
        });
        Ok(Self {
            groups: groups.collect::<std::io::Result<_>>()?,
            names,
            tls: settings,
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

    /// Every group, in the order of the configuration.
    pub fn all(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().map(|group| &**group)
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
        let peers = self.groups.iter().flat_map(|group| group.all());
        join_all(peers.map(|peer| self.names.resolve(&peer.server().host))).await;
    }

    /// Runs the active checks of the groups that ask for them, for as long as it is polled.
    pub async fn check_health(&self) {
        let checks = self.groups.iter().filter_map(|group| group.checks());
        join_all(checks.map(|checks| checks.run(self))).await;
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Scheme, Server};

    use super::*;

    fn group(name: &str, port: u16) -> UpstreamGroup {
        UpstreamGroup::new(name, vec![Server::new(Scheme::Http, "127.0.0.1", port)])
    }

    #[test]
    fn a_group_that_stays_the_same_keeps_its_state_wherever_it_stands_now() {
        let before = Upstreams::new(&[group("kept", 1), group("changed", 2)]).unwrap();
        let after = before
            .succeed(&[group("new", 4), group("changed", 3), group("kept", 1)])
            .unwrap();
        assert!(Arc::ptr_eq(&before.groups[0], &after.groups[2]));
        assert_eq!(after.group(1).config().servers[0].port, 3);
        assert!(!Arc::ptr_eq(&before.groups[1], &after.groups[1]));
    }
}
