//! How fast packets are forwarded, each way, beside the bare peer.

use std::env;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xrtc::wire::stun::IntegrityKey;
use xrtc_testing::calls::stun::Credentials;
use xrtc_testing::calls::{self, Daemon, EchoServer, Ports, Route, Setup, signal, stun};
use xrtc_testing::lab::{Error, Process, Result, WorkDir, cpu_seconds, report};

use super::forwarder;

/// One measurement.
const RUN: Duration = Duration::from_secs(3);
/// Measurements of each forwarder and direction, taken in turn; the median counts.
const RUNS: usize = 3;
/// Packets sent before their receiver has seen the first of them: enough to keep a forwarder busy, and less than
/// socket buffers hold.
const WINDOW: u64 = 128;
/// A packet of video.
const PACKET: usize = 1_200;
const START: Duration = Duration::from_secs(10);
/// A receiver that hears nothing for so long takes what is missing for lost.
const SILENCE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// Measures and prints.
pub(crate) fn measure() {
    calls::scope(async |work| {
        let server = Arc::new(End::open()?);
        let echo = EchoServer::start(Ports::PerCall).await?;
        let setup = Setup {
            media_threads: Some(1),
            ..Setup::new(echo.http, work)
        };
        let daemon = Daemon::start("xrtc", &setup, work)?;
        let path = format!(
            "{}/one?candidates={}",
            Route::Hijack.path(),
            server.socket.local_addr()?
        );
        let credentials = signal(daemon.http, &path).await?;
        let signalled = echo
            .signalled("one")
            .ok_or_else(|| Error::new("the server has no such call"))?;
        server.answer_checks_with(IntegrityKey::new(stun::attribute(&signalled.answer, "ice-pwd")?));
        let bare = bare_peer(server.socket.local_addr()?, work)?;
        let paths = [
            Path::new("xrtc", daemon.media, daemon.id(), Some(credentials), &server)?,
            Path::new("bare peer", bare.0, bare.1.id(), None, &server)?,
        ];
        for way in [Way::Up, Way::Down] {
            compare(&paths, way)?;
        }
        Ok(())
    });
}

fn compare(paths: &[Path; 2], way: Way) -> Result<()> {
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        for (path, rates) in paths.iter().zip(&mut rates) {
            rates.push(path.run(way)?);
        }
    }
    let [xrtc, bare] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[RUNS / 2]
    });
    let way = match way {
        Way::Up => "client to server",
        Way::Down => "server to client",
    };
    report(format_args!(
        "{way}: {xrtc:.0} packets/s/core, bare peer {bare:.0}: ratio {:.2}",
        xrtc / bare
    ));
    Ok(())
}

/// Starts this program anew as the bare peer.
fn bare_peer(server: SocketAddr, work: &WorkDir) -> Result<(SocketAddr, Process)> {
    let mut command = Command::new(env::current_exe()?);
    command.args([forwarder::COMMAND, &server.to_string()]);
    let mut process = Process::spawn("bare-peer", &mut command, work.path())?;
    process.wait_for_line("\n", START)?;
    let address = process.log().trim().parse();
    let address = address.map_err(|_| Error::new("the bare peer has printed no address"))?;
    Ok((address, process))
}

/// A socket with a thread that counts what it receives, and answers checks.
struct End {
    socket: UdpSocket,
    received: Arc<AtomicU64>,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    key: Mutex<Option<IntegrityKey>>,
    /// Who sent the last packet.
    source: Mutex<Option<SocketAddr>>,
}

impl End {
    fn open() -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(SILENCE))?;
        let mut end = Self {
            socket,
            received: Arc::default(),
            seen: Arc::default(),
            stop: Arc::default(),
            reader: None,
        };
        let (socket, received) = (end.socket.try_clone()?, end.received.clone());
        let (seen, stop) = (end.seen.clone(), end.stop.clone());
        end.reader = Some(thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                match socket.recv_from(&mut buffer) {
                    Ok((PACKET, source)) => {
                        if received.fetch_add(1, Ordering::Relaxed).is_multiple_of(WINDOW) {
                            *locked(&seen.source) = Some(source);
                        }
                    }
                    Ok((length, source)) => answer(&socket, &seen, &buffer[..length], source),
                    Err(_) => {}
                }
            }
        }));
        Ok(end)
    }

    /// Waits until nothing more is under way.
    fn wait_for_silence(&self) {
        let mut received = None;
        while received.replace(self.received.load(Ordering::Relaxed))
            != Some(self.received.load(Ordering::Relaxed))
        {
            thread::sleep(SILENCE);
        }
    }

    fn answer_checks_with(&self, key: IntegrityKey) {
        *locked(&self.seen.key) = Some(key);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has said so.
            let _ = reader.join();
        }
    }
}

