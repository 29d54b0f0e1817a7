//! MESSAGE-INTEGRITY (RFC 8489 section 14.5) with short-term credentials: HMAC-SHA1 keyed with an ICE password.
//!
//! SHA-1 is what every ICE agent speaks; HMAC does not need its collision resistance. MESSAGE-INTEGRITY-SHA256 is not
//! implemented: no WebRTC client sends it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::{ATTRIBUTE_HEADER_LEN, HEADER_LEN};

/// The length of the attribute's value.
pub(super) const TAG_LEN: usize = 20;

/// The keyed state of a password: what HMAC would otherwise compute anew for every message.
#[derive(Clone)]
pub struct IntegrityKey(Hmac<Sha1>);

impl std::fmt::Debug for IntegrityKey {
    /// Shows nothing of the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IntegrityKey(..)")
    }
}

impl IntegrityKey {
    /// The key of an `a=ice-pwd`. ICE passwords are ASCII (RFC 8839 section 5.4), which SASLprep leaves as it is.
    #[must_use]
    pub fn new(password: &str) -> Self {
        Self(Hmac::new_from_slice(password.as_bytes()).expect("HMAC takes keys of any length"))
    }

    /// The tag of a message of which `covered` are the bytes before the attribute. `None` if they are no header
    /// and attributes of a message that has room for the attribute.
    pub(super) fn tag(&self, covered: &[u8]) -> Option<[u8; TAG_LEN]> {
        Some(self.mac(covered)?.finalize().into_bytes().into())
    }

    /// Whether the tag fits, in constant time.
    pub(super) fn verify(&self, covered: &[u8], tag: &[u8]) -> bool {
        self.mac(covered).is_some_and(|mac| mac.verify_slice(tag).is_ok())
    }

    /// The length field counts up to the attribute's end, whatever follows it in the message.
    fn mac(&self, covered: &[u8]) -> Option<Hmac<Sha1>> {
        let attributes = covered.len().checked_sub(HEADER_LEN)?;
        let length = u16::try_from(attributes + ATTRIBUTE_HEADER_LEN + TAG_LEN).ok()?;
        let (kind, after_kind) = covered.split_first_chunk::<2>()?;
        let (_length, rest) = after_kind.split_first_chunk::<2>()?;
        let mut mac = self.0.clone();
        mac.update(kind);
        mac.update(&length.to_be_bytes());
        mac.update(rest);
        Some(mac)
    }
}
