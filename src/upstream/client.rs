//! Sends requests to upstream servers over pooled connections, within a section's limits: HTTP/2 where an `https`
//! server offers it, HTTP/1.1 otherwise, and for whatever wants to switch protocols.
//!
//! A request that never got onto the wire because a pooled connection had just closed is sent again on another; no
//! other retries happen here. Redirects, cookies and content codings are the client's business, not ours.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue, UPGRADE};
use hyper::http::uri::{Authority, PathAndQuery, Scheme as UriScheme};
use hyper::{Request, Response, Uri, Version};
use tokio::time::sleep;

use crate::config::{Http, Scheme, Server};

use super::Upstreams;
use super::connector::Connector;
use super::error::UpstreamError;
use super::guarded::Guarded;
use super::h2::{Multiplexed, Sent, Stream};
use super::peer::Lease;
use super::permits::Permits;
use super::pool::{Download, Pool};
use super::tls::Tls;
use super::upload::Sending;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body on its way through, in either direction.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Idle connections kept per server where `max_conns` does not say.
const MAX_IDLE: usize = 100;

/// The upstream client of one `http:` section.
pub struct Client {
    /// By [`super::tls::TlsId`]: a connection that one group took on trust must not serve another.
    pools: Vec<Pools>,
    permits: Mutex<HashMap<Authority, Arc<Permits>>>,
    max_conns: Option<usize>,
    dial_timeout: Duration,
    response_header_timeout: Duration,
}

/// Connections to servers that are verified alike.
struct Pools {
    http1: Pool,
    http2: Multiplexed,
}

/// The body of a response as it comes over either protocol.
type Answer = Either<Incoming, Download>;

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client with a section's limits and no connection yet.
    #[must_use]
    pub fn new(upstreams: &Upstreams, config: &Http) -> Self {
        let pools = upstreams.tls.all().map(|tls| Pools::new(upstreams, tls, config));
        Self {
            pools: pools.collect(),
            permits: Mutex::default(),
            max_conns: config.max_conns,
            dial_timeout: config.dial_timeout,
            response_header_timeout: config.response_header_timeout,
        }
    }

    /// Sends a request and waits for the response's headers. Only the path and query of its URI count; the Host
    /// header goes as it is, and is the server's own where there is none. The server's standing learns the outcome.
    ///
    /// The lease, and one of the server's `max_conns`, are held until the response's body has ended. For a WebSocket
    /// that is the end of the handshake: who goes on with it keeps a clone of the lease.
    ///
    /// # Errors
    /// [`UpstreamError`], neither `NoServer` nor `Down`.
    pub async fn send(
        &self,
        lease: &Arc<Lease>,
        request: Request<Body>,
    ) -> Result<Response<Body>, UpstreamError> {
        let outcome = self.attempt(lease, request).await;
        match &outcome {
            Ok(_) => lease.succeeded(Instant::now()),
            Err(error) if error.blames_the_server() => lease.failed(Instant::now()),
            Err(_) => {}
        }
        outcome
    }

    async fn attempt(
        &self,
        lease: &Arc<Lease>,
        request: Request<Body>,
    ) -> Result<Response<Body>, UpstreamError> {
        let permit = match self.permits(lease.server()) {
            Some(permits) => Some(Box::pin(permits.acquire(self.dial_timeout)).await?),
            None => None,
        };
        let (request, mut sending) = Sending::of(request);
        let answered = self.exchange(lease, request, &mut sending).await;
        let (response, stream) = answered.map_err(|error| match (sending.failure(), error) {
            (_, error @ UpstreamError::HeaderTimeout) | (None, error) => error,
            (Some(failure), _) => UpstreamError::Upload(failure),
        })?;
        let held = (permit, stream, lease.clone());
        Ok(response.map(|body| Guarded::new(body, held).boxed_unsync()))
    }

    /// Over HTTP/2 if the server may speak it and the request does not ask for another protocol.
    async fn exchange(
        &self,
        lease: &Lease,
        mut request: Request<Body>,
        sending: &mut Sending,
    ) -> Result<(Response<Answer>, Option<Stream>), UpstreamError> {
        let pools = &self.pools[lease.tls().index()];
        if is_secure(lease.server()) && !request.headers().contains_key(UPGRADE) {
            match Box::pin(self.over_http2(lease, request, sending)).await? {
                Ok((response, stream)) => return Ok((response.map(Either::Left), Some(stream))),
                Err(unsent) => request = *unsent,
            }
        }
        *request.version_mut() = Version::HTTP_11;
        if !request.headers().contains_key(HOST) {
            let host = HeaderValue::from_str(authority(lease.server()).as_str());
            request
                .headers_mut()
                .insert(HOST, host.expect("an authority makes a header value"));
        }
        *request.uri_mut() = Uri::from(path_and_query(request.uri()));
        let patience = self.response_header_timeout;
        let response = pools.http1.send(lease, request, sending, patience).await?;
        Ok((response.map(Either::Right), None))
    }

    async fn over_http2(
        &self,
        lease: &Lease,
        mut request: Request<Body>,
        sending: &mut Sending,
    ) -> Result<Sent, UpstreamError> {
        *request.uri_mut() = target(lease.server(), request.uri());
        let too_late = async {
            poll_fn(|cx| sending.poll_ended(cx)).await;
            sleep(self.response_header_timeout).await;
        };
        tokio::select! {
            sent = self.pools[lease.tls().index()].http2.send(request) => sent,
            () = too_late => Err(UpstreamError::HeaderTimeout),
        }
    }

    /// The connections of the first setting.
    #[cfg(test)]
    pub(super) fn pool(&self) -> &Pool {
        &self.pools[0].http1
    }

    fn permits(&self, server: &Server) -> Option<Arc<Permits>> {
        let max_conns = self.max_conns?;
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Permits::new(max_conns));
        Some(permits.entry(authority(server)).or_insert_with(fresh).clone())
    }
}

