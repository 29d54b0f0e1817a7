//! What a daemon leaves for its successor: bytes under a MAC whose key comes from the daemon's own.
//!
//! A client's address is bound to a call by an integrity check. One that was bound before a restart is bound again
//! on the word of the daemon that saw the check, and [`Attested`] is the proof of that word: nothing but a MAC that
//! verifies makes one.

use subtle::ConstantTimeEq as _;

use super::keys::{Key, KeyRing};

/// Length of the MAC, at the end.
const MAC_LEN: usize = 32;

/// Bytes that a holder of the key has written.
#[derive(Clone, Copy, Debug)]
pub struct Attested<'a>(&'a [u8]);

impl<'a> Attested<'a> {
    /// The bytes, without the MAC.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl KeyRing {
    /// Appends the MAC under the current key.
    pub fn attest(&self, statement: &mut Vec<u8>) {
        let mac = mac(self.current(), statement);
        statement.extend_from_slice(&mac);
    }

    /// Takes the MAC off, if a key of this ring made it.
    #[must_use]
    pub fn attested<'a>(&self, bytes: &'a [u8]) -> Option<Attested<'a>> {
        let (statement, told) = bytes.split_last_chunk::<MAC_LEN>()?;
        self.all()
            .any(|key| mac(key, statement).ct_eq(told).into())
            .then_some(Attested(statement))
    }
}

fn mac(key: &Key, statement: &[u8]) -> [u8; MAC_LEN] {
    key.prf("snapshot", &[statement])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_key_of_the_ring_has_signed_is_attested() {
        let (old, new) = (KeyRing::new([1; 32], &[]), KeyRing::new([2; 32], &[[1; 32]]));
        let mut signed = b"statement".to_vec();
        old.attest(&mut signed);
        assert_eq!(old.attested(&signed).unwrap().bytes(), b"statement");
        assert!(new.attested(&signed).is_some(), "the previous key still counts");
        assert!(KeyRing::new([2; 32], &[]).attested(&signed).is_none());
        for at in 0..signed.len() {
            let mut flipped = signed.clone();
            flipped[at] ^= 0x10;
            assert!(old.attested(&flipped).is_none(), "byte {at}");
            assert!(old.attested(&signed[..at]).is_none(), "{at} bytes");
        }
    }
}
