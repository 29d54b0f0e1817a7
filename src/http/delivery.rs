//! The response bodies of an HTTP/2 connection, which their client must keep taking.
//!
//! By its windows a client decides how much of a response it is sent, and nobody asks the body for more meanwhile
//! (RFC 9113 section 5.2). A body that has not been asked for so long is given up, with all that it holds: the
//! upstream's connection, its place in the limits. What remains is the stream without a body; it is reset when the
//! client comes back for more, and does not keep the connection from being idle.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

use crate::upstream::{Body, BoxError};

use super::counters::Counters;

/// The client came back too late.
#[derive(Debug, thiserror::Error)]
#[error("the response was not taken in time")]
pub(super) struct SendStalled;

/// The bodies under way on one connection; clones are of the same.
#[derive(Clone, Default)]
pub(super) struct Deliveries(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    next: u64,
    under_way: HashMap<u64, Weak<Mutex<State>>>,
}

/// A body under way.
struct Delivery {
    state: Arc<Mutex<State>>,
    number: u64,
    deliveries: Deliveries,
}

struct State {
    /// `None`: it was given up.
    body: Option<Body>,
    /// Since when the client is waited for; `None`: it waits for the body.
    since: Option<Instant>,
}

impl Deliveries {
    /// Looks after a body from now to its end.
    pub(super) fn begin(&self, body: Body) -> Body {
        if body.is_end_stream() {
            // Nobody will ask for any of it.
            return body;
        }
        let state = Arc::new(Mutex::new(State {
            body: Some(body),
            since: Some(Instant::now()),
        }));
        let mut table = lock(&self.0);
        let number = table.next;
        table.next += 1;
        table.under_way.insert(number, Arc::downgrade(&state));
        drop(table);
        let delivery = Delivery {
            state,
            number,
            deliveries: self.clone(),
        };
        delivery.boxed_unsync()
    }

    /// Gives up bodies that were not asked for `patience`, for as long as it is polled.
    pub(super) async fn keep(&self, patience: Duration, counters: &Counters) {
        loop {
            let now = Instant::now();
            let (overdue, next) = self.overdue(now, patience);
            for body in overdue {
                counters.sends_stalled.add();
                drop(body);
            }
            sleep_until(next).await;
        }
    }

    /// The bodies to be given up, and when to look again: no other can be overdue before.
    fn overdue(&self, now: Instant, patience: Duration) -> (Vec<Body>, Instant) {
        let (mut overdue, mut next) = (Vec::new(), now + patience);
        for state in lock(&self.0).under_way.values().filter_map(Weak::upgrade) {
            let mut state = lock(&state);
            match state.since.map(|since| since + patience) {
                Some(deadline) if deadline <= now => overdue.extend(state.body.take()),
                Some(deadline) => next = next.min(deadline),
                None => {}
            }
            if state.body.is_none() {
                state.since = None;
            }
        }
        (overdue, next)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpBody for Delivery {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = lock(&self.state);
        let Some(body) = &mut state.body else {
            return Poll::Ready(Some(Err(SendStalled.into())));
        };
        let polled = Pin::new(body).poll_frame(cx);
        state.since = polled.is_ready().then(Instant::now);
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.state)
            .body
            .as_ref()
            .is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.state)
            .body
            .as_ref()
            .map_or_else(SizeHint::new, HttpBody::size_hint)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        lock(&self.deliveries.0).under_way.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::StreamExt as _;
    use http_body_util::StreamBody;
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A body of two pieces, the second when `told`; and what is dropped with it.
    fn body(told: tokio::sync::oneshot::Receiver<()>) -> (Body, Weak<()>) {
        let held = Arc::new(());
        let weak = Arc::downgrade(&held);
        let piece = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"piece")));
        let first = futures_util::stream::once(async move { piece() });
        let second = futures_util::stream::once(async move {
            let _ = told.await;
            drop(held);
            piece()
        });
        let body = StreamBody::new(first.chain(second).boxed());
        (body.map_err(Into::into).boxed_unsync(), weak)
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_is_waited_for_can_be_late() {
        let deliveries = Deliveries::default();
        let (tell, told) = tokio::sync::oneshot::channel();
        let (inner, held) = body(told);
        let mut taken = deliveries.begin(inner);
        let counters = Arc::new(Counters::default());
        let keeper = {
            let (deliveries, counters) = (deliveries.clone(), counters.clone());
            tokio::spawn(async move { deliveries.keep(PATIENCE, &counters).await })
        };
        let frame = taken.frame().await;
        assert!(frame.is_some_and(|frame| frame.is_ok()));
        // It asks for more: from now on it is the body that is slow.
        let waiting = tokio::spawn(async move {
            let late = taken.frame().await.map(|frame| frame.is_ok());
            (taken, late)
        });
        tokio::task::yield_now().await;
        advance(PATIENCE * 10).await;
        tokio::task::yield_now().await;
        assert!(held.upgrade().is_some());
        tell.send(()).unwrap();
        let (mut taken, late) = waiting.await.unwrap();
        assert_eq!(late, Some(true));
        // And now the client.
        advance(PATIENCE * 2).await;
        tokio::task::yield_now().await;
        let error = taken.frame().await.unwrap().unwrap_err();
        assert!(error.is::<SendStalled>());
        assert_eq!(counters.sends_stalled.get(), 1);
        drop(taken);
        assert!(lock(&deliveries.0).under_way.is_empty());
        keeper.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_asked_for_is_given_up_with_what_it_holds() {
        let deliveries = Deliveries::default();
        let (_tell, told) = tokio::sync::oneshot::channel();
        let (inner, held) = body(told);
        let _unasked = deliveries.begin(inner);
        let (none, next) = deliveries.overdue(Instant::now(), PATIENCE);
        assert!(none.is_empty());
        advance(next - Instant::now()).await;
        let (overdue, _) = deliveries.overdue(Instant::now(), PATIENCE);
        assert_eq!(overdue.len(), 1);
        drop(overdue);
        assert!(held.upgrade().is_none());
    }
}
