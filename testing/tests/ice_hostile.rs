//! Hostile packets: no reply, no state, a counter of its own for each kind, and the call in progress goes on.

use std::net::SocketAddr;
use std::sync::Arc;

use xrtc::ice::{Counter, DropReason, KeyRing, Mode, RouteId};
use xrtc::wire::stun::{Class, Message, Role};
use xrtc_testing::sim::World;
use xrtc_testing::sim::call::{DIRECT_ROUTE, Placed, Plan, ROUTE, client_addr, policy, server_addr, setup};
use xrtc_testing::sim::check::{Check, Login, transaction};
use xrtc_testing::sim::net::Packet;
use xrtc_testing::sim::proxy::LISTENER;
use xrtc_testing::sim::server::{Kind, Server};
use xrtc_testing::sim::{stream, with_seeds};

/// Where attacks come from.
fn stranger() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 66], 666))
}

struct Scene {
    world: World,
    call: Placed,
    plan: Plan,
}

/// A call in progress, with a free socket pair for every attack that would get as far as that.
fn scene(seed: u64) -> Scene {
    let mut world = World::new(seed, setup());
    let server = Server::new(&[server_addr(1)], world.fork());
    let server = world.add(server);
    let plan = world.plan(1, server_addr(1));
    let call = world.place(server, &plan);
    world.run(5_000);
    assert!(world.flows(&call, 1_000));
    assert_eq!(world.proxy.all_drops(), []);
    Scene { world, call, plan }
}

impl Scene {
    fn check(&mut self, to: &Login, from: &str) -> Vec<u8> {
        Check {
            id: transaction(&mut self.world.rng),
            to,
            from,
            role: Role::Controlling(1),
            priority: 1,
            nominate: true,
        }
        .packet()
    }

    fn attack(&mut self, from: SocketAddr, bytes: Vec<u8>) -> Vec<Packet> {
        self.world.hand_to_proxy(&Packet {
            src: from,
            dst: LISTENER,
            bytes,
        })
    }

    /// Gets no reply and leaves no trace but in this counter.
    fn is_refused(&mut self, from: SocketAddr, bytes: Vec<u8>, reason: DropReason) {
        let drops = self.world.proxy.all_drops().iter().map(|(_, n)| n).sum::<u64>();
        let before = self.world.proxy.drops(reason);
        assert_eq!(self.attack(from, bytes), [], "{reason:?}");
        assert_eq!(
            self.world.proxy.drops(reason),
            before + 1,
            "{reason:?}: {:?}",
            self.world.proxy.all_drops()
        );
        assert_eq!(
            self.world.proxy.all_drops().iter().map(|(_, n)| n).sum::<u64>(),
            drops + 1
        );
    }

    /// The call in progress has not noticed anything, and there is no other.
    fn call_is_untouched(&mut self) {
        let (calls, moves) = (
            self.world.proxy.shared.open_sessions(),
            self.world.proxy.count(Counter::DownlinkMoved),
        );
        assert_eq!((calls, moves), (1, 0));
        assert_eq!(self.world.proxy.count(Counter::SessionsOpened), 1);
        let before = self.world.received(&self.call.clone());
        self.world.run(10_000);
        let after = self.world.received(&self.call.clone());
        assert!(
            after.0 >= before.0 + 95 && after.1 >= before.1 + 95,
            "{before:?} {after:?}"
        );
    }

    fn minted(&self, change: impl FnOnce(&mut Plan)) -> Login {
        let mut plan = self.plan.clone();
        change(&mut plan);
        self.world.mint(&plan)
    }
}

#[test]
fn a_wrong_password_for_a_live_call_and_for_a_new_one_is_refused() {
    with_seeds(0..5, |seed| {
        let mut scene = scene(seed);
        let client = scene.plan.client.ufrag.clone();
        let wrong = Login::new(&scene.call.remote.ufrag, "not-the-password-of-this-call");
        for from in [client.as_str(), "else", ""] {
            let bytes = scene.check(&wrong, from);
            scene.is_refused(stranger(), bytes.clone(), DropReason::StunIntegrity);
            scene.is_refused(client_addr(1, 0), bytes, DropReason::StunIntegrity);
        }
        // Without MESSAGE-INTEGRITY, by cutting it and the fingerprint off.
        let mut bytes = scene.check(&scene.call.remote.clone(), &client);
        bytes.truncate(bytes.len() - 32);
        let len = (bytes.len() as u16 - 20).to_be_bytes();
        bytes[2..4].copy_from_slice(&len);
        scene.is_refused(stranger(), bytes, DropReason::StunIntegrity);
        scene.call_is_untouched();
    });
}

