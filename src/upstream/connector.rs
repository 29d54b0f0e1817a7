//! Dials upstream servers: names through the shared cache, TLS where asked for, all of it within `dial_timeout`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::builderstates::WantsProtocols1;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::config::Http;

use super::client::BoxError;
use super::tls::Tls;
use super::{Names, Upstreams};

/// Name lookup, TCP and TLS together took longer than `dial_timeout`.
#[derive(Debug, thiserror::Error)]
#[error("dialling took too long")]
pub(super) struct DialTimedOut;

/// Connects to `http` and `https` URIs.
#[derive(Clone)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector<Names>>,
    timeout: Duration,
}

impl Connector {
    /// A connector that offers HTTP/1.1 only.
    pub(super) fn new(upstreams: &Upstreams, tls: &Tls, http: &Http) -> Self {
        let inner = builder(tls).enable_http1().wrap_connector(tcp(upstreams, http));
        Self {
            inner,
            timeout: http.dial_timeout,
        }
    }

    /// A connector that offers HTTP/2 first.
    pub(super) fn offering_h2(upstreams: &Upstreams, tls: &Tls, http: &Http) -> Self {
        let inner = builder(tls)
            .enable_all_versions()
            .wrap_connector(tcp(upstreams, http));
        Self {
            inner,
            timeout: http.dial_timeout,
        }
    }
}

fn builder(tls: &Tls) -> HttpsConnectorBuilder<WantsProtocols1> {
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls.config.clone())
        .https_or_http();
    match &tls.server_name {
        Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name.clone())),
        None => builder,
    }
}

fn tcp(upstreams: &Upstreams, http: &Http) -> HttpConnector<Names> {
    let mut tcp = HttpConnector::new_with_resolver(upstreams.names().clone());
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(http.keepalive_timeout));
    // Makes a dead address leave time for the next one; the bound on the whole is in the call.
    tcp.set_connect_timeout(Some(http.dial_timeout));
    tcp
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.inner.call(uri);
        let timeout = self.timeout;
        Box::pin(async move {
            match tokio::time::timeout(timeout, dial).await {
                Ok(dialled) => dialled,
                Err(_) => Err(DialTimedOut.into()),
            }
        })
    }
}
