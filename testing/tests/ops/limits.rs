//! Each limit, the answer of what is beyond it, and its counter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{connect_from, expect, get, raw, raw_from, websocket};
use crate::daemon::{Daemon, route_to, until, web};
use crate::origin::{echo_origin, fixed_origin, origin, respond, websocket_origin};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

/// An upstream that answers one request for each permit, and what it counts of those that came.
async fn patient_origin() -> (SocketAddr, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (leave, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (permits, arrivals) = (leave.clone(), arrived.clone());
    let addr = origin(move |_| {
        let permits = permits.clone();
        arrivals.fetch_add(1, Ordering::Relaxed);
        async move {
            permits.acquire().await.unwrap().forget();
            respond("text/plain", "done")
        }
    })
    .await;
    (addr, leave, arrived)
}

async fn arrival(arrived: &AtomicUsize) {
    until("the request at the upstream", || {
        arrived.load(Ordering::Relaxed) > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_has_so_many_requests_under_way_and_other_networks_have_their_own() {
    let (upstream, leave, arrived) = patient_origin().await;
    let limits = "limits: {per_network: {connections: 1}}";
    let daemon = Daemon::start(&web(&[limits, &route_to(upstream, "")]));
    let addr = daemon.addr("web");
    let mut first = connect_from("127.0.0.1", addr).await;
    first.write_all(GET.as_bytes()).await.unwrap();
    arrival(&arrived).await;
    let refused = raw_from("127.0.0.2", addr, GET).await;
    assert_eq!(status(&refused), "429", "{refused}");
    assert!(refused.contains("retry-after: 1"), "{refused}");
    assert!(
        refused.ends_with("too many requests of your network are under way\n"),
        "{refused}"
    );
    let other = tokio::spawn(async move { raw_from("127.0.1.1", addr, GET).await });
    leave.add_permits(100);
    assert_eq!(status(&other.await.unwrap()), "200");
    assert_eq!(status(&expect(&mut first, "done").await), "200");
    assert_eq!(status(&raw(addr, GET).await), "200", "its end made room");
    assert!(daemon.count("refused_network_connections").await >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_websocket_counts_until_its_end() {
    let upstream =
        websocket_origin(|mut socket| async move { while let Some(Ok(_)) = socket.next().await {} }).await;
    let limits = "limits: {connections: 1}";
    let daemon = Daemon::start(&web(&[limits, &route_to(upstream, "")]));
    let addr = daemon.addr("web");
    let mut socket = websocket(addr, "/").await.unwrap();
    let refused = raw(addr, GET).await;
    assert_eq!(status(&refused), "503", "{refused}");
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    let deadline = Instant::now() + Duration::from_secs(5);
    while status(&raw(addr, GET).await) == "503" {
        assert!(Instant::now() < deadline, "its end made no room");
    }
    assert!(daemon.count("refused_connections").await >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_per_second_of_a_network_and_of_a_route() {
    let upstream = echo_origin().await;
    let routes = format!(
        "limits: {{per_network: {{v4: 32, requests_per_second: 1, burst: 3}}}}\nroutes:\n  own:\n    upstream: \
         http://{upstream}\n    paths: [/own]\n    limits: {{requests_per_second: 1, burst: 2, per_network: \
         {{burst: 100}}}}\n  all:\n    upstream: http://{upstream}\n    paths: [/]\n"
    );
    let daemon = Daemon::start(&web(&[&routes]));
    let addr = daemon.addr("web");
    for expected in ["200", "200", "200", "429"] {
        assert_eq!(status(&raw(addr, GET).await), expected);
    }
    assert_eq!(status(&raw_from("127.0.0.2", addr, GET).await), "200", "v4: 32");
    let own = GET.replace("GET / ", "GET /own ");
    for expected in ["200", "200", "503"] {
        let answer = raw(addr, &own).await;
        assert_eq!(status(&answer), expected, "the route counts by itself: {answer}");
    }
    let started = Instant::now();
    while status(&raw(addr, GET).await) == "429" {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "a second later one may ask again"
        );
    }
    assert!(daemon.count("refused_network_rate").await >= 1);
    assert_eq!(daemon.count("refused_rate").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_bodies_have_a_size_and_a_route_may_allow_more() {
    let upstream = echo_origin().await;
    let routes = format!(
        "limits: {{header_bytes: 1KiB, body_bytes: 10}}\nroutes:\n  big:\n    upstream: http://{upstream}\n    \
         paths: [/big]\n    limits: {{body_bytes: 1MiB, header_bytes: 4KiB}}\n  all:\n    upstream: \
         http://{upstream}\n    paths: [/]\n"
    );
    let daemon = Daemon::start(&web(&[&routes]));
    let addr = daemon.addr("web");
    let close = "Host: h\r\nConnection: close\r\n";
    let with_header = |path: &str, len: usize| {
        format!(
            "GET {path} HTTP/1.1\r\n{close}X-Filler: {}\r\n\r\n",
            "x".repeat(len)
        )
    };
    let with_body = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\n{close}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let chunked = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\n{close}Transfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n"
        )
    };
    let announced = format!("POST / HTTP/1.1\r\n{close}Content-Length: 99999999999\r\n\r\n");
    for (request, expected) in [
        (with_header("/", 500), "200"),
        (with_header("/", 1000), "431"),
        (with_header("/big", 1000), "200"),
        (with_header("/big", 5000), "431"),
        // Beyond what is read at all.
        (with_header("/big", 200_000), "431"),
        (with_body("/", "1234567890"), "200"),
        (with_body("/", "12345678901"), "413"),
        (with_body("/big", "12345678901"), "200"),
        (chunked("/"), "413"),
        (chunked("/big"), "200"),
        (announced, "413"),
    ] {
        let answer = raw(addr, &request).await;
        let head = &request[..request.len().min(80)];
        assert_eq!(status(&answer), expected, "{head:?}: {answer}");
        assert!(
            !answer.contains("127.0.0.1") || expected == "200",
            "no internals: {answer}"
        );
    }
    assert_eq!(daemon.count("refused_body_bytes").await, 3);
    assert_eq!(daemon.count("refused_header_bytes").await, 2);
    assert_eq!(daemon.count("upstream_broken").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_long_ends() {
    let upstream = echo_origin().await;
    let limits = "limits: {header_timeout: 150ms, idle_timeout: 1s, body_timeout: 150ms}";
    let daemon = Daemon::start(&web(&[limits, &route_to(upstream, "")]));
    let addr = daemon.addr("web");

    let started = Instant::now();
    let answer = raw(addr, "GET / HTTP/1.1\r\nHost:").await;
    assert_eq!(status(&answer), "408", "{answer}");
    let header = started.elapsed();
    assert!(
        (Duration::from_millis(140)..Duration::from_millis(900)).contains(&header),
        "{header:?}"
    );

    let slow = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nv=0";
    let answer = raw(addr, slow).await;
    assert_eq!(status(&answer), "408", "{answer}");

    let started = Instant::now();
    let answer = raw(addr, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(status(&answer), "200");
    let idle = started.elapsed();
    assert!(
        idle >= Duration::from_secs(1),
        "an idle connection may wait longer than a header: {idle:?}"
    );
    assert_eq!(daemon.count("uploads_stalled").await, 1);
    assert!(daemon.count("connections_expired").await >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_response_is_no_idle_connection() {
    let (upstream, leave, _) = patient_origin().await;
    let limits = "limits: {header_timeout: 50ms, idle_timeout: 50ms}";
    let daemon = Daemon::start(&web(&[limits, &route_to(upstream, "")]));
    let mut stream = connect_from("127.0.0.1", daemon.addr("web")).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), stream.read_u8()).await;
    assert!(early.is_err(), "{early:?}");
    leave.add_permits(1);
    expect(&mut stream, "done").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_messages_have_a_size_and_silence_an_end() {
    let upstream = websocket_origin(|mut socket| async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let limits = "limits: {websocket_message_bytes: 100, websocket_idle_timeout: 500ms}";
    let daemon = Daemon::start(&web(&[&route_to(upstream, limits)]));
    let addr = daemon.addr("web");
    let mut socket = websocket(addr, "/").await.unwrap();
    socket.send(Message::text("x".repeat(100))).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().len(), 100);
    socket.send(Message::text("x".repeat(101))).await.unwrap();
    assert_eq!(close_code(&mut socket).await, CloseCode::Size);

    let mut socket = websocket(addr, "/").await.unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(800) {
        socket.send(Message::text("still here")).await.unwrap();
        socket.next().await.unwrap().unwrap();
    }
    let silent = Instant::now();
    assert_eq!(close_code(&mut socket).await, CloseCode::Away);
    assert!(silent.elapsed() >= Duration::from_millis(450));
    assert_eq!(daemon.count("websocket_messages_too_long").await, 1);
    assert_eq!(daemon.count("websockets_idle").await, 1);
}

async fn close_code<S>(socket: &mut S) -> CloseCode
where
    S: futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    match socket.next().await {
        Some(Ok(Message::Close(Some(frame)))) => frame.code,
        other => panic!("no close frame: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_services_limit_are_closed() {
    let upstream = fixed_origin("text/plain", "x").await;
    let config =
        web(&[&route_to(upstream, "")]).replace("'127.0.0.1:0'", "'127.0.0.1:0', max_connections: 2");
    let daemon = Daemon::start(&config);
    let addr = daemon.addr("web");
    let keep = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut first = connect_from("127.0.0.1", addr).await;
    let mut second = connect_from("127.0.0.1", addr).await;
    for stream in [&mut first, &mut second] {
        stream.write_all(keep.as_bytes()).await.unwrap();
        expect(stream, "\r\n\r\nx").await;
    }
    let mut third = connect_from("127.0.0.1", addr).await;
    assert!(matches!(third.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    first.write_all(keep.as_bytes()).await.unwrap();
    expect(&mut first, "\r\n\r\nx").await;
    assert_eq!(daemon.count("connections_refused").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_go_on_over_a_reload() {
    let (upstream, leave, arrived) = patient_origin().await;
    let config = |more: &str| {
        let limits = "limits: {connections: 1}";
        web(&[limits, more, &route_to(upstream, "")])
    };
    let daemon = Daemon::start(&config("idle_conn_timeout: 1s"));
    let uri = daemon.uri("/");
    let under_way = tokio::spawn(async move { get(&uri).await.status() });
    let addr = daemon.addr("web");
    arrival(&arrived).await;
    assert_eq!(status(&raw(addr, GET).await), "503");
    daemon.rewrite(&config("idle_conn_timeout: 2s"));
    daemon.logged("configuration reloaded").await;
    assert_eq!(status(&raw(addr, GET).await), "503", "it is still under way");
    leave.add_permits(1);
    assert_eq!(under_way.await.unwrap(), 200);
    leave.add_permits(1);
    assert_eq!(status(&raw(addr, GET).await), "200");
}
