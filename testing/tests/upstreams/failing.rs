//! Servers that fail: what is sent to another one, what is not, and how they come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use xrtc::config::{Scheme, UpstreamGroup};

use crate::front::{Front, Setup, send, text};
use crate::origin::{echo_origin, origin, respond};

use super::server::Server;
use super::{bare, of, tally, until};

const FAIL_TIMEOUT: Duration = Duration::from_millis(300);

/// A front before these servers, in turn, each of them out for [`FAIL_TIMEOUT`] once it fails.
fn front(servers: &[std::net::SocketAddr]) -> Front {
    let servers: Vec<_> = servers.iter().map(|&addr| (Scheme::Http, addr)).collect();
    let mut setup = Setup::to(&servers);
    let group = &mut setup.groups[0];
    group.slow_start = Duration::ZERO;
    group.cookie = false;
    for server in &mut group.servers {
        server.fail_timeout = FAIL_TIMEOUT;
    }
    setup.start()
}

/// Reads whatever arrives and closes without an answer. Counts its connections.
async fn silent() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut some = [0; 4096];
            if stream.read(&mut some).await.is_ok_and(|read| read > 0) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (addr, seen)
}

async fn refusing() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_server_that_dies_costs_no_request_and_returns_after_its_timeout() {
    let (mut a, b) = (Server::named("a").await, Server::named("b").await);
    let front = front(&[a.addr, b.addr]);
    assert_eq!(tally(&front, 4).await, of([("a", 2), ("b", 2)]));
    a.kill().await;
    assert_eq!(tally(&front, 20).await.get("a"), None);
    assert!(front.count("upstream_retries") >= 1);
    a.start_again().await;
    until(&front, "/", |status, body| (status, body) == (200, "a")).await;
    assert_eq!(tally(&front, 4).await, of([("a", 2), ("b", 2)]));
}

#[tokio::test]
async fn a_server_that_is_out_gets_no_traffic_before_its_time() {
    let (silent, seen) = silent().await;
    let b = Server::named("b").await;
    let mut setup = Setup::to(&[(Scheme::Http, silent), (Scheme::Http, b.addr)]);
    setup.groups[0].servers[0].fail_timeout = Duration::from_secs(3600);
    let front = setup.start();
    assert_eq!(tally(&front, 20).await, of([("b", 20)]));
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn max_fails_counts_failures_before_a_server_is_out() {
    let (silent, seen) = silent().await;
    let b = Server::named("b").await;
    let mut setup = Setup::to(&[(Scheme::Http, silent), (Scheme::Http, b.addr)]);
    for (max_fails, expected) in [(3, 3), (0, 10)] {
        seen.store(0, Ordering::SeqCst);
        setup.groups[0].servers[0].max_fails = max_fails;
        let mut again = Setup::to(&[]);
        again.groups = setup.groups.clone();
        let front = again.start();
        tally(&front, 20).await;
        assert_eq!(seen.load(Ordering::SeqCst), expected, "max_fails {max_fails}");
    }
}

#[tokio::test]
async fn a_post_goes_on_to_another_server_only_if_none_has_seen_it() {
    let front = front(&[refusing().await, echo_origin().await]);
    let answer = text(send(front.post("/", "application/json", "{\"a\":1}")).await).await;
    assert!(
        answer.starts_with("POST /\n") && answer.ends_with("\n\n{\"a\":1}"),
        "{answer}"
    );

    let (silent, seen) = silent().await;
    let working = Arc::new(AtomicUsize::new(0));
    let count = working.clone();
    let other = origin(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(respond("text/plain", "done"))
    })
    .await;
    let front = self::front(&[silent, other]);
    assert_eq!(
        send(front.post("/", "application/json", "{}")).await.status(),
        502
    );
    assert_eq!(
        (seen.load(Ordering::SeqCst), working.load(Ordering::SeqCst)),
        (1, 0)
    );
    assert_eq!(front.count("upstream_retries"), 0);
    assert_eq!(front.count("upstream_broken"), 1);
}

#[tokio::test]
async fn what_is_idempotent_goes_on_when_the_connection_breaks() {
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let (silent, seen) = silent().await;
        let front = front(&[silent, echo_origin().await]);
        let response = send(bare(&front, method, "/")).await;
        assert_eq!(
            (response.status().as_u16(), seen.load(Ordering::SeqCst)),
            (200, 1),
            "{method}"
        );
        assert_eq!(front.count("upstream_retries"), 1, "{method}");
    }
}

