//! Reading: a view over a packet whose attributes were found in one pass.
//!
//! Values are looked at when asked for: a malformed value of an attribute that nobody reads harms nobody. An accessor
//! gives `None` for what is absent and for what is malformed alike.

use std::net::SocketAddr;
use std::ops::Deref;

use super::super::reader::Reader;
use super::{
    Class, FINGERPRINT_XOR, Fingerprint, HEADER_LEN, IntegrityKey, MAGIC_COOKIE, MAX_USERNAME_LEN,
    METHOD_BINDING, Role, StunError, TransactionId, address, attr,
};

/// A STUN message, borrowed from its packet. Well formed, but not authenticated.
///
/// Of an attribute that comes twice the first counts (RFC 8489 section 14), and what follows MESSAGE-INTEGRITY,
/// except FINGERPRINT, does not exist (section 14.5), nor does what follows FINGERPRINT.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    kind: u16,
    transaction: TransactionId,
    attributes: Attributes<'a>,
}

#[derive(Clone, Copy, Default)]
struct Attributes<'a> {
    username: Option<&'a [u8]>,
    priority: Option<&'a [u8]>,
    role: Option<(u16, &'a [u8])>,
    error_code: Option<&'a [u8]>,
    xor_mapped_address: Option<&'a [u8]>,
    integrity: Option<Check<'a>>,
    fingerprint: Option<Check<'a>>,
    use_candidate: bool,
    unknown_required: bool,
}

/// An attribute that vouches for the bytes before it.
#[derive(Clone, Copy)]
struct Check<'a> {
    covered: &'a [u8],
    value: &'a [u8],
    is_last: bool,
}

impl std::fmt::Debug for Message<'_> {
    /// Leaves out the attributes: they hold sealed state and addresses.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("class", &self.class())
            .field("method", &self.method())
            .field("transaction", &self.transaction)
            .finish_non_exhaustive()
    }
}

impl<'a> Message<'a> {
    /// Reads a packet that holds exactly one message.
    ///
    /// # Errors
    /// If the header is none, its length is not that of the packet, or an attribute reaches past the end.
    pub fn parse(packet: &'a [u8]) -> Result<Self, StunError> {
        let after_header = packet.len().checked_sub(HEADER_LEN).ok_or(StunError::TooShort)?;
        let mut reader = Reader::new(packet);
        let kind = reader.u16().ok_or(StunError::TooShort)?;
        if kind >> 14 != 0 {
            return Err(StunError::MessageType);
        }
        let length = reader.u16().ok_or(StunError::TooShort)?;
        if reader.u32() != Some(MAGIC_COOKIE) {
            return Err(StunError::Cookie);
        }
        if length % 4 != 0 || usize::from(length) != after_header {
            return Err(StunError::Length);
        }
        let transaction = TransactionId(reader.array().ok_or(StunError::TooShort)?);
        let attributes = Attributes::find(packet, reader)?;
        Ok(Self {
            bytes: packet,
            kind,
            transaction,
            attributes,
        })
    }

    /// Request, indication or response.
    #[must_use]
    pub const fn class(&self) -> Class {
        Class::of(self.kind)
    }

    /// Whether the method is Binding, the only one of ICE.
    #[must_use]
    pub const fn is_binding(&self) -> bool {
        self.method() == METHOD_BINDING
    }

    /// The method, without the class bits that lie between its own (RFC 8489 section 5).
    #[must_use]
    pub const fn method(&self) -> u16 {
        (self.kind & 0x3E00) >> 2 | (self.kind & 0x00E0) >> 1 | (self.kind & 0x000F)
    }

