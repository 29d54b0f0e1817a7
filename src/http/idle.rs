//! How long a client connection may do nothing: between requests, in the middle of a request's header, and while it
//! has something to take.
//!
//! hyper has one timer for the first two and none for the third. Here the connection's reads, writes and requests are
//! watched from outside instead:
//!
//! ```text
//!  idle ──a byte──▶ header ──a request──▶ busy ──the last response's end──▶ idle
//! ```
//! That wakes nobody: no deadline of it is nearer than the shorter of the two times, so that it is enough to look again
//! after that. Beside it, a write that finds no room begins a wait, and the next that finds some ends it.
//!
//! A client that has ended its side of the connection after a request may wait for the answer, or be gone: TCP tells
//! the two apart only when something is written. hyper takes it for gone; here its end is hidden from hyper for as long
//! as something moves either way, and a little longer. Not so of a WebSocket, which knows an end of its own.
//!
//! For HTTP/1.1 only: on a connection that multiplexes, bytes may be of anything.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::server::Limits;

/// What a client took too long for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// The next request.
    Idle,
    /// The rest of a request's header; nothing is on its way to the client.
    Header,
    /// Taking what it is sent.
    Send,
    /// It has ended its side, and nothing moved either way for [`PARTED`].
    Gone,
}

/// How long a request goes on for a client that has ended its side.
const PARTED: Duration = Duration::from_secs(5);

/// What a connection is doing.
#[derive(Debug)]
struct State {
    requests: usize,
    /// It is one request after the other, and not a WebSocket.
    is_http: bool,
    /// When the first byte of a header came.
    header: Option<Instant>,
    /// When it was last seen to become idle.
    idle: Instant,
    /// Since when the client has taken nothing of what is there for it.
    full: Option<Instant>,
    /// When something moved last, since the client ended its side while a request was under way.
    parted: Option<Instant>,
    /// Who is to be told that no request is under way any more.
    reader: Option<Waker>,
}

impl State {
    fn moved(&mut self) {
        if self.parted.is_some() {
            self.parted = Some(Instant::now());
        }
    }
}

/// Watches one connection; clones are of the same.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    state: Mutex<State>,
    changed: Notify,
}

/// A request under way; its end is when the last of it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Watch);

impl Watch {
    /// For a connection that begins now.
    pub(super) fn new() -> Self {
        let state = State {
            requests: 0,
            is_http: true,
            header: None,
            idle: Instant::now(),
            full: None,
            parted: None,
            reader: None,
        };
        Self(Arc::new(Watched {
            state: Mutex::new(state),
            changed: Notify::new(),
        }))
    }

    /// A request has come.
    pub(super) fn request(&self) -> Busy {
        self.change(|state| {
            state.requests += 1;
            state.header = None;
        });
        Busy(self.clone())
    }

    /// Returns when the client has taken too long, with what.
    pub(super) async fn expired(&self, limits: &Limits) -> Expired {
        let soonest = limits.idle_timeout.min(limits.header_timeout);
        loop {
            let changed = self.0.changed.notified();
            let now = Instant::now();
            let look = match self.deadline(limits) {
                Some((deadline, expired)) if deadline <= now => return expired,
                Some((deadline, _)) => deadline.min(now + soonest),
                None => now + soonest,
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep_until(look) => {}
            }
        }
    }

    fn deadline(&self, limits: &Limits) -> Option<(Instant, Expired)> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (state.full, state.header) {
            (Some(since), _) => Some((since + limits.send_timeout, Expired::Send)),
            (None, _) if state.requests > 0 => state.parted.map(|since| (since + PARTED, Expired::Gone)),
            (None, Some(since)) => Some((since + limits.header_timeout, Expired::Header)),
            (None, None) => Some((state.idle + limits.idle_timeout, Expired::Idle)),
        }
    }

    fn bytes_came(&self) {
        self.change(|state| {
            if state.requests == 0 && state.header.is_none() {
                state.header = Some(Instant::now());
            }
        });
    }

    /// Whether the end of what the client sends is kept for later, until `reader` is woken.
    fn hides_end(&self, reader: &Waker) -> bool {
        let mut hides = false;
        self.change(|state| {
            hides = state.requests > 0 && state.is_http;
            if hides {
                state.parted.get_or_insert_with(Instant::now);
                state.reader = Some(reader.clone());
            }
        });
        hides
    }

    fn wrote(&self, finds_room: bool) {
        self.change(|state| {
            state.full = if finds_room {
                None
            } else {
                state.full.or_else(|| Some(Instant::now()))
            };
        });
    }

    fn moved(&self) {
        self.change(State::moved);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = |state: &State| (state.full, state.parted.is_some());
        let before = kind(&state);
        change(&mut state);
        if before != kind(&state) {
            drop(state);
            self.0.changed.notify_one();
        }
    }

    /// A stream whose reads and writes are watched.
    pub(super) fn over<IO>(&self, io: IO) -> Over<IO> {
        Over {
            io,
            watch: self.clone(),
            is_full: false,
            has_ended: false,
        }
    }
}

