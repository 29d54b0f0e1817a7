//! Serves the test page when no proxy is there to do it: part of the control.

use std::time::Duration;

use super::{Namespace, Process, Result, WorkDir, prerequisites, xrtc};

const PORT: u16 = 8000;
const START: Duration = Duration::from_secs(10);

/// A static file server for the test page.
#[derive(Debug)]
pub struct PageServer {
    _process: Process,
}

impl PageServer {
    /// Starts it in `namespace`.
    pub fn start(namespace: &Namespace, work: &WorkDir) -> Result<Self> {
        let mut command = namespace.command("node");
        let script = prerequisites::browser_directory().join("serve.mjs");
        command
            .arg(script)
            .arg(xrtc::page_root(work)?)
            .arg(PORT.to_string());
        let mut process = Process::spawn("pages", &mut command, work.path())?;
        process.wait_for_listener(PORT, START)?;
        Ok(Self { _process: process })
    }

    /// Its origin, given its host.
    pub fn origin(host: &str) -> String {
        format!("http://{host}:{PORT}")
    }
}
