//! Which transaction ids a call has seen: a guard against a captured check that is replayed from another address.
//!
//! Two generations of a Bloom filter: fixed memory, no false negative for the last 400 to 800 ids (half an hour
//! of checks on one tuple), about one false positive in a hundred. A false positive costs a new tuple one check; a
//! tuple that is already bound is never asked. Ids are random (RFC 8489 section 6), so their own bits are the hash.

use crate::wire::stun::TransactionId;

const BITS: usize = 4_096;
const WORDS: usize = BITS / 64;
const PROBES: usize = 4;
/// Ids in one generation: keeps the rate of false positives of a full one near one in a hundred.
const CAPACITY: u32 = 400;

/// The filter.
#[derive(Debug)]
pub struct SeenTransactions {
    current: Box<[u64; WORDS]>,
    previous: Box<[u64; WORDS]>,
    entered: u32,
}

impl Default for SeenTransactions {
    fn default() -> Self {
        Self {
            current: Box::new([0; WORDS]),
            previous: Box::new([0; WORDS]),
            entered: 0,
        }
    }
}

impl SeenTransactions {
    /// Whether an id has been entered lately.
    #[must_use]
    pub fn contains(&self, id: TransactionId) -> bool {
        has(&self.current, id) || has(&self.previous, id)
    }

    /// Enters an id.
    pub fn enter(&mut self, id: TransactionId) {
        if has(&self.current, id) {
            return;
        }
        if self.entered == CAPACITY {
            std::mem::swap(&mut self.current, &mut self.previous);
            self.current.fill(0);
            self.entered = 0;
        }
        for bit in bits(id) {
            self.current[bit / 64] |= 1 << (bit % 64);
        }
        self.entered += 1;
    }
}

fn has(generation: &[u64; WORDS], id: TransactionId) -> bool {
    bits(id).all(|bit| generation[bit / 64] & (1 << (bit % 64)) != 0)
}

fn bits(id: TransactionId) -> impl Iterator<Item = usize> {
    (0..PROBES)
        .map(move |probe| usize::from(u16::from_be_bytes([id.0[2 * probe], id.0[2 * probe + 1]])) % BITS)
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    fn id(number: u32) -> TransactionId {
        let digest = sha2::Sha256::digest(number.to_be_bytes());
        let mut id = [0; 12];
        id.copy_from_slice(&digest[..12]);
        TransactionId(id)
    }

    #[test]
    fn the_last_generation_is_never_forgotten() {
        let mut seen = SeenTransactions::default();
        for number in 0..5_000 {
            seen.enter(id(number));
            let oldest = number.saturating_sub(CAPACITY - 1);
            assert!((oldest..=number).all(|number| seen.contains(id(number))));
        }
    }

    #[test]
    fn strangers_are_rarely_taken_for_acquaintances() {
        let mut seen = SeenTransactions::default();
        (0..2 * CAPACITY).for_each(|number| seen.enter(id(number)));
        let wrong = (1_000_000..1_010_000)
            .filter(|&number| seen.contains(id(number)))
            .count();
        assert!(wrong < 400, "{wrong} of 10000");
    }

    #[test]
    fn old_ids_make_room() {
        let mut seen = SeenTransactions::default();
        (0..10 * CAPACITY).for_each(|number| seen.enter(id(number)));
        let kept = (0..CAPACITY).filter(|&number| seen.contains(id(number))).count();
        assert!(kept < 40, "{kept} of {CAPACITY}");
    }
}
