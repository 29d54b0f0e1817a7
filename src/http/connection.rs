//! HTTP/1.1 on one client connection, whatever it runs over.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::drain::{Admission, Phase};
use super::idle::Watch;
use super::live::LiveSite;
use super::ports::ConnInfo;
use super::site::Visitor;

/// The longest request line and headers together.
const MAX_HEAD: usize = 64 * 1024;

/// Serves requests until the client leaves, keeps it waiting for longer than the limits say, or the
/// phase ends it: draining lets the request under way finish, closing does not.
pub async fn serve_connection<IO>(site: Arc<LiveSite>, io: IO, conn: ConnInfo, mut admission: Admission)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let visitor = Visitor {
        connection: site.shared().next_connection(),
        conn,
        admission: admission.clone(),
    };
    let limits = site.limits();
    let counters = site.shared().counters.clone();
    let watch = Watch::new();
    let io = TokioIo::new(watch.over(io));
    let requests = watch.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (site, visitor) = (site.clone(), visitor.clone());
        let busy = requests.request(request.version() >= Version::HTTP_2);
        async move { Ok::<_, Infallible>(site.handle(&visitor, request, busy).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
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
        tracing::trace!(%error, "client connection ended early");
    }
}
