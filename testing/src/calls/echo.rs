//! A WebRTC server that echoes: WHIP-like signalling on one TCP port, ICE on UDP ports of its own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use str0m::change::SdpOffer;
use str0m::net::Protocol;
use str0m::{Candidate, Rtc};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::hub::{Call, Hub};
use super::kernel::udp_socket;
use crate::lab::{Error, Result};

/// Calls that may be on their way to a hub.
const QUEUE: usize = 256;

/// Where the server takes ICE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// On a port for each call, as Janus does.
    PerCall,
    /// On one port for all calls, as SFUs do that tell calls apart by address.
    Shared,
}

/// The descriptions of a call, as the server has seen and made them.
#[derive(Clone, Debug)]
pub struct Signalled {
    /// The offer that came in.
    pub offer: String,
    /// The answer that went out.
    pub answer: String,
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct EchoServer {
    /// Its HTTP address. `POST /call/NAME` makes a call; `?candidates=IP:PORT,...` puts these
    /// in place of its own, and nobody takes the call.
    pub http: SocketAddr,
    inner: Arc<Inner>,
    /// Held for its `Drop`, which aborts the tasks.
    _accept: JoinSet<()>,
}

#[derive(Debug)]
struct Inner {
    shared: Option<(SocketAddr, mpsc::Sender<Call>)>,
    strays: Arc<AtomicU64>,
    signalled: Mutex<HashMap<String, Signalled>>,
    hubs: Mutex<JoinSet<()>>,
}

impl EchoServer {
    /// Starts it on 127.0.0.1.
    pub async fn start(ports: Ports) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let http = listener.local_addr()?;
        let mut inner = Inner {
            shared: None,
            strays: Arc::default(),
            signalled: Mutex::default(),
            hubs: Mutex::default(),
        };
        if ports == Ports::Shared {
            inner.shared = Some(inner.hub().await?);
        }
        let inner = Arc::new(inner);
        let mut accept = JoinSet::new();
        accept.spawn(serve(listener, inner.clone()));
        Ok(Self {
            http,
            inner,
            _accept: accept,
        })
    }

    /// Datagrams at its ICE ports that belong to no call.
    #[must_use]
    pub fn strays(&self) -> u64 {
        self.inner.strays.load(Ordering::Relaxed)
    }

    /// The offer of a call, as it came in. Its candidate is xrtc's server leg.
    #[must_use]
    pub fn offer(&self, name: &str) -> Option<String> {
        Some(self.signalled(name)?.offer)
    }

    /// What was said about a call.
    #[must_use]
    pub fn signalled(&self, name: &str) -> Option<Signalled> {
        lock(&self.inner.signalled).get(name).cloned()
    }
}

impl Inner {
    /// A new socket and the task that drives its calls.
    async fn hub(&self) -> Result<(SocketAddr, mpsc::Sender<Call>)> {
        let socket = udp_socket().await?;
        let local = socket.local_addr()?;
        let (calls, incoming) = mpsc::channel(QUEUE);
        let hub = Hub {
            socket,
            local,
            strays: self.strays.clone(),
        };
        lock(&self.hubs).spawn(hub.run(incoming));
        Ok((local, calls))
    }

    async fn answer(&self, name: &str, query: &str, offer: String) -> Result<String> {
        let (local, calls) = match &self.shared {
            Some(shared) => shared.clone(),
            None => self.hub().await?,
        };
        let refused = |error: &dyn std::fmt::Display| Error::new(format!("the offer: {error}"));
        let parsed = SdpOffer::from_sdp_string(&offer).map_err(|error| refused(&error))?;
        let mut rtc = Rtc::builder().build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, Protocol::Udp).map_err(|error| refused(&error))?);
        let answer = rtc
            .sdp_api()
            .accept_offer(parsed)
            .map_err(|error| refused(&error))?;
        let (is_taken, answer) = match query.strip_prefix("candidates=") {
            Some(candidates) => (false, with_candidates(&answer.to_sdp_string(), candidates)),
            None => (true, answer.to_sdp_string()),
        };
        let signalled = Signalled {
            offer,
            answer: answer.clone(),
        };
        lock(&self.signalled).insert(name.to_owned(), signalled);
        if !is_taken {
            return Ok(answer);
        }
        calls
            .send(Call::new(name.to_owned(), rtc))
            .await
            .map_err(|error| refused(&error))?;
        Ok(answer)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer with other candidates.
fn with_candidates(answer: &str, candidates: &str) -> String {
    let lines = answer.lines().filter(|line| !line.starts_with("a=candidate:"));
    let own = candidates
        .split(',')
        .filter_map(|addr| addr.parse::<SocketAddr>().ok())
        .map(|addr| {
            format!(
                "a=candidate:1 1 udp 2130706431 {} {} typ host",
                addr.ip(),
                addr.port()
            )
        });
    // str0m's answers end with their one media section.
    lines
        .map(str::to_owned)
        .chain(own)
        .map(|line| line + "\r\n")
        .collect()
}

async fn serve(listener: TcpListener, inner: Arc<Inner>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let inner = inner.clone();
        let service = service_fn(move |request| {
            let inner = inner.clone();
            async move { Ok::<_, Infallible>(respond(request, &inner).await) }
        });
        connections.spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
        while connections.try_join_next().is_some() {}
    }
}

async fn respond(request: Request<Incoming>, inner: &Inner) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let name = head.uri.path().strip_prefix("/call/").unwrap_or_default();
    let answer = match body.collect().await {
        Ok(body) => {
            let offer = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            inner
                .answer(name, head.uri.query().unwrap_or_default(), offer)
                .await
        }
        Err(error) => Err(Error::new(error.to_string())),
    };
    let (status, body) = match answer {
        Ok(answer) => (201, answer),
        Err(error) => (400, error.to_string()),
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    let kind = hyper::header::HeaderValue::from_static("application/sdp");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}
