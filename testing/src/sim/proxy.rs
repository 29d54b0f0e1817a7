//! The proxy as a node of the network: the real core (`Shared` and one `Mux` per shard), with a shell that collects
//! what it sends. Its listeners and server-leg sockets are only addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use xrtc::ice::{
    ClientPath, Counter, Counters, DropReason, KeyRing, ListenerId, Now, RoutePolicy, ServerPath, Shell,
    SocketId,
};
use xrtc::media::mux::Mux;
use xrtc::media::revival::{self, Snapshot, SnapshotError};
use xrtc::media::shared::{Limits, Shared, Sockets};

use super::net::Packet;
use super::rng::Rng;

/// Where clients reach the proxy.
pub const LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 8443);
/// The proxy's address on the server leg.
pub const SERVER_LEG_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// How a proxy starts.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its keys.
    pub keys: KeyRing,
    /// Its routes.
    pub policies: Vec<RoutePolicy>,
    /// Shards.
    pub shards: usize,
    /// Server-leg sockets of each shard at the start.
    pub sockets: usize,
    /// How many there may be in all.
    pub max_sockets: usize,
    /// Port of the first server-leg socket; the others follow.
    pub first_port: u16,
    /// Limits.
    pub limits: Limits,
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    /// The tables.
    pub shared: Arc<Shared>,
    /// Clients whose packets come in on a shard of the test's choice; the others are spread by a hash.
    pub pinned: HashMap<SocketAddr, usize>,
    shards: Vec<(Mux, Arc<Counters>)>,
    pool: Pool,
    first_port: u16,
    rng: Rng,
}

#[derive(Debug)]
struct Pool {
    /// Which shard owns a socket, and its port; the socket's id is the index.
    sockets: Vec<(usize, u16)>,
    by_port: HashMap<u16, SocketId>,
    next_port: u16,
    max: usize,
}

impl Pool {
    fn addr(&self, socket: SocketId) -> SocketAddr {
        SocketAddr::new(SERVER_LEG_IP, self.sockets[socket.0 as usize].1)
    }

    fn socket(&self, addr: SocketAddr) -> Option<SocketId> {
        (addr.ip() == SERVER_LEG_IP)
            .then(|| self.by_port.get(&addr.port()).copied())
            .flatten()
    }

    fn open(&mut self, shard: usize) -> Option<SocketId> {
        while self.by_port.contains_key(&self.next_port) {
            self.next_port += 1;
        }
        self.open_on(shard, self.next_port)
    }

    fn open_on(&mut self, shard: usize, port: u16) -> Option<SocketId> {
        (self.sockets.len() < self.max).then(|| {
            let id = SocketId(self.sockets.len() as u32);
            self.sockets.push((shard, port));
            self.by_port.insert(port, id);
            id
        })
    }
}

impl Proxy {
    /// Starts with nothing but what `setup` says.
    #[must_use]
    pub fn start(setup: &Setup, rng: Rng) -> Self {
        let shared = Arc::new(Shared::new(setup.keys.clone(), setup.limits));
        let by_id = setup
            .policies
            .iter()
            .map(|policy| (policy.id, Arc::new(policy.clone())));
        shared.policies.store(Arc::new(by_id.collect()));
        let mut pool = Pool {
            sockets: Vec::new(),
            by_port: HashMap::new(),
            next_port: setup.first_port,
            max: setup.max_sockets,
        };
        let v4: Vec<_> = (0..setup.shards * setup.sockets)
            .filter_map(|at| pool.open(at % setup.shards))
            .collect();
        shared.set_sockets(Sockets {
            initial: [v4.len(), 0],
            v4,
            v6: Vec::new(),
        });
        let shards = (0..setup.shards)
            .map(|_| {
                let counters = Arc::new(Counters::default());
                (Mux::new(shared.clone(), counters.clone()), counters)
            })
            .collect();
        Self {
            shared,
            pinned: HashMap::new(),
            shards,
            pool,
            first_port: setup.first_port,
            rng,
        }
    }