#[test]
fn no_bit_of_a_check_can_be_changed() {
    let mut scene = scene(1);
    let client = scene.plan.client.ufrag.clone();
    let good = scene.check(&scene.call.remote.clone(), &client);
    // Neither FINGERPRINT's own header nor its absence is protected by anything; all else is.
    let fingerprint = good.len() - 8;
    let bits = (0..fingerprint * 8).chain((fingerprint + 4) * 8..good.len() * 8);
    for bit in bits.clone() {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(scene.attack(stranger(), bytes), [], "bit {bit}");
    }
    let dropped: u64 = scene.world.proxy.all_drops().iter().map(|(_, n)| n).sum();
    assert_eq!(dropped, bits.count() as u64);
    scene.call_is_untouched();
    assert_eq!(
        scene.attack(client_addr(1, 0), good).len(),
        1,
        "the check itself is good"
    );
}

#[test]
fn a_token_of_another_key_or_of_none_is_refused() {
    let mut scene = scene(2);
    let other = KeyRing::new([8; 32], &[]);
    let token = other.seal(&scene.world.claims(&scene.plan)).unwrap();
    let of_other = Login::new(&token, &other.client_facing_pwd(&token));
    let own_pwd = Login::new(&token, &scene.world.setup.keys.client_facing_pwd(&token));
    let made_up = "A".repeat(120);
    let made_up = Login::new(&made_up, &scene.world.setup.keys.client_facing_pwd(&made_up));
    let short = Login::new("abcd", "abcd");
    let long = "A".repeat(500);
    let long = Login::new(&long, "abcd");
    for login in [of_other, own_pwd, made_up, short, long] {
        let bytes = scene.check(&login, "abcd");
        scene.is_refused(stranger(), bytes, DropReason::TokenForged);
    }
    scene.call_is_untouched();
}

#[test]
fn a_token_that_is_too_old_or_of_the_future_is_refused() {
    let mut scene = scene(3);
    let week = 7 * 24 * 3_600;
    let minted = |scene: &Scene, age: i64| {
        let mut claims = scene.world.claims(&scene.plan);
        claims.minted_at = u32::try_from(i64::from(claims.minted_at) - age).unwrap();
        let token = scene.world.setup.keys.seal(&claims).unwrap();
        let pwd = scene.world.setup.keys.client_facing_pwd(&token);
        Login::new(&token, &pwd)
    };
    for age in [week + 1, 10 * week, -61, -week] {
        let login = minted(&scene, age);
        let bytes = scene.check(&login, "abcd");
        scene.is_refused(stranger(), bytes, DropReason::TokenExpired);
    }
    scene.call_is_untouched();
    for age in [week - 100, -30] {
        let login = minted(&scene, age);
        let bytes = scene.check(&login, "abcd");
        assert!(!scene.attack(stranger(), bytes).is_empty(), "age {age}");
    }
}

#[test]
fn a_live_call_outlives_its_token() {
    let mut config = setup();
    config.limits.token_lifetime = 20;
    let mut world = World::new(3, config);
    let server = Server::new(&[server_addr(1)], world.fork());
    let server = world.add(server);
    let plan = world.plan(1, server_addr(1));
    let call = world.place(server, &plan);
    world.run(60_000);
    assert!(world.flows(&call, 1_000));
    assert_eq!(world.proxy.count(Counter::SessionsOpened), 1);
}

#[test]
fn a_token_of_an_unknown_or_an_icedirect_route_is_refused() {
    let mut scene = scene(4);
    for route in [RouteId(77), DIRECT_ROUTE] {
        let login = scene.minted(|plan| plan.route = route);
        let bytes = scene.check(&login, "abcd");
        scene.is_refused(stranger(), bytes, DropReason::TokenRoute);
    }
    scene.call_is_untouched();
}

#[test]
fn a_token_of_a_route_that_was_removed_starts_no_call() {
    let mut scene = scene(5);
    let login = scene.call.remote.clone();
    scene.world.proxy.shared.policies.store(Arc::default());
    let bytes = scene.check(&login, "abcd");
    scene.is_refused(stranger(), bytes, DropReason::TokenRoute);
    scene.call_is_untouched();
}

