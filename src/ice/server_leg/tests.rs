//! Tests of the server leg on its own.

use super::super::path::SocketId;
use super::super::policy::RouteId;
use super::messages::TYPE_PREFERENCE;
use super::pairs::RETRY;
use super::*;
use crate::wire::stun::Writer;

const S_PWD: &str = "server-password-server-pw";

#[derive(Default)]
struct Sent {
    packets: Vec<(ServerPath, Vec<u8>)>,
    random: u64,
}

impl Outbox for Sent {
    fn send(&mut self, to: &ServerPath, packet: &[u8]) {
        self.packets.push((*to, packet.to_vec()));
    }

    fn random(&mut self) -> u64 {
        self.random += 1;
        self.random
    }
}

impl Sent {
    /// The checks sent since the last call.
    fn checks(&mut self) -> Vec<(ServerPath, Vec<u8>)> {
        let all = std::mem::take(&mut self.packets);
        let checks = all
            .into_iter()
            .filter(|(_, packet)| parse(packet).class() == Class::Request);
        checks.collect()
    }
}

fn parse(packet: &[u8]) -> Message<'_> {
    Message::parse(packet).unwrap()
}

fn local() -> Credentials {
    Credentials {
        ufrag: "proxy".into(),
        pwd: "proxy-password-proxy-pwd".into(),
    }
}

fn claims(server_offers: bool, server_lite: bool) -> Claims {
    Claims {
        route: RouteId(1),
        minted_at: 1_000,
        server_offers,
        server_lite,
        icetcp: false,
        ufrag: "server".into(),
        pwd: S_PWD.into(),
        candidates: Vec::new(),
    }
}

fn leg(paths: u8) -> ServerLeg {
    let mut leg = ServerLeg::new(&claims(false, false), &local(), 0, 1_000_000, 7);
    (1..=paths).for_each(|n| assert!(leg.add_path(path(n), 0)));
    leg
}

fn path(n: u8) -> ServerPath {
    ServerPath {
        socket: SocketId(0),
        remote: SocketAddr::from(([10, 0, 0, n], 10_000)),
    }
}

fn response(to: &[u8], code: Option<u16>, pwd: &str) -> Vec<u8> {
    let class = if code.is_some() {
        Class::Error
    } else {
        Class::Success
    };
    let mut buf = [0; 200];
    let mut writer = Writer::new(&mut buf, class, parse(to).transaction());
    match code {
        Some(code) => writer.error_code(code, ""),
        None => writer.xor_mapped_address(path(1).remote),
    };
    let len = writer.finish(&IntegrityKey::new(pwd)).unwrap();
    buf[..len].to_vec()
}

fn answer(leg: &mut ServerLeg, mono: u64, check: &(ServerPath, Vec<u8>), code: Option<u16>, out: &mut Sent) {
    let answer = response(&check.1, code, S_PWD);
    leg.handle_response(mono, check.0, &parse(&answer), out).unwrap();
}

#[test]
fn it_controls_unless_a_full_server_has_offered() {
    for (offers, lite, controls) in [
        (false, false, true),
        (false, true, true),
        (true, true, true),
        (true, false, false),
    ] {
        let leg = ServerLeg::new(&claims(offers, lite), &local(), 0, 1_000_000, 7);
        assert_eq!(leg.controlling, controls, "offers {offers} lite {lite}");
    }
}

#[test]
fn a_check_carries_all_that_any_server_demands() {
    let (mut leg, mut out) = (leg(1), Sent::default());
    leg.poll(0, &mut out);
    let checks = out.checks();
    let check = parse(&checks[0].1);
    assert_eq!(check.username(), Some("server:proxy"));
    assert_eq!(check.role(), Some(Role::Controlling(7)));
    assert!(check.priority().is_some_and(|priority| priority > 0));
    assert!(check.authenticate(&IntegrityKey::new(S_PWD)).is_some());
    assert!(!check.use_candidate(), "nothing has answered yet");
    answer(&mut leg, 5, &checks[0], None, &mut out);
    assert!(
        parse(&out.checks()[0].1).use_candidate(),
        "regular nomination follows the first answer"
    );
}

#[test]
fn conflicts_on_several_pairs_switch_the_role_once() {
    let (mut leg, mut out) = (leg(3), Sent::default());
    leg.poll(0, &mut out);
    for check in out.checks() {
        answer(&mut leg, 5, &check, Some(487), &mut out);
    }
    assert!(!leg.controlling);
    leg.poll(200, &mut out);
    let checks = out.checks();
    assert_eq!(checks.len(), 3);
    assert!(
        checks
            .iter()
            .all(|(_, check)| matches!(parse(check).role(), Some(Role::Controlled(7))))
    );
}

#[test]
fn a_server_that_refuses_every_role_does_not_set_the_pace() {
    let (mut leg, mut out) = (leg(1), Sent::default());
    let mut sent = 0;
    for mono in 0..10_000 {
        leg.poll(mono, &mut out);
        for check in out.checks() {
            sent += 1;
            answer(&mut leg, mono, &check, Some(487), &mut out);
        }
    }
    assert!(sent <= 10_000 / RETRY + 1, "{sent}");
}

