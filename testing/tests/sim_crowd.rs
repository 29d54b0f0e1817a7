//! Many calls at once: one port for all of them, equal names, limits, and what rests after a call.

use xrtc::ice::{Counter, DropReason, Mode, RouteId};
use xrtc_testing::sim::World;
use xrtc_testing::sim::call::{Placed, ROUTE, client_addr, policy, server_addr, setup};
use xrtc_testing::sim::check::Login;
use xrtc_testing::sim::proxy::Setup;
use xrtc_testing::sim::server::{Kind, Server};
use xrtc_testing::sim::with_seeds;

const OTHER_ROUTE: RouteId = RouteId(3);

fn world_with(seed: u64, setup: Setup) -> (World, usize) {
    let mut world = World::new(seed, setup);
    let server = Server::single_port(server_addr(1), world.fork());
    let server = world.add(server);
    (world, server)
}

fn lite_call(world: &mut World, server: usize, number: u16) -> Placed {
    let mut plan = world.plan(number, server_addr(1));
    plan.kind = Kind::Lite;
    world.place(server, &plan)
}

fn hang_up(world: &mut World, number: u16) {
    world.net.silent.insert(client_addr(number, 0));
}

#[test]
fn a_thousand_calls_to_one_port_each_have_a_pair_of_their_own() {
    let (mut world, server) = world_with(1, setup());
    let calls: Vec<_> = (1..=1_000)
        .map(|number| lite_call(&mut world, server, number))
        .collect();
    for call in &calls {
        world.browser(call.client).stream.every = 1_000;
        world.session(call).stream.every = 1_000;
    }
    world.run(3_000);
    for call in &calls {
        let (client, server) = world.received(call);
        assert!(
            client > 0 && server > 0,
            "call {} {client} {server}",
            call.session
        );
    }
    let mut sources: Vec<_> = calls
        .iter()
        .map(|call| world.session(call).media_goes_to().unwrap())
        .collect();
    sources.sort_unstable();
    sources.dedup();
    assert_eq!(sources.len(), 1_000);
    assert_eq!(world.proxy.sockets(), 1_000);
    assert_eq!(world.proxy.shared.open_sessions(), 1_000);
    assert_eq!(world.proxy.all_drops(), []);
}

#[test]
fn sockets_are_shared_by_calls_to_different_servers() {
    let mut world = World::new(1, setup());
    let addrs: Vec<_> = (1..=100).map(server_addr).collect();
    let server = Server::new(&addrs, world.fork());
    let server = world.add(server);
    for (number, &addr) in addrs.iter().enumerate() {
        let plan = world.plan(number as u16 + 1, addr);
        world.place(server, &plan);
    }
    world.run(2_000);
    assert_eq!(world.proxy.count(Counter::SessionsConnected), 100);
    assert_eq!(world.proxy.sockets(), 4);
}

#[test]
fn without_a_free_pair_a_call_is_refused_and_the_others_go_on() {
    with_seeds(0..5, |seed| {
        let mut config = setup();
        config.max_sockets = 5;
        let (mut world, server) = world_with(seed, config);
        let calls: Vec<_> = (1..=8)
            .map(|number| lite_call(&mut world, server, number))
            .collect();
        world.run(3_000);
        assert_eq!(world.proxy.shared.open_sessions(), 5);
        assert!(world.proxy.drops(DropReason::NoServerSocket) > 0);
        let connected = calls
            .iter()
            .filter(|call| world.client_is_connected(call))
            .count();
        assert_eq!(connected, 5, "a call without a server gets no answer");
    });
}

#[test]
fn a_pair_rests_for_a_minute_after_its_call() {
    with_seeds(0..5, |seed| {
        let mut config = setup();
        config.max_sockets = 4;
        let (mut world, server) = world_with(seed, config);
        let calls: Vec<_> = (1..=4)
            .map(|number| lite_call(&mut world, server, number))
            .collect();
        world.run(3_000);
        assert!(calls.iter().all(|call| world.client_is_connected(call)));
        (1..=4).for_each(|number| hang_up(&mut world, number));
        let quiet = |world: &mut World| world.proxy.shared.open_sessions() == 0;
        assert!(world.run_until(40_000, quiet));
        let ended = world.now;
        let late = lite_call(&mut world, server, 9);
        world.run(57_000);
        assert!(
            !world.client_is_connected(&late),
            "the server may still take it for the old call"
        );
        assert!(world.run_until(10_000, |world| world.client_is_connected(&late)));
        assert!(world.now - ended < 66_000);
    });
}

