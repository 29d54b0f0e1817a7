//! The demo pages of Debian's `janus-demos`, unmodified, in both browsers, as a user works them: over HTTPS with a
//! certificate that the browser has verified, signalled by HTTPS and by WSS, all on one port; with UDP and without.

use std::time::{Duration, Instant};

use xrtc_testing::lab::{
    Authority, Browser, BrowserKind, Candidate, Demos, Error, Janus, JanusOptions, PORT, Result, Stats,
    Topology, Transport, VIDEO_MOUNTPOINT, WorkDir, Xrtc, report,
};

/// Of the file mountpoints that the package configures: music.
const MUSIC_MOUNTPOINT: u32 = 3;
/// Frames that must be decoded on top of the first ones seen.
const FRAMES: u64 = 10;
const PATIENCE: Duration = Duration::from_secs(30);
/// `stats.js`, for pages that do not have it.
const STATS: &str = include_str!("../browser/pages/stats.js");

const TRANSPORTS: [Transport; 2] = [Transport::Rest, Transport::WebSocket];
const DEMOS: [Demo; 4] = [
    ("echotest", echo),
    ("streamingtest", streaming),
    ("textroomtest", text_room),
    ("videoroomtest", video_room),
];

/// A page's name and what is done there. What is told of it goes into the report.
type Demo = (&'static str, fn(&mut User<'_>) -> Result<String>);

#[test]
fn chromium_shows_every_demo() {
    WorkDir::scope(|work| every_demo(BrowserKind::Chromium, "udp", work));
}

#[test]
fn firefox_shows_every_demo() {
    WorkDir::scope(|work| every_demo(BrowserKind::Firefox, "udp", work));
}

#[test]
fn chromium_without_udp_shows_every_demo() {
    WorkDir::scope(|work| every_demo(BrowserKind::Chromium, "tcp", work));
}

#[test]
fn firefox_without_udp_shows_every_demo() {
    WorkDir::scope(|work| every_demo(BrowserKind::Firefox, "tcp", work));
}

/// Somebody before a browser.
struct User<'a> {
    browser: &'a mut Browser,
    url: String,
    /// What the call's packets have to go over.
    protocol: &'static str,
}

