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

use crate::ice::{ClientPath, Counters, DropReason, ServerPath};
use crate::wire::frame::{FIRST_FRAME_LIMIT, FrameReader, FrameTooLong};

use super::inbox::{Arrival, Inbox};
use super::outbox::Outbox;

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
enum Ended {
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
    const fn reason(&self) -> Option<DropReason> {
        match self {
            Self::TooLong(_) => Some(DropReason::FrameTooLong),
            Self::Unauthenticated => Some(DropReason::TcpUnauthenticated),
            Self::Peer | Self::Broken(_) | Self::Idle | Self::Over => None,
        }
    }
}

/// The stream of one connection, where its frames go to and come from, and where its end is counted.
pub(super) struct Connection<'c, IO> {
    pub(super) io: IO,
    pub(super) inbox: &'c Inbox,
    pub(super) outbox: Arc<Outbox>,
    pub(super) counters: &'c Counters,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<'_, IO> {
    /// Serves a client's connection, which begins with `already_read`.
    pub(super) async fn serve_client(self, path: ClientPath, already_read: &[u8]) {
        let Self {
            io,
            inbox,
            outbox,
            counters,
        } = self;
        let (mut reader, mut writer) = tokio::io::split(io);
        let receive = async {
            let mut entry = Entry::new(already_read);
            entry.authenticate(&mut reader, inbox, &outbox, path).await?;
            let Entry {
                mut frames,
                input,
                read,
            } = entry;
            frames.set_limit(MAX_FRAME);
            let mut rest = &input[read..];
            let arrival = Arrival::Client(path);
            pass_on(&mut frames, &mut rest, inbox, arrival).await?;
            drop(input);
            receive(&mut reader, frames, inbox, arrival, Some(IDLE)).await
        };
        let transmit = async {
            outbox.known().await;
            transmit(&mut writer, &outbox, None).await
        };
        both(receive, transmit, &outbox, counters).await;
    }

    /// Serves a connection to a server.
    pub(super) async fn serve_server(self, path: ServerPath) {
        let Self {
            io,
            inbox,
            outbox,
            counters,
        } = self;
        let (mut reader, mut writer) = tokio::io::split(io);
        let frames = FrameReader::new(MAX_FRAME);
        let receive = receive(&mut reader, frames, inbox, Arrival::Server(path), None);
        let transmit = transmit(&mut writer, &outbox, Some(IDLE));
        both(receive, transmit, &outbox, counters).await;
    }
}

/// Runs both directions until one ends, or the connection is to be closed. The end is counted before the peer sees it.
async fn both(
    receive: impl Future<Output = Result<Infallible, Ended>>,
    transmit: impl Future<Output = Result<Infallible, Ended>>,
    outbox: &Outbox,
    counters: &Counters,
) {
    let ended = tokio::select! {
        Err(ended) = receive => ended,
        Err(ended) = transmit => ended,
        refused = outbox.closed() => if refused { Ended::Unauthenticated } else { Ended::Over },
    };
    if let Some(reason) = ended.reason() {
        counters.dropped(reason);
    }
    tracing::trace!(%ended, "ICE-TCP connection ended");
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
            outbox.known().await;
            Ok(())
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use mio::{Poll, Token, Waker};
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::ice::TcpConnId;
    use crate::media::tcp::inbox::Load;
    use crate::media::tcp::outbox::Standing;

    /// A frame with three bytes.
    const FRAME: &[u8] = &[0, 3, 1, 2, 3];

    struct Bench {
        far: DuplexStream,
        inbox: Arc<Inbox>,
        outbox: Arc<Outbox>,
        counters: Arc<Counters>,
        task: JoinHandle<()>,
        started: Instant,
        _poll: Poll,
    }

    fn path() -> ClientPath {
        ClientPath::Tcp {
            conn: TcpConnId(1),
            remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        }
    }

    /// A client's connection that begins with these bytes.
    fn client(already_read: &'static [u8]) -> Bench {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let inbox = Arc::new(Inbox::new(Arc::new(waker)));
        let outbox = Arc::new(Outbox::new(Standing::New));
        let counters = Arc::new(Counters::default());
        let (io, far) = duplex(64 << 10);
        let task = tokio::spawn({
            let (inbox, outbox, counters) = (inbox.clone(), outbox.clone(), counters.clone());
            async move {
                let connection = Connection {
                    io,
                    inbox: &inbox,
                    outbox,
                    counters: &counters,
                };
                connection.serve_client(path(), already_read).await;
            }
        });
        Bench {
            far,
            inbox,
            outbox,
            counters,
            task,
            started: Instant::now(),
            _poll: poll,
        }
    }

    impl Bench {
        /// Waits for the end; gives how long that took, and what was counted as its reason.
        async fn end(self) -> (u64, u64) {
            self.task.await.unwrap();
            let reason = self.counters.drops(DropReason::TcpUnauthenticated);
            (self.started.elapsed().as_secs(), reason)
        }

        fn arrivals(&self) -> Vec<Arrival> {
            let mut load = Load::default();
            self.inbox.take(&mut load);
            load.iter().map(|(arrival, _)| arrival).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_too_little_is_closed_after_ten_seconds() {
        for beginning in [&b""[..], &FRAME[..4]] {
            assert_eq!(client(beginning).end().await, (10, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_waits_for_the_verdict_and_no_longer_than_its_time() {
        let mut bench = client(FRAME);
        bench.far.write_all(FRAME).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(bench.arrivals(), [Arrival::FirstOfClient(path())], "one frame");
        assert_eq!(bench.end().await, (10, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_refused_is_closed_at_once_and_gets_nothing() {
        let mut bench = client(FRAME);
        bench.outbox.push(b"an answer");
        bench.outbox.refuse();
        let mut received = Vec::new();
        bench.far.read_to_end(&mut received).await.unwrap();
        assert!(received.is_empty());
        assert_eq!(bench.end().await, (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_kept_may_be_silent_for_a_minute() {
        let mut bench = client(FRAME);
        bench.outbox.keep();
        tokio::time::sleep(Duration::from_secs(50)).await;
        bench.far.write_all(FRAME).await.unwrap();
        bench.outbox.push(b"an answer");
        let mut received = [0; 11];
        bench.far.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"\0\x09an answer");
        let expected = [Arrival::FirstOfClient(path()), Arrival::Client(path())];
        assert_eq!(bench.arrivals(), expected);
        assert_eq!(bench.end().await, (110, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_with_its_call() {
        let bench = client(FRAME);
        bench.outbox.keep();
        tokio::time::sleep(Duration::from_secs(5)).await;
        bench.outbox.close();
        assert_eq!(bench.end().await, (5, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_frame_is_short() {
        let bench = client(&[4, 1]);
        let counters = bench.counters.clone();
        assert_eq!(bench.end().await, (0, 0));
        assert_eq!(counters.drops(DropReason::FrameTooLong), 1);
    }
}
