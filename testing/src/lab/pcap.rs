//! Reads a classic pcap file of Ethernet frames as far as IP, TCP and UDP go. What it cannot read is an
//! error, not a gap: a test that proves an absence must have seen everything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Error, Result};

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
const LINK_ETHERNET: u32 = 1;
const ETHERNET_HEADER: usize = 14;

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    /// TCP, with the sequence number of the payload's first byte.
    Tcp {
        /// The sequence number.
        sequence: u32,
    },
    /// UDP.
    Udp,
    /// Another protocol (its number), or a fragment other than the first.
    Other(u8),
}

/// One IP packet. Ports are 0 where the protocol has none; an ICMP error about a datagram of these two hosts
/// has that datagram's, since it is the receiving host's answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Where it came from.
    pub source: (IpAddr, u16),
    /// Where it goes.
    pub destination: (IpAddr, u16),
    /// What it carries.
    pub protocol: Protocol,
    /// The payload of TCP or UDP; for others, of IP.
    pub payload: Vec<u8>,
}

/// Parses a whole capture file. Frames that are not IP (ARP) are left out.
pub(super) fn parse(file: &[u8]) -> Result<Vec<Packet>> {
    let header = file
        .get(..FILE_HEADER)
        .ok_or_else(|| Error::new("pcap: no file header"))?;
    if u32_ne(header, 0) != Some(MAGIC_MICROSECONDS) || u32_ne(header, 20) != Some(LINK_ETHERNET) {
        return Err(Error::new("pcap: not a native Ethernet capture"));
    }
    let mut packets = Vec::new();
    let mut rest = &file[FILE_HEADER..];
    while !rest.is_empty() {
        let (captured, length) = u32_ne(rest, 8).zip(u32_ne(rest, 12)).ok_or_else(truncated)?;
        if captured != length {
            return Err(Error::new("pcap: a packet was cut short"));
        }
        let end = RECORD_HEADER + captured as usize;
        let frame = rest.get(RECORD_HEADER..end).ok_or_else(truncated)?;
        packets.extend(ethernet(frame)?);
        rest = &rest[end..];
    }
    Ok(packets)
}

fn ethernet(frame: &[u8]) -> Result<Option<Packet>> {
    let payload = frame.get(ETHERNET_HEADER..).ok_or_else(truncated)?;
    match u16_be(frame, 12) {
        Some(0x0800) => ipv4(payload).map(Some).ok_or_else(truncated),
        Some(0x86dd) => ipv6(payload).map(Some).ok_or_else(truncated),
        Some(0x0806) => Ok(None),
        other => Err(Error::new(format!("pcap: unexpected frame type {other:x?}"))),
    }
}

fn ipv4(packet: &[u8]) -> Option<Packet> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    // An offloaded packet may leave the length at 0; veth pairs carry no padding, so the frame's end will do.
    let end = match u16_be(packet, 2)? {
        0 => packet.len(),
        length => usize::from(length),
    };
    let source = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?);
    let destination = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?);
    let fragment_offset = u16_be(packet, 6)? & 0x1fff;
    let protocol = *packet.get(9)?;
    transport(
        source.into(),
        destination.into(),
        protocol,
        fragment_offset != 0,
        packet.get(header..end)?,
    )
}

fn ipv6(packet: &[u8]) -> Option<Packet> {
    let source = Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(8..24)?).ok()?);
    let destination = Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?);
    let end = match u16_be(packet, 4)? {
        0 => packet.len(),
        length => 40 + usize::from(length),
    };
    transport(
        source.into(),
        destination.into(),
        *packet.get(6)?,
        false,
        packet.get(40..end)?,
    )
}

fn transport(from: IpAddr, to: IpAddr, protocol: u8, fragment: bool, body: &[u8]) -> Option<Packet> {
    let (protocol, header) = match protocol {
        6 if !fragment => (
            Protocol::Tcp {
                sequence: u32_be(body, 4)?,
            },
            usize::from(body.get(12)? >> 4) * 4,
        ),
        17 if !fragment => (Protocol::Udp, 8),
        other => (Protocol::Other(other), 0),
    };
    let (source, destination) = match protocol {
        Protocol::Tcp { .. } | Protocol::Udp => (u16_be(body, 0)?, u16_be(body, 2)?),
        Protocol::Other(number) => refused_ports(from, to, number, body).unwrap_or_default(),
    };
    Some(Packet {
        source: (from, source),
        destination: (to, destination),
        protocol,
        payload: body.get(header..)?.to_vec(),
    })
}

