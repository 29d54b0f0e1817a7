//! Tests of the multiplexer on its own: what the simulations do not reach.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::ice::{AllowList, Claims, KeyRing, ListenerId, Mode, RouteId, RoutePolicy, ServerCandidate};
use crate::media::shared::{Limits, Sockets};
use crate::wire::stun::{Class, IntegrityKey, Message, Role, TransactionId, Writer};

/// Counts what is sent to clients, and keeps what the server is asked.
#[derive(Default)]
struct Counting {
    to_clients: usize,
    asked: Vec<Vec<u8>>,
    random: u64,
}

impl Shell<'_> for Counting {
    fn forward_to_client(&mut self, _: &ClientPath, _: &[u8]) {
        self.to_clients += 1;
    }
    fn forward_to_server(&mut self, _: &ServerPath, _: &[u8]) {}
    fn send_to_client(&mut self, _: &ClientPath, _: &[u8]) {
        self.to_clients += 1;
    }
    fn send_to_server(&mut self, _: &ServerPath, packet: &[u8]) {
        self.asked.push(packet.to_vec());
    }
    fn open_server_socket(&mut self, _: bool) -> Option<SocketId> {
        None
    }
    fn server_socket_on(&mut self, _: bool, _: u16) -> Option<SocketId> {
        None
    }
    fn random(&mut self) -> u64 {
        self.random += 1;
        self.random
    }
}

const SERVER_PWD: &str = "abcdefghijklmnopqrstuv";
const SERVER_PAIR: ServerPath = ServerPath {
    socket: SocketId(0),
    remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)), 9_000),
};

fn mux() -> (Mux, String, String) {
    let keys = KeyRing::new([7; 32], &[]);
    let claims = Claims {
        route: RouteId(1),
        minted_at: 1_000,
        server_offers: false,
        server_lite: true,
        icetcp: false,
        ufrag: "abcd".into(),
        pwd: SERVER_PWD.into(),
        candidates: vec![ServerCandidate {
            transport: Transport::Udp,
            addr: SERVER_PAIR.remote,
        }],
    };
    let token = keys.seal(&claims).unwrap();
    let pwd = keys.client_facing_pwd(&token);
    let limits = Limits {
        max_sessions: 10,
        token_lifetime: 1_000_000,
    };
    let policy = RoutePolicy {
        id: RouteId(1),
        mode: Mode::Hijack,
        icetcp: false,
        allow: AllowList {
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..AllowList::default()
        },
        max_sessions: 10,
    };
    let shared = Shared::new(keys, limits);
    shared
        .policies
        .store(Arc::new([(RouteId(1), Arc::new(policy))].into_iter().collect()));
    shared.set_sockets(Sockets {
        v4: vec![SocketId(0)],
        v6: Vec::new(),
        initial: [1, 0],
    });
    (Mux::new(Arc::new(shared), Arc::default()), token, pwd)
}

fn client(port: u16) -> ClientPath {
    ClientPath::Udp {
        listener: ListenerId(0),
        local: IpAddr::from([192, 0, 2, 1]),
        remote: SocketAddr::from(([198, 51, 100, 1], port)),
    }
}

fn check(token: &str, pwd: &str, number: u64) -> Vec<u8> {
    check_as(Role::Controlling(1), token, pwd, number)
}

fn check_as(role: Role, token: &str, pwd: &str, number: u64) -> Vec<u8> {
    let mut id = [0; 12];
    // Spread over all bits, as random ids are.
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let mut buf = [0; 500];
    let mut writer = Writer::new(&mut buf, Class::Request, TransactionId(id));
    writer.username(&format!("{token}:client")).role(role);
    let len = writer.finish(&IntegrityKey::new(pwd)).unwrap();
    buf[..len].to_vec()
}

/// Has the server answer what it was asked.
fn serve(mux: &mut Mux, now: Now, shell: &mut Counting) {
    for asked in std::mem::take(&mut shell.asked) {
        let id = Message::parse(&asked).unwrap().transaction();
        let mut buf = [0; 200];
        let mut writer = Writer::new(&mut buf, Class::Success, id);
        writer.xor_mapped_address(SERVER_PAIR.remote);
        let len = writer.finish(&IntegrityKey::new(SERVER_PWD)).unwrap();
        mux.handle_server(now, SERVER_PAIR, &buf[..len], shell);
    }
}

