//! What a route may do: its mode, its limits, and the server addresses that its calls may reach.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// A route's name as it is sealed into tokens: stable across restarts and equal on every node with the same
/// configuration. Derived from `service/tag` by [`RouteId::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u32);

impl RouteId {
    /// The id of the route `tag` of the service `service`: the first 32 bits of SHA-256 over `service NUL tag`.
    #[must_use]
    pub fn of(service: &str, tag: &str) -> Self {
        use sha2::Digest;
        let mut hash = sha2::Sha256::new();
        hash.update(service.as_bytes());
        hash.update([0]);
        hash.update(tag.as_bytes());
        let digest = hash.finalize();
        Self(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
    }
}

/// How a route carries media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// ICE ends at xrtc on each side; the call's state travels in its ICE username.
    Hijack,
    /// ICE checks pass through; only addresses are rewritten.
    Direct,
}

/// Which server addresses the calls of a route may be sent to (SSRF guard).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    /// Networks that are allowed: the resolved upstream servers as /32 or /128, and `media.allow`.
    pub networks: Vec<IpNet>,
    /// xrtc's own listening addresses, never allowed. An unspecified IP stands for each address of this machine
    /// listed in `own_ips`.
    pub own: Vec<SocketAddr>,
    /// Addresses of this machine.
    pub own_ips: Vec<IpAddr>,
}

impl AllowList {
    /// Whether a packet may be sent to `addr`.
    ///
    /// Never: port 0, unspecified, multicast, broadcast, link-local (the metadata service 169.254.169.254 is one) and
    /// xrtc's own listeners, whatever the networks say.
    #[must_use]
    pub fn permits(&self, addr: SocketAddr) -> bool {
        let ip = addr.ip().to_canonical();
        addr.port() != 0
            && !never(ip)
            && !self.is_own(ip, addr.port())
            && self.networks.iter().any(|net| net.contains(&ip))
    }

    fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        self.own.iter().any(|own| {
            own.port() == port
                && (own.ip() == ip
                    || own.ip().is_unspecified() && (self.own_ips.contains(&ip) || ip.is_loopback()))
        })
    }
}

fn never(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_link_local()
                || v4.octets()[0] == 0
        }
        // fd00:ec2::254 is the IPv6 address of a well-known metadata service.
        IpAddr::V6(v6) => {
            v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
    }
}

/// All that the media plane knows of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePolicy {
    /// The route.
    pub id: RouteId,
    /// Hijack or icedirect.
    pub mode: Mode,
    /// Whether the server's TCP candidates are tried first.
    pub icetcp: bool,
    /// Where its calls may go.
    pub allow: AllowList,
    /// Calls at once.
    pub max_sessions: usize,
}
