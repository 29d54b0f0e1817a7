//! A request that can be sent more than once.
//!
//! Repeated is what no server has seen, and what may be repeated by its method (RFC 9110 section 9.2.2) when the
//! connection broke without an answer. Either way only as long as nothing is lost of the body: one that streams can be
//! sent elsewhere until its first piece has been read. A server that took the request and does not answer in time is
//! not given a second one: it may be working on the first.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::{HeaderMap, Method};

use crate::upstream::{Body, BoxError, Purpose, ServerId, UpstreamError};

use super::affinity::{self, Choice};
use super::content::Gathered;
use super::site::Exchange;

/// Servers that one request may be sent to.
const MAX_ATTEMPTS: usize = 3;

/// A request's body, kept for another attempt.
pub(super) enum Repeatable {
    /// There is none.
    Nothing,
    /// All of it.
    Whole(Bytes),
    /// One that is there until somebody reads it.
    Stream(Slot),
}

/// Where a body lies until it is read.
#[derive(Clone)]
pub(super) struct Slot(Arc<Mutex<Option<Body>>>);

impl Repeatable {
    pub(super) fn new(gathered: Gathered) -> Self {
        match gathered {
            Gathered::Whole(whole) => Self::Whole(whole),
            Gathered::Stream(body) => Self::Stream(Slot(Arc::new(Mutex::new(Some(body))))),
        }
    }

    /// Whether the request may be sent to another server after this.
    pub(super) fn may_repeat(&self, method: &Method, error: &UpstreamError) -> bool {
        self.is_kept() && is_harmless(method, error)
    }

    /// Whether nothing of the body is lost yet.
    pub(super) fn is_kept(&self) -> bool {
        match self {
            Self::Nothing | Self::Whole(_) => true,
            Self::Stream(slot) => slot.is_untouched(),
        }
    }
}

/// Whether a second server may get what the first did not answer.
pub(super) fn is_harmless(method: &Method, error: &UpstreamError) -> bool {
    error.never_sent() || (method.is_idempotent() && matches!(error, UpstreamError::Broken(_)))
}

/// The servers that a request was sent to in vain.
#[derive(Default)]
pub(super) struct Attempts {
    tried: Vec<ServerId>,
    last: Option<UpstreamError>,
}

impl Attempts {
    /// The server for the next attempt. When none is left, what the last one said is the answer.
    pub(super) fn choose(
        &mut self,
        exchange: &Exchange<'_>,
        purpose: Purpose,
        headers: &HeaderMap,
    ) -> Result<Choice, UpstreamError> {
        let choice = affinity::choose(exchange, purpose, headers, &self.tried);
        choice.map_err(|error| self.last.take().unwrap_or(error))
    }

    /// Notes that a server knows nothing of the call. Each is asked once, however many they are.
    pub(super) fn disclaimed(&mut self, exchange: &Exchange<'_>, choice: &Choice) {
        self.tried.push(choice.lease.id());
        exchange.site.shared.counters.affinity_searched.add();
    }

    /// Notes a failure.
    ///
    /// # Errors
    /// It is the answer, because the request may not be repeated, belongs to a call of this server, or has been
    /// repeated often enough.
    pub(super) fn failed(
        &mut self,
        exchange: &Exchange<'_>,
        choice: &Choice,
        error: UpstreamError,
        may_repeat: bool,
    ) -> Result<(), UpstreamError> {
        self.tried.push(choice.lease.id());
        if !may_repeat || choice.bound || self.tried.len() >= MAX_ATTEMPTS {
            return Err(error);
        }
        tracing::debug!(server = %choice.lease.server(), %error, "another server is tried");
        self.last = Some(error);
        exchange.site.shared.counters.upstream_retries.add();
        Ok(())
    }
}

impl Slot {
    /// The body for one attempt.
    pub(super) fn lend(&self) -> Body {
        Lent {
            slot: self.clone(),
            body: None,
        }
        .boxed_unsync()
    }

    fn is_untouched(&self) -> bool {
        self.peek(|body| body.is_some())
    }

    fn peek<T>(&self, look: impl FnOnce(&mut Option<Body>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A body that is taken from its slot when it is first read. One without anything to read stays there.
struct Lent {
    slot: Slot,
    body: Option<Body>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.body.is_none() {
            this.body = this.slot.peek(|body| body.take_if(|body| !body.is_end_stream()));
        }
        match &mut this.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Some(body) => body.is_end_stream(),
            None => self
                .slot
                .peek(|body| body.as_ref().is_none_or(HttpBody::is_end_stream)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => self
                .slot
                .peek(|body| body.as_ref().map(HttpBody::size_hint).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::full;
    use super::*;

    fn broken() -> UpstreamError {
        UpstreamError::Broken("x".into())
    }

    fn dial() -> UpstreamError {
        UpstreamError::Dial("x".into())
    }

    #[test]
    fn only_what_may_be_repeated_is() {
        let whole = Repeatable::Whole(Bytes::from_static(b"x"));
        for (method, error, expected) in [
            (Method::POST, dial(), true),
            (Method::POST, UpstreamError::DialTimeout, true),
            (Method::POST, UpstreamError::Busy, true),
            (Method::POST, broken(), false),
            (Method::PATCH, broken(), false),
            (Method::GET, broken(), true),
            (Method::PUT, broken(), true),
            (Method::DELETE, broken(), true),
            (Method::GET, UpstreamError::HeaderTimeout, false),
            (Method::PUT, UpstreamError::Upload("x".into()), false),
        ] {
            assert_eq!(whole.may_repeat(&method, &error), expected, "{method} {error}");
        }
    }

    #[tokio::test]
    async fn a_stream_is_lent_until_it_has_been_read() {
        let kept = Repeatable::new(Gathered::Stream(full(Bytes::from_static(b"abc"))));
        let Repeatable::Stream(slot) = &kept else {
            panic!("a stream")
        };
        drop(slot.lend());
        let lent = slot.lend();
        assert_eq!(lent.size_hint().exact(), Some(3));
        assert!(kept.may_repeat(&Method::POST, &dial()), "lending reads nothing");
        assert_eq!(lent.collect().await.unwrap().to_bytes(), "abc");
        assert!(!kept.may_repeat(&Method::POST, &dial()));
        assert!(!kept.may_repeat(&Method::GET, &broken()));
    }

    #[tokio::test]
    async fn an_empty_body_is_never_used_up() {
        let kept = Repeatable::new(Gathered::Stream(full(Bytes::new())));
        let Repeatable::Stream(slot) = &kept else {
            panic!("a stream")
        };
        for _ in 0..2 {
            let lent = slot.lend();
            assert!(lent.is_end_stream());
            assert!(lent.collect().await.unwrap().to_bytes().is_empty());
            assert!(kept.may_repeat(&Method::GET, &broken()));
        }
    }
}