#[test]
fn the_limits_of_the_daemon_the_route_and_the_token_hold() {
    with_seeds(0..5, |seed| {
        let mut config = setup();
        config.limits.max_sessions = 7;
        config.policies[0].max_sessions = 5;
        config.policies.push(policy(OTHER_ROUTE, Mode::Hijack));
        let (mut world, server) = world_with(seed, config);
        let mine: Vec<_> = (1..=8)
            .map(|number| lite_call(&mut world, server, number))
            .collect();
        world.run(2_000);
        assert_eq!(world.proxy.shared.open_sessions(), 5, "of the route");
        let others: Vec<_> = (11..=14)
            .map(|number| {
                let mut plan = world.plan(number, server_addr(1));
                plan.kind = Kind::Lite;
                plan.route = OTHER_ROUTE;
                world.place(server, &plan)
            })
            .collect();
        world.run(2_000);
        assert_eq!(world.proxy.shared.open_sessions(), 7, "of the daemon");
        assert!(world.proxy.drops(DropReason::SessionLimit) > 0);
        let connected = |world: &mut World, calls: &[Placed]| {
            calls
                .iter()
                .filter(|call| world.client_is_connected(call))
                .count()
        };
        assert_eq!(connected(&mut world, &mine), 5);
        assert_eq!(connected(&mut world, &others), 2);
        // One hangs up, and another takes its place.
        let number = 1 + mine
            .iter()
            .position(|call| world.client_is_connected(call))
            .unwrap() as u16;
        hang_up(&mut world, number);
        world.run(50_000);
        assert_eq!(world.proxy.shared.open_sessions(), 7);
        assert_eq!(connected(&mut world, &mine) + connected(&mut world, &others), 7);
    });
}

#[test]
fn one_token_carries_a_few_calls_only() {
    let (mut world, server) = world_with(1, setup());
    let plan = world.plan(1, server_addr(1));
    let clients: Vec<_> = (1..=9)
        .map(|number| {
            let mut plan = plan.clone();
            plan.client = Login::random(&mut world.rng);
            plan.locals = vec![client_addr(number, 0)];
            world.place(server, &plan)
        })
        .collect();
    world.run(2_000);
    assert_eq!(world.proxy.shared.open_sessions(), 4);
    assert!(world.proxy.drops(DropReason::SessionLimit) > 0);
    let connected = clients
        .iter()
        .filter(|call| world.client_is_connected(call))
        .count();
    assert_eq!(connected, 4);
}

#[test]
fn routes_with_equal_ufrags_never_mix() {
    with_seeds(0..10, |seed| {
        for kind in [Kind::Controlled, Kind::Controlling, Kind::Lite] {
            let mut config = setup();
            config.policies.push(policy(OTHER_ROUTE, Mode::Hijack));
            let mut world = World::new(seed, config);
            let login = (Login::random(&mut world.rng), Login::random(&mut world.rng));
            let mut calls = Vec::new();
            for (number, route) in [(1, ROUTE), (2, OTHER_ROUTE)] {
                let server = Server::new(&[server_addr(number)], world.fork());
                let server = world.add(server);
                let mut plan = world.plan(number.into(), server_addr(number));
                (plan.server, plan.client) = login.clone();
                plan.kind = kind;
                plan.route = route;
                calls.push(world.place(server, &plan));
            }
            assert_ne!(calls[0].remote, calls[1].remote);
            assert_ne!(calls[0].facing, calls[1].facing);
            world.run(20_000);
            for call in &calls {
                assert!(world.flows(call, 1_000), "{kind:?}");
            }
            assert_eq!(world.proxy.shared.open_sessions(), 2);
            assert_eq!(world.proxy.all_drops(), []);
        }
    });
}

#[test]
fn calls_of_one_route_with_equal_ufrags_at_both_ends_do_not_mix() {
    with_seeds(0..10, |seed| {
        let mut world = World::new(seed, setup());
        let login = (Login::random(&mut world.rng), Login::random(&mut world.rng));
        let calls: Vec<_> = (1..=2)
            .map(|number| {
                let server = Server::new(&[server_addr(number)], world.fork());
                let server = world.add(server);
                let mut plan = world.plan(number.into(), server_addr(number));
                (plan.server, plan.client) = login.clone();
                // Full agents that control: they send checks of their own, whose USERNAME is the same for both.
                plan.kind = Kind::Controlling;
                world.place(server, &plan)
            })
            .collect();
        world.run(20_000);
        for call in &calls {
            assert!(world.flows(call, 1_000));
        }
        assert_eq!(world.proxy.all_drops(), []);
    });
}

#[test]
fn a_client_tuple_that_starts_another_call_moves_cleanly() {
    with_seeds(0..10, |seed| {
        let mut world = World::new(seed, setup());
        let server = Server::new(&[server_addr(1), server_addr(2)], world.fork());
        let server = world.add(server);
        let first = world.plan(1, server_addr(1));
        let first = world.place(server, &first);
        world.run(3_000);
        assert!(world.flows(&first, 1_000));
        // The page is reloaded: a new call from the very same socket.
        world.browser(first.client).stop();
        let mut second = world.plan(2, server_addr(2));
        second.locals = vec![client_addr(1, 0)];
        let second = world.place(server, &second);
        world.run(1_000);
        assert_eq!(
            world.session(&first).stream.foreign + world.session(&second).stream.foreign,
            0
        );
        world.browser(second.client).stream.foreign = 0;
        world.run(40_000);
        assert!(world.flows(&second, 1_000));
        assert_eq!(world.proxy.shared.open_sessions(), 1);
    });
}
