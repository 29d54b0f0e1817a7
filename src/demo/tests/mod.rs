//! The echo server as its clients see it: real sockets on loopback, a str0m peer in the browser's place.

mod client;

use std::time::Duration;

use hyper::{Method, StatusCode};
use str0m::Event;
use str0m::media::MediaKind;

use super::Demo;
use super::calls::Limits;
use client::{Client, offer, request};

const SDP: &str = "application/sdp";

/// Far more than anything here takes; only a broken build waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

async fn demo() -> Demo {
    Demo::start().await.unwrap()
}

#[tokio::test]
async fn a_call_connects_and_its_data_and_video_come_back() {
    let demo = demo().await;
    let mut client = Client::call(&demo).await;
    client
        .until(PATIENCE, |event, _| matches!(event, Event::Connected))
        .await;
    client
        .until(PATIENCE, |event, client| {
            let Event::ChannelOpen(id, _) = event else {
                return false;
            };
            assert!(client.rtc.channel(*id).unwrap().write(false, b"text").unwrap());
            true
        })
        .await;
    let text = client.until_message(PATIENCE).await;
    assert_eq!((text.binary, text.data.as_slice()), (false, b"text".as_slice()));
    assert!(
        client
            .rtc
            .channel(text.id)
            .unwrap()
            .write(true, &[0, 255, 7])
            .unwrap()
    );
    let binary = client.until_message(PATIENCE).await;
    assert_eq!(
        (binary.binary, binary.data.as_slice()),
        (true, [0, 255, 7].as_slice())
    );

    client.film();
    for _ in 0..5 {
        client.until_frame(PATIENCE).await;
    }
}

#[tokio::test]
async fn two_calls_on_one_socket_do_not_mix() {
    let demo = demo().await;
    let (mut first, mut second) = (Client::call(&demo).await, Client::call(&demo).await);
    for (client, message) in [(&mut first, "one"), (&mut second, "two")] {
        client
            .until(PATIENCE, |event, client| {
                let Event::ChannelOpen(id, _) = event else {
                    return false;
                };
                client
                    .rtc
                    .channel(*id)
                    .unwrap()
                    .write(false, message.as_bytes())
                    .unwrap()
            })
            .await;
    }
    assert_eq!(first.until_message(PATIENCE).await.data, b"one");
    assert_eq!(second.until_message(PATIENCE).await.data, b"two");
}

