//! WebSockets through the proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use xrtc::config::Scheme;

use crate::front::{Front, Setup};
use crate::origin::{origin, respond, websocket_origin};

type Incoming = Option<Result<Message, Error>>;

pub(crate) async fn connect(
    front: &Front,
    headers: &[(&'static str, &str)],
) -> Result<(WebSocketStream<TcpStream>, Response<Option<Vec<u8>>>), Error> {
    let stream = TcpStream::connect(front.addr).await.unwrap();
    let mut request = format!("ws://{}/ws", front.addr).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    tokio_tungstenite::client_async(request, stream).await
}

pub(crate) fn close_code(message: Incoming) -> Option<CloseCode> {
    match message {
        Some(Ok(Message::Close(frame))) => frame.map(|frame| frame.code),
        other => panic!("no close frame: {other:?}"),
    }
}

/// An upstream that reports all that it receives and echoes text and binary messages.
async fn reporting_front() -> (Front, mpsc::Receiver<Message>) {
    let (tell, told) = mpsc::channel(64);
    let upstream = websocket_origin(move |mut socket| {
        let tell = tell.clone();
        async move {
            while let Some(Ok(message)) = socket.next().await {
                tell.send(message.clone()).await.unwrap();
                if message.is_text() || message.is_binary() {
                    socket.send(message).await.unwrap();
                }
            }
        }
    })
    .await;
    (Setup::to(&[(Scheme::Ws, upstream)]).start(), told)
}

#[tokio::test]
async fn every_kind_of_message_passes_and_the_protocol_is_the_upstreams_choice() {
    let (front, mut told) = reporting_front().await;
    let headers = [
        ("sec-websocket-protocol", "janus-protocol, other"),
        (
            "sec-websocket-extensions",
            "permessage-deflate; client_max_window_bits",
        ),
    ];
    let (mut socket, response) = connect(&front, &headers).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "janus-protocol");
    assert!(!response.headers().contains_key("sec-websocket-extensions"));
    assert!(response.headers().contains_key("x-request-id"));
    for message in [
        Message::text("text"),
        Message::binary(vec![0, 255]),
        Message::Ping(vec![1].into()),
        Message::Pong(vec![2].into()),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(told.recv().await.unwrap(), message);
    }
    let mut echoes = Vec::new();
    while echoes.len() < 2 {
        let message = socket.next().await.unwrap().unwrap();
        if message.is_text() || message.is_binary() {
            echoes.push(message);
        }
    }
    assert_eq!(echoes, [Message::text("text"), Message::binary(vec![0, 255])]);
}

#[tokio::test]
async fn every_ping_reaches_the_far_end_and_is_answered_once() {
    let (front, mut told) = reporting_front().await;
    let (mut socket, _) = connect(&front, &[]).await.unwrap();
    for number in 0..3 {
        let payload = Bytes::from(vec![number]);
        socket.send(Message::Ping(payload.clone())).await.unwrap();
        assert_eq!(told.recv().await.unwrap(), Message::Ping(payload.clone()));
        // Its echo comes behind whatever the upstream said to the ping.
        socket.send(Message::text("behind")).await.unwrap();
        let mut pongs = Vec::new();
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Pong(pong) => pongs.push(pong),
                Message::Text(_) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pongs, [payload]);
        assert_eq!(told.recv().await.unwrap(), Message::text("behind"));
    }
}

