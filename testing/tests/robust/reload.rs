//! Everything at once: requests over HTTP/1.1 and HTTP/2, open WebSockets and calls, while the configuration changes
//! and changes.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use xrtc_testing::calls::{self, Caller, Daemon, EchoServer, Ports, Route, Setup};
use xrtc_testing::lab::{Error, Result, WorkDir, report};

use crate::load::Load;
use crate::origin::{fixed_origin, websocket_origin};

const CALLS: usize = 20;
const RELOADS: u64 = 10;
/// Of each call between two reloads. A busy machine's kernel may drop packets; xrtc must not drop calls.
const MESSAGES: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(60);
const APPLIED: &str = "xrtc_reloads_total{result=\"applied\"}";
const REFUSED: &str = "xrtc_reloads_total{result=\"refused\"}";

/// Streams on one connection, one request after the other on each.
struct Http2 {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    streams: Vec<JoinHandle<()>>,
}

impl Http2 {
    async fn on(addr: SocketAddr, streams: usize) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let streams = (0..streams).map(|_| {
            let (mut sender, stop, done) = (sender.clone(), stop.clone(), done.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let request = Request::get("http://h/http").body(Empty::<Bytes>::new()).unwrap();
                    let response = sender.send_request(request).await.unwrap();
                    assert_eq!(response.status(), 200);
                    response.into_body().collect().await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self {
            streams: streams.collect(),
            stop,
            done,
        }
    }

    /// Ends it; fails if any request did.
    async fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for stream in self.streams {
            stream.await.unwrap();
        }
        self.done.load(Ordering::Relaxed)
    }
}

/// The calls' configuration, with routes to `http` and `ws`, and in odd rounds another listener.
fn configuration(original: &str, http: SocketAddr, ws: SocketAddr, round: u64) -> String {
    let routes = format!(
        "      routes:\n        ws: {{upstream: \"ws://{ws}\", paths: [/ws]}}\n        http: {{upstream: \
         \"http://{http}\", paths: [/http]}}\n"
    );
    let mut changed = original
        .replace("      routes:\n", &routes)
        .replace(
            "net: {addr: \"127.0.0.3:0\"}",
            "net: {addr: \"127.0.0.3:0\", tls_crt_file: crt.pem, tls_key_file: key.pem}",
        )
        .replace("allow: []", &format!("allow: [\"192.0.2.{round}\"]"));
    if round % 2 == 1 {
        changed += "  more:\n    proto: http\n    net: {addr: \"127.0.0.3:0\"}\n";
    }
    changed
}

async fn counted(daemon: &Daemon, name: &str, times: u64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while daemon.metrics().await?.get(name) < times {
        if Instant::now() > deadline {
            return Err(Error::new(format!("no {times} of {name}:\n{}", daemon.log())));
        }
    }
    Ok(())
}

fn hang_up(daemon: &Daemon) -> Result<()> {
    Command::new("kill")
        .args(["-HUP", &daemon.id().to_string()])
        .status()?;
    Ok(())
}

async fn answered(load: &Load, more: usize) {
    let sofar = load.done();
    crate::daemon::until("more load", || load.done() > sofar + more).await;
}

async fn echo() -> SocketAddr {
    websocket_origin(|mut socket| async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && futures_util::SinkExt::send(&mut socket, message).await.is_err() {
                return;
            }
        }
    })
    .await
}

async fn all_at_once(work: &WorkDir) -> Result<()> {
    let server = EchoServer::start(Ports::PerCall).await?;
    let daemon = Daemon::start("xrtc", &Setup::new(server.http, work), work)?;
    let (one, two) = (
        fixed_origin("text/plain", "the first answer").await,
        fixed_origin("text/plain", "another answer").await,
    );
    let ws = echo().await;
    let file = work.join("xrtc.yml");
    let original = fs::read_to_string(&file)?;
    crate::tls::certify(work);
    fs::write(&file, configuration(&original, one, ws, 0))?;
    hang_up(&daemon)?;
    counted(&daemon, APPLIED, 1).await?;

    let mut callers = Vec::new();
    for number in 0..CALLS {
        let route = Route::ALL[number % Route::ALL.len()];
        callers.push(Caller::start(daemon.http, daemon.media, route, &format!("call-{number}")).await?);
    }
    for caller in &callers {
        caller.reach(1, PATIENCE).await?;
    }
    let (load, http2) = (Load::on(daemon.http, 8, 4), Http2::on(daemon.http, 8).await);
    for round in 1..=RELOADS {
        if round % 3 == 0 {
            fs::write(&file, "services: [")?;
            hang_up(&daemon)?;
            counted(&daemon, REFUSED, round / 3).await?;
        }
        crate::tls::certify(work);
        let http = if round % 2 == 0 { one } else { two };
        fs::write(&file, configuration(&original, http, ws, round))?;
        hang_up(&daemon)?;
        counted(&daemon, APPLIED, round + 1).await?;
        answered(&load, 50).await;
        for caller in &callers {
            caller
                .reach(caller.progress().echoed + MESSAGES, PATIENCE)
                .await?;
        }
    }
    let (requests, streams) = (load.finish().await, http2.finish().await);
    let metrics = daemon.metrics().await?;
    assert_eq!(metrics.sessions(), CALLS as u64, "a call is gone");
    assert_eq!(
        metrics.media("sessions_opened"),
        CALLS as u64,
        "a call had to begin again"
    );
    assert_eq!(
        metrics.http("websockets_opened"),
        4,
        "a WebSocket had to come again"
    );
    let failed = [
        "upstream_broken",
        "upstream_dial",
        "connections_unreadable",
        "http2_flood",
    ];
    for event in failed {
        assert_eq!(metrics.http(event), 0, "{event}");
    }
    let (sent, echoed) = callers
        .iter()
        .map(Caller::progress)
        .fold((0, 0), |(sent, echoed), books| {
            (sent + books.sent, echoed + books.echoed)
        });
    report(format_args!(
        "{RELOADS} reloads: {requests} requests and messages over HTTP/1.1, {streams} over HTTP/2, no error; {CALLS} \
         calls, {echoed} of {sent} messages back so far"
    ));
    Ok(())
}

#[test]
fn requests_websockets_and_calls_go_on_over_reloads() {
    calls::scope(async |work| all_at_once(work).await);
}
