//! A configuration at work: what a reload replaces as a whole on the media side. Calls and their tables outlive it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::{CandidateHost, CandidateIps, Config, ListenAddr, Service, ServiceKind};
use crate::ice::Transport;
use crate::media::Media;
use crate::upstream::Upstreams;

use super::addresses::IceService;
use super::calls::MediaCalls;
use super::policies::Policies;

/// One configuration and what was made of it.
#[derive(Debug)]
pub(super) struct Generation {
    /// The configuration; where a change needs a restart, with what is still in effect.
    pub(super) config: Arc<Config>,
    /// Where clients can send ICE.
    pub(super) services: Vec<IceService>,
    /// Makes a route's allow-list.
    pub(super) policies: Policies,
    /// The upstream groups; resolves their names and those of `candidate_ips`.
    pub(super) upstreams: Arc<Upstreams>,
}

impl Generation {
    /// `tcp` and `udp` are what the services listen on.
    pub(super) fn new(
        config: &Arc<Config>,
        upstreams: Upstreams,
        tcp: &[(&Service, SocketAddr)],
        udp: &[(&Service, SocketAddr)],
        media: &Media,
    ) -> Self {
        let mut own: Vec<_> = tcp.iter().chain(udp).map(|(_, addr)| *addr).collect();
        // Those that drain are still ours.
        own.extend(media.bound().iter().map(|(_, addr)| *addr));
        Self {
            services: ice_services(tcp, udp),
            policies: Policies::new(config.clone(), own),
            upstreams: Arc::new(upstreams),
            config: config.clone(),
        }
    }

    /// Looks up the names that are not fresh.
    pub(super) async fn look_up(&self) {
        self.upstreams.refresh().await;
        for name in candidate_names(&self.config) {
            if let Err(error) = self.upstreams.names().resolve(name).await {
                tracing::warn!(name, %error, "a name of candidate_ips cannot be looked up");
            }
        }
    }
}

/// Lets the media plane know what each route's calls may do now.
pub(super) fn publish(calls: &MediaCalls) {
    let own_ips = calls.own_ips.load();
    let now = calls.generation.load();
    let resolve = |upstream| -> Vec<IpAddr> { now.upstreams.addresses(upstream) };
    now.policies.publish(&calls.shared, &own_ips, resolve);
}

/// The services that the media plane listens for.
pub(super) fn ice_udp(config: &Config) -> impl Iterator<Item = &Service> {
    let services = config.services.iter();
    services.filter(|service| service.kind == ServiceKind::Udp && service.enable_ice)
}

/// Where clients can send ICE, with the ports that are really listened on.
fn ice_services(tcp: &[(&Service, SocketAddr)], udp: &[(&Service, SocketAddr)]) -> Vec<IceService> {
    let mut services: Vec<IceService> = Vec::new();
    for (transport, listening) in [(Transport::Udp, udp), (Transport::Tcp, tcp)] {
        let mut last = None;
        for (service, addr) in listening.iter().filter(|(service, _)| service.enable_ice) {
            // The listeners of one service, IPv4 and IPv6, have one port.
            if last.replace(&service.name) != Some(&service.name) {
                services.push(IceService {
                    transport,
                    addr: ListenAddr {
                        ip: service.addr.ip,
                        port: addr.port(),
                    },
                    ips: service.candidate_ips.clone(),
                });
            }
        }
    }
    services
}

fn candidate_names(config: &Config) -> impl Iterator<Item = &str> {
    let services = config.services.iter().filter(|service| service.enable_ice);
    services
        .flat_map(|service| match &service.candidate_ips {
            CandidateIps::Auto => &[][..],
            CandidateIps::List(hosts) => hosts,
        })
        .filter_map(|host| match host {
            CandidateHost::Name(name) => Some(name.as_str()),
            CandidateHost::Ip(_) | CandidateHost::Auto => None,
        })
}
