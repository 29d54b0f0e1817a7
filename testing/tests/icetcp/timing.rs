//! What depends on the time, with none passing: the multiplexer alone, its shell only writes down what is asked of it.

use std::net::SocketAddr;
use std::sync::Arc;

use xrtc::ice::{
    AllowList, Claims, ClientPath, Counters, DropReason, KeyRing, Mode, Now, RouteId, RoutePolicy,
    ServerCandidate, ServerPath, Shell, SocketId, TcpConnId, Transport,
};
use xrtc::media::StreamEvent;
use xrtc::media::mux::Mux;
use xrtc::media::shared::{Limits, Shared, Sockets};
use xrtc::wire::stun::{Class, Message, Role};
use xrtc_testing::sim::check::{Check, Login, answer};

use super::client::{check, rtp, transaction};

const ROUTE: RouteId = RouteId(1);
/// 2027.
const UNIX: u32 = 1_800_000_000;

#[derive(Default)]
struct Shown {
    to_server: Vec<(ServerPath, Vec<u8>)>,
    dialled: Vec<ServerPath>,
    hung_up: Vec<ServerPath>,
    clients_hung_up: Vec<ClientPath>,
    random: u64,
}

impl Shell<'_> for Shown {
    fn forward_to_client(&mut self, _: &ClientPath, _: &[u8]) {}

    fn forward_to_server(&mut self, to: &ServerPath, packet: &[u8]) {
        self.send_to_server(to, packet);
    }

    fn send_to_client(&mut self, _: &ClientPath, _: &[u8]) {}

    fn send_to_server(&mut self, to: &ServerPath, packet: &[u8]) {
        self.to_server.push((*to, packet.to_vec()));
    }

    fn open_server_socket(&mut self, _: bool) -> Option<SocketId> {
        None
    }

    fn server_socket_on(&mut self, _: bool, _: u16) -> Option<SocketId> {
        None
    }

    fn random(&mut self) -> u64 {
        self.random += 0x9e37_79b9;
        self.random
    }

    fn hang_up_client(&mut self, client: &ClientPath) {
        self.clients_hung_up.push(*client);
    }

    fn dial_server(&mut self, remote: SocketAddr) -> Option<SocketId> {
        let socket = SocketId::of_connection(u32::try_from(self.dialled.len()).expect("few"));
        self.dialled.push(ServerPath { socket, remote });
        Some(socket)
    }

    fn hang_up_server(&mut self, server: &ServerPath) {
        if server.transport() == Transport::Tcp {
            self.hung_up.push(*server);
        }
    }
}

/// A hijacked call of a client on TCP with a server on both, and `icetcp`.
struct Bench {
    mux: Mux,
    counters: Arc<Counters>,
    shared: Arc<Shared>,
    keys: KeyRing,
    shown: Shown,
    server: Login,
    mono: u64,
}

const TCP: ([u8; 4], u16) = ([192, 0, 2, 1], 1);
const UDP: ([u8; 4], u16) = ([192, 0, 2, 1], 2);

impl Bench {
    fn start() -> Self {
        let keys = KeyRing::new([7; 32], &[]);
        let limits = Limits {
            max_sessions: 10,
            token_lifetime: 3_600,
        };
        let shared = Arc::new(Shared::new(keys.clone(), limits));
        let policy = RoutePolicy {
            id: ROUTE,
            mode: Mode::Hijack,
            icetcp: true,
            allow: AllowList {
                networks: vec!["192.0.2.0/24".parse().expect("a network")],
                ..AllowList::default()
            },
            max_sessions: 10,
        };
        shared
            .policies
            .store(Arc::new([(ROUTE, Arc::new(policy))].into()));
        shared.set_sockets(Sockets {
            v4: vec![SocketId(0)],
            v6: Vec::new(),
            initial: [1, 0],
        });
        let counters = Arc::new(Counters::default());
        let mut bench = Self {
            mux: Mux::new(shared.clone(), counters.clone()),
            counters,
            shared,
            keys,
            shown: Shown::default(),
            server: Login::new("srv1", "a-password-of-the-server"),
            mono: 1_000,
        };
        bench.check();
        bench
    }

    fn now(&self) -> Now {
        let unix = u64::from(UNIX) * 1_000 + self.mono;
        Now {
            mono: self.mono,
            unix,
        }
    }

    fn client() -> ClientPath {
        ClientPath::Tcp {
            conn: TcpConnId(5),
            remote: ([198, 51, 100, 1], 9).into(),
        }
    }

    /// A check of the client.
    fn check(&mut self) {
        let tcp = ServerCandidate {
            transport: Transport::Tcp,
            addr: TCP.into(),
        };
        let udp = ServerCandidate {
            transport: Transport::Udp,
            addr: UDP.into(),
        };
        let claims = Claims {
            route: ROUTE,
            minted_at: UNIX,
            server_offers: false,
            server_lite: false,
            icetcp: true,
            ufrag: self.server.ufrag.clone(),
            pwd: self.server.pwd.clone(),
            candidates: vec![tcp, udp],
        };
        let token = self.keys.seal(&claims).expect("short");
        let login = Login::new(&token, &self.keys.client_facing_pwd(&token));
        let packet = check(transaction(), &login);
        self.mux
            .handle_client(self.now(), Self::client(), &packet, &mut self.shown);
    }