/// The ports of the datagram that an ICMP "destination unreachable" quotes, as seen in the error's own
/// direction.
fn refused_ports(from: IpAddr, to: IpAddr, protocol: u8, body: &[u8]) -> Option<(u16, u16)> {
    const ERROR_HEADER: usize = 8;
    let quoted = body.get(ERROR_HEADER..)?;
    let (sender, receiver, ports) = match (protocol, *body.first()?) {
        (1, 3) => {
            let header = usize::from(quoted.first()? & 0x0f) * 4;
            let address =
                |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(quoted.get(at..at + 4)?).ok()?));
            (
                IpAddr::V4(address(12)?),
                IpAddr::V4(address(16)?),
                quoted.get(header..)?,
            )
        }
        (58, 1) => {
            let address = |at: usize| {
                Some(Ipv6Addr::from(
                    <[u8; 16]>::try_from(quoted.get(at..at + 16)?).ok()?,
                ))
            };
            (
                IpAddr::V6(address(8)?),
                IpAddr::V6(address(24)?),
                quoted.get(40..)?,
            )
        }
        _ => return None,
    };
    if (sender, receiver) != (to, from) {
        return None;
    }
    Some((u16_be(ports, 2)?, u16_be(ports, 0)?))
}

fn truncated() -> Error {
    Error::new("pcap: truncated")
}

fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The file's own numbers are in the byte order of the machine that wrote it: this one.
fn u32_ne(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [MAGIC_MICROSECONDS, 0x0004_0002, 0, 0, 65535, LINK_ETHERNET] {
            file.extend(word.to_ne_bytes());
        }
        for frame in frames {
            let length = u32::try_from(frame.len()).unwrap();
            for word in [0, 0, length, length] {
                file.extend(word.to_ne_bytes());
            }
            file.extend(frame);
        }
        file
    }

    fn udp_frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = [&[0; 12][..], &[0x08, 0x00]].concat();
        let length = u16::try_from(28 + payload.len()).unwrap();
        frame.extend([0x45, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x19, 0x2b, 0x00, 0x35, 0, 0, 0, 0]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn a_udp_packet_is_read_with_its_ports_and_payload() {
        let packets = parse(&file(&[udp_frame(b"hello")])).unwrap();
        assert_eq!(
            packets,
            [Packet {
                source: (Ipv4Addr::new(10, 0, 0, 1).into(), 6443),
                destination: (Ipv4Addr::new(10, 0, 0, 2).into(), 53),
                protocol: Protocol::Udp,
                payload: b"hello".to_vec(),
            }]
        );
    }

    #[test]
    fn a_refusal_counts_to_the_conversation_that_it_refuses() {
        let refused = udp_frame(b"hello");
        let mut frame = refused.clone();
        // From the receiver back to the sender: ICMP type 3, the refused packet quoted.
        frame.truncate(ETHERNET_HEADER + 20);
        frame[ETHERNET_HEADER + 2..][..2].copy_from_slice(&61_u16.to_be_bytes());
        frame[ETHERNET_HEADER + 9] = 1;
        frame[ETHERNET_HEADER + 12..].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
        frame.extend([3, 3, 0, 0, 0, 0, 0, 0]);
        frame.extend(&refused[ETHERNET_HEADER..]);
        let packets = parse(&file(&[frame.clone()])).unwrap();
        assert_eq!((packets[0].source.1, packets[0].destination.1), (53, 6443));
        // About somebody else's datagram: nobody's ports.
        let quoted_source = ETHERNET_HEADER + 28 + 12;
        frame[quoted_source] = 99;
        let packets = parse(&file(&[frame])).unwrap();
        assert_eq!((packets[0].source.1, packets[0].destination.1), (0, 0));
    }

    #[test]
    fn a_truncated_file_is_an_error_at_every_length() {
        let whole = file(&[udp_frame(b"hello")]);
        for length in (0..whole.len()).filter(|&length| length != FILE_HEADER) {
            assert!(parse(&whole[..length]).is_err(), "{length} bytes");
        }
    }
}
