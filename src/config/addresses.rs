//! Values that name a place in the network: listening addresses, hosts, URLs, networks, port ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::errors::Problem;
use super::hints;
use super::model::{CandidateHost, ListenAddr, Scheme, Server};
use super::scalars::{name, text, unexpected};
use super::tree::Node;

/// RFC 1035 section 2.3.4.
const MAX_HOST: usize = 253;

/// `:port`, `ip:port` or `[ip]:port`. Port 0 lets the system choose.
pub(super) fn listen(node: &Node) -> Result<ListenAddr, Problem> {
    const EXPECTED: &str = "a listening address, `:port`, `ip:port` or `[ipv6]:port`";
    let written = text(node, EXPECTED)?;
    let parsed = match written.strip_prefix(':') {
        Some(digits) => port(digits).map(|port| ListenAddr { ip: None, port }),
        None => written.parse::<SocketAddr>().ok().map(|addr| ListenAddr {
            ip: Some(addr.ip()),
            port: addr.port(),
        }),
    };
    parsed.ok_or_else(|| unexpected(EXPECTED, node).meaning(hints::listen(node)))
}

/// Decimal digits and nothing else (`u16::from_str` takes a sign).
fn port(digits: &str) -> Option<u16> {
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten()
}

/// `40000-40100`
pub(super) fn ports(node: &Node) -> Result<RangeInclusive<u16>, Problem> {
    const EXPECTED: &str = "a range of ports, like `40000-40100`";
    let parsed = text(node, EXPECTED)?
        .split_once('-')
        .and_then(|(low, high)| Some(port(low)?..=port(high)?));
    parsed
        .filter(|range| *range.start() > 0 && !range.is_empty())
        .ok_or_else(|| unexpected(EXPECTED, node))
}

/// `10.0.0.0/8`, or one address.
pub(super) fn network(node: &Node) -> Result<IpNet, Problem> {
    const EXPECTED: &str = "a network like `10.0.0.0/8` or `fd00::/8`, or an address";
    let written = text(node, EXPECTED)?;
    let parsed = written
        .parse::<IpNet>()
        .ok()
        .or_else(|| written.parse::<IpAddr>().ok().map(IpNet::from));
    parsed
        .map(|network| network.trunc())
        .ok_or_else(|| unexpected(EXPECTED, node))
}

/// An entry of `candidate_ips`.
pub(super) fn candidate(node: &Node) -> Result<CandidateHost, Problem> {
    const EXPECTED: &str = "an address that clients can send to, a host name, or `auto`";
    let written = text(node, EXPECTED)?;
    if written == "auto" {
        return Ok(CandidateHost::Auto);
    }
    let usable = |ip: &IpAddr| !(ip.is_unspecified() || ip.is_multicast() || *ip == Ipv4Addr::BROADCAST);
    let parsed = match written.parse::<IpAddr>() {
        Ok(ip) => Some(CandidateHost::Ip(ip)).filter(|_| usable(&ip)),
        Err(_) => domain(written).map(CandidateHost::Name),
    };
    parsed.ok_or_else(|| unexpected(EXPECTED, node).meaning(hints::host(node)))
}

/// A host name in lower case. Underscores are fine (container names have them); what ends in a number is an address
/// gone wrong and no name.
fn domain(name: &str) -> Option<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    let valid =
        name.len() <= MAX_HOST && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(number);
    valid.then(|| name.to_ascii_lowercase())
}

/// A host name or address as it stands in a URL or a Host header, without the brackets of IPv6.
fn host(name: &str) -> Option<String> {
    if let Some(inner) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string());
    }
    name.parse::<Ipv4Addr>()
        .ok()
        .map(|ip| ip.to_string())
        .or_else(|| domain(name))
}

/// The name or address that a certificate must be for.
pub(super) fn certificate_name(node: &Node) -> Result<String, Problem> {
    const EXPECTED: &str = "a host name or an address";
    let written = text(node, EXPECTED)?;
    // IPv6 without brackets is plain enough here.
    let ip = written.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string());
    ip.or_else(|| host(written))
        .ok_or_else(|| unexpected(EXPECTED, node))
}

/// An entry of `hosts`: exact, or `*.` and what it ends in. In lower case.
pub(super) fn host_pattern(node: &Node) -> Result<String, Problem> {
    const EXPECTED: &str = "a host without port, like `example.com` or `\"*.example.com\"`";
    let written = text(node, EXPECTED)?;
    let parsed = match written.strip_prefix("*.") {
        Some(rest) => domain(rest).map(|rest| format!("*.{rest}")),
        None => host(written),
    };
    parsed.ok_or_else(|| unexpected(EXPECTED, node).meaning(hints::host(node)))
}

/// `servername`: a host, or `_` for any.
pub(super) fn server_name(node: &Node) -> Result<Option<String>, Problem> {
    const EXPECTED: &str = "a host without port, or `_` for any";
    match text(node, EXPECTED)? {
        "_" => Ok(None),
        name => host(name)
            .map(Some)
            .ok_or_else(|| unexpected(EXPECTED, node).meaning(hints::host(node))),
    }
}

/// `scheme://host[:port][/path]`, taken apart.
pub(super) struct Url<'n> {
    scheme: Scheme,
    /// As written: the name of a group need not be one of a host.
    pub(super) host: &'n str,
    pub(super) port: Option<u16>,
    /// Whether more follows than one slash.
    pub(super) has_path: bool,
}

impl Url<'_> {
    /// The server that the URL names, if it has no path and its host can be one.
    pub(super) fn server(&self) -> Option<Server> {
        let port = self.port.unwrap_or_else(|| self.scheme.default_port());
        let host = host(self.host).filter(|_| !self.has_path)?;
        Some(Server::new(self.scheme, host, port))
    }

    /// Whether this is a bare word, as names of groups are; a host is told from them by its port or a dot.
    pub(super) fn is_word(&self) -> bool {
        let known = self.host.eq_ignore_ascii_case("localhost");
        self.port.is_none() && !known && !self.host.contains('.') && name(self.host).is_ok()
    }
}

/// A URL of an upstream.
pub(super) fn url<'n>(node: &'n Node, expected: &str) -> Result<Url<'n>, Problem> {
    split_url(text(node, expected)?).ok_or_else(|| unexpected(expected, node))
}

fn split_url(written: &str) -> Option<Url<'_>> {
    let (scheme, rest) = written.split_once("://")?;
    let scheme = Scheme::ALL
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(scheme))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A colon inside the brackets of IPv6 starts no port.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => {
            (host, Some(port(digits).filter(|port| *port > 0)?))
        }
        _ => (authority, None),
    };
    Some(Url {
        scheme,
        host,
        port,
        has_path: !matches!(path, "" | "/"),
    })
}
