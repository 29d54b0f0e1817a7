//! How long a client connection may do nothing: between requests, and in the middle of a request's header.
//!
//! hyper has one timer for both. Here the connection's reads and requests are watched from outside instead:
//!
//! ```text
//!  idle ──a byte──▶ header ──a request──▶ busy ──the last response's end──▶ idle
//! ```
//! A change of state wakes nobody: no deadline is nearer than the shorter of the two times, so that it is enough to
//! look again after that.
//!
//! For HTTP/1.1 only: on a connection that multiplexes, bytes may be of anything.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

/// What a connection is doing.
#[derive(Clone, Copy, Debug)]
struct State {
    requests: usize,
    /// When the first byte of a header came.
    header: Option<Instant>,
    /// When it was last seen to become idle.
    idle: Instant,
}

/// Watches one connection; clones are of the same.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Mutex<State>>);

/// A request under way; its end is when the last of it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Watch);

impl Watch {
    /// For a connection that begins now.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            requests: 0,
            header: None,
            idle: Instant::now(),
        })))
    }

    /// A request has come.
    pub(super) fn request(&self) -> Busy {
        let mut state = self.state();
        state.requests += 1;
        state.header = None;
        drop(state);
        Busy(self.clone())
    }

    /// Returns when the connection has done nothing for too long.
    pub(super) async fn expired(&self, idle: Duration, header: Duration) {
        let soonest = idle.min(header);
        loop {
            let now = Instant::now();
            let deadline = self.deadline(idle, header);
            if deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            let look = now + soonest;
            sleep_until(deadline.map_or(look, |deadline| deadline.min(look))).await;
        }
    }

    fn deadline(&self, idle: Duration, header: Duration) -> Option<Instant> {
        let state = *self.state();
        match state.header {
            _ if state.requests > 0 => None,
            Some(since) => Some(since + header),
            None => Some(state.idle + idle),
        }
    }

    fn bytes_came(&self) {
        let mut state = self.state();
        if state.requests == 0 && state.header.is_none() {
            state.header = Some(Instant::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream whose reads are watched.
    pub(super) fn over<IO>(&self, io: IO) -> Over<IO> {
        Over {
            io,
            watch: self.clone(),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        state.idle = Instant::now();
    }
}

/// A connection's stream.
#[derive(Debug)]
pub(super) struct Over<IO> {
    io: IO,
    watch: Watch,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Over<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, into);
        if into.filled().len() > before {
            self.watch.bytes_came();
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Over<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::advance;

    use super::*;

    const IDLE: Duration = Duration::from_secs(75);
    const HEADER: Duration = Duration::from_secs(30);

    async fn left(watch: &Watch) -> Option<Duration> {
        tokio::task::yield_now().await;
        watch
            .deadline(IDLE, HEADER)
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    #[tokio::test(start_paused = true)]
    async fn each_state_has_its_time() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let watch = Watch::new();
        let mut ours = watch.over(ours);
        assert_eq!(left(&watch).await, Some(IDLE));
        advance(Duration::from_secs(5)).await;
        theirs.write_all(b"GE").await.unwrap();
        ours.read_u8().await.unwrap();
        assert_eq!(left(&watch).await, Some(HEADER));
        advance(Duration::from_secs(5)).await;
        ours.read_u8().await.unwrap();
        assert_eq!(
            left(&watch).await,
            Some(HEADER - Duration::from_secs(5)),
            "more bytes are no more time"
        );
        let (one, two) = (watch.request(), watch.request());
        assert_eq!(left(&watch).await, None);
        drop(one);
        assert_eq!(left(&watch).await, None);
        drop(two);
        assert_eq!(left(&watch).await, Some(IDLE));
        let started = Instant::now();
        watch.expired(IDLE, HEADER).await;
        assert!((IDLE..IDLE + Duration::from_secs(1)).contains(&started.elapsed()));
    }
}
