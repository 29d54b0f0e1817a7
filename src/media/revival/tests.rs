//! Snapshots taken, sealed, read and refused.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::format::{self, Ages, CallRecord, MAX_LEN, Records, SnapshotError, TupleRecord, Uplink};
use super::{Snapshot, revive};
use crate::ice::client_leg::CONSENT;
use crate::ice::{
    AllowList, Claims, ClientPath, Counters, DropReason, KeyRing, ListenerId, Mode, Now, RouteId,
    RoutePolicy, ServerCandidate, SocketId, Transport,
};
use crate::media::shared::{Limits, Shared};

const ROUTE: RouteId = RouteId(5);
const NOW: Now = Now {
    mono: 100_000,
    unix: 1_790_000_000_000,
};
const UPLINK: Uplink = Uplink {
    server: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)), 21_000),
    port: 40_000,
};
const LIFETIME: u64 = 3_600;

fn later(ms: u64) -> Now {
    Now {
        mono: NOW.mono + ms,
        unix: NOW.unix + ms,
    }
}

fn keys() -> KeyRing {
    KeyRing::new([9; 32], &[])
}

fn port_of(_: SocketId) -> Option<u16> {
    Some(UPLINK.port)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn udp(text: &str) -> ServerCandidate {
    ServerCandidate {
        transport: Transport::Udp,
        addr: addr(text),
    }
}

fn listeners() -> Vec<(ListenerId, SocketAddr)> {
    ["0.0.0.0:6443", "[::]:6443"]
        .map(|text| (ListenerId(3), addr(text)))
        .to_vec()
}

/// Tables with one hijack route that may reach 10.0.0.0/8.
fn tables() -> Shared {
    let limits = Limits {
        max_sessions: 20_000,
        token_lifetime: LIFETIME,
    };
    let shared = Shared::new(keys(), limits);
    allow(&shared, "10.0.0.0/8", 20_000);
    shared
}

fn allow(shared: &Shared, network: &str, max_sessions: usize) {
    let policy = RoutePolicy {
        id: ROUTE,
        mode: Mode::Hijack,
        icetcp: false,
        allow: AllowList {
            networks: vec![network.parse().unwrap()],
            ..AllowList::default()
        },
        max_sessions,
    };
    shared
        .policies
        .store(Arc::new([(ROUTE, Arc::new(policy))].into()));
}

fn token(minted_ago: u64) -> String {
    let claims = Claims {
        route: ROUTE,
        minted_at: (NOW.unix / 1_000 - minted_ago) as u32,
        server_offers: false,
        server_lite: false,
        icetcp: false,
        ufrag: "srv1".into(),
        pwd: "a-password-of-22-chars".into(),
        candidates: vec![ServerCandidate {
            transport: Transport::Udp,
            addr: addr("10.0.0.2:20000"),
        }],
    };
    keys().seal(&claims).unwrap()
}

fn tuple(remote: &str, check: u64, media: Option<u64>) -> TupleRecord {
    let remote = addr(remote);
    let [listener, local] = match remote {
        SocketAddr::V4(_) => ["0", "192.0.2.1"],
        SocketAddr::V6(_) => ["1", "2001:db8::1"],
    };
    TupleRecord {
        listener: listener.parse().unwrap(),
        local: local.parse::<IpAddr>().unwrap(),
        remote,
        ages: Ages {
            check,
            nomination: None,
            media,
        },
    }
}

fn call<'a>(token: &'a str, client_ufrag: &'a str, tuples: Vec<TupleRecord>) -> CallRecord<'a> {
    CallRecord {
        token,
        client_ufrag,
        uplink: Some(UPLINK),
        tuples,
    }
}

/// A sealed snapshot, written at `NOW`.
fn snapshot(calls: &[CallRecord<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    format::write_head(&mut bytes, NOW.unix, listeners().iter().map(|(_, addr)| *addr));
    assert!(calls.iter().all(|call| format::write_call(&mut bytes, call)));
    keys().attest(&mut bytes);
    bytes
}

fn revived(shared: &Shared, sealed: &[u8], now: Now) -> (Result<usize, SnapshotError>, Counters) {
    let counters = Counters::default();
    let done = revive(shared, sealed, &listeners(), now, &counters, || 7);
    (done, counters)
}

/// Asserts that nothing of a snapshot was taken, for this reason.
fn refused(shared: &Shared, sealed: &[u8], now: Now, reason: DropReason) {
    let (done, counters) = revived(shared, sealed, now);
    assert_eq!(done.unwrap_or(0), 0);
    let counted: Vec<_> = DropReason::ALL
        .iter()
        .filter(|reason| counters.drops(**reason) > 0)
        .collect();
    assert_eq!(counted, [&reason]);
    assert_eq!((shared.hijacked().len(), shared.open_sessions()), (0, 0));
}

#[test]
fn what_is_written_is_read() {
    let token = token(0);
    let written = [
        call(&token, "abcd", vec![tuple("198.51.100.7:50000", 2_000, Some(3))]),
        call(
            "t",
            "u",
            vec![
                tuple("[2001:db8::7]:1", 0, None),
                tuple("203.0.113.1:9", 29_999, Some(u64::from(u32::MAX) + 5)),
            ],
        ),
        CallRecord {
            uplink: None,
            ..call("", "", Vec::new())
        },
    ];
    let sealed = snapshot(&written);
    let attested = keys().attested(&sealed).unwrap();
    let records = Records::read(&attested, NOW.unix + 1_500).unwrap();
    assert_eq!(records.age, 1_500);
    assert_eq!(
        records.listeners,
        listeners().iter().map(|(_, addr)| *addr).collect::<Vec<_>>()
    );
    let mut expected = written.clone();
    // Too long ago to be told.
    expected[1].tuples[1].ages.media = None;
    assert_eq!(records.collect::<Vec<_>>(), expected);
}

#[test]
fn a_revived_call_is_what_it_was() {
    let token = token(60);
    let record = call(
        &token,
        "abcd",
        vec![
            tuple("198.51.100.7:50000", 2_000, Some(900)),
            tuple("[2001:db8::7]:50001", 4_000, Some(20)),
        ],
    );
    let shared = tables();
    let (done, _) = revived(&shared, &snapshot(&[record]), later(1_000));
    assert_eq!(done, Ok(1));
    let call = shared.call(&token, "abcd").unwrap();
    assert_eq!(shared.open_sessions(), 1);
    let session = call.lock();
    let seen: Vec<_> = session.tuples().iter().map(|tuple| tuple.last_seen()).collect();
    assert_eq!(
        seen.iter().map(|seen| seen.check).collect::<Vec<_>>(),
        [98_000, 96_000]
    );
    assert_eq!(
        seen.iter().map(|seen| seen.media).collect::<Vec<_>>(),
        [99_100, 99_980]
    );
    // It has what was left of its consent, and no more.
    assert!(!session.is_over(later(CONSENT - 2_001)));
    assert!(session.is_over(later(CONSENT - 2_000)));
    drop(session);
    let second = ClientPath::Udp {
        listener: ListenerId(3),
        local: "2001:db8::1".parse().unwrap(),
        remote: addr("[2001:db8::7]:50001"),
    };
    let (owner, tuple) = shared.waiting.take_tuple(&second).unwrap();
    assert!(Arc::ptr_eq(&owner, &call));
    // The downlink is where it was: where media came last.
    let (best, _) = call.lock().release_to_client(later(1_000)).unwrap();
    assert!(Arc::ptr_eq(&best, &tuple));
    let (arrivals, more) = shared.waiting.take_arrivals(10);
    assert!(!more);
    assert_eq!(arrivals[0].servers, [udp("10.0.0.2:20000")]);
    assert_eq!(arrivals[0].uplink, Some(UPLINK));
}

#[test]
fn a_snapshot_of_revived_calls_is_the_same_again() {
    let token = token(60);
    let tuples = vec![tuple("198.51.100.7:50000", 2_000, Some(900))];
    let records = ["a", "b"].map(|ufrag| call(&token, ufrag, tuples.clone()));
    let mut other = records.clone();
    other[1].tuples[0].remote = addr("198.51.100.8:50000");
    let shared = tables();
    let sealed = snapshot(&other);
    assert_eq!(revived(&shared, &sealed, later(1_000)).0, Ok(2));
    let [first, second] =
        [0, 900].map(|ms| Snapshot::take(&shared, &listeners(), port_of, later(1_000 + ms)));
    assert_eq!((first.calls(), first.shape()), (2, second.shape()));
    let again = tables();
    assert_eq!(revived(&again, &first.seal(&keys()), later(5_000)).0, Ok(2));
    let seen = again.call(&token, "a").unwrap().lock().tuples()[0].last_seen();
    assert_eq!((seen.check, seen.nomination), (98_000, 0));
    let gone = shared.call(&token, "a").unwrap();
    shared.close(&gone, NOW.mono);
    let third = Snapshot::take(&shared, &listeners(), port_of, later(1_000));
    assert_eq!(third.calls(), 1);
    assert_ne!(third.shape(), second.shape());
}

#[test]
fn a_tuple_that_two_calls_claim_goes_to_the_first() {
    let token = token(0);
    let shared = tables();
    let claimed = || vec![tuple("198.51.100.7:50000", 10, None)];
    let records = [call(&token, "a", claimed()), call(&token, "b", claimed())];
    assert_eq!(revived(&shared, &snapshot(&records), NOW).0, Ok(2));
    let tuples = |ufrag| shared.call(&token, ufrag).unwrap().lock().tuples().len();
    assert_eq!((tuples("a"), tuples("b")), (1, 0));
}

#[test]
fn what_its_client_has_begun_already_is_left_alone() {
    let token = token(0);
    let shared = tables();
    let sealed = snapshot(&[call(&token, "a", vec![tuple("198.51.100.7:50000", 10, None)])]);
    assert_eq!(revived(&shared, &sealed, NOW).0, Ok(1));
    let (again, counters) = revived(&shared, &sealed, NOW);
    assert_eq!(again, Ok(0));
    assert!(DropReason::ALL.iter().all(|reason| counters.drops(*reason) == 0));
    assert_eq!(shared.open_sessions(), 1);
}

#[test]
fn damaged_and_foreign_snapshots_are_refused() {
    let token = token(0);
    let sealed = snapshot(&[call(&token, "a", vec![tuple("198.51.100.7:50000", 10, None)])]);
    let shared = tables();
    for at in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1 << (at % 8);
        refused(&shared, &flipped, NOW, DropReason::SnapshotRefused);
        refused(&shared, &sealed[..at], NOW, DropReason::SnapshotRefused);
    }
    let foreign = tables();
    foreign.keys.store(Arc::new(KeyRing::new([8; 32], &[])));
    let (done, _) = revived(&foreign, &sealed, NOW);
    assert_eq!(done, Err(SnapshotError::Forged));
    let too_large = vec![0; MAX_LEN + 1];
    assert_eq!(revived(&shared, &too_large, NOW).0, Err(SnapshotError::TooLarge));
}

#[test]
fn what_verifies_and_makes_no_sense_ends_the_list() {
    let shared = tables();
    let token = token(0);
    let whole = snapshot(&[call(&token, "a", vec![tuple("198.51.100.7:50000", 10, None)])]);
    let statement = keys().attested(&whole).unwrap().bytes().to_vec();
    for len in 0..statement.len() {
        let mut cut = statement[..len].to_vec();
        keys().attest(&mut cut);
        let (done, _) = revived(&shared, &cut, NOW);
        assert!(
            matches!(done, Ok(0) | Err(SnapshotError::Version)),
            "{len}: {done:?}"
        );
    }
    let mut next_version = statement;
    next_version[7] += 1;
    keys().attest(&mut next_version);
    assert_eq!(
        revived(&shared, &next_version, NOW).0,
        Err(SnapshotError::Version)
    );
    assert_eq!(shared.open_sessions(), 0);
}

#[test]
fn old_snapshots_and_those_from_the_future_are_refused() {
    let token = token(0);
    let sealed = snapshot(&[call(&token, "a", vec![tuple("198.51.100.7:50000", 0, None)])]);
    refused(&tables(), &sealed, later(CONSENT), DropReason::SnapshotRefused);
    let set_back = Now {
        unix: NOW.unix - 60_000,
        ..NOW
    };
    refused(&tables(), &sealed, set_back, DropReason::SnapshotRefused);
    assert_eq!(revived(&tables(), &sealed, later(CONSENT - 1)).0, Ok(1));
}

#[test]
fn calls_that_could_not_begin_do_not_go_on() {
    let good = token(0);
    let tuples = || vec![tuple("198.51.100.7:50000", 10_000, None)];
    let sealed = snapshot(&[call(&good, "a", tuples())]);
    refused(&tables(), &sealed, later(20_000), DropReason::ConsentExpired);

    let not_a_token = snapshot(&[call("nonsense", "a", tuples())]);
    refused(&tables(), &not_a_token, NOW, DropReason::TokenForged);

    let old = token(LIFETIME + 1);
    let expired = snapshot(&[call(&old, "a", tuples())]);
    refused(&tables(), &expired, NOW, DropReason::TokenExpired);

    let without_route = tables();
    without_route.policies.store(Arc::default());
    refused(&without_route, &sealed, NOW, DropReason::TokenRoute);

    let elsewhere = tables();
    allow(&elsewhere, "192.168.0.0/16", 9);
    refused(&elsewhere, &sealed, NOW, DropReason::ServerNotAllowed);

    let full = tables();
    allow(&full, "10.0.0.0/8", 0);
    refused(&full, &sealed, NOW, DropReason::SessionLimit);

    let moved = [(ListenerId(0), addr("0.0.0.0:7443"))];
    let counters = Counters::default();
    let done = revive(&tables(), &sealed, &moved, NOW, &counters, || 7);
    assert_eq!((done, counters.drops(DropReason::ConsentExpired)), (Ok(0), 1));
}

#[test]
fn a_path_in_use_that_is_not_allowed_any_more_is_not_tried() {
    let token = token(0);
    let shared = tables();
    allow(&shared, "10.0.0.2/32", 9);
    let sealed = snapshot(&[call(&token, "a", vec![tuple("198.51.100.7:50000", 10, None)])]);
    assert_eq!(revived(&shared, &sealed, NOW).0, Ok(1));
    let (arrivals, _) = shared.waiting.take_arrivals(1);
    assert_eq!(arrivals[0].servers, [udp("10.0.0.2:20000")]);
    assert_eq!(arrivals[0].uplink, None);
}

/// Prints how long ten thousand calls take: the figures of an unoptimised build, and so the worst ones.
#[test]
#[expect(clippy::print_stderr, reason = "the test harness shows it on demand")]
fn ten_thousand_calls_are_fast() {
    const CALLS: usize = 10_000;
    let names: Vec<_> = (0..CALLS)
        .map(|at| (token(at as u64 / 4), format!("u{at}")))
        .collect();
    let records: Vec<_> = names
        .iter()
        .zip(0u32..)
        .map(|((token, ufrag), at)| {
            let remote = format!("198.18.{}.{}:{}", at >> 8 & 0xff, at & 0xff, 1_024 + at);
            call(token, ufrag, vec![tuple(&remote, 10, Some(1))])
        })
        .collect();
    let (shared, sealed) = (tables(), snapshot(&records));
    let begun = Instant::now();
    assert_eq!(revived(&shared, &sealed, NOW).0, Ok(CALLS));
    let reviving = begun.elapsed();
    let begun = Instant::now();
    let taken = Snapshot::take(&shared, &listeners(), port_of, NOW);
    let taking = begun.elapsed();
    let sealed = taken.seal(&keys());
    let sealing = begun.elapsed() - taking;
    eprintln!(
        "{CALLS} calls, {} bytes: taken in {taking:?}, sealed in {sealing:?}, revived in {reviving:?}",
        sealed.len()
    );
    assert!(taking + sealing < std::time::Duration::from_secs(1));
}
