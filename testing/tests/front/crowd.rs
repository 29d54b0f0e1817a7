//! One port, everything at once.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::door::{Door, Pki, Setup};
use crate::wire::{ICE, TlsClient, expect};

const EACH: usize = 50;
const ROUNDS: usize = 5;

async fn speak_http1(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..ROUNDS {
        let request = Request::get("/")
            .header("host", "a.example")
            .body(Full::<Bytes>::default())
            .unwrap();
        sender.ready().await.unwrap();
        assert_eq!(
            sender.send_request(request).await.unwrap().status(),
            StatusCode::OK
        );
    }
}

async fn speak_http2(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .unwrap();
    tokio::spawn(connection);
    for _ in 0..ROUNDS {
        let request = Request::get("http://a.example/")
            .body(Full::<Bytes>::default())
            .unwrap();
        assert_eq!(
            sender.send_request(request).await.unwrap().status(),
            StatusCode::OK
        );
    }
}

async fn speak_websocket(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let (mut socket, _) = tokio_tungstenite::client_async("ws://a.example/ws", io)
        .await
        .unwrap();
    for round in 0..ROUNDS {
        let message = Message::text(format!("round {round}"));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
}

async fn speak_ice(mut io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    for _ in 0..ROUNDS {
        io.write_all(ICE).await.unwrap();
        assert_eq!(expect(&mut io, ICE).await, ICE);
    }
}

async fn one_of_each(door: Arc<Door>) {
    let plain = || TcpStream::connect(door.addr);
    let tls = |alpn: &'static [&'static str]| {
        let door = door.clone();
        async move { TlsClient::new().alpn(alpn).connect(&door, "a.example").await }
    };
    tokio::join!(
        async { speak_http1(plain().await.unwrap()).await },
        async { speak_http2(plain().await.unwrap()).await },
        async { speak_websocket(plain().await.unwrap()).await },
        async { speak_ice(plain().await.unwrap()).await },
        async { speak_http1(tls(&["http/1.1"]).await).await },
        async { speak_http2(tls(&["h2"]).await).await },
        async { speak_websocket(tls(&["http/1.1"]).await).await },
        async { speak_ice(tls(&[]).await).await },
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_of_every_protocol() {
    let pki = Pki::new();
    let setup = Setup {
        certificates: vec![pki.make("a", &["a.example"])],
        ..Setup::default()
    };
    let door = Arc::new(setup.start().await);
    let clients = (0..EACH).map(|_| tokio::spawn(one_of_each(door.clone())));
    for client in join_all(clients).await {
        client.unwrap();
    }
    let each = EACH as u64;
    for (counter, expected) in [
        ("connections", 8 * each),
        ("tls_connections", 4 * each),
        ("http2_connections", 2 * each),
        ("ice_tcp_connections", 2 * each),
        ("websockets_opened", 2 * each),
        ("requests", (4 * ROUNDS as u64 + 2) * each),
    ] {
        assert_eq!(door.count(counter), expected, "{counter}");
    }
}
