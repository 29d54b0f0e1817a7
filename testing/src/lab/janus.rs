//! Janus as Debian packages it, on a copy of its own configuration, with a video mountpoint that has real
//! video.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Duration;

use super::{Namespace, Process, Result, WorkDir, prerequisites};

/// The streaming mountpoint with video. The package's own file mountpoints are audio only.
pub const VIDEO_MOUNTPOINT: u32 = 10;

const HTTP_PORT: u16 = 8088;
const WS_PORT: u16 = 8188;
const RTP_PORT: u16 = 5204;
const UNUSED_PLUGINS: [&str; 8] = [
    "audiobridge",
    "duktape",
    "lua",
    "nosip",
    "recordplay",
    "sip",
    "videocall",
    "voicemail",
];
/// As packaged, these fail to start and are unloaded at once; under load, Janus was seen to crash
/// in code that was gone.
const UNUSED_TRANSPORTS: [&str; 4] = ["mqtt", "nanomsg", "pfunix", "rabbitmq"];
const START: Duration = Duration::from_secs(15);

/// Switches of Janus that change what it says in SDP and STUN.
#[derive(Clone, Copy, Debug, Default)]
pub struct JanusOptions {
    /// `nat.ice_lite`.
    pub ice_lite: bool,
    /// `nat.ice_tcp`.
    pub ice_tcp: bool,
    /// `nat.full_trickle`.
    pub full_trickle: bool,
    /// `media.ipv6`: IPv6 candidates as well.
    pub ipv6: bool,
    /// `general.reclaim_session_timeout`: how long a session outlives its WebSocket, for another one to claim it. Seconds.
    pub reclaim: u32,
}

/// A running Janus and the source of its video.
#[derive(Debug)]
pub struct Janus {
    _source: Process,
    process: Process,
}

impl Janus {
    /// Starts it in `namespace`, whose addresses must be up: it picks its own at its start.
    pub fn start(namespace: &Namespace, work: &WorkDir, options: JanusOptions) -> Result<Self> {
        let directory = work.join("janus");
        copy_files(Path::new("/etc/janus"), &directory)?;
        configure(&directory, options)?;
        let mut command = namespace.command("janus");
        let main = directory.join("janus.jcfg");
        // Where a core dump would fall.
        command.current_dir(work.path());
        command.arg("-F").arg(&directory).arg("-C").arg(main).args([
            "--disable-colors",
            "--debug-level",
            "4",
        ]);
        let mut process = Process::spawn("janus", &mut command, work.path())?;
        process.wait_for_listener(HTTP_PORT, START)?;
        process.wait_for_listener(WS_PORT, START)?;

        let mut command = namespace.command("node");
        let script = prerequisites::browser_directory().join("replay.mjs");
        command
            .arg(script)
            .args([prerequisites::RECORDING, &RTP_PORT.to_string()]);
        let source = Process::spawn("replay", &mut command, work.path())?;
        Ok(Self {
            _source: source,
            process,
        })
    }

    /// Its REST and WebSocket addresses, given its host, as `routes.yml` lists servers.
    pub fn servers(host: &str) -> [String; 2] {
        [
            format!("http://{host}:{HTTP_PORT}"),
            format!("ws://{host}:{WS_PORT}"),
        ]
    }

    /// The sessions that it has created, by its log.
    #[must_use]
    pub fn sessions(&self) -> BTreeSet<String> {
        let log = self.log();
        let created = log
            .lines()
            .filter_map(|line| line.split("Creating new session: ").nth(1));
        created
            .filter_map(|rest| rest.split(';').next())
            .map(str::to_owned)
            .collect()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

thread_local! {
    static CRASH: Cell<Option<i32>> = const { Cell::new(None) };
}

/// The signal that a Janus of this thread's tests was found to have died of, once.
pub(super) fn take_crash() -> Option<i32> {
    CRASH.take()
}

impl Drop for Janus {
    fn drop(&mut self) {
        let ended = self.process.child().try_wait().ok().flatten();
        if let Some(signal) = ended.and_then(|status| status.signal()) {
            CRASH.set(Some(signal));
        }
    }
}

fn configure(directory: &Path, options: JanusOptions) -> Result<()> {
    let JanusOptions {
        ice_lite,
        ice_tcp,
        full_trickle,
        ipv6,
        reclaim,
    } = options;
    let sections = [
        ("general", format!("reclaim_session_timeout = {reclaim}")),
        (
            "nat",
            format!("ice_lite = {ice_lite}\n ice_tcp = {ice_tcp}\n full_trickle = {full_trickle}"),
        ),
        ("media", format!("ipv6 = {ipv6}")),
        ("plugins", disable(&UNUSED_PLUGINS)),
        ("transports", disable(&UNUSED_TRANSPORTS)),
    ];
    edit(&directory.join("janus.jcfg"), |text| {
        sections.iter().fold(text, |text, (section, lines)| {
            text.replacen(
                &format!("\n{section}: {{"),
                &format!("\n{section}: {{\n {lines}"),
                1,
            )
        })
    })?;
    let mountpoint = format!(
        r#"
video: {{
    type = "rtp"
    id = {VIDEO_MOUNTPOINT}
    description = "The packaged recording"
    media = ({{ type = "video", mid = "v", port = {RTP_PORT}, pt = 100, codec = "vp8" }})
}}
"#
    );
    edit(&directory.join("janus.plugin.streaming.jcfg"), |text| {
        text + &mountpoint
    })
}

fn disable(names: &[&str]) -> String {
    let files: Vec<String> = names.iter().map(|name| format!("libjanus_{name}.so")).collect();
    format!("disable = \"{}\"", files.join(","))
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) -> Result<()> {
    fs::write(path, change(fs::read_to_string(path)?))?;
    Ok(())
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
