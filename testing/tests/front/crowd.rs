//! One port, everything at once: the real daemon, fifty clients of every kind, all open at the same time, each with what
//! is its own coming back; the ICE clients have live calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use xrtc_testing::calls::{self, Caller, Daemon, EchoServer, Ports, Route, Setup, Stream, settle};
use xrtc_testing::lab::{Error, Result, WorkDir, report};

use crate::calls::Wrapping;
use crate::door::Pki;
use crate::origin;
use crate::wire::TlsClient;

const EACH: usize = 50;
/// Of each client, while all are there; as many messages go and come on each call.
const ROUNDS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(120);

/// What a client speaks; inside TLS if it says so.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Http1 { tls: bool },
    Http2 { tls: bool },
    WebSocket { tls: bool },
    Call(Wrapping),
}

const KINDS: [Kind; 9] = [
    Kind::Http1 { tls: false },
    Kind::Http1 { tls: true },
    Kind::Http2 { tls: false },
    Kind::Http2 { tls: true },
    Kind::WebSocket { tls: false },
    Kind::WebSocket { tls: true },
    Kind::Call(Wrapping::None),
    Kind::Call(Wrapping::Tls),
    Kind::Call(Wrapping::SslTcp),
];

/// Where the clients meet: when all of them are there, and when all have done what they do together.
struct Place {
    front: SocketAddr,
    daemon: Daemon,
    meeting: Barrier,
}

impl Place {
    async fn meet(&self) -> Result<()> {
        let all = timeout(PATIENCE, self.meeting.wait()).await;
        all.map(|_| ())
            .map_err(|_| Error::new("some are missing: a client has failed"))
    }

