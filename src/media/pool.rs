//! The process-wide table of server-leg sockets.
//!
//! Any shard sends on any of them, so looking one up takes no lock: a socket is written into its slot once and stays
//! until the end. Each is received from by one shard, its owner. The table knows nothing of who uses a socket.

use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::socket::{Socket, is_family_absent};
use crate::ice::SocketId;

/// Sockets of each family that each shard starts with.
const INITIAL_PER_SHARD: usize = 4;

/// The table.
#[derive(Debug)]
pub struct Pool {
    /// Filled from the front: ids are dense.
    slots: Box<[OnceLock<Socket>]>,
    growth: Mutex<Growth>,
    /// The ports that may be used; `None`: any.
    allowed: Option<RangeInclusive<u16>>,
    /// The sockets that every run of the daemon starts with, IPv4 and IPv6: number `n` of a family is owned by shard
    /// `n % shards`.
    initial: [Vec<SocketId>; 2],
}

#[derive(Debug)]
struct Growth {
    opened: usize,
    ports: [Ports; 2],
}

impl Pool {
    /// Opens the sockets that the daemon starts with, on the given ports in order if there are any given.
    /// `register` tells the owner (a shard's number) to receive from a socket.
    ///
    /// # Errors
    /// Not one socket could be opened, or one could not be registered. That one family is absent, or that the ports
    /// do not suffice for all, is no error.
    pub(super) fn open(
        shards: usize,
        ports: Option<RangeInclusive<u16>>,
        capacity: usize,
        mut register: impl FnMut(usize, SocketId, &Socket) -> io::Result<()>,
    ) -> io::Result<Self> {
        let allowed = ports.clone();
        let ports = Ports::new(ports);
        let mut pool = Self {
            slots: (0..capacity).map(|_| OnceLock::new()).collect(),
            growth: Mutex::new(Growth {
                opened: 0,
                ports: [ports.clone(), ports],
            }),
            allowed,
            initial: [Vec::new(), Vec::new()],
        };
        let mut failure = None;
        for ipv6 in [false, true] {
            for number in 0..INITIAL_PER_SHARD * shards {
                let owner = number % shards;
                match pool.grow(ipv6, |id, socket| register(owner, id, socket)) {
                    Ok(id) => pool.initial[usize::from(ipv6)].push(id),
                    Err(Refusal::Register(error)) => return Err(error),
                    Err(Refusal::Open(error)) => {
                        failure = Some(error);
                        break;
                    }
                    Err(Refusal::Full) => break,
                }
            }
        }
        match failure {
            Some(error) if pool.initial.iter().all(Vec::is_empty) => Err(io::Error::new(
                error.kind(),
                format!("server-leg sockets: {error}"),
            )),
            _ => Ok(pool),
        }
    }

    /// The socket of an id, if it is one.
    pub(super) fn get(&self, id: SocketId) -> Option<&Socket> {
        self.slots.get(usize::try_from(id.0).ok()?)?.get()
    }

    /// The source port of a socket.
    #[must_use]
    pub fn port(&self, id: SocketId) -> Option<u16> {
        Some(self.get(id)?.bound().port())
    }

    /// All sockets of a family that are open now, those that the daemon started with first.
    #[must_use]
    pub fn sockets(&self, ipv6: bool) -> Vec<SocketId> {
        let open = (0..).zip(self.slots.iter().map_while(OnceLock::get));
        open.filter(|(_, socket)| socket.bound().is_ipv6() == ipv6)
            .map(|(id, _)| SocketId(id))
            .collect()
    }

    /// The socket that a hash points to. It depends on nothing else as long as the number of shards stays, so that a
    /// restarted daemon with a fixed port range comes to the same port again.
    #[must_use]
    pub fn preferred(&self, ipv6: bool, hash: u64) -> Option<SocketId> {
        let initial = &self.initial[usize::from(ipv6)];
        let count = u64::try_from(initial.len()).ok()?;
        initial
            .get(usize::try_from(hash.checked_rem(count)?).ok()?)
            .copied()
    }

