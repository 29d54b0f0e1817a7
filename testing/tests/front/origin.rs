//! An upstream server that tells what it was asked, and echoes WebSockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_tungstenite::HyperWebsocket;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use xrtc::config::TlsFiles;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves on a port of its own for the rest of the test. `/held` is answered never, `/plain` never as a
/// WebSocket.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    addr
}

/// The same behind TLS.
pub(crate) async fn start_tls(files: &TlsFiles) -> SocketAddr {
    start_alpn(files, &[]).await
}

/// The same with a choice of these protocols.
pub(crate) async fn start_alpn(files: &TlsFiles, protocols: &[&str]) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_file(&files.crt).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config.unwrap();
    config.alpn_protocols = protocols.iter().map(|&name| name.into()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    serve_h2(stream).await;
                } else {
                    serve(stream).await;
                }
            });
        }
    });
    addr
}

async fn serve(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
    let serve = http1::Builder::new().serve_connection(TokioIo::new(io), service);
    // The proxy may break it off.
    let _ = serve.with_upgrades().await;
}

async fn serve_h2(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
    let serve = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), service);
    // The proxy may break it off.
    let _ = serve.await;
}

async fn answer(mut request: Request<Incoming>) -> Response<Body> {
    if hyper_tungstenite::is_upgrade_request(&request) && request.uri().path() != "/plain" {
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
