//! The table of calls and the UDP socket that they share.
//!
//! One task receives and routes, one task per call drives it. An ICE check goes to the call that its USERNAME
//! names; everything else goes to the call to which a check with a good MESSAGE-INTEGRITY came from that
//! address. No packet is offered to one call after the other.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::config::DtlsCert;
use str0m::ice::StunMessage;
use str0m::{IceCreds, RtcError};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use super::echo::{Echo, Step};

/// Datagrams that may wait for a call's task. A few video frames; more is latency, not throughput.
const FEED: usize = 256;
/// Addresses from which one call may be reached. A peer has a handful; the bound is against forged thousands.
const PEERS_PER_CALL: usize = 16;
/// Largest datagram that is read whole; WebRTC keeps to about 1200 bytes.
const DATAGRAM: usize = 2048;
/// How long a farewell may take to be sent.
const FAREWELL: Duration = Duration::from_millis(100);

/// How much the server takes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Calls at the same time.
    pub(super) calls: usize,
    /// A call ends when its peer has been silent for this long, from the answer on.
    pub(super) idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // 30 s is the consent timeout of RFC 7675: a peer that is there sends a check more often.
        Self {
            calls: 64,
            idle: Duration::from_secs(30),
        }
    }
}

/// Why a call is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// [`Limits::calls`] is reached.
    #[error("the echo server is busy with {0} calls, try again later")]
    Busy(usize),
    /// The offer parses, but cannot be answered.
    #[error("the offer cannot be answered: {0}")]
    Offer(#[from] RtcError),
    /// The system gives no randomness.
    #[error("no randomness for credentials: {0}")]
    Entropy(#[from] getrandom::Error),
}

/// A call that was taken.
#[derive(Debug)]
pub(super) struct Opened {
    /// Names the call towards its owner; nobody else can guess it.
    pub(super) id: String,
    /// The SDP answer.
    pub(super) answer: String,
}

/// All calls of one echo server.
#[derive(Debug)]
pub(super) struct Calls {
    socket: UdpSocket,
    local: SocketAddr,
    certificate: DtlsCert,
    limits: Limits,
    table: Mutex<Table>,
}

/// A call's local ICE user name fragment: its key, since that is what a check names it by.
type Ufrag = Arc<str>;

#[derive(Debug, Default)]
struct Table {
    /// Closing a feed hangs the call up.
    feeds: HashMap<Ufrag, mpsc::Sender<Datagram>>,
    /// Resource id, as in the `Location`.
    ids: HashMap<String, Ufrag>,
    /// Remote addresses that a call's checks have proven.
    peers: HashMap<SocketAddr, Ufrag>,
}

#[derive(Debug)]
struct Datagram {
    source: SocketAddr,
    received: Instant,
    bytes: Vec<u8>,
}

impl Calls {
    /// `local` is the address of `socket`.
    ///
    /// # Errors
    /// When no DTLS certificate can be made.
    pub(super) fn new(socket: UdpSocket, local: SocketAddr, limits: Limits) -> io::Result<Self> {
        let certificate = str0m::crypto::from_feature_flags()
            .dtls_provider
            .generate_certificate()
            .ok_or_else(|| io::Error::other("the DTLS library cannot make a certificate"))?;
        Ok(Self {
            socket,
            local,
            certificate,
            limits,
            table: Mutex::default(),
        })
    }

    /// Answers `offer` and starts the call.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(super) fn open(self: &Arc<Self>, offer: SdpOffer) -> Result<Opened, Refusal> {
        if self.table().feeds.len() >= self.limits.calls {
            return Err(Refusal::Busy(self.limits.calls));
        }
        let id = random_hex::<16>()?;
        // RFC 8445 5.3: at least 24 bits of randomness in the one, 128 in the other.
        let credentials = IceCreds {
            ufrag: random_hex::<8>()?,
            pass: random_hex::<16>()?,
        };
        let ufrag = Ufrag::from(credentials.ufrag.as_str());
        let (echo, answer) = Echo::answer(
            offer,
            self.local,
            credentials,
            self.certificate.clone(),
            Instant::now(),
        )?;
        let (feed, datagrams) = mpsc::channel(FEED);
        {
            let mut table = self.table();
            // Asked again: other offers may have been answered in between.
            if table.feeds.len() >= self.limits.calls {
                return Err(Refusal::Busy(self.limits.calls));
            }
            table.feeds.insert(Arc::clone(&ufrag), feed);
            table.ids.insert(id.clone(), Arc::clone(&ufrag));
        }
        tokio::spawn(Arc::clone(self).drive(ufrag, echo, datagrams));
        Ok(Opened { id, answer })
    }

    /// Ends the call that `id` names; false when there is none.
    pub(super) fn hang_up(&self, id: &str) -> bool {
        let mut table = self.table();
        let Some(ufrag) = table.ids.get(id).cloned() else {
            return false;
        };
        table.remove(&ufrag);
        true
    }

    /// Ends every call.
    pub(super) fn hang_up_all(&self) {
        *self.table() = Table::default();
    }

    /// Receives for all calls, for ever.
    pub(super) async fn receive(self: Arc<Self>) {
        let mut buffer = [0; DATAGRAM];
        loop {
            // On Linux a failed receive reports an earlier send (a peer's closed port): of no interest here.
            let Ok((length, source)) = self.socket.recv_from(&mut buffer).await else {
                continue;
            };
            let Some(bytes) = buffer.get(..length) else {
                continue;
            };
            if let Some(feed) = self.table().route(source, bytes) {
                // A full feed is a lost packet, as on any network.
                let _ = feed.try_send(Datagram {
                    source,
                    received: Instant::now(),
                    bytes: bytes.to_vec(),
                });
            }
        }
    }

    /// Runs one call to its end.
    async fn drive(self: Arc<Self>, ufrag: Ufrag, mut echo: Echo, mut datagrams: mpsc::Receiver<Datagram>) {
        let mut idle_at = Instant::now() + self.limits.idle;
        let mut peers = HashSet::new();
        while let Some(deadline) = self.flush(&mut echo).await {
            tokio::select! {
                datagram = datagrams.recv() => {
                    let Some(Datagram { source, received, bytes }) = datagram else { break };
                    if echo.receive(source, &bytes, received) {
                        idle_at = received + self.limits.idle;
                        if peers.len() < PEERS_PER_CALL && peers.insert(source) {
                            self.table().bind(source, &ufrag);
                        }
                    }
                }
                () = sleep_until(deadline.min(idle_at).into()) => {
                    let now = Instant::now();
                    if now >= idle_at {
                        break;
                    }
                    echo.tick(now);
                }
            }
        }
        self.table().remove(&ufrag);
        echo.hang_up();
        // Best effort: a peer that misses the farewell notices by the silence.
        let _ = timeout(FAREWELL, self.flush(&mut echo)).await;
    }

    /// Sends what the call has to send; returns its next deadline, `None` when it is over.
    async fn flush(&self, echo: &mut Echo) -> Option<Instant> {
        loop {
            match echo.poll() {
                // A failed send is a lost packet, which ICE and RTP are made for.
                Step::Send(transmit) => {
                    let _ = self
                        .socket
                        .send_to(&transmit.contents, transmit.destination)
                        .await;
                }
                Step::Wait(deadline) => return Some(deadline),
                Step::Over => return None,
            }
        }
    }

    /// The table is consistent between any two statements, so a panic elsewhere does not spoil it.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn route(&self, source: SocketAddr, datagram: &[u8]) -> Option<&mpsc::Sender<Datagram>> {
        let ufrag = match checked_ufrag(datagram) {
            Some(ufrag) => ufrag,
            None => self.peers.get(&source)?.to_string(),
        };
        self.feeds.get(ufrag.as_str())
    }

    /// Binds an address to a call. An address that another call had is that call's no more: its newest check
    /// is what a peer last said.
    fn bind(&mut self, source: SocketAddr, ufrag: &Ufrag) {
        if self.feeds.contains_key(ufrag) {
            self.peers.insert(source, Arc::clone(ufrag));
        }
    }

    fn remove(&mut self, ufrag: &Ufrag) {
        self.feeds.remove(ufrag);
        self.ids.retain(|_, of| of != ufrag);
        self.peers.retain(|_, of| of != ufrag);
    }
}

/// The callee's user name fragment in an ICE check (RFC 8445 7.2.2: `callee:caller`), `None` for all else.
fn checked_ufrag(datagram: &[u8]) -> Option<String> {
    // RFC 7983: STUN starts with 0 to 3. Spares media a parse.
    if !matches!(datagram.first(), Some(0..=3)) {
        return None;
    }
    let message = StunMessage::parse(datagram).ok()?;
    if !message.is_binding_request() {
        return None;
    }
    Some(message.split_username()?.0.to_owned())
}

/// `N` random bytes in hexadecimal, which is within the ice-char alphabet.
fn random_hex<const N: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::with_capacity(2 * N), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
