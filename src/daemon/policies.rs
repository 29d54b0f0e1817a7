//! What each route's calls may do, kept in step with what the upstream names stand for.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::{Config, Route};
use crate::ice::{AllowList, Mode, RouteId, RoutePolicy};
use crate::media::shared::Shared;

/// Makes policies from a configuration and the world as it is now.
#[derive(Debug)]
pub(super) struct Policies {
    config: Arc<Config>,
    own: Vec<SocketAddr>,
}

impl Policies {
    /// For a configuration whose services listen on `own`.
    #[must_use]
    pub(super) fn new(config: Arc<Config>, own: Vec<SocketAddr>) -> Self {
        Self { config, own }
    }

    /// Every route with its policy. `resolve` gives what an upstream group's servers stand for now; `own_ips` are this
    /// machine's addresses.
    pub(super) fn publish(
        &self,
        shared: &Shared,
        own_ips: &[IpAddr],
        resolve: impl Fn(usize) -> Vec<IpAddr>,
    ) {
        let routes = self
            .config
            .services
            .iter()
            .filter_map(|service| service.http.as_ref());
        let policies: HashMap<RouteId, Arc<RoutePolicy>> = routes
            .flat_map(|http| &http.routes)
            .map(|route| {
                (
                    route.id,
                    Arc::new(self.policy(route, own_ips, &resolve(route.upstream))),
                )
            })
            .collect();
        shared.policies.store(Arc::new(policies));
    }

    /// One route's policy.
    #[must_use]
    pub(super) fn policy(&self, route: &Route, own_ips: &[IpAddr], upstream_ips: &[IpAddr]) -> RoutePolicy {
        let group = &self.config.upstreams[route.upstream];
        let resolved = upstream_ips.iter().map(|ip| IpNet::from(ip.to_canonical()));
        RoutePolicy {
            id: route.id,
            mode: if route.icedirect {
                Mode::Direct
            } else {
                Mode::Hijack
            },
            icetcp: route.icetcp,
            allow: AllowList {
                networks: resolved.chain(group.media_allow.iter().copied()).collect(),
                own: self.own.clone(),
                own_ips: own_ips.to_vec(),
            },
            max_sessions: group.max_sessions.unwrap_or(self.config.global.max_sessions),
        }
    }
}
