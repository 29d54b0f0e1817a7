//! The memory of a process, as the kernel tells it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const SAMPLE: Duration = Duration::from_millis(5);

/// Resident bytes (`VmRSS` of proc(5)).
pub(crate) fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

/// Looks again and again, until asked.
pub(crate) struct Peak {
    before: u64,
    most: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    watcher: thread::JoinHandle<()>,
}

impl Peak {
    pub(crate) fn of(id: u32) -> Self {
        let before = resident(id);
        let (most, stop) = (Arc::new(AtomicU64::new(before)), Arc::<AtomicBool>::default());
        let (seen, stopped) = (most.clone(), stop.clone());
        let watcher = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                seen.fetch_max(resident(id), Ordering::Relaxed);
                thread::sleep(SAMPLE);
            }
        });
        Self {
            before,
            most,
            stop,
            watcher,
        }
    }

    /// How much more there was than at the beginning, at the worst.
    pub(crate) fn growth(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.watcher.join().unwrap();
        self.most.load(Ordering::Relaxed).saturating_sub(self.before)
    }
}
