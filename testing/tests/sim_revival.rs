//! The proxy is killed and restarted with its key and a snapshot of its calls: they go on at once, and what has changed
//! since the snapshot is found out as ever.

use xrtc::ice::{Counter, DropReason};
use xrtc_testing::sim::World;
use xrtc_testing::sim::browser::Habit;
use xrtc_testing::sim::call::{Placed, Plan, client_addr, server_addr, setup};
use xrtc_testing::sim::server::{Kind, Server};
use xrtc_testing::sim::with_seeds;

/// Milliseconds between packets: fine enough to see a round trip of the server leg, which takes 2.
const PACE: u64 = 2;
/// How old snapshots are.
const AGE: u64 = 4_000;

/// A call that has run for some seconds.
fn running(seed: u64, change: impl FnOnce(&mut Plan)) -> (World, Placed) {
    let mut world = World::new(seed, setup());
    let server = Server::new(&[server_addr(1)], world.fork());
    let server = world.add(server);
    let mut plan = world.plan(1, server_addr(1));
    change(&mut plan);
    let call = world.place(server, &plan);
    world.browser(call.client).stream.every = PACE;
    world.session(&call).stream.every = PACE;
    world.run(8_000);
    assert!(world.flows(&call, 1_000), "the call does not start");
    (world, call)
}

/// Forgets the gaps so far.
fn reset_gaps(world: &mut World, call: &Placed) {
    world.browser(call.client).stream.longest_gap = 0;
    world.session(call).stream.longest_gap = 0;
}

/// The longest time without media at the client and at the server.
fn gaps(world: &mut World, call: &Placed) -> (u64, u64) {
    let client = world.browser(call.client).stream.longest_gap;
    (client, world.session(call).stream.longest_gap)
}

#[test]
fn media_flows_again_within_a_round_trip_of_the_server_leg() {
    with_seeds(0..4, |seed| {
        for kind in [Kind::Controlled, Kind::Controlling, Kind::Lite] {
            for habit in [Habit::Chrome, Habit::Firefox] {
                // The old port, and another one because it was taken meanwhile.
                for (port, limit) in [(20_000, (PACE, 2 + PACE)), (28_000, (8, 2 + PACE))] {
                    let (mut world, call) = running(seed, |plan| {
                        plan.kind = kind;
                        plan.habit = habit;
                    });
                    world.setup.first_port = port;
                    world.run(AGE);
                    reset_gaps(&mut world, &call);
                    assert_eq!(world.restart_proxy_with_snapshot(AGE), 1);
                    world.run(1_000);
                    let gaps = gaps(&mut world, &call);
                    assert!(
                        gaps.0 <= limit.0 && gaps.1 <= limit.1,
                        "{kind:?} {habit:?} from {port}: {gaps:?}"
                    );
                    world.run(20_000);
                    assert!(world.flows(&call, 1_000), "{kind:?} from {port}, later");
                    let counted = [Counter::SessionsOpened, Counter::SessionsRevived];
                    assert_eq!(counted.map(|counter| world.proxy.count(counter)), [1, 1]);
                }
            }
        }
    });
}

#[test]
fn a_client_whose_tuple_changed_meanwhile_is_found_by_its_next_check() {
    with_seeds(0..5, |seed| {
        let (mut world, call) = running(seed, |_| ());
        let outer = client_addr(700, 0);
        world.net.bind_nat(client_addr(1, 0), outer);
        assert_eq!(world.restart_proxy_with_snapshot(0), 1);
        world.run(2_700);
        assert!(world.flows(&call, 500));
        assert_eq!(world.proxy.count(Counter::SessionsOpened), 1);
        assert_eq!(world.proxy.count(Counter::DownlinkMoved), 1);
    });
}

#[test]
fn a_server_that_is_gone_meanwhile_shows_to_the_client() {
    with_seeds(0..3, |seed| {
        let (mut world, call) = running(seed, |_| ());
        world.net.silent.insert(server_addr(1));
        assert_eq!(world.restart_proxy_with_snapshot(0), 1);
        world.run(35_000);
        assert!(world.proxy.drops(DropReason::ServerLegFailed) > 0);
        world.run(30_000);
        assert!(world.client_has_failed(&call));
        assert_eq!(world.proxy.count(Counter::SessionsOpened), 1);
    });
}

#[test]
fn a_call_that_ended_after_its_snapshot_ends_again() {
    with_seeds(0..3, |seed| {
        let (mut world, call) = running(seed, |_| ());
        let snapshot = world.proxy.snapshot(world.moment());
        world.net.silent.insert(client_addr(1, 0));
        world.restart_proxy();
        let moment = world.moment();
        assert_eq!(world.proxy.revive(&snapshot, moment), Ok(1));
        world.wake_proxy();
        // What was left of its consent, and no more.
        world.run(30_000);
        assert_eq!(world.proxy.shared.open_sessions(), 0);
        assert_eq!(world.proxy.count(Counter::SessionsClosed), 1);
        world.net.tap = Some(Vec::new());
        world.run(60_000);
        let tap = world.net.tap.take().unwrap();
        assert!(tap.iter().all(|(_, packet)| packet.dst != server_addr(1)));
        assert!(world.session(&call).last_check.unwrap() < world.now - 60_000);
    });
}

#[test]
fn a_revived_tuple_that_another_call_takes_moves_cleanly() {
    with_seeds(0..3, |seed| {
        let outer = client_addr(700, 0);
        let (mut world, first) = running(seed, |_| ());
        world.net.bind_nat(client_addr(1, 0), outer);
        world.run(10_000);
        world.session(&first).stream.active = false;
        // Until nothing is under way to a client that is about to be another one.
        world.run(100);
        assert_eq!(world.restart_proxy_with_snapshot(0), 1);
        world.net.silent.insert(client_addr(1, 0));
        world.net.bind_nat(client_addr(2, 0), outer);
        let plan = world.plan(2, server_addr(1));
        let second = world.place(first.server, &plan);
        world.run(1_000);
        world.session(&first).stream.active = true;
        // No packet of the first call reaches the second one's client: it would show as a foreign one.
        assert!(world.flows(&second, 5_000));
        assert_eq!(world.proxy.count(Counter::SessionsRevived), 1);
        world.run(30_000);
        assert_eq!(world.proxy.shared.open_sessions(), 1);
    });
}

#[test]
fn hundreds_of_calls_come_back_together() {
    let mut world = World::new(5, setup());
    let server = Server::new(&[server_addr(1)], world.fork());
    let server = world.add(server);
    let calls: Vec<_> = (1..=300)
        .map(|number| {
            let plan = world.plan(number, server_addr(1));
            world.place(server, &plan)
        })
        .collect();
    world.run(5_000);
    assert_eq!(world.restart_proxy_with_snapshot(0), 300);
    world.run(300);
    let before: Vec<_> = calls.iter().map(|call| world.received(call)).collect();
    world.run(300);
    for (call, before) in calls.iter().zip(before) {
        let after = world.received(call);
        assert!(after.0 > before.0 && after.1 > before.1);
    }
    let revived = world.proxy.count(Counter::SessionsRevived);
    assert_eq!((revived, world.proxy.count(Counter::SessionsOpened)), (300, 300));
}
