//! Active checks over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use xrtc::config::{HealthCheck, Scheme};

use crate::front::{Front, Setup, send, text};
use crate::origin::respond;

use super::server::Server;
use super::{of, tally, until};

const INTERVAL: Duration = Duration::from_millis(20);

/// A server that is as healthy as it is told to be, and answers requests either way.
async fn server(name: &'static str, healthy: Arc<AtomicBool>) -> Server {
    Server::new(move |request| {
        let status = match request.uri().path() {
            "/health" if healthy.load(Ordering::SeqCst) => 200,
            "/health" => 500,
            _ => 200,
        };
        let mut response = respond("text/plain", name);
        *response.status_mut() = status.try_into().unwrap();
        std::future::ready(response)
    })
    .await
}

fn front(servers: &[&Server]) -> Front {
    let servers: Vec<_> = servers.iter().map(|server| (Scheme::Http, server.addr)).collect();
    let mut setup = Setup::to(&servers);
    setup.groups[0].slow_start = Duration::ZERO;
    setup.groups[0].health = Some(HealthCheck {
        path: "/health".into(),
        interval: INTERVAL,
        timeout: Duration::from_secs(5),
        expect: 200..=299,
    });
    let front = setup.start();
    let upstreams = front.upstreams.clone();
    tokio::spawn(async move { upstreams.check_health().await });
    front
}

#[tokio::test]
async fn a_server_that_fails_its_checks_is_left_alone_until_it_passes_them() {
    let well = Arc::new(AtomicBool::new(true));
    let (a, b) = (
        server("a", well.clone()).await,
        server("b", Arc::new(true.into())).await,
    );
    let front = front(&[&a, &b]);
    assert_eq!(tally(&front, 4).await, of([("a", 2), ("b", 2)]));
    well.store(false, Ordering::SeqCst);
    // Round robin: once `a` is left out, two requests in a row get the same answer.
    let mut last = String::new();
    let deadline = tokio::time::Instant::now() + super::SOON;
    loop {
        let now = text(send(front.get("/")).await).await;
        if (now.as_str(), last.as_str()) == ("b", "b") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
        last = now;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(tally(&front, 10).await, of([("b", 10)]));
    well.store(true, Ordering::SeqCst);
    until(&front, "/", |_, body| body == "a").await;
}

#[tokio::test]
async fn when_no_server_passes_its_checks_the_answer_is_a_503() {
    let a = server("a", Arc::new(false.into())).await;
    let front = front(&[&a]);
    until(&front, "/", |status, body| {
        status == 503 && body == "no server of the upstream group is up\n"
    })
    .await;
    assert!(front.count("upstream_down") >= 1);
}

#[tokio::test]
async fn checks_say_who_they_are_and_go_to_every_server() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let a = Server::new(move |request| {
        let agent = request.headers()["user-agent"].to_str().unwrap().to_owned();
        assert!(agent.starts_with("xrtc/"), "{agent}");
        assert_eq!(request.uri(), "/health");
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(respond("text/plain", "well"))
    })
    .await;
    let _front = front(&[&a]);
    let deadline = tokio::time::Instant::now() + super::SOON;
    while seen.load(Ordering::SeqCst) < 3 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_dead_server_is_found_out_without_a_request() {
    let (mut a, b) = (Server::named("a").await, Server::named("b").await);
    let front = front(&[&a, &b]);
    a.kill().await;
    let group = front.upstreams.group(0);
    let deadline = tokio::time::Instant::now() + super::SOON;
    let is_up = |port| {
        let mut peers = group.all();
        let peer = peers.find(|peer| peer.server().port == port).unwrap();
        peer.is_up(std::time::Instant::now())
    };
    while is_up(a.addr.port()) {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(is_up(b.addr.port()));
    assert_eq!(tally(&front, 4).await, of([("b", 4)]));
    assert_eq!(front.count("upstream_dial"), 0);
}
