//! A scratch directory, removed when dropped unless a test is panicking or `XRTC_LAB_KEEP` is set.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process, thread};

use super::{Result, janus, report};

const PREFIX: &str = "xrtc-lab-";

/// A directory of its own under the system's temporary one.
#[derive(Debug)]
pub struct WorkDir {
    name: String,
    path: PathBuf,
}

impl WorkDir {
    /// Runs `test` with a new one. What fails, fails while the directory is still there, so that its logs are
    /// kept. A failure during which Janus itself crashed (Debian's does, in its HTTP library, once in a hundred runs
    /// or so, with and without a proxy) says nothing of xrtc: it is reported, and the test runs once more.
    pub fn scope(test: impl Fn(&Self) -> Result<()>) {
        let attempt = || {
            panic::catch_unwind(AssertUnwindSafe(|| {
                let work = Self::new().expect("the temporary directory is writable");
                test(&work).unwrap_or_else(|error| panic!("{error}"));
            }))
        };
        let _ = janus::take_crash();
        let Err(failure) = attempt() else { return };
        let Some(signal) = janus::take_crash() else {
            panic::resume_unwind(failure)
        };
        report(format_args!("Janus itself crashed (signal {signal}); once more"));
        if let Err(failure) = attempt() {
            panic::resume_unwind(failure);
        }
    }

    /// A new one, for tests that do not need [`WorkDir::scope`].
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let serial = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{serial}", process::id());
        let path = env::temp_dir().join(format!("{PREFIX}{name}"));
        fs::create_dir_all(&path)?;
        Ok(Self { name, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Removes the directories of lab runs whose process is gone.
pub(super) fn sweep() {
    let Ok(entries) = fs::read_dir(env::temp_dir()) else {
        return;
    };
    for entry in entries.filter_map(|entry| entry.ok()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if thread::panicking() || env::var_os("XRTC_LAB_KEEP").is_some() {
            // Under a name that no sweeper looks for.
            let kept = env::temp_dir().join(format!("xrtc-kept-{}", self.name));
            let place = fs::rename(&self.path, &kept).map_or(&self.path, |()| &kept);
            report(format_args!("logs kept in {}", place.display()));
        } else {
            // What cannot be removed is only litter in the temporary directory.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
