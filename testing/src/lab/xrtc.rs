//! The daemon under test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use std::{env, io};

use super::{Error, Janus, Namespace, Process, Result, Topology, Transport, WorkDir, prerequisites};

/// The one port, TCP and UDP, that the lab's configuration and the embedded default use.
pub const PORT: u16 = 6443;

const START: Duration = Duration::from_secs(10);
/// When the pages were last changed: long ago, as a site's are, so that whatever a browser does with a page that it may
/// keep, it does from the first call on, and not only in a test that takes long.
const PAGES_MODIFIED: SystemTime = SystemTime::UNIX_EPOCH;

/// Switches of the lab's configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct XrtcOptions {
    /// Clients are shown TCP candidates as well.
    pub ice_tcp: bool,
    /// The routes prefer Janus' TCP candidates.
    pub icetcp: bool,
}

/// A running xrtc.
#[derive(Debug)]
pub struct Xrtc {
    namespace: String,
    arguments: Vec<PathBuf>,
    directory: PathBuf,
    process: Process,
}

impl Xrtc {
    /// Starts it in front of the lab's Janus, with the test page as its static files, and waits until it
    /// listens.
    ///
    /// `/hijack` and `/direct` lead to the same Janus, one in each mode.
    pub fn start(topology: &Topology, work: &WorkDir) -> Result<Self> {
        Self::start_with(topology, work, XrtcOptions::default())
    }

    /// The same with switches.
    pub fn start_with(topology: &Topology, work: &WorkDir, options: XrtcOptions) -> Result<Self> {
        let root = page_root(work)?;
        let file = work.join("routes.yml");
        fs::write(&file, routes(&root, &work.join("state"), options))?;
        Self::spawn(&topology.proxy, work, vec!["run".into(), "-c".into(), file])
    }

    /// Starts it on a configuration of the test's own, which listens on [`PORT`].
    pub fn start_with_routes(namespace: &Namespace, work: &WorkDir, routes: &str) -> Result<Self> {
        let file = work.join("routes.yml");
        fs::write(&file, routes)?;
        Self::spawn(namespace, work, vec!["run".into(), "-c".into(), file])
    }

    /// Starts it with no configuration at all.
    pub fn start_embedded(namespace: &Namespace, work: &WorkDir) -> Result<Self> {
        Self::spawn(namespace, work, vec!["run".into()])
    }

    fn spawn(namespace: &Namespace, work: &WorkDir, arguments: Vec<PathBuf>) -> Result<Self> {
        let directory = work.path().to_owned();
        let process = launch(
            namespace.command(&binary()?.to_string_lossy()),
            &arguments,
            &directory,
        )?;
        Ok(Self {
            namespace: namespace.name().to_owned(),
            arguments,
            directory,
            process,
        })
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same configuration and state.
    pub fn start_again(&mut self) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(binary()?);
        self.process = launch(command, &self.arguments, &self.directory)?;
        Ok(())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// The origin of its pages, as the browser sees it.
    pub fn origin() -> String {
        format!("http://{}:{PORT}", Topology::PROXY[0])
    }

    /// The URL of the test page.
    pub fn page() -> String {
        format!("{}/call.html", Self::origin())
    }

    /// The Janus API behind `route` (`hijack` or `direct`).
    pub fn api(route: &str, transport: Transport) -> String {
        let scheme = match transport {
            Transport::Rest => "http",
            Transport::WebSocket => "ws",
        };
        format!("{scheme}://{}:{PORT}/{route}", Topology::PROXY[0])
    }
}

fn launch(mut command: Command, arguments: &[PathBuf], directory: &Path) -> Result<Process> {
    command
        .args(arguments)
        .current_dir(directory)
        .env("HOME", directory);
    let mut process = Process::spawn("xrtc", &mut command, directory)?;
    process.wait_for_listener(PORT, START)?;
    Ok(process)
}

/// `XRTC_BIN`, or what cargo built beside the test that is running.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("XRTC_BIN") {
        return Ok(path.into());
    }
    let test = env::current_exe()?;
    // target/debug/deps/TEST -> target/debug/xrtc
    let path = test
        .ancestors()
        .nth(2)
        .map(|directory| directory.join("xrtc"))
        .filter(|path| path.exists());
    path.ok_or_else(|| {
        Error::new("no xrtc binary beside the tests: run `cargo build` first, or set XRTC_BIN")
    })
}

/// The test page and the stock scripts in one directory; copies, since a static server need not follow links.
pub(super) fn page_root(work: &WorkDir) -> io::Result<PathBuf> {
    let root = work.join("pages");
    fs::create_dir_all(&root)?;
    let pages = prerequisites::browser_directory().join("pages");
    let own = ["call.html", "call.js", "crowd.html", "crowd.js", "stats.js"].map(|name| pages.join(name));
    for file in own
        .iter()
        .map(PathBuf::as_path)
        .chain(prerequisites::PAGE_SCRIPTS.map(Path::new))
    {
        let copy = root.join(file.file_name().unwrap_or_default());
        fs::copy(file, &copy)?;
        File::options()
            .write(true)
            .open(&copy)?
            .set_modified(PAGES_MODIFIED)?;
    }
    Ok(root)
}

fn routes(root: &Path, state: &Path, options: XrtcOptions) -> String {
    let XrtcOptions { ice_tcp, icetcp } = options;
    let [http, ws] = Janus::servers(&Topology::SERVER[0].to_string());
    let [ipv4, ipv6] = Topology::PROXY;
    format!(
        r#"state_dir: {state}
services:
  janus:
    proto: upstream
    servers:
      - {http}
      - {ws}
  media:
    proto: udp
    net:
      addr: ":{PORT}"
      enable_ice: true
      candidate_ips: &candidate_ips
        - {ipv4}
        - "{ipv6}"
  front:
    proto: tcp
    net:
      addr: ":{PORT}"
      enable_ice: {ice_tcp}
      candidate_ips: *candidate_ips
    enable_http: true
    http:
      servername: _
      root: {root}
      routes:
        hijack:
          upstream: http://janus
          icetcp: {icetcp}
          paths:
            - /hijack: /janus
        direct:
          upstream: http://janus
          icetcp: {icetcp}
          icedirect: true
          paths:
            - /direct: /janus
"#,
        state = state.display(),
        root = root.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labs_configuration_says_what_the_lab_means() {
        let text = routes(Path::new("/tmp"), Path::new("/var/state"), XrtcOptions::default());
        let config = xrtc::config::parse(&text, Path::new("/")).expect("it is valid");
        let http = config
            .services
            .iter()
            .find_map(|service| service.http.as_ref())
            .expect("one serves HTTP");
        let modes = http
            .routes
            .iter()
            .map(|route| (route.tag.as_str(), route.icedirect));
        assert_eq!(modes.collect::<Vec<_>>(), [("hijack", false), ("direct", true)]);
        assert!(config.services.iter().all(|service| service.addr.port == PORT));
    }
}