#[tokio::test]
async fn the_close_code_and_reason_pass_in_each_direction() {
    let bye = CloseFrame {
        code: CloseCode::from(4001),
        reason: Utf8Bytes::from("bye"),
    };
    let (front, mut told) = reporting_front().await;
    let (mut socket, _) = connect(&front, &[]).await.unwrap();
    socket.close(Some(bye.clone())).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), Message::Close(Some(bye.clone())));
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::Close(Some(bye.clone()))
    );
    assert!(socket.next().await.is_none());

    let from_server = bye.clone();
    let upstream = websocket_origin(move |mut socket| {
        let frame = from_server.clone();
        async move {
            socket.close(Some(frame)).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
    let front = Setup::to(&[(Scheme::Ws, upstream)]).start();
    let (mut socket, _) = connect(&front, &[]).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(Some(bye)));
    assert!(socket.next().await.is_none());
}

#[tokio::test]
async fn a_message_beyond_the_limit_ends_with_1009() {
    let (front, mut told) = reporting_front().await;
    let (mut socket, _) = connect(&front, &[]).await.unwrap();
    socket.send(Message::binary(vec![0; 1024 * 1024])).await.unwrap();
    assert_eq!(told.recv().await.unwrap().len(), 1024 * 1024);
    assert_eq!(socket.next().await.unwrap().unwrap().len(), 1024 * 1024);
    socket
        .send(Message::binary(vec![0; 1024 * 1024 + 1]))
        .await
        .unwrap();
    assert_eq!(close_code(socket.next().await), Some(CloseCode::Size));
    assert_eq!(close_code(told.recv().await.map(Ok)), Some(CloseCode::Away));
}

#[tokio::test]
async fn a_client_that_vanishes_takes_the_upstream_with_it() {
    let (front, mut told) = reporting_front().await;
    let (socket, _) = connect(&front, &[]).await.unwrap();
    drop(socket);
    assert_eq!(close_code(told.recv().await.map(Ok)), Some(CloseCode::Away));
}

#[tokio::test]
async fn an_upstream_that_vanishes_takes_the_client_with_it() {
    let upstream = websocket_origin(|socket| async move { drop(socket) }).await;
    let front = Setup::to(&[(Scheme::Ws, upstream)]).start();
    let (mut socket, _) = connect(&front, &[]).await.unwrap();
    assert_eq!(close_code(socket.next().await), Some(CloseCode::Away));
}

/// Many messages at once, both ways at once: none is lost, reordered or held back.
#[tokio::test]
async fn a_burst_passes_in_order() {
    const MESSAGES: usize = 2_000;
    let (front, mut told) = reporting_front().await;
    let (socket, _) = connect(&front, &[]).await.unwrap();
    let (mut send, mut receive) = socket.split();
    let sending = async {
        for n in 0..MESSAGES {
            send.feed(Message::text(n.to_string())).await.unwrap();
        }
        send.flush().await.unwrap();
    };
    let reporting = async {
        for n in 0..MESSAGES {
            assert_eq!(told.recv().await.unwrap(), Message::text(n.to_string()));
        }
    };
    let receiving = async {
        for n in 0..MESSAGES {
            assert_eq!(
                receive.next().await.unwrap().unwrap(),
                Message::text(n.to_string())
            );
        }
    };
    tokio::join!(sending, reporting, receiving);
}

/// A reader that is slow slows the writer down: only what sockets buffer is under way.
#[tokio::test]
async fn messages_are_not_kept_for_a_slow_reader() {
    const MESSAGES: usize = 2048;
    const SIZE: usize = 64 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let upstream = websocket_origin(move |mut socket| {
        let sent = counted.clone();
        async move {
            for _ in 0..MESSAGES {
                socket.send(Message::binary(vec![0; SIZE])).await.unwrap();
                sent.fetch_add(SIZE, Ordering::SeqCst);
            }
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
    let front = Setup::to(&[(Scheme::Ws, upstream)]).start();
    let (mut socket, _) = connect(&front, &[]).await.unwrap();
    let (mut received, mut most) = (0, 0);
    while received < MESSAGES * SIZE {
        received += socket.next().await.unwrap().unwrap().len();
        most = most.max(sent.load(Ordering::SeqCst).saturating_sub(received));
    }
    assert!(most < 48 * 1024 * 1024, "{most} bytes were under way");
}

#[tokio::test]
async fn broken_frames_end_with_the_code_for_it() {
    let unmasked = (&[0x81, 2, b'h', b'i'][..], CloseCode::Protocol);
    let no_utf8 = (&[0x81, 0x81, 0, 0, 0, 0, 0xff][..], CloseCode::Invalid);
    for (frame, code) in [unmasked, no_utf8] {
        let (front, mut told) = reporting_front().await;
        let (mut socket, _) = connect(&front, &[]).await.unwrap();
        socket.get_mut().write_all(frame).await.unwrap();
        assert_eq!(close_code(socket.next().await), Some(code));
        assert_eq!(close_code(told.recv().await.map(Ok)), Some(CloseCode::Away));
    }
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_are_not_lost() {
    // Upstream: speaks at once, in the same segment as its handshake or not.
    let (tell, mut told) = mpsc::channel(4);
    let upstream = websocket_origin(move |mut socket| {
        let tell = tell.clone();
        async move {
            socket.send(Message::text("welcome")).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                tell.send(message).await.unwrap();
            }
        }
    })
    .await;
    let front = Setup::to(&[(Scheme::Ws, upstream)]).start();
    let mut stream = TcpStream::connect(front.addr).await.unwrap();
    // Client: a text frame "hi", masked with zeroes, in the same write as the request.
    let mut bytes =
        b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .to_vec();
    bytes.extend_from_slice(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), Message::text("hi"));
    let mut answer = Vec::new();
    while !answer.ends_with(b"welcome") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    let frame = answer.split_off(answer.len() - "welcome".len() - 2);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    // The example of RFC 6455 section 1.3; nothing stands between the head and the first frame.
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(frame[..2], [0x81, 7]);
}

#[tokio::test]
async fn a_refusal_of_the_upstream_passes_as_it_is() {
    let upstream = origin(|_| async {
        let mut refusal = respond("application/json", "{\"why\":\"not you\"}");
        *refusal.status_mut() = hyper::StatusCode::FORBIDDEN;
        refusal
            .headers_mut()
            .insert("x-reason", "policy".parse().unwrap());
        refusal
    })
    .await;
    // A group of http servers takes WebSockets too.
    let front = Setup::to(&[(Scheme::Http, upstream)]).start();
    let Err(Error::Http(refusal)) = connect(&front, &[]).await else {
        panic!("accepted");
    };
    assert_eq!(refusal.status(), 403);
    assert_eq!(refusal.headers()["x-reason"], "policy");
    assert_eq!(front.count("websockets_opened"), 0);
}

#[tokio::test]
async fn an_upstream_that_chooses_what_was_not_offered_is_a_502() {
    let upstream = origin(|mut request| async move {
        let (mut response, _) = hyper_tungstenite::upgrade(&mut request, None).unwrap();
        response
            .headers_mut()
            .insert("sec-websocket-protocol", "other".parse().unwrap());
        response.map(http_body_util::BodyExt::boxed_unsync)
    })
    .await;
    let front = Setup::to(&[(Scheme::Ws, upstream)]).start();
    let Err(Error::Http(refusal)) = connect(&front, &[("sec-websocket-protocol", "mine")]).await else {
        panic!("accepted");
    };
    assert_eq!(refusal.status(), 502);
}

#[tokio::test]
async fn other_websocket_versions_are_told_which_is_spoken() {
    let (front, _told) = reporting_front().await;
    let request = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = front.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("sec-websocket-version: 13\r\n"), "{answer}");
}
