//! HTTP/2 to clients, and WebSockets over it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use xrtc::http::Limits;

use crate::door::{Door, Pki, SOON, Setup};
use crate::wire::TlsClient;

type Sender = SendRequest<Full<Bytes>>;

/// A connection with prior knowledge; the handle ends with it.
async fn connect(door: &Door) -> (Sender, JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(door.addr).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://a.example{path}"))
        .body(Full::default())
        .unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// An extended CONNECT; a request before it makes sure that the server's settings have come.
async fn extended_connect(sender: &mut Sender, path: &str, protocol: &'static str) -> Response<Incoming> {
    sender.send_request(get("/")).await.unwrap();
    let request = Request::connect(format!("https://a.example{path}"))
        .header("sec-websocket-version", "13")
        .header("origin", "https://a.example")
        .extension(Protocol::from_static(protocol));
    let request = request.body(Full::default()).unwrap();
    timeout(SOON, sender.send_request(request))
        .await
        .expect("an answer")
        .unwrap()
}

async fn websocket(sender: &mut Sender) -> WebSocketStream<TokioIo<Upgraded>> {
    let mut response = extended_connect(sender, "/ws?room=1", "websocket").await;
    assert_eq!(response.status(), StatusCode::OK);
    for h1_only in ["connection", "upgrade", "sec-websocket-accept"] {
        assert!(!response.headers().contains_key(h1_only), "{h1_only}");
    }
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}

async fn echoes(socket: &mut WebSocketStream<TokioIo<Upgraded>>, message: &str) {
    socket.send(Message::text(message)).await.unwrap();
    let back = timeout(SOON, socket.next())
        .await
        .expect("an echo")
        .unwrap()
        .unwrap();
    assert_eq!(back, Message::text(message));
}

#[tokio::test]
async fn requests_with_prior_knowledge() {
    let door = Setup::default().start().await;
    let (mut sender, _connection) = connect(&door).await;
    let mut request = get("/path?q=1");
    for cookie in ["a=1", "b=2"] {
        request.headers_mut().append("cookie", cookie.parse().unwrap());
    }
    let told = text(sender.send_request(request).await.unwrap()).await;
    for line in [
        "GET /path?q=1\n",
        "\nhost: a.example\n",
        "\ncookie: a=1; b=2\n",
        "\nx-forwarded-proto: http\n",
    ] {
        assert!(told.contains(line), "{line:?} is not in {told}");
    }
    let upload = Request::post("http://a.example/")
        .body(Full::new(Bytes::from(vec![b'x'; 3_000_000])))
        .unwrap();
    let told = text(sender.send_request(upload).await.unwrap()).await;
    assert!(told.ends_with("\n3000000 bytes\n"), "{told}");
    assert_eq!(door.count("http2_connections"), 1);
}

#[tokio::test]
async fn requests_over_tls_by_alpn() {
    let pki = Pki::new();
    let setup = Setup {
        certificates: vec![pki.make("a", &["a.example"])],
        ..Setup::default()
    };
    let door = setup.start().await;
    let stream = TlsClient::new().alpn(&["h2"]).connect(&door, "a.example").await;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let _connection = tokio::spawn(connection);
    let told = text(sender.send_request(get("/")).await.unwrap()).await;
    assert!(told.contains("\nx-forwarded-proto: https\n"), "{told}");
    let mut socket = websocket(&mut sender).await;
    echoes(&mut socket, "over TLS and HTTP/2").await;
}

#[tokio::test]
async fn a_websocket_beside_requests_on_one_connection() {
    let door = Setup::default().start().await;
    let (mut sender, _connection) = connect(&door).await;
    let mut socket = websocket(&mut sender).await;
    let mut other = websocket(&mut sender).await;
    for round in 0..3 {
        echoes(&mut socket, &format!("one {round}")).await;
        echoes(&mut other, &"x".repeat(100_000)).await;
        assert!(
            text(sender.send_request(get("/")).await.unwrap())
                .await
                .starts_with("GET /\n")
        );
    }
    socket.close(None).await.unwrap();
    let closed = timeout(SOON, socket.next())
        .await
        .expect("an end")
        .unwrap()
        .unwrap();
    assert!(closed.is_close());
    echoes(&mut other, "still here").await;
    assert_eq!(door.count("websockets_opened"), 2);
    door.counted("websockets_closed", 1).await;
}

/// Over HTTP/2 any 2xx would mean that the tunnel is there.
#[tokio::test]
async fn an_upstream_that_answers_a_handshake_as_a_request_is_a_502() {
    let door = Setup::default().start().await;
    let (mut sender, _connection) = connect(&door).await;
    let answer = extended_connect(&mut sender, "/plain", "websocket").await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn other_tunnels_are_refused() {
    let door = Setup::default().start().await;
    let (mut sender, _connection) = connect(&door).await;
    let other = extended_connect(&mut sender, "/ws", "webtransport").await;
    assert_eq!(other.status(), StatusCode::NOT_IMPLEMENTED);
    let plain = Request::builder()
        .method(Method::CONNECT)
        .uri("a.example:443")
        .body(Full::default())
        .unwrap();
    let refused = sender.send_request(plain).await.unwrap();
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn requests_taken_back_again_and_again_end_the_connection() {
    let door = Setup::default().start().await;
    let (mut sender, connection) = connect(&door).await;
    sender.send_request(get("/")).await.unwrap();
    for _ in 0..1000 {
        if sender.ready().await.is_err() {
            break;
        }
        let asked = timeout(Duration::from_millis(1), sender.send_request(get("/held"))).await;
        drop(asked);
    }
    timeout(SOON, connection).await.expect("an end").unwrap().ok();
    door.counted("http2_flood", 1).await;
    let (mut fresh, _connection) = connect(&door).await;
    assert_eq!(
        fresh.send_request(get("/")).await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_and_one_with_a_websocket_is_not() {
    let limits = Limits {
        idle_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let door = setup.start().await;
    let (mut busy, busy_connection) = connect(&door).await;
    let mut socket = websocket(&mut busy).await;
    let (mut idle, idle_connection) = connect(&door).await;
    idle.send_request(get("/")).await.unwrap();
    timeout(SOON, idle_connection)
        .await
        .expect("an end")
        .unwrap()
        .unwrap();
    assert!(!busy_connection.is_finished());
    echoes(&mut socket, "long after").await;
}

#[tokio::test]
async fn a_drain_lets_a_websocket_go_on_until_the_deadline() {
    let door = Setup::default().start().await;
    let (mut sender, connection) = connect(&door).await;
    let mut socket = websocket(&mut sender).await;
    let ending = tokio::spawn(door.server.shutdown(Duration::from_millis(300)));
    echoes(&mut socket, "while draining").await;
    let last = timeout(SOON, socket.next())
        .await
        .expect("an end")
        .unwrap()
        .unwrap();
    let Message::Close(Some(frame)) = last else {
        panic!("no close frame: {last:?}")
    };
    assert_eq!(frame.code, CloseCode::Away);
    drop((socket, sender));
    timeout(SOON, ending).await.expect("the server's end").unwrap();
    timeout(SOON, connection)
        .await
        .expect("the connection's end")
        .unwrap()
        .ok();
}