#[test]
fn an_answer_counts_once_from_where_it_was_asked_and_with_the_servers_password() {
    let (mut leg, mut out) = (leg(2), Sent::default());
    leg.poll(0, &mut out);
    let (to, check) = out.checks().remove(0);
    let good = response(&check, None, S_PWD);
    let forged = response(&check, None, "guess");
    let mut receive = |from, packet: &[u8]| leg.handle_response(5, from, &parse(packet), &mut out);
    assert_eq!(receive(path(2), &good), Err(DropReason::StunUnsolicited));
    assert_eq!(receive(path(9), &good), Err(DropReason::StunUnsolicited));
    assert_eq!(receive(to, &forged), Err(DropReason::StunIntegrity));
    assert_eq!(receive(to, &good), Ok(()));
    assert_eq!(receive(to, &good), Err(DropReason::StunUnsolicited));
    assert_eq!((leg.state(), leg.selected()), (LegState::Connected, Some(to)));
}

#[test]
fn a_connected_leg_checks_at_least_every_four_seconds_and_only_the_selected_pair() {
    let (mut leg, mut out) = (leg(3), Sent::default());
    let mut last = 0;
    for mono in 0..120_000 {
        leg.poll(mono, &mut out);
        for check in out.checks() {
            assert!(mono < 1_000 || Some(check.0) == leg.selected());
            if Some(check.0) == leg.selected() {
                assert!(mono - last <= 4_000, "{last} to {mono}");
                last = mono;
            }
            answer(&mut leg, mono, &check, None, &mut out);
        }
    }
    assert!(last > 115_000);
}

#[test]
fn the_deadline_is_when_the_next_check_is_sent() {
    let (mut leg, mut out) = (leg(2), Sent::default());
    let mut mono = 0;
    while leg.state() != LegState::Failed {
        let deadline = leg.deadline().unwrap();
        if deadline > mono {
            leg.poll(deadline - 1, &mut out);
            assert_eq!(out.checks(), [], "before {deadline}");
        }
        mono = deadline.max(mono);
        leg.poll(mono, &mut out);
        assert!(!out.checks().is_empty() || leg.state() == LegState::Failed);
    }
    assert_eq!(
        (mono, leg.deadline(), leg.selected()),
        (CONSENT_TIMEOUT, None, None)
    );
}

#[test]
fn priority_grows_with_the_tokens_age_and_stays_below_every_host_candidate() {
    let host = 126 << 24;
    let mut last = 0;
    for age in [100, 200, 1_000, 60_000, 3_600_000, 86_400_000, 7 * 86_400_000] {
        let now = priority(1_000_000 + age, 1_000);
        assert!(now > last && now < host, "age {age}");
        last = now;
    }
    assert_eq!(priority(0, 1_000), TYPE_PREFERENCE, "a clock that runs behind");
    assert_eq!(priority(u64::MAX, 1_000), TYPE_PREFERENCE | 0x00ff_ffff);
}

#[test]
fn paths_are_bounded_and_distinct() {
    let mut leg = leg(0);
    let added = (0..100).filter(|&n| leg.add_path(path(n), 0)).count();
    assert_eq!(added, MAX_PAIRS);
    assert!(!leg.add_path(path(0), 0));
}

/// A check of a server that controls.
fn nomination(leg: &mut ServerLeg, mono: u64, from: ServerPath, nominate: bool, out: &mut Sent) {
    let mut buf = [0; 300];
    let mut writer = Writer::new(&mut buf, Class::Request, transaction(out));
    writer.username("proxy:server").role(Role::Controlling(1));
    if nominate {
        writer.use_candidate();
    }
    let len = writer.finish(&IntegrityKey::new(&local().pwd)).unwrap();
    leg.handle_request(mono, from, &parse(&buf[..len]), out).unwrap();
}

#[test]
fn a_controlled_leg_follows_the_servers_nomination() {
    let mut leg = ServerLeg::new(&claims(true, false), &local(), 0, 1_000_000, 7);
    let mut out = Sent::default();
    (1..=3).for_each(|n| assert!(leg.add_path(path(n), 0)));
    leg.poll(0, &mut out);
    let checks = out.checks();
    answer(&mut leg, 1, &checks[0], None, &mut out);
    answer(&mut leg, 1, &checks[1], None, &mut out);
    assert_eq!(
        leg.selected(),
        Some(path(1)),
        "the first to answer, until the server says"
    );
    nomination(&mut leg, 2, path(2), false, &mut out);
    assert_eq!(leg.selected(), Some(path(1)));
    nomination(&mut leg, 3, path(2), true, &mut out);
    assert_eq!(
        leg.selected(),
        Some(path(2)),
        "nominated, and has answered before"
    );
}

#[test]
fn a_nomination_before_the_answer_takes_effect_with_it() {
    let mut leg = ServerLeg::new(&claims(true, false), &local(), 0, 1_000_000, 7);
    let mut out = Sent::default();
    (1..=2).for_each(|n| assert!(leg.add_path(path(n), 0)));
    leg.poll(0, &mut out);
    let checks = out.checks();
    answer(&mut leg, 1, &checks[0], None, &mut out);
    nomination(&mut leg, 2, path(2), true, &mut out);
    assert_eq!(leg.selected(), Some(path(1)));
    let triggered = out.checks();
    assert_eq!(
        (triggered.len(), triggered[0].0),
        (1, path(2)),
        "a triggered check"
    );
    answer(&mut leg, 3, &triggered[0], None, &mut out);
    assert_eq!(leg.selected(), Some(path(2)));
}
