//! The signals that a daemon listens to, by what they ask for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals to come.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    ReopenLogs,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// The system has no more handlers to give.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next one. May be dropped without losing any.
    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.user1.recv() => Wish::ReopenLogs,
        }
    }

    /// The next one that asks for the end.
    pub(super) async fn stop(&mut self) {
        while self.next().await != Wish::Stop {}
    }
}
