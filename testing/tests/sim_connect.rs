//! Calls come up and stay up: every row of the role table, against servers by habit and against an independent agent,
//! on clean and on bad networks.

use std::net::SocketAddr;

use xrtc::ice::{Counter, DropReason};
use xrtc_testing::sim::World;
use xrtc_testing::sim::browser::Habit;
use xrtc_testing::sim::call::{Placed, Plan, client_addr, server_addr, setup};
use xrtc_testing::sim::is_peer::{IsPeer, IsSetup};
use xrtc_testing::sim::net::Link;
use xrtc_testing::sim::proxy::LISTENER;
use xrtc_testing::sim::server::{Kind, Server};
use xrtc_testing::sim::with_seeds;

fn world_with_server(seed: u64, addrs: &[SocketAddr]) -> (World, usize) {
    let mut world = World::new(seed, setup());
    let server = Server::new(addrs, world.fork());
    let server = world.add(server);
    (world, server)
}

fn place(world: &mut World, server: usize, change: impl FnOnce(&mut Plan)) -> Placed {
    let mut plan = world.plan(1, server_addr(1));
    change(&mut plan);
    world.place(server, &plan)
}

#[test]
fn a_call_connects_whoever_offers_and_whatever_the_server_is() {
    with_seeds(0..10, |seed| {
        for kind in [Kind::Controlled, Kind::Controlling, Kind::Lite] {
            for habit in [Habit::Chrome, Habit::Firefox] {
                let (mut world, server) = world_with_server(seed, &[server_addr(1)]);
                let call = place(&mut world, server, |plan| {
                    plan.kind = kind;
                    plan.habit = habit;
                });
                world.run(1_000);
                assert!(world.flows(&call, 1_000), "{kind:?} {habit:?}");
                let mapped = world.browser(call.client).mapped.clone();
                assert!(mapped.iter().all(|&addr| addr == client_addr(1, 0)));
                assert_eq!(world.browser(call.client).conflicts, 0, "{kind:?}");
                assert_eq!(world.session(&call).conflicts, 0, "{kind:?}");
                assert_eq!(world.session(&call).unproved, 0, "media before ICE was done");
                assert_eq!(world.proxy.all_drops(), [], "{kind:?} {habit:?}");
                assert_eq!(world.proxy.count(Counter::SessionsConnected), 1);
            }
        }
    });
}

/// The server's side of a call is the independent agent.
fn with_is_server(seed: u64, offers: bool, lite: bool, link: Option<Link>) {
    let mut world = World::new(seed, setup());
    if let Some(link) = link {
        world.net.client_leg = link.clone();
        world.net.server_leg = link;
    }
    let nobody = Server::new(&[server_addr(9)], world.fork());
    let nobody = world.add(nobody);
    let call = place(&mut world, nobody, |plan| {
        plan.kind = match (lite, offers) {
            (true, _) => Kind::Lite,
            (false, true) => Kind::Controlling,
            (false, false) => Kind::Controlled,
        };
    });
    let local = world.session(&call).local.clone();
    let told = IsSetup {
        local,
        remote: call.facing.clone(),
        addrs: vec![server_addr(1)],
        candidates: Vec::new(),
        controlling: offers && !lite,
        lite,
    };
    let agent = IsPeer::new(&told, 1, world.now);
    let agent = world.add(agent);
    for at in 0..24 {
        let before = (
            world.is_peer(agent).stream.received,
            world.browser(call.client).stream.received,
        );
        world.run(5_000);
        let after = (
            world.is_peer(agent).stream.received,
            world.browser(call.client).stream.received,
        );
        assert!(
            after.0 > before.0 && after.1 > before.1,
            "interval {at}: {before:?} {after:?}"
        );
        assert!(world.is_peer(agent).is_connected());
    }
    assert_eq!(world.is_peer(agent).controlling(), offers && !lite);
    assert_eq!(world.is_peer(agent).stream.foreign, 0);
    assert_eq!(world.proxy.drops(DropReason::StunIntegrity), 0);
    assert_eq!(world.proxy.shared.open_sessions(), 1);
}

#[test]
fn an_independent_full_agent_is_content_with_the_server_leg_in_both_roles() {
    with_seeds(0..3, |seed| {
        with_is_server(seed, false, false, None);
        with_is_server(seed, true, false, None);
    });
}

#[test]
fn an_independent_lite_agent_is_content_with_the_server_leg() {
    with_seeds(0..3, |seed| {
        with_is_server(seed, false, true, None);
        with_is_server(seed, true, true, None);
    });
}

#[test]
fn an_independent_agent_stays_connected_with_a_tenth_lost() {
    with_seeds(0..3, |seed| {
        let bad = Link {
            loss: 10,
            duplicates: 5,
            delay: 5..=60,
        };
        with_is_server(seed, false, false, Some(bad.clone()));
        with_is_server(seed, true, false, Some(bad));
    });
}