fn answer(socket: &UdpSocket, seen: &Seen, packet: &[u8], source: SocketAddr) {
    if let Some(key) = &*locked(&seen.key)
        && let Some(answer) = stun::answer(key, packet, source)
    {
        // A lost answer is asked for again.
        let _ = socket.send_to(&answer, source);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A forwarder between a client and the server.
struct Path {
    name: &'static str,
    entrance: SocketAddr,
    pid: u32,
    credentials: Option<Credentials>,
    client: End,
    server: Arc<End>,
}

impl Path {
    fn new(
        name: &'static str,
        entrance: SocketAddr,
        pid: u32,
        credentials: Option<Credentials>,
        server: &Arc<End>,
    ) -> Result<Self> {
        Ok(Self {
            name,
            entrance,
            pid,
            credentials,
            client: End::open()?,
            server: server.clone(),
        })
    }

    /// Packets for each second of the forwarder's processor time.
    fn run(&self, way: Way) -> Result<f64> {
        let exit = self.open()?;
        let (from, to, via) = match way {
            Way::Up => (&self.client, &*self.server, self.entrance),
            Way::Down => (&*self.server, &self.client, exit),
        };
        let (cpu, before) = (cpu_seconds(self.pid)?, to.received.load(Ordering::Relaxed));
        let lost = blast(from, to, via)?;
        to.wait_for_silence();
        let packets = to.received.load(Ordering::Relaxed) - before;
        let busy = cpu_seconds(self.pid)? - cpu;
        let rate = packets as f64 / busy;
        report(format_args!(
            "  {} {way:?}: {packets} packets in {RUN:?}, {busy:.2} s of processor time, {lost} lost: {rate:.0}",
            self.name
        ));
        Ok(rate)
    }

    /// Gets a packet through to the server, and returns where that one saw it come from.
    fn open(&self) -> Result<SocketAddr> {
        let deadline = Instant::now() + START;
        *locked(&self.server.seen.source) = None;
        self.server.received.store(0, Ordering::Relaxed);
        while Instant::now() < deadline {
            if let Some(credentials) = &self.credentials {
                self.client.socket.send_to(&credentials.check()?, self.entrance)?;
            }
            self.client.socket.send_to(&[0x80; PACKET], self.entrance)?;
            let patience = Instant::now() + SILENCE;
            while Instant::now() < patience {
                if let Some(source) = *locked(&self.server.seen.source) {
                    // What else of this is under way.
                    thread::sleep(SILENCE);
                    return Ok(source);
                }
                thread::yield_now();
            }
        }
        Err(Error::new(format!("nothing passes through {}", self.name)))
    }
}

/// Sends for [`RUN`], with a window; returns how many packets were lost.
fn blast(from: &End, to: &End, via: SocketAddr) -> Result<u64> {
    const BURST: usize = 16;
    let packet = [0x80; PACKET];
    let end = Instant::now() + RUN;
    let (mut base, mut sent, mut lost) = (to.received.load(Ordering::Relaxed), 0, 0);
    let mut progress = (Instant::now(), base);
    while Instant::now() < end {
        let received = to.received.load(Ordering::Relaxed);
        if sent - (received - base) < WINDOW {
            for _ in 0..BURST {
                from.socket.send_to(&packet, via)?;
                sent += 1;
            }
        } else if progress.1 != received {
            progress = (Instant::now(), received);
            thread::yield_now();
        } else if progress.0.elapsed() > SILENCE {
            lost += sent - (received - base);
            (base, sent) = (received, 0);
        } else {
            thread::yield_now();
        }
    }
    Ok(lost)
}