    /// Opens one more socket, if there may be one more. `register` makes its owner receive from it.
    pub(super) fn open_one(
        &self,
        ipv6: bool,
        register: impl FnOnce(SocketId, &Socket) -> io::Result<()>,
    ) -> Option<SocketId> {
        opened(ipv6, self.grow(ipv6, register))
    }

    /// The socket on a port, as the daemon before this one had it; opened if it is not open and the port is one that
    /// may be used. `register` makes its owner receive from it.
    pub(super) fn on_port(
        &self,
        ipv6: bool,
        port: u16,
        register: impl FnOnce(SocketId, &Socket) -> io::Result<()>,
    ) -> Option<SocketId> {
        let is_it = |id: &SocketId| self.port(*id) == Some(port);
        if let Some(open) = self.sockets(ipv6).into_iter().find(is_it) {
            return Some(open);
        }
        if self.allowed.as_ref().is_some_and(|range| !range.contains(&port)) {
            return None;
        }
        opened(ipv6, self.grow_by(register, |_| Socket::server_leg(ipv6, port)))
    }

    fn grow(
        &self,
        ipv6: bool,
        register: impl FnOnce(SocketId, &Socket) -> io::Result<()>,
    ) -> Result<SocketId, Refusal> {
        self.grow_by(register, |ports| ports[usize::from(ipv6)].open(ipv6))
    }

    fn grow_by(
        &self,
        register: impl FnOnce(SocketId, &Socket) -> io::Result<()>,
        open: impl FnOnce(&mut [Ports; 2]) -> io::Result<Socket>,
    ) -> Result<SocketId, Refusal> {
        let mut growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = self.slots.get(growth.opened).ok_or(Refusal::Full)?;
        let id = SocketId(u32::try_from(growth.opened).map_err(|_| Refusal::Full)?);
        let socket = open(&mut growth.ports).map_err(Refusal::Open)?;
        register(id, &socket).map_err(Refusal::Register)?;
        // Only the holder of the lock fills slots, and this one was beyond the last.
        let _ = slot.set(socket);
        growth.opened += 1;
        Ok(id)
    }
}

fn opened(ipv6: bool, grown: Result<SocketId, Refusal>) -> Option<SocketId> {
    grown
        .inspect_err(|refusal| tracing::debug!(?refusal, ipv6, "no more server-leg sockets"))
        .ok()
}

/// Why the pool did not grow.
#[derive(Debug)]
enum Refusal {
    Full,
    Open(io::Error),
    Register(io::Error),
}

/// Where the source ports of a family come from.
#[derive(Clone, Debug)]
enum Ports {
    Any,
    Listed(RangeInclusive<u16>),
}

impl Ports {
    fn new(range: Option<RangeInclusive<u16>>) -> Self {
        range.map_or(Self::Any, Self::Listed)
    }