impl Busy {
    /// Something of its body was taken.
    pub(super) fn moved(&self) {
        self.0.moved();
    }

    /// It has become a WebSocket.
    pub(super) fn is_websocket(&self) {
        self.0.change(|state| state.is_http = false);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut reader = None;
        self.0.change(|state| {
            state.requests -= 1;
            state.idle = Instant::now();
            if state.requests == 0 {
                reader = state.reader.take();
            }
        });
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// A connection's stream.
#[derive(Debug)]
pub(super) struct Over<IO> {
    io: IO,
    watch: Watch,
    /// As the watch knows it, which then need not be told the same again.
    is_full: bool,
    /// The client has ended its side.
    has_ended: bool,
}

impl<IO> Over<IO> {
    fn told<T>(&mut self, polled: Poll<T>) -> Poll<T> {
        if self.is_full != polled.is_pending() {
            self.is_full = polled.is_pending();
            self.watch.wrote(polled.is_ready());
        }
        polled
    }

    fn wrote(&mut self, polled: Poll<std::io::Result<usize>>) -> Poll<std::io::Result<usize>> {
        if self.has_ended && polled.is_ready() {
            self.watch.moved();
        }
        self.told(polled)
    }
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
        } else if matches!(polled, Poll::Ready(Ok(()))) && into.remaining() > 0 {
            self.has_ended = true;
            if self.watch.hides_end(cx.waker()) {
                return Poll::Pending;
            }
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
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.told(polled)
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
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.wrote(polled)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::advance;

    use super::*;

    const IDLE: Duration = Duration::from_secs(75);
    const HEADER: Duration = Duration::from_secs(30);
    const SEND: Duration = Duration::from_secs(60);

    /// The defaults, which are the ones above.
    async fn left(watch: &Watch) -> Option<(Duration, Expired)> {
        tokio::task::yield_now().await;
        let (deadline, expired) = watch.deadline(&Limits::default())?;
        Some((deadline.saturating_duration_since(Instant::now()), expired))
    }

    #[tokio::test(start_paused = true)]
    async fn each_state_has_its_time() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let watch = Watch::new();
        let mut ours = watch.over(ours);
        assert_eq!(left(&watch).await, Some((IDLE, Expired::Idle)));
        advance(Duration::from_secs(5)).await;
        theirs.write_all(b"GE").await.unwrap();
        ours.read_u8().await.unwrap();
        assert_eq!(left(&watch).await, Some((HEADER, Expired::Header)));
        advance(Duration::from_secs(5)).await;
        ours.read_u8().await.unwrap();
        assert_eq!(
            left(&watch).await,
            Some((HEADER - Duration::from_secs(5), Expired::Header)),
            "more bytes are no more time"
        );
        let (one, two) = (watch.request(), watch.request());
        assert_eq!(left(&watch).await, None);
        drop(one);
        assert_eq!(left(&watch).await, None);
        drop(two);
        assert_eq!(left(&watch).await, Some((IDLE, Expired::Idle)));
        let started = Instant::now();
        assert_eq!(watch.expired(&Limits::default()).await, Expired::Idle);
        assert!((IDLE..IDLE + Duration::from_secs(1)).contains(&started.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_something_has_its_time_again() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let watch = Watch::new();
        let mut ours = watch.over(ours);
        let _request = watch.request();
        let writing = tokio::spawn(async move { ours.write_all(&[0; 200]).await });
        assert_eq!(left(&watch).await, Some((SEND, Expired::Send)));
        for _ in 0..2 {
            advance(SEND - Duration::from_secs(1)).await;
            theirs.read_exact(&mut [0; 64]).await.unwrap();
            assert_eq!(left(&watch).await, Some((SEND, Expired::Send)));
        }
        theirs.read_exact(&mut [0; 72]).await.unwrap();
        writing.await.unwrap().unwrap();
        assert_eq!(left(&watch).await, None, "all is taken");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_client_is_hidden_while_something_moves() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let watch = Watch::new();
        let mut ours = watch.over(ours);
        let request = watch.request();
        theirs.shutdown().await.unwrap();
        let mut buffer = [0; 8];
        let early = tokio::time::timeout(PARTED / 2, ours.read(&mut buffer)).await;
        assert!(early.is_err(), "the end is hidden");
        ours.write_all(b"answer").await.unwrap();
        ours.flush().await.unwrap();
        assert_eq!(left(&watch).await, Some((PARTED, Expired::Gone)));
        advance(PARTED / 2).await;
        request.moved();
        assert_eq!(left(&watch).await, Some((PARTED, Expired::Gone)));
        assert_eq!(watch.expired(&Limits::default()).await, Expired::Gone);
        let reading = tokio::spawn(async move { ours.read(&mut buffer).await });
        tokio::task::yield_now().await;
        drop(request);
        assert_eq!(
            reading.await.unwrap().unwrap(),
            0,
            "it is told with the request's end"
        );
    }
}
