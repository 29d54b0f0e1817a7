//! Requests and bodies on their way through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::{Request, Response};
use tokio::sync::mpsc;
use xrtc::config::Scheme;

use crate::front::{Setup, group, route, send, text};
use crate::origin::{echo_origin, fixed_origin, origin, respond};

const CHUNK: usize = 64 * 1024;

#[tokio::test]
async fn a_request_arrives_with_its_host_and_what_we_know_of_the_client() {
    let front = Setup::to(&[(Scheme::Http, echo_origin().await)]).start();
    let mut request = front.post("/a%20b?x=1&y", "application/octet-stream", "the body");
    for (name, value) in [
        ("host", "tenant.example:6443"),
        ("x-forwarded-for", "10.9.9.9"),
        ("connection", "x-hop"),
        ("x-hop", "secret"),
        ("x-end", "kept"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = send(request).await;
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let seen = text(response).await;
    assert!(seen.starts_with("POST /a%20b?x=1&y\n"), "{seen}");
    for line in [
        "host: tenant.example:6443".to_owned(),
        "x-forwarded-for: 127.0.0.1".to_owned(),
        "x-forwarded-proto: http".to_owned(),
        "x-end: kept".to_owned(),
        "accept-encoding: identity".to_owned(),
        "content-length: 8".to_owned(),
        format!("x-request-id: {id}"),
    ] {
        assert!(seen.contains(&format!("{line}\n")), "{line} in {seen}");
    }
    assert!(!seen.contains("10.9.9.9") && !seen.contains("secret"), "{seen}");
    assert!(seen.ends_with("\n\nthe body"), "{seen}");
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_response_end_here() {
    let upstream = origin(|_| async {
        let mut response = respond("image/png", "x");
        for (name, value) in [
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=9"),
            ("etag", "\"e\""),
        ] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    })
    .await;
    let front = Setup::to(&[(Scheme::Http, upstream)]).start();
    let response = send(front.get("/")).await;
    assert!(!response.headers().contains_key("x-hop"));
    assert!(!response.headers().contains_key("keep-alive"));
    assert_eq!(response.headers()["etag"], "\"e\"");
}

#[tokio::test]
async fn routes_choose_the_group_and_rewrite_the_path_with_the_query_kept() {
    let mut setup = Setup::empty();
    setup.groups = vec![
        group(&[(Scheme::Http, fixed_origin("text/plain", "first").await)]),
        group(&[(Scheme::Http, echo_origin().await)]),
    ];
    setup.http.routes = vec![route("one", 0, "/one", None), route("two", 1, "/two", Some("/2"))];
    let front = setup.start();
    assert_eq!(text(send(front.get("/one/x")).await).await, "first");
    let seen = text(send(front.get("/two/x?q=a/b")).await).await;
    assert!(seen.starts_with("GET /2/x?q=a/b\n"), "{seen}");
    assert_eq!(send(front.get("/three")).await.status(), 404);
}

#[tokio::test]
async fn servers_of_a_group_take_turns() {
    let servers = [
        (Scheme::Http, fixed_origin("text/plain", "a").await),
        (Scheme::Http, fixed_origin("text/plain", "b").await),
    ];
    let front = Setup::to(&servers).start();
    let mut seen = String::new();
    for _ in 0..4 {
        seen += &text(send(front.get("/")).await).await;
    }
    assert_eq!(seen, "abab");
}

#[tokio::test]
async fn a_server_with_a_name_is_found_and_its_addresses_are_known() {
    let port = fixed_origin("text/plain", "named").await.port();
    let mut setup = Setup::to(&[(Scheme::Http, ([127, 0, 0, 1], port).into())]);
    setup.groups[0].servers[0].host = "localhost".into();
    let upstreams = xrtc::upstream::Upstreams::new(&setup.groups).unwrap();
    assert!(upstreams.addresses(0).is_empty());
    upstreams.refresh().await;
    assert!(upstreams.addresses(0).contains(&[127, 0, 0, 1].into()));
    let front = setup.start();
    assert_eq!(text(send(front.get("/")).await).await, "named");
}

/// Neither side of the proxy keeps what the other has not taken: of 128 MiB, only what sockets buffer is under way.
#[tokio::test]
async fn a_long_response_streams_without_being_kept() {
    const CHUNKS: usize = 2048;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let upstream = origin(move |_| {
        let sent = counted.clone();
        let chunks = futures_util::stream::iter(0..CHUNKS).map(move |_| {
            sent.fetch_add(CHUNK, Ordering::SeqCst);
            Ok(Frame::data(Bytes::from_static(&[b'x'; CHUNK])))
        });
        std::future::ready(Response::new(StreamBody::new(chunks).boxed_unsync()))
    })
    .await;
    let front = Setup::to(&[(Scheme::Http, upstream)]).start();
    let mut request = front.get("/movie.mp4");
    *request.method_mut() = hyper::Method::GET;
    let mut body = send(request).await.into_body();
    let (mut received, mut most) = (0, 0);
    while let Some(frame) = body.frame().await {
        received += frame.unwrap().into_data().unwrap().len();
        most = most.max(sent.load(Ordering::SeqCst) - received);
    }
    assert_eq!(received, CHUNKS * CHUNK);
    assert!(most < 48 * 1024 * 1024, "{most} bytes were under way");
}

#[tokio::test]
async fn an_upload_streams_while_it_is_made() {
    let (tell, mut told) = mpsc::channel(1);
    let upstream = origin(move |request| {
        let tell = tell.clone();
        async move {
            let mut body = request.into_body();
            let mut total = 0;
            while let Some(frame) = body.frame().await {
                total += frame.unwrap().into_data().unwrap().len();
                tell.send(total).await.unwrap();
            }
            respond("application/octet-stream", total.to_string())
        }
    })
    .await;
    let front = Setup::to(&[(Scheme::Http, upstream)]).start();
    let (feed, fed) = mpsc::channel::<Bytes>(1);
    let stream = futures_util::stream::unfold(fed, |mut fed| async {
        fed.recv()
            .await
            .map(|data| (Ok::<_, std::io::Error>(Frame::data(data)), fed))
    });
    let request = Request::post(front.uri("/"))
        .header("content-type", "video/mp4")
        .body(StreamBody::new(Box::pin(stream)))
        .unwrap();
    let answer = tokio::spawn(send(request));
    for round in 1..=3 {
        feed.send(Bytes::from_static(b"12345")).await.unwrap();
        assert_eq!(
            told.recv().await,
            Some(round * 5),
            "before the next piece is made"
        );
    }
    drop(feed);
    assert_eq!(text(answer.await.unwrap()).await, "15");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_upstream_request() {
    let (started, mut starts) = mpsc::channel(1);
    let (dropped, mut drops) = mpsc::channel::<()>(1);
    let upstream = origin(move |_| {
        let (started, dropped) = (started.clone(), dropped.clone());
        async move {
            started.send(()).await.unwrap();
            let _held_until_dropped = dropped;
            std::future::pending().await
        }
    })
    .await;
    let front = Setup::to(&[(Scheme::Http, upstream)]).start();
    let long_poll = tokio::spawn(send(front.get("/poll")));
    starts.recv().await.unwrap();
    long_poll.abort();
    // The origin itself keeps one sender, in its handler; the request's own clone must go.
    let gone = async {
        while drops.sender_strong_count() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone)
        .await
        .unwrap();
    drops.close();
}
