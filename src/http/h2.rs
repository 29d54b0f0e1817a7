//! HTTP/2 on one client connection: by ALPN or with prior knowledge.
//!
//! Everything that a client can make us keep is bounded: streams, headers, windows, and requests that it takes back
//! as fast as it makes them (CVE-2023-44487) or has us take back (CVE-2025-8671). A connection without requests is
//! closed like an idle one of HTTP/1.1.

use std::convert::Infallible;
use std::error::Error as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{COOKIE, HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::upstream::{Body, Guarded};

use super::connection::MAX_HEAD;
use super::delivery::Deliveries;
use super::drain::{Admission, Phase};
use super::frames::Counted;
use super::live::LiveSite;
use super::ports::AsyncReadWrite;
use super::site::Visitor;

/// Requests at once; a page's long polls and WebSockets are among them.
const MAX_STREAMS: u32 = 128;
/// What a client may send ahead of what is read, per request and in all.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Of responses, per request.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that were reset before they were looked at, and those that were reset for the client's own errors.
const MAX_RESET_UNSEEN: usize = 20;
const MAX_RESET_FOR_ERRORS: usize = 256;
/// Requests that were taken back, beyond those that were answered.
const MAX_CANCELLED: usize = 200;
/// A client that is gone without a word is noticed after both.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// After GOAWAY, for a client to close; at the end of a server, for the close frames of WebSockets to go out.
const PARTING: Duration = Duration::from_secs(4);

/// Serves requests until the client leaves, has had none under way for longer than the limits say, or the phase
/// ends it: draining lets the requests under way finish, closing ends them.
pub(super) async fn serve_http2<IO>(site: Arc<LiveSite>, io: IO, visitor: Visitor)
where
    IO: AsyncReadWrite + 'static,
{
    let counters = site.shared().counters.clone();
    let (deliveries, patience) = (Deliveries::default(), visitor.limits.send_timeout);
    let ended = tokio::select! {
        ended = serve(site, io, visitor, deliveries.clone()) => ended,
        // It never ends.
        () = deliveries.keep(patience, &counters) => Ok(()),
    };
    match ended {
        Ok(()) => {}
        Err(Ended::Flood) => counters.http2_flood.add(),
        Err(Ended::Unreadable(error)) => {
            counters.connections_unreadable.add();
            tracing::trace!(%error, "what came is no HTTP/2");
        }
        Err(Ended::Early(error)) => tracing::trace!(%error, "HTTP/2 connection ended early"),
    }
}

/// What ended a connection, if not the client or ourselves in order.
enum Ended {
    Flood,
    Unreadable(hyper::Error),
    Early(hyper::Error),
}

async fn serve<IO>(site: Arc<LiveSite>, io: IO, visitor: Visitor, deliveries: Deliveries) -> Result<(), Ended>
where
    IO: AsyncReadWrite + 'static,
{
    let tally = Tally::default();
    let (mut admission, idle_timeout) = (visitor.admission.clone(), visitor.limits.idle_timeout);
    let service = service_fn({
        let tally = tally.clone();
        move |request| {
            let (site, visitor, deliveries) = (site.clone(), visitor.clone(), deliveries.clone());
            let running = tally.begin();
            async move {
                let response = answer(&site, visitor, running, request).await;
                Ok::<_, Infallible>(response.map(|body| deliveries.begin(body)))
            }
        }
    });
    let (io, flooded) = Counted::new(io);
    let connection = builder().serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        biased;
        served = &mut connection => Some(served),
        () = tally.flooded() => return Err(Ended::Flood),
        () = admission.reached(Phase::Draining) => None,
        () = tally.idle(idle_timeout) => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection => served,
                () = tally.idle(PARTING) => Ok(()),
                () = parting(admission) => Ok(()),
            }
        }
    };
    served.map_err(|error| match fault(&error) {
        _ if flooded.is_set() => Ended::Flood,
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Ended::Flood,
        Some(_) => Ended::Unreadable(error),
        None => Ended::Early(error),
    })
}

