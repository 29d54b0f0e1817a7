//! Connections that end at one side, or too early: what the other side is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::client::{raw, websocket};
use crate::daemon::{Daemon, route_to, until, web};
use crate::h2::{self, DATA, Outcome, RST_STREAM};
use crate::origin::{origin, respond, websocket_origin};
use crate::tls;

const CLOSE: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const KEEP: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n";

/// A server that says the same on every connection once a head has come, and then ends its side of it, or all.
async fn scripted(said: impl Into<Vec<u8>>, half: bool) -> SocketAddr {
    let said: Arc<[u8]> = said.into().into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let said = said.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                    if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
                        return;
                    }
                }
                let _ = stream.write_all(&said).await;
                if half {
                    let _ = stream.shutdown().await;
                    let _ = stream.read_to_end(&mut head).await;
                }
            });
        }
    });
    addr
}

fn behind(upstream: SocketAddr, more: &str) -> Daemon {
    Daemon::start(&web(&[more, &route_to(upstream, "")]))
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_said_all_still_gets_its_answer() {
    let upstream = origin(|request| async move {
        let body = http_body_util::BodyExt::collect(request.into_body())
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        respond("video/mp4", body.to_bytes())
    })
    .await;
    let daemon = tls::start(&web(&[&route_to(upstream, "")]));
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}");
    for over_tls in [false, true] {
        for (request, expected) in [
            ("GET / HTTP/1.0\r\n\r\n".to_owned(), ""),
            (String::from_utf8(KEEP.to_vec()).unwrap(), ""),
            (post("Content-Length: 5\r\n", "hello"), "hello"),
            (
                post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
                "hello",
            ),
            (
                post("Content-Type: video/mp4\r\nContent-Length: 5\r\n", "hello"),
                "hello",
            ),
        ] {
            let mut stream = tls::connect(&daemon, over_tls, "http/1.1").await;
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            assert_eq!(status(&answer), "200", "{over_tls} {request:?}: {answer:?}");
            assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{answer:?}");
        }
    }
    // Not so one that has not said all.
    let mut stream = tls::connect(&daemon, false, "").await;
    stream
        .write_all(post("Content-Length: 9\r\n", "hello").as_bytes())
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert_ne!(status(&answer), "200", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_is_not_waited_for() {
    struct Open(Arc<AtomicUsize>);
    impl Drop for Open {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let open = Arc::<AtomicUsize>::default();
    let requests = open.clone();
    let upstream = origin(move |_| {
        requests.fetch_add(1, Ordering::Relaxed);
        let held = Open(requests.clone());
        async move {
            let _held = held;
            std::future::pending().await
        }
    })
    .await;
    let daemon = behind(upstream, "");
    let mut stream = TcpStream::connect(daemon.addr("web")).await.unwrap();
    stream.write_all(KEEP).await.unwrap();
    until("the request", || open.load(Ordering::Relaxed) == 1).await;
    drop(stream);
    until("its end", || open.load(Ordering::Relaxed) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_ends_its_side_behind_the_answer_has_answered() {
    for (said, expected) in [
        (format!("{HEAD}\r\nto the end"), "to the end"),
        (format!("{HEAD}Content-Length: 5\r\n\r\nwhole"), "whole"),
    ] {
        let daemon = behind(scripted(said, true).await, "");
        let answer = raw(daemon.addr("web"), CLOSE).await;
        assert_eq!(status(&answer), "200");
        assert!(answer.contains(expected), "{answer:?}");
    }
    let daemon = behind(scripted("", true).await, "");
    assert_eq!(status(&raw(daemon.addr("web"), CLOSE).await), "502");
    assert_eq!(daemon.count("upstream_broken").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_never_looks_whole() {
    for said in [
        format!("{HEAD}Content-Length: 100\r\n\r\npart"),
        format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"),
        format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\nxyz\r\n"),
    ] {
        let daemon = behind(scripted(said.clone(), false).await, "");
        let mut stream = TcpStream::connect(daemon.addr("web")).await.unwrap();
        stream.write_all(KEEP).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        // The end of the connection is all that a client of HTTP/1.1 can be told.
        let announced = answer.contains("content-length: 100") || !answer.ends_with("0\r\n\r\n");
        assert!(announced && !answer.contains("xyz"), "{said:?}: {answer:?}");
        assert!(answer.len() < 600, "{answer:?}");

        let mut stream = h2::send(daemon.addr("web"), &h2::get(1, "/")).await;
        let mut was_reset = false;
        while let Some((kind, of, _)) = h2::next(&mut stream).await {
            assert!(of != 1 || kind != DATA || !was_reset);
            was_reset |= kind == RST_STREAM && of == 1;
            if was_reset {
                break;
            }
        }
        assert!(was_reset, "{said:?}");
    }
    // What may hold signalling is looked at as a whole, so that the client can be told by a status.
    let said = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let daemon = behind(scripted(said, false).await, "");
    assert_eq!(status(&raw(daemon.addr("web"), CLOSE).await), "502");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_end_of_the_upload_arrives() {
    let early = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly";
    let daemon = behind(scripted(early, true).await, "");
    let length = 8 << 20;
    let stream = TcpStream::connect(daemon.addr("web")).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let head =
        format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: video/mp4\r\nContent-Length: {length}\r\n\r\n");
    to.write_all(head.as_bytes()).await.unwrap();
    // It goes on sending until it is stopped, and reads only then.
    let _ = to.write_all(&vec![b'x'; length]).await;
    let mut answer = Vec::new();
    let _ = from.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(status(&answer), "413", "{answer}");

    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "h"),
        ("content-type", "video/mp4"),
    ];
    let bytes = [
        h2::headers(1, 0, &fields),
        h2::frame(DATA, 0, 1, b"the beginning"),
    ];
    let mut stream = h2::send(daemon.addr("web"), &bytes.concat()).await;
    // 413 is in no static table.
    assert_eq!(h2::outcome(&mut stream, 1).await, Outcome::Status(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_a_502() {
    let field = "X-A: 1\r\n";
    for (name, said) in [
        ("garbage", "SSH-2.0-x\r\n\r\n".to_owned()),
        (
            "a head beyond its size",
            format!("{HEAD}X-A: {}\r\n\r\n", "x".repeat(1 << 20)),
        ),
        ("too many fields", format!("{HEAD}{}\r\n", field.repeat(5000))),
        (
            "two lengths",
            format!("{HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ),
        (
            "a length that is none",
            format!("{HEAD}Content-Length: +5\r\n\r\nhello"),
        ),
        ("a NUL in a field", format!("{HEAD}X-A: \0\r\n\r\n")),
        ("a status that is none", "HTTP/1.1 2000 OK\r\n\r\n".to_owned()),
        (
            "an upgrade that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_owned(),
        ),
        ("half a head", "HTTP/1.1 200 OK\r\nX-A".to_owned()),
    ] {
        let daemon = behind(scripted(said, true).await, "");
        let answer = raw(daemon.addr("web"), CLOSE).await;
        assert_eq!(status(&answer), "502", "{name}: {answer:?}");
        assert_eq!(daemon.count("upstream_broken").await, 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_without_end_are_no_answer() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(200_000);
    let daemon = behind(scripted(hints, false).await, "response_header_timeout: 1s");
    let peak = crate::memory::Peak::of(daemon.id());
    let answer = raw(daemon.addr("web"), CLOSE).await;
    assert!(["502", "504"].contains(&status(&answer)), "{answer:?}");
    let growth = peak.growth();
    assert!(growth < 8 << 20, "{growth} bytes more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_an_answer_is_not_the_next_one() {
    let hidden = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden";
    for (name, method, said) in [
        (
            "behind its length",
            "GET",
            format!("{HEAD}Content-Length: 2\r\n\r\nok{hidden}"),
        ),
        (
            "behind its last chunk",
            "GET",
            format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a body where HEAD has none",
            "HEAD",
            format!("{HEAD}Content-Length: 54\r\n\r\n{hidden}"),
        ),
        (
            "a body where 204 has none",
            "GET",
            format!("HTTP/1.1 204 No Content\r\n\r\n{hidden}"),
        ),
        (
            "a body where 304 has none",
            "GET",
            format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 54\r\n\r\n{hidden}"),
        ),
    ] {
        let daemon = behind(scripted(said, true).await, "");
        let mut stream = TcpStream::connect(daemon.addr("web")).await.unwrap();
        let first = format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n");
        stream.write_all(first.as_bytes()).await.unwrap();
        let last = first.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        stream.write_all(last.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(!answer.contains("hidden"), "{name}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{name}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_client_that_leaves_without_a_word_ends_the_upstreams_too() {
    let open = Arc::<AtomicUsize>::default();
    let sessions = open.clone();
    let upstream = websocket_origin(move |mut socket| {
        let sessions = sessions.clone();
        async move {
            sessions.fetch_add(1, Ordering::Relaxed);
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() {
                    socket.send(message).await.unwrap();
                }
            }
            sessions.fetch_sub(1, Ordering::Relaxed);
        }
    })
    .await;
    let daemon = tls::start(&web(&[&route_to(upstream, "")]));
    let plain = websocket(daemon.addr("web"), "/").await.unwrap();
    let stream = tls::connect(&daemon, true, "http/1.1").await;
    let request = "ws://h.example/".into_client_request().unwrap();
    let (mut secure, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    secure.send(Message::text("there")).await.unwrap();
    assert_eq!(secure.next().await.unwrap().unwrap(), Message::text("there"));
    until("both", || open.load(Ordering::Relaxed) == 2).await;
    // Neither a close frame nor a `close_notify`.
    drop((plain, secure));
    until("the end of both", || open.load(Ordering::Relaxed) == 0).await;
    until_closed(&daemon).await;
}

async fn until_closed(daemon: &Daemon) {
    while daemon.count("websockets_closed").await < 2 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_client_that_leaves_without_close_notify_is_one_that_leaves() {
    let upstream = origin(|_| std::future::ready(respond("video/mp4", "answer"))).await;
    let daemon = tls::start(&web(&[&route_to(upstream, "")]));
    let mut stream = tls::connect(&daemon, true, "http/1.1").await;
    stream.write_all(KEEP).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"answer") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
    }
    drop(stream);
    assert_eq!(status(&raw(daemon.addr("web"), CLOSE).await), "200");
    assert_eq!(daemon.count("connections_unreadable").await, 0);
}
