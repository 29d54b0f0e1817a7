//! Bodies far larger than memory should be: they pass, and leave nothing behind; and who is slow at one end slows the
//! other.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use xrtc_testing::lab::report;

use crate::daemon::{Daemon, web};
use crate::memory::Peak;
use crate::tls::{Stream, connect, start};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// What the process may have more while any number of bytes pass.
const FLAT: u64 = 16 * MIB;
const PIECE: usize = 64 * 1024;

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
    File,
}

/// One transfer.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    http2: bool,
    tls: bool,
    way: Way,
    bytes: u64,
}

/// An upstream in threads: `GET /down/N` is answered with N bytes, and of a POST each byte is counted.
fn bulk() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || {
                let mut read = BufReader::with_capacity(PIECE, &stream);
                let (mut path, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if read.read_line(&mut line).unwrap_or(0) == 0 {
                        return;
                    }
                    let lower = line.trim_end().to_ascii_lowercase();
                    match lower.split_once(' ') {
                        Some(("get" | "post", rest)) => path = rest.to_owned(),
                        Some(("content-length:", rest)) => length = rest.parse().unwrap(),
                        _ => {}
                    }
                    if lower.is_empty() {
                        break;
                    }
                }
                let size = path
                    .strip_prefix("/down/")
                    .and_then(|rest| rest.split(' ').next());
                let size: u64 = size.map_or(0, |size| size.parse().unwrap());
                let counted = std::io::copy(&mut (&mut read).take(length), &mut std::io::sink());
                let said = if size == 0 {
                    counted.unwrap_or(0).to_string()
                } else {
                    String::new()
                };
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
                    size + said.len() as u64
                );
                let _ = (&stream).write_all(head.as_bytes());
                // Whoever breaks off has had enough.
                let _ = std::io::copy(&mut std::io::repeat(b'x').take(size), &mut &stream);
            });
        }
    });
    addr
}

fn config(upstream: SocketAddr) -> String {
    let routes = format!(
        "root: DIR/root\nroutes:\n  bulk:\n    upstream: http://{upstream}\n    paths: [/up, /down]\n"
    );
    web(&[&routes])
}

impl Transfer {
    fn path(self) -> String {
        match self.way {
            Way::Up => "/up".to_owned(),
            Way::Down => format!("/down/{}", self.bytes),
            Way::File => "/sparse.bin".to_owned(),
        }
    }

    /// Bytes that arrived at the other end.
    async fn run(self, daemon: &Daemon) -> u64 {
        let protocol = if self.http2 { "h2" } else { "http/1.1" };
        let stream = connect(daemon, self.tls, protocol).await;
        if self.http2 {
            self.over_http2(stream).await
        } else {
            self.over_http1(stream).await
        }
    }

    async fn over_http1(self, mut stream: Box<dyn Stream>) -> u64 {
        let (method, length) = match self.way {
            Way::Up => ("POST", self.bytes),
            Way::Down | Way::File => ("GET", 0),
        };
        let head = format!(
            "{method} {} HTTP/1.1\r\nHost: h\r\nContent-Type: video/mp4\r\nContent-Length: {length}\r\nConnection: \
             close\r\n\r\n",
            self.path()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![b'x'; PIECE];
        for _ in 0..length / PIECE as u64 {
            stream.write_all(&piece).await.unwrap();
        }
        stream.flush().await.unwrap();
        let (mut buffer, mut head, mut body) = (vec![0; PIECE], Vec::new(), 0);
        let mut said = Vec::new();
        loop {
            let len = stream.read(&mut buffer).await.unwrap_or(0);
            let mut read = &buffer[..len];
            if len == 0 {
                break;
            }
            if body == 0 && !head.ends_with(b"\r\n\r\n") {
                let until = read.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                head.extend_from_slice(&read[..until]);
                read = &read[until..];
            }
            body += read.len() as u64;
            if self.way == Way::Up {
                said.extend_from_slice(read);
            }
        }
        self.arrived(body, &said)
    }

    async fn over_http2(self, stream: Box<dyn Stream>) -> u64 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(Some(1 << 20))
            .initial_connection_window_size(Some(1 << 20));
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let pieces = if self.way == Way::Up {
            self.bytes / PIECE as u64
        } else {
            0
        };
        let piece = Bytes::from(vec![b'x'; PIECE]);
        let body = futures_util::stream::iter(0..pieces)
            .map(move |_| Ok::<_, std::io::Error>(Frame::data(piece.clone())));
        let request = Request::builder()
            .method(if self.way == Way::Up { "POST" } else { "GET" })
            .uri(format!("http://h{}", self.path()))
            .header("content-type", "video/mp4")
            .header("content-length", pieces * PIECE as u64);
        let request = request.body(StreamBody::new(body).boxed_unsync()).unwrap();
        let mut response = sender.send_request(request).await.unwrap();
        let (mut body, mut said) = (0, Vec::new());
        while let Some(frame) = response.frame().await {
            let data = frame.unwrap().into_data().unwrap_or_default();
            body += data.len() as u64;
            if self.way == Way::Up {
                said.extend_from_slice(&data);
            }
        }
        connection.abort();
        self.arrived(body, &said)
    }

