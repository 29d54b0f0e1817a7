//! HTTP/1.1 on one client connection, whatever it runs over.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::drain::Phase;
use super::ports::AsyncReadWrite;
use super::site::{Site, Visitor};

/// The longest request line and headers together.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// Serves requests until the client leaves, keeps it waiting for longer than the limits say, or the
/// phase ends it: draining lets the request under way finish, closing does not.
pub(super) async fn serve_http1<IO>(site: Arc<Site>, io: IO, visitor: Visitor)
where
    IO: AsyncReadWrite + 'static,
{
    let shared = site.shared.clone();
    let mut admission = visitor.admission.clone();
    let header_timeout = visitor.limits.header_timeout;
    let service = service_fn(move |request| {
        let (site, visitor) = (site.clone(), visitor.clone());
        async move { Ok::<_, Infallible>(site.handle(&visitor, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = admission.reached(Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = &mut connection => served,
                () = admission.reached(Phase::Closing) => Ok(()),
            }
        }
    };
    if let Err(error) = served {
        if error.is_parse() || error.is_incomplete_message() {
            shared.counters.connections_unreadable.add();
        }
        tracing::trace!(%error, "client connection ended early");
    }
}
