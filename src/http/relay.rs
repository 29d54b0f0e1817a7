//! The two directions of an established WebSocket, message by message, and its end.
//!
//! Text may be rewritten on its way; binary messages pass, and so do pings and the pongs that answer none ([`Pings`]).
//! Back-pressure is per direction: a message is read only when the one before it has been taken. Whatever ends one leg
//! ends the other at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt as _, Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::config::Limits;
use crate::signaling::Direction;
use crate::upstream::Lease;

use super::claim::{Claims, Denial};
use super::context::Signalling;
use super::drain::{Admission, Phase};
use super::pings::Pings;
use super::visit::Visit;

/// Messages that are passed on with one flush, if that many are there at once.
const BATCH: usize = 32;
/// How long a closing handshake may take.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why two halves fit together.
const ONE_LEG: &str = "both halves are of one leg";

/// How one direction ended.
enum End {
    /// The sender closed, with this frame.
    Closed(Option<CloseFrame>),
    /// The sender's connection ended without a close frame.
    SenderGone,
    /// The sender broke the protocol or a limit.
    SenderFaulty(CloseCode),
    /// The receiver's connection broke.
    ReceiverGone,
    /// The server knows nothing of what its client came for, and others may.
    Denied(Box<Denial>),
}

/// A WebSocket whose client is to get another server.
pub(super) struct Denied<C, S> {
    pub(super) client: WebSocketStream<C>,
    pub(super) server: WebSocketStream<S>,
    pub(super) denial: Box<Denial>,
}

/// What one leg is owed at the end.
enum Farewell {
    /// It is closing already; the handshake must be completed.
    Answer,
    /// A close frame, then its answer.
    Close(Option<CloseFrame>),
    /// Nothing: the connection is gone.
    Drop,
}

/// What a WebSocket is subject to on its way through.
pub(super) struct Passage {
    pub(super) signalling: Signalling,
    pub(super) admission: Admission,
    pub(super) limits: Arc<Limits>,
    /// For the client to take the next message.
    pub(super) send_timeout: Duration,
    pub(super) visit: Arc<Visit>,
    /// Which of several servers it is for, as long as that is open.
    pub(super) claims: Claims,
    /// Held to its end: the server counts as busy with it.
    pub(super) lease: Arc<Lease>,
}

impl Passage {
    fn ended(&self, end: &End) {
        match end {
            End::Closed(_) => self.visit.completed(),
            End::SenderFaulty(CloseCode::Size) => {
                self.signalling.shared.counters.websocket_messages_too_long.add();
            }
            End::SenderFaulty(_) | End::SenderGone | End::ReceiverGone | End::Denied(_) => {}
        }
    }
}

/// What both directions know of each other.
struct Traffic {
    /// When the last message passed, in either direction.
    last: Mutex<Instant>,
    to_server: Pings,
    to_client: Pings,
}

