//! Calls through a reload: not a message is lost, but what the kernel drops on a machine that is too busy.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use xrtc_testing::calls::{self, Books, Caller, Daemon, EchoServer, Ports, Route, Setup, settle};
use xrtc_testing::lab::{Error, Result, WorkDir, report};

const CALLS: usize = 20;
const RELOADS: u64 = 5;
/// Messages of each call between two reloads.
const MESSAGES: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(30);
const APPLIED: &str = "xrtc_reloads_total{result=\"applied\"}";

#[test]
fn calls_go_on_over_reloads_without_losing_a_message() {
    calls::scope(async |work| calls_and_reloads(work).await);
}

async fn calls_and_reloads(work: &WorkDir) -> Result<()> {
    let server = EchoServer::start(Ports::PerCall).await?;
    let daemon = Daemon::start("xrtc", &Setup::new(server.http, work), work)?;
    let mut callers = Vec::new();
    for number in 0..CALLS {
        let route = Route::ALL[number % Route::ALL.len()];
        let name = format!("call-{number}");
        callers.push(Caller::start(daemon.http, daemon.media, route, &name).await?);
    }
    for caller in &callers {
        caller.reach(1, PATIENCE).await?;
    }
    let file = work.join("xrtc.yml");
    let original = fs::read_to_string(&file)?;
    for round in 1..=RELOADS {
        // Another allow-list, and in every other round without one of the routes: running calls keep what they have.
        let mut changed = original.replace("allow: []", &format!("allow: [\"192.0.2.{round}\"]"));
        if round % 2 == 1 {
            changed = changed
                .lines()
                .filter(|line| !line.contains("direct: {"))
                .collect::<Vec<_>>()
                .join("\n");
        }
        fs::write(&file, changed)?;
        Command::new("kill")
            .args(["-HUP", &daemon.id().to_string()])
            .status()?;
        applied(&daemon, round).await?;
        for caller in &callers {
            caller
                .reach(caller.progress().echoed + MESSAGES, PATIENCE)
                .await?;
        }
    }
    let Books {
        echoed,
        lost,
        dropped,
    } = settle(&callers, &daemon, PATIENCE).await?;
    report(format_args!(
        "{RELOADS} reloads, {CALLS} calls: {echoed} messages echoed, {lost} lost in {dropped} drops of the kernel"
    ));
    let metrics = daemon.metrics().await?;
    assert_eq!(
        metrics.media("sessions_opened"),
        CALLS as u64,
        "none had to begin again"
    );
    Ok(())
}

async fn applied(daemon: &Daemon, times: u64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while daemon.metrics().await?.get(APPLIED) < times {
        if Instant::now() > deadline {
            return Err(Error::new(format!("no reload {times}:\n{}", daemon.log())));
        }
    }
    Ok(())
}
