//! Access logs: a line for each request, when its response or its WebSocket has ended.
//!
//! The request's task only puts an [`Entry`] into a bounded queue; a thread for each file writes. What finds the
//! queue full is dropped and counted, so that a slow disk slows nobody down. Nothing logs credentials: of the
//! client's headers only Host, Referer and User-Agent appear.

mod line;
mod writer;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::Method;

use crate::config::{AccessLog, LogFormat, LogTarget, Route};

use super::counters::Counters;
use writer::Writer;

/// What is told of a request.
#[derive(Debug)]
pub(super) struct Entry {
    /// When its head had come.
    pub(super) at: SystemTime,
    pub(super) client: IpAddr,
    pub(super) method: Method,
    /// Path and query.
    pub(super) uri: String,
    pub(super) protocol: &'static str,
    pub(super) host: Option<String>,
    pub(super) referer: Option<String>,
    pub(super) user_agent: Option<String>,
    pub(super) id: String,
    /// `None`: the client was gone before there was a response.
    pub(super) status: Option<u16>,
    /// Content from and to the client, without headers and framing.
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// From the head to the end.
    pub(super) time: Duration,
    /// The servers that were tried, in turn.
    pub(super) upstreams: Vec<String>,
    /// From the head to the headers of the last one's response.
    pub(super) upstream_time: Option<Duration>,
    pub(super) route: Option<Arc<Route>>,
    pub(super) websocket: bool,
    /// Whether the response, or the WebSocket, came to its proper end.
    pub(super) complete: bool,
}

/// Where one section logs, and how.
#[derive(Clone, Debug)]
pub(super) struct Log {
    writer: Arc<Writer>,
    format: LogFormat,
}

impl Log {
    /// Queues an entry; drops it if the queue is full.
    pub(super) fn tell(&self, entry: Entry) {
        self.writer.tell(self.format, entry);
    }
}

/// Every access log that is open. Outlives reloads.
#[derive(Debug)]
pub struct AccessLogs {
    writers: Mutex<HashMap<LogTarget, Arc<Writer>>>,
    counters: Arc<Counters>,
}

impl AccessLogs {
    /// None is open yet. What is dropped is counted in `counters`.
    #[must_use]
    pub fn new(counters: Arc<Counters>) -> Self {
        Self {
            writers: Mutex::default(),
            counters,
        }
    }

    /// Opens what is not open yet. The others stay open as well.
    ///
    /// # Errors
    /// The first file that cannot be opened for appending, and why.
    pub fn open<'a>(
        &self,
        logs: impl IntoIterator<Item = &'a AccessLog>,
    ) -> Result<(), (LogTarget, io::Error)> {
        for log in logs {
            let mut writers = self.writers();
            if !writers.contains_key(&log.target) {
                let writer = Writer::start(&log.target, self.counters.clone())
                    .map_err(|error| (log.target.clone(), error))?;
                writers.insert(log.target.clone(), Arc::new(writer));
            }
        }
        Ok(())
    }

    /// Lets go of those that are not in `logs`; they close when the last request that began with them has ended.
    pub fn retain(&self, logs: &[&AccessLog]) {
        self.writers()
            .retain(|target, _| logs.iter().any(|log| log.target == *target));
    }

    /// Opens every file again by its name: what was there may have been moved away. Blocks until that is queued.
    pub fn reopen(&self) {
        for writer in self.all() {
            writer.reopen();
        }
    }

    /// Waits until all that was told so far is written, `patience` at most. Blocks.
    pub fn flush(&self, patience: Duration) {
        for writer in self.all() {
            writer.flush(patience);
        }
    }

    /// The log of a section; `None` if it has none, or it was not opened.
    pub(super) fn of(&self, log: Option<&AccessLog>) -> Option<Log> {
        let log = log?;
        let writer = self.writers().get(&log.target)?.clone();
        let format = log.format;
        Some(Log { writer, format })
    }

    fn all(&self) -> Vec<Arc<Writer>> {
        self.writers().values().cloned().collect()
    }

    fn writers(&self) -> MutexGuard<'_, HashMap<LogTarget, Arc<Writer>>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
