//! The thread that writes one access log.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

use crate::config::{LogFormat, LogTarget};

use super::super::counters::Counters;
use super::{Entry, line};

/// Entries that may wait to be written. Their texts are bounded, so this is some 30 MB at the very worst.
const QUEUE: usize = 4096;
const BUFFER: usize = 64 * 1024;

enum Message {
    Line(LogFormat, Box<Entry>),
    Reopen,
    Flush(SyncSender<()>),
}

/// One log; its thread ends when this is dropped, after all that is queued.
#[derive(Debug)]
pub(super) struct Writer {
    queue: SyncSender<Message>,
    counters: Arc<Counters>,
}

impl Writer {
    /// # Errors
    /// The file cannot be opened, or the thread not started.
    pub(super) fn start(target: &LogTarget, counters: Arc<Counters>) -> io::Result<Self> {
        let output = Output {
            to: open(target)?,
            target: target.clone(),
            failing: false,
            counters: counters.clone(),
        };
        let (queue, inbox) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || output.run(&inbox))?;
        Ok(Self { queue, counters })
    }

    pub(super) fn tell(&self, format: LogFormat, entry: Entry) {
        match self.queue.try_send(Message::Line(format, Box::new(entry))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counters.access_log_dropped.add()
            }
        }
    }

    pub(super) fn reopen(&self) {
        // The thread cannot be gone: it lives as long as this.
        let _ = self.queue.send(Message::Reopen);
    }

    pub(super) fn flush(&self, patience: Duration) {
        let (done, flushed) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            // A disk that does not answer must not keep the daemon from ending.
            let _ = flushed.recv_timeout(patience);
        }
    }
}

fn open(target: &LogTarget) -> io::Result<BufWriter<Box<dyn Write + Send>>> {
    let to: Box<dyn Write + Send> = match target {
        LogTarget::Stdout => Box::new(io::stdout()),
        LogTarget::File(path) => Box::new(append(path)?),
    };
    Ok(BufWriter::with_capacity(BUFFER, to))
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

struct Output {
    to: BufWriter<Box<dyn Write + Send>>,
    target: LogTarget,
    failing: bool,
    counters: Arc<Counters>,
}

impl Output {
    fn run(mut self, inbox: &Receiver<Message>) {
        let mut next = inbox.recv().ok();
        while let Some(message) = next {
            self.take(message);
            next = match inbox.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    self.flush();
                    inbox.recv().ok()
                }
            };
        }
        self.flush();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(format, entry) => {
                let text = line::format(format, &entry);
                let written = self.to.write_all(text.as_bytes());
                if self.judge(written).is_err() {
                    self.counters.access_log_dropped.add();
                }
            }
            Message::Reopen => {
                self.flush();
                match open(&self.target) {
                    Ok(to) => {
                        self.to = to;
                        self.failing = false;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "an access log cannot be opened again; the old file is written on");
                    }
                }
            }
            Message::Flush(done) => {
                self.flush();
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }

    fn flush(&mut self) {
        let flushed = self.to.flush();
        let _ = self.judge(flushed);
    }

    /// Tells of trouble once for each time of it.
    fn judge(&mut self, result: io::Result<()>) -> io::Result<()> {
        let failed = result.is_err();
        if let Err(error) = &result
            && !self.failing
        {
            tracing::warn!(%error, "an access log cannot be written");
        }
        self.failing = failed;
        result
    }
}
