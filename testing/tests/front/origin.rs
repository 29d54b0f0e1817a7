//! An upstream server that tells what it was asked, and echoes WebSockets.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_tungstenite::HyperWebsocket;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves on a port of its own for the rest of the test. `/held` is answered never.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
            let serve = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serve.with_upgrades());
        }
    });
    addr
}

async fn answer(mut request: Request<Incoming>) -> Response<Body> {
    if hyper_tungstenite::is_upgrade_request(&request) {
        let (response, websocket) = hyper_tungstenite::upgrade(&mut request, None).unwrap();
        tokio::spawn(echo(websocket));
        return response.map(BodyExt::boxed_unsync);
    }
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/held" {
        std::future::pending::<()>().await;
    }
    let mut text = format!("{} {}\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        text += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    let body = body.collect().await.unwrap().to_bytes();
    text += &format!("\n{} bytes\n", body.len());
    Response::new(Full::new(Bytes::from(text)).boxed_unsync())
}

async fn echo(websocket: HyperWebsocket) {
    let mut socket = websocket.await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}
