//! Descriptions that would send a call's packets where they must not go.

use std::fs;
use std::io::ErrorKind;

use tokio::net::UdpSocket;
use xrtc_testing::calls::stun::{Credentials, attribute};
use xrtc_testing::calls::{self, Daemon, EchoServer, Ports, Route, Setup, post, signal};
use xrtc_testing::lab::Result;

use crate::scene::{Scene, assert_refused, with_calls};

/// A server whose candidates are `candidates`: the description is refused, and the credentials in it open nothing.
async fn leads_nowhere(scene: &Scene, route: Route, candidates: &str) -> Result<()> {
    let before = scene.daemon.metrics().await?;
    let path = format!("{}/{}?candidates={candidates}", route.path(), scene.new_name());
    let credentials = signal(scene.daemon.http, &path).await?;
    let after = scene.daemon.metrics().await?;
    assert_refused(candidates, &before, &after, 1, &["server_not_allowed"]);
    scene
        .refuses(candidates, &[credentials.check()?], &["token_forged"])
        .await
}

#[test]
fn candidates_outside_of_the_allow_list_are_no_route() {
    with_calls(async |scene, _| {
        let bystander = UdpSocket::bind("127.0.0.2:0").await?;
        let own = scene.daemon.media;
        let outside = [
            "169.254.169.254:80".to_owned(),
            "192.0.2.1:5000".to_owned(),
            "224.0.0.251:5353".to_owned(),
            "0.0.0.0:5000".to_owned(),
            "[fe80::1]:5000".to_owned(),
            "[::1]:5000".to_owned(),
            bystander.local_addr()?.to_string(),
            own.to_string(),
            format!("169.254.169.254:80,{own}"),
        ];
        for route in Route::ALL {
            for candidates in &outside {
                leads_nowhere(scene, route, candidates).await?;
            }
        }
        has_heard_nothing(scene, &bystander).await
    });
}

#[test]
fn of_several_candidates_only_those_within_are_used() {
    with_calls(async |scene, _| {
        for route in Route::ALL {
            let bystander = UdpSocket::bind("127.0.0.2:0").await?;
            let server = UdpSocket::bind("127.0.0.1:0").await?;
            let candidates = format!(
                "169.254.169.254:80,{},{}",
                bystander.local_addr()?,
                server.local_addr()?
            );
            let path = format!("{}/{}?candidates={candidates}", route.path(), scene.new_name());
            let credentials = signal(scene.daemon.http, &path).await?;
            let client = scene.socket().await?;
            client.send(&credentials.check()?).await?;
            let mut buffer = [0; 2048];
            server.recv(&mut buffer).await?;
            assert_eq!(buffer[..2], [0, 1], "the permitted address is checked");
            has_heard_nothing(scene, &bystander).await?;
        }
        Ok(())
    });
}

async fn has_heard_nothing(scene: &Scene, bystander: &UdpSocket) -> Result<()> {
    scene.goes_on(2).await?;
    let heard = bystander.try_recv(&mut [0; 2048]).map_err(|error| error.kind());
    assert_eq!(
        heard,
        Err(ErrorKind::WouldBlock),
        "nothing is sent to an address outside"
    );
    Ok(())
}

#[test]
fn a_clients_candidates_do_not_reach_the_server() {
    with_calls(async |scene, _| {
        for (route, caller) in &scene.callers {
            let offer = scene.server.offer(&caller.name).unwrap_or_default();
            let name = scene.new_name();
            let evil = "a=candidate:9 1 udp 1 169.254.169.254 80 typ host\r\na=end-of-candidates\r\n";
            let reply = post(
                scene.daemon.http,
                &format!("{}/{name}", route.path()),
                &(offer + evil),
            )
            .await?;
            assert_eq!(reply.status, 201, "{}", reply.body);
            let seen = scene.server.offer(&name).unwrap_or_default();
            assert!(seen.contains("a=candidate:"), "{seen}");
            assert!(!seen.contains("169.254"), "{seen}");
            assert_eq!(
                attribute(&reply.body, "candidate")?.split(' ').nth(5),
                Some(port(scene).as_str())
            );
        }
        Ok(())
    });
}

fn port(scene: &Scene) -> String {
    scene.daemon.media.port().to_string()
}

#[test]
fn a_token_from_before_the_allow_list_changed_opens_nothing() {
    calls::scope(async |work| {
        let server = EchoServer::start(Ports::PerCall).await?;
        let bystander = UdpSocket::bind("127.0.0.2:0").await?;
        let lenient = Setup {
            state: work.join("lenient"),
            allow: vec!["127.0.0.2/32".into()],
            ..Setup::new(server.http, work)
        };
        let strict = Setup::new(server.http, work);
        let daemon = Daemon::start("lenient", &lenient, work)?;
        let path = format!(
            "{}/one?candidates={}",
            Route::Hijack.path(),
            bystander.local_addr()?
        );
        let credentials: Credentials = signal(daemon.http, &path).await?;
        drop(daemon);
        fs::rename(&lenient.state, &strict.state)?;

        let scene = Scene::set(server, &strict, work).await?;
        scene
            .refuses("an old token", &[credentials.check()?], &["server_not_allowed"])
            .await?;
        has_heard_nothing(&scene, &bystander).await?;
        scene.has_lost_nothing().await
    });
}
