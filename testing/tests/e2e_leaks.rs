//! What the browser's host sees during calls: the proxy's one port, and no trace of the server behind it.

use xrtc_testing::lab::{
    Browser, BrowserKind, Call, CallKind, CallOptions, Capture, Janus, JanusOptions, PORT, Result, Topology,
    Transport, WorkDir, Xrtc,
};

#[test]
fn chromium_meets_nothing_but_the_proxys_port() {
    WorkDir::scope(|work| nothing_but_the_port(BrowserKind::Chromium, work));
}

#[test]
fn firefox_meets_nothing_but_the_proxys_port() {
    WorkDir::scope(|work| nothing_but_the_port(BrowserKind::Firefox, work));
}

fn nothing_but_the_port(kind: BrowserKind, work: &WorkDir) -> Result<()> {
    let topology = Topology::proxied()?;
    for address in Topology::SERVER {
        assert!(
            !topology.client.reaches(address),
            "the browser has a route to {address}: this would prove nothing"
        );
    }
    // IPv6 and trickled candidates are further places for the server's addresses to show.
    let options = JanusOptions {
        ipv6: true,
        ..JanusOptions::default()
    };
    let _janus = Janus::start(&topology.server, work, options)?;
    let _xrtc = Xrtc::start(&topology, work)?;
    let mut browser = Browser::launch(kind, &topology.client, work, &Xrtc::origin())?;

    let capture = Capture::start(&topology.client, Topology::CLIENT_INTERFACE, work)?;
    for route in ["hijack", "direct"] {
        for (kind, transport) in [
            (CallKind::Echo, Transport::Rest),
            (CallKind::Stream, Transport::WebSocket),
        ] {
            let doing = format!("{} {route} {kind} over {transport}", browser.kind());
            calls_name_no_server(&mut browser, route, kind, transport)
                .map_err(|error| error.during(&doing))?;
        }
    }
    let trace = capture.finish()?;

    // First that the capture would have shown it.
    assert!(
        trace.udp_packets(&Topology::PROXY, PORT) > 100,
        "no media in the capture"
    );
    assert!(trace.stun_messages() > 8, "no STUN in the capture");
    assert!(trace.carries_over_tcp("typ host"), "no signalling in the capture");
    let strangers = trace.strangers(&Topology::PROXY, PORT);
    assert!(
        strangers.is_empty(),
        "packets beside port {PORT} of the proxy: {strangers:#?}"
    );
    // The proxy's own inner address is another matter: with icedirect the server's signed answers report it.
    for address in Topology::SERVER {
        let places = trace.mentions(address);
        assert!(places.is_empty(), "{address} is named {places:#?}");
    }
    Ok(())
}

/// One call; the page itself is asked as well what it was given, since a capture does not see into
/// compression.
fn calls_name_no_server(
    browser: &mut Browser,
    route: &str,
    kind: CallKind,
    transport: Transport,
) -> Result<()> {
    let options = CallOptions {
        kind,
        page: Xrtc::page(),
        server: Xrtc::api(route, transport),
    };
    let mut call = Call::start(browser, &options)?;
    let stats = call.prove()?;
    call.hang_up()?;
    assert!(!stats.received.is_empty(), "the page was given no description");
    for address in Topology::SERVER.into_iter().chain(Topology::PROXY_INSIDE) {
        let text = address.to_string();
        let named: Vec<&String> = stats
            .received
            .iter()
            .filter(|given| given.contains(&text))
            .collect();
        assert!(named.is_empty(), "{address} is named in {named:#?}");
    }
    Ok(())
}
