//! Packets to the media port.

use xrtc::wire::stun::{Class, IntegrityKey, Role, Writer};
use xrtc_testing::calls::stun::{Credentials, transaction};
use xrtc_testing::calls::{Daemon, Route, Setup, send_train, signal};
use xrtc_testing::lab::Result;

use crate::scene::{Scene, with_calls};

/// Noise that is the same in every run (xorshift64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// A message that ends as a real one does, signed with `password`.
fn signed(class: Class, username: Option<&str>, password: &str) -> Result<Vec<u8>> {
    let mut buffer = [0; 1024];
    let mut writer = Writer::new(&mut buffer, class, transaction()?);
    if let Some(username) = username {
        writer.username(username);
    }
    writer.priority(1).role(Role::Controlling(1));
    let length = writer.finish(&IntegrityKey::new(password)).expect("it fits");
    Ok(buffer[..length].to_vec())
}

/// A Binding request of nothing but one attribute, with no regard to sense.
fn bare(attribute: u16, length: u16) -> Result<Vec<u8>> {
    let mut packet = [0u8, 1].to_vec();
    packet.extend((length + 4).to_be_bytes());
    packet.extend(0x2112_a442_u32.to_be_bytes());
    packet.extend(transaction()?.0);
    packet.extend(attribute.to_be_bytes());
    packet.extend(length.to_be_bytes());
    packet.resize(24 + usize::from(length), 0);
    Ok(packet)
}

#[test]
fn who_does_not_know_the_password_is_refused() {
    with_calls(async |scene, _| {
        for route in Route::ALL {
            let new = scene.signalled(route).await?;
            let of_route = scene.callers.iter().filter(|(of, _)| *of == route);
            let live = of_route.map(|(_, caller)| caller.credentials.clone());
            for known in live.chain([new]) {
                let wrong = Credentials {
                    password: "not-the-password-of-this-call".into(),
                    ..known.clone()
                };
                let unsigned = without_integrity(&known.check()?);
                scene
                    .refuses(
                        "a wrong password",
                        &[wrong.check()?, unsigned],
                        &["stun_integrity"],
                    )
                    .await?;
            }
        }
        Ok(())
    });
}

/// A check without its last two attributes, MESSAGE-INTEGRITY and FINGERPRINT.
fn without_integrity(check: &[u8]) -> Vec<u8> {
    let mut check = check[..check.len() - 32].to_vec();
    let length = (check.len() as u16 - 20).to_be_bytes();
    check[2..4].copy_from_slice(&length);
    check
}

#[test]
fn a_token_that_this_key_has_not_sealed_is_refused() {
    with_calls(async |scene, work| {
        let forged = |known: &Credentials, at: usize| {
            let mut username = known.username.clone().into_bytes();
            username[at] = if username[at] == b'A' { b'B' } else { b'A' };
            Credentials {
                username: String::from_utf8(username).expect("ASCII"),
                ..known.clone()
            }
        };
        let live = &scene.callers[0].1.credentials;
        let token_length = live.username.find(':').expect("a colon");
        for known in [live.clone(), scene.signalled(Route::Hijack).await?] {
            let checks = [1, token_length / 2, token_length - 2].map(|at| forged(&known, at).check());
            let checks = checks.into_iter().collect::<Result<Vec<_>>>()?;
            scene
                .refuses("a forged token", &checks, &["token_forged"])
                .await?;
        }
        let stranger = Setup {
            state: work.join("another-key"),
            ..Setup::new(scene.server.http, work)
        };
        let stranger = Daemon::start("another-key", &stranger, work)?;
        let path = format!("{}/{}", Route::Hijack.path(), scene.new_name());
        let foreign = signal(stranger.http, &path).await?;
        scene
            .refuses("a token of another key", &[foreign.check()?], &["token_forged"])
            .await
    });
}

#[test]
fn a_captured_check_is_worth_nothing_elsewhere() {
    with_calls(async |scene, _| {
        let captured: Vec<_> = scene
            .callers
            .iter()
            .map(|(_, caller)| caller.last_check())
            .collect();
        // What was captured has arrived before this.
        scene.goes_on(2).await?;
        for check in captured {
            scene
                .refuses("a replayed check", &[check], &["stun_replayed"])
                .await?;
        }
        Ok(())
    });
}

