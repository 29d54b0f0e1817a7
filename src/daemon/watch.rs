//! Notices that the configuration file is another one than before.
//!
//! It is looked at twice a second: that costs one system call, and sees what watching a directory may not — a symlink
//! swapped somewhere on the way (Kubernetes), a directory replaced, a network file system. A file counts as changed
//! when two looks in a row agree, so that one that is being written is left in peace.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

const PERIOD: Duration = Duration::from_millis(500);

/// Tells files apart without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// `None` while there is no such file.
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|file: Metadata| Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// Watches one file.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    known: Option<Fingerprint>,
    last: Option<Fingerprint>,
    looks: Interval,
}

impl Watch {
    /// What is at `path` now is known. To be called within a tokio runtime.
    pub(super) fn new(path: &Path) -> Self {
        let mut looks = interval(PERIOD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let known = Fingerprint::of(path);
        Self {
            path: path.to_owned(),
            known,
            last: known,
            looks,
        }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is there now is known, whatever comes of it: a bad file is complained about once.
    pub(super) fn acknowledge(&mut self) {
        self.known = Fingerprint::of(&self.path);
        self.last = self.known;
    }

    /// Returns when there is a file that is not known. May be dropped and called again.
    pub(super) async fn changed(&mut self) {
        loop {
            self.looks.tick().await;
            if self.look(Fingerprint::of(&self.path)) {
                return;
            }
        }
    }

    fn look(&mut self, found: Option<Fingerprint>) -> bool {
        let settled = found.is_some() && found == self.last;
        self.last = found;
        settled && found != self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> Option<Fingerprint> {
        Some(Fingerprint {
            device: 1,
            inode,
            size: 1,
            modified: (0, 0),
            changed: (0, 0),
        })
    }

    #[tokio::test]
    async fn a_change_counts_when_it_has_settled() {
        let mut watch = Watch::new(Path::new("/no such file"));
        (watch.known, watch.last) = (file(1), file(1));
        for (found, changed) in [
            (file(1), false),
            (file(2), false),
            (file(3), false),
            (file(3), true),
            (file(3), true),
            (None, false),
            (None, false),
            (file(1), false),
            (file(1), false),
            (file(4), false),
            (file(4), true),
        ] {
            assert_eq!(watch.look(found), changed, "{found:?}");
        }
    }
}
