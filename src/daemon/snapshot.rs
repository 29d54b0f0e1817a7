//! The snapshot of the live calls on disk, beside the key: `calls`, mode 0600. It is there while there are calls.
//!
//! Written whenever it says something new, at most once a second, and every few seconds for the sake of its ages. It is
//! put into place by a rename and not synced: a process that is killed loses nothing by that, and after a loss of power
//! no tuple would have consent any more. A file that is damaged all the same does not verify.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::media::revival::{self, Snapshot};

use super::calls::MediaCalls;

const FILE: &str = "calls";
/// A fixed name, so that a daemon killed while it writes leaves one file behind at most.
const BESIDE: &str = ".calls.new";
/// How often the calls are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How old a snapshot may get while nothing but time passes.
const REFRESH: Duration = Duration::from_secs(5);

/// The file.
#[derive(Debug)]
pub(super) struct SnapshotFile {
    path: PathBuf,
    last: Mutex<Last>,
}

/// What was done last.
#[derive(Debug, Default)]
struct Last {
    /// What is in the file, and since when. `None`: no file, as far as is known.
    written: Option<(u64, Instant)>,
    /// The first failure of a row has been logged.
    failing: bool,
}

impl SnapshotFile {
    /// The file in a key's directory.
    #[must_use]
    pub(super) fn beside(key: &Path) -> Self {
        Self {
            path: key.with_file_name(FILE),
            last: Mutex::default(),
        }
    }

    /// Brings the calls of the daemon before this one back. A snapshot that cannot be used is no reason not to start.
    pub(super) async fn revive(self: &Arc<Self>, calls: &Arc<MediaCalls>) {
        let (file, calls) = (self.clone(), calls.clone());
        if let Err(error) = spawn_blocking(move || file.revive_now(&calls)).await {
            tracing::error!(%error, "calls were not revived");
        }
    }

    fn revive_now(&self, calls: &MediaCalls) {
        let sealed = match self.read() {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                return tracing::warn!(path = %self.path.display(), %error, "cannot read the snapshot");
            }
        };
        // A tie-breaker need not be secret: without random numbers a role conflict is settled less evenly, that is all.
        let random = || getrandom::u64().unwrap_or_default();
        let (shared, media) = (&calls.shared, &calls.media);
        match revival::revive(
            shared,
            &sealed,
            &media.bound(),
            calls.clock.now(),
            &calls.revival,
            random,
        ) {
            Ok(revived) => {
                media.wake();
                tracing::info!(calls = revived, "calls go on from before the restart");
            }
            Err(error) => tracing::warn!(
                path = %self.path.display(),
                %error,
                "the snapshot of calls is not used; they go on when their clients check again"
            ),
        }
    }

    /// Keeps the file up to date for ever.
    pub(super) async fn keep(self: Arc<Self>, calls: Arc<MediaCalls>) {
        let mut every = interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let (file, calls) = (self.clone(), calls.clone());
            if let Err(error) = spawn_blocking(move || file.update(&calls, false)).await {
                tracing::error!(%error, "no snapshot");
            }
        }
    }

    /// The last word of a daemon that stops: the calls that are still open, for the one after it.
    pub(super) async fn conclude(self: Arc<Self>, calls: Arc<MediaCalls>) {
        if let Err(error) = spawn_blocking(move || self.update(&calls, true)).await {
            tracing::error!(%error, "no last snapshot");
        }
    }

    /// Looks at the calls, and writes if there is a reason to (or `anyway`).
    fn update(&self, calls: &MediaCalls, anyway: bool) {
        // Held throughout, so that the last word is not overtaken by the one before.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        let (media, pool) = (&calls.media, calls.media.pool());
        let snapshot = Snapshot::take(
            &calls.shared,
            &media.bound(),
            |id| pool.port(id),
            calls.clock.now(),
        );
        let (shape, count) = (snapshot.shape(), snapshot.calls());
        let is_current = last
            .written
            .is_some_and(|(written, at)| written == shape && at.elapsed() < REFRESH);
        if is_current && !anyway {
            return;
        }
        let done = if count == 0 {
            self.remove().map(|()| None)
        } else {
            let sealed = snapshot.seal(&calls.shared.keys.load());
            self.write(&sealed).map(|()| Some((shape, begun)))
        };
        tracing::trace!(calls = count, took = ?begun.elapsed(), "snapshot");
        match done {
            Ok(written) => {
                *last = Last {
                    written,
                    failing: false,
                }
            }
            Err(error) if !last.failing => {
                last.failing = true;
                tracing::warn!(path = %self.path.display(), %error, "no snapshot of the calls can be kept; said once");
            }
            Err(_) => {}
        }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut sealed = Vec::new();
        // One byte more than is taken shows that it is too much.
        let limit = revival::MAX_LEN as u64 + 1;
        File::open(&self.path)?.take(limit).read_to_end(&mut sealed)?;
        Ok(sealed)
    }

    fn write(&self, sealed: &[u8]) -> io::Result<()> {
        let beside = self.path.with_file_name(BESIDE);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?
            .write_all(sealed)?;
        fs::rename(&beside, &self.path)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
