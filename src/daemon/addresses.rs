//! This machine's addresses, and the candidates that a client is shown.
//!
//! A client gets addresses that it can reach: the ones configured, or the one that its own HTTP connection came in on.

use std::net::{IpAddr, SocketAddr};

use crate::config::{CandidateHost, CandidateIps, ListenAddr};
use crate::ice::Transport;
use crate::signaling::ProxyCandidate;

/// No more candidates than these are shown: each costs the client a series of checks.
const MAX_CANDIDATES: usize = 8;
/// Of them no more are on TCP.
const MAX_TCP: usize = 3;

/// The addresses of this machine that another host could send to: neither loopback nor link-local.
#[must_use]
pub(super) fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list this machine's addresses");
        Vec::new()
    });
    let mut addresses: Vec<IpAddr> = interfaces
        .iter()
        .map(|interface| interface.ip())
        .filter(|ip| is_global(*ip))
        .collect();
    // Interfaces come in the kernel's order; IPv4 first is what most clients can use.
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.dedup();
    addresses
}

fn is_global(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast() && !link_local
}

/// Where clients can send ICE to one service.
#[derive(Clone, Debug)]
pub(super) struct IceService {
    /// Its transport.
    pub(super) transport: Transport,
    /// Where it listens, with the port that it really has.
    pub(super) addr: ListenAddr,
    /// `candidate_ips` as written.
    pub(super) ips: CandidateIps,
}

/// The candidates for a client whose HTTP connection came in on `local`, best first. `resolve` gives what a name of
/// `candidate_ips` stands for now; `own` is [`own_addresses`].
#[must_use]
pub(super) fn candidates(
    services: &[IceService],
    local: IpAddr,
    own: &[IpAddr],
    resolve: impl Fn(&str) -> Vec<IpAddr>,
) -> Vec<ProxyCandidate> {
    let mut shown: Vec<ProxyCandidate> = Vec::new();
    for service in services {
        for ip in service_ips(service, local.to_canonical(), own, &resolve) {
            let candidate = ProxyCandidate {
                transport: service.transport,
                addr: SocketAddr::new(ip, service.addr.port),
            };
            if !shown.contains(&candidate) {
                shown.push(candidate);
            }
        }
    }
    // Where UDP is blocked, a long list of it must not have crowded TCP out.
    let (mut udp, mut tcp): (Vec<_>, Vec<_>) = shown
        .into_iter()
        .partition(|candidate| candidate.transport == Transport::Udp);
    tcp.truncate(MAX_TCP);
    udp.truncate(MAX_CANDIDATES - tcp.len());
    udp.append(&mut tcp);
    udp
}

fn service_ips(
    service: &IceService,
    local: IpAddr,
    own: &[IpAddr],
    resolve: &impl Fn(&str) -> Vec<IpAddr>,
) -> Vec<IpAddr> {
    let auto = || match service.addr.ip {
        Some(bound) => vec![bound],
        None => std::iter::once(local)
            .chain(own.iter().copied().filter(|ip| *ip != local))
            .collect(),
    };
    match &service.ips {
        CandidateIps::Auto => auto(),
        CandidateIps::List(hosts) => hosts
            .iter()
            .flat_map(|host| match host {
                CandidateHost::Ip(ip) => vec![*ip],
                CandidateHost::Name(name) => resolve(name),
                CandidateHost::Auto => auto(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(ip: Option<&str>, ips: CandidateIps) -> IceService {
        let addr = ListenAddr {
            ip: ip.map(|ip| ip.parse().unwrap()),
            port: 6443,
        };
        IceService {
            transport: Transport::Udp,
            addr,
            ips,
        }
    }

    fn shown(service: IceService, local: &str, own: &[&str]) -> Vec<String> {
        let own: Vec<IpAddr> = own.iter().map(|ip| ip.parse().unwrap()).collect();
        let resolve = |name: &str| {
            if name == "edge" {
                vec!["198.51.100.7".parse().unwrap()]
            } else {
                vec![]
            }
        };
        candidates(&[service], local.parse().unwrap(), &own, resolve)
            .iter()
            .map(|candidate| candidate.addr.to_string())
            .collect()
    }

    #[test]
    fn auto_shows_the_address_that_the_client_reached_first() {
        let service = service(None, CandidateIps::Auto);
        assert_eq!(
            shown(service, "192.0.2.9", &["192.0.2.1", "192.0.2.9"]),
            ["192.0.2.9:6443", "192.0.2.1:6443"]
        );
    }

    #[test]
    fn a_client_on_loopback_is_shown_the_machine_as_well() {
        let service = service(None, CandidateIps::Auto);
        assert_eq!(
            shown(service, "127.0.0.1", &["192.0.2.1"]),
            ["127.0.0.1:6443", "192.0.2.1:6443"]
        );
    }

    #[test]
    fn a_bound_service_shows_only_what_it_is_bound_to() {
        let service = service(Some("192.0.2.1"), CandidateIps::Auto);
        assert_eq!(shown(service, "127.0.0.1", &["192.0.2.2"]), ["192.0.2.1:6443"]);
    }

    #[test]
    fn names_are_shown_as_addresses_and_unknown_ones_not_at_all() {
        let hosts = vec![
            CandidateHost::Name("edge".into()),
            CandidateHost::Name("nowhere".into()),
        ];
        let service = service(None, CandidateIps::List(hosts));
        assert_eq!(shown(service, "127.0.0.1", &["192.0.2.2"]), ["198.51.100.7:6443"]);
    }

    #[test]
    fn tcp_comes_last_and_is_not_crowded_out() {
        let many: Vec<IpAddr> = (1..=20).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        let udp = service(None, CandidateIps::Auto);
        let tcp = IceService {
            transport: Transport::Tcp,
            ..udp.clone()
        };
        let shown = candidates(&[tcp, udp], many[0], &many, |_| Vec::new());
        let kinds: Vec<_> = shown.iter().map(|candidate| candidate.transport).collect();
        assert_eq!(
            kinds,
            [[Transport::Udp; 5].as_slice(), &[Transport::Tcp; 3]].concat()
        );
        assert_eq!(shown[5].addr, SocketAddr::new(many[0], 6443));
    }

    #[test]
    fn a_mapped_local_address_is_shown_as_ipv4() {
        let service = service(None, CandidateIps::Auto);
        assert_eq!(shown(service, "::ffff:192.0.2.9", &[]), ["192.0.2.9:6443"]);
    }
}
