//! How large the binary is, and how much memory it takes: idle, and for each idle call.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use xrtc::wire::stun::IntegrityKey;
use xrtc_testing::calls::{self, Daemon, EchoServer, Ports, Route, Setup, signal, stun, xrtc_binary};
use xrtc_testing::lab::{Error, Process, Result, WorkDir, report};

use super::process;

const START: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(20);
/// Calls before the measurement, so that what is made once is there.
const WARM_UP: u64 = 100;
const CALLS: u64 = 2_000;

/// Of the binary, stripped as the release profile makes it.
pub(crate) fn size() -> Result<()> {
    let bytes = fs::metadata(xrtc_binary()?)?.len();
    report(format_args!(
        "binary: {:.1} MiB",
        bytes as f64 / f64::from(1 << 20)
    ));
    Ok(())
}

/// Of a daemon that has nothing to do: without a configuration, and with that of the documentation (a Janus).
pub(crate) fn idle() -> Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/routes.yml");
    let none: [PathBuf; 0] = [];
    for (what, arguments, ready) in [
        ("embedded default", &none[..], "the demo is at"),
        ("deploy/routes.yml", &["-c".into(), example][..], "TCP service="),
    ] {
        let (all, own) = idle_of(arguments, ready, &WorkDir::new()?)?;
        report(format_args!(
            "idle, {what}: {all} KiB resident, {own} KiB of it its own"
        ));
    }
    Ok(())
}

/// In a network of its own, so that the configuration's ports are free.
fn idle_of(arguments: &[PathBuf], ready: &str, work: &WorkDir) -> Result<(u64, u64)> {
    let mut command = Command::new("unshare");
    command
        .args(["--net", "sh", "-c", r#"ip link set lo up && exec "$0" run "$@""#])
        .arg(xrtc_binary()?)
        .args(arguments)
        .current_dir(work.path())
        .env("HOME", work.path());
    let mut daemon = Process::spawn("xrtc", &mut command, work.path())?;
    daemon.wait_for_line(ready, START)?;
    process::memory(daemon.id())
}

/// Of calls that are up on both legs and carry nothing.
pub(crate) fn sessions() {
    calls::scope(async |work| {
        let server = EchoServer::start(Ports::PerCall).await?;
        let daemon = Daemon::start("xrtc", &Setup::new(server.http, work), work)?;
        let mut held = Held::default();
        held.open(&daemon, &server, WARM_UP).await?;
        let before = process::memory(daemon.id())?;
        held.open(&daemon, &server, WARM_UP + CALLS).await?;
        let after = process::memory(daemon.id())?;
        report(format_args!(
            "{CALLS} idle hijacked calls: {:.1} KiB each ({} to {} KiB resident)",
            (after.0 - before.0) as f64 / CALLS as f64,
            before.0,
            after.0
        ));
        Ok(())
    });
}

/// Both ends of many calls, at their cheapest: a client socket that has checked once, a server that answers checks.
#[derive(Default)]
struct Held {
    clients: Vec<UdpSocket>,
    servers: JoinSet<()>,
}

impl Held {
    /// Opens calls until there are so many, and waits until all are up.
    async fn open(&mut self, daemon: &Daemon, server: &EchoServer, calls: u64) -> Result<()> {
        while (self.clients.len() as u64) < calls {
            let socket = UdpSocket::bind("127.0.0.1:0").await?;
            let name = format!("idle-{}", self.clients.len());
            let path = format!(
                "{}/{name}?candidates={}",
                Route::Hijack.path(),
                socket.local_addr()?
            );
            let credentials = signal(daemon.http, &path).await?;
            let signalled = server
                .signalled(&name)
                .ok_or_else(|| Error::new("the server has no such call"))?;
            let key = IntegrityKey::new(stun::attribute(&signalled.answer, "ice-pwd")?);
            self.servers.spawn(answer_checks(socket, key));
            let client = UdpSocket::bind("127.0.0.1:0").await?;
            client.connect(daemon.media).await?;
            credentials.exchange(&client).await?;
            self.clients.push(client);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = daemon.metrics().await?;
            if metrics.sessions() == calls && metrics.media("sessions_connected") == calls {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::new(format!(
                    "{} of {calls} calls are up",
                    metrics.sessions()
                )));
            }
        }
    }
}

async fn answer_checks(socket: UdpSocket, key: IntegrityKey) {
    let mut buffer = [0; 2048];
    while let Ok((length, source)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = stun::answer(&key, &buffer[..length], source) {
            // A lost answer is asked for again.
            let _ = socket.send_to(&answer, source).await;
        }
    }
}
