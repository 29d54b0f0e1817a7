//! The node's memory of minted tokens: bounded, shared by every connection, and forgetful of the least used.

use std::sync::{Mutex, PoisonError};

use crate::ice::RouteId;
use crate::signaling::Memory;

use super::generations::Generations;

/// Entries kept unless told otherwise: about 30 MB when full of the longest tokens.
const DEFAULT_BOUND: usize = 65_536;

type Key = (RouteId, String);

/// Tokens by route and server ufrag.
pub struct TokenMemory {
    entries: Mutex<Generations<Key, Entry>>,
}

#[derive(Clone)]
struct Entry {
    pwd: String,
    token: String,
}

impl std::fmt::Debug for TokenMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenMemory").finish_non_exhaustive()
    }
}

impl Default for TokenMemory {
    fn default() -> Self {
        Self::new(DEFAULT_BOUND)
    }
}

impl TokenMemory {
    /// A memory that holds at most `bound` entries (2 at least).
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            entries: Mutex::new(Generations::new(bound)),
        }
    }

    fn entry(&self, route: RouteId, ufrag: &str) -> Option<Entry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(&(route, ufrag.to_owned()))
    }
}

/// Locked for one lookup at a time, not for a whole rewrite.
impl Memory for &TokenMemory {
    fn token(&mut self, route: RouteId, ufrag: &str, pwd: &str) -> Option<String> {
        let entry = self.entry(route, ufrag)?;
        (entry.pwd == pwd).then_some(entry.token)
    }

    fn token_of(&mut self, route: RouteId, ufrag: &str) -> Option<String> {
        self.entry(route, ufrag).map(|entry| entry.token)
    }

    fn remember(&mut self, route: RouteId, ufrag: &str, pwd: &str, token: &str) {
        let entry = Entry {
            pwd: pwd.to_owned(),
            token: token.to_owned(),
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert((route, ufrag.to_owned()), entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: RouteId = RouteId(1);

    #[test]
    fn a_token_is_found_by_its_credentials_and_never_on_another_route() {
        let memory = TokenMemory::new(4);
        let mut memory = &memory;
        memory.remember(ROUTE, "u", "p", "t");
        assert_eq!(memory.token(ROUTE, "u", "p").as_deref(), Some("t"));
        assert_eq!(memory.token_of(ROUTE, "u").as_deref(), Some("t"));
        assert_eq!(memory.token(ROUTE, "u", "other"), None);
        assert_eq!(memory.token(RouteId(2), "u", "p"), None);
        memory.remember(ROUTE, "u", "p2", "t2");
        assert_eq!(memory.token(ROUTE, "u", "p2").as_deref(), Some("t2"));
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_used() {
        let memory = TokenMemory::new(8);
        let mut memory = &memory;
        memory.remember(ROUTE, "kept", "p", "t");
        for n in 0..1000 {
            memory.remember(ROUTE, &format!("u{n}"), "p", "t");
            assert!(memory.token_of(ROUTE, "kept").is_some(), "after {n}");
            assert!(memory.entries.lock().unwrap().len() <= 8);
        }
        assert_eq!(memory.token_of(ROUTE, "u0"), None);
        assert!(memory.token_of(ROUTE, "u999").is_some());
    }
}
