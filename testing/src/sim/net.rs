//! The network between the parties: a queue of datagrams in flight, with loss, delay, reordering, duplicates, silent
//! hosts, and NATs that rebind.
//!
//! Two kinds of link: the server leg (an end in 10.0.0.0/8) and the client leg (everything else).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::rng::Rng;

/// A datagram.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// Sender.
    pub src: SocketAddr,
    /// Receiver.
    pub dst: SocketAddr,
    /// Payload.
    pub bytes: Vec<u8>,
}

/// What a link does to datagrams.
#[derive(Clone, Debug)]
pub struct Link {
    /// How many of a hundred are lost.
    pub loss: u64,
    /// How many of a hundred come twice.
    pub duplicates: u64,
    /// Time under way in milliseconds; a range reorders.
    pub delay: RangeInclusive<u64>,
}

impl Link {
    /// A link that changes nothing but the time.
    #[must_use]
    pub const fn clean(delay: u64) -> Self {
        Self {
            loss: 0,
            duplicates: 0,
            delay: delay..=delay,
        }
    }
}

type InFlight = Reverse<(u64, u64, Packet)>;

/// The network.
#[derive(Debug)]
pub struct Network {
    /// Between clients and the proxy.
    pub client_leg: Link,
    /// Between the proxy and servers.
    pub server_leg: Link,
    /// What is sent from or to these is lost.
    pub silent: HashSet<SocketAddr>,
    /// Every datagram that was sent, if somebody wants to look: when, and what (after NAT, before loss).
    pub tap: Option<Vec<(u64, Packet)>>,
    nat: HashMap<SocketAddr, SocketAddr>,
    outer: HashMap<SocketAddr, Option<SocketAddr>>,
    queue: BinaryHeap<InFlight>,
    order: u64,
    rng: Rng,
}

impl Network {
    /// A clean network.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self {
            client_leg: Link::clean(20),
            server_leg: Link::clean(1),
            silent: HashSet::new(),
            tap: None,
            nat: HashMap::new(),
            outer: HashMap::new(),
            queue: BinaryHeap::new(),
            order: 0,
            rng,
        }
    }

    /// From now on `inner` appears as `outer`; what it appeared as before leads nowhere.
    pub fn bind_nat(&mut self, inner: SocketAddr, outer: SocketAddr) {
        if let Some(old) = self.nat.insert(inner, outer) {
            self.outer.insert(old, None);
        }
        self.outer.insert(outer, Some(inner));
    }

    /// Sends.
    pub fn send(&mut self, now: u64, mut packet: Packet) {
        if self.silent.contains(&packet.src) || self.silent.contains(&packet.dst) {
            return;
        }
        packet.src = self.nat.get(&packet.src).copied().unwrap_or(packet.src);
        if let Some(tap) = &mut self.tap {
            tap.push((now, packet.clone()));
        }
        let link = if is_lan(&packet.src) || is_lan(&packet.dst) {
            self.server_leg.clone()
        } else {
            self.client_leg.clone()
        };
        if self.rng.chance(link.loss) {
            return;
        }
        if self.rng.chance(link.duplicates) {
            self.schedule(now, &link, packet.clone());
        }
        self.schedule(now, &link, packet);
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((at, _, _))| *at)
    }

    /// A datagram that has arrived.
    pub fn receive(&mut self, now: u64) -> Option<Packet> {
        while self.next()? <= now {
            let Reverse((_, _, mut packet)) = self.queue.pop()?;
            match self.outer.get(&packet.dst) {
                Some(Some(inner)) => packet.dst = *inner,
                Some(None) => continue,
                None => {}
            }
            if !self.silent.contains(&packet.dst) {
                return Some(packet);
            }
        }
        None
    }

    fn schedule(&mut self, now: u64, link: &Link, packet: Packet) {
        let spread = link.delay.end() - link.delay.start() + 1;
        let at = now + link.delay.start() + self.rng.below(spread);
        self.order += 1;
        self.queue.push(Reverse((at, self.order, packet)));
    }
}

fn is_lan(addr: &SocketAddr) -> bool {
    matches!(addr.ip(), IpAddr::V4(ip) if ip.octets()[0] == 10)
}
