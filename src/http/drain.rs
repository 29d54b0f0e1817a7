//! The end of a server in three phases. Everything that must be waited for holds an [`Admission`]: when the last is
//! dropped, the server is empty.

use std::sync::Arc;

use tokio::sync::watch;

use super::slots::Slot;

/// How far a server is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Nothing new; what runs may finish.
    Draining,
    /// What still runs ends now; WebSockets with close code 1001.
    Closing,
}

/// A connection's leave to be here: its view of the phase, and the slot that it takes up. Goes with the connection
/// from accept to the end of the WebSocket that it may become; clones share the slot.
#[derive(Clone, Debug)]
pub struct Admission {
    phase: watch::Receiver<Phase>,
    _slot: Option<Arc<Slot>>,
}

impl Admission {
    /// An admission that follows `phase` and takes up no slot.
    #[must_use]
    pub fn new(phase: &watch::Sender<Phase>) -> Self {
        Self {
            phase: phase.subscribe(),
            _slot: None,
        }
    }

    /// The same with a slot, given back when the last clone is dropped.
    #[must_use]
    pub(super) fn with_slot(&self, slot: Slot) -> Self {
        Self {
            phase: self.phase.clone(),
            _slot: Some(Arc::new(slot)),
        }
    }

    /// Returns once the phase is `phase` or later. A server that is gone counts as [`Phase::Closing`].
    pub async fn reached(&mut self, phase: Phase) {
        let _ = self.phase.wait_for(|now| *now >= phase).await;
    }
}
