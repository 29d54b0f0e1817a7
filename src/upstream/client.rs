//! Sends requests to upstream servers over pooled HTTP/1.1 connections, within a section's limits.
//!
//! A request that hyper never put on the wire because a pooled connection had just closed is sent again on another;
//! no other retries happen here. Redirects, cookies and content codings are the client's business, not ours.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::http::uri::{Authority, PathAndQuery, Scheme as UriScheme};
use hyper::{Request, Response, Uri, Version};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::config::{Http, Scheme, Server};

use super::Upstreams;
use super::connector::Connector;
use super::error::UpstreamError;
use super::guarded::Guarded;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body on its way through, in either direction.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The upstream client of one `http:` section.
pub struct Client {
    http: legacy::Client<Connector, Body>,
    permits: Mutex<HashMap<Authority, Arc<Semaphore>>>,
    max_conns: usize,
    dial_timeout: std::time::Duration,
    response_header_timeout: std::time::Duration,
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
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_conn_timeout)
            .pool_max_idle_per_host(config.max_conns)
            .set_host(false)
            .build(Connector::new(upstreams, config));
        Self {
            http,
            permits: Mutex::default(),
            max_conns: config.max_conns,
            dial_timeout: config.dial_timeout,
            response_header_timeout: config.response_header_timeout,
        }
    }

    /// Sends a request and waits for the response's headers. Only the path and query of its URI count; the Host
    /// header goes as it is.
    ///
    /// One of the server's `max_conns` is taken until the response's body has ended, so a WebSocket holds it for
    /// the handshake only.
    ///
    /// # Errors
    /// [`UpstreamError`], never `NoServer`.
    pub async fn send(
        &self,
        server: &Server,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, UpstreamError> {
        let (uri, authority) = target(server, request.uri());
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        let permit = self.permit(authority).await?;
        let (uploading, uploaded) = oneshot::channel::<()>();
        let request = request.map(|body| Guarded::new(body, uploading).boxed_unsync());
        let too_late = async {
            // An error says that the sender is gone, and so is the request's body: that is the news.
            let _ = uploaded.await;
            sleep(self.response_header_timeout).await;
        };
        let response = tokio::select! {
            response = self.http.request(request) => response?,
            () = too_late => return Err(UpstreamError::HeaderTimeout),
        };
        Ok(response.map(|body| Guarded::new(body.map_err(Into::into).boxed_unsync(), permit).boxed_unsync()))
    }

    async fn permit(&self, authority: Authority) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let semaphore = {
            let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Arc::new(Semaphore::new(self.max_conns.min(Semaphore::MAX_PERMITS)));
            permits.entry(authority).or_insert_with(fresh).clone()
        };
        match timeout(self.dial_timeout, semaphore.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(UpstreamError::Busy),
        }
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
            let server = Server {
                scheme,
                host: host.into(),
                port: 8088,
            };
            let (uri, _) = target(&server, &Uri::from_static("http://client.example/a%2Fb?q=1"));
            assert_eq!(uri.to_string(), expected);
        }
    }
}
