//! Who asks: wrk, h2load, and a WebSocket client of our own.

use std::fs;
use std::process::Command;
use std::time::Duration;

use xrtc_testing::lab::{Error, Result, WorkDir};

use super::proxies::{LOAD_CPU, Proxy, pinned};
use super::websocket;

/// Connections at once; on HTTP/2 as many streams, on a quarter of the connections.
const CONNECTIONS: u32 = 32;
const HTTP2_CONNECTIONS: u32 = 8;

/// What is asked for.
pub(crate) enum Load {
    /// GET on connections that are kept.
    Get { tls: bool, path: &'static str },
    /// GET over HTTP/2, always with TLS.
    Http2 { path: &'static str },
    /// POST on connections that are kept.
    Post { path: &'static str, body: Post },
    /// Binary messages of so many bytes, each sent when the one before has come back.
    WebSocket { length: usize },
}

/// The bodies that are posted, as Janus clients do.
#[derive(Clone, Copy)]
pub(crate) enum Post {
    /// 1 KiB without anything of ICE.
    Json,
    /// A session description.
    Offer,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Requests per second.
    pub(crate) rate: f64,
    /// Seconds of processor time per request.
    pub(crate) cpu: f64,
}

impl Sample {
    /// The median of each figure; there is at least one sample.
    pub(crate) fn median(samples: Vec<Self>) -> Self {
        let middle = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = samples.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Self {
            rate: middle(|sample| sample.rate),
            cpu: middle(|sample| sample.cpu),
        }
    }
}

impl Load {
    /// Asks a proxy for about this long: requests that were answered as they should be, and seconds.
    pub(crate) fn run(&self, proxy: &Proxy, work: &WorkDir, run: Duration) -> Result<(u64, f64)> {
        match self {
            Self::Get { tls, path } => {
                let url = if *tls {
                    format!("https://127.0.0.1:{}{path}", proxy.tls_port)
                } else {
                    format!("http://127.0.0.1:{}{path}", proxy.port)
                };
                wrk(&[&url], run)
            }
            Self::Post { path, body } => {
                let script = work.join(&format!("post-{}.lua", body.name()));
                fs::write(&script, body.script())?;
                let url = format!("http://127.0.0.1:{}{path}", proxy.port);
                wrk(&["-s", &script.to_string_lossy(), &url], run)
            }
            Self::Http2 { path } => h2load(&format!("https://127.0.0.1:{}{path}", proxy.tls_port), run),
            Self::WebSocket { length } => websocket::measure(proxy.port, CONNECTIONS, *length, run),
        }
    }
}

impl Post {
    const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Offer => "offer",
        }
    }

    /// The script that makes wrk post it.
    fn script(self) -> String {
        let body = match self {
            Self::Json => {
                let start = r#"{"janus":"message","session_id":4711000000000001,"handle_id":815000000000001,"transaction":"aBcDeFgHiJkL","body":{"request":"configure","room":1234,"display":""#;
                let end = "\"}}";
                format!("{start}{}{end}", "n".repeat(1024 - start.len() - end.len()))
            }
            Self::Offer => {
                let sdp = OFFER.replace('\n', "\\r\\n");
                format!(
                    r#"{{"janus":"message","transaction":"aBcDeFgHiJkL","body":{{"audio":true,"video":true}},"jsep":{{"type":"offer","sdp":"{sdp}"}}}}"#
                )
            }
        };
        format!(
            "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/json\"\nwrk.body = [==[{body}]==]\n"
        )
    }
}

/// As a browser with a data channel only makes it.
const OFFER: &str = "\
v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS
m=application 54400 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 192.0.2.7
a=candidate:1467250027 1 udp 2122260223 192.0.2.7 54400 typ host generation 0 network-id 1
a=candidate:435653019 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active generation 0 network-id 1
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=ice-options:trickle
a=fingerprint:sha-256 19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2
a=setup:actpass
a=mid:0
a=sctp-port:5000
a=max-message-size:262144
";

fn wrk(arguments: &[&str], run: Duration) -> Result<(u64, f64)> {
    let connections = CONNECTIONS.to_string();
    let seconds = format!("{}s", run.as_secs());
    let mut command = pinned(LOAD_CPU, "wrk");
    command
        .args(["-t", "1", "-c", &connections, "-d", &seconds])
        .args(arguments);
    let text = output(command)?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(Error::new(format!("not everything was answered:\n{text}")));
    }
    // "  123456 requests in 3.00s, 150.00MB read"
    let line = text.lines().find(|line| line.contains(" requests in "));
    let fields: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    let count = fields.first().and_then(|field| field.parse().ok());
    let seconds = fields
        .get(3)
        .and_then(|field| field.trim_end_matches("s,").parse().ok());
    count
        .zip(seconds)
        .ok_or_else(|| Error::new(format!("wrk said:\n{text}")))
}

fn h2load(url: &str, run: Duration) -> Result<(u64, f64)> {
    let streams = (CONNECTIONS / HTTP2_CONNECTIONS).to_string();
    let connections = HTTP2_CONNECTIONS.to_string();
    let seconds = run.as_secs().to_string();
    let mut command = pinned(LOAD_CPU, "h2load");
    command.args(["-t", "1", "-c", &connections, "-m", &streams, "-D", &seconds, url]);
    let text = output(command)?;
    // "requests: 123 total, 130 started, 123 done, 123 succeeded, 0 failed, 0 errored, 0 timeout"
    let line = text
        .lines()
        .find(|line| line.starts_with("requests:"))
        .unwrap_or_default();
    let number = |name: &str| {
        let part = line.split([':', ',']).find(|part| part.ends_with(name));
        part.and_then(|part| part.split_whitespace().next()?.parse::<u64>().ok())
    };
    match (number(" succeeded"), number(" failed"), number(" errored")) {
        (Some(count), Some(0), Some(0)) if count > 0 => Ok((count, run.as_secs_f64())),
        _ => Err(Error::new(format!("not everything was answered:\n{text}"))),
    }
}

fn output(mut command: Command) -> Result<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("{command:?} failed: {text}{complaint}")))
}
