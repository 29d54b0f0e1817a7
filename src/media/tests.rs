//! The whole media plane over real loopback sockets, with multiplexers that do as little as can be.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Media, MediaConfig, Multiplexer, ShardSeat, UdpListen};
use crate::ice::{ClientPath, Counter, DropReason, ListenerId, Now, ServerPath, Shell, SocketId, TcpConnId};

const PATIENCE: Duration = Duration::from_secs(10);
/// Packets on their way at once: what a default receive buffer holds.
const WINDOW: u32 = 32;

fn config(shards: usize, ip: Option<IpAddr>) -> MediaConfig {
    MediaConfig {
        listeners: vec![UdpListen {
            id: ListenerId(3),
            ip,
            port: 0,
        }],
        shards,
        upstream_ports: None,
        max_server_sockets: 64,
    }
}

fn client(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn count(media: &Media, counter: Counter) -> u64 {
    media
        .counters()
        .iter()
        .map(|counters| counters.count(counter))
        .sum()
}

fn drops(media: &Media, reason: DropReason) -> u64 {
    media
        .counters()
        .iter()
        .map(|counters| counters.drops(reason))
        .sum()
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Sends every packet back: odd first bytes as they are, even ones as copies.
struct Echo;

impl Multiplexer for Echo {
    fn handle_client<'b>(&mut self, _: Now, from: ClientPath, packet: &'b [u8], shell: &mut impl Shell<'b>) {
        if packet.first().is_some_and(|first| first % 2 == 1) {
            shell.forward_to_client(&from, packet);
        } else {
            shell.send_to_client(&from, packet);
        }
    }

    fn handle_server<'b>(&mut self, _: Now, _: ServerPath, _: &'b [u8], _: &mut impl Shell<'b>) {}

    fn handle_timeout<'b>(&mut self, _: Now, _: &mut impl Shell<'b>) {}

    fn next_timeout(&self) -> Option<u64> {
        None
    }
}

/// Carries packets between the last client and a server. A packet `grow` opens a socket, which is used from then on.
struct Relay {
    server: SocketAddr,
    socket: SocketId,
    client: Option<ClientPath>,
}

impl Relay {
    fn new(seat: &ShardSeat<'_>, server: SocketAddr) -> Self {
        let socket = seat.pool.preferred(server.is_ipv6(), 5).unwrap();
        Self {
            server,
            socket,
            client: None,
        }
    }
}

impl Multiplexer for Relay {
    fn handle_client<'b>(&mut self, _: Now, from: ClientPath, packet: &'b [u8], shell: &mut impl Shell<'b>) {
        self.client = Some(from);
        if packet == b"grow"
            && let Some(socket) = shell.open_server_socket(self.server.is_ipv6())
        {
            self.socket = socket;
        }
        shell.forward_to_server(
            &ServerPath {
                socket: self.socket,
                remote: self.server,
            },
            packet,
        );
    }

    fn handle_server<'b>(&mut self, _: Now, from: ServerPath, packet: &'b [u8], shell: &mut impl Shell<'b>) {
        assert_eq!(
            from,
            ServerPath {
                socket: self.socket,
                remote: self.server
            }
        );
        if let Some(client) = self.client {
            shell.forward_to_client(&client, packet);
        }
    }

    fn handle_timeout<'b>(&mut self, _: Now, _: &mut impl Shell<'b>) {}

    fn next_timeout(&self) -> Option<u64> {
        None
    }
}

/// A packet of a flow: its number, then as many bytes as the number says.
fn packet(flow: usize, number: u32) -> Vec<u8> {
    let len = if number.is_multiple_of(5) { 40 } else { 1100 };
    let fill = (number as usize + flow) as u8;
    [vec![number as u8], number.to_be_bytes().to_vec(), vec![fill; len]].concat()
}

#[test]
fn every_flow_comes_back_intact_and_in_order_over_all_shards_and_both_families() {
    const FLOWS: usize = 32;
    const PACKETS: u32 = 128;
    let media = Media::start(config(3, None), |_| Echo).unwrap();
    let flows: Vec<(UdpSocket, SocketAddr)> = (0..FLOWS)
        .map(|flow| {
            let ip = if flow % 2 == 0 { V4 } else { V6 };
            let bound = media
                .bound()
                .iter()
                .find(|(_, addr)| addr.is_ipv6() == ip.is_ipv6())
                .unwrap()
                .1;
            (client(ip), SocketAddr::new(ip, bound.port()))
        })
        .collect();
    let mut buffer = vec![0; 2048];
    for start in (0..PACKETS).step_by(WINDOW as usize) {
        for number in start..start + WINDOW {
            for (flow, (socket, to)) in flows.iter().enumerate() {
                socket.send_to(&packet(flow, number), to).unwrap();
            }
        }
        for (flow, (socket, to)) in flows.iter().enumerate() {
            for number in start..start + WINDOW {
                let (len, from) = socket.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..len], from), (&packet(flow, number)[..], *to));
            }
        }
    }
    assert_eq!(
        count(&media, Counter::ClientPackets),
        FLOWS as u64 * u64::from(PACKETS)
    );
    let bytes: usize = (0..PACKETS).map(|number| packet(0, number).len() * FLOWS).sum();
    assert_eq!(count(&media, Counter::ClientBytes), bytes as u64);
    for counters in media.counters() {
        assert!(
            counters.count(Counter::ClientPackets) > 0,
            "a shard without clients"
        );
    }
    assert!(media.is_healthy());
    media.stop();
}