#[test]
fn a_token_whose_servers_the_route_may_not_reach_is_refused() {
    let mut scene = scene(6);
    let own = SocketAddr::new("10.0.0.1".parse().unwrap(), 8443);
    let mut narrow = policy(ROUTE, Mode::Hijack);
    narrow.allow.own = vec![own];
    let policies = [(ROUTE, Arc::new(narrow))].into_iter().collect();
    scene.world.proxy.shared.policies.store(Arc::new(policies));
    for evil in [
        "127.0.0.1:80",
        "169.254.169.254:80",
        "192.168.1.1:22",
        "224.0.0.1:5",
        "10.0.0.1:8443",
        "10.0.0.2:0",
    ] {
        let login = scene.minted(|plan| plan.candidates = vec![evil.parse().unwrap()]);
        let bytes = scene.check(&login, "abcd");
        scene.is_refused(stranger(), bytes, DropReason::ServerNotAllowed);
    }
    scene.call_is_untouched();
}

#[test]
fn of_the_servers_addresses_only_those_are_tried_that_the_route_may_reach() {
    let mut scene = scene(9);
    let evil: SocketAddr = "192.168.1.1:22".parse().unwrap();
    let login = scene.minted(|plan| plan.candidates = vec![evil, server_addr(5)]);
    let bytes = scene.check(&login, "abcd");
    scene.world.net.tap = Some(Vec::new());
    scene.world.inject(Packet {
        src: stranger(),
        dst: LISTENER,
        bytes,
    });
    scene.world.run(10_000);
    let tap = scene.world.net.tap.take().unwrap();
    assert!(tap.iter().any(|(_, packet)| packet.dst == server_addr(5)));
    assert!(tap.iter().all(|(_, packet)| packet.dst != evil));
}

#[test]
fn a_captured_check_cannot_be_replayed_from_elsewhere() {
    with_seeds(0..5, |seed| {
        let mut scene = scene(seed);
        let client = scene.plan.client.ufrag.clone();
        let check = scene.check(&scene.call.remote.clone(), &client);
        assert_eq!(scene.attack(client_addr(1, 0), check.clone()).len(), 1);
        scene.is_refused(stranger(), check.clone(), DropReason::StunReplayed);
        scene.world.run(20_000);
        scene.is_refused(stranger(), check.clone(), DropReason::StunReplayed);
        assert_eq!(
            scene.attack(client_addr(1, 0), check).len(),
            1,
            "a duplicate from the same tuple is answered again"
        );
        // What the stranger sends goes nowhere, and nothing goes to it.
        scene.is_refused(stranger(), stream::packet(1, 1), DropReason::UnknownTuple);
        scene.world.net.tap = Some(Vec::new());
        scene.call_is_untouched();
        let tap = scene.world.net.tap.take().unwrap();
        assert!(tap.iter().all(|(_, packet)| packet.dst != stranger()));
    });
}

#[test]
fn data_from_an_address_without_a_check_is_dropped() {
    let mut scene = scene(7);
    scene.is_refused(stranger(), stream::packet(1, 1), DropReason::UnknownTuple);
    scene.is_refused(stranger(), vec![22; 200], DropReason::UnknownTuple);
    for first in [4, 19, 64, 79, 80, 127, 192, 255] {
        scene.is_refused(stranger(), vec![first; 200], DropReason::NotIce);
    }
    scene.is_refused(stranger(), Vec::new(), DropReason::NotIce);
    scene.call_is_untouched();
}

#[test]
fn random_bytes_and_mangled_checks_change_nothing() {
    with_seeds(0..3, |seed| {
        let mut scene = scene(seed);
        let client = scene.plan.client.ufrag.clone();
        let good = scene.check(&scene.call.remote.clone(), &client);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            let rng = &mut scene.world.rng;
            match rng.below(4) {
                0 => bytes = (0..rng.below(200)).map(|_| rng.bits() as u8).collect(),
                1 => bytes.truncate(rng.below(good.len() as u64) as usize),
                _ => {}
            }
            for _ in 0..=rng.below(6) {
                if !bytes.is_empty() {
                    let at = rng.below(bytes.len() as u64) as usize;
                    bytes[at] = rng.bits() as u8;
                }
            }
            let from = if rng.chance(50) {
                stranger()
            } else {
                client_addr(1, 0)
            };
            let is_data = matches!(bytes.first(), Some(20..=63 | 128..=191));
            // What follows MESSAGE-INTEGRITY is no part of the message.
            let is_good = bytes.get(..good.len() - 8) == Some(&good[..good.len() - 8]);
            if !is_good && !is_data {
                assert_eq!(scene.attack(from, bytes.clone()), [], "{bytes:02x?}");
            }
        }
        scene.call_is_untouched();
    });
}

