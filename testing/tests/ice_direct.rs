//! Icedirect: ICE passes through, between the client and the server themselves.

use std::net::SocketAddr;

use xrtc::ice::{Counter, DropReason};
use xrtc::media::direct::DirectCall;
use xrtc::wire::stun::{Message, Role};
use xrtc_testing::sim::browser::Habit;
use xrtc_testing::sim::call::{
    DIRECT_ROUTE, Placed, Plan, ROUTE, candidate, client_addr, server_addr, setup,
};
use xrtc_testing::sim::check::{Check, Login, transaction};
use xrtc_testing::sim::is_peer::{IsPeer, IsSetup};
use xrtc_testing::sim::net::{Link, Packet};
use xrtc_testing::sim::proxy::{LISTENER, SERVER_LEG_IP};
use xrtc_testing::sim::server::{Kind, Server};
use xrtc_testing::sim::{World, stream, with_seeds};

fn placed(seed: u64, addrs: &[SocketAddr], change: impl FnOnce(&mut Plan)) -> (World, Placed) {
    let mut world = World::new(seed, setup());
    let server = Server::new(addrs, world.fork());
    let server = world.add(server);
    let mut plan = world.plan(1, addrs[0]);
    plan.route = DIRECT_ROUTE;
    plan.candidates = addrs.to_vec();
    change(&mut plan);
    let call = world.place_direct(server, &plan);
    (world, call)
}

fn refused(world: &mut World, src: SocketAddr, bytes: Vec<u8>, reason: DropReason) {
    let before = (world.proxy.drops(reason), world.proxy.shared.open_sessions());
    let packet = Packet {
        src,
        dst: LISTENER,
        bytes,
    };
    assert_eq!(world.hand_to_proxy(&packet), [], "{reason:?}");
    assert_eq!(
        world.proxy.drops(reason),
        before.0 + 1,
        "{reason:?} {:?}",
        world.proxy.all_drops()
    );
    assert_eq!(world.proxy.shared.open_sessions(), before.1);
}

#[test]
fn a_call_connects_whoever_offers() {
    with_seeds(0..10, |seed| {
        for kind in [Kind::Controlled, Kind::Controlling, Kind::Lite] {
            for habit in [Habit::Chrome, Habit::Firefox] {
                let (mut world, call) = placed(seed, &[server_addr(1)], |plan| {
                    plan.kind = kind;
                    plan.habit = habit;
                });
                if kind == Kind::Controlling {
                    world.browser(call.client).start_controlled();
                }
                world.run(2_000);
                assert!(world.flows(&call, 1_000), "{kind:?}");
                let mapped = world.browser(call.client).mapped.clone();
                assert!(
                    mapped.iter().all(|addr| addr.ip() == SERVER_LEG_IP),
                    "the server's view of the client"
                );
                assert_eq!(world.browser(call.client).conflicts, 0);
                assert_eq!(world.proxy.count(Counter::SessionsConnected), 1);
                assert_eq!(world.proxy.all_drops(), []);
            }
        }
    });
}

#[test]
fn independent_agents_at_both_ends_connect_through_it() {
    with_seeds(0..5, |seed| {
        for (client_controls, lite) in [(true, false), (false, false), (true, true)] {
            let (mut world, call) = placed(seed, &[server_addr(9)], |plan| {
                plan.candidates = vec![server_addr(1)];
            });
            world.net.silent.insert(client_addr(1, 0));
            world.net.client_leg = Link {
                loss: 5,
                duplicates: 5,
                delay: 5..=50,
            };
            let (local, remote) = (world.browser(call.client).local.clone(), call.remote.clone());
            let client = IsSetup {
                local: local.clone(),
                remote: remote.clone(),
                addrs: vec![client_addr(2, 0), client_addr(2, 1)],
                candidates: vec![LISTENER],
                controlling: client_controls,
                lite: false,
            };
            let server = IsSetup {
                local: remote,
                remote: local,
                addrs: vec![server_addr(1)],
                candidates: Vec::new(),
                controlling: !client_controls,
                lite,
            };
            let client = IsPeer::new(&client, 1, world.now);
            let server = IsPeer::new(&server, 1, world.now);
            let (client, server) = (world.add(client), world.add(server));
            world.run(60_000);
            for end in [client, server] {
                assert!(world.is_peer(end).is_connected());
                assert!(
                    world.is_peer(end).stream.received > 450,
                    "{}",
                    world.is_peer(end).stream.received
                );
                assert_eq!(world.is_peer(end).stream.foreign, 0);
            }
        }
    });
}