#[tokio::test]
async fn junk_on_the_socket_ends_nothing() {
    let demo = demo().await;
    let mut client = Client::call(&demo).await;
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // Nothing, a lone byte, STUN cut short, a check without USERNAME, DTLS and RTP of no call, a jumbo.
    let check = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    for junk in [
        &[][..],
        &[0],
        &check[..9],
        &check,
        &[22; 60],
        &[0x80; 60],
        &[1; 9000],
    ] {
        stranger.send_to(junk, demo.ice_addr()).await.unwrap();
    }
    client
        .until(PATIENCE, |event, _| matches!(event, Event::Connected))
        .await;
    assert_eq!(
        stranger.try_recv(&mut [0; 64]).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[tokio::test]
async fn delete_ends_the_call_for_the_peer_too() {
    let demo = demo().await;
    let mut client = Client::call(&demo).await;
    client
        .until(PATIENCE, |event, _| matches!(event, Event::Connected))
        .await;
    let path = client.resource.clone();
    assert_eq!(
        request(&demo, Method::DELETE, &path, SDP, "").await.status,
        StatusCode::OK
    );
    client
        .until(PATIENCE, |event, _| matches!(event, Event::Closed))
        .await;
    assert_eq!(
        request(&demo, Method::DELETE, &path, SDP, "").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn calls_are_limited_and_a_hung_up_one_makes_room() {
    let limits = Limits {
        calls: 2,
        ..Limits::default()
    };
    let demo = Demo::with_limits(limits).await.unwrap();
    let offer = offer();
    let first = request(&demo, Method::POST, "/echo", SDP, &offer).await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(
        request(&demo, Method::POST, "/echo", SDP, &offer).await.status,
        StatusCode::CREATED
    );
    let refused = request(&demo, Method::POST, "/echo", SDP, &offer).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.header("retry-after").is_some());

    request(&demo, Method::DELETE, first.header("location").unwrap(), SDP, "").await;
    assert_eq!(
        request(&demo, Method::POST, "/echo", SDP, &offer).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_call_without_a_peer_is_reaped() {
    let limits = Limits {
        calls: 1,
        idle: Duration::from_millis(50),
    };
    let demo = Demo::with_limits(limits).await.unwrap();
    let offer = offer();
    assert_eq!(
        request(&demo, Method::POST, "/echo", SDP, &offer).await.status,
        StatusCode::CREATED
    );
    tokio::time::timeout(PATIENCE, async {
        while request(&demo, Method::POST, "/echo", SDP, &offer).await.status != StatusCode::CREATED {}
    })
    .await
    .expect("the idle call makes room");
}

#[tokio::test]
async fn the_answer_offers_the_loopback_address_and_names_the_call() {
    let demo = demo().await;
    let reply = request(
        &demo,
        Method::POST,
        "/echo",
        "Application/SDP; charset=utf-8",
        &offer(),
    )
    .await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(reply.header("content-type"), Some(SDP));
    let address = format!(" {} {} typ host", demo.ice_addr().ip(), demo.ice_addr().port());
    assert_eq!(reply.body.matches("a=candidate:").count(), 1, "{}", reply.body);
    assert!(reply.body.contains(&address), "{}", reply.body);
    assert!(
        !reply.body.contains("a=ice-lite"),
        "a full agent, like most servers"
    );
    let location = reply.header("location").unwrap();
    let id = location.strip_prefix("/echo/").unwrap();
    assert_eq!(id.len(), 32);
    assert!(!reply.body.contains(id), "only the owner knows the id");
}

#[tokio::test]
async fn unresolvable_candidates_do_not_matter() {
    let demo = demo().await;
    let candidate = "a=candidate:1 1 udp 2113937151 0b7a3c1e.local 50000 typ host\r\na=end-of-candidates\r\n";
    let offer = offer().replacen("a=mid:", &format!("{candidate}a=mid:"), 1);
    let reply = request(&demo, Method::POST, "/echo", SDP, &offer).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
}

#[tokio::test]
async fn bad_requests_get_the_status_that_fits() {
    let demo = demo().await;
    let too_long = "v=0\r\n".repeat(16 * 1024);
    let no_media = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    let cases = [
        (
            Method::POST,
            "/echo",
            "application/json",
            "{}",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (Method::POST, "/echo", SDP, "", StatusCode::BAD_REQUEST),
        (Method::POST, "/echo", SDP, "hello", StatusCode::BAD_REQUEST),
        (Method::POST, "/echo", SDP, no_media, StatusCode::BAD_REQUEST),
        (
            Method::POST,
            "/echo",
            SDP,
            &too_long,
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        (Method::GET, "/echo", SDP, "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::PATCH, "/echo/1", SDP, "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::DELETE, "/echo/1", SDP, "", StatusCode::NOT_FOUND),
        (Method::POST, "/", SDP, "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/../etc/passwd", SDP, "", StatusCode::NOT_FOUND),
        (Method::OPTIONS, "/echo", SDP, "", StatusCode::NO_CONTENT),
        (Method::OPTIONS, "/echo/1", SDP, "", StatusCode::NO_CONTENT),
    ];
    for (method, path, media_type, body, expected) in cases {
        let reply = request(&demo, method.clone(), path, media_type, body).await;
        assert_eq!(reply.status, expected, "{method} {path}: {}", reply.body);
        assert_eq!(
            reply.status.is_client_error(),
            !reply.body.is_empty(),
            "a refusal says why"
        );
    }
}

#[tokio::test]
async fn the_page_is_served_with_its_type_and_policy() {
    let demo = demo().await;
    let page = request(&demo, Method::GET, "/?autostart=1", SDP, "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert!(page.header("content-security-policy").is_some());
    let script = request(&demo, Method::GET, "/app.js", SDP, "").await;
    assert_eq!(
        script.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(request(&demo, Method::HEAD, "/", SDP, "").await.body, "");
}

#[tokio::test]
async fn dropping_the_demo_frees_its_ports_and_ends_its_calls() {
    let demo = demo().await;
    let mut client = Client::call(&demo).await;
    client
        .until(PATIENCE, |event, _| matches!(event, Event::Connected))
        .await;
    let (port, ice) = (demo.http_port(), demo.ice_addr());
    drop(demo);
    client
        .until(PATIENCE, |event, _| matches!(event, Event::Closed))
        .await;
    tokio::time::timeout(PATIENCE, async {
        while std::net::UdpSocket::bind(ice).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the last call lets the socket go");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[test]
fn the_client_offers_what_a_browser_does() {
    let offer = offer();
    for kind in [MediaKind::Audio, MediaKind::Video] {
        assert!(offer.contains(&format!("m={kind} ")), "{offer}");
    }
    assert!(offer.contains("m=application "));
}
