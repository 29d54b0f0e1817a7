//! Clients that take their time: over a header, over a body, and over what they are sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use xrtc_testing::lab::report;

use crate::client::{get, websocket};
use crate::daemon::{Daemon, route_to, until, web};
use crate::h2::{self, END_STREAM, SETTINGS, frame, headers, outcome};
use crate::memory::Peak;
use crate::origin::{fixed_origin, origin, websocket_origin};

const SLOW: usize = 2000;
/// Of a connection in the middle of its header: its task, which is large in a debug build, and the parser's buffer.
const MOST_EACH: u64 = 64 * 1024;
/// Behind the client's end of a connection there is this much room, so that it is soon full.
const ROOM: u32 = 4096;

/// A body without end, and how much of it has been asked for; `open`: how many are under way.
async fn endless(taken: Arc<AtomicUsize>, open: Arc<AtomicUsize>) -> SocketAddr {
    struct Open(Arc<AtomicUsize>);
    impl Drop for Open {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    origin(move |_| {
        open.fetch_add(1, Ordering::Relaxed);
        let held = Open(open.clone());
        let taken = taken.clone();
        let piece = Bytes::from(vec![b'x'; 16 * 1024]);
        let pieces = futures_util::stream::repeat_with(move || {
            let _ = &held;
            taken.fetch_add(piece.len(), Ordering::Relaxed);
            Ok(Frame::data(piece.clone()))
        });
        let response = Response::builder().header("content-type", "video/mp4");
        let body = StreamBody::new(pieces).boxed_unsync();
        std::future::ready(response.body(body).unwrap())
    })
    .await
}

/// A connection that holds little of what is not read.
async fn narrow(addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(ROOM).unwrap();
    socket.connect(addr).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_headers_that_do_not_end_cost_little_and_nobody_else_anything() {
    let upstream = fixed_origin("text/plain", "served").await;
    let limits = "limits: {header_timeout: 6s}";
    let daemon = Daemon::start(&web(&[limits, &route_to(upstream, "")]));
    let addr = daemon.addr("web");
    let peak = Peak::of(daemon.id());
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ")
            .await
            .unwrap();
        slow.push(stream);
    }
    let began = Instant::now();
    let mut served = 0;
    while began.elapsed() < Duration::from_secs(3) {
        // A byte now and then is no more time.
        for stream in &mut slow {
            stream.write_all(b"x").await.unwrap();
        }
        assert_eq!(get(&daemon.uri("/")).await.status(), 200);
        served += 1;
    }
    let each = peak.growth() / SLOW as u64;
    assert!(each < MOST_EACH, "{each} bytes for each connection");
    let mut told = 0;
    for mut stream in slow {
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        told += usize::from(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"));
    }
    assert!(told > SLOW * 9 / 10, "{told} of {SLOW} were told");
    assert!(daemon.count("connections_expired").await >= SLOW as u64);
    report(format_args!(
        "{SLOW} connections in the middle of a header: {each} bytes each, {served} requests served meanwhile"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_lets_go_of_its_upstream() {
    let (taken, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let upstream = endless(taken.clone(), open.clone()).await;
    let limits = "limits: {send_timeout: 1s}";
    let daemon = Daemon::start(&web(&[limits, &route_to(upstream, "")]));
    let peak = Peak::of(daemon.id());
    let mut stream = narrow(daemon.addr("web")).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    until("the request", || open.load(Ordering::Relaxed) == 1).await;
    // For longer than the limit it reads a little: it is slow and not gone.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        stream.read_exact(&mut [0; 200_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(open.load(Ordering::Relaxed), 1);
    until("the end of it", || open.load(Ordering::Relaxed) == 0).await;
    assert_eq!(daemon.count("sends_stalled").await, 1);
    let growth = peak.growth();
    assert!(growth < 8 << 20, "{growth} bytes more");
    let held = taken.load(Ordering::Relaxed);
    assert!(held < 64 << 20, "the upstream could write {held} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_never_opens_lets_go_of_its_upstream_and_of_nothing_else() {
    let (taken, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let upstream = endless(taken.clone(), open.clone()).await;
    let limits = "limits: {send_timeout: 1s}";
    let small = fixed_origin("text/plain", "small").await;
    let routes = format!(
        "{limits}\nroutes:\n  small:\n    upstream: http://{small}\n    paths: [/small]\n  all:\n    upstream: \
         http://{upstream}\n    paths: [/]\n"
    );
    let daemon = Daemon::start(&web(&[&routes]));
    // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 section 6.5.2) of 0, then of 5 for what is small.
    let window = |size: u8| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, size]);
    let bytes = [window(0), h2::get(1, "/"), h2::get(3, "/")].concat();
    let mut stream = h2::send(daemon.addr("web"), &bytes).await;
    until("the requests", || open.load(Ordering::Relaxed) == 2).await;
    until("the end of both", || open.load(Ordering::Relaxed) == 0).await;
    let held = taken.load(Ordering::Relaxed);
    assert!(held < 64 << 20, "the upstream could write {held} bytes");
    assert_eq!(daemon.count("sends_stalled").await, 2);
    // The connection is as good as before.
    stream
        .write_all(&[window(5), h2::get(5, "/small")].concat())
        .await
        .unwrap();
    assert_eq!(outcome(&mut stream, 5).await, h2::Outcome::Status(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_whose_client_stops_reading_ends() {
    let open = Arc::<AtomicUsize>::default();
    let sessions = open.clone();
    let upstream = websocket_origin(move |mut socket| {
        let sessions = sessions.clone();
        async move {
            sessions.fetch_add(1, Ordering::Relaxed);
            while socket.send(Message::binary(vec![0; 16 * 1024])).await.is_ok() {}
            sessions.fetch_sub(1, Ordering::Relaxed);
        }
    })
    .await;
    let limits = "limits: {send_timeout: 1s}";
    let daemon = Daemon::start(&web(&[limits, &route_to(upstream, "")]));
    let mut socket = websocket(daemon.addr("web"), "/").await.unwrap();
    socket.next().await.unwrap().unwrap();
    until("the WebSocket", || open.load(Ordering::Relaxed) == 1).await;
    until("its end", || open.load(Ordering::Relaxed) == 0).await;
    assert_eq!(daemon.count("sends_stalled").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stalls_is_408_over_http_2_too() {
    let upstream = fixed_origin("text/plain", "x").await;
    let limits = "limits: {body_timeout: 300ms}";
    let daemon = Daemon::start(&web(&[limits, &route_to(upstream, "")]));
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "h"),
        ("content-type", "application/json"),
    ];
    let bytes = [
        headers(1, 0, &fields),
        frame(h2::DATA, 0, 1, b"{"),
        headers(3, END_STREAM, &fields),
    ]
    .concat();
    let mut stream = h2::send(daemon.addr("web"), &bytes).await;
    assert_eq!(
        outcome(&mut stream, 3).await,
        h2::Outcome::Status(200),
        "the other is served"
    );
    // 408 is in no static table.
    assert_eq!(outcome(&mut stream, 1).await, h2::Outcome::Status(0));
    assert_eq!(daemon.count("uploads_stalled").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_http_2_that_does_not_end_is_an_idle_connection() {
    let upstream = fixed_origin("text/plain", "x").await;
    let limits = "limits: {idle_timeout: 1s}";
    let daemon = Daemon::start(&web(&[limits, &route_to(upstream, "")]));
    let head = frame(h2::HEADERS, END_STREAM, 1, &h2::block(&[(":method", "GET")]));
    let mut stream = h2::send(daemon.addr("web"), &head).await;
    let end = outcome(&mut stream, 1).await;
    assert!(
        matches!(end, h2::Outcome::GoAway(0) | h2::Outcome::Closed),
        "{end:?}"
    );
}
