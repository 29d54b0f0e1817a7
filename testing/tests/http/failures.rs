//! What clients are told when something is wrong.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use xrtc::config::Scheme;

use crate::front::{Setup, send, text};
use crate::origin::{echo_origin, origin, respond};

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_502() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let front = Setup::to(&[(Scheme::Http, closed)]).start();
    let response = send(front.get("/")).await;
    assert_eq!(response.status(), 502);
    assert_eq!(text(response).await, "the upstream server cannot be reached\n");
    assert_eq!(front.count("upstream_dial"), 1);
}

#[tokio::test]
async fn an_upstream_that_accepts_no_connection_is_a_504() {
    // TLS never begins on this listener, which is part of dialling; nothing else stalls reliably on loopback.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::to(&[(Scheme::Https, silent.local_addr().unwrap())]);
    setup.http.dial_timeout = Duration::from_millis(50);
    let front = setup.start();
    assert_eq!(send(front.get("/")).await.status(), 504);
    assert_eq!(front.count("upstream_dial_timeout"), 1);
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_a_504() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::to(&[(Scheme::Http, silent.local_addr().unwrap())]);
    setup.http.response_header_timeout = Duration::from_millis(50);
    let front = setup.start();
    assert_eq!(send(front.get("/")).await.status(), 504);
    assert_eq!(front.count("upstream_header_timeout"), 1);
}

#[tokio::test]
async fn an_upstream_that_speaks_no_http_is_a_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = Setup::to(&[(Scheme::Http, listener.local_addr().unwrap())]).start();
    let babble = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await.unwrap();
        stream
    };
    let (response, _stream) = tokio::join!(send(front.get("/")), babble);
    assert_eq!(response.status(), 502);
    assert_eq!(front.count("upstream_broken"), 1);
}

#[tokio::test]
async fn a_request_to_websocket_servers_only_is_a_502_that_says_so() {
    let front = Setup::to(&[(Scheme::Ws, "127.0.0.1:9".parse().unwrap())]).start();
    let response = send(front.get("/")).await;
    assert_eq!(response.status(), 502);
    assert!(
        text(response)
            .await
            .contains("no server for this kind of request")
    );
    assert_eq!(front.count("upstream_no_server"), 1);
}

#[tokio::test]
async fn beyond_max_conns_requests_wait_and_then_get_a_503() {
    let upstream = origin(|request| async move {
        if request.uri().path() == "/hold" {
            let never = http_body_util::StreamBody::new(futures_util::stream::pending());
            let response = hyper::Response::builder().header("content-type", "video/mp4");
            return response.body(never.boxed_unsync()).unwrap();
        }
        respond("text/plain", "free")
    })
    .await;
    let mut setup = Setup::to(&[(Scheme::Http, upstream)]);
    setup.http.max_conns = Some(1);
    setup.http.dial_timeout = Duration::from_millis(50);
    let front = setup.start();
    let held = send(front.get("/hold")).await;
    assert_eq!(send(front.get("/")).await.status(), 503);
    assert_eq!(front.count("upstream_busy"), 1);
    drop(held);
    // The proxy gives the place back when it notices.
    while send(front.get("/")).await.status() == 503 {}
    assert_eq!(text(send(front.get("/")).await).await, "free");
}

#[tokio::test]
async fn bad_requests_are_refused_before_they_reach_an_upstream() {
    let front = Setup::to(&[(Scheme::Http, echo_origin().await)]).start();
    for (request, status) in [
        (
            "GET /a/../b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            "400",
        ),
        (
            "GET /a/%2e%2E/b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
            "400",
        ),
        (
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "405",
        ),
        ("GARBAGE\r\n\r\n", "400"),
    ] {
        let answer = front.raw(request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_request_body_that_stalls_is_a_408_and_not_the_upstreams_fault() {
    for content_type in ["application/sdp", "video/mp4"] {
        let mut setup = Setup::to(&[(Scheme::Http, echo_origin().await)]);
        setup.http.limits.body_timeout = Duration::from_millis(50);
        let front = setup.start();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {content_type}\r\nContent-Length: 9\r\n\r\nv=0"
        );
        let answer = front.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{content_type}: {answer}");
        assert_eq!(front.count("upstream_broken"), 0);
    }
}

#[tokio::test]
async fn http_1_0_clients_are_served() {
    let front = Setup::to(&[(Scheme::Http, echo_origin().await)]).start();
    let answer = front.raw("GET /old HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    assert!(answer.contains("GET /old\n"), "{answer}");
}

#[tokio::test]
async fn headers_that_do_not_come_end_the_connection() {
    let mut setup = Setup::empty();
    setup.http.limits.header_timeout = Duration::from_millis(50);
    let front = setup.start();
    let answer = front.raw("GET / HTTP/1.1\r\nHost:").await;
    assert!(!answer.contains(" 200 "), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_the_others_live_on() {
    let mut setup = Setup::to(&[(Scheme::Http, echo_origin().await)]);
    setup.connections = 1;
    let front = setup.start();
    let mut first = TcpStream::connect(front.addr).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut head = [0; 12];
    first.write_all(request).await.unwrap();
    first.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let mut second = TcpStream::connect(front.addr).await.unwrap();
    assert!(matches!(second.read(&mut head).await, Ok(0) | Err(_)));
    assert_eq!(front.count("connections_refused"), 1);
    first.write_all(request).await.unwrap();
    assert!(first.read(&mut head).await.unwrap() > 0);
}