#[test]
fn stun_that_is_no_check_is_refused() {
    with_calls(async |scene, _| {
        let Credentials { username, password } = scene.signalled(Route::Hijack).await?;
        let token = username.split(':').next().unwrap_or_default();
        let unnamed = [
            signed(Class::Request, None, &password)?,
            signed(Class::Request, Some(token), &password)?,
            signed(Class::Request, Some(&"x".repeat(513)), &password)?,
            bare(0x8022, 65_480)?,
        ];
        scene
            .refuses("no usable USERNAME", &unnamed, &["stun_username"])
            .await?;
        let unasked = [Class::Success, Class::Error, Class::Indication]
            .map(|class| signed(class, Some(&username), &password));
        let unasked = unasked.into_iter().collect::<Result<Vec<_>>>()?;
        scene
            .refuses("an answer to nothing", &unasked, &["stun_unsolicited"])
            .await?;
        scene
            .refuses(
                "an attribute that must be understood",
                &[bare(0x7777, 4)?],
                &["stun_unsupported"],
            )
            .await?;
        let mut damaged = signed(Class::Request, Some(&username), &password)?;
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        scene
            .refuses("a wrong fingerprint", &[damaged], &["stun_fingerprint"])
            .await
    });
}

#[test]
fn checks_that_were_cut_or_changed_are_refused() {
    with_calls(async |scene, _| {
        for check in [scene.callers[0].1.last_check(), scene.callers[2].1.last_check()] {
            scene.goes_on(2).await?;
            let cut: Vec<_> = (20..check.len())
                .step_by(7)
                .map(|length| check[..length].to_vec())
                .collect();
            scene
                .refuses("a check cut short", &cut, &["stun_malformed"])
                .await?;
            let longer = [check.clone(), vec![0; 4]].concat();
            scene
                .refuses("bytes after a check", &[longer], &["stun_malformed"])
                .await?;
            let flipped: Vec<_> = (0..check.len() * 8)
                .step_by(5)
                .map(|bit| flip(&check, bit))
                .collect();
            for some in flipped.chunks(100) {
                scene
                    .refuses(
                        "a check with one bit changed",
                        some,
                        &[
                            "stun_fingerprint",
                            "stun_malformed",
                            "stun_replayed",
                            "not_ice",
                            "unknown_tuple",
                        ],
                    )
                    .await?;
            }
        }
        Ok(())
    });
}

fn flip(packet: &[u8], bit: usize) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[bit / 8] ^= 1 << (bit % 8);
    packet
}

#[test]
fn bytes_of_no_call_are_refused() {
    with_calls(async |scene, _| {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let not_ice = [
            vec![],
            vec![0],
            vec![0x16; 3],
            vec![0x40; 60],
            vec![0xc0; 1200],
            vec![0xff; 60_000],
        ];
        scene
            .refuses("no protocol of ICE", &not_ice, &["not_ice"])
            .await?;
        let [dtls, rtp] = [[0x16, 0xfe, 0xfd], [0x80, 96, 0]].map(|head| {
            let mut packet = head.to_vec();
            packet.resize(1200, 7);
            packet
        });
        scene
            .refuses("media of no call", &[dtls, rtp], &["unknown_tuple"])
            .await?;
        let random: Vec<_> = (0..200)
            .map(|_| {
                let length = noise.next() as usize % 1400;
                noise.bytes(length)
            })
            .collect();
        for some in random.chunks(50) {
            scene
                .refuses("random bytes", some, &["not_ice", "unknown_tuple"])
                .await?;
        }
        Ok(())
    });
}

#[test]
fn trains_of_packets_are_refused_packet_by_packet() {
    with_calls(async |scene, _| {
        for _ in 0..8 {
            train(
                scene,
                "a train of media",
                vec![0x80; 60 * 1000],
                1000,
                "unknown_tuple",
            )
            .await?;
            let wrong = Credentials {
                password: "wrong".into(),
                ..scene.callers[0].1.credentials.clone()
            };
            let check = wrong.check()?;
            train(
                scene,
                "a train of checks",
                check.repeat(60),
                check.len(),
                "stun_integrity",
            )
            .await?;
        }
        Ok(())
    });
}

async fn train(scene: &Scene, what: &str, bytes: Vec<u8>, segment: usize, reason: &str) -> Result<()> {
    let count = bytes.len().div_ceil(segment) as u64;
    let segment = u16::try_from(segment).expect("a packet's length");
    scene
        .refuses_what(what, count, &[reason], async |attacker| {
            send_train(attacker, &bytes, segment).await
        })
        .await
}
