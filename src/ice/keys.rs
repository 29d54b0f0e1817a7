//! The daemon's keys: what seals tokens and derives credentials.
//!
//! A key is 32 secret bytes. Everything else is derived from it by HMAC-SHA-256 with a label, so that no two uses
//! share key material. A ring holds the current key and those that still open tokens (rotation, fleets).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// One secret.
#[derive(Clone)]
pub(super) struct Key {
    /// Leads every token, so that a ring finds its key without trying each. Derived from the secret.
    pub(super) id: u8,
    secret: [u8; 32],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Key {
    fn new(secret: [u8; 32]) -> Self {
        let mut key = Self { id: 0, secret };
        key.id = key.prf("key id", &[])[0];
        key
    }

    /// HMAC-SHA-256 over the label and the length-prefixed parts, so that no two inputs run together.
    pub(super) fn prf(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        mac.update(label.as_bytes());
        for part in parts {
            mac.update(&(part.len() as u32).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// The current key and the previous ones that still open tokens.
#[derive(Clone, Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
}

impl KeyRing {
    /// A ring that seals with `current` and opens with all.
    #[must_use]
    pub fn new(current: [u8; 32], previous: &[[u8; 32]]) -> Self {
        let keys = std::iter::once(current)
            .chain(previous.iter().copied())
            .map(Key::new)
            .collect();
        Self { keys }
    }

    /// A name that tells nothing of what it names and that nobody else can make: for cookies.
    #[must_use]
    pub fn opaque_name(&self, parts: &[&[u8]]) -> u64 {
        let prf = self.current().prf("opaque name", parts);
        let mut first = [0; 8];
        first.copy_from_slice(&prf[..8]);
        u64::from_be_bytes(first)
    }

    pub(super) fn current(&self) -> &Key {
        &self.keys[0]
    }

    /// Every key, the current one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// The keys that may have sealed a token that starts with this id (two may share one, rarely).
    pub(super) fn with_id(&self, id: u8) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.id == id)
    }
}
