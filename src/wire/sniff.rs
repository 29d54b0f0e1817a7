//! What a new connection on the TCP port speaks, from its first bytes.
//!
//! The protocols differ in their first byte, except that two literals begin like an HTTP method, so that the verdict
//! depends on nothing but the bytes: more of them turn `NeedMore` into an answer and never one answer into another.
//! An answer says what to try, not that the rest is well formed. A PROXY header or a TLS or ssltcp handshake hides
//! another protocol, for which the caller sniffs again.

use super::frame::FIRST_FRAME_LIMIT;
use super::reader::Reader;
use super::stun;

/// With this many bytes there is always an answer.
pub const ENOUGH: usize = HTTP2_PREFACE.len();

/// RFC 9113 section 3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// PROXY protocol section 2.1: the human-readable header.
const PROXY_V1: &[u8] = b"PROXY ";
/// PROXY protocol section 2.2: the binary header.
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// An SSL 2 CLIENT-HELLO of 70 bytes that offers TLS 1.0, which libwebrtc sends ahead of ICE to `ssltcp` candidates.
const SSLTCP_HELLO: &[u8] = &[0x80, 0x46, 0x01, 0x03, 0x01];
/// RFC 8446 section 5.1.
const TLS_HANDSHAKE: u8 = 22;
/// RFC 8446 section 4.
const TLS_CLIENT_HELLO: u8 = 1;
/// STUN message type.
const BINDING_REQUEST: u16 = 0x0001;

/// The protocol of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sniffed {
    /// Too few bytes to tell.
    NeedMore,
    /// A method of HTTP/1, which all begin with a capital letter, or one empty line and a method.
    Http1,
    /// The preface of HTTP/2 with prior knowledge.
    Http2,
    /// A TLS ClientHello.
    Tls,
    /// An RFC 4571 frame with a STUN Binding request, with which every ICE-TCP client begins.
    IceTcp,
    /// The fake SSL handshake of libwebrtc's `ssltcp`.
    SslTcp,
    /// A PROXY protocol header, version 1.
    ProxyV1,
    /// A PROXY protocol header, version 2.
    ProxyV2,
    /// Nothing that is served here. Unframed STUN (TURN over TCP) is among it.
    Unknown,
}

/// Tells the protocol from the bytes that have come so far, from the connection's first byte on.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Sniffed {
    let Some(first) = bytes.first() else {
        return Sniffed::NeedMore;
    };
    match first {
        b'P' if bytes.starts_with(PROXY_V1) => Sniffed::ProxyV1,
        b'P' if bytes.starts_with(HTTP2_PREFACE) => Sniffed::Http2,
        b'P' if PROXY_V1.starts_with(bytes) || HTTP2_PREFACE.starts_with(bytes) => Sniffed::NeedMore,
        b'A'..=b'Z' => Sniffed::Http1,
        // One empty line in front of a request is passed over (RFC 9112 section 2.2).
        0x0D if matches!(bytes, [b'\r', b'\n', b'A'..=b'Z', ..]) => Sniffed::Http1,
        0x0D => verdict(begins_with(bytes, PROXY_V2), Sniffed::ProxyV2),
        0x80 => verdict(begins_with(bytes, SSLTCP_HELLO), Sniffed::SslTcp),
        &TLS_HANDSHAKE => verdict(is_tls(Reader::new(bytes)), Sniffed::Tls),
        // A frame of up to FIRST_FRAME_LIMIT bytes: no other protocol here begins with such a byte.
        0..=4 => verdict(is_ice_tcp(Reader::new(bytes)), Sniffed::IceTcp),
        _ => Sniffed::Unknown,
    }
}

/// `None` stands for too few bytes.
const fn verdict(fits: Option<bool>, answer: Sniffed) -> Sniffed {
    match fits {
        None => Sniffed::NeedMore,
        Some(true) => answer,
        Some(false) => Sniffed::Unknown,
    }
}

fn begins_with(bytes: &[u8], literal: &[u8]) -> Option<bool> {
    if literal.len() > bytes.len() && literal.starts_with(bytes) {
        return None;
    }
    Some(bytes.starts_with(literal))
}

/// A record of type handshake, any version from SSL 3.0 to TLS 1.3, that begins with a ClientHello.
fn is_tls(mut reader: Reader<'_>) -> Option<bool> {
    let [_handshake, major, minor] = reader.array()?;
    let _length = reader.u16()?;
    let [message] = reader.array()?;
    Some(major == 3 && minor <= 4 && message == TLS_CLIENT_HELLO)
}

