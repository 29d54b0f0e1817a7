//! Tells apart the protocols that share the UDP port and the ICE-TCP connections, by the first byte
//! (RFC 7983 section 7, RFC 9443 section 2).
//!
//! Only a first look: `Stun` promises a magic cookie, not a valid message, and `Dtls` and `Rtp` promise nothing but
//! the range and the shortest header. QUIC, TURN ChannelData and ZRTP are `Other`, since nothing here carries them.

use super::stun;

/// What a datagram is by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Datagram {
    /// STUN with the magic cookie of RFC 5389 and later, including libwebrtc's GOOG_PING.
    Stun,
    /// A DTLS record.
    Dtls,
    /// RTP, RTCP or their secure forms.
    Rtp,
    /// Anything else, or too short to be what its first byte says.
    Other,
}

const DTLS_HEADER: usize = 13;
const RTP_HEADER: usize = 12;
const RTCP_HEADER: usize = 8;

/// Classifies one whole datagram, or one whole RFC 4571 frame.
#[must_use]
pub fn classify(packet: &[u8]) -> Datagram {
    let [first, second, ..] = *packet else {
        return Datagram::Other;
    };
    match first {
        0..=3 if is_stun(packet) => Datagram::Stun,
        20..=63 if packet.len() >= DTLS_HEADER => Datagram::Dtls,
        128..=191 if packet.len() >= shortest_rtp(second) => Datagram::Rtp,
        _ => Datagram::Other,
    }
}

fn is_stun(packet: &[u8]) -> bool {
    packet.len() >= stun::HEADER_LEN && packet.get(4..8) == Some(stun::MAGIC_COOKIE.to_be_bytes().as_slice())
}

/// RTCP packet types fill 192 to 223 of the second byte, where RTP has its marker and payload type (RFC 5761
/// section 4).
const fn shortest_rtp(second: u8) -> usize {
    match second {
        192..=223 => RTCP_HEADER,
        _ => RTP_HEADER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(head: &[u8], len: usize) -> Vec<u8> {
        let mut packet = head.to_vec();
        packet.resize(len, 0);
        packet
    }

    #[test]
    fn the_first_byte_decides_on_long_packets() {
        for first in 0..=255 {
            let expected = match first {
                0..=3 => Datagram::Stun,
                20..=63 => Datagram::Dtls,
                128..=191 => Datagram::Rtp,
                _ => Datagram::Other,
            };
            let packet = packet(&[first, 0, 0, 0, 0x21, 0x12, 0xA4, 0x42], 64);
            assert_eq!(classify(&packet), expected, "first byte {first}");
        }
    }

    #[test]
    fn packets_shorter_than_their_header_are_other() {
        let stun = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        let cases: [(&[u8], usize, Datagram); 7] = [
            (&stun, 20, Datagram::Stun),
            (&[22, 254, 253], 13, Datagram::Dtls),
            (&[0x80, 96], 12, Datagram::Rtp),
            (&[0x80, 191], 12, Datagram::Rtp),
            (&[0x80, 192], 8, Datagram::Rtp),
            (&[0x80, 223], 8, Datagram::Rtp),
            (&[0x80, 224], 12, Datagram::Rtp),
        ];
        for (head, shortest, expected) in cases {
            assert_eq!(classify(&packet(head, shortest)), expected);
            for len in 0..shortest {
                assert_eq!(
                    classify(&packet(head, shortest)[..len]),
                    Datagram::Other,
                    "{expected:?} of {len} bytes"
                );
            }
        }
    }

    #[test]
    fn stun_needs_the_whole_cookie() {
        for byte in 4..8 {
            let mut packet = packet(&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42], 20);
            packet[byte] ^= 1;
            assert_eq!(classify(&packet), Datagram::Other);
        }
    }

    #[test]
    fn goog_ping_is_stun() {
        for kind in [[0x02, 0x00], [0x03, 0x00], [0x03, 0x10]] {
            let mut packet = packet(&[0, 0, 0, 8, 0x21, 0x12, 0xA4, 0x42], 28);
            packet[..2].copy_from_slice(&kind);
            assert_eq!(classify(&packet), Datagram::Stun);
        }
    }
}