impl Pools {
    fn new(upstreams: &Upstreams, tls: &Tls, config: &Http) -> Self {
        let connector = Connector::new(upstreams, tls, config);
        let offering_h2 = Connector::offering_h2(upstreams, tls, config);
        let max_idle = config.max_conns.unwrap_or(MAX_IDLE);
        Self {
            http1: Pool::new(connector, max_idle, config.idle_conn_timeout),
            http2: Multiplexed::new(offering_h2, config.idle_conn_timeout),
        }
    }
}

fn is_secure(server: &Server) -> bool {
    matches!(server.scheme, Scheme::Https | Scheme::Wss)
}

fn authority(server: &Server) -> Authority {
    let mut text = String::with_capacity(server.host.len() + 8);
    let bracket = server.host.contains(':');
    let (open, close) = if bracket { ("[", "]") } else { ("", "") };
    // Writing into a String cannot fail.
    let _ = write!(text, "{open}{}{close}:{}", server.host, server.port);
    Authority::try_from(text).expect("the configuration holds only valid hosts")
}

/// The URI that names a server, with the path and query of another.
pub(super) fn target(server: &Server, path: &Uri) -> Uri {
    let mut parts = hyper::http::uri::Parts::default();
    parts.scheme = Some(if is_secure(server) {
        UriScheme::HTTPS
    } else {
        UriScheme::HTTP
    });
    parts.authority = Some(authority(server));
    parts.path_and_query = Some(path_and_query(path));
    Uri::from_parts(parts).expect("scheme, authority and path make a URI")
}

fn path_and_query(uri: &Uri) -> PathAndQuery {
    uri.path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_the_server_with_the_path_of_the_request() {
        for (scheme, host, expected) in [
            (Scheme::Http, "janus", "http://janus:8088/a%2Fb?q=1"),
            (Scheme::Wss, "::1", "https://[::1]:8088/a%2Fb?q=1"),
        ] {
            let server = Server::new(scheme, host, 8088);
            let uri = target(&server, &Uri::from_static("http://client.example/a%2Fb?q=1"));
            assert_eq!(uri.to_string(), expected);
        }
    }
}
