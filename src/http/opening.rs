//! The first bytes of a connection: read until they tell what it speaks, then put back in front of the stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::wire::sniff::{Sniffed, sniff};

use super::proxy_protocol::{self, Parsed, Via};

/// Read before the protocol is known, at most: the longest PROXY header that is taken, and what fits in beside it.
const MAX_READ: usize = proxy_protocol::MAX_HEADER;
/// What is set aside for a connection that has sent nothing yet; enough for most first requests.
const FIRST_READ: usize = 1024;

/// Why a beginning leads to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpeningError {
    /// The stream ended or broke.
    #[error("the connection ended before it told what it speaks")]
    Left,
    /// A PROXY header that is none.
    #[error("the PROXY protocol header is malformed")]
    ProxyMalformed,
}

/// A stream that nothing has been taken from yet.
pub(super) struct Opening<IO> {
    io: IO,
    read: BytesMut,
}

impl<IO: AsyncRead + Unpin> Opening<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self {
            io,
            read: BytesMut::with_capacity(FIRST_READ),
        }
    }

    /// Reads until the protocol is known.
    pub(super) async fn protocol(&mut self) -> Result<Sniffed, OpeningError> {
        loop {
            match sniff(&self.read) {
                Sniffed::NeedMore => self.read_more().await?,
                known => return Ok(known),
            }
        }
    }

    /// Takes the PROXY header that the stream begins with off it.
    pub(super) async fn proxy_header(&mut self) -> Result<Via, OpeningError> {
        loop {
            match proxy_protocol::parse(&self.read) {
                Ok(Parsed::Header { via, len }) => {
                    drop(self.read.split_to(len));
                    return Ok(via);
                }
                Ok(Parsed::NeedMore) => self.read_more().await?,
                Err(proxy_protocol::Malformed) => return Err(OpeningError::ProxyMalformed),
            }
        }
    }

    /// Takes `len` bytes off the stream.
    pub(super) async fn take(&mut self, len: usize) -> Result<Bytes, OpeningError> {
        while self.read.len() < len {
            self.read_more().await?;
        }
        Ok(self.read.split_to(len).freeze())
    }

    async fn read_more(&mut self) -> Result<(), OpeningError> {
        let room = MAX_READ.saturating_sub(self.read.len());
        match self.io.read_buf(&mut (&mut self.read).limit(room)).await {
            Ok(0) | Err(_) => Err(OpeningError::Left),
            Ok(_) => Ok(()),
        }
    }

    pub(super) fn stream(&mut self) -> &mut IO {
        &mut self.io
    }

    /// The stream, and what has been read of it.
    pub(super) fn into_parts(self) -> (IO, Bytes) {
        (self.io, self.read.freeze())
    }

    /// The stream from its beginning.
    pub(super) fn rewound(self) -> Rewound<IO> {
        let (io, read) = self.into_parts();
        Rewound { io, read }
    }
}

/// A stream with bytes put back in front of it.
#[derive(Debug)]
pub(super) struct Rewound<IO> {
    io: IO,
    read: Bytes,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rewound<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let len = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read.split_to(len));
        if self.read.is_empty() {
            // Gives the memory back: the connection may live for days.
            self.read = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Rewound<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