    /// What the proxy would leave for its successor.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> Vec<u8> {
        let port_of = |socket| Some(self.pool.addr(socket).port());
        Snapshot::take(&self.shared, &[(ListenerId(0), LISTENER)], port_of, now)
            .seal(&self.shared.keys.load())
    }

    /// Brings the calls of a snapshot back, and says how many.
    ///
    /// # Errors
    /// The snapshot is refused.
    pub fn revive(&mut self, snapshot: &[u8], now: Now) -> Result<usize, SnapshotError> {
        let counters = &self.shards[0].1;
        let rng = &mut self.rng;
        let listeners = [(ListenerId(0), LISTENER)];
        revival::revive(&self.shared, snapshot, &listeners, now, counters, || rng.bits())
    }

    /// Whether packets to this address are the proxy's.
    #[must_use]
    pub fn owns(&self, addr: SocketAddr) -> bool {
        addr == LISTENER || self.pool.socket(addr).is_some()
    }

    /// Takes a packet and says what it sends.
    pub fn receive(&mut self, now: Now, packet: &Packet) -> Vec<Packet> {
        let mut sent = Vec::new();
        if packet.dst == LISTENER {
            let shard = self.shard_of(packet.src);
            let path = ClientPath::Udp {
                listener: ListenerId(0),
                local: LISTENER.ip(),
                remote: packet.src,
            };
            let (mux, mut shell) = self.shard(shard, &mut sent);
            mux.handle_client(now, path, &packet.bytes, &mut shell);
        } else if let Some(socket) = self.pool.socket(packet.dst) {
            let owner = self.pool.sockets[socket.0 as usize].0;
            let path = ServerPath {
                socket,
                remote: packet.src,
            };
            let (mux, mut shell) = self.shard(owner, &mut sent);
            mux.handle_server(now, path, &packet.bytes, &mut shell);
        }
        sent
    }

    /// Runs what is due and says what it sends.
    pub fn poll(&mut self, now: Now) -> Vec<Packet> {
        let mut sent = Vec::new();
        for shard in 0..self.shards.len() {
            let (mux, mut shell) = self.shard(shard, &mut sent);
            if mux.next_timeout().is_some_and(|due| due <= now.mono) {
                mux.handle_timeout(now, &mut shell);
            }
        }
        sent
    }

    /// Has every shard look for what the control plane has told.
    pub fn wake(&mut self, now: Now) -> Vec<Packet> {
        let mut sent = Vec::new();
        for shard in 0..self.shards.len() {
            let (mux, mut shell) = self.shard(shard, &mut sent);
            mux.handle_timeout(now, &mut shell);
        }
        sent
    }

    /// When something is due.
    #[must_use]
    pub fn next(&self) -> u64 {
        let due = self.shards.iter().filter_map(|(mux, _)| mux.next_timeout());
        due.min().unwrap_or(u64::MAX)
    }

    /// How often a packet was dropped for this reason, on all shards.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.shards
            .iter()
            .map(|(_, counters)| counters.drops(reason))
            .sum()
    }

    /// Every reason for which packets were dropped, with the number.
    #[must_use]
    pub fn all_drops(&self) -> Vec<(DropReason, u64)> {
        let all = DropReason::ALL.iter().map(|&reason| (reason, self.drops(reason)));
        all.filter(|(_, drops)| *drops > 0).collect()
    }

    /// A counter, over all shards.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        self.shards
            .iter()
            .map(|(_, counters)| counters.count(counter))
            .sum()
    }

    /// Server-leg sockets.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.pool.sockets.len()
    }

    fn shard_of(&self, client: SocketAddr) -> usize {
        let spread = usize::from(client.port()) % self.shards.len();
        self.pinned.get(&client).copied().unwrap_or(spread)
    }

    fn shard<'s>(&'s mut self, shard: usize, sent: &'s mut Vec<Packet>) -> (&'s mut Mux, Collect<'s>) {
        let shell = Collect {
            sent,
            first_port: self.first_port,
            shard,
            pool: &mut self.pool,
            rng: &mut self.rng,
        };
        (&mut self.shards[shard].0, shell)
    }
}

struct Collect<'s> {
    sent: &'s mut Vec<Packet>,
    first_port: u16,
    shard: usize,
    pool: &'s mut Pool,
    rng: &'s mut Rng,
}

impl Shell<'_> for Collect<'_> {
    fn forward_to_client(&mut self, to: &ClientPath, packet: &[u8]) {
        self.send_to_client(to, packet);
    }

    fn forward_to_server(&mut self, to: &ServerPath, packet: &[u8]) {
        self.send_to_server(to, packet);
    }

    fn send_to_client(&mut self, to: &ClientPath, packet: &[u8]) {
        self.sent.push(Packet {
            src: LISTENER,
            dst: to.remote(),
            bytes: packet.to_vec(),
        });
    }

    fn send_to_server(&mut self, to: &ServerPath, packet: &[u8]) {
        self.sent.push(Packet {
            src: self.pool.addr(to.socket),
            dst: to.remote,
            bytes: packet.to_vec(),
        });
    }

    fn open_server_socket(&mut self, _ipv6: bool) -> Option<SocketId> {
        self.pool.open(self.shard)
    }

    fn server_socket_on(&mut self, _ipv6: bool, port: u16) -> Option<SocketId> {
        let open = self.pool.socket(SocketAddr::new(SERVER_LEG_IP, port));
        // The ports of the run before were taken by somebody else if the test has moved this run's.
        open.or_else(|| (port >= self.first_port).then(|| self.pool.open_on(self.shard, port))?)
    }

    fn random(&mut self) -> u64 {
        self.rng.bits()
    }
}
