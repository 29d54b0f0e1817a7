//! What happens in mid-call: NAT rebinding, several tuples, a silent client, a silent server, a proxy restarted with
//! nothing but its key, candidates that come late.

use std::net::SocketAddr;

use xrtc::ice::{Counter, DropReason};
use xrtc_testing::sim::World;
use xrtc_testing::sim::browser::Habit;
use xrtc_testing::sim::call::{Placed, Plan, candidate, client_addr, server_addr, setup};
use xrtc_testing::sim::proxy::LISTENER;
use xrtc_testing::sim::server::{Kind, Server};
use xrtc_testing::sim::with_seeds;

/// A call that has run for some seconds.
fn running(seed: u64, addrs: &[SocketAddr], change: impl FnOnce(&mut Plan)) -> (World, Placed) {
    let mut world = World::new(seed, setup());
    let server = Server::new(addrs, world.fork());
    let server = world.add(server);
    let mut plan = world.plan(1, addrs[0]);
    change(&mut plan);
    let call = world.place(server, &plan);
    world.run(5_000);
    assert!(world.flows(&call, 1_000), "the call does not start");
    (world, call)
}

const MAPPED: [u16; 2] = [40_000, 40_001];

fn outer(at: usize) -> SocketAddr {
    SocketAddr::new(client_addr(700, 0).ip(), MAPPED[at])
}

#[test]
fn after_a_nat_rebinding_media_follows_within_one_check_interval() {
    with_seeds(0..20, |seed| {
        for habit in [Habit::Chrome, Habit::Firefox] {
            let (mut world, call) = running(seed, &[server_addr(1)], |plan| plan.habit = habit);
            world.net.bind_nat(client_addr(1, 0), outer(0));
            world.run(10_000);
            assert!(world.flows(&call, 1_000));
            world.net.bind_nat(client_addr(1, 0), outer(1));
            let (moved_at, before) = (world.now, world.received(&call));
            let interval = if habit == Habit::Chrome { 2_700 } else { 6_100 };
            assert!(world.run_until(interval, |world| {
                let now = world.received(&call);
                now.0 > before.0 + 2 && now.1 > before.1 + 2
            }));
            world.net.tap = Some(Vec::new());
            world.run(60_000);
            let tap = world.net.tap.take().unwrap();
            assert!(
                tap.iter().all(|(_, packet)| packet.dst != outer(0)),
                "the old tuple still gets packets"
            );
            assert!(world.browser(call.client).stream.last_at.unwrap() > moved_at + 59_000);
            assert_eq!(world.proxy.count(Counter::SessionsOpened), 1);
            assert_eq!(world.proxy.count(Counter::DownlinkMoved), 2);
        }
    });
}

#[test]
fn a_client_that_only_listens_is_found_after_a_nat_rebinding() {
    with_seeds(0..10, |seed| {
        for habit in [Habit::Chrome, Habit::Firefox] {
            let (mut world, call) = running(seed, &[server_addr(1)], |plan| plan.habit = habit);
            world.net.bind_nat(client_addr(1, 0), outer(0));
            world.run(10_000);
            world.browser(call.client).stream.active = false;
            world.net.bind_nat(client_addr(1, 0), outer(1));
            world.run(22_000);
            let before = world.browser(call.client).stream.received;
            world.run(1_000);
            assert!(world.browser(call.client).stream.received > before, "{habit:?}");
        }
    });
}

#[test]
fn media_decides_between_two_tuples_and_nomination_alone_does_not_move_it() {
    with_seeds(0..10, |seed| {
        for habit in [Habit::Chrome, Habit::Firefox] {
            let (mut world, call) = running(seed, &[server_addr(1)], |plan| {
                plan.habit = habit;
                plan.locals = vec![client_addr(1, 0), client_addr(1, 1)];
            });
            world.use_pair(&call, 1);
            world.run(2_000);
            let moves = world.proxy.count(Counter::DownlinkMoved);
            world.net.tap = Some(Vec::new());
            world.run(60_000);
            let tap = world.net.tap.take().unwrap();
            let mut media = tap
                .iter()
                .filter(|(_, packet)| packet.src == LISTENER && packet.bytes[0] == 0x80);
            assert!(media.all(|(_, packet)| packet.dst == client_addr(1, 1)));
            assert_eq!(
                world.proxy.count(Counter::DownlinkMoved),
                moves,
                "{habit:?}: the downlink flaps"
            );
        }
    });
}

