//! A packet capture on one interface, by tcpdump.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{Namespace, Process, Result, Trace, WorkDir, pcap};

const START: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(5);

/// A capture that is under way.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts capturing whole packets, both ways; returns once nothing can be missed any more.
    pub fn start(namespace: &Namespace, interface: &str, work: &WorkDir) -> Result<Self> {
        let file = work.join(&format!("{}.pcap", namespace.name()));
        let mut command = namespace.command("tcpdump");
        // `-Z root`: the directory belongs to whoever runs the tests, not to the user that tcpdump would turn
        // into.
        command.args([
            "-i",
            interface,
            "-n",
            "-U",
            "--immediate-mode",
            "-s",
            "0",
            "-B",
            "16384",
            "-Z",
            "root",
            "-w",
        ]);
        command.arg(&file);
        let mut process = Process::spawn(
            &format!("tcpdump-{}", namespace.name()),
            &mut command,
            work.path(),
        )?;
        process.wait_for_line("listening on", START)?;
        Ok(Self { process, file })
    }

    /// Ends the capture and reads it.
    pub fn finish(mut self) -> Result<Trace> {
        self.process.interrupt(END)?;
        pcap::parse(&fs::read(&self.file)?).map(Trace::new)
    }
}
