//! What a finished capture proves: who talked to whom, and which addresses the payloads name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::pcap::{Packet, Protocol};

const STUN_MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const STUN_HEADER: usize = 20;
const MDNS: u16 = 5353;
const ICMPV6: u8 = 58;

type Endpoint = (IpAddr, u16);

/// The packets of a finished capture.
#[derive(Debug)]
pub struct Trace(Vec<Packet>);

impl Trace {
    pub(super) fn new(packets: Vec<Packet>) -> Self {
        Self(packets)
    }

    /// How many packets there are to and from UDP `port` of any of `peers`.
    pub fn udp_packets(&self, peers: &[IpAddr], port: u16) -> usize {
        let is_peer = |(ip, at): Endpoint| at == port && peers.contains(&ip);
        let udp = self.0.iter().filter(|packet| packet.protocol == Protocol::Udp);
        udp.filter(|packet| is_peer(packet.source) || is_peer(packet.destination))
            .count()
    }

    /// Packets to and from anything but `port` of `peers`. mDNS and neighbour discovery do not count: the
    /// browser's host resolves its own and its neighbours' names and addresses with them, and they stay on
    /// the link.
    pub fn strangers(&self, peers: &[IpAddr], port: u16) -> BTreeSet<String> {
        let is_peer = |(ip, at): Endpoint| at == port && peers.contains(&ip);
        let strange = self
            .0
            .iter()
            .filter(|p| !is_peer(p.source) && !is_peer(p.destination) && !is_link_chatter(p));
        strange
            .map(|p| format!("{:?} {:?} -> {:?}", kind(p.protocol), p.source, p.destination))
            .collect()
    }

    /// Where a payload names `address`: as text in a reassembled TCP stream or a datagram, or in the bytes of
    /// a STUN message, plain or XORed (RFC 8489 section 14.2).
    pub fn mentions(&self, address: IpAddr) -> BTreeSet<String> {
        let text = address.to_string().into_bytes();
        let mut found = BTreeSet::new();
        for ((from, to), stream) in self.streams() {
            if contains(&stream, &text) {
                found.insert(format!("as text over TCP {from:?} -> {to:?}"));
            }
        }
        for packet in self.0.iter().filter(|packet| packet.protocol == Protocol::Udp) {
            let place = format!("{:?} -> {:?}", packet.source, packet.destination);
            if contains(&packet.payload, &text) {
                found.insert(format!("as text in a datagram {place}"));
            }
            if stun_names(&packet.payload, address) {
                found.insert(format!("in a STUN message {place}"));
            }
        }
        found
    }

    /// How many STUN messages it holds: a capture without any proves nothing about them.
    pub fn stun_messages(&self) -> usize {
        self.0
            .iter()
            .filter(|packet| packet.protocol == Protocol::Udp && is_stun(&packet.payload))
            .count()
    }

    /// Whether `text` passed over TCP.
    pub fn carries_over_tcp(&self, text: impl AsRef<[u8]>) -> bool {
        self.streams()
            .values()
            .any(|stream| contains(stream, text.as_ref()))
    }

    /// The bytes of each direction of each TCP connection, in order. A gap closes up, so text beside it still
    /// shows.
    fn streams(&self) -> BTreeMap<(Endpoint, Endpoint), Vec<u8>> {
        let mut segments: BTreeMap<(Endpoint, Endpoint), BTreeMap<u32, &[u8]>> = BTreeMap::new();
        let mut first = BTreeMap::new();
        for packet in &self.0 {
            let Protocol::Tcp { sequence } = packet.protocol else {
                continue;
            };
            if packet.payload.is_empty() {
                continue;
            }
            let flow = (packet.source, packet.destination);
            // Relative to the first one seen, and shifted, so that neither wrapping nor reordering upsets the
            // order.
            let start = *first.entry(flow).or_insert(sequence);
            let at = sequence.wrapping_sub(start).wrapping_add(1 << 31);
            segments
                .entry(flow)
                .or_default()
                .entry(at)
                .or_insert(&packet.payload);
        }
        segments
            .into_iter()
            .map(|(flow, parts)| (flow, parts.into_values().flatten().copied().collect()))
            .collect()
    }
}

fn kind(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp { .. } => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Other(_) => "other",
    }
}

fn is_link_chatter(packet: &Packet) -> bool {
    match packet.protocol {
        Protocol::Udp => packet.destination.1 == MDNS && packet.destination.0.is_multicast(),
        // Neighbour discovery (RFC 4861) and multicast listener reports (RFC 3810); the latter follow an
        // option header.
        Protocol::Other(ICMPV6) => packet
            .payload
            .first()
            .is_some_and(|kind| (133..=136).contains(kind) || *kind == 143),
        // IPv6 hop-by-hop options, IGMP.
        Protocol::Other(0 | 2) => packet.destination.0.is_multicast(),
        Protocol::Tcp { .. } | Protocol::Other(_) => false,
    }
}

fn is_stun(payload: &[u8]) -> bool {
    payload.len() >= STUN_HEADER && payload[0] < 4 && payload[4..8] == STUN_MAGIC
}

fn stun_names(payload: &[u8], address: IpAddr) -> bool {
    if !is_stun(payload) {
        return false;
    }
    let plain = match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    // The mask is the magic cookie, and for IPv6 the transaction id after it: just the header's bytes from 4
    // on.
    let masked: Vec<u8> = plain
        .iter()
        .zip(&payload[4..STUN_HEADER])
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let attributes = &payload[STUN_HEADER..];
    contains(attributes, &plain) || contains(attributes, &masked)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 2));
    const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 1));
    const SECRET: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 2, 2));

    fn packet(protocol: Protocol, source: Endpoint, payload: &[u8]) -> Packet {
        Packet {
            source,
            destination: (CLIENT, 40000),
            protocol,
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn text_split_over_reordered_segments_is_found() {
        let tcp = |sequence, text: &str| packet(Protocol::Tcp { sequence }, (PROXY, 6443), text.as_bytes());
        // The sequence number wraps between the two.
        let trace = Trace::new(vec![tcp(2, "7.2.2 56 typ host"), tcp(u32::MAX - 1, "10.7")]);
        assert_eq!(trace.mentions(SECRET).len(), 1);
        assert_eq!(trace.mentions(PROXY).len(), 0);
    }

    #[test]
    fn an_xored_address_in_stun_is_found() {
        let mut message = vec![0x01, 0x01, 0x00, 0x0c];
        message.extend(STUN_MAGIC);
        message.extend([7; 12]);
        message.extend([0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0x12, 0x34]);
        message.extend([10 ^ 0x21, 77 ^ 0x12, 2 ^ 0xa4, 2 ^ 0x42]);
        let trace = Trace::new(vec![packet(Protocol::Udp, (PROXY, 6443), &message)]);
        assert_eq!(trace.stun_messages(), 1);
        assert_eq!(trace.mentions(SECRET).len(), 1);
        assert_eq!(trace.mentions(PROXY).len(), 0);
    }

    #[test]
    fn another_port_of_the_same_host_is_a_stranger() {
        let udp = |port| packet(Protocol::Udp, (PROXY, port), b"x");
        let trace = Trace::new(vec![udp(6443), udp(6444)]);
        assert_eq!(trace.strangers(&[PROXY], 6443).len(), 1);
        assert_eq!(trace.udp_packets(&[PROXY], 6443), 1);
    }
}
