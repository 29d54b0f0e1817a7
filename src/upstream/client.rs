//! Sends requests to upstream servers over pooled connections, within a section's limits: HTTP/2 where an `https`
//! server offers it, HTTP/1.1 otherwise, and for whatever wants to switch protocols.
//!
//! A request that never got onto the wire because a pooled connection had just closed is sent again on another; no
//! other retries happen here. Redirects, cookies and content codings are the client's business, not ours.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue, UPGRADE};
use hyper::http::uri::{Authority, PathAndQuery, Scheme as UriScheme};
use hyper::{Request, Response, Uri, Version};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::sleep;

use crate::config::{Http, Scheme, Server};

use super::Upstreams;
use super::connector::Connector;
use super::error::UpstreamError;
use super::guarded::Guarded;
use super::h2::{Multiplexed, Stream};
use super::peer::Lease;
use super::permits::Permits;
use super::tls::Tls;
use super::upload::Upload;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body on its way through, in either direction.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Idle connections kept per server where `max_conns` does not say.
const MAX_IDLE: usize = 100;

/// The upstream client of one `http:` section.
pub struct Client {
    /// By [`super::tls::TlsId`]: a connection that one group took on trust must not serve another.
    pools: Vec<Pool>,
    permits: Mutex<HashMap<Authority, Arc<Permits>>>,
    max_conns: Option<usize>,
    dial_timeout: Duration,
    response_header_timeout: Duration,
}

/// Connections to servers that are verified alike.
struct Pool {
    http1: legacy::Client<Connector, Body>,
    http2: Multiplexed,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client with a section's limits and no connection yet.
    #[must_use]
    pub fn new(upstreams: &Upstreams, config: &Http) -> Self {
        let pools = upstreams.tls.all().map(|tls| Pool::new(upstreams, tls, config));
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
        let (uri, authority) = target(lease.server(), request.uri());
        let permit = match self.permits(&authority) {
            Some(permits) => Some(permits.acquire(self.dial_timeout).await?),
            None => None,
        };
        let pool = &self.pools[lease.tls().index()];
        let (parts, body) = request.into_parts();
        let (upload, failure, ended) = Upload::new(body);
        let mut request = Request::from_parts(parts, upload.boxed_unsync());
        *request.uri_mut() = uri;
        let too_late = async {
            // An error says that the sender is gone, and so is the request's body: that is the news.
            let _ = ended.await;
            sleep(self.response_header_timeout).await;
        };
        let answered = tokio::select! {
            answered = pool.exchange(request) => answered,
            () = too_late => return Err(UpstreamError::HeaderTimeout),
        };
        let (response, stream) = answered.map_err(|error| match failure.take() {
            Some(failure) => UpstreamError::Upload(failure),
            None => error,
        })?;
        let held = (permit, stream, lease.clone());
        Ok(response.map(|body| Guarded::new(body.map_err(Into::into).boxed_unsync(), held).boxed_unsync()))
    }

    fn permits(&self, authority: &Authority) -> Option<Arc<Permits>> {
        let max_conns = self.max_conns?;
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Permits::new(max_conns));
        Some(permits.entry(authority.clone()).or_insert_with(fresh).clone())
    }
}

impl Pool {
    fn new(upstreams: &Upstreams, tls: &Tls, config: &Http) -> Self {
        let http1 = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_conn_timeout)
            .pool_max_idle_per_host(config.max_conns.unwrap_or(MAX_IDLE))
            .set_host(false)
            .build(Connector::new(upstreams, tls, config));
        let offering_h2 = Connector::offering_h2(upstreams, tls, config);
        Self {
            http1,
            http2: Multiplexed::new(offering_h2, config.idle_conn_timeout),
        }
    }

    async fn exchange(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Option<Stream>), UpstreamError> {
        let secure = request.uri().scheme() == Some(&UriScheme::HTTPS);
        if secure && !request.headers().contains_key(UPGRADE) {
            request = match self.http2.send(request).await? {
                Ok((response, stream)) => return Ok((response, Some(stream))),
                Err(unsent) => *unsent,
            };
        }
        *request.version_mut() = Version::HTTP_11;
        if !request.headers().contains_key(HOST)
            && let Some(host) = request.uri().authority()
            && let Ok(host) = HeaderValue::from_str(host.as_str())
        {
            request.headers_mut().insert(HOST, host);
        }
        let response = self.http1.request(request).await?;
        Ok((response, None))
    }
}

/// The URI that names a server to the connection pool, with the path and query of another.
fn target(server: &Server, path: &Uri) -> (Uri, Authority) {
    let mut text = String::with_capacity(server.host.len() + 8);
    let bracket = server.host.contains(':');
    let (open, close) = if bracket { ("[", "]") } else { ("", "") };
    // Writing into a String cannot fail.
    let _ = write!(text, "{open}{}{close}:{}", server.host, server.port);
    let authority = Authority::try_from(text).expect("the configuration holds only valid hosts");
    let mut parts = hyper::http::uri::Parts::default();
    parts.scheme = Some(match server.scheme {
        Scheme::Http | Scheme::Ws => UriScheme::HTTP,
        Scheme::Https | Scheme::Wss => UriScheme::HTTPS,
    });
    parts.authority = Some(authority.clone());
    parts.path_and_query = Some(
        path.path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
    );
    let uri = Uri::from_parts(parts).expect("scheme, authority and path make a URI");
    (uri, authority)
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
            let (uri, _) = target(&server, &Uri::from_static("http://client.example/a%2Fb?q=1"));
            assert_eq!(uri.to_string(), expected);
        }
    }
}