    /// Lets time pass; the client goes on checking.
    fn pass(&mut self, millis: u64) {
        let end = self.mono + millis;
        while self.mono < end {
            self.mono += 50;
            if self.mono.is_multiple_of(2_000) {
                self.check();
            }
            self.mux.handle_timeout(self.now(), &mut self.shown);
        }
    }

    fn event(&mut self, event: StreamEvent) {
        self.mux.handle_stream(self.now(), event, &mut self.shown);
    }

    /// Checks sent on a transport since the last look.
    fn checks_on(&mut self, transport: Transport) -> usize {
        let sent = std::mem::take(&mut self.shown.to_server);
        let on = sent.iter().filter(|(path, _)| path.transport() == transport);
        on.count()
    }

    /// Answers the last check to the server.
    fn answer(&mut self) {
        let (path, packet) = self.shown.to_server.last().expect("a check").clone();
        let message = Message::parse(&packet).expect("STUN");
        assert_eq!(message.class(), Class::Request);
        let packet = answer(&message, path.remote, &self.server.key(), false);
        self.mux.handle_server(self.now(), path, &packet, &mut self.shown);
    }

    /// A check of the server over UDP.
    fn server_checks_on_udp(&mut self) {
        let local = self.keys.server_facing(ROUTE, "clnt", None);
        let packet = Check {
            id: transaction(),
            to: &Login::new(&local.ufrag, &local.pwd),
            from: &self.server.ufrag,
            role: Role::Controlled(1),
            priority: 1,
            nominate: false,
        }
        .packet();
        let path = ServerPath {
            socket: SocketId(0),
            remote: UDP.into(),
        };
        self.mux.handle_server(self.now(), path, &packet, &mut self.shown);
    }
}

#[test]
fn checks_wait_for_the_connection_and_udp_for_a_second() {
    let mut bench = Bench::start();
    let path = bench.shown.dialled[0];
    assert_eq!(bench.shown.dialled.len(), 1);
    bench.pass(900);
    assert!(bench.shown.to_server.is_empty());
    bench.event(StreamEvent::ServerOpen(path));
    assert_eq!(bench.checks_on(Transport::Tcp), 1);
    bench.pass(300);
    assert!(bench.checks_on(Transport::Udp) > 0, "the connection is silent");
}

#[test]
fn udp_is_left_alone_while_tcp_answers() {
    let mut bench = Bench::start();
    let path = bench.shown.dialled[0];
    bench.server_checks_on_udp();
    assert_eq!(bench.counters.drops(DropReason::UdpHeldBack), 1);
    bench.event(StreamEvent::ServerOpen(path));
    bench.answer();
    for _ in 0..600 {
        assert_eq!(bench.checks_on(Transport::Udp), 0);
        bench.pass(50);
        if !bench.shown.to_server.is_empty() {
            bench.answer();
        }
        bench.server_checks_on_udp();
    }
    assert_eq!(bench.counters.drops(DropReason::UdpHeldBack), 601);
}

#[test]
fn udp_takes_over_at_once_when_the_connection_does_not_come_up() {
    let mut bench = Bench::start();
    let path = bench.shown.dialled[0];
    bench.event(StreamEvent::ServerClosed(path));
    assert_eq!(bench.checks_on(Transport::Udp), 1);
    bench.pass(5_000);
    assert_eq!(
        bench.shown.dialled.len(),
        1,
        "what never worked is not dialled again"
    );
}

#[test]
fn a_connection_that_has_worked_is_made_again_before_udp_is_used() {
    let mut bench = Bench::start();
    let first = bench.shown.dialled[0];
    bench.event(StreamEvent::ServerOpen(first));
    bench.answer();
    bench.event(StreamEvent::ServerClosed(first));
    let second = bench.shown.dialled[1];
    assert_eq!(second.remote, first.remote);
    bench.event(StreamEvent::ServerOpen(second));
    bench.answer();
    bench.shown.to_server.clear();
    bench
        .mux
        .handle_client(bench.now(), Bench::client(), &rtp(1), &mut bench.shown);
    assert_eq!(bench.shown.to_server, [(second, rtp(1))]);
}

#[test]
fn both_connections_are_closed_when_the_call_is_over() {
    let mut bench = Bench::start();
    let path = bench.shown.dialled[0];
    bench.event(StreamEvent::ServerOpen(path));
    bench.answer();
    let end = bench.mono + 36_000;
    while bench.mono < end {
        bench.mono += 100;
        bench.mux.handle_timeout(bench.now(), &mut bench.shown);
    }
    assert_eq!(bench.shown.hung_up, [path]);
    assert_eq!(bench.shown.clients_hung_up, [Bench::client()]);
    assert_eq!(bench.shared.open_sessions(), 0);
    assert!(bench.shared.holder(path).is_none());
}