/// Why we ended a connection, if it was for what the client sent. `ENHANCE_YOUR_CALM` is the protocol's own bound on
/// requests that are taken back, which a client that is faster than we look reaches before our tally does.
fn fault(error: &hyper::Error) -> Option<h2::Reason> {
    let cause = error.source()?.downcast_ref::<h2::Error>()?;
    if cause.is_library() { cause.reason() } else { None }
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_RESET_UNSEEN)
        .max_local_error_reset_streams(MAX_RESET_FOR_ERRORS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .enable_connect_protocol();
    builder
}

async fn parting(mut admission: Admission) {
    admission.reached(Phase::Closing).await;
    sleep(PARTING).await;
}

async fn answer(
    site: &LiveSite,
    mut visitor: Visitor,
    running: Running,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let running = Arc::new(running);
    visitor.admission = visitor.admission.for_request(running.clone());
    join_cookies(request.headers_mut());
    let response = site.handle(&visitor, request, None).await;
    running.answered();
    response.map(|body| Guarded::new(body, running).boxed_unsync())
}

/// RFC 9113 section 8.2.3: a client may split its cookies, and HTTP/1.1 knows one field only.
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// The requests of a connection. Only a flood wakes whoever waits: what is idle is looked at from time to time.
#[derive(Clone)]
struct Tally(Arc<Tallied>);

struct Tallied {
    counts: Mutex<Counts>,
    flooded: Notify,
}

#[derive(Clone, Copy)]
struct Counts {
    running: usize,
    /// Every one that began and was not answered, less one for each that was.
    cancelled: usize,
    /// When the last one ended, or the connection began.
    idle: Instant,
}

impl Counts {
    fn is_flood(&self) -> bool {
        self.cancelled > self.running + MAX_CANCELLED
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self(Arc::new(Tallied {
            counts: Mutex::new(Counts {
                running: 0,
                cancelled: 0,
                idle: Instant::now(),
            }),
            flooded: Notify::new(),
        }))
    }
}

impl Tally {
    fn begin(&self) -> Running {
        let mut counts = self.counts();
        counts.running += 1;
        counts.cancelled += 1;
        drop(counts);
        Running(self.clone())
    }

    /// Returns once no request has been under way for this long.
    async fn idle(&self, patience: Duration) {
        let began = Instant::now();
        loop {
            let Counts { running, idle, .. } = *self.counts();
            let now = Instant::now();
            // Nobody has waited for longer than this has.
            let deadline = idle.max(began) + patience;
            if running == 0 && deadline <= now {
                return;
            }
            let look = now + patience;
            sleep_until(if running == 0 { deadline } else { look }).await;
        }
    }

    /// Returns once the client has taken back too many requests.
    async fn flooded(&self) {
        while !self.counts().is_flood() {
            self.0.flooded.notified().await;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way, until its response has been sent or its WebSocket is over.
struct Running(Tally);

impl Running {
    fn answered(&self) {
        let mut counts = self.0.counts();
        // For itself, and for one that was taken back.
        counts.cancelled = counts.cancelled.saturating_sub(2);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.running -= 1;
        counts.idle = Instant::now();
        if counts.is_flood() {
            drop(counts);
            self.0.0.flooded.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn cookies_are_joined_in_their_order() {
        let mut headers = HeaderMap::new();
        for crumb in ["a=1", "b=2; c=3", "d=4"] {
            headers.append(COOKIE, HeaderValue::from_static(crumb));
        }
        join_cookies(&mut headers);
        let all: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(all, ["a=1; b=2; c=3; d=4"]);
    }

    #[test]
    fn requests_that_are_taken_back_add_up_and_answers_make_up_for_them() {
        let tally = Tally::default();
        for _ in 0..MAX_CANCELLED {
            drop(tally.begin());
        }
        let running: Vec<_> = (0..MAX_STREAMS).map(|_| tally.begin()).collect();
        assert!(
            tally.flooded().now_or_never().is_none(),
            "those under way do not count"
        );
        running.iter().for_each(Running::answered);
        drop(running);
        for _ in 0..MAX_STREAMS {
            drop(tally.begin());
        }
        assert!(
            tally.flooded().now_or_never().is_none(),
            "answers make up for as many"
        );
        drop(tally.begin());
        assert!(tally.flooded().now_or_never().is_some());
    }
}
