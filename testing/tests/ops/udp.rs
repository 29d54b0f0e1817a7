//! UDP listeners that come and go under running calls.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use xrtc_testing::calls::{self, Caller, Daemon, EchoServer, Ports, Route, Setup};
use xrtc_testing::lab::{Error, Result, WorkDir, report};

/// Messages of each call between two changes.
const MESSAGES: u64 = 20;
/// A call that nobody ends is one until its consent has run out: 30 s.
const PATIENCE: Duration = Duration::from_secs(60);
const CLOSED: &str = "UDP listener is closed";
const SPARE: &str =
    "  spare:\n    proto: udp\n    net: {addr: \"127.0.0.1:0\", enable_ice: true}\n  front:\n";

#[test]
fn udp_listeners_come_and_go_and_calls_stay() {
    calls::scope(async |work| come_and_go(work).await);
}

async fn come_and_go(work: &WorkDir) -> Result<()> {
    let server = EchoServer::start(Ports::PerCall).await?;
    let daemon = Daemon::start("xrtc", &Setup::new(server.http, work), work)?;
    let original = fs::read_to_string(work.join("xrtc.yml"))?;
    let original = format!("drain_timeout: 300s\n{original}");
    let rewrite = async |text: &str| -> Result<()> {
        let before = reloads(&daemon);
        fs::write(work.join("new.yml"), text)?;
        fs::rename(work.join("new.yml"), work.join("xrtc.yml"))?;
        until(&daemon, "a reload", || reloads(&daemon) > before).await
    };
    let first = call_all(&daemon, daemon.media, "first").await?;

    rewrite(&original.replace("  front:\n", SPARE)).await?;
    let spare = daemon.address("spare")?;
    assert!(is_taken(spare));
    // `other` in place of both. A caller fails if it is shown any other address than the one given here.
    rewrite(&original.replace("  media:\n", "  other:\n")).await?;
    let other = daemon.address("other")?;
    let second = call_all(&daemon, other, "second").await?;
    go_on(&[&first, &second]).await?;
    until(&daemon, "the end of the unused listener", || !is_taken(spare)).await?;
    go_on(&[&first, &second]).await?;

    // `media` is still there for its calls, and taken up again.
    rewrite(&original).await?;
    let third = call_all(&daemon, daemon.media, "third").await?;
    go_on(&[&first, &second, &third]).await?;
    drop(second);
    until(&daemon, "the end of the one without calls", || !is_taken(other)).await?;
    go_on(&[&first, &third]).await?;

    // Without time to drain it ends with its calls.
    rewrite(&original.replace("300s", "0s").replace("  media:\n", "  last:\n")).await?;
    until(&daemon, "the end of all that is given up", || {
        !is_taken(daemon.media)
    })
    .await?;
    let last = daemon.address("last")?;
    go_on(&[&call_all(&daemon, last, "fourth").await?]).await?;
    assert_eq!(daemon.log().matches(CLOSED).count(), 3);
    let opened = daemon.metrics().await?.media("sessions_opened");
    report(format_args!(
        "{opened} calls over 5 reloads of their listeners, none began again"
    ));
    assert_eq!(opened, 4 * Route::ALL.len() as u64);
    Ok(())
}

/// A call by each route.
async fn call_all(daemon: &Daemon, media: SocketAddr, name: &str) -> Result<Vec<Caller>> {
    let mut callers = Vec::new();
    for route in Route::ALL {
        let name = format!("{name}-{}", route.path().trim_start_matches('/'));
        callers.push(Caller::start(daemon.http, media, route, &name).await?);
    }
    for caller in &callers {
        caller.reach(1, PATIENCE).await?;
    }
    Ok(callers)
}

async fn go_on(callers: &[&Vec<Caller>]) -> Result<()> {
    for caller in callers.iter().copied().flatten() {
        caller
            .reach(caller.progress().echoed + MESSAGES, PATIENCE)
            .await?;
    }
    Ok(())
}

fn reloads(daemon: &Daemon) -> usize {
    daemon.log().matches("configuration reloaded").count()
}

fn is_taken(addr: SocketAddr) -> bool {
    UdpSocket::bind(addr).is_err()
}

async fn until(daemon: &Daemon, what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            return Err(Error::new(format!("no sign of {what}:\n{}", daemon.log())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
