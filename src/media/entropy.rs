//! Unpredictable numbers for a shard: the kernel's, fetched a page at a time.
//!
//! Transaction ids and tie-breakers must not be guessable (RFC 8489 section 5), so no seeded generator will do;
//! one system call for 512 numbers makes the kernel's cheap enough.

use std::io;

const PAGE: usize = 4096;
const NUMBER: usize = size_of::<u64>();

/// A buffer of random bytes, each handed out once.
pub(super) struct Entropy {
    page: Box<[u8; PAGE]>,
    used: usize,
}

impl Entropy {
    /// A first page; fails where the kernel has no random numbers to give.
    pub(super) fn new() -> io::Result<Self> {
        let mut page = Box::new([0; PAGE]);
        getrandom::fill(page.as_mut_slice()).map_err(io::Error::other)?;
        Ok(Self { page, used: 0 })
    }

    /// 64 random bits.
    pub(super) fn next(&mut self) -> u64 {
        if self.used == PAGE {
            getrandom::fill(self.page.as_mut_slice())
                .expect("the kernel's generator never fails once it has been seeded");
            self.used = 0;
        }
        let number = &self.page[self.used..self.used + NUMBER];
        self.used += NUMBER;
        u64::from_ne_bytes(number.try_into().expect("a slice of NUMBER bytes"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_comes_twice_across_pages() {
        let mut entropy = Entropy::new().unwrap();
        let count = 3 * PAGE / NUMBER;
        let seen: HashSet<u64> = (0..count).map(|_| entropy.next()).collect();
        assert_eq!(seen.len(), count);
    }
}
