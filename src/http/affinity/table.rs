//! The calls whose server is known, by route and path.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ice::RouteId;
use crate::upstream::ServerId;

use super::super::generations::Generations;

/// Calls noted unless told otherwise: some 20 MB when full.
const DEFAULT_BOUND: usize = 131_072;
/// A call that nobody asked about for this long, or twice as long, is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(12 * 3600);
/// Longer paths are not noted.
const MAX_PATH: usize = 1024;
/// Prefixes of a path that are looked up, the longest first.
const MAX_DEPTH: usize = 8;

/// Which server has which call. Bounded, and forgetful of the least used. An entry counts on its own route only.
pub struct Affinity(Mutex<Table>);

struct Table {
    entries: Generations<Key, ServerId>,
    aged_at: Option<Instant>,
}

/// A route and the path of a call on it.
type Key = (RouteId, String);

impl std::fmt::Debug for Affinity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Affinity").finish_non_exhaustive()
    }
}

impl Default for Affinity {
    fn default() -> Self {
        Self::new(DEFAULT_BOUND)
    }
}

impl Affinity {
    /// A table of at most `bound` calls.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self(Mutex::new(Table {
            entries: Generations::new(bound),
            aged_at: None,
        }))
    }

    /// The server of the call that a path belongs to: the path's own, or that of a path above it.
    pub(in super::super) fn server(&self, route: RouteId, path: &str, now: Instant) -> Option<ServerId> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.age(now);
        prefixes(path).find_map(|prefix| table.entries.get(&(route, prefix.to_owned())))
    }

    /// Notes a call; whether there was room for its path.
    pub(super) fn note(&self, route: RouteId, path: &str, server: ServerId, now: Instant) -> bool {
        let path = trimmed(path);
        if path.len() > MAX_PATH || path.is_empty() {
            return false;
        }
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.age(now);
        table.entries.insert((route, path.to_owned()), server);
        true
    }

    /// Forgets a call that has ended.
    pub(super) fn forget(&self, route: RouteId, path: &str) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.entries.remove(&(route, trimmed(path).to_owned()));
    }
}

impl Table {
    fn age(&mut self, now: Instant) {
        let since = *self.aged_at.get_or_insert(now);
        if now.saturating_duration_since(since) >= FORGET_AFTER {
            self.aged_at = Some(now);
            self.entries.age();
        }
    }
}

fn trimmed(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// A path and those above it, without the root, the longest first.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(non_root(path), |&path| non_root(above(path)))
        .take(MAX_DEPTH)
        .filter(|prefix| prefix.len() <= MAX_PATH)
}

fn above(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..slash])
}

fn non_root(path: &str) -> Option<&str> {
    Some(trimmed(path)).filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use crate::config::{Scheme, Server, UpstreamGroup};
    use crate::upstream::{Purpose, Upstreams};

    use super::*;

    const ROUTE: RouteId = RouteId(1);

    fn server() -> ServerId {
        let servers = vec![Server::new(Scheme::Http, "a", 80)];
        let upstreams = Upstreams::new(&[UpstreamGroup::new("g", servers)]).unwrap();
        upstreams.group(0).peers(Purpose::Request)[0].id()
    }

    #[test]
    fn what_lies_below_the_path_of_a_call_belongs_to_it() {
        let (table, now) = (Affinity::default(), Instant::now());
        assert!(table.note(ROUTE, "/janus/123/", server(), now));
        for path in ["/janus/123", "/janus/123/", "/janus/123/456", "/janus/123/4/5"] {
            assert_eq!(table.server(ROUTE, path, now), Some(server()), "{path}");
        }
        for path in ["/janus", "/janus/1234", "/janus/12", "/", "", "/123"] {
            assert_eq!(table.server(ROUTE, path, now), None, "{path}");
        }
        assert_eq!(table.server(RouteId(2), "/janus/123", now), None, "another route");
        table.forget(ROUTE, "/janus/123");
        assert_eq!(table.server(ROUTE, "/janus/123", now), None);
    }

    #[test]
    fn calls_that_nobody_asks_about_are_forgotten() {
        let (table, start) = (Affinity::default(), Instant::now());
        table.note(ROUTE, "/used", server(), start);
        table.note(ROUTE, "/left", server(), start);
        for round in 1..=3 {
            let now = start + FORGET_AFTER * round;
            assert_eq!(table.server(ROUTE, "/used", now), Some(server()), "{round}");
        }
        let end = start + FORGET_AFTER * 3;
        assert_eq!(table.server(ROUTE, "/left", end), None);
    }

    #[test]
    fn neither_the_root_nor_an_endless_path_is_a_call() {
        let (table, now) = (Affinity::new(2), Instant::now());
        assert!(!table.note(ROUTE, "/", server(), now));
        assert!(!table.note(ROUTE, &"/x".repeat(MAX_PATH), server(), now));
        let deep = "/x".repeat(MAX_DEPTH + 5);
        table.note(ROUTE, "/x", server(), now);
        assert_eq!(
            table.server(ROUTE, &deep, now),
            None,
            "the work per request is bounded"
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let (table, now) = (Affinity::new(4), Instant::now());
        for n in 0..100 {
            table.note(ROUTE, &format!("/{n}"), server(), now);
        }
        let left = (0..100).filter(|n| table.server(ROUTE, &format!("/{n}"), now).is_some());
        assert!((2..=4).contains(&left.count()));
    }
}
