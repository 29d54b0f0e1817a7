//! A client's request body, with a bound on how long the next piece may take: a stalled upload must not hold an
//! upstream connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::upstream::BoxError;

/// Nothing came for too long.
#[derive(Debug, thiserror::Error)]
#[error("the request's body stalled")]
pub(super) struct UploadStalled;

/// A request body that fails with [`UploadStalled`] when it is waited for longer than its patience.
pub(super) struct Upload<B> {
    body: B,
    patience: Duration,
    /// Runs while the client is waited for: not while the upstream is what is slow.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<B> Upload<B> {
    pub(super) fn new(body: B, patience: Duration) -> Self {
        Self {
            body,
            patience,
            waiting: None,
        }
    }
}

impl<B> HttpBody for Upload<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let patience = this.patience;
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Some(Err(UploadStalled.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt as _, StreamExt as _};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    #[tokio::test]
    async fn waiting_for_the_client_has_an_end() {
        let body = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let mut upload = Upload::new(body, Duration::from_millis(1));
        let error = upload.frame().await.unwrap().unwrap_err();
        assert!(error.is::<UploadStalled>());
    }

    #[tokio::test]
    async fn a_slow_upstream_is_not_the_clients_fault() {
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        let frames = futures_util::stream::unfold(told, |mut told| async {
            told.recv().await.map(|frame| (Ok::<_, Infallible>(frame), told))
        });
        let mut upload = Upload::new(StreamBody::new(frames.boxed()), Duration::from_millis(1));
        assert!(upload.frame().now_or_never().is_none(), "waiting begins");
        tell.send(Frame::data(Bytes::from_static(b"late"))).unwrap();
        sleep(Duration::from_millis(20)).await;
        let frame = upload.frame().await.unwrap().unwrap();
        assert_eq!(
            frame.into_data().unwrap(),
            "late",
            "it was there when we came back"
        );
    }
}