#[test]
fn hostile_packets_to_the_server_leg_change_nothing() {
    with_seeds(0..3, |seed| {
        let mut scene = scene(seed);
        let server_leg = scene.world.session(&scene.call.clone()).media_goes_to().unwrap();
        let call = scene.call.clone();
        let username = Login::new(&call.facing.ufrag, "wrong-password-wrong-pass");
        let attack = |scene: &mut Scene, src: SocketAddr, bytes: Vec<u8>, reason| {
            let before = scene.world.proxy.drops(reason);
            let sent = scene.world.hand_to_proxy(&Packet {
                src,
                dst: server_leg,
                bytes,
            });
            assert_eq!(sent, [], "{reason:?}");
            assert_eq!(
                scene.world.proxy.drops(reason),
                before + 1,
                "{:?}",
                scene.world.proxy.all_drops()
            );
        };
        let of_server = scene.plan.server.ufrag.clone();
        for src in [server_addr(1), server_addr(66), stranger()] {
            let bytes = scene.check(&username, &of_server);
            attack(&mut scene, src, bytes, DropReason::StunIntegrity);
            let bytes = scene.check(&call.facing, "else");
            attack(&mut scene, src, bytes, DropReason::StunUsername);
            let mut unasked = scene.check(&call.facing, &of_server);
            unasked[..2].copy_from_slice(&[1, 1]);
            attack(&mut scene, src, unasked, DropReason::StunUnsolicited);
        }
        // The right credentials from outside the allow-list: the server's own SDP named no such network.
        let bytes = scene.check(&call.facing, &of_server);
        attack(&mut scene, stranger(), bytes, DropReason::ServerNotAllowed);
        attack(
            &mut scene,
            server_addr(66),
            stream::packet(1, 1),
            DropReason::UnknownTuple,
        );
        scene.call_is_untouched();
    });
}

#[test]
fn a_reply_is_never_larger_than_its_request() {
    let mut scene = scene(8);
    let login = scene.call.remote.clone();
    let client = scene.plan.client.ufrag.clone();
    for role in [Role::Controlling(1), Role::Controlled(1)] {
        let bytes = Check {
            id: transaction(&mut scene.world.rng),
            to: &login,
            from: &client,
            role,
            priority: 1,
            nominate: false,
        }
        .packet();
        let len = bytes.len();
        let replies = scene.attack(client_addr(1, 0), bytes);
        assert_eq!(replies.len(), 1);
        assert!(replies[0].bytes.len() <= len);
    }
}

#[test]
fn a_client_that_thinks_it_is_controlled_gets_a_487_it_can_trust() {
    with_seeds(0..5, |seed| {
        let mut world = World::new(seed, setup());
        let server = Server::new(&[server_addr(1)], world.fork());
        let server = world.add(server);
        let plan = world.plan(1, server_addr(1));
        let call = world.place(server, &plan);
        world.browser(call.client).start_controlled();
        world.net.tap = Some(Vec::new());
        world.run(2_000);
        assert!(world.flows(&call, 1_000));
        assert_eq!(world.browser(call.client).conflicts, 1);
        assert_eq!(world.proxy.count(Counter::RoleConflicts), 1);
        let tap = world.net.tap.take().unwrap();
        let refusals = tap.iter().filter(|(_, packet)| {
            Message::parse(&packet.bytes).is_ok_and(|message| message.class() == Class::Error)
        });
        assert_eq!(refusals.count(), 1);
    });
}

#[test]
fn a_server_of_an_unexpected_role_is_given_way() {
    with_seeds(0..10, |seed| {
        let mut world = World::new(seed, setup());
        let server = Server::new(&[server_addr(1), server_addr(2)], world.fork());
        let server = world.add(server);
        let mut plan = world.plan(1, server_addr(1));
        // The token says that the client has offered; the server controls all the same, and insists.
        plan.candidates.push(server_addr(2));
        let remote = world.mint(&plan);
        plan.kind = Kind::Controlling;
        let call = world.place(server, &plan);
        world.browser(call.client).remote = remote;
        world.session(&call).insist();
        world.run(2_000);
        assert!(world.flows(&call, 1_000));
    });
}
