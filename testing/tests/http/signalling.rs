//! Signalling that passes through: found in bodies and messages, rewritten, and described anew.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::{Response, StatusCode};
use tokio_tungstenite::tungstenite::Message;
use xrtc::config::Scheme;
use xrtc::signaling::Fact;

use crate::front::{Front, PROXY, SERVER_LEG, Setup, send, text};
use crate::origin::{OriginBody, echo_origin, fixed_origin, origin, respond, websocket_origin};
use crate::websocket::connect;

const LIMIT: usize = 256 * 1024;

/// A description with one candidate at the loopback address, which the mock permits, if `ip` is that.
fn sdp(ip: &str) -> String {
    [
        "v=0",
        &format!("o=- 1 1 IN IP4 {ip}"),
        "s=-",
        "t=0 0",
        "m=audio 5004 UDP/TLS/RTP/SAVPF 111",
        &format!("c=IN IP4 {ip}"),
        "a=mid:0",
        "a=rtcp-mux",
        "a=setup:active",
        "a=ice-ufrag:Uf4g",
        "a=ice-pwd:0123456789abcdef012345",
        "a=fingerprint:sha-256 AA:BB",
        &format!("a=candidate:1 1 udp 2015363327 {ip} 5004 typ host"),
        "a=end-of-candidates",
        "",
    ]
    .join("\r\n")
}

fn json(ip: &str) -> String {
    let sdp = sdp(ip).replace("\r\n", "\\r\\n");
    format!(
        r#"{{"janus": "event", "id": 12345678901234567890, "jsep": {{"type": "answer", "sdp": "{sdp}"}}}}"#
    )
}

fn chunked(content_type: &str, body: String) -> Response<OriginBody> {
    let pieces: Vec<_> = body
        .into_bytes()
        .chunks(100)
        .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    let body = StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync();
    Response::builder()
        .header("content-type", content_type)
        .body(body)
        .unwrap()
}

async fn front_of(content_type: &'static str, body: impl Into<Bytes>) -> Front {
    Setup::to(&[(Scheme::Http, fixed_origin(content_type, body).await)]).start()
}

#[tokio::test]
async fn an_answer_shows_the_client_the_proxy_and_is_learnt_before() {
    let front = front_of("application/sdp", sdp("127.0.0.1")).await;
    let response = send(front.get("/whep")).await;
    let length = response.headers()["content-length"].to_str().unwrap().to_owned();
    let body = text(response).await;
    assert_eq!(body.len().to_string(), length);
    assert!(body.contains(&format!("{PROXY} {}", front.addr.port())), "{body}");
    assert!(!body.contains("127.0.0.1") && !body.contains("Uf4g"), "{body}");
    assert!(body.contains("a=fingerprint:sha-256 AA:BB\r\n"), "{body}");
    let facts = front.calls.facts.lock().unwrap();
    let [
        (
            _,
            Fact::ServerDescription {
                ufrag, candidates, ..
            },
        ),
    ] = facts.as_slice()
    else {
        panic!("{facts:?}");
    };
    assert_eq!(ufrag, "Uf4g");
    assert_eq!(candidates[0].addr, "127.0.0.1:5004".parse().unwrap());
    assert_eq!(front.count("bodies_rewritten"), 1);
}

#[tokio::test]
async fn a_token_is_remembered_across_responses() {
    let front = front_of("application/sdp", sdp("127.0.0.1")).await;
    let first = text(send(front.get("/")).await).await;
    let second = text(send(front.get("/")).await).await;
    assert_eq!(first, second);
}

#[tokio::test]
async fn an_offer_shows_the_server_the_proxy() {
    let front = Setup::to(&[(Scheme::Http, echo_origin().await)]).start();
    let offer = sdp("203.0.113.5").replace("setup:active", "setup:actpass");
    let seen = text(send(front.post("/whip", "application/sdp", offer)).await).await;
    let (head, body) = seen.split_once("\n\n").unwrap();
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    assert!(body.contains(&format!("{SERVER_LEG} 40000 typ host")), "{body}");
    assert!(!body.contains("203.0.113.5") && !body.contains("Uf4g"), "{body}");
}