#[test]
fn every_client_tuple_has_a_server_pair_of_its_own() {
    with_seeds(0..5, |seed| {
        let (mut world, call) = placed(seed, &[server_addr(1)], |plan| {
            plan.locals = (0..4).map(|socket| client_addr(1, socket)).collect();
        });
        world.run(3_000);
        assert_eq!(world.proxy.shared.open_sessions(), 4);
        let mut mapped = world.browser(call.client).mapped.clone();
        mapped.sort_unstable();
        mapped.dedup();
        assert_eq!(mapped.len(), 4, "the server sees four clients' addresses");
        assert!(world.flows(&call, 1_000));
    });
}

#[test]
fn the_servers_checks_arrive_and_their_answers_go_back_the_same_way() {
    with_seeds(0..10, |seed| {
        let (mut world, call) = placed(seed, &[server_addr(1), server_addr(2)], |plan| {
            plan.kind = Kind::Controlling;
        });
        world.browser(call.client).start_controlled();
        world.net.tap = Some(Vec::new());
        world.run(3_000);
        assert!(world.browser(call.client).checks_answered > 1);
        let tap = world.net.tap.take().unwrap();
        let stun = |packet: &Packet, request: bool| {
            Message::parse(&packet.bytes)
                .ok()
                .filter(|message| (message.class() == xrtc::wire::stun::Class::Request) == request)
                .map(|message| message.transaction())
        };
        for addr in [server_addr(1), server_addr(2)] {
            let asked: Vec<_> = tap.iter().filter(|(_, packet)| packet.src == addr).collect();
            let asked = asked.iter().filter_map(|(_, packet)| stun(packet, true));
            for id in asked {
                let mut answers = tap.iter().filter(|(_, packet)| {
                    stun(packet, false) == Some(id) && packet.src.ip() == SERVER_LEG_IP
                });
                assert!(
                    answers.all(|(_, packet)| packet.dst == addr),
                    "an answer went another way"
                );
            }
        }
    });
}

#[test]
fn the_way_to_the_server_fails_over() {
    with_seeds(0..10, |seed| {
        for kind in [Kind::Controlled, Kind::Controlling, Kind::Lite] {
            let (mut world, call) = placed(seed, &[server_addr(1), server_addr(2)], |plan| plan.kind = kind);
            if kind == Kind::Controlling {
                world.browser(call.client).start_controlled();
            }
            world.run(3_000);
            assert!(world.flows(&call, 1_000), "{kind:?}");
            let before = world.session(&call).stream.received;
            world.net.silent.insert(server_addr(1));
            world.run(25_000);
            assert!(world.session(&call).stream.received > before + 50, "{kind:?}");
        }
    });
}

#[test]
fn who_does_not_know_the_servers_password_is_not_admitted() {
    with_seeds(0..5, |seed| {
        let (mut world, call) = placed(seed, &[server_addr(1)], |_| ());
        world.run(2_000);
        let stranger = "203.0.113.66:666".parse().unwrap();
        let own = world.browser(call.client).local.ufrag.clone();
        let mut check = |to: &Login| {
            Check {
                id: transaction(&mut world.rng),
                to,
                from: &own,
                role: Role::Controlling(1),
                priority: 1,
                nominate: true,
            }
            .packet()
        };
        let wrong = check(&Login::new(&call.remote.ufrag, "wrong-password-wrong-pass"));
        let good = check(&call.remote);
        refused(&mut world, stranger, wrong, DropReason::StunIntegrity);
        refused(
            &mut world,
            stranger,
            stream::packet(1, 1),
            DropReason::UnknownTuple,
        );
        let capture = Packet {
            src: client_addr(1, 0),
            dst: LISTENER,
            bytes: good.clone(),
        };
        assert_eq!(world.hand_to_proxy(&capture).len(), 1);
        refused(&mut world, stranger, good, DropReason::StunReplayed);
        assert!(world.flows(&call, 1_000));
    });
}

#[test]
fn packets_from_elsewhere_do_not_reach_the_client() {
    let (mut world, call) = placed(1, &[server_addr(1)], |_| ());
    world.run(2_000);
    let pair = world.session(&call).media_goes_to().unwrap();
    let forged = Packet {
        src: server_addr(66),
        dst: pair,
        bytes: stream::packet(1, 1),
    };
    assert_eq!(world.hand_to_proxy(&forged), []);
    assert_eq!(world.proxy.drops(DropReason::UnknownTuple), 1);
}

