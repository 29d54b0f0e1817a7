//! A request's body on its way to a server: tells when it has ended, and keeps the error that it failed with, since
//! what the connection then reports does not say whose fault it was.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

use super::client::{Body, BoxError};

/// The body as the connection reads it.
pub(super) struct Upload {
    body: Body,
    failure: Failure,
    /// Dropped when the body has ended, failed, or is dropped itself.
    ended: Option<oneshot::Sender<()>>,
}

/// What a body failed with, once it has.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<BoxError>>>);

#[derive(Debug, thiserror::Error)]
#[error("the request's body failed")]
struct UploadFailed;

impl Upload {
    /// Wraps a body. The receiver errs when the body has ended.
    pub(super) fn new(body: Body) -> (Self, Failure, oneshot::Receiver<()>) {
        let failure = Failure::default();
        let (ended, told) = oneshot::channel();
        let upload = Self {
            body,
            failure: failure.clone(),
            ended: Some(ended),
        };
        (upload, failure, told)
    }
}

impl Failure {
    pub(super) fn take(&self) -> Option<BoxError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match polled {
            Poll::Ready(Some(Err(error))) => {
                self.ended = None;
                *self.failure.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Poll::Ready(Some(Err(UploadFailed.into())))
            }
            Poll::Ready(None) => {
                self.ended = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
