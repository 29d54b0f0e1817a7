//! Counts the frames of an HTTP/2 connection that carry nothing, and ends one that has too many of them.
//!
//! The library bounds what such frames make us keep, but answers or skips them for as long as they come: PING,
//! SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, empty DATA and unknown ones are work without end for whoever is
//! asked to do it (RFC 9113 section 10.5; CVE-2019-9512 to 9518). Each costs one of a budget, a request too; what we
//! answer gives some of it back, and so does time.
//!
//! The stream is read along and not changed. What is no frame is the library's to refuse.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// RFC 9113 sections 3.4 and 4.1.
const PREFACE_LEN: usize = 24;
const HEADER_LEN: usize = 9;
/// RFC 9113 section 6.
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const END_STREAM: u8 = 0x1;

/// Frames at once: far more than a page of long polls, uploads and downloads has open.
const BUDGET: u32 = 10_000;
/// Given back per second.
const PER_SECOND: u32 = 100;
/// Given back for each frame of a response: a client may answer each with updates of two windows.
const PER_ANSWER: u32 = 2;

/// The beginning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    len: usize,
    kind: u8,
    flags: u8,
}

/// Finds the frames in one direction of a connection, however it is cut.
#[derive(Debug)]
struct Frames {
    /// Bytes that belong to no header.
    skip: usize,
    header: [u8; HEADER_LEN],
    filled: usize,
}

impl Frames {
    fn behind(skip: usize) -> Self {
        Self {
            skip,
            header: [0; HEADER_LEN],
            filled: 0,
        }
    }

    fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Head)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = bytes.len().min(HEADER_LEN - self.filled);
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEADER_LEN {
                self.filled = 0;
                let [high, middle, low, kind, flags, ..] = self.header;
                let len = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.skip = len;
                each(Head { len, kind, flags });
            }
        }
    }
}

/// What a connection may still spend.
#[derive(Debug)]
struct Budget {
    spent: u32,
    since: Instant,
}

impl Budget {
    fn came(&mut self, head: Head) {
        let is_content = head.kind == DATA && (head.len > 0 || head.flags & END_STREAM != 0);
        self.spent += u32::from(!is_content);
    }

    fn sent(&mut self, head: Head) {
        if matches!(head.kind, DATA | HEADERS) {
            self.spent = self.spent.saturating_sub(PER_ANSWER);
        }
    }

    /// Whether nothing is left, not even with what time gives back.
    fn is_spent(&mut self, now: Instant) -> bool {
        if self.spent > BUDGET {
            let seconds = now.saturating_duration_since(self.since).as_secs();
            let earned = u32::try_from(seconds)
                .unwrap_or(u32::MAX)
                .saturating_mul(PER_SECOND);
            if earned > 0 {
                self.spent = self.spent.saturating_sub(earned);
                self.since = now;
            }
        }
        self.spent > BUDGET
    }
}

/// A connection's stream, counted.
#[derive(Debug)]
pub(super) struct Counted<IO> {
    io: IO,
    from_client: Frames,
    to_client: Frames,
    budget: Budget,
    flooded: Flooded,
}

/// Whether a connection was ended for its frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Flooded(Arc<AtomicBool>);

impl Flooded {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a flooded stream fails with.
#[derive(Debug, thiserror::Error)]
#[error("too many frames that carry nothing")]
struct Flood;

impl<IO> Counted<IO> {
    /// A stream from its preface on, and whether it will have been ended.
    pub(super) fn new(io: IO) -> (Self, Flooded) {
        let flooded = Flooded::default();
        let counted = Self {
            io,
            from_client: Frames::behind(PREFACE_LEN),
            to_client: Frames::behind(0),
            budget: Budget {
                spent: 0,
                since: Instant::now(),
            },
            flooded: flooded.clone(),
        };
        (counted, flooded)
    }

    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.from_client.feed(bytes, |head| self.budget.came(head));
        if self.budget.is_spent(Instant::now()) {
            self.flooded.0.store(true, Ordering::Relaxed);
            return Err(io::Error::other(Flood));
        }
        Ok(())
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.to_client.feed(bytes, |head| self.budget.sent(head));
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, into) {
            Poll::Ready(Ok(())) => {
                let counted = self.read(&into.filled()[before..]);
                if counted.is_err() {
                    // A read that fails reads nothing.
                    into.set_filled(before);
                }
                Poll::Ready(counted)
            }
            other => other,
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Counted<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.wrote(&bytes[..written]);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut written)) = polled {
            for slice in slices {
                let of_this = written.min(slice.len());
                self.wrote(&slice[..of_this]);
                written -= of_this;
            }
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PING: Head = Head {
        len: 8,
        kind: 6,
        flags: 0,
    };

    fn budget() -> Budget {
        Budget {
            spent: 0,
            since: Instant::now(),
        }
    }

    fn frame(kind: u8, len: usize) -> Vec<u8> {
        let [.., high, middle, low] = len.to_be_bytes();
        [&[high, middle, low, kind, 0, 0, 0, 0, 1][..], &vec![0; len]].concat()
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_stream_is_cut(
            frames in vec((any::<u8>(), 0_usize..300), 0..20),
            piece in 1_usize..400,
        ) {
            let whole: Vec<u8> = frames.iter().flat_map(|(kind, len)| frame(*kind, *len)).collect();
            let mut found = Vec::new();
            let mut stream = Frames::behind(3);
            for piece in [b"pre", whole.as_slice()].concat().chunks(piece) {
                stream.feed(piece, |head| found.push((head.kind, head.len)));
            }
            prop_assert_eq!(found, frames);
        }
    }

    #[test]
    fn time_and_answers_make_up_for_frames_and_no_more_than_that() {
        let mut budget = budget();
        let began = budget.since;
        (0..BUDGET).for_each(|_| budget.came(PING));
        assert!(!budget.is_spent(began));
        budget.came(PING);
        assert!(budget.is_spent(began));
        assert!(!budget.is_spent(began + Duration::from_secs(1)));
        (0..PER_SECOND).for_each(|_| budget.came(PING));
        assert!(budget.is_spent(began + Duration::from_secs(1)));
        for _ in 0..BUDGET {
            budget.sent(Head { kind: DATA, ..PING });
        }
        assert_eq!(budget.spent, 0, "nothing is saved up");
    }

    #[test]
    fn content_costs_nothing() {
        let mut budget = budget();
        let content = Head { kind: DATA, ..PING };
        let end = Head {
            len: 0,
            flags: END_STREAM,
            ..content
        };
        budget.came(content);
        budget.came(end);
        assert_eq!(budget.spent, 0);
        budget.came(Head { flags: 0, ..end });
        assert_eq!(budget.spent, 1, "nothing and no end");
    }

    #[tokio::test]
    async fn a_flooded_stream_fails() {
        let (mut client, ours) = tokio::io::duplex(1 << 20);
        let (mut counted, flooded) = Counted::new(ours);
        client.write_all(&[0; PREFACE_LEN]).await.unwrap();
        let pings = frame(6, 8).repeat(BUDGET as usize + 1);
        client.write_all(&pings).await.unwrap();
        drop(client);
        let mut read = Vec::new();
        assert!(counted.read_to_end(&mut read).await.is_err());
        assert!(flooded.is_set());
    }
}
