//! HTTP/1.1 on one client connection, whatever it runs over.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::drain::Phase;
use super::idle::Watch;
use super::live::LiveSite;
use super::ports::AsyncReadWrite;
use super::site::Visitor;

/// The longest request line and headers together.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// Serves requests until the client leaves, keeps it waiting for longer than the limits say, or the
/// phase ends it: draining lets the request under way finish, closing does not.
pub(super) async fn serve_http1<IO>(site: Arc<LiveSite>, io: IO, visitor: Visitor)
where
    IO: AsyncReadWrite + 'static,
{
    let counters = site.shared().counters.clone();
    let (mut admission, limits) = (visitor.admission.clone(), visitor.limits);
    let watch = Watch::new();
    let io = TokioIo::new(watch.over(io));
    let requests = watch.clone();
    let visitor = Arc::new(visitor);
    let service = service_fn(move |request| {
        let (site, visitor) = (site.clone(), visitor.clone());
        let busy = requests.request();
        async move { Ok::<_, Infallible>(site.handle(&visitor, request, Some(busy)).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        biased;
        served = &mut connection => served,
        () = watch.expired(limits.idle_timeout, limits.header_timeout) => {
            counters.connections_expired.add();
            Ok(())
        }
        () = admission.reached(Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = &mut connection => served,
                () = watch.expired(limits.idle_timeout, limits.header_timeout) => Ok(()),
                () = admission.reached(Phase::Closing) => Ok(()),
            }
        }
    };
    if let Err(error) = served {
        if error.is_parse() || error.is_incomplete_message() {
            counters.connections_unreadable.add();
        }
        tracing::trace!(%error, "client connection ended early");
    }
}
