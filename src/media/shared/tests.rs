//! Tests of the shared tables: limits, pairs, early candidates.

use super::*;
use crate::ice::{ClientPath, ListenerId, Transport};

const MONO: u64 = 1_000_000;

fn shared(sockets: u32) -> Shared {
    let limits = Limits {
        max_sessions: 3,
        token_lifetime: 60,
    };
    let shared = Shared::new(KeyRing::new([7; 32], &[]), limits);
    shared.set_sockets(Sockets {
        v4: (0..sockets).map(SocketId).collect(),
        v6: vec![SocketId(99)],
        initial: [sockets as usize, 1],
    });
    shared
}

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 10_000))
}

fn direct(ufrag: &str, pwd: &str) -> DirectCall {
    DirectCall::new(RouteId(1), ufrag, pwd, Vec::new(), MONO)
}

fn peer() -> Peer {
    let client = ClientPath::Tcp {
        conn: crate::ice::TcpConnId(1),
        remote: addr(200),
    };
    let call = Arc::new(direct("abcd", "pwd"));
    Peer::Direct(Arc::new(DirectFlow::new(call, client, "c", MONO)))
}

fn reserved(shared: &Shared, remote: SocketAddr, hash: u64) -> Option<u32> {
    shared
        .reserve(remote, hash, &peer(), MONO)
        .map(|path| path.socket.0)
}

#[test]
fn the_hash_names_the_first_socket_and_the_others_follow() {
    let shared = shared(4);
    let taken: Vec<_> = (0..5).map(|_| reserved(&shared, addr(1), 6)).collect();
    assert_eq!(taken, [Some(2), Some(3), Some(0), Some(1), None]);
    assert_eq!(
        reserved(&shared, addr(2), 6),
        Some(2),
        "another server, the same socket"
    );
    assert_eq!(reserved(&shared, "[fd00::1]:9".parse().unwrap(), 6), Some(99));
}

#[test]
fn sockets_that_came_later_do_not_change_what_a_hash_names() {
    let shared = shared(4);
    (4..9).for_each(|id| shared.add_socket(false, SocketId(id)));
    for hash in 0..20 {
        assert_eq!(reserved(&shared, addr(hash as u8), hash), Some((hash % 4) as u32));
    }
}

#[test]
fn a_released_pair_rests_and_is_free_then() {
    let shared = shared(1);
    let path = shared.reserve(addr(1), 0, &peer(), MONO).unwrap();
    assert!(shared.holder(path).is_some());
    shared.release(path, MONO);
    assert!(shared.holder(path).is_none());
    for (after, free) in [(0, false), (REST - 1, false), (REST, true)] {
        assert_eq!(
            shared.hold(path, &peer(), MONO + after).is_some(),
            free,
            "{after} ms"
        );
    }
}

#[test]
fn sweeping_frees_what_has_rested_and_lets_what_was_left_behind_rest() {
    let shared = shared(2);
    let (rested, left) = (
        shared.reserve(addr(1), 0, &peer(), MONO).unwrap(),
        shared.reserve(addr(2), 0, &peer(), MONO).unwrap(),
    );
    shared.release(rested, MONO);
    let Some(Peer::Direct(flow)) = shared.holder(left) else {
        panic!("a flow holds it")
    };
    assert!(flow.close());
    shared.sweep(MONO + 10);
    assert_eq!(shared.pairs.len(), 2);
    assert!(shared.holder(left).is_none());
    shared.sweep(MONO + REST);
    assert_eq!(shared.pairs.len(), 1, "only what began to rest later");
    shared.sweep(MONO + REST + 10);
    assert_eq!(shared.pairs.len(), 0);
}

#[test]
fn limits_count_up_and_down() {
    let shared = shared(1);
    let (one, two) = (RouteId(1), RouteId(2));
    assert!(shared.count(one, 2) && shared.count(one, 2));
    assert!(!shared.count(one, 2), "the route's");
    assert!(shared.count(two, 2));
    assert!(!shared.count(two, 2), "the daemon's");
    assert_eq!(shared.open_sessions(), 3);
    shared.uncount(one);
    assert!(shared.count(two, 2));
    assert_eq!(shared.open_sessions(), 3);
}

#[test]
fn trickled_candidates_are_bounded_and_expire() {
    let shared = shared(1);
    let candidate = |n| ServerCandidate {
        transport: Transport::Udp,
        addr: addr(n),
    };
    (0..50).for_each(|n| shared.late_candidate("token", candidate(n), MONO));
    assert_eq!(shared.early_candidates("token").len(), MAX_EARLY_PER_CALL);
    for n in 0..2 * MAX_EARLY {
        shared.late_candidate(&n.to_string(), candidate(1), MONO);
    }
    assert_eq!(shared.early.len(), MAX_EARLY);
    shared.sweep(MONO + EARLY_LIFETIME);
    assert_eq!(shared.early.len(), 0);
}

#[test]
fn icedirect_calls_are_told_apart_by_password_renewed_bounded_and_expire() {
    let shared = shared(1);
    assert!(shared.register_direct(direct("abcd", "one")));
    assert!(shared.register_direct(direct("abcd", "two")));
    assert!(shared.register_direct(direct("abcd", "one")), "renewed");
    assert_eq!(shared.direct_calls("abcd").len(), 2);
    let others = (0..50).filter(|n| shared.register_direct(direct(&n.to_string(), "one")));
    assert_eq!(others.count(), 5, "twice the sessions in all");
    shared.sweep(MONO + DIRECT_LIFETIME - 1);
    assert_eq!(shared.direct_calls("abcd").len(), 2);
    shared.sweep(MONO + DIRECT_LIFETIME);
    assert_eq!(shared.direct_calls("abcd").len(), 0);
}

#[test]
fn limits_change_for_the_next_call() {
    let shared = shared(1);
    assert!((0..3).all(|_| shared.count(RouteId(1), 10)));
    assert!(!shared.count(RouteId(1), 10));
    let limits = Limits {
        max_sessions: 2,
        token_lifetime: 7,
    };
    shared.set_limits(limits);
    assert_eq!((shared.open_sessions(), shared.token_lifetime()), (3, 7));
    shared.uncount(RouteId(1));
    assert!(!shared.count(RouteId(1), 10), "two are there");
    shared.uncount(RouteId(1));
    assert!(shared.count(RouteId(1), 10));
}

#[test]
fn a_listener_is_in_use_as_long_as_a_call_has_its_client_on_it() {
    let shared = shared(1);
    let (used, other) = (ListenerId(4), ListenerId(5));
    let client = ClientPath::Udp {
        listener: used,
        local: addr(1).ip(),
        remote: addr(2),
    };
    let flow = DirectFlow::new(Arc::new(direct("abcd", "pwd")), client, "c", MONO);
    let path = shared
        .reserve(addr(3), 0, &Peer::Direct(Arc::new(flow)), MONO)
        .unwrap();
    assert!(shared.is_used(used) && !shared.is_used(other));
    shared.release(path, MONO);
    assert!(!shared.is_used(used));
}