    /// The transaction id.
    #[must_use]
    pub const fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// The packet.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// USERNAME, if it is UTF-8 of at most 513 bytes.
    #[must_use]
    pub fn username(&self) -> Option<&'a str> {
        let value = self
            .attributes
            .username
            .filter(|value| value.len() <= MAX_USERNAME_LEN)?;
        std::str::from_utf8(value).ok()
    }

    /// The two halves of an ICE check's USERNAME: the receiver's ufrag and the sender's (RFC 8445 section 7.2.2).
    /// Split at the first colon, which no ufrag holds.
    #[must_use]
    pub fn username_parts(&self) -> Option<(&'a str, &'a str)> {
        self.username()?.split_once(':')
    }

    /// PRIORITY.
    #[must_use]
    pub fn priority(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.attributes.priority?.try_into().ok()?))
    }

    /// Whether USE-CANDIDATE is there.
    #[must_use]
    pub const fn use_candidate(&self) -> bool {
        self.attributes.use_candidate
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED; of a message that has both, the first.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        let (kind, value) = self.attributes.role?;
        let tie_breaker = u64::from_be_bytes(value.try_into().ok()?);
        Some(match kind {
            attr::ICE_CONTROLLING => Role::Controlling(tie_breaker),
            _ => Role::Controlled(tie_breaker),
        })
    }

    /// The number of ERROR-CODE, 300 to 699 (RFC 8489 section 14.8).
    #[must_use]
    pub fn error_code(&self) -> Option<u16> {
        let [_, _, class, number] = Reader::new(self.attributes.error_code?).array()?;
        let (class, number) = (u16::from(class & 0x07), u16::from(number));
        ((3..=6).contains(&class) && number < 100).then_some(class * 100 + number)
    }

    /// XOR-MAPPED-ADDRESS.
    #[must_use]
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        address::decode(self.attributes.xor_mapped_address?, self.transaction)
    }

    /// Whether FINGERPRINT fits. Costs a CRC over the packet.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let Some(check) = self.attributes.fingerprint else {
            return Fingerprint::Absent;
        };
        let expected = crc32fast::hash(check.covered) ^ FINGERPRINT_XOR;
        if check.is_last && check.value == expected.to_be_bytes() {
            Fingerprint::Valid
        } else {
            Fingerprint::Invalid
        }
    }

    /// Whether there is a comprehension-required attribute that this reader does not know: a request must then be
    /// refused and a response ignored (RFC 8489 section 6.3).
    #[must_use]
    pub const fn unknown_required(&self) -> bool {
        self.attributes.unknown_required
    }

    /// Verifies MESSAGE-INTEGRITY in constant time. `None` if it is absent or wrong.
    #[must_use]
    pub fn authenticate(&self, key: &IntegrityKey) -> Option<Authenticated<'a>> {
        let check = self.attributes.integrity?;
        key.verify(check.covered, check.value)
            .then_some(Authenticated(*self))
    }
}

impl<'a> Attributes<'a> {
    fn find(packet: &'a [u8], mut rest: Reader<'a>) -> Result<Self, StunError> {
        let mut found = Self::default();
        while rest.remaining() > 0 {
            let covered = packet.len() - rest.remaining();
            let (kind, value) = next_attribute(&mut rest).ok_or(StunError::Attribute)?;
            let check = Check {
                covered: packet.get(..covered).ok_or(StunError::Attribute)?,
                value,
                is_last: rest.remaining() == 0,
            };
            found.keep(kind, check);
        }
        Ok(found)
    }

    fn keep(&mut self, kind: u16, check: Check<'a>) {
        if self.fingerprint.is_some() || (self.integrity.is_some() && kind != attr::FINGERPRINT) {
            return;
        }
        let value = check.value;
        match kind {
            attr::USERNAME => keep_first(&mut self.username, value),
            attr::PRIORITY => keep_first(&mut self.priority, value),
            attr::ICE_CONTROLLING | attr::ICE_CONTROLLED => keep_first(&mut self.role, (kind, value)),
            attr::ERROR_CODE => keep_first(&mut self.error_code, value),
            attr::XOR_MAPPED_ADDRESS => keep_first(&mut self.xor_mapped_address, value),
            attr::USE_CANDIDATE => self.use_candidate = true,
            attr::MESSAGE_INTEGRITY => self.integrity = Some(check),
            attr::FINGERPRINT => self.fingerprint = Some(check),
            attr::MAPPED_ADDRESS | attr::UNKNOWN_ATTRIBUTES | attr::REALM | attr::NONCE => {}
            unknown => self.unknown_required |= unknown < attr::FIRST_OPTIONAL,
        }
    }
}

fn keep_first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

/// The next attribute's type and value; its padding must be there too, its contents do not matter.
fn next_attribute<'a>(rest: &mut Reader<'a>) -> Option<(u16, &'a [u8])> {
    let kind = rest.u16()?;
    let len = usize::from(rest.u16()?);
    let padded = rest.take(len.next_multiple_of(4))?;
    Some((kind, padded.get(..len)?))
}

/// A message whose sender knows the password: the only value by which an address may be bound to a call.
/// Only [`Message::authenticate`] makes one, and it cannot be copied.
#[derive(Debug)]
pub struct Authenticated<'a>(Message<'a>);

impl<'a> Deref for Authenticated<'a> {
    type Target = Message<'a>;

    fn deref(&self) -> &Message<'a> {
        &self.0
    }
}