/// Runs all cases even when one fails, so that one run says everything.
fn every_demo(kind: BrowserKind, protocol: &'static str, work: &WorkDir) -> Result<()> {
    let topology = Topology::proxied()?;
    if protocol == "tcp" {
        topology.client.block_udp(Topology::CLIENT_INTERFACE)?;
    }
    let _janus = Janus::start(&topology.server, work, JanusOptions::default())?;
    let authority = Authority::new(work, &Topology::PROXY)?;
    let demos = Demos::deploy(work)?;
    let routes = routes(work, &demos, &authority);
    let xrtc = Xrtc::start_with_routes(&topology.proxy, work, &routes)?;
    let origin = format!("https://{}:{PORT}", Topology::PROXY[0]);
    let mut browser = Browser::launch_trusting(kind, &topology.client, work, &origin, &authority)?;
    let mut failures = Vec::new();
    for transport in TRANSPORTS {
        for (page, demo) in DEMOS {
            let case = format!("{kind:8}  {page:13}  {transport:9}  {protocol}");
            let started = Instant::now();
            let mut user = User {
                browser: &mut browser,
                url: format!("{origin}{}", Demos::path(transport, page)),
                protocol,
            };
            match demo(&mut user) {
                Ok(seen) => report(format_args!(
                    "{case}  ok      {:4.1} s  {seen}",
                    started.elapsed().as_secs_f32()
                )),
                Err(error) => {
                    report(format_args!("{case}  FAILED"));
                    failures.push(format!("{case}: {error}"));
                }
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let log = xrtc.log_tail();
    Err(Error::new(format!(
        "{}\nxrtc's log ends with:\n{log}",
        failures.join("\n")
    )))
}

/// Camera, microphone and what is typed come back.
fn echo(user: &mut User<'_>) -> Result<String> {
    user.start("echotest")?;
    let frames = user.sees("echotest", "#videoright video")?;
    user.browser.wait_for(
        "!document.querySelector('#datasend').disabled && !document.querySelector('.blockUI')",
        PATIENCE,
    )?;
    user.browser.enter("#datasend", "back to me\n")?;
    user.browser.wait_for(
        "document.querySelector('#datarecv').value.endsWith(': back to me')",
        PATIENCE,
    )?;
    Ok(format!("{frames} frames, data"))
}

/// The server offers: pictures, then a file of music.
fn streaming(user: &mut User<'_>) -> Result<String> {
    user.start("streaming")?;
    user.watch(VIDEO_MOUNTPOINT)?;
    let frames = user.sees("streaming", "#mstream0 video:not(.waitingvideo)")?;
    // On a page of its own: this one takes the news of the first call's end for the second's.
    user.url += "?music";
    user.start("streaming")?;
    user.watch(MUSIC_MOUNTPOINT)?;
    let before = user.stats("streaming")?.audio_energy;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stats = user.stats("streaming")?;
        if stats.audio_energy > before {
            user.check(&stats)?;
            return Ok(format!("{frames} frames, music"));
        }
        if Instant::now() > deadline {
            return Err(Error::new("no music was heard"));
        }
    }
}

/// A data channel and nothing else.
fn text_room(user: &mut User<'_>) -> Result<String> {
    user.start("textroom")?;
    user.browser.enter("#username", "Ida")?;
    user.browser.click("#register")?;
    user.browser
        .wait_for("!document.querySelector('#datasend').disabled", PATIENCE)?;
    user.browser.enter("#datasend", "is anybody here?\n")?;
    let said = "document.querySelector('#chatroom').innerText.includes('Ida: is anybody here?')";
    user.browser.wait_for(said, PATIENCE)?;
    let stats = user.stats("textroom")?;
    user.check(&stats)?;
    Ok("data".to_owned())
}

/// Two take part, each in a page of its own; each sees the other.
fn video_room(user: &mut User<'_>) -> Result<String> {
    const NAMES: [&str; 2] = ["Ida", "Otto"];
    let mut seen = Vec::new();
    let url = user.url.clone();
    for (page, name) in NAMES.iter().enumerate() {
        user.browser.turn_to(page);
        user.url = format!("{url}?{name}");
        user.start("sfutest")?;
        user.browser.enter("#username", name)?;
        user.browser.click("#register")?;
        user.browser.wait_for(
            "sfutest.webrtcStuff.pc?.connectionState === 'connected'",
            PATIENCE,
        )?;
    }
    for page in 0..NAMES.len() {
        user.browser.turn_to(page);
        seen.push(user.sees("feeds[1]", "#videoremote1 video")?);
        let other = NAMES[1 - page];
        user.browser.wait_for(
            &format!("document.querySelector('#remote1').innerText === '{other}'"),
            PATIENCE,
        )?;
        let stats = user.stats("sfutest")?;
        user.check(&stats)?;
    }
    user.browser.open("about:blank")?;
    user.browser.turn_to(0);
    Ok(format!("{seen:?} frames"))
}

impl User<'_> {
    /// Opens the page, of which nothing may be missing, and clicks on its button. `handle` is what the page calls the
    /// handle that it then attaches. The URL must be a new one: without a default route Firefox takes its local address
    /// from the connection that the page came over, and finds no candidates for a page out of its cache.
    fn start(&mut self, handle: &str) -> Result<()> {
        self.browser.open(&self.url)?;
        let missing = self.browser.evaluate(
            "return performance.getEntriesByType('resource')
               .filter((entry) => !entry.name.startsWith(location.origin) || entry.responseStatus !== 200)
               .map((entry) => `${entry.name} ${entry.responseStatus}`)",
        )?;
        if missing.as_array().is_none_or(|missing| !missing.is_empty()) {
            return Err(Error::new(format!("missing of the page: {missing}")));
        }
        // The page binds its buttons only after it has loaded.
        self.browser
            .wait_for("$._data($('#start')[0], 'events')?.click", PATIENCE)?;
        self.browser.click("#start")?;
        self.browser.wait_for(&format!("{handle} !== null"), PATIENCE)
    }

    /// Chooses a stream and asks for it.
    fn watch(&mut self, mountpoint: u32) -> Result<()> {
        self.browser.click("#streamset")?;
        self.browser
            .click(&format!("#streamslist a[id='{mountpoint}']"))?;
        self.browser.click("#watch")?;
        self.browser.wait_for(
            "streaming.webrtcStuff.pc?.connectionState === 'connected'",
            PATIENCE,
        )
    }

    /// Waits until the page's video shows pictures and the handle's connection goes on decoding more of them, from the
    /// proxy; how many there were.
    fn sees(&mut self, handle: &str, video: &str) -> Result<u64> {
        let connected = format!("{handle}?.webrtcStuff.pc?.connectionState === 'connected'");
        self.browser.wait_for(&connected, PATIENCE)?;
        let shown = format!("document.querySelector('{video}')?.videoWidth > 0");
        self.browser.wait_for(&shown, PATIENCE)?;
        let first = self.stats(handle)?.frames_decoded;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.stats(handle)?;
            if stats.frames_decoded >= first + FRAMES {
                self.check(&stats)?;
                return Ok(stats.frames_decoded);
            }
            if Instant::now() > deadline {
                return Err(Error::new(format!(
                    "{} frames decoded",
                    stats.frames_decoded - first
                )));
            }
        }
    }

    fn stats(&mut self, handle: &str) -> Result<Stats> {
        let script = format!("{STATS} return await peerStats({handle}.webrtcStuff.pc)");
        Ok(Stats::of(&self.browser.evaluate(&script)?))
    }

    /// What the browser sends goes to the page's own port, over what it has to.
    fn check(&self, stats: &Stats) -> Result<()> {
        match &stats.remote {
            Some(Candidate {
                address,
                port: PORT,
                protocol,
            }) if Topology::PROXY.contains(address) && protocol == self.protocol => Ok(()),
            other => Err(Error::new(format!("the selected remote candidate is {other:?}"))),
        }
    }
}

fn routes(work: &WorkDir, demos: &Demos, authority: &Authority) -> String {
    let [http, ws] = Janus::servers(&Topology::SERVER[0].to_string());
    let [ipv4, ipv6] = Topology::PROXY;
    format!(
        r#"state_dir: {state}
services:
  janus: {{proto: upstream, servers: ["{http}", "{ws}"]}}
  media:
    proto: udp
    net: {{addr: ":{PORT}", enable_ice: true, candidate_ips: ["{ipv4}", "{ipv6}"]}}
  front:
    proto: tcp
    net:
      addr: ":{PORT}"
      tls_crt_file: {crt}
      tls_key_file: {key}
      redirect_https: true
      enable_ice: true
      candidate_ips: ["{ipv4}", "{ipv6}"]
    enable_http: true
    http:
      root: {root}
      routes:
        rest: {{upstream: "http://janus", paths: [/janus]}}
        websocket: {{upstream: "http://janus", protos: [ws@janus-protocol]}}
"#,
        state = work.join("state").display(),
        root = demos.root.display(),
        crt = authority.crt.display(),
        key = authority.key.display(),
    )
}
