//! A daemon under test.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use xrtc_testing::lab::{Process, WorkDir, binary};

use crate::client;

const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// Runs until dropped.
pub(crate) struct Daemon {
    process: Process,
    pub(crate) work: WorkDir,
}

impl Daemon {
    /// Starts with this configuration; `DIR` in it is a directory of the test's own.
    pub(crate) fn start(config: &str) -> Self {
        let work = WorkDir::new().unwrap();
        fs::create_dir_all(work.join("root")).unwrap();
        Self::start_in(work, config, &[])
    }

    /// The same in a directory that is there, with variables in its environment.
    pub(crate) fn start_in(work: WorkDir, config: &str, environment: &[(&str, String)]) -> Self {
        fs::write(work.join("routes.yml"), filled(&work, config)).unwrap();
        Self::start_from(work, environment)
    }

    /// The same with the file that is there.
    pub(crate) fn start_from(work: WorkDir, environment: &[(&str, String)]) -> Self {
        let mut command = Command::new(binary().unwrap());
        command
            .args(["run", "--log-format", "json", "-c"])
            .arg(work.join("routes.yml"))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(work.path());
        let mut process = Process::spawn("xrtc", &mut command, work.path()).unwrap();
        process.wait_for_line("/healthz", PATIENCE).unwrap();
        Self { process, work }
    }

    /// Puts another configuration in place of the file, at once.
    pub(crate) fn rewrite(&self, config: &str) {
        fs::write(self.work.join("new.yml"), filled(&self.work, config)).unwrap();
        fs::rename(self.work.join("new.yml"), self.work.join("routes.yml")).unwrap();
    }

    /// The address that a service listens on now.
    pub(crate) fn addr(&self, service: &str) -> SocketAddr {
        let log = self.log();
        let lines = log
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str(line).ok());
        let mut found = lines.filter_map(|line: serde_json::Value| {
            let fields = &line["fields"];
            (fields["service"] == service && fields["addr"].is_string())
                .then(|| fields["addr"].as_str().unwrap().parse().unwrap())
        });
        found
            .next()
            .unwrap_or_else(|| panic!("{service} listens nowhere:\n{log}"))
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr("web"))
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let status = Command::new("kill")
            .args([format!("-{name}"), id])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for a line of its log.
    pub(crate) async fn logged(&self, text: &str) {
        self.logged_times(text, 1).await;
    }

    /// Waits until so many lines of its log have this text.
    pub(crate) async fn logged_times(&self, text: &str, times: usize) {
        until(&format!("{text:?} in the log, {times} times"), || {
            self.log().lines().filter(|line| line.contains(text)).count() >= times
        })
        .await;
    }

    /// Stops it in order and gives back its directory.
    pub(crate) fn stop(mut self) -> WorkDir {
        self.process.interrupt(PATIENCE).unwrap();
        self.work
    }

    /// The address of its admin listener now.
    pub(crate) fn admin(&self) -> SocketAddr {
        let log = self.log();
        let line = log.lines().rfind(|line| line.contains("/healthz")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        // `Some(127.0.0.1:1234)`
        let addr = line["fields"]["addr"].as_str().unwrap();
        let addr = addr.trim_start_matches("Some(").trim_end_matches(')');
        addr.parse().unwrap()
    }

    /// A page of its admin listener.
    pub(crate) async fn page(&self, path: &str) -> String {
        let response = client::get(&format!("http://{}{path}", self.admin())).await;
        let page = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(page.to_vec()).unwrap()
    }

    /// A number of its metrics, by the whole name.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let page = self.page("/metrics").await;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in\n{page}"))
    }

    /// Waits until a number of its metrics is this one.
    pub(crate) async fn reaches(&self, name: &str, expected: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(name).await;
            if value == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is {value}, not {expected}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// A counter of the HTTP side.
    pub(crate) async fn count(&self, event: &str) -> u64 {
        self.metric(&format!("xrtc_http_total{{event=\"{event}\"}}"))
            .await
    }
}

fn filled(work: &WorkDir, config: &str) -> String {
    let dir = work.path().display().to_string();
    let top = format!("state_dir: {dir}/state\nmedia_threads: 1\nadmin: {{addr: '127.0.0.1:0'}}\n");
    top + &config.replace("DIR", &dir)
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "no sign of {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// One service `web` on a free port, whose `http` section has these lines.
pub(crate) fn web(http: &[&str]) -> String {
    let lines: String = http
        .iter()
        .flat_map(|part| part.lines())
        .map(|line| format!("      {line}\n"))
        .collect();
    format!("services:\n  web:\n    proto: http\n    net: {{addr: '127.0.0.1:0'}}\n    http:\n{lines}")
}

/// `routes` with one that takes every path.
pub(crate) fn route_to(upstream: SocketAddr, more: &str) -> String {
    format!("routes:\n  all:\n    upstream: http://{upstream}\n    paths: [/]\n    {more}\n")
}

/// The lines of a file that is written meanwhile, once there are so many.
pub(crate) async fn lines_of(path: PathBuf, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(&path).unwrap_or_default();
    until(&format!("{count} lines in {}", path.display()), || {
        read().lines().count() >= count
    })
    .await;
    read().lines().map(str::to_owned).collect()
}