#[test]
fn a_tuple_without_consent_carries_nothing_while_the_other_goes_on() {
    with_seeds(0..5, |seed| {
        let (mut world, call) = running(seed, &[server_addr(1)], |plan| {
            plan.locals = vec![client_addr(1, 0), client_addr(1, 1)];
        });
        world.net.silent.insert(client_addr(1, 0));
        world.use_pair(&call, 1);
        world.run(20_000);
        assert!(world.flows(&call, 1_000));
        world.run(15_000);
        let media = xrtc_testing::sim::stream::packet(1, 1);
        let late = xrtc_testing::sim::net::Packet {
            src: client_addr(1, 0),
            dst: LISTENER,
            bytes: media,
        };
        assert!(world.hand_to_proxy(&late).is_empty());
        let refused =
            world.proxy.drops(DropReason::ConsentExpired) + world.proxy.drops(DropReason::UnknownTuple);
        assert_eq!(refused, 1);
        assert!(world.flows(&call, 1_000));
    });
}

#[test]
fn a_silent_server_leaves_the_clients_checks_unanswered_and_then_the_call_ends() {
    with_seeds(0..10, |seed| {
        for kind in [Kind::Controlled, Kind::Controlling, Kind::Lite] {
            let (mut world, call) = running(seed, &[server_addr(1)], |plan| plan.kind = kind);
            world.net.silent.insert(server_addr(1));
            world.run(25_000);
            assert!(world.client_is_connected(&call), "a gap of 25 s is no failure");
            world.run(10_000);
            assert!(world.proxy.drops(DropReason::ServerLegFailed) > 0);
            world.run(15_000);
            assert!(!world.client_is_connected(&call), "Chrome has noticed");
            assert_eq!(
                world.proxy.shared.open_sessions(),
                1,
                "no new call for the same client"
            );
            world.run(14_000);
            assert!(world.client_has_failed(&call));
            // The client gives up then, as browsers do.
            world.net.silent.insert(client_addr(1, 0));
            world.run(31_000);
            assert_eq!(
                world.proxy.count(Counter::SessionsClosed),
                world.proxy.count(Counter::SessionsOpened)
            );
            assert_eq!(world.proxy.shared.open_sessions(), 0);
        }
    });
}

#[test]
fn a_server_that_comes_back_in_time_is_heard_again() {
    with_seeds(0..10, |seed| {
        let (mut world, call) = running(seed, &[server_addr(1)], |_| ());
        world.net.silent.insert(server_addr(1));
        world.run(20_000);
        world.net.silent.clear();
        world.run(2_000);
        assert!(world.flows(&call, 1_000));
        assert_eq!(world.proxy.count(Counter::SessionsOpened), 1);
    });
}

#[test]
fn a_silent_client_silences_the_server_leg_and_its_state_goes() {
    with_seeds(0..10, |seed| {
        for kind in [Kind::Controlled, Kind::Controlling, Kind::Lite] {
            let (mut world, call) = running(seed, &[server_addr(1)], |plan| plan.kind = kind);
            world.net.silent.insert(client_addr(1, 0));
            world.run(31_000);
            assert_eq!(world.proxy.shared.open_sessions(), 0);
            world.net.tap = Some(Vec::new());
            world.run(60_000);
            let tap = world.net.tap.take().unwrap();
            assert!(
                tap.iter().all(|(_, packet)| packet.dst != server_addr(1)),
                "{kind:?}: the server still gets packets"
            );
            assert!(world.session(&call).last_check.unwrap() < world.now - 60_000);
        }
    });
}

#[test]
fn the_call_goes_on_when_the_proxy_is_restarted_with_its_key_only() {
    with_seeds(0..20, |seed| {
        for kind in [Kind::Controlled, Kind::Controlling, Kind::Lite] {
            for port in [20_000, 28_000] {
                let (mut world, call) = running(seed, &[server_addr(1)], |plan| plan.kind = kind);
                world.setup.first_port = port;
                world.restart_proxy();
                world.run(4_000);
                assert!(world.flows(&call, 1_000), "{kind:?} from port {port}");
                world.run(30_000);
                let to = world.session(&call).media_goes_to().unwrap();
                assert!(world.proxy.owns(to), "{kind:?}: the server still sends to {to}");
                assert!(world.flows(&call, 1_000), "{kind:?} from port {port}, later");
            }
        }
    });
}