impl Traffic {
    fn new() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            to_server: Pings::default(),
            to_client: Pings::default(),
        }
    }

    fn passed(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether a message ends here: the pong to a ping that has been answered already.
    fn ends(&self, message: &Message, direction: Direction) -> bool {
        let (same, other) = match direction {
            Direction::ToServer => (&self.to_server, &self.to_client),
            Direction::ToClient => (&self.to_client, &self.to_server),
        };
        match message {
            Message::Ping(payload) => {
                same.passed(payload.clone());
                false
            }
            Message::Pong(payload) => other.answered(payload),
            Message::Text(_) | Message::Binary(_) | Message::Close(_) | Message::Frame(_) => false,
        }
    }

    /// Returns when nothing has passed for `patience`; without one never.
    async fn ceased(&self, patience: Option<Duration>) {
        let Some(patience) = patience else {
            return std::future::pending().await;
        };
        loop {
            let deadline = *self.last.lock().unwrap_or_else(PoisonError::into_inner) + patience;
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

/// Relays until one side ends, nothing has passed for too long or the server closes, then ends what is left; or until
/// it shows that another server must be asked.
pub(super) async fn relay<C, S>(
    client: WebSocketStream<C>,
    server: WebSocketStream<S>,
    passage: &Passage,
) -> Option<Denied<C, S>>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut to_client, mut from_client) = client.split();
    let (mut to_server, mut from_server) = server.split();
    let traffic = Traffic::new();
    let mut admission = passage.admission.clone();
    let (client_farewell, server_farewell) = tokio::select! {
        end = pump(&mut from_client, &mut to_server, passage, &traffic, Direction::ToServer) => {
            passage.ended(&end);
            farewells(end)
        }
        end = pump(&mut from_server, &mut to_client, passage, &traffic, Direction::ToClient) => {
            if let End::Denied(denial) = end {
                let client = from_client.reunite(to_client).expect(ONE_LEG);
                let server = from_server.reunite(to_server).expect(ONE_LEG);
                return Some(Denied { client, server, denial });
            }
            passage.ended(&end);
            let (server, client) = farewells(end);
            (client, server)
        }
        () = traffic.ceased(passage.limits.websocket_idle_timeout) => {
            passage.signalling.shared.counters.websockets_idle.add();
            (going_away(), going_away())
        }
        () = admission.reached(Phase::Closing) => (going_away(), going_away()),
    };
    tokio::join!(
        part(from_client, to_client, client_farewell),
        part(from_server, to_server, server_farewell),
    );
    None
}

/// Passes messages on until the direction ends, the last one included.
async fn pump<R, W>(
    from: &mut R,
    to: &mut W,
    passage: &Passage,
    traffic: &Traffic,
    direction: Direction,
) -> End
where
    R: Stream<Item = Result<Message, Error>> + Unpin,
    W: Sink<Message, Error = Error> + Unpin,
{
    let end = pass_on(from, to, passage, traffic, direction).await;
    if !matches!(end, End::ReceiverGone) {
        // A half keeps the last message that was fed to it until it is flushed, and loses it when it is put together
        // with the other. A receiver that does not take it is no reason to wait.
        let _ = timeout(CLOSE_TIMEOUT, to.flush()).await;
    }
    end
}

async fn pass_on<R, W>(
    from: &mut R,
    to: &mut W,
    passage: &Passage,
    traffic: &Traffic,
    direction: Direction,
) -> End
where
    R: Stream<Item = Result<Message, Error>> + Unpin,
    W: Sink<Message, Error = Error> + Unpin,
{
    loop {
        let mut next = from.next().await;
        for left in (0..BATCH).rev() {
            let message = match next {
                Some(Ok(Message::Close(frame))) => return End::Closed(frame),
                Some(Ok(message)) => message,
                Some(Err(error)) => return fault(&error),
                None => return End::SenderGone,
            };
            traffic.passed();
            match direction {
                Direction::ToServer => passage.claims.said(&message),
                Direction::ToClient => {
                    if let Some(denial) = passage.claims.answered(&message) {
                        return End::Denied(Box::new(denial));
                    }
                }
            }
            let received = message.len();
            let message = rewritten(message, &passage.signalling, direction);
            match direction {
                Direction::ToServer => passage.visit.received(received),
                Direction::ToClient => passage.visit.sent(message.len()),
            }
            if !traffic.ends(&message, direction) && !taken(to.feed(message), passage, direction).await {
                return End::ReceiverGone;
            }
            let ready = if left > 0 {
                from.next().now_or_never()
            } else {
                None
            };
            match ready {
                Some(ready) => next = ready,
                None => break,
            }
        }
        if !taken(to.flush(), passage, direction).await {
            return End::ReceiverGone;
        }
    }
}

/// Whether the receiver takes what is sent to it; a client has a time for that.
async fn taken(
    sending: impl Future<Output = Result<(), Error>>,
    passage: &Passage,
    direction: Direction,
) -> bool {
    match direction {
        Direction::ToServer => sending.await.is_ok(),
        Direction::ToClient => match timeout(passage.send_timeout, sending).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                passage.signalling.shared.counters.sends_stalled.add();
                false
            }
        },
    }
}

fn rewritten(message: Message, signalling: &Signalling, direction: Direction) -> Message {
    let Message::Text(text) = &message else {
        return message;
    };
    let body = signalling.rewrite(direction, text.as_bytes());
    match body.map(String::from_utf8) {
        Some(Ok(body)) => Message::Text(Utf8Bytes::from(body)),
        Some(Err(_)) | None => message,
    }
}

fn fault(error: &Error) -> End {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => End::SenderFaulty(CloseCode::Size),
        Error::Utf8(_) => End::SenderFaulty(CloseCode::Invalid),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::SenderGone,
        Error::Protocol(_) | Error::Capacity(_) => End::SenderFaulty(CloseCode::Protocol),
        _ => End::SenderGone,
    }
}

/// What the sender and the receiver of an ended direction are owed.
fn farewells(end: End) -> (Farewell, Farewell) {
    match end {
        End::Closed(frame) => {
            // A code that must not be sent (RFC 6455 section 7.4.1) is passed on as none.
            let frame = frame.filter(|frame| frame.code.is_allowed());
            (Farewell::Answer, Farewell::Close(frame))
        }
        End::SenderGone => (Farewell::Drop, going_away()),
        End::SenderFaulty(code) => (closing(code), going_away()),
        // Denied only where there is nothing to end.
        End::ReceiverGone | End::Denied(_) => (going_away(), Farewell::Drop),
    }
}

fn going_away() -> Farewell {
    closing(CloseCode::Away)
}

fn closing(code: CloseCode) -> Farewell {
    Farewell::Close(Some(CloseFrame {
        code,
        reason: Utf8Bytes::default(),
    }))
}

/// Ends one leg: the closing handshake, then the connection. If the peer does not complete the handshake, what it sends
/// is read all the same: unread bytes would turn the end into a reset, which may overtake the close frame.
async fn part<IO>(
    from: SplitStream<WebSocketStream<IO>>,
    to: SplitSink<WebSocketStream<IO>, Message>,
    farewell: Farewell,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut leg = from.reunite(to).expect(ONE_LEG);
    let ending = async {
        let mut closed = match farewell {
            Farewell::Drop => return Ok(()),
            Farewell::Answer => true,
            Farewell::Close(frame) => {
                leg.send(Message::Close(frame)).await?;
                false
            }
        };
        while let Some(Ok(message)) = leg.next().await {
            closed |= message.is_close();
        }
        leg.get_mut().shutdown().await?;
        let mut rest = [0; 1024];
        while !closed && leg.get_mut().read(&mut rest).await? > 0 {}
        Ok::<_, Error>(())
    };
    // A peer that is gone or does not answer is left to its fate.
    let _ = timeout(CLOSE_TIMEOUT, ending).await;
}
