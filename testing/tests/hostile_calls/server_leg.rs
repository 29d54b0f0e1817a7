//! Packets to the ports that xrtc talks to servers from, by who is no server.

use std::io::ErrorKind;
use std::net::SocketAddr;

use xrtc_testing::calls::Metrics;
use xrtc_testing::calls::stun::Credentials;
use xrtc_testing::lab::{Error, Result};

use crate::scene::{Scene, assert_refused, connected, with_calls};

/// The server leg of a call: the candidate in the offer that the server was given.
fn server_leg(scene: &Scene, call: &str) -> Result<SocketAddr> {
    let offer = scene.server.offer(call).unwrap_or_default();
    let fields: Vec<&str> = offer
        .lines()
        .find_map(|line| line.strip_prefix("a=candidate:"))
        .unwrap_or_default()
        .split(' ')
        .collect();
    match fields[..] {
        [_, _, _, _, ip, port, ..] => Ok(format!("{ip}:{port}").parse().expect("an address")),
        _ => Err(Error::new(format!("no candidate in:\n{offer}"))),
    }
}

async fn refuses(scene: &Scene, what: &str, call: &str, packet: &[u8], reason: &str) -> Result<()> {
    const PACKETS: u64 = 3;
    let stranger = connected(server_leg(scene, call)?).await?;
    let before = scene.daemon.metrics().await?;
    for _ in 0..PACKETS {
        stranger.send(packet).await?;
    }
    let refused = |metrics: &Metrics| metrics.refused_since(&before).values().sum::<u64>();
    scene.metrics_once(|metrics| refused(metrics) >= PACKETS).await?;
    // Whatever the attack was answered with has been sent before these messages pass the same sockets.
    scene.goes_on(3).await?;
    assert_refused(what, &before, &scene.daemon.metrics().await?, PACKETS, &[reason]);
    let heard = stranger.try_recv(&mut [0; 2048]).map_err(|error| error.kind());
    assert_eq!(heard, Err(ErrorKind::WouldBlock), "{what} is not answered");
    Ok(())
}

#[test]
fn nobody_but_the_server_is_heard() {
    with_calls(async |scene, _| {
        let check = Credentials {
            username: "some:body".into(),
            password: "some-password-of-some-body".into(),
        }
        .check()?;
        let mut answer = check.clone();
        answer[0] = 1;
        // Without the FINGERPRINT, which is wrong now.
        answer.truncate(answer.len() - 8);
        let length = (answer.len() as u16 - 20).to_be_bytes();
        answer[2..4].copy_from_slice(&length);
        for (_, caller) in &scene.callers {
            for (what, packet, reason) in [
                ("noise", &[0xff; 100][..], "not_ice"),
                ("media", &[0x80; 100], "unknown_tuple"),
                ("DTLS", &[0x16; 100], "unknown_tuple"),
                ("a check", &check, "stun_username"),
                ("an answer", &answer, "stun_unsolicited"),
                ("a piece of a check", &check[..40], "stun_malformed"),
            ] {
                refuses(scene, what, &caller.name, packet, reason).await?;
            }
        }
        Ok(())
    });
}
