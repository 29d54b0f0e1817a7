//! Clients: hyper for what is proper, bare sockets for the rest.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// On a connection of its own.
pub(crate) async fn send<B>(request: Request<B>) -> Response<Incoming>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let client: Client<HttpConnector, B> = Client::builder(TokioExecutor::new()).build_http();
    client.request(request).await.unwrap()
}

pub(crate) async fn get(uri: &str) -> Response<Incoming> {
    send(Request::get(uri).body(Full::<Bytes>::default()).unwrap()).await
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Bytes in, bytes out until the connection ends.
pub(crate) async fn raw(addr: SocketAddr, request: &str) -> String {
    raw_from("127.0.0.1", addr, request).await
}

/// The same from another address of this machine.
pub(crate) async fn raw_from(from: &str, addr: SocketAddr, request: &str) -> String {
    let mut stream = connect_from(from, addr).await;
    // A server that refuses a request may reset what it does not read of it.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

pub(crate) async fn connect_from(from: &str, addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    socket.connect(addr).await.unwrap()
}

/// Reads what the server says next; it must contain `text` in the end.
pub(crate) async fn expect(stream: &mut TcpStream, text: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        let read = stream.read_buf(&mut seen).await.unwrap();
        assert!(read > 0, "no {text:?} in {:?}", String::from_utf8_lossy(&seen));
    }
    String::from_utf8(seen).unwrap()
}

pub(crate) async fn websocket(addr: SocketAddr, path: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("ws://{addr}{path}").into_client_request().unwrap();
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    Ok(socket)
}
