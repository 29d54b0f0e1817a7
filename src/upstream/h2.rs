//! HTTP/2 to `https` servers that choose it by ALPN: many requests on few connections.
//!
//! Beside the pool of HTTP/1.1 connections and not in it, since that one names connections by the request's authority,
//! which over HTTP/2 has to be the host that the client asked for. Whether a server speaks HTTP/2 is found out by the
//! first request to it, and again from time to time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::rt::{Read, Write};
use hyper::{Request, Response, Uri, Version};
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::sleep;
use tower_service::Service;

use super::client::{Body, BoxError};
use super::connector::Connector;
use super::error::UpstreamError;

/// Streams at once on one connection; servers allow as many (RFC 9113 section 6.5.2).
const MAX_STREAMS: usize = 100;
/// How long a server that chose HTTP/1.1 is taken to go on with it.
const HTTP1_FOR: Duration = Duration::from_secs(60);
/// A connection with streams on it is pinged when it has been silent for so long.
const PING_AFTER: Duration = Duration::from_secs(30);

/// The HTTP/2 connections of one client.
pub(super) struct Multiplexed<C = Connector> {
    connector: C,
    idle_timeout: Duration,
    servers: Mutex<HashMap<Authority, Arc<Server>>>,
}

#[derive(Default)]
struct Server {
    /// Held while dialling, so that a burst of first requests makes one connection.
    dialling: AsyncMutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: Vec<Link>,
    /// It chose HTTP/1.1; believed until then.
    http1_until: Option<Instant>,
}

#[derive(Clone)]
struct Link {
    sender: SendRequest<Body>,
    /// One clone per stream, beside the link's own.
    streams: Stream,
}

/// A stream's place on its connection, until dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream(Arc<()>);

/// An answer with its stream, or the request unsent.
pub(super) type Sent = Result<(Response<Incoming>, Stream), Box<Request<Body>>>;

impl<C> Multiplexed<C>
where
    C: Service<Uri, Error = BoxError> + Clone,
    C::Response: Connection + Read + Write + Unpin + Send + 'static,
{
    pub(super) fn new(connector: C, idle_timeout: Duration) -> Self {
        Self {
            connector,
            idle_timeout,
            servers: Mutex::default(),
        }
    }

    /// Sends a request if its server speaks HTTP/2, and gives it back if not.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Result<Sent, UpstreamError> {
        let named = request.uri().clone();
        // A connection may close between its choice and its use; a fresh one is not expected to.
        for _ in 0..2 {
            let Some(mut link) = self.link(&named).await? else {
                *request.uri_mut() = named;
                return Ok(Err(Box::new(request)));
            };
            let host = address_to_host(&mut request);
            match link.sender.try_send_request(request).await {
                Ok(response) => return Ok(Ok((response, link.streams))),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(UpstreamError::Broken(error.into_error().into())),
                },
            }
            if let Some(host) = host {
                request.headers_mut().insert(HOST, host);
            }
        }
        *request.uri_mut() = named;
        Ok(Err(Box::new(request)))
    }

    /// A connection with room for a stream; `None`: the server speaks HTTP/1.1.
    async fn link(&self, uri: &Uri) -> Result<Option<Link>, UpstreamError> {
        let Some(authority) = uri.authority() else {
            return Ok(None);
        };
        let server = {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            servers.entry(authority.clone()).or_default().clone()
        };
        if let Some(known) = server.known() {
            return Ok(known);
        }
        let _dialling = server.dialling.lock().await;
        if let Some(known) = server.known() {
            return Ok(known);
        }
        let stream = self.connector.clone().call(uri.clone()).await;
        let stream = stream.map_err(UpstreamError::dial)?;
        if !stream.connected().is_negotiated_h2() {
            server.state().http1_until = Some(Instant::now() + HTTP1_FOR);
            return Ok(None);
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .handshake(stream)
            .await
            .map_err(|error| UpstreamError::Broken(error.into()))?;
        let link = Link {
            sender,
            streams: Stream::default(),
        };
        server.state().links.push(link.clone());
        let idle = drop_when_idle(Arc::downgrade(&server), link.streams.clone(), self.idle_timeout);
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "an HTTP/2 connection to an upstream server ended");
                    }
                }
                () = idle => {}
            }
        });
        Ok(Some(link))
    }
}

impl Server {
    /// What is known without dialling.
    fn known(&self) -> Option<Option<Link>> {
        let mut state = self.state();
        state.links.retain(|link| !link.sender.is_closed());
        if let Some(link) = state.links.iter().find(|link| link.streams.count() < MAX_STREAMS) {
            return Some(Some(link.clone()));
        }
        state
            .http1_until
            .is_some_and(|until| Instant::now() < until)
            .then_some(None)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Streams now: the link and its watcher hold one clone each.
    fn count(&self) -> usize {
        Arc::strong_count(&self.0).saturating_sub(2)
    }
}

/// Returns when a connection has had no stream for a whole period, having taken it out of use.
async fn drop_when_idle(server: Weak<Server>, streams: Stream, period: Duration) {
    let mut was_idle = false;
    loop {
        sleep(period).await;
        let Some(server) = server.upgrade() else { return };
        let mut state = server.state();
        let is_idle = streams.count() == 0;
        if is_idle && was_idle {
            state
                .links
                .retain(|link| !Arc::ptr_eq(&link.streams.0, &streams.0));
            return;
        }
        was_idle = is_idle;
    }
}

/// Puts the host that the client asked for where HTTP/2 wants it, in the authority (RFC 9113 section 8.3.1). Returns
/// the Host header that this replaces.
fn address_to_host(request: &mut Request<Body>) -> Option<hyper::header::HeaderValue> {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(HOST)?;
    if let Ok(authority) = Authority::try_from(host.as_bytes()) {
        let mut parts = request.uri().clone().into_parts();
        parts.authority = Some(authority);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    Some(host)
}

#[cfg(test)]
#[path = "h2_tests.rs"]
mod tests;