/// The cookie sits at offset 6; unframed STUN has it at offset 4.
fn is_ice_tcp(mut reader: Reader<'_>) -> Option<bool> {
    let frame = reader.u16()?;
    let (kind, attributes, cookie) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let is_request = kind == BINDING_REQUEST && cookie == stun::MAGIC_COOKIE;
    let fills_frame = usize::from(attributes) + stun::HEADER_LEN == usize::from(frame);
    Some(is_request && fills_frame && frame <= FIRST_FRAME_LIMIT)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    const ICE_TCP: &[u8] = b"\x00\x6c\x00\x01\x00\x58\x21\x12\xa4\x42............";

    const KNOWN: &[(&[u8], Sniffed)] = &[
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Sniffed::Http1),
        (b"PUT /x HTTP/1.1\r\n", Sniffed::Http1),
        (b"PROPFIND /x HTTP/1.1\r\n", Sniffed::Http1),
        (b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n", Sniffed::Http1),
        (b"\r\nGET / HTTP/1.1\r\n", Sniffed::Http1),
        (HTTP2_PREFACE, Sniffed::Http2),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Sniffed::Tls),
        (ICE_TCP, Sniffed::IceTcp),
        (b"\x80\x46\x01\x03\x01\x00\x2d\x00\x00\x00\x10", Sniffed::SslTcp),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n",
            Sniffed::ProxyV1,
        ),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c", Sniffed::ProxyV2),
    ];

    /// Well-known beginnings, cut and damaged, and noise: what gets past the first byte in many ways.
    fn beginnings() -> impl Strategy<Value = Vec<u8>> {
        let damaged = (
            select(KNOWN),
            any::<Index>(),
            any::<u8>(),
            vec(any::<u8>(), 0..30),
        )
            .prop_map(|((bytes, _), at, byte, tail)| {
                let mut bytes = bytes.to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes.extend(tail);
                bytes
            });
        prop_oneof![3 => damaged, 1 => vec(any::<u8>(), 0..40)]
    }

    fn assert_steady(bytes: &[u8]) {
        let answer = sniff(bytes);
        for len in 0..bytes.len() {
            let early = sniff(&bytes[..len]);
            assert!(
                early == Sniffed::NeedMore || early == answer,
                "{early:?} after {len}, then {answer:?}"
            );
        }
        assert!(bytes.len() < ENOUGH || answer != Sniffed::NeedMore);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn segmentation_does_not_change_the_answer(bytes in beginnings()) {
            assert_steady(&bytes);
        }
    }

    #[test]
    fn known_beginnings() {
        for (bytes, expected) in KNOWN {
            assert_eq!(sniff(bytes), *expected, "{}", bytes.escape_ascii());
            assert_steady(bytes);
        }
    }

    #[test]
    fn nothing_is_decided_on_fewer_bytes_than_differ() {
        let cases: &[(&[u8], usize)] = &[
            (HTTP2_PREFACE, 24),
            (PROXY_V1, 6),
            (PROXY_V2, 12),
            (SSLTCP_HELLO, 5),
            (ICE_TCP, 10),
            (b"GET", 1),
        ];
        for (bytes, needed) in cases {
            assert_eq!(sniff(&bytes[..needed - 1]), Sniffed::NeedMore);
            assert_ne!(sniff(&bytes[..*needed]), Sniffed::NeedMore);
        }
    }

    #[test]
    fn a_damaged_ice_beginning_is_unknown() {
        for at in 0..10 {
            let mut bytes = ICE_TCP.to_vec();
            bytes[at] ^= 0x10;
            assert_eq!(sniff(&bytes), Sniffed::Unknown, "byte {at}");
        }
    }

    #[test]
    fn a_first_frame_over_the_limit_is_unknown() {
        let frame = |len: u16| {
            let mut bytes = ICE_TCP.to_vec();
            bytes[..2].copy_from_slice(&len.to_be_bytes());
            bytes[4..6].copy_from_slice(&(len - 20).to_be_bytes());
            bytes
        };
        assert_eq!(sniff(&frame(FIRST_FRAME_LIMIT)), Sniffed::IceTcp);
        assert_eq!(sniff(&frame(FIRST_FRAME_LIMIT + 4)), Sniffed::Unknown);
    }

    #[test]
    fn other_protocols_are_unknown() {
        let others: [&[u8]; 8] = [
            b"\x00\x01\x00\x58\x21\x12\xa4\x42............", // STUN without a frame
            b"\x00\x16\x01\x01\x00\x02\x21\x12\xa4\x42......", // a response
            b"\x16\x03\x01\x00\x20\x02\x00\x00\x1c\x03",     // a ServerHello
            b"\x16\xfe\xfd\x00\x00\x01\x00\x00\x00\x00",     // DTLS without a frame
            b"\x16\x02\x01\x00\x20\x01\x00\x00\x1c\x03",     // a version that never was
            b"\r\n\r\nG",                                    // enough to rule PROXY out
            b"\x80\x2e",
            b"ssh-2.0",
        ];
        for bytes in others {
            assert_eq!(sniff(bytes), Sniffed::Unknown, "{}", bytes.escape_ascii());
        }
    }
}
