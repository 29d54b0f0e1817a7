//! One connection at work: frames in, frames out, until either side has had enough.
//!
//! A client's connection begins with one frame, a check, and is read no further until the shard has said that the
//! check authenticates. Until then it costs a task and a few kilobytes, and gets no answer.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use crate::ice::{ClientPath, DropReason, ServerPath};
use crate::wire::frame::{FIRST_FRAME_LIMIT, FrameReader, FrameTooLong};

use super::inbox::{Arrival, Inbox};
use super::outbox::{Outbox, Standing};

/// For a client to authenticate.
const FIRST_FRAME: Duration = Duration::from_secs(10);
/// Longer than any packet that fits a path, and than anything that a browser sends.
const MAX_FRAME: u16 = 16 << 10;
/// Twice the life of consent: a client that has not checked, or a server that has not been checked, for so long is
/// no part of any call.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes read at once.
const READ: usize = 8 << 10;
/// The same, before a client has authenticated.
const FIRST_READ: usize = 2 << 10;

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the peer has closed it")]
    Peer,
    #[error(transparent)]
    Broken(#[from] io::Error),
    #[error(transparent)]
    TooLong(#[from] FrameTooLong),
    #[error("its first frame does not authenticate")]
    Unauthenticated,
    #[error("it has been idle")]
    Idle,
    #[error("its call is over")]
    Over,
}

impl Ended {
    /// What it is counted as, if it is the peer's fault.
    pub(super) const fn reason(&self) -> Option<DropReason> {
        match self {
            Self::TooLong(_) => Some(DropReason::FrameTooLong),
            Self::Unauthenticated => Some(DropReason::TcpUnauthenticated),
            Self::Peer | Self::Broken(_) | Self::Idle | Self::Over => None,
        }
    }
}

/// The stream of one connection, and where its frames go to and come from.
pub(super) struct Connection<IO> {
    pub(super) io: IO,
    pub(super) inbox: Arc<Inbox>,
    pub(super) outbox: Arc<Outbox>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    /// Serves a client's connection, which begins with `already_read`.
    pub(super) async fn serve_client(self, path: ClientPath, already_read: &[u8]) -> Ended {
        let Self { io, inbox, outbox } = self;
        let (mut reader, mut writer) = tokio::io::split(io);
        let receive = async {
            let mut entry = Entry::new(already_read);
            entry.authenticate(&mut reader, &inbox, &outbox, path).await?;
            let Entry {
                mut frames,
                input,
                read,
            } = entry;
            frames.set_limit(MAX_FRAME);
            let mut rest = &input[read..];
            let arrival = Arrival::Client(path);
            pass_on(&mut frames, &mut rest, &inbox, arrival).await?;
            drop(input);
            receive(&mut reader, frames, &inbox, arrival, Some(IDLE)).await
        };
        let transmit = async {
            outbox.no_longer(Standing::New).await;
            transmit(&mut writer, &outbox, None).await
        };
        both(receive, transmit, &outbox).await
    }

    /// Serves a connection to a server.
    pub(super) async fn serve_server(self, path: ServerPath) -> Ended {
        let Self { io, inbox, outbox } = self;
        let (mut reader, mut writer) = tokio::io::split(io);
        let frames = FrameReader::new(MAX_FRAME);
        let receive = receive(&mut reader, frames, &inbox, Arrival::Server(path), None);
        let transmit = transmit(&mut writer, &outbox, Some(IDLE));
        both(receive, transmit, &outbox).await
    }
}

/// Runs both directions until one ends, or the connection is to be closed.
async fn both(
    receive: impl Future<Output = Result<Infallible, Ended>>,
    transmit: impl Future<Output = Result<Infallible, Ended>>,
    outbox: &Outbox,
) -> Ended {
    tokio::select! {
        Err(ended) = receive => ended,
        Err(ended) = transmit => ended,
        () = outbox.closed() => Ended::Over,
    }
}

/// The beginning of a client's connection.
struct Entry {
    frames: FrameReader,
    input: Vec<u8>,
    /// How much of `input` has been taken.
    read: usize,
}

impl Entry {
    fn new(already_read: &[u8]) -> Self {
        Self {
            frames: FrameReader::new(FIRST_FRAME_LIMIT),
            input: already_read.to_vec(),
            read: 0,
        }
    }

    /// Gives the first frame to the shard and waits for its verdict.
    async fn authenticate(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        inbox: &Inbox,
        outbox: &Outbox,
        path: ClientPath,
    ) -> Result<(), Ended> {
        let deadline = Instant::now() + FIRST_FRAME;
        let verdict = async {
            while !self.pass_first_on(inbox, path).await? {
                self.input.resize(FIRST_READ, 0);
                let len = reader.read(&mut self.input).await?;
                self.input.truncate(len);
                self.read = 0;
                if len == 0 {
                    return Err(Ended::Peer);
                }
            }
            match outbox.no_longer(Standing::New).await {
                Standing::Known => Ok(()),
                Standing::New | Standing::Over => Err(Ended::Unauthenticated),
            }
        };
        timeout_at(deadline, verdict)
            .await
            .unwrap_or(Err(Ended::Unauthenticated))
    }

    async fn pass_first_on(&mut self, inbox: &Inbox, path: ClientPath) -> Result<bool, Ended> {
        let mut rest = &self.input[self.read..];
        let Some(frame) = self.frames.next_frame(&mut rest)? else {
            return Ok(false);
        };
        inbox.put(Arrival::FirstOfClient(path), frame).await;
        self.read = self.input.len() - rest.len();
        Ok(true)
    }
}

async fn pass_on(
    frames: &mut FrameReader,
    input: &mut &[u8],
    inbox: &Inbox,
    arrival: Arrival,
) -> Result<(), FrameTooLong> {
    while let Some(frame) = frames.next_frame(input)? {
        inbox.put(arrival, frame).await;
    }
    Ok(())
}

/// Gives frames to the shard for as long as the peer sends some.
async fn receive(
    reader: &mut (impl AsyncRead + Unpin),
    mut frames: FrameReader,
    inbox: &Inbox,
    arrival: Arrival,
    idle: Option<Duration>,
) -> Result<Infallible, Ended> {
    let mut buffer = vec![0; READ];
    loop {
        let len = within(idle, reader.read(&mut buffer)).await??;
        if len == 0 {
            return Err(Ended::Peer);
        }
        pass_on(&mut frames, &mut &buffer[..len], inbox, arrival).await?;
    }
}

/// Writes what is queued for the peer.
async fn transmit(
    writer: &mut (impl AsyncWrite + Unpin),
    outbox: &Outbox,
    idle: Option<Duration>,
) -> Result<Infallible, Ended> {
    let mut batch = Vec::new();
    loop {
        within(idle, outbox.next_batch(&mut batch)).await?;
        writer.write_all(&batch).await?;
        writer.flush().await?;
        batch.clear();
    }
}

async fn within<T>(limit: Option<Duration>, step: impl Future<Output = T>) -> Result<T, Ended> {
    match limit {
        Some(limit) => timeout(limit, step).await.map_err(|_| Ended::Idle),
        None => Ok(step.await),
    }
}
