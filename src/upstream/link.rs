//! One HTTP/1.1 connection to an upstream server, and the exchange on it. Driven by whoever uses it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper::{Request, Response};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::client::Body;
use super::error::UpstreamError;
use super::upload::Sending;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A connection.
pub(super) struct Link {
    sender: SendRequest<Body>,
    /// `None`: it has ended.
    connection: Option<Driver>,
    alarm: Alarm,
}

/// Why there was no response.
pub(super) enum Failure {
    /// The connection ended before it took the request.
    Unsent(Box<Request<Body>>, UpstreamError),
    /// The server may have seen it.
    Failed(UpstreamError),
}

impl Link {
    pub(super) fn new(sender: SendRequest<Body>, connection: Connection<Stream, Body>) -> Self {
        Self {
            sender,
            connection: Some(Box::pin(connection.with_upgrades())),
            alarm: Alarm(None),
        }
    }

    /// For what only happens while the connection is driven: to be woken by it as well would be to be woken twice.
    pub(super) fn nobody() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    /// Does what there is to do on the connection, and sees to it that there is a wake-up for more.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(ended) = connection.as_mut().poll(cx)
        {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to an upstream server ended");
            }
            self.connection = None;
        }
    }

    /// Whether it can take a request now, as far as is known.
    pub(super) fn is_ready(&mut self) -> bool {
        self.drive(&mut Self::nobody());
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Sends a request and waits for the headers of its response.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Body>,
        sending: &mut Sending,
        patience: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        // Without a budget of its own: it would use up its turn and ask nobody for another.
        let mut response = pin!(unconstrained(self.sender.try_send_request(request)));
        let mut deadline = None;
        let (connection, alarm) = (&mut self.connection, &mut self.alarm);
        let answered = poll_fn(|cx| {
            if let Some(driver) = connection
                && driver.as_mut().poll(cx).is_ready()
            {
                *connection = None;
            }
            if let Poll::Ready(answered) = response.as_mut().poll(&mut Self::nobody()) {
                return Poll::Ready(Some(answered));
            }
            if deadline.is_none() && sending.poll_ended(&mut Self::nobody()).is_ready() {
                deadline = Some(Instant::now() + patience);
            }
            match deadline {
                Some(deadline) => alarm.poll(deadline, cx).map(|()| None),
                None => Poll::Pending,
            }
        });
        match answered.await {
            Some(Ok(response)) => Ok(response),
            Some(Err(mut error)) => {
                let unsent = error.take_message();
                let error = UpstreamError::Broken(error.into_error().into());
                Err(match unsent {
                    Some(unsent) => Failure::Unsent(Box::new(unsent), error),
                    None => Failure::Failed(error),
                })
            }
            None => Err(Failure::Failed(UpstreamError::HeaderTimeout)),
        }
    }

    /// Lets the connection end by itself: it has been upgraded.
    pub(super) fn leave_to_itself(self) {
        if let Some(connection) = self.connection {
            tokio::spawn(connection);
        }
    }
}

/// A timer that is set for one request after the other. Their deadlines hardly ever come, so that it is moved only when
/// an earlier one has: a timer for each request would cost more than the rest of the wait.
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready when `deadline` has passed. From one call to the next it may only move on.
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
