//! HTTP/1.1 on one client connection, whatever it runs over, and how it is closed.
//!
//! Whoever is refused is told so before the close, and the rest of what it sends is read for a while: a close with
//! bytes unread is a reset, which takes the answer away from a client that is still sending (RFC 9112 section 9.6).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::counters::Counters;
use super::drain::Phase;
use super::idle::{Expired, Watch};
use super::live::LiveSite;
use super::ports::AsyncReadWrite;
use super::site::Visitor;

/// The longest request line and headers together.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// For the last words to be taken, and for the client to close after them.
const LINGER: Duration = Duration::from_secs(2);
/// What is read of a client that goes on sending after the last words.
const LINGER_BUFFER: usize = 4 * 1024;
const TOO_SLOW: &str = "the request's header did not come in time\n";

/// Serves requests until the client leaves, takes longer than the limits say, or the phase ends it: draining lets the
/// request under way finish, closing does not.
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
    let mut served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = Pin::new(&mut served);
    let end = tokio::select! {
        biased;
        served = &mut connection => End::Served(served),
        expired = watch.expired(&limits) => End::Expired(expired),
        () = admission.reached(Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = &mut connection => End::Served(served),
                expired = watch.expired(&limits) => End::Expired(expired),
                () = admission.reached(Phase::Closing) => return,
            }
        }
    };
    end.count(&counters);
    // None if it has become a WebSocket.
    let Some(parts) = served.into_parts() else { return };
    // What hyper holds of requests and responses is given up now.
    drop(parts.service);
    let io = parts.io.into_inner();
    tokio::select! {
        () = part(io, &end) => {}
        // Who is to go has no time for those who linger.
        () = admission.reached(Phase::Draining) => {}
    }
}

/// How a connection ended that has not become a WebSocket.
enum End {
    Served(hyper::Result<()>),
    Expired(Expired),
}

impl End {
    fn count(&self, counters: &Counters) {
        match self {
            Self::Served(Ok(())) => {}
            Self::Served(Err(error)) => {
                if error.is_parse() || error.is_incomplete_message() {
                    counters.connections_unreadable.add();
                }
                tracing::trace!(%error, "client connection ended early");
            }
            Self::Expired(Expired::Idle | Expired::Header | Expired::Gone) => {
                counters.connections_expired.add()
            }
            Self::Expired(Expired::Send) => counters.sends_stalled.add(),
        }
    }
}

/// Last words, where there are any, and the close.
async fn part<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO, end: &End) {
    let words = match end {
        End::Expired(Expired::Header) => too_slow(),
        // The client has been told, or is gone.
        End::Served(_) => String::new(),
        // Nothing was asked for; or nobody listens.
        End::Expired(Expired::Idle | Expired::Send | Expired::Gone) => return,
    };
    let closing = async {
        io.write_all(words.as_bytes()).await?;
        io.shutdown().await?;
        let mut unread = [0; LINGER_BUFFER];
        while io.read(&mut unread).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // Either way it is closed now.
    let _ = timeout(LINGER, closing).await;
}

/// RFC 9110 section 15.5.9.
fn too_slow() -> String {
    let status = StatusCode::REQUEST_TIMEOUT;
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: \
         close\r\n\r\n{TOO_SLOW}",
        TOO_SLOW.len()
    )
}
