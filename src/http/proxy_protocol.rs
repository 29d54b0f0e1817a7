//! The PROXY protocol's header, versions 1 and 2 (haproxy's `proxy-protocol.txt`): what a load balancer in front of us
//! says about its client.
//!
//! Pure: who may be believed is the caller's business. The checksum of version 2 is not looked at; TCP has its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is taken, of either version.
pub(super) const MAX_HEADER: usize = 4096;
/// Section 2.1: "a 108-byte buffer is always enough", the null byte included.
const MAX_V1: usize = 107;
const V1_PREFIX: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Section 2.2: signature, version and command, family and transport, length.
const V2_FIXED: usize = 16;
/// `PP2_TYPE_SSL`, and its first byte's bit for a client that speaks TLS.
const TLV_SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

/// What a header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Via {
    /// The client's end and the end that it reached; `None`: the connection is the proxy's own, or of no family
    /// known here.
    pub(super) ends: Option<Ends>,
    /// The proxy's client speaks TLS.
    pub(super) secure: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

/// The bytes that begin a connection, as far as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    NeedMore,
    /// A header of `len` bytes.
    Header {
        via: Via,
        len: usize,
    },
}

/// No PROXY header, or one that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no valid PROXY protocol header")]
pub(super) struct Malformed;

/// Reads the header that `bytes` begin with.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if bytes.starts_with(V1_PREFIX) {
        v1(bytes)
    } else if bytes.starts_with(V2_SIGNATURE) {
        v2(bytes)
    } else if V1_PREFIX.starts_with(bytes) || V2_SIGNATURE.starts_with(bytes) {
        Ok(Parsed::NeedMore)
    } else {
        Err(Malformed)
    }
}

fn v1(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let seen = bytes.get(..MAX_V1).unwrap_or(bytes);
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MAX_V1 {
            Ok(Parsed::NeedMore)
        } else {
            Err(Malformed)
        };
    };
    let line = std::str::from_utf8(&seen[V1_PREFIX.len()..end]).map_err(|_| Malformed)?;
    let via = Via {
        ends: v1_ends(line)?,
        secure: false,
    };
    Ok(Parsed::Header { via, len: end + 2 })
}

fn v1_ends(line: &str) -> Result<Option<Ends>, Malformed> {
    let words: Vec<&str> = line.split(' ').collect();
    if words.first() == Some(&"UNKNOWN") {
        return Ok(None);
    }
    let &[family, source, destination, source_port, destination_port] = words.as_slice() else {
        return Err(Malformed);
    };
    let ip = |text: &str| -> Result<IpAddr, Malformed> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::from),
            "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::from),
            _ => return Err(Malformed),
        }
        .map_err(|_| Malformed)
    };
    Ok(Some(Ends {
        source: SocketAddr::new(ip(source)?, v1_port(source_port)?),
        destination: SocketAddr::new(ip(destination)?, v1_port(destination_port)?),
    }))
}

/// Section 2.1: decimal, without leading zeros.
fn v1_port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain {
        text.parse().map_err(|_| Malformed)
    } else {
        Err(Malformed)
    }
}

/// ```text
///  12 signature | 4 version 4 command | 4 family 4 transport | 16 length | addresses | TLVs
/// ```
fn v2(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some(&[version_command, family, high, low]) = bytes
        .get(V2_SIGNATURE.len()..V2_FIXED)
        .and_then(|fixed| fixed.first_chunk())
    else {
        return Ok(Parsed::NeedMore);
    };
    let len = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_HEADER {
        return Err(Malformed);
    }
    let local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed),
    };
    let Some(payload) = bytes.get(V2_FIXED..len) else {
        return Ok(Parsed::NeedMore);
    };
    if local {
        // A health check of the proxy's: section 2.2 says to ignore whatever follows.
        let via = Via::default();
        return Ok(Parsed::Header { via, len });
    }
    let (ends, tlvs) = v2_ends(family, payload)?;
    let secure = is_secure(tlvs)?;
    let via = Via { ends, secure };
    Ok(Parsed::Header { via, len })
}

fn v2_ends(family: u8, payload: &[u8]) -> Result<(Option<Ends>, &[u8]), Malformed> {
    match family {
        // Unspecified: the lengths of its addresses are unknown, so nothing behind them can be found.
        0x00 => Ok((None, &[])),
        // TCP over IPv4.
        0x11 => v2_pair::<4>(payload),
        // TCP over IPv6.
        0x21 => v2_pair::<16>(payload),
        // Two UNIX socket paths.
        0x31 => payload.get(216..).map(|tlvs| (None, tlvs)).ok_or(Malformed),
        // Datagrams do not come through TCP.
        _ => Err(Malformed),
    }
}

fn v2_pair<const N: usize>(payload: &[u8]) -> Result<(Option<Ends>, &[u8]), Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = payload.split_first_chunk::<N>().ok_or(Malformed)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(Malformed)?;
    let (source_port, rest) = rest.split_first_chunk().ok_or(Malformed)?;
    let (destination_port, tlvs) = rest.split_first_chunk().ok_or(Malformed)?;
    let addr = |ip: &[u8; N], port: &[u8; 2]| SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(*port));
    let ends = Ends {
        source: addr(source, source_port),
        destination: addr(destination, destination_port),
    };
    Ok((Some(ends), tlvs))
}

fn is_secure(mut tlvs: &[u8]) -> Result<bool, Malformed> {
    let mut secure = false;
    while let [kind, high, low, rest @ ..] = tlvs {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, behind) = rest.split_at_checked(len).ok_or(Malformed)?;
        secure |= *kind == TLV_SSL && value.first().is_some_and(|client| client & CLIENT_SSL != 0);
        tlvs = behind;
    }
    // One or two bytes are no TLV.
    if tlvs.is_empty() {
        Ok(secure)
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n";
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x13\x88\x01\xbb";

    #[test]
    fn a_header_is_read_once_it_is_whole_and_what_follows_is_left() {
        let ends = Some(Ends {
            source: "192.0.2.7:5000".parse().unwrap(),
            destination: "192.0.2.1:443".parse().unwrap(),
        });
        for header in [V1, V2] {
            for len in 0..header.len() {
                assert_eq!(parse(&header[..len]), Ok(Parsed::NeedMore), "{len}");
            }
            let via = Via { ends, secure: false };
            let len = header.len();
            assert_eq!(parse(header), Ok(Parsed::Header { via, len }));
            assert_eq!(parse(&[header, b"GET"].concat()), Ok(Parsed::Header { via, len }));
        }
    }

    proptest! {
        /// Whatever comes: no panic, an answer that more bytes do not change, and one within the limit.
        #[test]
        fn answers_are_final(
            start in prop_oneof![Just(&V1[..11]), Just(&V2[..12]), Just(&V2[..16]), Just(&b""[..])],
            noise in vec(any::<u8>(), 0..300),
        ) {
            let bytes = [start, &noise].concat();
            let mut answer = Ok(Parsed::NeedMore);
            for len in 0..=bytes.len() {
                let now = parse(&bytes[..len]);
                prop_assert!(answer == Ok(Parsed::NeedMore) || now == answer);
                answer = now;
            }
        }

        #[test]
        fn no_header_is_waited_for_beyond_the_limit(start in 0..2_usize, fill in any::<u8>(), len in any::<u16>()) {
            let start = [V1[..6].to_vec(), [&V2[..14], &len.to_be_bytes()].concat()][start].clone();
            let bytes = [start, vec![fill; MAX_HEADER]].concat();
            prop_assert_ne!(parse(&bytes), Ok(Parsed::NeedMore));
        }
    }
}
