//! A bounded table that forgets what is used the least.
//!
//! Two generations stand in for a list of uses: an entry that is used moves to the young one; when that holds half of
//! the bound, it becomes the old one and the former old one is forgotten. So the last `bound / 2` entries used are
//! always there, and each operation is a hash lookup or two.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// The table.
#[derive(Debug)]
pub(super) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Hash + Eq, V: Clone> Generations<K, V> {
    /// A table of at most `bound` entries (2 at least).
    pub(super) fn new(bound: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (bound / 2).max(1),
        }
    }

    /// The value of a key, which counts as a use.
    pub(super) fn get<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.age();
        }
        self.young.insert(key, value);
    }

    pub(super) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Forgets what was not used since the last time.
    pub(super) fn age(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_used() {
        let mut table = Generations::new(8);
        table.insert("kept".to_owned(), 0);
        for n in 0..1000 {
            table.insert(format!("{n}"), n);
            assert_eq!(table.get("kept"), Some(0), "after {n}");
            assert!(table.len() <= 8);
        }
        assert_eq!(table.get("0"), None);
        assert_eq!(table.get("999"), Some(999));
    }

    #[test]
    fn aging_twice_forgets_what_was_not_used_in_between() {
        let mut table = Generations::new(8);
        table.insert("used", 1);
        table.insert("unused", 2);
        table.age();
        assert_eq!(table.get("used"), Some(1));
        table.age();
        assert_eq!((table.get("used"), table.get("unused")), (Some(1), None));
        table.remove("used");
        assert_eq!(table.get("used"), None);
    }
}
