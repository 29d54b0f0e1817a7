//! The real `xrtc` on loopback ports of the system's choice.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use xrtc::config::TlsFiles;

use super::{Metrics, get};
use crate::lab::{Error, Process, Result, WorkDir, binary};

const START: Duration = Duration::from_secs(10);
/// The address of its TCP port. xrtc sends no call to one of its own ports, and takes no account of the protocol then,
/// so on the servers' address it would by chance have the number of a server's UDP port.
const FRONT: &str = "127.0.0.3";
/// The last line of the log before the daemon serves.
const READY: &str = "admin: /metrics";

/// What to run it with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// HTTP address of the server behind it.
    pub server: SocketAddr,
    /// Where its key is.
    pub state: PathBuf,
    /// Networks that calls may be sent to beside the server's own address.
    pub allow: Vec<String>,
    /// Threads that forward media; `None`: as many as xrtc likes.
    pub media_threads: Option<u16>,
    /// The TCP port's certificate, with which it takes TLS too.
    pub tls: Option<TlsFiles>,
    /// HTTP and WebSocket address of a server of everything else.
    pub web: Option<SocketAddr>,
}

impl Setup {
    /// In front of `server`, with a key of its own.
    #[must_use]
    pub fn new(server: SocketAddr, work: &WorkDir) -> Self {
        Self {
            server,
            state: work.join("state"),
            allow: Vec::new(),
            media_threads: None,
            tls: None,
            web: None,
        }
    }

    /// Both modes lead to the same server.
    fn routes(&self) -> String {
        let Self { server, allow, .. } = self;
        let web = self.web.map(|web| {
            let group = format!("  web: {{proto: upstream, servers: [\"http://{web}\", \"ws://{web}\"]}}\n");
            let route = "        web: {upstream: \"http://web\", paths: [/]}\n".to_owned();
            (group, route)
        });
        let (web_group, web_route) = web.unwrap_or_default();
        let tls = self.tls.as_ref().map(|TlsFiles { crt, key }| {
            let (crt, key) = (crt.display(), key.display());
            format!(", tls_crt_file: {crt}, tls_key_file: {key}")
        });
        let threads = self
            .media_threads
            .map(|threads| format!("media_threads: {threads}\n"));
        format!(
            r#"{threads}state_dir: {state}
admin: {{addr: "127.0.0.1:0"}}
services:
  echo:
    proto: upstream
    servers: ["http://{server}"]
    media: {{allow: {allow:?}}}
{web_group}  media:
    proto: udp
    net: {{addr: "127.0.0.1:0", enable_ice: true, candidate_ips: ["127.0.0.1"]}}
  front:
    proto: tcp
    net: {{addr: "{FRONT}:0", enable_ice: true, candidate_ips: ["{FRONT}"]{tls}}}
    enable_http: true
    http:
      routes:
        hijack: {{upstream: "http://echo", paths: [{{/hijack: /call}}]}}
        direct: {{upstream: "http://echo", icedirect: true, paths: [{{/direct: /call}}]}}
{web_route}"#,
            tls = tls.unwrap_or_default(),
            threads = threads.unwrap_or_default(),
            state = self.state.display(),
        )
    }
}

/// A running daemon, killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    /// Its TCP port, which takes ICE as well.
    pub http: SocketAddr,
    /// Its UDP port.
    pub media: SocketAddr,
    admin: SocketAddr,
    process: Process,
}

impl Daemon {
    /// Starts it and waits until it serves. `name` is that of its files in `work`.
    pub fn start(name: &str, setup: &Setup, work: &WorkDir) -> Result<Self> {
        let file = work.join(&format!("{name}.yml"));
        fs::write(&file, setup.routes())?;
        let mut command = Command::new(binary()?);
        command
            .args(["run", "--log", "info", "--log-format", "json", "-c"])
            .arg(file)
            .env("HOME", work.path());
        let mut process = Process::spawn(name, &mut command, work.path())?;
        process.wait_for_line(READY, START)?;
        let log = process.log();
        Ok(Self {
            http: logged_address(&log, "service", "front")?,
            media: logged_address(&log, "message", "ICE over UDP")?,
            admin: logged_address(&log, "message", READY)?,
            process,
        })
    }

    /// What it counts.
    pub async fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::parse(&get(self.admin, "/metrics").await?.body))
    }

    /// The address that a service said it listens on, the first time that it did.
    pub fn address(&self, service: &str) -> Result<SocketAddr> {
        logged_address(&self.process.log(), "service", service)
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// The address in the log line of which `field` begins with `what`.
fn logged_address(log: &str, field: &str, what: &str) -> Result<SocketAddr> {
    let address = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|line| line["fields"].clone())
        .filter(|fields| fields[field].as_str().is_some_and(|text| text.starts_with(what)))
        .find_map(|fields| {
            let text = fields["addr"].as_str()?;
            let text = text.trim_start_matches("Some(").trim_end_matches(')');
            text.parse().ok()
        });
    address.ok_or_else(|| Error::new(format!("xrtc has not logged an address of {what:?}:\n{log}")))
}
