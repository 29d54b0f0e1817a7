//! One request from its head to the end of its response, or of the WebSocket that it became: what it takes up, and
//! what is to be logged of it. Whatever may be the last of it holds the [`Visit`]; when that is dropped, it is over.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{HOST, HeaderName, HeaderValue, REFERER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};

use crate::config::{Route, Server};
use crate::upstream::{Body, BoxError};

use super::access_log::{Entry, Log};
use super::idle::Busy;
use super::limiter::Admitted;
use super::traffic::RouteTraffic;

/// Texts that the client chose are logged up to this many bytes.
const MAX_TEXT: usize = 2048;
/// Of the servers that a call was looked for on, no more are logged.
const MAX_SERVERS: usize = 16;
/// Bytes of a long body that are told together.
const TOLD_AT_ONCE: u64 = 1 << 20;

/// One request under way.
#[derive(Debug)]
pub(super) struct Visit {
    client: IpAddr,
    started: Instant,
    bytes_in: Bytewise,
    bytes_out: Bytewise,
    complete: AtomicBool,
    websocket: AtomicBool,
    status: OnceLock<StatusCode>,
    route: OnceLock<Arc<Route>>,
    upstream: Mutex<Upstream>,
    admitted: OnceLock<Admitted>,
    /// What counts it, once it is known whether a route takes it.
    traffic: OnceLock<Arc<RouteTraffic>>,
    /// What counts it if that is never known.
    unrouted: Arc<RouteTraffic>,
    log: Option<(Log, Head)>,
    busy: Option<Busy>,
}

/// The servers that were tried, and how long the headers of the last one took.
#[derive(Debug, Default)]
struct Upstream {
    servers: Vec<String>,
    header_time: Option<Duration>,
}

/// What the client said.
#[derive(Debug)]
struct Head {
    at: SystemTime,
    method: Method,
    uri: String,
    protocol: &'static str,
    host: Option<String>,
    referer: Option<String>,
    user_agent: Option<String>,
    id: String,
}

impl Visit {
    /// A request that has come; `log` is where its end will be told, `unrouted` counts it until [`Self::routed`].
    pub(super) fn begin<B>(
        request: &Request<B>,
        client: IpAddr,
        id: &HeaderValue,
        log: Option<Log>,
        unrouted: Arc<RouteTraffic>,
        busy: Option<Busy>,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            started: Instant::now(),
            bytes_in: Bytewise::default(),
            bytes_out: Bytewise::default(),
            complete: AtomicBool::new(false),
            websocket: AtomicBool::new(false),
            status: OnceLock::new(),
            route: OnceLock::new(),
            upstream: Mutex::default(),
            admitted: OnceLock::new(),
            traffic: OnceLock::new(),
            unrouted,
            log: log.map(|log| (log, Head::of(request, id))),
            busy,
        })
    }

    /// Whose request it is.
    pub(super) fn client(&self) -> IpAddr {
        self.client
    }

    /// The route that takes it, if one does, and what counts it from now on.
    pub(super) fn routed(&self, route: Option<&Arc<Route>>, traffic: &Arc<RouteTraffic>) {
        if let Some(route) = route {
            let _ = self.route.set(route.clone());
        }
        if self.traffic.set(traffic.clone()).is_ok() {
            traffic.begin();
        }
    }

    /// It may go on; what that takes up is given back at its end.
    pub(super) fn admitted(&self, admitted: Option<Admitted>) {
        if let Some(admitted) = admitted {
            let _ = self.admitted.set(admitted);
        }
    }

    /// It is sent to `server` now.
    pub(super) fn sent_to(&self, server: &Server) {
        if self.log.is_some() {
            let mut upstream = self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
            if upstream.servers.len() < MAX_SERVERS {
                upstream.servers.push(server.to_string());
            }
            upstream.header_time = None;
        }
    }

    /// The headers of the upstream's response have come.
    pub(super) fn upstream_answered(&self) {
        let mut upstream = self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
        upstream.header_time = Some(self.started.elapsed());
    }

    /// It is a WebSocket now.
    pub(super) fn is_websocket(&self) {
        self.websocket.store(true, Ordering::Relaxed);
        if let Some(busy) = &self.busy {
            busy.is_websocket();
        }
    }

    /// The client sent this many bytes of content.
    pub(super) fn received(&self, bytes: usize) {
        if let Some(busy) = &self.busy {
            busy.moved();
        }
        let untold = self.bytes_in.add(bytes as u64);
        if let Some((traffic, bytes)) = self.traffic.get().zip(untold) {
            traffic.received(bytes);
        }
    }

    /// The client was sent this many bytes of content.
    pub(super) fn sent(&self, bytes: usize) {
        let untold = self.bytes_out.add(bytes as u64);
        if let Some((traffic, bytes)) = self.traffic.get().zip(untold) {
            traffic.sent(bytes);
        }
    }

    /// Nothing was missing at the end.
    pub(super) fn completed(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }

    /// The response, which from now on holds the visit.
    pub(super) fn answered(self: Arc<Self>, head_only: bool, response: Response<Body>) -> Response<Body> {
        let _ = self.status.set(response.status());
        if head_only {
            self.completed();
        }
        response.map(|body| Answer { body, visit: self }.boxed_unsync())
    }
}