#[test]
fn an_independent_agent_is_content_with_the_client_leg() {
    with_seeds(0..5, |seed| {
        let (mut world, server) = world_with_server(seed, &[server_addr(1)]);
        let call = place(&mut world, server, |_| ());
        let local = world.browser(call.client).local.clone();
        // The browser never was: its call is the agent's.
        world.net.silent.insert(client_addr(1, 0));
        let told = IsSetup {
            local,
            remote: call.remote.clone(),
            addrs: vec![client_addr(2, 0), client_addr(2, 1)],
            candidates: vec![LISTENER],
            controlling: true,
            lite: false,
        };
        let agent = IsPeer::new(&told, 1, world.now);
        let agent = world.add(agent);
        world.run(120_000);
        assert!(world.is_peer(agent).is_connected());
        assert_eq!(world.is_peer(agent).nominated.map(|(_, to)| to), Some(LISTENER));
        assert!(world.is_peer(agent).stream.received > 1_000);
        assert!(world.session(&call).stream.received > 1_000);
        assert_eq!(world.proxy.shared.open_sessions(), 1);
    });
}

#[test]
fn a_fifth_of_all_packets_lost_does_not_end_a_call() {
    with_seeds(0..10, |seed| {
        for (kind, habit) in [
            (Kind::Controlled, Habit::Chrome),
            (Kind::Controlling, Habit::Firefox),
            (Kind::Lite, Habit::Chrome),
        ] {
            let (mut world, server) = world_with_server(seed, &[server_addr(1)]);
            let bad = Link {
                loss: 20,
                duplicates: 0,
                delay: 20..=20,
            };
            world.net.client_leg = bad.clone();
            world.net.server_leg = bad;
            let call = place(&mut world, server, |plan| {
                plan.kind = kind;
                plan.habit = habit;
            });
            world.run(5_000);
            for _ in 0..24 {
                assert!(world.flows(&call, 5_000), "{kind:?}");
            }
            assert_eq!(world.proxy.count(Counter::SessionsOpened), 1);
            let (client, server) = world.received(&call);
            assert!(client > 600 && server > 600, "{client} {server}");
        }
    });
}

#[test]
fn reordering_and_duplicates_make_no_second_call_and_lose_nothing() {
    with_seeds(0..10, |seed| {
        let (mut world, server) = world_with_server(seed, &[server_addr(1)]);
        let wild = Link {
            loss: 0,
            duplicates: 30,
            delay: 1..=400,
        };
        world.net.client_leg = wild.clone();
        world.net.server_leg = wild;
        let call = place(&mut world, server, |_| ());
        world.run(60_000);
        let sent = (
            world.browser(call.client).stream.sent,
            world.session(&call).stream.sent,
        );
        let (client, server) = world.received(&call);
        assert!(
            client + 20 >= u64::from(sent.1) && server + 20 >= u64::from(sent.0),
            "{sent:?} {client} {server}"
        );
        assert_eq!(world.proxy.count(Counter::SessionsOpened), 1);
        let harmless = [DropReason::StunUnsolicited];
        assert!(
            world
                .proxy
                .all_drops()
                .iter()
                .all(|(reason, _)| harmless.contains(reason))
        );
    });
}

#[test]
fn a_server_that_knows_the_client_only_later_is_reached_all_the_same() {
    with_seeds(0..5, |seed| {
        let (mut world, server) = world_with_server(seed, &[server_addr(1)]);
        let call = place(&mut world, server, |plan| {
            plan.kind = Kind::Controlling;
            plan.peer_known = false;
        });
        world.run(2_000);
        assert!(
            world.client_is_connected(&call),
            "the client leg waits for nobody"
        );
        let facing = call.facing.clone();
        world.session(&call).peer = Some(facing);
        world.run(2_000);
        assert!(world.flows(&call, 1_000));
    });
}

#[test]
fn a_server_address_that_answers_is_found_among_those_that_do_not() {
    with_seeds(0..10, |seed| {
        for kind in [Kind::Controlled, Kind::Controlling, Kind::Lite] {
            let (mut world, server) = world_with_server(seed, &[server_addr(3)]);
            let call = place(&mut world, server, |plan| {
                plan.kind = kind;
                plan.candidates = vec![server_addr(1), server_addr(2), server_addr(3)];
            });
            world.run(1_000);
            assert!(world.flows(&call, 1_000), "{kind:?}");
        }
    });
}

#[test]
fn a_server_address_that_falls_silent_is_left_for_another() {
    with_seeds(0..10, |seed| {
        for kind in [Kind::Controlled, Kind::Lite] {
            let (mut world, server) = world_with_server(seed, &[server_addr(1), server_addr(2)]);
            let call = place(&mut world, server, |plan| {
                plan.kind = kind;
                plan.candidates = vec![server_addr(1), server_addr(2)];
            });
            world.run(3_000);
            assert!(world.flows(&call, 1_000));
            let before = world.session(&call).stream.received;
            world.net.silent.insert(server_addr(1));
            world.run(15_000);
            assert!(world.session(&call).stream.received > before + 20, "{kind:?}");
        }
    });
}
