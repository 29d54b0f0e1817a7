//! A request's body on its way to a server: tells when it has ended, and keeps the error that it failed with, since
//! what the connection then reports does not say whose fault it was. One without content is left as it is.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

use super::client::{Body, BoxError};

/// The body as the connection reads it.
struct Upload {
    body: Body,
    failure: Failure,
    /// Dropped when the body has ended, failed, or is dropped itself.
    ended: Option<oneshot::Sender<()>>,
}

/// What a body failed with, once it has.
type Failure = Arc<Mutex<Option<BoxError>>>;

/// How far a request's body has got; `None`: it has no content.
pub(super) struct Sending(Option<(Failure, oneshot::Receiver<()>)>);

#[derive(Debug, thiserror::Error)]
#[error("the request's body failed")]
struct UploadFailed;

impl Sending {
    /// Wraps a request's body.
    pub(super) fn of(request: Request<Body>) -> (Request<Body>, Self) {
        if request.body().is_end_stream() {
            return (request, Self(None));
        }
        let failure = Failure::default();
        let (ended, told) = oneshot::channel();
        let request = request.map(|body| {
            let upload = Upload {
                body,
                failure: failure.clone(),
                ended: Some(ended),
            };
            upload.boxed_unsync()
        });
        (request, Self(Some((failure, told))))
    }

    /// Ready when the body has ended, or its sender is gone, and it with that.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            // What it says is nothing; it errs when it is dropped.
            Some((_, told)) if !told.is_terminated() => Pin::new(told).poll(cx).map(|_| ()),
            Some(_) | None => Poll::Ready(()),
        }
    }

    /// What the body failed with, if that is why there is no response.
    pub(super) fn failure(&self) -> Option<BoxError> {
        let (failure, _) = self.0.as_ref()?;
        failure.lock().unwrap_or_else(PoisonError::into_inner).take()
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
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
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
