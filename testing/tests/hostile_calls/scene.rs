//! A daemon with calls in progress, and the means to attack it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use xrtc_testing::calls::stun::Credentials;
use xrtc_testing::calls::{
    self, Caller, Daemon, EchoServer, MAX_RUN, Metrics, Ports, Route, Setup, settle, signal,
};
use xrtc_testing::lab::{Result, WorkDir};

/// Only a broken build waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The name under which the daemon counts what the kernel had no room for.
pub(crate) const RECEIVE_BUFFER: &str = "receive_buffer";
/// Messages of each call that have to come back after an attack.
const MESSAGES: u64 = 20;
const CALLS_PER_ROUTE: usize = 2;

/// The daemon under attack, its server, and two calls by each route.
pub(crate) struct Scene {
    pub(crate) daemon: Daemon,
    pub(crate) server: EchoServer,
    pub(crate) callers: Vec<(Route, Caller)>,
    /// Where the calls go with which attacks are fenced: it answers nothing.
    silent: UdpSocket,
    strays: u64,
    serial: AtomicU32,
    fences: AtomicU64,
}

/// Sets the scene, runs `attack`, and sees that the calls have lost nothing.
pub(crate) fn with_calls(attack: impl AsyncFn(&Scene, &WorkDir) -> Result<()>) {
    calls::scope(async |work| {
        let server = EchoServer::start(Ports::PerCall).await?;
        let setup = Setup::new(server.http, work);
        let scene = Scene::set(server, &setup, work).await?;
        attack(&scene, work).await?;
        scene.has_lost_nothing().await
    });
}

impl Scene {
    pub(crate) async fn set(server: EchoServer, setup: &Setup, work: &WorkDir) -> Result<Self> {
        let daemon = Daemon::start("xrtc", setup, work)?;
        let mut callers = Vec::new();
        for route in Route::ALL {
            for number in 0..CALLS_PER_ROUTE {
                let name = format!("{route:?}-{number}");
                let caller = Caller::start(daemon.http, daemon.media, route, &name).await?;
                callers.push((route, caller));
            }
        }
        for (_, caller) in &callers {
            caller.reach(1, PATIENCE).await?;
        }
        Ok(Self {
            daemon,
            strays: server.strays(),
            server,
            callers,
            silent: UdpSocket::bind("127.0.0.1:0").await?,
            serial: AtomicU32::new(0),
            fences: AtomicU64::new(0),
        })
    }

    /// A name that no call has yet.
    pub(crate) fn new_name(&self) -> String {
        format!("attack-{}", self.serial.fetch_add(1, Ordering::Relaxed))
    }

    /// A call by `route` that was signalled and not begun, to a server that does not answer.
    pub(crate) async fn signalled(&self, route: Route) -> Result<Credentials> {
        let silent = self.silent.local_addr()?;
        let path = format!("{}/{}?candidates={silent}", route.path(), self.new_name());
        signal(self.daemon.http, &path).await
    }

    /// Sends packets to the media port from an address of their own. None may be answered, all have to be refused for
    /// `reasons` (one or another of them), and there may be no more calls than before.
    pub(crate) async fn refuses(&self, what: &str, packets: &[Vec<u8>], reasons: &[&str]) -> Result<()> {
        let count = packets.len() as u64;
        self.refuses_what(what, count, reasons, async |attacker| {
            for packet in packets {
                attacker.send(packet).await?;
            }
            Ok(())
        })
        .await
    }

    /// As [`Self::refuses`], of whatever `attack` sends: `count` packets.
    pub(crate) async fn refuses_what(
        &self,
        what: &str,
        count: u64,
        reasons: &[&str],
        attack: impl AsyncFnOnce(&UdpSocket) -> Result<()>,
    ) -> Result<()> {
        let fence = self.signalled(Route::Hijack).await?;
        fence.exchange(&self.socket().await?).await?;
        let before = self.daemon.metrics().await?;
        let attacker = self.socket().await?;
        attack(&attacker).await?;
        fence.exchange(&attacker).await?;
        self.fences.fetch_add(1, Ordering::Relaxed);
        let after = self.daemon.metrics().await?;
        assert_refused(what, &before, &after, count, reasons);
        Ok(())
    }

    /// How many packets have been refused for `reason` since `before`.
    pub(crate) async fn refused(&self, before: &Metrics, reason: &str) -> Result<u64> {
        let refused = self.daemon.metrics().await?.refused_since(before);
        Ok(refused.get(reason).copied().unwrap_or(0))
    }

    /// What the daemon counts, as soon as that is `enough`, or when it has not become so for long.
    pub(crate) async fn metrics_once(&self, enough: impl Fn(&Metrics) -> bool) -> Result<Metrics> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.daemon.metrics().await?;
            if enough(&metrics) || Instant::now() > deadline {
                return Ok(metrics);
            }
        }
    }

    /// A socket that is connected to the media port.
    pub(crate) async fn socket(&self) -> Result<UdpSocket> {
        connected(self.daemon.media).await
    }

    /// Every call goes on; each of its messages has come back, and nothing else has.
    pub(crate) async fn has_lost_nothing(&self) -> Result<()> {
        self.goes_on(MESSAGES).await?;
        let callers: Vec<&Caller> = self.callers.iter().map(|(_, caller)| caller).collect();
        settle(callers, &self.daemon, PATIENCE).await?;
        // A fence is one call on two sockets.
        let fences = self.fences.load(Ordering::Relaxed);
        assert_eq!(self.daemon.metrics().await?.media("downlink_moved"), fences);
        assert_eq!(
            self.server.strays(),
            self.strays,
            "no packet of an attack reached the server"
        );
        Ok(())
    }

    /// So many more messages of every call come back.
    pub(crate) async fn goes_on(&self, messages: u64) -> Result<()> {
        let goals: Vec<u64> = self
            .callers
            .iter()
            .map(|(_, caller)| caller.progress().echoed + messages)
            .collect();
        for ((_, caller), goal) in self.callers.iter().zip(goals) {
            caller.reach(goal, PATIENCE).await?;
        }
        Ok(())
    }
}

pub(crate) async fn connected(to: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// Exactly so many refusals, all for these reasons, and no call more or less. Packets for which the kernel had no room do
/// not count as refused, nor as missing.
pub(crate) fn assert_refused(what: &str, before: &Metrics, after: &Metrics, count: u64, reasons: &[&str]) {
    let mut refused = after.refused_since(before);
    let dropped = refused.remove(RECEIVE_BUFFER).unwrap_or(0);
    let missing = count.checked_sub(refused.values().sum());
    assert!(
        missing.is_some_and(|missing| missing <= dropped * MAX_RUN),
        "{what}: {refused:?} of {count}, {dropped} dropped by the kernel"
    );
    assert!(
        refused.keys().all(|reason| reasons.contains(&reason.as_str())),
        "{what}: {refused:?} instead of {reasons:?}"
    );
    assert_eq!(before.sessions(), after.sessions(), "{what}: calls");
    for event in ["sessions_opened", "sessions_closed"] {
        assert_eq!(before.media(event), after.media(event), "{what}: {event}");
    }
}
