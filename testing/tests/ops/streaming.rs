//! What streams keeps streaming: events, trailers, 100-continue, and bodies whose coding hides signalling.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::{expect, get, raw, send, text};
use crate::daemon::{Daemon, route_to, web};
use crate::origin::{echo_origin, origin, respond};

#[tokio::test(flavor = "multi_thread")]
async fn each_event_arrives_when_it_is_sent() {
    let (tell, told) = mpsc::channel::<&'static str>(1);
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(Some(told)));
    let upstream = origin(move |_| {
        let told = told.clone();
        async move {
            let told = told.lock().await.take().unwrap();
            let frames = futures_util::stream::unfold(told, |mut told| async {
                let event = told.recv().await?;
                Some((Ok(Frame::data(Bytes::from(event))), told))
            });
            let response = Response::builder().header("content-type", "text/event-stream");
            response
                .body(StreamBody::new(frames.boxed()).boxed_unsync())
                .unwrap()
        }
    })
    .await;
    // However long may be held back, nothing is.
    let waits = "flush_interval: 1h\nglobal_flush_interval: 1h";
    let daemon = Daemon::start(&web(&[waits, &route_to(upstream, "")]));
    let mut body = get(&daemon.uri("/events")).await.into_body();
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        tell.send(event).await.unwrap();
        let frame = tokio::time::timeout(Duration::from_secs(5), body.frame())
            .await
            .unwrap();
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), event);
    }
    drop(tell);
    assert!(body.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_response_reach_a_client_that_takes_them() {
    let upstream = origin(|_| async {
        let trailers = HeaderMap::from_iter([("x-checksum".parse().unwrap(), "42".parse().unwrap())]);
        let frames = [
            Frame::data(Bytes::from_static(b"body")),
            Frame::trailers(trailers),
        ];
        let frames = futures_util::stream::iter(frames.map(Ok));
        Response::builder()
            .header("trailer", "x-checksum")
            .header("content-type", "application/octet-stream")
            .body(StreamBody::new(frames).boxed_unsync())
            .unwrap()
    })
    .await;
    let daemon = Daemon::start(&web(&[&route_to(upstream, "")]));
    let head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, TE\r\nTE: trailers\r\n\r\n";
    let answer = raw(daemon.addr("web"), head).await;
    assert!(answer.contains("trailer: x-checksum\r\n"), "{answer}");
    assert!(
        answer.ends_with("4\r\nbody\r\n0\r\nx-checksum: 42\r\n\r\n"),
        "{answer}"
    );
    let answer = raw(
        daemon.addr("web"),
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.ends_with("4\r\nbody\r\n0\r\n\r\n"),
        "who does not take them gets the body: {answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_is_told_to_go_on_and_not_when_it_is_refused() {
    let upstream = echo_origin().await;
    let limits = "limits: {body_bytes: 10}";
    let daemon = Daemon::start(&web(&[limits, &route_to(upstream, "")]));
    let head = |len: usize| {
        format!(
            "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(daemon.addr("web")).await.unwrap();
    stream.write_all(head(4).as_bytes()).await.unwrap();
    let first = expect(&mut stream, "\r\n\r\n").await;
    assert_eq!(first, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let answer = expect(&mut stream, "\n\nbody").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut stream = TcpStream::connect(daemon.addr("web")).await.unwrap();
    stream.write_all(head(11).as_bytes()).await.unwrap();
    let mut refused = String::new();
    stream.read_to_string(&mut refused).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 413 "), "no 100 before: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_unknown_coding_passes_as_it_is() {
    for (coding, body) in [
        ("br", &b"no brotli"[..]),
        ("zstd", b"no zstd"),
        ("compress", b"v=0"),
    ] {
        let upstream = origin(move |_| async move {
            let mut response = respond("application/sdp", body);
            response
                .headers_mut()
                .insert("content-encoding", coding.parse().unwrap());
            response
        })
        .await;
        let daemon = Daemon::start(&web(&[&route_to(upstream, "")]));
        let response = get(&daemon.uri("/")).await;
        assert_eq!(response.headers()["content-encoding"], coding);
        assert_eq!(text(response).await.as_bytes(), body);
        assert_eq!(daemon.count("bodies_encoded").await, 1, "{coding}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_brotli_without_signalling_passes_as_it_came() {
    // `{"janus":"create"}` by Node's zlib.
    const BROTLI: &[u8] = b"\x8b\x08\x80{\"janus\":\"create\"}\x03";
    let upstream = origin(|request| async move {
        let coding = request.headers()["content-encoding"].clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut response = respond("application/octet-stream", body);
        response.headers_mut().insert("x-coding", coding);
        response
    })
    .await;
    let daemon = Daemon::start(&web(&[&route_to(upstream, "")]));
    let request = Request::post(daemon.uri("/janus"))
        .header("content-type", "application/json")
        .header("content-encoding", "br")
        .body(Full::new(Bytes::from_static(BROTLI)))
        .unwrap();
    let response = send(request).await;
    assert_eq!(response.headers()["x-coding"], "br");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), BROTLI);
    assert_eq!(daemon.count("bodies_encoded").await, 0, "it was understood");
}
