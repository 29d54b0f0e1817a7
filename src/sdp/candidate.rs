//! ICE candidate lines (RFC 8839 section 5.1, RFC 6544 section 4.5): read leniently, written strictly.

use std::net::{IpAddr, SocketAddr};

/// Transport and, for TCP, the side that a candidate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `udp`
    Udp,
    /// `tcp` with `tcptype passive`, or with none.
    TcpPassive,
    /// Anything else: `tcptype active` and `so`, unknown transports.
    Other,
}

/// A candidate as a peer wrote it. Its type and related address are left out: to a proxy all are addresses to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// 1 for RTP and all that is multiplexed with it, 2 for RTCP.
    pub component: u16,
    /// Transport.
    pub protocol: Protocol,
    /// The sender's preference.
    pub priority: u32,
    /// An IP address, an mDNS name or a host name.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// The `ufrag` extension (RFC 8838 and what browsers make of it).
    pub ufrag: Option<&'a str>,
}

impl<'a> Candidate<'a> {
    /// Reads a candidate, with or without `a=` before it: `candidate:<foundation> <component> …`.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let line = line.strip_prefix("a=").unwrap_or(line);
        let mut words = line.strip_prefix("candidate:")?.split_ascii_whitespace();
        let _foundation = words.next()?;
        let component = words.next()?.parse().ok()?;
        let transport = words.next()?;
        let priority = words.next()?.parse().ok()?;
        let host = words.next()?;
        let port = words.next()?.parse().ok()?;
        if words.next()? != "typ" {
            return None;
        }
        let _kind = words.next()?;
        let mut extensions = Extensions::default();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            extensions.note(name, value);
        }
        Some(Self {
            component,
            protocol: protocol(transport, extensions.tcptype),
            priority,
            host,
            port,
            ufrag: extensions.ufrag,
        })
    }

    /// Its address, if it is one: no name, no zone, no port 0.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        (self.port != 0).then(|| SocketAddr::new(ip.to_canonical(), self.port))
    }
}

#[derive(Default)]
struct Extensions<'a> {
    tcptype: Option<&'a str>,
    ufrag: Option<&'a str>,
}

impl<'a> Extensions<'a> {
    fn note(&mut self, name: &str, value: &'a str) {
        match name {
            "tcptype" => self.tcptype = Some(value),
            "ufrag" => self.ufrag = Some(value),
            _ => {}
        }
    }
}

fn protocol(transport: &str, tcptype: Option<&str>) -> Protocol {
    let passive = tcptype.is_none_or(|side| side.eq_ignore_ascii_case("passive"));
    if transport.eq_ignore_ascii_case("udp") {
        Protocol::Udp
    } else if transport.eq_ignore_ascii_case("tcp") && passive {
        Protocol::TcpPassive
    } else {
        Protocol::Other
    }
}

/// A host candidate of component 1 that every browser and server reads: `candidate:…`, without `a=`.
/// `passive_tcp` chooses the transport; `ufrag` is appended as an extension.
#[must_use]
pub fn host_line(
    foundation: usize,
    passive_tcp: bool,
    priority: u32,
    addr: SocketAddr,
    ufrag: Option<&str>,
) -> String {
    let (transport, side) = if passive_tcp {
        ("tcp", " tcptype passive")
    } else {
        ("udp", "")
    };
    let (ip, port) = (addr.ip(), addr.port());
    let extension = ufrag.map(|ufrag| format!(" ufrag {ufrag}")).unwrap_or_default();
    format!("candidate:{foundation} 1 {transport} {priority} {ip} {port} typ host{side}{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chrome_srflx_with_extensions() {
        let line = "a=candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.4 rport 46154 \
                    generation 0 ufrag Xs+/ network-id 1 network-cost 10";
        let candidate = Candidate::parse(line).expect("legal");
        assert_eq!(candidate.addr(), Some(([203, 0, 113, 7], 46154).into()));
        assert_eq!(candidate.ufrag, Some("Xs+/"));
        assert_eq!((candidate.component, candidate.protocol), (1, Protocol::Udp));
    }

    #[test]
    fn tcp_sides() {
        let parse = |tail: &str| {
            let line = format!("candidate:1 1 TCP 1 10.0.0.1 9 typ host{tail}");
            Candidate::parse(&line).map(|candidate| candidate.protocol)
        };
        assert_eq!(parse(" tcptype passive"), Some(Protocol::TcpPassive));
        assert_eq!(parse(""), Some(Protocol::TcpPassive));
        assert_eq!(parse(" tcptype active"), Some(Protocol::Other));
        assert_eq!(parse(" tcptype so generation 0"), Some(Protocol::Other));
    }

    #[test]
    fn names_zones_and_port_zero_are_no_addresses() {
        for (host, port) in [
            ("f3a1.local", 5),
            ("janus.example", 5),
            ("fe80::1%eth0", 5),
            ("10.0.0.1", 0),
        ] {
            let line = format!("candidate:1 1 udp 1 {host} {port} typ host");
            assert_eq!(
                Candidate::parse(&line).expect("a candidate").addr(),
                None,
                "{host}"
            );
        }
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_self() {
        let candidate = Candidate::parse("candidate:1 1 udp 1 ::ffff:10.0.0.1 7 typ host").expect("legal");
        assert_eq!(candidate.addr(), Some(([10, 0, 0, 1], 7).into()));
    }

    #[test]
    fn malformed_lines_are_refused() {
        for line in [
            "",
            "candidate:",
            "candidate:1 1 udp 1 10.0.0.1 70000 typ host",
            "candidate:1 1 udp -1 10.0.0.1 7 typ host",
            "candidate:1 1 udp 1 10.0.0.1 7 host",
            "a=rtcp-mux",
        ] {
            assert_eq!(Candidate::parse(line), None, "{line}");
        }
    }

    #[test]
    fn written_lines_read_back() {
        let addr = "[2001:db8::1]:6443".parse().expect("an address");
        let line = host_line(3, true, 7, addr, Some("tok"));
        let candidate = Candidate::parse(&line).expect("legal");
        assert_eq!(candidate.addr(), Some(addr));
        assert_eq!(candidate.protocol, Protocol::TcpPassive);
        assert_eq!((candidate.priority, candidate.ufrag), (7, Some("tok")));
    }
}
