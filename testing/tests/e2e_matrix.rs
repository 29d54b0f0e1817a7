//! Both browsers, both modes, every kind of call: each one through the proxy's one port.

use std::time::Instant;

use xrtc_testing::lab::{
    Browser, BrowserKind, Call, CallKind, CallOptions, Error, Janus, JanusOptions, PORT, Result, Stats,
    Topology, Transport, WorkDir, Xrtc, report,
};

const ROUTES: [&str; 2] = ["hijack", "direct"];
const CALLS: [(CallKind, Transport); 4] = [
    (CallKind::Echo, Transport::Rest),
    (CallKind::Echo, Transport::WebSocket),
    (CallKind::Stream, Transport::Rest),
    (CallKind::TextRoom, Transport::WebSocket),
];

#[test]
fn chromium_completes_every_call_in_both_modes() {
    WorkDir::scope(|work| every_call(BrowserKind::Chromium, work));
}

#[test]
fn firefox_completes_every_call_in_both_modes() {
    WorkDir::scope(|work| every_call(BrowserKind::Firefox, work));
}

/// Runs all cases even when one fails, so that one run says everything.
fn every_call(kind: BrowserKind, work: &WorkDir) -> Result<()> {
    let topology = Topology::proxied()?;
    let _janus = Janus::start(&topology.server, work, JanusOptions::default())?;
    let xrtc = Xrtc::start(&topology, work)?;
    let mut browser = Browser::launch(kind, &topology.client, work, &Xrtc::origin())?;
    let mut failures = Vec::new();
    for route in ROUTES {
        for (kind, transport) in CALLS {
            let case = format!("{:8}  {route:6}  {kind:8}  {transport:9}", browser.kind());
            let started = Instant::now();
            let outcome = one_call(&mut browser, route, kind, transport);
            let elapsed = started.elapsed().as_secs_f32();
            match outcome {
                Ok(stats) => report(format_args!(
                    "{case}  ok      {elapsed:4.1} s  {} frames",
                    stats.frames_decoded
                )),
                Err(error) => {
                    report(format_args!("{case}  FAILED  {elapsed:4.1} s"));
                    failures.push(format!("{case}: {error}"));
                }
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!(
        "{}\nxrtc's log ends with:\n{}",
        failures.join("\n"),
        xrtc.log_tail()
    )))
}

fn one_call(browser: &mut Browser, route: &str, kind: CallKind, transport: Transport) -> Result<Stats> {
    let options = CallOptions {
        kind,
        page: Xrtc::page(),
        server: Xrtc::api(route, transport),
    };
    let mut call = Call::start(browser, &options)?;
    let stats = call.prove()?;
    call.hang_up()?;
    match &stats.remote {
        Some(remote) if Topology::PROXY.contains(&remote.address) && remote.port == PORT => Ok(stats),
        other => Err(Error::new(format!(
            "the selected pair's remote candidate is not the proxy: {other:?}"
        ))),
    }
}
