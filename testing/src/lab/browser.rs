//! A real browser, driven by `testing/browser/driver.mjs` over JSON lines.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Authority, Error, Namespace, Process, Result, WorkDir, prerequisites};

const LAUNCH: Duration = Duration::from_secs(60);
const REPLY: Duration = Duration::from_secs(40);

/// Which browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserKind {
    /// Debian's `chromium`.
    Chromium,
    /// Debian's `firefox-esr`.
    Firefox,
}

impl BrowserKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Chromium, Self::Firefox];

    fn name(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Firefox => "firefox",
        }
    }
}

impl fmt::Display for BrowserKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, so that a table can align it.
        f.pad(self.name())
    }
}

/// A running browser. It has one page, and more when they are turned to.
#[derive(Debug)]
pub struct Browser {
    kind: BrowserKind,
    page: usize,
    requests: ChildStdin,
    replies: Receiver<Value>,
    last_id: u64,
    process: Process,
}

impl Browser {
    /// Launches it in `namespace`. Pages of `origin`, though plain http, may use the (fake) camera.
    pub fn launch(kind: BrowserKind, namespace: &Namespace, work: &WorkDir, origin: &str) -> Result<Self> {
        Self::launch_with(kind, namespace, work, origin, None)
    }

    /// The same with a certificate authority that it trusts, as if its user had installed it.
    pub fn launch_trusting(
        kind: BrowserKind,
        namespace: &Namespace,
        work: &WorkDir,
        origin: &str,
        authority: &Authority,
    ) -> Result<Self> {
        Self::launch_with(kind, namespace, work, origin, Some(authority))
    }

    fn launch_with(
        kind: BrowserKind,
        namespace: &Namespace,
        work: &WorkDir,
        origin: &str,
        authority: Option<&Authority>,
    ) -> Result<Self> {
        let home = work.join(&format!("home-{kind}"));
        let profile = home.join("profile");
        std::fs::create_dir_all(&profile)?;
        if let Some(authority) = authority {
            let of_user = home.join(".pki/nssdb");
            authority.install(match kind {
                BrowserKind::Chromium => &of_user,
                BrowserKind::Firefox => &profile,
            })?;
        }
        let mut command = namespace.command("node");
        command
            .arg(prerequisites::browser_directory().join("driver.mjs"))
            .arg(kind.name())
            .arg(profile)
            .arg(origin);
        // Browsers keep caches and settings there, and refuse another user's.
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &home);
        let mut process = Process::spawn_piped(kind.name(), &mut command, work.path())?;
        let pipes = process.child();
        let (requests, output) = pipes
            .stdin
            .take()
            .zip(pipes.stdout.take())
            .ok_or_else(|| Error::new("the driver has no pipes"))?;
        let browser = Self {
            kind,
            page: 0,
            requests,
            replies: lines(output),
            last_id: 0,
            process,
        };
        let ready = browser.next_reply(Instant::now() + LAUNCH)?;
        match &ready["ready"] {
            Value::String(_) => Ok(browser),
            _ => Err(browser.complaint(&format!("said {ready} instead of being ready"))),
        }
    }

    /// Which one it is.
    pub fn kind(&self) -> BrowserKind {
        self.kind
    }

    /// What follows is done in this page; 0 is the first. A new one is made.
    pub fn turn_to(&mut self, page: usize) {
        self.page = page;
    }

    /// Opens `url` in its page, leaving whatever was there.
    pub fn open(&mut self, url: &str) -> Result<()> {
        self.request(json!({"do": "open", "url": url})).map(|_| ())
    }

    /// Runs `script`, the body of an async function, in its page.
    pub fn evaluate(&mut self, script: &str) -> Result<Value> {
        self.request(json!({"do": "eval", "js": script}))
    }

    /// Clicks on what `selector` finds, once it is visible.
    pub fn click(&mut self, selector: &str) -> Result<()> {
        self.request(json!({"do": "click", "on": selector})).map(|_| ())
    }

    /// Types `text` into what `selector` finds, once it is visible; a newline is the Enter key.
    pub fn enter(&mut self, selector: &str, text: &str) -> Result<()> {
        self.request(json!({"do": "type", "on": selector, "text": text}))
            .map(|_| ())
    }

    /// Waits until `condition`, an expression in its page, holds.
    pub fn wait_for(&mut self, condition: &str, within: Duration) -> Result<()> {
        let script = format!(
            "const end = performance.now() + {};
             while (performance.now() < end) {{
               if ({condition}) return true;
               await new Promise((resolve) => setTimeout(resolve, 50));
             }}
             return false;",
            within.as_millis()
        );
        match self.evaluate(&script)? {
            Value::Bool(true) => Ok(()),
            _ => Err(self.complaint(&format!("not within {within:?}: {condition}"))),
        }
    }

    fn request(&mut self, mut request: Value) -> Result<Value> {
        self.last_id += 1;
        request["id"] = json!(self.last_id);
        request["page"] = json!(self.page);
        writeln!(self.requests, "{request}")?;
        let deadline = Instant::now() + REPLY;
        loop {
            let mut reply = self.next_reply(deadline)?;
            if reply["id"] != self.last_id {
                continue;
            }
            return match &reply["error"] {
                Value::Null => Ok(reply["value"].take()),
                error => Err(self.complaint(&format!("{error}"))),
            };
        }
    }

    fn next_reply(&self, deadline: Instant) -> Result<Value> {
        match self
            .replies
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(reply) => Ok(reply),
            Err(RecvTimeoutError::Timeout) => Err(self.complaint("did not answer in time")),
            Err(RecvTimeoutError::Disconnected) => Err(self.complaint("is gone")),
        }
    }

    fn complaint(&self, what: &str) -> Error {
        Error::new(format!(
            "{}: {what}; its log ends with:\n{}",
            self.kind,
            self.process.log_tail()
        ))
    }
}

/// A channel, because a pipe cannot be read with a deadline.
fn lines(output: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
            // Browsers write to standard output too; only the driver writes JSON objects.
            let Ok(reply) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            if sender.send(reply).is_err() {
                return;
            }
        }
    });
    receiver
}