#[test]
fn a_proxy_restarted_twice_within_a_second_still_outbids_itself() {
    with_seeds(0..20, |seed| {
        let (mut world, call) = running(seed, &[server_addr(1)], |_| ());
        world.setup.first_port = 24_000;
        world.restart_proxy();
        let back = |world: &mut World| world.proxy.count(Counter::SessionsConnected) == 1;
        assert!(world.run_until(4_000, back));
        // The client happens to check again soon after the second restart.
        let first = world.now;
        world.setup.first_port = 28_000;
        world.restart_proxy();
        world.run(400);
        let at = world.now;
        world.browser(call.client).check_now(at);
        assert!(world.run_until(500, back));
        assert!(world.now - first < 1_000);
        world.run(1_000);
        let to = world.session(&call).media_goes_to().unwrap();
        assert!(world.proxy.owns(to), "the server still sends to {to}");
        assert!(world.flows(&call, 1_000));
    });
}

#[test]
fn candidates_that_come_late_are_used_before_and_after_the_call_begins() {
    with_seeds(0..10, |seed| {
        for delay in [0, 200, 5_000, 20_000] {
            let mut world = World::new(seed, setup());
            let server = Server::new(&[server_addr(1)], world.fork());
            let server = world.add(server);
            let mut plan = world.plan(1, server_addr(1));
            plan.candidates.clear();
            let call = world.place(server, &plan);
            world.run(delay);
            let token = call.remote.ufrag.clone();
            let now = world.now;
            // The first checks are lost; the next ones come at the usual pace all the same.
            world.net.silent.insert(server_addr(1));
            world
                .proxy
                .shared
                .late_candidate(&token, candidate(server_addr(1)), now);
            world.wake_proxy();
            world.run(if delay == 0 { 0 } else { 250 });
            world.net.silent.clear();
            world.run(600);
            assert!(world.flows(&call, 300), "after {delay} ms");
        }
    });
}

#[test]
fn a_late_candidate_outside_the_allow_list_is_not_used() {
    let (mut world, call) = running(1, &[server_addr(1)], |_| ());
    let evil = "192.168.7.7:22".parse().unwrap();
    let now = world.now;
    world.net.tap = Some(Vec::new());
    world
        .proxy
        .shared
        .late_candidate(&call.remote.ufrag, candidate(evil), now);
    world.wake_proxy();
    world.run(10_000);
    let tap = world.net.tap.take().unwrap();
    assert!(tap.iter().all(|(_, packet)| packet.dst != evil));
    assert!(world.proxy.drops(DropReason::ServerNotAllowed) > 0);
}

#[test]
fn two_tuples_of_one_call_on_two_shards_are_one_call() {
    with_seeds(0..10, |seed| {
        let mut world = World::new(seed, setup());
        let server = Server::new(&[server_addr(1)], world.fork());
        let server = world.add(server);
        let mut plan = world.plan(1, server_addr(1));
        plan.locals = vec![client_addr(1, 0), client_addr(1, 1)];
        world.proxy.pinned.insert(client_addr(1, 0), 0);
        world.proxy.pinned.insert(client_addr(1, 1), 1);
        let call = world.place(server, &plan);
        world.run(2_000);
        assert!(world.flows(&call, 1_000));
        for pair in [1, 0, 1] {
            world.use_pair(&call, pair);
            world.run(1_000);
            assert!(world.flows(&call, 1_000));
        }
        assert_eq!(world.proxy.count(Counter::SessionsOpened), 1);
        assert_eq!(world.proxy.shared.open_sessions(), 1);
    });
}

#[test]
fn a_flight_that_comes_before_the_server_leg_is_up_is_kept_and_bounded() {
    let mut world = World::new(3, setup());
    let server = Server::new(&[server_addr(1)], world.fork());
    let server = world.add(server);
    let plan = world.plan(1, server_addr(1));
    let call = world.place(server, &plan);
    world.net.silent.insert(server_addr(1));
    world.run(1_000);
    let sent = u64::from(world.browser(call.client).stream.sent);
    assert!(sent > 8, "media has begun on the client leg");
    world.browser(call.client).stream.active = false;
    world.net.silent.clear();
    world.run(3_000);
    assert_eq!(world.session(&call).stream.received, 8);
    assert_eq!(world.proxy.drops(DropReason::LegNotReady), sent - 8);
}
