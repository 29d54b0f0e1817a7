//! Fifty calls at once through one TCP port and one UDP port, each with its own data, none mixed, none lost
//! but what the kernel drops on a machine that is too busy.
//!
//! In both modes, in front of a server with a port for each call, and of one with a single port for all, which takes
//! xrtc a server-leg socket for each call.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use xrtc_testing::calls::{self, Books, Caller, Daemon, EchoServer, Metrics, Ports, Route, Setup, settle};
use xrtc_testing::lab::{Result, WorkDir, report};

const CALLS: u64 = 50;
/// Messages of each call, counted from the moment at which all calls are up.
const MESSAGES: u64 = 50;
/// Only a broken build waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cases would only slow each other down.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn fifty_calls(route: Route, ports: Ports) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    calls::scope(async |work| call_fifty_times(route, ports, work).await);
}

async fn call_fifty_times(route: Route, ports: Ports, work: &WorkDir) -> Result<()> {
    let server = EchoServer::start(ports).await?;
    let daemon = Daemon::start("xrtc", &Setup::new(server.http, work), work)?;

    let names: Vec<String> = (0..CALLS).map(|number| format!("call-{number}")).collect();
    let starting: Vec<_> = names
        .iter()
        .map(|name| {
            let (name, http, media) = (name.clone(), daemon.http, daemon.media);
            tokio::spawn(async move { Caller::start(http, media, route, &name).await })
        })
        .collect();
    let mut callers = Vec::new();
    for starting in starting {
        callers.push(starting.await.expect("starting a call does not panic")?);
    }
    for caller in &callers {
        caller.reach(1, PATIENCE).await?;
    }
    let (all_up, strays) = (daemon.metrics().await?, server.strays());
    let goals: Vec<u64> = callers
        .iter()
        .map(|caller| caller.progress().echoed + MESSAGES)
        .collect();
    for (caller, goal) in callers.iter().zip(goals) {
        caller.reach(goal, PATIENCE).await?;
    }
    let Books {
        echoed,
        lost,
        dropped,
    } = settle(&callers, &daemon, PATIENCE).await?;
    let metrics = daemon.metrics().await?;

    report(format_args!(
        "{CALLS} calls, {route:?}, {ports:?}: {echoed} messages echoed, {lost} lost in {dropped} drops of the kernel"
    ));
    assert_eq!(metrics.sessions(), CALLS);
    assert_eq!(metrics.media("sessions_opened"), CALLS);
    assert_eq!(metrics.media("sessions_connected"), CALLS);
    assert_eq!(metrics.media("downlink_moved"), 0);
    assert_eq!(
        server.strays(),
        strays,
        "every packet to the server was one of a call"
    );
    // A server may check before its client does, when the call has not begun; and one with a single port may check
    // the address that its SDP named, which is by then another call's.
    let harmless = ["stun_username", "pair_taken"];
    let refused = metrics.refused_since(&Metrics::default());
    assert!(
        refused.keys().all(|reason| harmless.contains(&reason.as_str())),
        "{refused:?}"
    );
    let refused = metrics.refused_since(&all_up);
    assert!(refused.is_empty() || ports == Ports::Shared, "{refused:?}");
    assert!(!refused.contains_key("stun_username"), "{refused:?}");
    Ok(())
}

#[test]
fn hijacked_to_a_port_for_each_call() {
    fifty_calls(Route::Hijack, Ports::PerCall);
}

#[test]
fn hijacked_to_one_port_for_all_calls() {
    fifty_calls(Route::Hijack, Ports::Shared);
}

#[test]
fn direct_to_a_port_for_each_call() {
    fifty_calls(Route::Direct, Ports::PerCall);
}

#[test]
fn direct_to_one_port_for_all_calls() {
    fifty_calls(Route::Direct, Ports::Shared);
}