    /// Opens a socket on the next port; ports that are taken, or not for us, are passed over.
    fn open(&mut self, ipv6: bool) -> io::Result<Socket> {
        let range = match self {
            Self::Any => return Socket::server_leg(ipv6, 0),
            Self::Listed(range) => range,
        };
        for port in range {
            match Socket::server_leg(ipv6, port) {
                Err(error) if is_family_absent(&error) => return Err(error),
                Err(error) if matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => {}
                opened => return opened,
            }
        }
        Err(io::Error::new(
            ErrorKind::AddrInUse,
            "no port of upstream_ports is free",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn pool(shards: usize, ports: Option<RangeInclusive<u16>>, capacity: usize) -> Pool {
        Pool::open(shards, ports, capacity, |_, _, _| Ok(())).unwrap()
    }

    /// Ports that were free a moment ago. Tests run at once, so each has a region of its own, below the ports that the
    /// kernel chooses from.
    fn free_range(region: u16, len: u16) -> RangeInclusive<u16> {
        let start = (region..region + 4000)
            .step_by(50)
            .find(|start| (*start..start + len).all(|port| UdpSocket::bind(("0.0.0.0", port)).is_ok()))
            .unwrap();
        start..=start + len - 1
    }

    #[test]
    fn every_shard_owns_as_many_of_each_family() {
        let mut owned = Vec::new();
        let pool = Pool::open(3, None, 64, |owner, id, socket| {
            owned.push((owner, id, socket.bound().is_ipv6()));
            Ok(())
        })
        .unwrap();
        for shard in 0..3 {
            assert_eq!(
                owned
                    .iter()
                    .filter(|(owner, _, ipv6)| *owner == shard && !ipv6)
                    .count(),
                INITIAL_PER_SHARD
            );
        }
        assert_eq!(
            owned.iter().map(|(_, id, _)| id.0).collect::<Vec<_>>(),
            (0..24).collect::<Vec<_>>()
        );
        assert_eq!(pool.sockets(false).len(), 12);
        assert_eq!(pool.sockets(true), pool.initial[1]);
        assert!(pool.get(SocketId(24)).is_none());
    }

    #[test]
    fn ports_are_taken_in_order_and_those_in_use_are_passed_over() {
        let range = free_range(20_000, 6);
        let taken = UdpSocket::bind(("0.0.0.0", range.start() + 1)).unwrap();
        let pool = pool(1, Some(range.clone()), 64);
        let ports: Vec<_> = pool
            .sockets(false)
            .into_iter()
            .map(|id| pool.port(id).unwrap())
            .collect();
        assert_eq!(ports, [0, 2, 3, 4].map(|n| range.start() + n));
        drop(taken);
        let one_more = pool.open_one(false, |_, _| Ok(())).unwrap();
        assert_eq!(pool.port(one_more), Some(range.start() + 5));
        assert!(
            pool.open_one(false, |_, _| Ok(())).is_none(),
            "the range is used up"
        );
    }

    #[test]
    fn a_hash_leads_to_the_same_port_after_a_restart_and_after_growth() {
        let range = free_range(25_000, 8);
        let ports = |grow: bool| {
            let pool = pool(1, Some(range.clone()), 64);
            if grow {
                pool.open_one(false, |_, _| Ok(())).unwrap();
            }
            (0..9)
                .map(|hash| pool.port(pool.preferred(false, hash).unwrap()).unwrap())
                .collect::<Vec<_>>()
        };
        let before = ports(false);
        assert_eq!(before[0], before[4]);
        assert_ne!(before[0], before[1]);
        assert_eq!(before, ports(true));
    }

    #[test]
    fn a_port_of_the_last_run_is_opened_once_and_only_if_it_may_be_used() {
        let range = free_range(27_000, 8);
        let on = |pool: &Pool, port| pool.on_port(false, port, |_, _| Ok(()));
        let (inside, outside) = (range.start() + 6, range.end() + 1);
        let listed = pool(1, Some(range.clone()), 64);
        let initial = listed.sockets(false)[2];
        assert_eq!(on(&listed, *range.start() + 2), Some(initial));
        let reopened = on(&listed, inside).unwrap();
        assert_eq!(listed.port(reopened), Some(inside));
        assert_eq!(on(&listed, inside), Some(reopened));
        assert_eq!(on(&listed, outside), None);
        drop(listed);
        let any = pool(1, None, 64);
        assert_eq!(on(&any, outside).and_then(|id| any.port(id)), Some(outside));
        let taken = UdpSocket::bind(("0.0.0.0", inside)).unwrap();
        assert_eq!(on(&any, inside), None);
        drop(taken);
    }

    #[test]
    fn it_grows_up_to_its_capacity() {
        let pool = pool(1, None, 10);
        let opened = (0..5).filter_map(|_| pool.open_one(false, |_, _| Ok(()))).count();
        assert_eq!(opened, 2);
        assert_eq!(pool.sockets(false).len(), 6);
    }

    #[test]
    fn a_socket_that_its_owner_cannot_poll_is_not_handed_out() {
        let pool = pool(1, None, 10);
        assert!(
            pool.open_one(false, |_, _| Err(ErrorKind::Other.into()))
                .is_none()
        );
        assert_eq!(pool.sockets(false).len(), 4);
    }
}
