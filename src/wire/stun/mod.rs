//! STUN messages as ICE uses them (RFC 8489, RFC 8445 section 16.1): a borrowed view to read one, a writer into the
//! caller's buffer, and the integrity check.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---+---------------------------+-------------------------------+
//! |0 0|  type: method and class   |   length without this header  |
//! +---+---------------------------+-------------------------------+
//! |                  magic cookie 0x2112A442                      |
//! +---------------------------------------------------------------+
//! |                  transaction id (96 bits)                     |
//! +-------------------------------+-------------------------------+
//! |        attribute type         |         value length          |  repeated; each value
//! +-------------------------------+-------------------------------+  padded to 4 bytes
//! |                           value ...                           |
//! ```
//!
//! Neither reading nor writing allocates. Not a STUN client or server: no retransmission, no long-term credentials,
//! no TURN; RFC 3489 messages without the cookie are refused.

mod address;
#[cfg(test)]
mod differential_tests;
mod integrity;
mod message;
#[cfg(test)]
mod tests;
mod writer;
#[cfg(test)]
mod writer_tests;

pub use integrity::IntegrityKey;
pub use message::{Authenticated, Message};
pub use writer::Writer;

/// Bytes before the first attribute (RFC 8489 section 5).
pub const HEADER_LEN: usize = 20;
/// The fixed value at offset 4 (RFC 8489 section 5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

const METHOD_BINDING: u16 = 1;
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// What a USERNAME may measure at most: RFC 5389 section 15.3 says fewer than 513, libwebrtc and this reader accept it.
const MAX_USERNAME_LEN: usize = 513;
/// What the CRC-32 is XORed with (RFC 8489 section 14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// Attribute types (RFC 8489 section 18.3, RFC 8445 section 16.1).
mod attr {
    pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    pub(super) const REALM: u16 = 0x0014;
    pub(super) const NONCE: u16 = 0x0015;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802A;
    /// From here on a receiver may ignore what it does not know.
    pub(super) const FIRST_OPTIONAL: u16 = 0x8000;
}

/// What makes a response answer a request (RFC 8489 section 5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TransactionId(pub [u8; 12]);

/// The class of a message (RFC 8489 section 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// Answers a request that was carried out.
    Success,
    /// Answers a request that was not.
    Error,
}

impl Class {
    const MASK: u16 = 0x0110;

    const fn bits(self) -> u16 {
        match self {
            Self::Request => 0x0000,
            Self::Indication => 0x0010,
            Self::Success => 0x0100,
            Self::Error => 0x0110,
        }
    }

    const fn of(kind: u16) -> Self {
        match kind & Self::MASK {
            0x0000 => Self::Request,
            0x0010 => Self::Indication,
            0x0100 => Self::Success,
            _ => Self::Error,
        }
    }
}

/// The sender's ICE role and tie-breaker (RFC 8445 section 7.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// ICE-CONTROLLING.
    Controlling(u64),
    /// ICE-CONTROLLED.
    Controlled(u64),
}

/// Whether a message's CRC fits (RFC 8489 section 14.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fingerprint {
    /// There is no FINGERPRINT: legal, and usual in Firefox's error responses.
    Absent,
    /// It fits.
    Valid,
    /// It does not fit, or is not the last attribute.
    Invalid,
}

/// Why a message cannot be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StunError {
    /// Fewer bytes than a header.
    #[error("shorter than a STUN header")]
    TooShort,
    /// The two leading bits are not zero.
    #[error("not a STUN message type")]
    MessageType,
    /// The magic cookie is missing: another protocol, or RFC 3489.
    #[error("no magic cookie")]
    Cookie,
    /// The length field is not the length of the packet, or no multiple of 4.
    #[error("the length field does not fit the packet")]
    Length,
    /// An attribute reaches past the end of the message.
    #[error("an attribute reaches past the end")]
    Attribute,
    /// The writer's buffer, or the 16-bit length, has no room for the message.
    #[error("no room for the message")]
    NoRoom,
    /// The writer was given a value that its attribute cannot hold.
    #[error("a value that its attribute cannot hold")]
    Value,
}
