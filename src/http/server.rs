//! Accepts connections for a service, within limits, until told to stop.
//!
//! What a connection speaks is the business of [`Front`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::config;

use super::drain::{Admission, Phase};
use super::front::{Front, Guest};
use super::networks::Networks;
use super::ports::ConnInfo;
use super::slots::Slots;

/// Pause after an error that would only come again at once, such as having no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// After the deadline, time for close frames to go out.
const CLOSING_TIME: Duration = Duration::from_secs(5);
/// A client whose machine vanished is noticed after idle + 3 intervals, or when it leaves data unacknowledged this
/// long.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
const FIRST_BYTES: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 16_384;
/// What the kernel may hold of what it has not sent yet: behind more of it, what is urgent on ICE-TCP would be late.
const UNSENT: u32 = 16 * 1024;

/// Bounds on a client connection; what bounds its requests is their route's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, WebSockets among them; more are closed at once.
    pub connections: usize,
    /// The same of one client network; `None`: any number.
    pub per_network: Option<config::NetworkConnections>,
    /// For a connection to tell what it speaks, and for its TLS handshake.
    pub first_bytes_timeout: Duration,
    /// For the headers of a request to be complete.
    pub header_timeout: Duration,
    /// For the next request.
    pub idle_timeout: Duration,
    /// For the client to take the next piece of what it is sent.
    pub send_timeout: Duration,
}

impl Limits {
    /// Those of a section, with as many connections as there are by default.
    #[must_use]
    pub fn of(config: &config::Limits) -> Self {
        Self {
            first_bytes_timeout: FIRST_BYTES,
            connections: CONNECTIONS,
            per_network: None,
            header_timeout: config.header_timeout,
            idle_timeout: config.idle_timeout,
            send_timeout: config.send_timeout,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(&config::Limits::default())
    }
}

/// A running server. Dropping it ends everything at once; [`Self::shutdown`] does it in order.
#[derive(Debug)]
pub struct Server {
    addrs: Vec<SocketAddr>,
    phase: watch::Sender<Phase>,
    front: Arc<ArcSwap<Front>>,
    slots: Arc<Slots>,
    networks: Arc<Networks>,
    acceptors: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves what comes to the listeners of [`super::bind`]. To be called within a tokio runtime.
    ///
    /// # Errors
    /// A listener that does not know its address.
    pub fn start(listeners: Vec<TcpListener>, front: Front) -> io::Result<Self> {
        let addrs = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<io::Result<_>>()?;
        let (phase, _) = watch::channel(Phase::Running);
        let slots = Arc::new(Slots::new(front.limits.connections));
        let networks = Arc::new(Networks::new(front.limits.per_network));
        let front = Arc::new(ArcSwap::from_pointee(front));
        let acceptors = listeners
            .into_iter()
            .map(|listener| {
                let acceptor = Acceptor {
                    front: front.clone(),
                    slots: slots.clone(),
                    networks: networks.clone(),
                    admission: Admission::new(&phase),
                };
                tokio::spawn(acceptor.run(listener))
            })
            .collect();
        Ok(Self {
            addrs,
            phase,
            front,
            slots,
            networks,
            acceptors,
        })
    }

    /// The addresses that are listened on, with the ports that were taken.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Gives the next connections another front; those that are there stay with theirs.
    pub fn replace(&self, front: Front) {
        self.slots.resize(front.limits.connections);
        self.networks.resize(front.limits.per_network);
        self.front.store(Arc::new(front));
    }

    /// Stops accepting, closes idle connections, lets requests finish and WebSockets go on until `deadline` has
    /// passed, then closes WebSockets with code 1001 and drops the rest. Returns as soon as nothing is left.
    pub async fn shutdown(self, deadline: Duration) {
        self.phase.send_replace(Phase::Draining);
        for acceptor in self.acceptors {
            // Its listener is closed when it has returned.
            let _ = acceptor.await;
        }
        if timeout(deadline, self.phase.closed()).await.is_err() {
            self.phase.send_replace(Phase::Closing);
            let _ = timeout(CLOSING_TIME, self.phase.closed()).await;
        }
    }
}

struct Acceptor {
    front: Arc<ArcSwap<Front>>,
    slots: Arc<Slots>,
    networks: Arc<Networks>,
    admission: Admission,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let mut stop = self.admission.clone();
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.reached(Phase::Draining) => return,
            };
            match accepted {
                Ok((stream, remote)) => {
                    failing = false;
                    self.admit(stream, remote);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.front.load().counters.accept_errors.add();
                    // Once for each time of trouble: clients can bring it about.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "cannot accept connections");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, remote: SocketAddr) {
        let front = self.front.load_full();
        let counters = &front.counters;
        let Some(slot) = self.slots.take() else {
            counters.connections_refused.add();
            return;
        };
        let mut admission = self.admission.with_slot(slot);
        // A trusted proxy has the connections of many; whose they are it tells later.
        if !front.trusts(remote.ip()) {
            let Some(place) = self.networks.take(remote.ip()) else {
                counters.connections_refused_network.add();
                return;
            };
            admission = admission.with_place(place);
        }
        counters.connections.add();
        let Ok(local) = stream.local_addr() else {
            return;
        };
        tune(&stream);
        let conn = ConnInfo {
            local,
            remote,
            secure: false,
        };
        let guest = Guest {
            front,
            conn,
            networks: self.networks.clone(),
            admission,
        };
        tokio::spawn(guest.serve(stream));
    }
}

/// Best effort: a connection without these options is still one.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(3);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
}

/// Errors of a connection that died while it waited to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
