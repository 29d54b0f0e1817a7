//! Writing: Binding messages into a buffer of the caller's.
//!
//! Attributes appear in the order of the calls. What does not fit is remembered and reported at the end, so that the
//! calls need no error handling of their own; a message that failed is never sent by mistake, for no length comes out.

use std::net::SocketAddr;

use super::{
    ATTRIBUTE_HEADER_LEN, Class, FINGERPRINT_XOR, HEADER_LEN, IntegrityKey, MAGIC_COOKIE, MAX_USERNAME_LEN,
    METHOD_BINDING, Role, StunError, TransactionId, address, attr,
};

/// The longest reason phrase, in bytes (RFC 8489 section 14.8).
const MAX_REASON_LEN: usize = 763;

/// A Binding message in the making.
#[derive(Debug)]
pub struct Writer<'b> {
    buf: &'b mut [u8],
    len: usize,
    transaction: TransactionId,
    failure: Option<StunError>,
}

impl<'b> Writer<'b> {
    /// Starts a message at the start of the buffer. 128 bytes hold any response of ours, 640 any request.
    pub fn new(buf: &'b mut [u8], class: Class, transaction: TransactionId) -> Self {
        let mut writer = Self {
            buf,
            len: 0,
            transaction,
            failure: None,
        };
        writer.append(&(METHOD_BINDING | class.bits()).to_be_bytes());
        writer.append(&[0, 0]);
        writer.append(&MAGIC_COOKIE.to_be_bytes());
        writer.append(&transaction.0);
        writer
    }

    /// USERNAME, at most 513 bytes.
    pub fn username(&mut self, username: &str) -> &mut Self {
        if username.len() > MAX_USERNAME_LEN {
            self.fail(StunError::Value);
        }
        self.attribute(attr::USERNAME, &[username.as_bytes()])
    }

    /// PRIORITY.
    pub fn priority(&mut self, priority: u32) -> &mut Self {
        self.attribute(attr::PRIORITY, &[&priority.to_be_bytes()])
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn role(&mut self, role: Role) -> &mut Self {
        let (kind, tie_breaker) = match role {
            Role::Controlling(tie_breaker) => (attr::ICE_CONTROLLING, tie_breaker),
            Role::Controlled(tie_breaker) => (attr::ICE_CONTROLLED, tie_breaker),
        };
        self.attribute(kind, &[&tie_breaker.to_be_bytes()])
    }

    /// USE-CANDIDATE.
    pub fn use_candidate(&mut self) -> &mut Self {
        self.attribute(attr::USE_CANDIDATE, &[])
    }

    /// XOR-MAPPED-ADDRESS. An IPv4-mapped IPv6 address is written as IPv4.
    pub fn xor_mapped_address(&mut self, address: SocketAddr) -> &mut Self {
        let value = address::encode(address, self.transaction);
        self.attribute(attr::XOR_MAPPED_ADDRESS, &[value.as_slice()])
    }

    /// ERROR-CODE: 300 to 699, and a reason of at most 763 bytes.
    pub fn error_code(&mut self, code: u16, reason: &str) -> &mut Self {
        if !(300..=699).contains(&code) || reason.len() > MAX_REASON_LEN {
            self.fail(StunError::Value);
        }
        let head = [0, 0, (code / 100) as u8, (code % 100) as u8];
        self.attribute(attr::ERROR_CODE, &[&head, reason.as_bytes()])
    }

    /// Ends the message with MESSAGE-INTEGRITY and FINGERPRINT; its length in the buffer.
    ///
    /// # Errors
    /// If the message has no room or one of its values was out of bounds.
    pub fn finish(mut self, key: &IntegrityKey) -> Result<usize, StunError> {
        let tag = key.tag(self.written()).ok_or(StunError::NoRoom)?;
        self.attribute(attr::MESSAGE_INTEGRITY, &[&tag]);
        self.finish_plain()
    }

    /// Ends the message with FINGERPRINT alone; its length in the buffer.
    ///
    /// # Errors
    /// If the message has no room or one of its values was out of bounds.
    pub fn finish_plain(mut self) -> Result<usize, StunError> {
        // The CRC covers the length field, which counts the FINGERPRINT too.
        let attributes = (self.len + ATTRIBUTE_HEADER_LEN + size_of::<u32>()).saturating_sub(HEADER_LEN);
        match (u16::try_from(attributes), self.buf.get_mut(2..4)) {
            (Ok(length), Some(field)) => field.copy_from_slice(&length.to_be_bytes()),
            _ => self.fail(StunError::NoRoom),
        }
        let crc = crc32fast::hash(self.written()) ^ FINGERPRINT_XOR;
        self.attribute(attr::FINGERPRINT, &[&crc.to_be_bytes()]);
        match self.failure {
            None => Ok(self.len),
            Some(failure) => Err(failure),
        }
    }

    fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    fn attribute(&mut self, kind: u16, parts: &[&[u8]]) -> &mut Self {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        self.append(&kind.to_be_bytes());
        // A value too long for its length has failed above: no length of the message comes out.
        self.append(&(len as u16).to_be_bytes());
        for part in parts {
            self.append(part);
        }
        self.append([0; 3].get(..len.next_multiple_of(4) - len).unwrap_or_default());
        self
    }

    fn append(&mut self, bytes: &[u8]) {
        match self.buf.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.fail(StunError::NoRoom),
        }
    }

    fn fail(&mut self, failure: StunError) {
        self.failure.get_or_insert(failure);
    }
}