#[tokio::test]
async fn a_streamed_upload_goes_on_whole_if_nothing_of_it_was_read() {
    let front = front(&[refusing().await, echo_origin().await]);
    let pieces =
        ["one ", "two ", "three"].map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::from(piece))));
    let request = Request::post(front.uri("/"))
        .header("content-type", "video/mp4")
        .body(StreamBody::new(futures_util::stream::iter(pieces)))
        .unwrap();
    let answer = text(send(request).await).await;
    assert!(answer.ends_with("\n\none two three"), "{answer}");
    assert_eq!(front.count("upstream_retries"), 1);
}

#[tokio::test]
async fn when_all_are_down_the_answer_comes_at_once_and_the_first_that_returns_is_found() {
    let mut a = Server::named("a").await;
    let front = front(&[a.addr, refusing().await]);
    a.kill().await;
    for _ in 0..5 {
        assert_eq!(send(front.get("/")).await.status(), 502);
    }
    a.start_again().await;
    until(&front, "/", |status, body| (status, body) == (200, "a")).await;
}

#[tokio::test]
async fn at_most_three_servers_are_tried() {
    let mut silents = Vec::new();
    for _ in 0..5 {
        silents.push(silent().await);
    }
    let addrs: Vec<_> = silents.iter().map(|(addr, _)| *addr).collect();
    let front = front(&addrs);
    assert_eq!(send(front.get("/")).await.status(), 502);
    let seen: usize = silents.iter().map(|(_, seen)| seen.load(Ordering::SeqCst)).sum();
    assert_eq!(seen, 3);
}

/// Every caller of a Janus holds a long poll: the default must not count them.
#[tokio::test]
async fn by_default_more_than_a_hundred_requests_wait_at_one_server() {
    const POLLS: usize = 250;
    let barrier = Arc::new(Barrier::new(POLLS));
    let upstream = origin(move |_| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            respond("text/plain", "all here")
        }
    })
    .await;
    let front = Setup::to(&[(Scheme::Http, upstream)]).start();
    let polls = join_all((0..POLLS).map(|_| send(front.get("/poll"))));
    let answers = tokio::time::timeout(super::SOON, polls).await.unwrap();
    assert!(answers.iter().all(|answer| answer.status() == 200));
}

#[tokio::test]
async fn websockets_find_another_server_too() {
    let upstream = crate::origin::websocket_origin(|mut websocket| async move {
        use futures_util::SinkExt as _;
        websocket.send("hello".into()).await.unwrap();
    })
    .await;
    let mut setup = Setup::to(&[]);
    let servers = [refusing().await, upstream]
        .map(|addr| xrtc::config::Server::new(Scheme::Ws, addr.ip().to_string(), addr.port()));
    setup.groups = vec![UpstreamGroup::new("g", servers.into())];
    let front = setup.start();
    let request = format!("ws://{}/", front.addr);
    let stream = tokio::net::TcpStream::connect(front.addr).await.unwrap();
    let (mut websocket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let first = futures_util::StreamExt::next(&mut websocket)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.into_text().unwrap(), "hello");
    assert_eq!(front.count("upstream_retries"), 1);
}

#[tokio::test]
async fn a_body_that_the_client_breaks_off_is_not_the_servers_fault() {
    let a = Server::new(|request| async move {
        let _ = request.into_body().collect().await;
        respond("text/plain", "a")
    })
    .await;
    let front = front(&[a.addr, refusing().await]);
    let broken = futures_util::stream::iter([
        Ok(Frame::data(Bytes::from_static(b"some"))),
        Err(std::io::Error::other("the client changed its mind")),
    ]);
    let request = Request::post(front.uri("/"))
        .header("content-type", "video/mp4")
        .body(StreamBody::new(broken))
        .unwrap();
    let client =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    assert!(client.request(request).await.is_err());
    // The other is out after the first try; a server blamed for the client would be out as well, and asked in vain.
    let free = Request::get(front.uri("/"))
        .body(Full::<Bytes>::default())
        .unwrap();
    assert_eq!(text(send(free).await).await, "a");
    assert_eq!(front.count("upstream_broken"), 0);
}
