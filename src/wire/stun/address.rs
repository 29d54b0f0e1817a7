//! XOR-MAPPED-ADDRESS (RFC 8489 section 14.2): an address XORed with the cookie and the transaction id, so that
//! no middlebox rewrites it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::reader::Reader;
use super::{MAGIC_COOKIE, TransactionId};

const FAMILY_V4: u8 = 1;
const FAMILY_V6: u8 = 2;

/// The longest value: reserved byte, family, port, IPv6 address.
const MAX_LEN: usize = 20;

/// An encoded value.
pub(super) struct Encoded {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl Encoded {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Encodes an address. IPv4-mapped IPv6 addresses, as a dual-stack socket reports them, become IPv4.
pub(super) fn encode(address: SocketAddr, transaction: TransactionId) -> Encoded {
    let mut encoded = Encoded {
        bytes: [0; MAX_LEN],
        len: 0,
    };
    let [b0, b1, ..] = MAGIC_COOKIE.to_be_bytes();
    let [p0, p1] = address.port().to_be_bytes();
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            encoded.push(&[0, FAMILY_V4, p0 ^ b0, p1 ^ b1]);
            encoded.push(&(u32::from(ip) ^ MAGIC_COOKIE).to_be_bytes());
        }
        IpAddr::V6(ip) => {
            encoded.push(&[0, FAMILY_V6, p0 ^ b0, p1 ^ b1]);
            encoded.push(&(u128::from(ip) ^ pad(transaction)).to_be_bytes());
        }
    }
    encoded
}

impl Encoded {
    fn push(&mut self, part: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + part.len()) {
            room.copy_from_slice(part);
            self.len += part.len();
        }
    }
}

/// Decodes a value whose length fits its family exactly.
pub(super) fn decode(value: &[u8], transaction: TransactionId) -> Option<SocketAddr> {
    let mut reader = Reader::new(value);
    let [_reserved, family] = reader.array()?;
    let port = reader.u16()? ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match family {
        FAMILY_V4 => IpAddr::V4(Ipv4Addr::from(reader.u32()? ^ MAGIC_COOKIE)),
        FAMILY_V6 => IpAddr::V6(Ipv6Addr::from(
            u128::from_be_bytes(reader.array()?) ^ pad(transaction),
        )),
        _ => return None,
    };
    (reader.remaining() == 0).then_some(SocketAddr::new(ip, port))
}

/// The cookie followed by the transaction id.
fn pad(TransactionId(id): TransactionId) -> u128 {
    id.iter()
        .fold(u128::from(MAGIC_COOKIE), |pad, byte| pad << 8 | u128::from(*byte))
}
