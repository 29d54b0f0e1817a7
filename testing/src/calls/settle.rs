//! The end of calls: everything has come back, and what was lost on the way was lost by the kernel.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::kernel::{MAX_RUN, drops};
use super::{Caller, Daemon};
use crate::lab::{Error, Result};

/// Between two looks at the books.
const POLL: Duration = Duration::from_millis(20);

/// The books of calls that are over, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Messages that came back: all.
    pub echoed: u64,
    /// Packets with messages that were lost on the way, so that these had to be sent again.
    pub lost: u64,
    /// How often the kernel had no room for packets to a socket of the callers, of the server or of the daemon.
    pub dropped: u64,
}

/// Waits until every message has come back, and until nothing is missing that the kernel has not dropped.
///
/// # Errors
/// A message does not come back in `within`, or more is missing by then than the kernel has dropped. The callers and their
/// server are this process's.
pub async fn settle(
    callers: impl IntoIterator<Item = &Caller> + Clone,
    daemon: &Daemon,
    within: Duration,
) -> Result<Books> {
    let deadline = Instant::now() + within;
    callers.clone().into_iter().for_each(Caller::stop);
    for caller in callers.clone() {
        caller.finish(within).await?;
    }
    loop {
        let mut books = Books {
            dropped: drops(std::process::id())? + drops(daemon.id())?,
            ..Books::default()
        };
        for progress in callers.clone().into_iter().map(Caller::progress) {
            books.echoed += progress.echoed;
            books.lost += progress.missing();
        }
        if books.lost <= MAX_RUN * books.dropped {
            return Ok(books);
        }
        if Instant::now() > deadline {
            return Err(Error::new(format!(
                "lost by none of the kernel's drops: {books:?}"
            )));
        }
        sleep(POLL).await;
    }
}