fn at(mono: u64) -> Now {
    Now {
        mono,
        unix: 1_000_000 + mono,
    }
}

#[test]
fn a_client_that_moves_without_end_does_not_fill_the_tables() {
    let (mut mux, token, pwd) = mux();
    let mut shell = Counting::default();
    let mut most = 0;
    for step in 0..2_000_u16 {
        let now = at(1_000 * u64::from(step));
        mux.handle_client(now, client(step), &check(&token, &pwd, step.into()), &mut shell);
        mux.handle_timeout(now, &mut shell);
        serve(&mut mux, now, &mut shell);
        most = most.max(mux.clients.len());
    }
    assert_eq!(mux.counters.count(Counter::SessionsOpened), 1);
    // Consent lasts 30 s, and the table is tidied every 5 s.
    assert!(most <= 36, "{most}");
}

#[test]
fn packets_of_strangers_enter_no_table() {
    let (mut mux, token, pwd) = mux();
    let mut shell = Counting::default();
    let wrong = check(&token, "wrong", 1);
    for port in 0..1_000 {
        mux.handle_client(at(0), client(port), &wrong, &mut shell);
        mux.handle_client(at(0), client(port), &[0x80; 50], &mut shell);
        let from = ServerPath {
            socket: SocketId(0),
            remote: SocketAddr::new(SERVER_PAIR.remote.ip(), port),
        };
        mux.handle_server(at(0), from, &wrong, &mut shell);
        mux.handle_server(at(0), from, &[0x80; 50], &mut shell);
    }
    assert_eq!(
        (mux.clients.len(), mux.servers.len(), shell.to_clients),
        (0, 0, 0)
    );
    mux.handle_client(at(0), client(1), &check(&token, &pwd, 1), &mut shell);
    assert_eq!((mux.clients.len(), shell.to_clients), (1, 1));
}

#[test]
fn timers_of_a_call_that_was_brought_forward_do_not_pile_up() {
    let (mut mux, token, pwd) = mux();
    let mut shell = Counting::default();
    for step in 0..3_000_u64 {
        let now = at(100 * step);
        mux.handle_client(now, client(1), &check(&token, &pwd, step), &mut shell);
        mux.handle_timeout(now, &mut shell);
        serve(&mut mux, now, &mut shell);
        assert!(mux.timers.len() < 100, "{}", mux.timers.len());
    }
}

#[test]
fn a_tuple_carries_data_for_thirty_seconds_after_its_check_and_no_longer() {
    let (mut mux, token, pwd) = mux();
    let mut shell = Counting::default();
    mux.handle_client(at(0), client(1), &check(&token, &pwd, 1), &mut shell);
    shell = Counting::default();
    let media = [0x80; 50];
    for (mono, passes) in [(29_999, true), (30_001, false)] {
        mux.handle_server(at(mono), SERVER_PAIR, &media, &mut shell);
        mux.handle_client(at(mono), client(1), &media, &mut shell);
        let expired = mux.counters.drops(DropReason::ConsentExpired);
        assert_eq!((shell.to_clients, expired), (1, u64::from(!passes)), "{mono}");
    }
}

#[test]
fn what_a_server_sends_before_a_tuple_has_consent_waits_and_is_bounded() {
    let (mut mux, token, pwd) = mux();
    let mut shell = Counting::default();
    let conflict = check_as(Role::Controlled(1), &token, &pwd, 1);
    mux.handle_client(at(0), client(1), &conflict, &mut shell);
    assert_eq!(shell.to_clients, 1, "the 487");
    for _ in 0..20 {
        mux.handle_server(at(10), SERVER_PAIR, &[0x80; 50], &mut shell);
    }
    assert_eq!(
        (shell.to_clients, mux.counters.drops(DropReason::LegNotReady)),
        (1, 12)
    );
    mux.handle_client(at(20), client(1), &check(&token, &pwd, 2), &mut shell);
    assert_eq!(shell.to_clients, 1 + 1 + 8, "the answer and what waited");
}
