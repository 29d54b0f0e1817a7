//! A client's request body, with bounds on how long the next piece may take and on its length: a stalled upload must
//! not hold an upstream connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::upstream::BoxError;

use super::visit::Visit;

/// Nothing came for too long.
#[derive(Debug, thiserror::Error)]
#[error("the request's body stalled")]
pub(super) struct UploadStalled;

/// More came than is allowed.
#[derive(Debug, thiserror::Error)]
#[error("the request's body is too large")]
pub(super) struct UploadTooLarge;

/// A request body that fails with [`UploadStalled`] when it is waited for longer than its patience, and with
/// [`UploadTooLarge`] when it is longer than it may be.
pub(super) struct Upload<B> {
    body: B,
    patience: Duration,
    /// Bytes that may still come.
    left: u64,
    visit: Arc<Visit>,
    /// Runs while the client is waited for: not while the upstream is what is slow.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<B> Upload<B> {
    /// `most` bounds its length; `visit` is told what comes.
    pub(super) fn new(body: B, patience: Duration, most: Option<u64>, visit: Arc<Visit>) -> Self {
        Self {
            body,
            patience,
            left: most.unwrap_or(u64::MAX),
            visit,
            waiting: None,
        }
    }
}

impl<B> Upload<B> {
    fn counted(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BoxError> {
        let len = frame.data_ref().map_or(0, Bytes::len);
        self.visit.received(len);
        self.left = self.left.checked_sub(len as u64).ok_or(UploadTooLarge)?;
        Ok(frame)
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
            return Poll::Ready(frame.map(|frame| this.counted(frame.map_err(Into::into)?)));
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

    use crate::http::idle::Watch;

    use super::*;

    fn upload<B>(body: B, patience: Duration, most: Option<u64>) -> Upload<B> {
        let request = hyper::Request::new(());
        let id = hyper::header::HeaderValue::from_static("id");
        let busy = Watch::new().request();
        let visit = Visit::begin(
            &request,
            [127, 0, 0, 1].into(),
            &id,
            None,
            Arc::default(),
            Some(busy),
        );
        Upload::new(body, patience, most, visit)
    }

    #[tokio::test]
    async fn what_is_too_long_fails_where_it_becomes_so() {
        let pieces = ["123", "45", "6"].map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))));
        let body = StreamBody::new(futures_util::stream::iter(pieces));
        let mut upload = upload(body, Duration::from_secs(60), Some(5));
        assert!(upload.frame().await.unwrap().is_ok());
        assert!(upload.frame().await.unwrap().is_ok());
        let error = upload.frame().await.unwrap().unwrap_err();
        assert!(error.is::<UploadTooLarge>());
    }

    #[tokio::test]
    async fn waiting_for_the_client_has_an_end() {
        let body = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let mut upload = upload(body, Duration::from_millis(1), None);
        let error = upload.frame().await.unwrap().unwrap_err();
        assert!(error.is::<UploadStalled>());
    }

    #[tokio::test]
    async fn a_slow_upstream_is_not_the_clients_fault() {
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        let frames = futures_util::stream::unfold(told, |mut told| async {
            told.recv().await.map(|frame| (Ok::<_, Infallible>(frame), told))
        });
        let mut upload = upload(StreamBody::new(frames.boxed()), Duration::from_millis(1), None);
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
