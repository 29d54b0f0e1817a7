//! One call on the test page, and what the browser says of it.

use std::fmt;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Browser, Error, Result, VIDEO_MOUNTPOINT};

/// The room that the package's configuration of the textroom plugin has.
const ROOM: u32 = 1234;
/// Frames that must be decoded on top of the first ones seen.
const FRAMES: u64 = 10;
const PROOF: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// What kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// `janus.plugin.echotest`: the client offers audio, video and data; all come back.
    Echo,
    /// `janus.plugin.streaming`: the server offers video.
    Stream,
    /// `janus.plugin.textroom`: the server offers a data channel, and nothing else.
    TextRoom,
}

impl CallKind {
    fn has_video(self) -> bool {
        matches!(self, Self::Echo | Self::Stream)
    }

    fn has_data(self) -> bool {
        matches!(self, Self::Echo | Self::TextRoom)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Stream => "stream",
            Self::TextRoom => "textroom",
        }
    }
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the signalling goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP requests and long polls.
    Rest,
    /// A WebSocket.
    WebSocket,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rest => "REST",
            Self::WebSocket => "WebSocket",
        })
    }
}

/// Which call to make, and where.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// What kind of call.
    pub kind: CallKind,
    /// The URL of the test page.
    pub page: String,
    /// The Janus API's URL, which also says what the signalling goes over.
    pub server: String,
}

/// A call under way in a browser's page.
#[derive(Debug)]
pub struct Call<'a> {
    browser: &'a mut Browser,
    kind: CallKind,
}

/// A candidate as the browser reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// `udp` or `tcp`.
    pub protocol: String,
}

/// A look at `RTCPeerConnection.getStats()` and what the page was given.
#[derive(Clone, Debug)]
pub struct Stats {
    /// `connectionState`.
    pub state: String,
    /// The remote candidate of the selected pair.
    pub remote: Option<Candidate>,
    /// Video frames decoded so far.
    pub frames_decoded: u64,
    /// `totalAudioEnergy` of what came in: no silence has any.
    pub audio_energy: f64,
    /// The session descriptions and candidates that the page was given.
    pub received: Vec<String>,
}

/// The longest interruptions since some moment.
#[derive(Clone, Copy, Debug)]
pub struct Gaps {
    /// Of decoded pictures.
    pub pictures: Gap,
    /// Of video packets: what a proxy can do something about.
    pub packets: Gap,
}

/// The longest interruption since some moment.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// How long it was.
    pub length: Duration,
    /// When it was over, from that moment on.
    pub resumed: Duration,
    /// Whether it is over.
    pub healthy: bool,
}

impl<'a> Call<'a> {
    /// Opens the test page afresh and makes the call; returns once it is connected.
    pub fn start(browser: &'a mut Browser, options: &CallOptions) -> Result<Self> {
        Self::start_with(browser, options, false)
    }

    /// The same by a page that takes the TCP candidates for `ssltcp` ones, which Chromium knows, and leaves out the
    /// others.
    pub fn start_over_ssltcp(browser: &'a mut Browser, options: &CallOptions) -> Result<Self> {
        Self::start_with(browser, options, true)
    }

    fn start_with(browser: &'a mut Browser, options: &CallOptions, ssltcp: bool) -> Result<Self> {
        browser.open(&options.page)?;
        let CallOptions { kind, server, .. } = options;
        let arguments = json!({
            "server": server, "kind": kind.name(), "mountpoint": VIDEO_MOUNTPOINT, "room": ROOM, "ssltcp": ssltcp,
        });
        browser.evaluate(&format!("await lab.start({arguments})"))?;
        Ok(Self { browser, kind: *kind })
    }

    /// Waits until everything that the call has is seen to flow: pictures, data, or both.
    pub fn prove(&mut self) -> Result<Stats> {
        if self.kind.has_data() {
            self.prove_data()?;
        }
        if self.kind.has_video() {
            self.prove_video()?;
        }
        self.stats()
    }

    /// Waits for new pictures.
    pub fn prove_video(&mut self) -> Result<()> {
        let deadline = Instant::now() + PROOF;
        let before = self.stats()?.frames_decoded;
        loop {
            let now = self.stats()?.frames_decoded;
            if now >= before + FRAMES {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::new(format!(
                    "only {} frames decoded in {PROOF:?}",
                    now - before
                )));
            }
            thread::sleep(POLL);
        }
    }

    /// Says something over the data channel and waits until it has come back.
    pub fn prove_data(&mut self) -> Result<()> {
        match self
            .browser
            .evaluate(&format!("return await lab.echo({})", PROOF.as_millis()))?
        {
            Value::Bool(true) => Ok(()),
            _ => Err(Error::new(format!("no data came back in {PROOF:?}"))),
        }
    }

    /// What the browser reports now.
    pub fn stats(&mut self) -> Result<Stats> {
        Ok(Stats::of(&self.browser.evaluate("return await lab.stats()")?))
    }

    /// The page's clock, in milliseconds.
    pub fn now(&mut self) -> Result<f64> {
        self.browser
            .evaluate("return lab.now()")?
            .as_f64()
            .ok_or_else(|| Error::new("the page has no clock"))
    }

    /// The longest times without a picture and without a video packet since `since` on the page's clock.
    pub fn gaps(&mut self, since: f64) -> Result<Gaps> {
        let gaps = self.browser.evaluate(&format!("return lab.gap({since})"))?;
        let gap = |what: &str| {
            let time =
                |key: &str| Duration::from_secs_f64(gaps[what][key].as_f64().unwrap_or_default() / 1000.0);
            Gap {
                length: time("gapMs"),
                resumed: time("resumedMs"),
                healthy: gaps[what]["healthy"] == true,
            }
        };
        Ok(Gaps {
            pictures: gap("frames"),
            packets: gap("packets"),
        })
    }

    /// Ends the call through its signalling.
    pub fn hang_up(self) -> Result<()> {
        self.browser.evaluate("await lab.hangUp()").map(|_| ())
    }
}

impl Stats {
    /// Reads what `peerStats` of `stats.js` has returned.
    #[must_use]
    pub fn of(stats: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let received = stats["received"].as_array().into_iter().flatten();
        Self {
            state: text(&stats["state"]),
            remote: candidate(&stats["remote"]),
            frames_decoded: stats["framesDecoded"].as_u64().unwrap_or_default(),
            audio_energy: stats["audioEnergy"].as_f64().unwrap_or_default(),
            received: received.map(text).collect(),
        }
    }
}

fn candidate(value: &Value) -> Option<Candidate> {
    Some(Candidate {
        address: value["address"].as_str()?.parse().ok()?,
        port: u16::try_from(value["port"].as_u64()?).ok()?,
        protocol: value["protocol"].as_str()?.to_owned(),
    })
}
