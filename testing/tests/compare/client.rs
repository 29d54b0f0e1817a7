//! The client of a case: bytes out, a message in.

use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::cases::{Case, Client};
use crate::message::{Head, Message, read_body};

const PATIENCE: Duration = Duration::from_secs(10);
/// A masked text frame: `hello`, with a mask of zeros.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";

/// What a client got: interim responses, then the response, if there was one.
#[derive(Debug, Default)]
pub(crate) struct Got {
    pub(crate) interim: Vec<Head>,
    pub(crate) response: Option<Message>,
}

/// Asks a proxy on these ports, the second of which speaks HTTP/2.
pub(crate) fn ask(case: &Case, [port, http2_port]: [u16; 2]) -> Got {
    match case.client {
        Client::Http2 => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(ask_http2(case.request, http2_port))
        }
        Client::Raw | Client::Continues(_) | Client::WebSocket => ask_http1(case, port),
    }
}

/// The bytes of a request: its own port in it, and `{N}` for so many letters.
fn bytes(request: &str, port: u16) -> Vec<u8> {
    let text = request.replace("PORT", &port.to_string());
    text.replace("{100000}", &"x".repeat(100_000)).into_bytes()
}

fn ask_http1(case: &Case, port: u16) -> Got {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A proxy may refuse before it has read all.
    let _ = stream.write_all(&bytes(case.request, port));
    let mut got = Got::default();
    let mut read = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut read) else {
            return got;
        };
        let (method, status) = (case.request.split(' ').next(), head.status().to_owned());
        if status.starts_with('1') && status != "101" {
            if let Client::Continues(body) = case.client {
                let _ = stream.write_all(body.as_bytes());
            }
            got.interim.push(head);
            continue;
        }
        let body = if status == "101" {
            let _ = stream.write_all(HELLO);
            let mut echo = [0; 7];
            let len = stream.read_exact(&mut echo).map_or(0, |()| 2);
            Some(echo[len..].to_vec())
        } else if method == Some("HEAD") || status == "204" || status == "304" {
            Some(Vec::new())
        } else {
            read_body(&head, false, &mut read, &mut stream)
        };
        let body = body.unwrap_or_else(|| [&read[..], b"[breaks off]"].concat());
        got.response = Some(Message { head, body });
        return got;
    }
}

fn read_head(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Head> {
    loop {
        if let Some((head, len)) = Head::parse(read) {
            read.drain(..len);
            return Some(head);
        }
        let mut piece = [0; 4096];
        let len = stream.read(&mut piece).ok().filter(|len| *len > 0)?;
        read.extend_from_slice(&piece[..len]);
    }
}

async fn ask_http2(request: &str, port: u16) -> Got {
    let (head, len) = Head::parse(request.as_bytes()).unwrap();
    let mut words = head.start.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let host = head.value("host").unwrap();
    let mut builder = Request::builder()
        .method(method)
        .uri(format!("http://{host}{path}"))
        .version(Version::HTTP_2);
    for (name, value) in head.fields.iter().filter(|(name, _)| name != "host") {
        builder = builder.header(name, value);
    }
    let body = Full::new(Bytes::copy_from_slice(&request.as_bytes()[len..]));
    let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let Ok(response) = sender.send_request(builder.body(body).unwrap()).await else {
        return Got::default();
    };
    let (parts, body) = response.into_parts();
    let fields = parts.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let head = Head {
        start: format!("HTTP/2 {}", parts.status.as_u16()),
        fields: fields.collect(),
    };
    let body = match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().into_iter().flatten();
            let marks: String = trailers
                .map(|(name, value)| format!("[trailer {name}: {}]", value.to_str().unwrap_or_default()))
                .collect();
            [&collected.to_bytes()[..], marks.as_bytes()].concat()
        }
        Err(_) => b"[breaks off]".to_vec(),
    };
    Got {
        interim: Vec::new(),
        response: Some(Message { head, body }),
    }
}
