//! The control: the lab's calls work without any proxy. When this fails, the fault is the lab's and not
//! xrtc's.

use xrtc_testing::lab::{
    Browser, BrowserKind, Call, CallKind, CallOptions, Janus, JanusOptions, PageServer, Result, Topology,
    WorkDir,
};

#[test]
fn chromium_completes_every_kind_of_call_straight_with_janus() {
    WorkDir::scope(|work| calls_without_a_proxy(BrowserKind::Chromium, work));
}

#[test]
fn firefox_completes_every_kind_of_call_straight_with_janus() {
    WorkDir::scope(|work| calls_without_a_proxy(BrowserKind::Firefox, work));
}

fn calls_without_a_proxy(kind: BrowserKind, work: &WorkDir) -> Result<()> {
    let topology = Topology::direct()?;
    let _janus = Janus::start(&topology.server, work, JanusOptions::default())?;
    let _pages = PageServer::start(&topology.server, work)?;
    let host = Topology::SERVER[0].to_string();
    let origin = PageServer::origin(&host);
    let mut browser = Browser::launch(kind, &topology.client, work, &origin)?;
    let [rest, websocket] = Janus::servers(&host);
    for (kind, server) in [
        (CallKind::Echo, format!("{rest}/janus")),
        (CallKind::Stream, websocket.clone()),
        (CallKind::TextRoom, websocket),
    ] {
        let doing = format!("{} {kind} straight with {server}", browser.kind());
        let options = CallOptions {
            kind,
            page: format!("{origin}/call.html"),
            server,
        };
        let mut call = Call::start(&mut browser, &options).map_err(|error| error.during(&doing))?;
        let stats = call.prove().map_err(|error| error.during(&doing))?;
        let remote = stats.remote.expect("a call that works has a selected pair");
        assert!(Topology::SERVER.contains(&remote.address), "{doing}: {remote:?}");
        call.hang_up()?;
    }
    Ok(())
}
