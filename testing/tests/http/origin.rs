//! Upstream servers, in process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_tungstenite::HyperWebsocketStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

pub(crate) type OriginBody = UnsyncBoxBody<Bytes, Infallible>;

/// Serves `answer` on a port of its own for the rest of the test.
pub(crate) async fn origin<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<OriginBody>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let serve = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serve.with_upgrades());
        }
    });
    addr
}

/// Answers every request with its own head and body, as text.
pub(crate) async fn echo_origin() -> SocketAddr {
    origin(|request| async move {
        let (parts, body) = request.into_parts();
        let mut text = format!("{} {}\n", parts.method, parts.uri);
        for (name, value) in &parts.headers {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        let body = body.collect().await.unwrap().to_bytes();
        text += "\n";
        text += std::str::from_utf8(&body).unwrap();
        respond("application/octet-stream", text)
    })
    .await
}

/// Answers every request with the same body.
pub(crate) async fn fixed_origin(content_type: &'static str, body: impl Into<Bytes>) -> SocketAddr {
    let body = body.into();
    origin(move |_| std::future::ready(respond(content_type, body.clone()))).await
}

/// Accepts every WebSocket, choosing the first protocol offered, and hands it to `session`.
pub(crate) async fn websocket_origin<F, R>(session: F) -> SocketAddr
where
    F: Fn(HyperWebsocketStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let session = Arc::new(session);
    origin(move |mut request| {
        let session = session.clone();
        async move {
            assert!(!request.headers().contains_key("sec-websocket-extensions"));
            let (mut response, websocket) = hyper_tungstenite::upgrade(&mut request, None).unwrap();
            if let Some(offered) = request.headers().get("sec-websocket-protocol") {
                let first = offered.to_str().unwrap().split(',').next().unwrap();
                let chosen = HeaderValue::from_str(first).unwrap();
                response.headers_mut().insert("sec-websocket-protocol", chosen);
            }
            tokio::spawn(async move { session(websocket.await.unwrap()).await });
            response.map(BodyExt::boxed_unsync)
        }
    })
    .await
}

pub(crate) fn respond(content_type: &str, body: impl Into<Bytes>) -> Response<OriginBody> {
    Response::builder()
        .header("content-type", content_type)
        .body(Full::new(body.into()).boxed_unsync())
        .unwrap()
}