#[test]
fn a_tuple_without_consent_is_closed_and_its_pairs_rest() {
    with_seeds(0..5, |seed| {
        let (mut world, call) = placed(seed, &[server_addr(1)], |_| ());
        world.run(2_000);
        let pair = world.session(&call).media_goes_to().unwrap();
        world.net.silent.insert(client_addr(1, 0));
        world.run(40_000);
        assert_eq!(world.proxy.shared.open_sessions(), 0);
        assert_eq!(world.proxy.count(Counter::SessionsClosed), 1);
        let late = Packet {
            src: server_addr(1),
            dst: pair,
            bytes: stream::packet(1, 1),
        };
        assert_eq!(world.hand_to_proxy(&late), []);
    });
}

#[test]
fn a_nat_rebinding_is_a_new_tuple_of_the_same_call() {
    with_seeds(0..10, |seed| {
        let (mut world, call) = placed(seed, &[server_addr(1)], |plan| plan.kind = Kind::Lite);
        let outer = |port| SocketAddr::new(client_addr(700, 0).ip(), port);
        world.net.bind_nat(client_addr(1, 0), outer(40_000));
        world.run(3_000);
        assert!(world.flows(&call, 1_000));
        world.net.bind_nat(client_addr(1, 0), outer(40_001));
        world.run(4_000);
        assert!(world.flows(&call, 1_000));
    });
}

#[test]
fn client_and_server_packets_on_different_shards_find_the_call() {
    with_seeds(0..5, |seed| {
        for shard in [0, 1] {
            let (mut world, call) = placed(seed, &[server_addr(1)], |plan| {
                plan.locals = vec![client_addr(1, 0), client_addr(1, 1), client_addr(1, 2)];
            });
            for socket in 0..3 {
                world.proxy.pinned.insert(client_addr(1, socket), shard);
            }
            world.run(2_000);
            for pair in [0, 1, 2] {
                world.use_pair(&call, pair);
                assert!(world.flows(&call, 1_000));
            }
        }
    });
}

#[test]
fn the_routes_limit_counts_tuples() {
    let mut config = setup();
    config.policies[1].max_sessions = 2;
    let mut world = World::new(1, config);
    let server = Server::new(&[server_addr(1)], world.fork());
    let server = world.add(server);
    let mut plan = world.plan(1, server_addr(1));
    plan.route = DIRECT_ROUTE;
    plan.locals = (0..4).map(|socket| client_addr(1, socket)).collect();
    let call = world.place_direct(server, &plan);
    world.run(2_000);
    assert_eq!(world.proxy.shared.open_sessions(), 2);
    assert!(world.proxy.drops(DropReason::SessionLimit) > 0);
    assert!(world.flows(&call, 1_000));
}

#[test]
fn a_direct_call_of_a_hijack_route_or_to_a_forbidden_address_is_not_admitted() {
    for (route, addr, reason) in [
        (ROUTE, server_addr(1), DropReason::TokenRoute),
        (
            DIRECT_ROUTE,
            "127.0.0.1:22".parse().unwrap(),
            DropReason::ServerNotAllowed,
        ),
    ] {
        let mut world = World::new(1, setup());
        let login = Login::random(&mut world.rng);
        let call = DirectCall::new(route, &login.ufrag, &login.pwd, vec![candidate(addr)], world.now);
        assert!(world.proxy.shared.register_direct(call));
        let bytes = Check {
            id: transaction(&mut world.rng),
            to: &login,
            from: "abcd",
            role: Role::Controlling(1),
            priority: 1,
            nominate: true,
        }
        .packet();
        refused(&mut world, client_addr(1, 0), bytes, reason);
    }
}

#[test]
fn hijacked_and_direct_calls_with_equal_ufrags_do_not_mix() {
    with_seeds(0..10, |seed| {
        let (mut world, direct) = placed(seed, &[server_addr(1)], |_| ());
        let other = Server::new(&[server_addr(2)], world.fork());
        let other = world.add(other);
        let mut plan = world.plan(2, server_addr(2));
        plan.server = direct.remote.clone();
        plan.client = world.browser(direct.client).local.clone();
        let hijacked = world.place(other, &plan);
        world.run(5_000);
        assert!(world.flows(&direct, 1_000));
        assert!(world.flows(&hijacked, 1_000));
        assert_eq!(world.proxy.all_drops(), []);
    });
}
