//! A scratch directory, removed when dropped unless a test is panicking or `XRTC_LAB_KEEP` is set.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process, thread};

use super::{Result, report};

const PREFIX: &str = "xrtc-lab-";

/// A directory of its own under the system's temporary one.
#[derive(Debug)]
pub struct WorkDir(PathBuf);

impl WorkDir {
    /// Runs `test` with a new one. What fails, fails while the directory is still there, so that its logs are kept.
    pub fn scope(test: impl FnOnce(&Self) -> Result<()>) {
        let work = Self::new().expect("the temporary directory is writable");
        test(&work).unwrap_or_else(|error| panic!("{error}"));
    }

    fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let serial = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("{PREFIX}{}-{serial}", process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
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
            report(format_args!("logs kept in {}", self.0.display()));
        } else {
            // What cannot be removed is only litter in the temporary directory.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