#[test]
fn a_listener_on_all_addresses_answers_from_the_one_that_was_asked() {
    let media = Media::start(config(2, None), |_| Echo).unwrap();
    let client = client(V4);
    for last in 1..=4 {
        let to = SocketAddr::from(([127, 0, 0, last], media.bound()[0].1.port()));
        client.send_to(b"hello", to).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(client.recv_from(&mut buffer).unwrap(), (5, to));
    }
}

fn relay_round_trip(ip: IpAddr) {
    let server = client(ip);
    let server_addr = server.local_addr().unwrap();
    let media = Media::start(config(2, Some(ip)), |seat| Relay::new(&seat, server_addr)).unwrap();
    let announced = media.server_leg_address(server_addr, 5).unwrap();
    let client = client(ip);
    client.connect(media.bound()[0].1).unwrap();
    let mut buffer = vec![0; 2048];
    for start in (0..256).step_by(WINDOW as usize) {
        for number in start..start + WINDOW {
            client.send(&packet(1, number)).unwrap();
        }
        for number in start..start + WINDOW {
            let (len, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (&packet(1, number)[..], announced));
        }
    }
    // The answer goes to the socket's owner, which is another shard than the client's or the same: one that knows no
    // client drops it. The counter says that it came in any case.
    server.send_to(b"answer", announced).unwrap();
    wait_for(|| count(&media, Counter::ServerPackets) == 1);
    assert_eq!(count(&media, Counter::ServerBytes), 6);
    assert_eq!(count(&media, Counter::ClientPackets), 256);
}

/// Waits until another thread has done something that leaves no other trace than a counter.
fn wait_for(condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "it never came true");
        std::thread::yield_now();
    }
}

#[test]
fn packets_reach_the_server_from_the_announced_address() {
    relay_round_trip(V4);
    relay_round_trip(V6);
}

#[test]
fn a_socket_opened_on_the_way_receives() {
    let server = client(V4);
    let server_addr = server.local_addr().unwrap();
    let media = Media::start(config(1, Some(V4)), |seat| Relay::new(&seat, server_addr)).unwrap();
    let client = client(V4);
    client.connect(media.bound()[0].1).unwrap();
    let mut buffer = [0; 16];
    let mut ports = HashSet::new();
    for _ in 0..3 {
        client.send(b"grow").unwrap();
        let (_, from) = server.recv_from(&mut buffer).unwrap();
        ports.insert(from.port());
        server.send_to(b"answer", from).unwrap();
        let len = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"answer");
    }
    assert_eq!(ports.len(), 3);
    assert_eq!(media.pool().sockets(false).len(), 4 + 3);
}

/// Reports every timeout, and asks for the next one when it is told to.
struct Timer {
    due: Option<u64>,
    fired: Sender<Now>,
    alive: Arc<()>,
}

impl Multiplexer for Timer {
    fn handle_client<'b>(&mut self, now: Now, _: ClientPath, packet: &'b [u8], _: &mut impl Shell<'b>) {
        self.due = Some(now.mono + u64::from(packet[0]));
    }

    fn handle_server<'b>(&mut self, _: Now, _: ServerPath, _: &'b [u8], _: &mut impl Shell<'b>) {}

    fn handle_timeout<'b>(&mut self, now: Now, _: &mut impl Shell<'b>) {
        assert_eq!(Arc::strong_count(&self.alive), 1);
        self.due = None;
        self.fired.send(now).unwrap();
    }

    fn next_timeout(&self) -> Option<u64> {
        self.due
    }
}

fn timers(shards: usize) -> (Media, Receiver<Now>, Vec<Weak<()>>) {
    let (fired, timeouts) = mpsc::channel();
    let mut alive = Vec::new();
    let media = Media::start(config(shards, Some(V4)), |_| {
        let token = Arc::new(());
        alive.push(Arc::downgrade(&token));
        Timer {
            due: None,
            fired: fired.clone(),
            alive: token,
        }
    });
    (media.unwrap(), timeouts, alive)
}

