//! One HTTP request on a connection of its own.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::lab::{Error, Result};

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
    let during = |error: &dyn std::fmt::Display| Error::new(format!("{method} {addr}{path}: {error}"));
    let stream = TcpStream::connect(addr).await.map_err(|error| during(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| during(&error))?;
    // It ends with the sender.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(&method)
        .uri(path)
        .header("host", addr.to_string())
        .header("content-type", "application/sdp")
        .body(Full::new(body))
        .map_err(|error| during(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| during(&error))?;
    let status = response.status().as_u16();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| during(&error))?
        .to_bytes();
    Ok(Reply {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