    fn arrived(self, body: u64, said: &[u8]) -> u64 {
        match self.way {
            Way::Up => String::from_utf8_lossy(said).parse().unwrap_or(0),
            Way::Down | Way::File => body,
        }
    }
}

/// Runs transfers at once, and tells what more memory the process had.
async fn together(daemon: &Daemon, transfers: &[Transfer]) {
    let peak = Peak::of(daemon.id());
    let began = Instant::now();
    let runs = transfers.iter().map(|transfer| transfer.run(daemon));
    let arrived = futures_util::future::join_all(runs).await;
    let (took, growth) = (began.elapsed(), peak.growth());
    for (transfer, arrived) in transfers.iter().zip(arrived) {
        assert_eq!(arrived, transfer.bytes, "{transfer:?}");
    }
    let bytes: u64 = transfers.iter().map(|transfer| transfer.bytes).sum();
    report(format_args!(
        "{transfers:?}: {} MB/s, {} KiB more memory",
        bytes / 1000 / (took.as_millis() as u64 + 1),
        growth >> 10
    ));
    assert!(growth < FLAT, "{transfers:?}: {growth} bytes more");
}

fn matrix(bytes: u64) -> impl Iterator<Item = Transfer> {
    let ways = [Way::Up, Way::Down, Way::File];
    let kinds = [(false, false), (false, true), (true, false), (true, true)];
    kinds.into_iter().flat_map(move |(http2, tls)| {
        ways.map(|way| Transfer {
            http2,
            tls,
            way,
            bytes,
        })
    })
}

fn scene(bytes: u64) -> Daemon {
    let daemon = start(&config(bulk()));
    // Sparse: it takes no room on the disk.
    let file = File::create(daemon.work.join("root/sparse.bin")).unwrap();
    file.set_len(bytes).unwrap();
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gibibytes_up_and_down_at_once() {
    let daemon = scene(MIB);
    let both = [Way::Up, Way::Down].map(|way| Transfer {
        http2: false,
        tls: false,
        way,
        bytes: 2 * GIB,
    });
    together(&daemon, &both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_transfer() {
    let bytes = 128 * MIB;
    let daemon = scene(bytes);
    for transfer in matrix(bytes) {
        together(&daemon, &[transfer]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; for measuring a release build, by XRTC_BIN"]
async fn two_gibibytes_of_every_kind() {
    let daemon = scene(2 * GIB);
    for transfer in matrix(2 * GIB) {
        together(&daemon, &[transfer]).await;
    }
}

/// What a sender can write until it is stopped: nothing goes on for a second.
async fn until_full(stream: &mut TcpStream) -> u64 {
    let (piece, mut sent) = (vec![b'x'; PIECE], 0);
    while let Ok(written) = timeout(Duration::from_secs(1), stream.write(&piece)).await {
        sent += written.unwrap() as u64;
        assert!(sent < GIB, "nothing stops it");
    }
    sent
}

/// The kernel's buffers at both ends of two connections (tcp(7): `tcp_rmem`, `tcp_wmem`), and ours.
const IN_BETWEEN: u64 = 48 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_read_stops_its_client() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let daemon = Daemon::start(&config(listener.local_addr().unwrap()));
    let peak = Peak::of(daemon.id());
    let mut client = TcpStream::connect(daemon.addr("web")).await.unwrap();
    let head =
        format!("POST /up HTTP/1.1\r\nHost: h\r\nContent-Type: video/mp4\r\nContent-Length: {GIB}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let (_held, _) = listener.accept().await.unwrap();
    let sent = until_full(&mut client).await;
    assert!(sent < IN_BETWEEN, "{sent} bytes could be sent");
    let growth = peak.growth();
    assert!(growth < 8 * MIB, "{growth} bytes more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_stops_its_upstream() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let daemon = Daemon::start(&config(listener.local_addr().unwrap()));
    let peak = Peak::of(daemon.id());
    let mut client = TcpStream::connect(daemon.addr("web")).await.unwrap();
    client
        .write_all(b"GET /down/1 HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {GIB}\r\n\r\n");
    upstream.write_all(head.as_bytes()).await.unwrap();
    let sent = until_full(&mut upstream).await;
    assert!(sent < IN_BETWEEN, "{sent} bytes could be sent");
    let growth = peak.growth();
    assert!(growth < 8 * MIB, "{growth} bytes more");
}
