//! A program that runs in a namespace, with its output in a log file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Error, Result};

/// Between two looks at a state that is waited for.
const POLL: Duration = Duration::from_millis(20);
/// How much of a log goes into an error.
const TAIL_LINES: usize = 15;
/// Ticks of `/proc/PID/stat` in a second, on every Linux that Rust runs on (`USER_HZ`).
const TICKS: f64 = 100.0;

/// A running program, killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; standard error, and standard output unless `command` captures it, go to
    /// `DIRECTORY/NAME.log`.
    pub fn spawn(name: &str, command: &mut Command, directory: &Path) -> Result<Self> {
        Self::spawn_with(name, command, directory, |command, log| {
            command.stdin(Stdio::null()).stdout(log);
        })
    }

    /// As [`Process::spawn`], with a pipe to its standard input and from its standard output.
    pub fn spawn_piped(name: &str, command: &mut Command, directory: &Path) -> Result<Self> {
        Self::spawn_with(name, command, directory, |command, _| {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        })
    }

    fn spawn_with(
        name: &str,
        command: &mut Command,
        directory: &Path,
        wire: impl FnOnce(&mut Command, File),
    ) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        wire(command, file.try_clone()?);
        let child = command
            .stderr(file)
            .spawn()
            .map_err(|error| Error::from(error).during(name))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Seconds of processor time that it has used so far, in hundredths.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.id())
    }

    /// Its pipes, where it was spawned with such.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Ends it the hard way (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Interrupts it (SIGINT) and waits until it has ended by itself.
    pub fn interrupt(&mut self, within: Duration) -> Result<()> {
        Command::new("kill")
            .args(["-INT", &self.id().to_string()])
            .status()?;
        self.wait_until("its end", within, |process| {
            Ok(process.child.try_wait()?.is_some())
        })
    }

    /// Waits for a line of its log that contains `text`.
    pub fn wait_for_line(&mut self, text: &str, within: Duration) -> Result<()> {
        self.wait_alive(&format!("the line {text:?}"), within, |process| {
            process.log().contains(text)
        })
    }

    /// Waits until something in its namespace listens on TCP `port`.
    pub fn wait_for_listener(&mut self, port: u16, within: Duration) -> Result<()> {
        self.wait_alive(&format!("a listener on TCP port {port}"), within, |process| {
            listens(process.id(), port)
        })
    }

    fn wait_alive(
        &mut self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        self.wait_until(what, within, |process| {
            if let Some(status) = process.child.try_wait()? {
                return Err(process.complaint(&format!("ended ({status}) before {what}")));
            }
            Ok(holds(process))
        })
    }

    fn wait_until(
        &mut self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + within;
        while !holds(self)? {
            if Instant::now() > deadline {
                return Err(self.complaint(&format!("no sign of {what} within {within:?}")));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn complaint(&self, what: &str) -> Error {
        Error::new(format!(
            "{}: {what}; its log ends with:\n{}",
            self.name,
            self.log_tail()
        ))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kill();
    }
}

/// Seconds of processor time that a process has used so far, user and system together, in hundredths.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the name, may hold spaces, and ends with the last parenthesis: user time is the 12th after it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    Ok(ticks.iter().sum::<f64>() / TICKS)
}

/// Reads the socket tables of the namespace that `pid` lives in: no connection is made just to look.
fn listens(pid: u32, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    ["tcp", "tcp6"].iter().any(|table| {
        let sockets = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        sockets.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&suffix)) && fields.nth(1) == Some(LISTEN)
        })
    })
}
