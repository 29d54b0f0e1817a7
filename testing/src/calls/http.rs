//! One HTTP request on a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::lab::{Error, Result};

/// Only a broken build answers so late.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// GETs a path.
pub async fn get(addr: SocketAddr, path: &str) -> Result<Reply> {
    request(addr, Method::GET, path, Bytes::new()).await
}

/// POSTs an SDP.
pub async fn post(addr: SocketAddr, path: &str, sdp: &str) -> Result<Reply> {
    request(addr, Method::POST, path, Bytes::copy_from_slice(sdp.as_bytes())).await
}

async fn request(addr: SocketAddr, method: Method, path: &str, body: Bytes) -> Result<Reply> {
    let what = format!("{method} {addr}{path}");
    match timeout(PATIENCE, exchange(addr, method, path, body)).await {
        Ok(reply) => reply.map_err(|error| error.during(&what)),
        Err(_) => Err(Error::new(format!("{what}: no answer in {PATIENCE:?}"))),
    }
}

async fn exchange(addr: SocketAddr, method: Method, path: &str, body: Bytes) -> Result<Reply> {
    let failed = |error: &dyn std::fmt::Display| Error::new(error.to_string());
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    // It ends with the sender.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", addr.to_string())
        .header("content-type", "application/sdp")
        .body(Full::new(body))
        .map_err(|error| failed(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| failed(&error))?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| failed(&error))?.to_bytes();
    Ok(Reply {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