#[test]
fn a_timeout_comes_when_it_is_due_and_not_before() {
    let (media, timeouts, _) = timers(1);
    let before = media.clock().now();
    client(V4).send_to(&[40], media.bound()[0].1).unwrap();
    let fired = timeouts.recv_timeout(PATIENCE).unwrap();
    assert!(fired.mono >= before.mono + 40, "{fired:?} {before:?}");
    assert!(timeouts.try_recv().is_err(), "once");
}

#[test]
fn waking_runs_the_timeouts_of_every_shard() {
    let (media, timeouts, _) = timers(3);
    media.wake();
    for _ in 0..3 {
        timeouts.recv_timeout(PATIENCE).unwrap();
    }
    assert!(timeouts.try_recv().is_err());
}

#[test]
fn stopping_joins_the_threads_and_frees_the_port() {
    let (media, _timeouts, alive) = timers(2);
    let (_, addr) = media.bound()[0];
    assert!(UdpSocket::bind(addr).is_err());
    assert_eq!(alive.iter().filter(|token| token.strong_count() == 1).count(), 2);
    media.stop();
    assert_eq!(alive.iter().filter(|token| token.strong_count() == 1).count(), 0);
    UdpSocket::bind(addr).unwrap();
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it() {
    let taken = UdpSocket::bind((V4, 0)).unwrap();
    let mut config = config(2, Some(V4));
    config.listeners[0].port = taken.local_addr().unwrap().port();
    let error = Media::start(config.clone(), |_| Echo).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&taken.local_addr().unwrap().to_string()),
        "{error}"
    );
    drop(taken);
    Media::start(config, |_| Echo).unwrap();
}

/// Sends to where nothing can go, and tells what the shell said.
struct Misdirected {
    numbers: Sender<u64>,
}

impl Multiplexer for Misdirected {
    fn handle_client<'b>(&mut self, _: Now, from: ClientPath, packet: &'b [u8], shell: &mut impl Shell<'b>) {
        let remote = from.remote();
        shell.forward_to_client(
            &ClientPath::Tcp {
                conn: TcpConnId(1),
                remote,
            },
            packet,
        );
        let local = V4;
        shell.send_to_client(
            &ClientPath::Udp {
                listener: ListenerId(99),
                local,
                remote,
            },
            packet,
        );
        shell.forward_to_client(
            &ClientPath::Udp {
                listener: ListenerId(3),
                local,
                remote: (V6, 9).into(),
            },
            packet,
        );
        shell.forward_to_server(
            &ServerPath {
                socket: SocketId(u32::MAX),
                remote,
            },
            packet,
        );
        shell.send_to_server(
            &ServerPath {
                socket: SocketId(0),
                remote: (V6, 9).into(),
            },
            packet,
        );
        shell.send_to_server(
            &ServerPath {
                socket: SocketId(0),
                remote: (V4, 0).into(),
            },
            packet,
        );
        for _ in 0..2 {
            self.numbers.send(shell.random()).unwrap();
        }
    }

    fn handle_server<'b>(&mut self, _: Now, _: ServerPath, _: &'b [u8], _: &mut impl Shell<'b>) {}

    fn handle_timeout<'b>(&mut self, _: Now, _: &mut impl Shell<'b>) {}

    fn next_timeout(&self) -> Option<u64> {
        None
    }
}

#[test]
fn what_has_nowhere_to_go_is_counted() {
    let (numbers, random) = mpsc::channel();
    let media = Media::start(config(1, Some(V4)), |_| Misdirected {
        numbers: numbers.clone(),
    })
    .unwrap();
    client(V4).send_to(b"x", media.bound()[0].1).unwrap();
    let first = random.recv_timeout(PATIENCE).unwrap();
    assert_ne!(first, random.recv_timeout(PATIENCE).unwrap());
    wait_for(|| drops(&media, DropReason::SendFailed) == 1);
    assert_eq!(drops(&media, DropReason::UnknownTuple), 3);
    assert_eq!(drops(&media, DropReason::NoServerSocket), 2);
}

#[test]
fn a_panicked_shard_shows_and_stops_cleanly() {
    let (media, timeouts, _) = timers(2);
    // An empty packet makes the timer panic on its first byte; the other shard goes on.
    client(V4).send_to(&[], media.bound()[0].1).unwrap();
    wait_for(|| !media.is_healthy());
    media.wake();
    timeouts.recv_timeout(PATIENCE).unwrap();
    media.stop();
}
