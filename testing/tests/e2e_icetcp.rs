//! Browsers whose network lets no UDP out: they call over ICE-TCP on the page's own port, in both modes, with Janus
//! on UDP and with Janus on TCP.

use std::time::Instant;

use xrtc_testing::lab::{
    Browser, BrowserKind, Call, CallKind, CallOptions, Capture, Error, Janus, JanusOptions, PORT, Result,
    Stats, Topology, Transport, WorkDir, Xrtc, XrtcOptions, report,
};

const ROUTES: [&str; 2] = ["hijack", "direct"];
const CALLS: [(CallKind, Transport); 3] = [
    (CallKind::Echo, Transport::WebSocket),
    (CallKind::Stream, Transport::Rest),
    (CallKind::TextRoom, Transport::WebSocket),
];

/// How Janus is reached.
#[derive(Clone, Copy)]
enum Inside {
    Udp,
    /// `ice_tcp` in Janus, `icetcp` in xrtc, and no UDP between them.
    Tcp {
        ice_lite: bool,
    },
}

impl Inside {
    fn name(self) -> &'static str {
        match self {
            Self::Udp => "Janus on UDP",
            Self::Tcp { ice_lite: false } => "Janus on TCP",
            Self::Tcp { ice_lite: true } => "Janus on TCP, lite",
        }
    }
}

#[test]
fn chromium_without_udp_and_janus_with_it() {
    WorkDir::scope(|work| every_call(BrowserKind::Chromium, Inside::Udp, work));
}

#[test]
fn firefox_without_udp_and_janus_with_it() {
    WorkDir::scope(|work| every_call(BrowserKind::Firefox, Inside::Udp, work));
}

#[test]
fn chromium_and_janus_without_udp() {
    WorkDir::scope(|work| every_call(BrowserKind::Chromium, Inside::Tcp { ice_lite: false }, work));
}

#[test]
fn firefox_and_janus_without_udp() {
    WorkDir::scope(|work| every_call(BrowserKind::Firefox, Inside::Tcp { ice_lite: false }, work));
}

#[test]
fn chromium_and_a_lite_janus_without_udp() {
    WorkDir::scope(|work| every_call(BrowserKind::Chromium, Inside::Tcp { ice_lite: true }, work));
}

/// libwebrtc's fake SSL handshake ahead of ICE-TCP, as Chromium itself speaks it.
#[test]
fn chromium_behind_its_fake_ssl_handshake() {
    WorkDir::scope(|work| {
        /// What its hello begins with.
        const HELLO: &[u8] = b"\x80\x46\x01\x03\x01\x00\x2d";
        let topology = Topology::proxied()?;
        let _janus = Janus::start(&topology.server, work, JanusOptions::default())?;
        let options = XrtcOptions {
            ice_tcp: true,
            ..XrtcOptions::default()
        };
        let _xrtc = Xrtc::start_with(&topology, work, options)?;
        let capture = Capture::start(&topology.client, Topology::CLIENT_INTERFACE, work)?;
        let mut browser = Browser::launch(BrowserKind::Chromium, &topology.client, work, &Xrtc::origin())?;
        for route in ROUTES {
            let options = CallOptions {
                kind: CallKind::Echo,
                page: Xrtc::page(),
                server: Xrtc::api(route, Transport::Rest),
            };
            let mut call = Call::start_over_ssltcp(&mut browser, &options)?;
            let stats = call.prove()?;
            call.hang_up()?;
            report(format_args!(
                "ssltcp    {route:6}  {} frames  {:?}",
                stats.frames_decoded, stats.remote
            ));
        }
        drop(browser);
        let trace = capture.finish()?;
        assert!(trace.carries_over_tcp(HELLO), "the fake handshake");
        assert_eq!(trace.udp_packets(&Topology::PROXY, PORT), 0);
        Ok(())
    });
}

/// Runs all cases even when one fails, so that one run says everything.
fn every_call(kind: BrowserKind, inside: Inside, work: &WorkDir) -> Result<()> {
    let topology = Topology::proxied()?;
    topology.client.block_udp(Topology::CLIENT_INTERFACE)?;
    let janus = match inside {
        Inside::Udp => JanusOptions::default(),
        Inside::Tcp { ice_lite } => {
            topology.server.block_udp(Topology::SERVER_INTERFACE)?;
            JanusOptions {
                ice_tcp: true,
                ice_lite,
                ..JanusOptions::default()
            }
        }
    };
    let _janus = Janus::start(&topology.server, work, janus)?;
    let options = XrtcOptions {
        ice_tcp: true,
        icetcp: matches!(inside, Inside::Tcp { .. }),
    };
    let xrtc = Xrtc::start_with(&topology, work, options)?;
    let mut browser = Browser::launch(kind, &topology.client, work, &Xrtc::origin())?;
    let mut failures = Vec::new();
    for route in ROUTES {
        for (kind, transport) in CALLS {
            let case = format!("{:8}  {route:6}  {kind:8}  {}", browser.kind(), inside.name());
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
        Some(remote)
            if Topology::PROXY.contains(&remote.address)
                && remote.port == PORT
                && remote.protocol == "tcp" =>
        {
            Ok(stats)
        }
        other => Err(Error::new(format!(
            "the selected pair's remote candidate is not the proxy on TCP: {other:?}"
        ))),
    }
}
