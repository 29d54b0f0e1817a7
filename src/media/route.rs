//! Which of this machine's addresses the kernel would send from.
//!
//! The kernel is asked by connecting a UDP socket, which sends nothing. The answer is kept for a few seconds: calls
//! come in crowds, routes change seldom.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// How long an answer is good for, in milliseconds.
const LIFETIME: u64 = 10_000;
/// Answers kept at most; one more and all are asked for again.
const LIMIT: usize = 1024;

/// The cache.
#[derive(Debug, Default)]
pub(super) struct SourceAddresses {
    known: Mutex<HashMap<IpAddr, Answer>>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    source: IpAddr,
    since: u64,
}

impl SourceAddresses {
    /// The address that packets to `remote` leave from; `None` if there is no route. `now` is in milliseconds.
    pub(super) fn towards(&self, remote: SocketAddr, now: u64) -> Option<IpAddr> {
        self.cached(remote.ip(), now, || ask(remote))
    }

    fn cached(&self, remote: IpAddr, now: u64, ask: impl FnOnce() -> Option<IpAddr>) -> Option<IpAddr> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(&remote)
            && now < answer.since.saturating_add(LIFETIME)
        {
            return Some(answer.source);
        }
        let source = ask()?;
        if known.len() >= LIMIT {
            known.clear();
        }
        known.insert(remote, Answer { source, since: now });
        Some(source)
    }
}

fn ask(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_reached_from_itself() {
        let addresses = SourceAddresses::default();
        for ip in ["127.0.0.1", "::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(addresses.towards(SocketAddr::new(ip, 5000), 0), Some(ip));
        }
    }

    #[test]
    fn an_answer_is_kept_for_its_lifetime_and_a_failure_is_not() {
        let addresses = SourceAddresses::default();
        let [remote, first, second] = [[192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 3]].map(IpAddr::from);
        assert_eq!(addresses.cached(remote, 5, || None), None);
        assert_eq!(addresses.cached(remote, 5, || Some(first)), Some(first));
        assert_eq!(
            addresses.cached(remote, 4 + LIFETIME, || Some(second)),
            Some(first)
        );
        assert_eq!(
            addresses.cached(remote, 5 + LIFETIME, || Some(second)),
            Some(second)
        );
    }

    #[test]
    fn it_is_bounded() {
        let addresses = SourceAddresses::default();
        for n in 0..3 * LIMIT as u32 {
            addresses.cached(Ipv4Addr::from(n).into(), 0, || Some(Ipv4Addr::LOCALHOST.into()));
        }
        assert!(addresses.known.lock().unwrap().len() <= LIMIT);
    }
}
