//! The clock, and everybody under it.

use std::any::Any;
use std::collections::HashMap;
use std::net::SocketAddr;

use xrtc::ice::Now;

use super::Endpoint;
use super::browser::Browser;
use super::is_peer::IsPeer;
use super::net::{Network, Packet};
use super::proxy::{Proxy, Setup};
use super::rng::Rng;
use super::server::Server;

/// Unix time when the monotonic clock showed 0, in milliseconds.
const UNIX_AT_ZERO: u64 = 1_790_000_000_000;
/// Where the monotonic clock starts.
const START: u64 = 1_000_000;
/// More events than this within one millisecond are a loop.
const MAX_EVENTS: usize = 100_000;

/// A party of a [`World`].
pub type Id = usize;

/// The simulation.
pub struct World {
    /// Monotonic milliseconds.
    pub now: u64,
    /// The proxy.
    pub proxy: Proxy,
    /// The network.
    pub net: Network,
    /// How the proxy starts.
    pub setup: Setup,
    /// For whoever needs chance.
    pub rng: Rng,
    ends: Vec<Box<dyn Endpoint>>,
    due: Vec<u64>,
    by_addr: HashMap<SocketAddr, Id>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl World {
    /// A world with nobody in it but the proxy.
    #[must_use]
    pub fn new(seed: u64, setup: Setup) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            now: START,
            proxy: Proxy::start(&setup, Rng::new(rng.bits())),
            net: Network::new(Rng::new(rng.bits())),
            setup,
            rng,
            ends: Vec::new(),
            due: Vec::new(),
            by_addr: HashMap::new(),
        }
    }

    /// The moment, as the core sees it.
    #[must_use]
    pub const fn moment(&self) -> Now {
        Now {
            mono: self.now,
            unix: UNIX_AT_ZERO + self.now,
        }
    }

    /// Unix time in seconds.
    #[must_use]
    pub const fn unix_seconds(&self) -> u32 {
        (self.moment().unix / 1_000) as u32
    }

    /// Kills the proxy and starts it as [`World::setup`] says, with empty tables.
    pub fn restart_proxy(&mut self) {
        self.proxy = Proxy::start(&self.setup, Rng::new(self.rng.bits()));
    }

    /// The same, but with what it had written about its calls `age` milliseconds ago; how many it brings back.
    pub fn restart_proxy_with_snapshot(&mut self, age: u64) -> usize {
        let snapshot = self.proxy.snapshot(self.moment());
        self.run(age);
        self.restart_proxy();
        let moment = self.moment();
        let revived = self.proxy.revive(&snapshot, moment).unwrap_or_default();
        self.wake_proxy();
        revived
    }

    /// A generator of its own for a party.
    pub fn fork(&mut self) -> Rng {
        Rng::new(self.rng.bits())
    }

    /// Adds a party.
    pub fn add(&mut self, end: impl Endpoint) -> Id {
        let id = self.ends.len();
        for addr in end.addresses() {
            self.by_addr.insert(addr, id);
        }
        self.ends.push(Box::new(end));
        self.due.push(self.now);
        id
    }

    /// A party by its kind. It is asked anew what is due for it, a millisecond later.
    ///
    /// # Panics
    /// If it is of another kind.
    pub fn end<T: Endpoint>(&mut self, id: Id) -> &mut T {
        self.due[id] = self.due[id].min(self.now + 1);
        let end: &mut dyn Any = self.ends[id].as_mut();
        end.downcast_mut().expect("the test knows what it has added")
    }

    /// A client.
    pub fn browser(&mut self, id: Id) -> &mut Browser {
        self.end(id)
    }

    /// A server.
    pub fn server(&mut self, id: Id) -> &mut Server {
        self.end(id)
    }

    /// A party of the other implementation.
    pub fn is_peer(&mut self, id: Id) -> &mut IsPeer {
        self.end(id)
    }

    /// Sends a packet into the network.
    pub fn inject(&mut self, packet: Packet) {
        self.net.send(self.now, packet);
    }

    /// Gives a packet to the proxy at this moment, past the network, and says what it sends.
    pub fn hand_to_proxy(&mut self, packet: &Packet) -> Vec<Packet> {
        self.proxy.receive(self.moment(), packet)
    }

    /// Has the proxy look for what the control plane has told.
    pub fn wake_proxy(&mut self) {
        let sent = self.proxy.wake(self.moment());
        self.send_all(sent);
    }

    /// Lets `ms` milliseconds pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until something holds, at most `ms` milliseconds; whether it does.
    pub fn run_until(&mut self, ms: u64, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + ms;
        while !holds(self) {
            if !self.step(end) {
                self.now = end;
                return holds(self);
            }
        }
        true
    }

    /// Goes to the next moment at which something happens, if it is not after `end`, and has it happen.
    fn step(&mut self, end: u64) -> bool {
        let ends = self.due.iter().copied().min().unwrap_or(u64::MAX);
        let network = self.net.next().unwrap_or(u64::MAX);
        let next = ends.min(network).min(self.proxy.next()).max(self.now);
        if next > end {
            return false;
        }
        self.now = next;
        let mut events = 0;
        while let Some(packet) = self.net.receive(self.now) {
            self.deliver(&packet);
            events += 1;
            assert!(events < MAX_EVENTS, "a loop of packets");
        }
        let sent = self.proxy.poll(self.moment());
        self.send_all(sent);
        assert!(
            self.proxy.next() > self.now,
            "the proxy has been polled and is due again"
        );
        for id in 0..self.ends.len() {
            if self.due[id] <= self.now {
                self.poll(id);
            }
        }
        true
    }

    fn poll(&mut self, id: Id) {
        let mut out = Vec::new();
        self.ends[id].poll(self.now, &mut out);
        self.due[id] = self.ends[id].next(self.now).max(self.now + 1);
        self.send_all(out);
    }

    fn deliver(&mut self, packet: &Packet) {
        if self.proxy.owns(packet.dst) {
            let sent = self.proxy.receive(self.moment(), packet);
            self.send_all(sent);
        } else if let Some(&id) = self.by_addr.get(&packet.dst) {
            let mut out = Vec::new();
            self.ends[id].receive(self.now, packet, &mut out);
            self.due[id] = self.due[id].min(self.ends[id].next(self.now).max(self.now));
            self.send_all(out);
        }
    }

    fn send_all(&mut self, packets: Vec<Packet>) {
        for packet in packets {
            self.net.send(self.now, packet);
        }
    }
}