    async fn connect(&self, tls: bool, alpn: &'static str) -> Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.front).await?;
        stream.set_nodelay(true)?;
        if !tls {
            return Ok(Box::new(stream));
        }
        let client = TlsClient::new().alpn(&[alpn]);
        Ok(Box::new(client.over(stream, "a.example").await?))
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(error.to_string())
}

/// A client from its connection to its end; how many requests or messages were answered.
async fn attend(place: Arc<Place>, kind: Kind, number: usize) -> Result<u64> {
    let name = format!("{kind:?}-{number}");
    let outcome = match kind {
        Kind::Http1 { tls } => speak_http1(&place, tls, number).await,
        Kind::Http2 { tls } => speak_http2(&place, tls, number).await,
        Kind::WebSocket { tls } => speak_websocket(&place, tls, number).await,
        Kind::Call(wrapping) => hold_call(&place, wrapping, number).await,
    };
    outcome.map_err(|error| error.during(&name))
}

/// A request for a path of the client's own, by a URL for HTTP/2.
fn request(origin: &str, number: usize, round: usize) -> Request<Full<Bytes>> {
    Request::get(format!("{origin}/{number}/{round}"))
        .header("host", "a.example")
        .body(Full::default())
        .expect("a request")
}

/// The server tells what it was asked.
async fn check(response: Response<Incoming>, tls: bool, number: usize, round: usize) -> Result<()> {
    let status = response.status();
    let body = response.into_body().collect().await.map_err(failed)?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    let scheme = if tls { "https" } else { "http" };
    let right = status == StatusCode::OK
        && text.starts_with(&format!("GET /{number}/{round}\n"))
        && text.contains(&format!("x-forwarded-proto: {scheme}\n"));
    if right {
        Ok(())
    } else {
        Err(Error::new(format!("{status} {text}")))
    }
}

async fn speak_http1(place: &Place, tls: bool, number: usize) -> Result<u64> {
    let io = place.connect(tls, "http/1.1").await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(failed)?;
    tokio::spawn(connection);
    for round in 0..=ROUNDS {
        sender.ready().await.map_err(failed)?;
        let response = sender.send_request(request("", number, round)).await;
        check(response.map_err(failed)?, tls, number, round).await?;
        if round == 0 {
            place.meet().await?;
        }
    }
    place.meet().await?;
    Ok(ROUNDS as u64 + 1)
}

async fn speak_http2(place: &Place, tls: bool, number: usize) -> Result<u64> {
    let io = place.connect(tls, "h2").await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .map_err(failed)?;
    tokio::spawn(connection);
    for round in 0..=ROUNDS {
        let response = sender
            .send_request(request("http://a.example", number, round))
            .await;
        check(response.map_err(failed)?, tls, number, round).await?;
        if round == 0 {
            place.meet().await?;
        }
    }
    place.meet().await?;
    Ok(ROUNDS as u64 + 1)
}

async fn speak_websocket(place: &Place, tls: bool, number: usize) -> Result<u64> {
    let io = place.connect(tls, "http/1.1").await?;
    let (mut socket, _) = tokio_tungstenite::client_async("ws://a.example/ws", io)
        .await
        .map_err(failed)?;
    for round in 0..=ROUNDS {
        let message = Message::text(format!("{number} {round}"));
        socket.send(message.clone()).await.map_err(failed)?;
        let echo = socket
            .next()
            .await
            .ok_or_else(|| Error::new("it has ended"))?
            .map_err(failed)?;
        assert_eq!(echo, message);
        if round == 0 {
            place.meet().await?;
        }
    }
    place.meet().await?;
    Ok(ROUNDS as u64 + 1)
}

/// Half of the calls are hijacked, half direct.
async fn hold_call(place: &Place, wrapping: Wrapping, number: usize) -> Result<u64> {
    let leg = wrapping.connect(place.front).await?;
    let route = Route::ALL[number % Route::ALL.len()];
    let name = format!("{wrapping:?}-{number}");
    let caller = Caller::start_over(leg, place.front, route, &name).await?;
    caller.reach(1, PATIENCE).await?;
    place.meet().await?;
    caller
        .reach(caller.progress().echoed + ROUNDS as u64, PATIENCE)
        .await?;
    place.meet().await?;
    Ok(settle([&caller], &place.daemon, PATIENCE).await?.echoed)
}

#[test]
fn fifty_clients_of_every_kind() {
    calls::scope(async |work| everything_at_once(work).await);
}

async fn everything_at_once(work: &WorkDir) -> Result<()> {
    let pki = Pki::new();
    let server = EchoServer::start(Ports::PerCall).await?;
    let setup = Setup {
        tls: Some(pki.make("a", &["a.example"])),
        web: Some(origin::start().await),
        ..Setup::new(server.http, work)
    };
    let daemon = Daemon::start("xrtc", &setup, work)?;
    let place = Arc::new(Place {
        front: daemon.http,
        daemon,
        meeting: Barrier::new(KINDS.len() * EACH + 1),
    });
    let started = Instant::now();
    let clients: Vec<_> = KINDS
        .iter()
        .flat_map(|&kind| (0..EACH).map(move |number| (kind, number)))
        .map(|(kind, number)| {
            let client = tokio::spawn(attend(place.clone(), kind, number));
            async move { client.await.expect("a client does not panic") }
        })
        .collect();
    let together = async {
        place.meet().await?;
        let there = started.elapsed();
        let metrics = place.daemon.metrics().await?;
        place.meet().await?;
        Ok((there, metrics))
    };
    let (answered, (there, metrics)) = tokio::try_join!(try_join_all(clients), together)?;

    let (each, calls) = (EACH as u64, 3 * EACH as u64);
    assert_eq!(metrics.sessions(), calls, "calls at once");
    assert_eq!(metrics.get("xrtc_ice_tcp_connections"), calls, "at once");
    for (counter, expected) in [
        ("tls_connections", 4 * each),
        ("http2_connections", 2 * each),
        ("websockets_opened", 2 * each),
        ("ice_tcp_connections", 3 * each),
    ] {
        assert_eq!(metrics.http(counter), expected, "{counter}");
    }
    for (kind, answered) in KINDS.iter().zip(answered.chunks(EACH)) {
        let answered: u64 = answered.iter().sum();
        let lost = if matches!(kind, Kind::Call(_)) {
            ", none lost"
        } else {
            ""
        };
        report(format_args!("{EACH} {kind:?}: {answered} answered{lost}"));
    }
    report(format_args!(
        "{} clients on one port, all there after {there:?}, done after {:?}",
        KINDS.len() * EACH,
        started.elapsed()
    ));
    Ok(())
}