impl Head {
    fn of<B>(request: &Request<B>, id: &HeaderValue) -> Self {
        let text = |name: HeaderName| {
            let value = request.headers().get(name)?;
            Some(shortened(&String::from_utf8_lossy(value.as_bytes())))
        };
        let authority = request.uri().authority().map(|authority| {
            let text = authority.as_str();
            // A client may put its password before the host.
            shortened(text.rsplit_once('@').map_or(text, |(_, host)| host))
        });
        Self {
            at: SystemTime::now(),
            method: request.method().clone(),
            uri: shortened(
                request
                    .uri()
                    .path_and_query()
                    .map_or("/", |target| target.as_str()),
            ),
            protocol: match request.version() {
                hyper::Version::HTTP_10 => "HTTP/1.0",
                hyper::Version::HTTP_11 => "HTTP/1.1",
                hyper::Version::HTTP_2 => "HTTP/2.0",
                _ => "HTTP/?",
            },
            host: authority.or_else(|| text(HOST)),
            referer: text(REFERER),
            user_agent: text(USER_AGENT),
            id: shortened(id.to_str().unwrap_or_default()),
        }
    }
}

fn shortened(text: &str) -> String {
    let end = (0..=text.len().min(MAX_TEXT))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

/// Bytes of one direction, told to the route's counter in large pieces, so that requests of many threads do not fight
/// for it with every piece of theirs.
#[derive(Debug, Default)]
struct Bytewise {
    all: AtomicU64,
    told: AtomicU64,
}

impl Bytewise {
    /// This many more. Gives how many are to be told now; what is not told by the end is for [`Self::rest`].
    fn add(&self, bytes: u64) -> Option<u64> {
        let all = self.all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let told = self.told.load(Ordering::Relaxed);
        // One task moves the bytes of a direction, so that nobody else tells in between.
        (all - told.min(all) >= TOLD_AT_ONCE).then(|| {
            self.told.store(all, Ordering::Relaxed);
            all - told
        })
    }

    fn rest(&mut self) -> u64 {
        *self.all.get_mut() - *self.told.get_mut()
    }
}

impl Visit {
    /// Counts what has ended.
    fn count(&mut self) {
        let traffic = self.traffic.get().unwrap_or_else(|| {
            self.unrouted.begin();
            &self.unrouted
        });
        traffic.received(self.bytes_in.rest());
        traffic.sent(self.bytes_out.rest());
        let time = (!*self.websocket.get_mut()).then(|| self.started.elapsed());
        traffic.end(self.status.get().copied(), time);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.count();
        let Some((log, head)) = self.log.take() else {
            return;
        };
        let upstream = std::mem::take(self.upstream.get_mut().unwrap_or_else(PoisonError::into_inner));
        log.tell(Entry {
            at: head.at,
            client: self.client,
            method: head.method,
            uri: head.uri,
            protocol: head.protocol,
            host: head.host,
            referer: head.referer,
            user_agent: head.user_agent,
            id: head.id,
            status: self.status.get().map(StatusCode::as_u16),
            bytes_in: *self.bytes_in.all.get_mut(),
            bytes_out: *self.bytes_out.all.get_mut(),
            time: self.started.elapsed(),
            upstreams: upstream.servers,
            upstream_time: upstream.header_time,
            route: self.route.get().cloned(),
            websocket: *self.websocket.get_mut(),
            complete: *self.complete.get_mut(),
        });
    }
}

/// A response's body, counted.
struct Answer {
    body: Body,
    visit: Arc<Visit>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.visit.sent(frame.data_ref().map_or(0, Bytes::len));
                if self.body.is_end_stream() {
                    self.visit.completed();
                }
            }
            Poll::Ready(None) => self.visit.completed(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // A body without content is never asked for any.
        if self.body.is_end_stream() && !self.visit.websocket.load(Ordering::Relaxed) {
            self.visit.completed();
        }
    }
}