#[tokio::test]
async fn chunked_json_is_rewritten_and_gets_a_length() {
    let upstream = origin(|_| async { chunked("application/json; charset=utf-8", json("127.0.0.1")) }).await;
    let front = Setup::to(&[(Scheme::Http, upstream)]).start();
    let response = send(front.get("/janus/1?maxev=10")).await;
    assert!(!response.headers().contains_key("transfer-encoding"));
    let length = response.headers()["content-length"].to_str().unwrap().to_owned();
    let body = text(response).await;
    assert_eq!(body.len().to_string(), length);
    assert!(
        body.starts_with(r#"{"janus": "event", "id": 12345678901234567890, "#),
        "{body}"
    );
    assert!(body.contains(PROXY) && !body.contains("127.0.0.1"), "{body}");
}

#[tokio::test]
async fn the_counter_offer_of_a_refusal_is_rewritten_with_its_headers_kept() {
    let upstream = origin(|_| async {
        let mut response = respond("application/sdp", sdp("127.0.0.1"));
        *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
        response.headers_mut().insert("etag", "\"e\"".parse().unwrap());
        response
            .headers_mut()
            .insert("location", "/whep/1".parse().unwrap());
        response
    })
    .await;
    let front = Setup::to(&[(Scheme::Http, upstream)]).start();
    let response = send(front.get("/whep")).await;
    assert_eq!(response.status(), 406);
    assert_eq!(response.headers()["etag"], "\"e\"");
    assert_eq!(response.headers()["location"], "/whep/1");
    assert!(text(response).await.contains(PROXY));
}

#[tokio::test]
async fn a_compressed_body_is_read_and_goes_on_plain() {
    for (coding, encode) in [
        ("gzip", gzip as fn(&[u8]) -> Vec<u8>),
        ("br", stored_brotli),
        ("zstd", stored_zstd),
    ] {
        let upstream = origin(move |_| async move {
            let mut response = respond("application/json", encode(json("127.0.0.1").as_bytes()));
            response
                .headers_mut()
                .insert("content-encoding", coding.parse().unwrap());
            response
        })
        .await;
        let front = Setup::to(&[(Scheme::Http, upstream)]).start();
        let response = send(front.get("/")).await;
        assert!(!response.headers().contains_key("content-encoding"), "{coding}");
        assert!(text(response).await.contains(PROXY), "{coding}");
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain).unwrap();
    gzip.finish().unwrap()
}

/// RFC 7932 section 9: a window of 16 bits, an uncompressed meta-block, an empty last one.
fn stored_brotli(plain: &[u8]) -> Vec<u8> {
    let head = u32::try_from(plain.len() - 1).unwrap() << 4 | 1 << 20;
    [&head.to_le_bytes()[..3], plain, &[3]].concat()
}

/// RFC 8878 section 3.1.1: a window of 128 KiB, one raw block, which is the last.
fn stored_zstd(plain: &[u8]) -> Vec<u8> {
    let block = u32::try_from(plain.len()).unwrap() << 3 | 1;
    [
        &[0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3],
        &block.to_le_bytes()[..3],
        plain,
    ]
    .concat()
}

#[tokio::test]
async fn what_is_no_signalling_passes_byte_for_byte() {
    for (content_type, body) in [
        ("application/json", r#"{"janus" : "ack"}"#.to_owned()),
        ("text/html", sdp("127.0.0.1")),
        ("text/event-stream", sdp("127.0.0.1")),
        (
            "application/json",
            format!("\"{}\"", "v=0 candidate ufrag ".repeat(LIMIT / 20)),
        ),
    ] {
        let expected = body.clone();
        let upstream = origin(move |_| std::future::ready(chunked(content_type, body.clone()))).await;
        let front = Setup::to(&[(Scheme::Http, upstream)]).start();
        assert_eq!(text(send(front.get("/")).await).await, expected, "{content_type}");
        assert_eq!(front.count("bodies_rewritten"), 0);
        assert_eq!(front.count("bodies_too_large"), u64::from(expected.len() > LIMIT));
    }
}

#[tokio::test]
async fn an_event_stream_is_not_waited_for() {
    let upstream = origin(|_| async {
        let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"data: 1\n\n")))]);
        let stream = first.chain(futures_util::stream::pending());
        let response = Response::builder().header("content-type", "text/event-stream");
        response.body(StreamBody::new(stream).boxed_unsync()).unwrap()
    })
    .await;
    let front = Setup::to(&[(Scheme::Http, upstream)]).start();
    let mut body = send(front.get("/events")).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "data: 1\n\n");
}

#[tokio::test]
async fn head_keeps_the_length_of_what_is_not_sent() {
    let upstream = origin(|_| async { respond("application/sdp", sdp("127.0.0.1")) }).await;
    let front = Setup::to(&[(Scheme::Http, upstream)]).start();
    let mut head = front.get("/");
    *head.method_mut() = hyper::Method::HEAD;
    let response = send(head).await;
    assert_eq!(
        response.headers()["content-length"],
        sdp("127.0.0.1").len().to_string().as_str()
    );
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn a_server_address_that_is_not_permitted_is_refused() {
    let front = front_of("application/sdp", sdp("192.0.2.77")).await;
    let _ = text(send(front.get("/")).await).await;
    assert_eq!(front.calls.refusals.lock().unwrap().len(), 1);
    assert!(front.calls.facts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn websocket_messages_are_rewritten_both_ways_and_numbered_by_websocket() {
    let upstream = websocket_origin(|mut socket| async move {
        let offer = socket.next().await.unwrap().unwrap().into_text().unwrap();
        socket.send(Message::text(format!("seen {offer}"))).await.unwrap();
        socket.send(Message::text(json("127.0.0.1"))).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let front = Setup::to(&[(Scheme::Ws, upstream)]).start();
    for _ in 0..2 {
        let (mut socket, _) = connect(&front, &[]).await.unwrap();
        socket.send(Message::text(json("203.0.113.5"))).await.unwrap();
        let seen = socket.next().await.unwrap().unwrap().into_text().unwrap();
        assert!(
            seen.contains(SERVER_LEG) && !seen.contains("203.0.113.5"),
            "{seen}"
        );
        let answer = socket.next().await.unwrap().unwrap().into_text().unwrap();
        assert!(
            answer.contains(PROXY) && !answer.contains("127.0.0.1"),
            "{answer}"
        );
    }
    let facts = front.calls.facts.lock().unwrap();
    let numbers: Vec<u64> = facts.iter().map(|(connection, _)| *connection).collect();
    assert_eq!(numbers.len(), 4, "{facts:?}");
    assert!(numbers[0] == numbers[1] && numbers[2] == numbers[3] && numbers[0] != numbers[2]);
}
