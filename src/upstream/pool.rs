//! HTTP/1.1 connections to upstream servers, kept between requests.
//!
//! A connection has no task of its own: whoever waits for something on it, first for the response's headers and then
//! for its body, drives it. So a request costs no wake-up between tasks, and one that is given up closes its
//! connection. An idle connection is not driven; whether its server has closed it is seen when it is taken, and by a
//! sweeper that lets go of what has been idle for too long.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, Uri};
use tokio::runtime::Handle;
use tokio::time::sleep;
use tower_service::Service as _;

use crate::config::Server;

use super::client::{Body, BoxError, target};
use super::connector::Connector;
use super::error::UpstreamError;
use super::link::{Failure, Link};
use super::peer::{Lease, ServerId};
use super::upload::Sending;

/// Between two looks at what is idle, at most.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The connections to servers that are verified alike.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    connector: Connector,
    /// Idle connections per server.
    max_idle: usize,
    idle_timeout: Duration,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The one that was used last is at the end.
    links: HashMap<ServerId, Vec<(Instant, Link)>>,
    is_swept: bool,
}

impl Pool {
    pub(super) fn new(connector: Connector, max_idle: usize, idle_timeout: Duration) -> Self {
        Self(Arc::new(Shared {
            connector,
            max_idle,
            idle_timeout,
            idle: Mutex::default(),
        }))
    }

    /// Sends a request, whose URI is in origin form, and waits for the headers of its response: no longer than
    /// `patience` once all of the request has been sent.
    pub(super) async fn send(
        &self,
        lease: &Lease,
        mut request: Request<Body>,
        sending: &mut Sending,
        patience: Duration,
    ) -> Result<Response<Download>, UpstreamError> {
        let server = lease.id();
        while let Some(mut link) = self.0.take(server) {
            match link.exchange(request, sending, patience).await {
                Ok(response) => return Ok(self.download(server, response, link)),
                // Closed meanwhile: no news of the server.
                Err(Failure::Unsent(unsent, _)) => request = *unsent,
                Err(Failure::Failed(error)) => return Err(error),
            }
        }
        // Boxed, as is elsewhere what is rarely done: every request's future would be as large, and moved around.
        let mut link = Box::pin(self.dial(lease.server())).await?;
        match link.exchange(request, sending, patience).await {
            Ok(response) => Ok(self.download(server, response, link)),
            Err(Failure::Unsent(_, error) | Failure::Failed(error)) => Err(error),
        }
    }

    async fn dial(&self, server: &Server) -> Result<Link, UpstreamError> {
        let uri = target(server, &Uri::default());
        let stream = self.0.connector.clone().call(uri).await;
        let stream = stream.map_err(UpstreamError::dial)?;
        let (sender, connection) = http1::Builder::new()
            .handshake(stream)
            .await
            .map_err(|error| UpstreamError::Broken(error.into()))?;
        Ok(Link::new(sender, connection))
    }

    fn download(&self, server: ServerId, response: Response<Incoming>, link: Link) -> Response<Download> {
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let link = if switches {
            link.leave_to_itself();
            None
        } else {
            Some(link)
        };
        response.map(|body| Download {
            body,
            failure: None,
            link,
            server,
            home: self.0.clone(),
        })
    }
}

impl Shared {
    /// An idle connection to a server that has not closed it.
    fn take(&self, server: ServerId) -> Option<Link> {
        loop {
            let (since, mut link) = self.idle().links.get_mut(&server)?.pop()?;
            if since.elapsed() < self.idle_timeout && link.is_ready() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection for later, unless it is of no more use or there are enough.
    fn put(self: &Arc<Self>, server: ServerId, mut link: Link) {
        // Without a runtime the daemon ends, and with it the connection.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if !link.is_ready() {
            return;
        }
        let mut idle = self.idle();
        let links = idle.links.entry(server).or_default();
        if links.len() < self.max_idle {
            links.push((Instant::now(), link));
        }
        if !std::mem::replace(&mut idle.is_swept, true) {
            drop(idle);
            let period = self.idle_timeout.min(SWEEP_EVERY);
            runtime.spawn(sweep(Arc::downgrade(self), period));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what has been idle for too long, and what its server has closed, until nothing is left.
async fn sweep(pool: Weak<Shared>, period: Duration) {
    loop {
        sleep(period).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        for links in idle.links.values_mut() {
            links.retain_mut(|(since, link)| since.elapsed() < pool.idle_timeout && link.is_ready());
        }
        idle.links.retain(|_, links| !links.is_empty());
        idle.is_swept = !idle.links.is_empty();
        if !idle.is_swept {
            return;
        }
    }
}

/// A response's body. Its end gives the connection back; dropped before, it closes it.
pub(super) struct Download {
    body: Incoming,
    /// What it failed with, told on the next turn: what came before must not be lost in the same one.
    failure: Option<hyper::Error>,
    link: Option<Link>,
    server: ServerId,
    home: Arc<Shared>,
}

impl Download {
    fn ended(&mut self) {
        if let Some(link) = self.link.take() {
            self.home.put(self.server, link);
        }
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(failure) = this.failure.take() {
            return Poll::Ready(Some(Err(failure.into())));
        }
        if let Some(link) = &mut this.link {
            link.drive(cx);
        }
        // Nobody but the connection, which has just been driven, has anything for it. An upgraded connection and one
        // that has ended have nothing more.
        let polled = Pin::new(&mut this.body).poll_frame(&mut Link::nobody());
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if this.body.is_end_stream() {
                    this.ended();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                (this.link, this.failure) = (None, Some(error));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                this.ended();
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // One without content is never asked for any.
        if self.is_end_stream() {
            self.ended();
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
