//! The end of a server in three phases. Everything that must be waited for holds an [`Admission`]: when the last is
//! dropped, the server is empty.

use std::sync::Arc;

use tokio::sync::watch;

use super::networks::Place;
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

/// A connection's leave to be here: its view of the phase, and the places that it takes up. Goes with the connection
/// from accept to the end of the WebSocket that it may become; clones share the places.
#[derive(Clone)]
pub struct Admission {
    phase: watch::Receiver<Phase>,
    _slot: Option<Arc<Slot>>,
    _place: Option<Arc<Place>>,
    _request: Option<Arc<dyn Send + Sync>>,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission")
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl Admission {
    /// An admission that follows `phase` and takes up no place.
    #[must_use]
    pub fn new(phase: &watch::Sender<Phase>) -> Self {
        Self {
            phase: phase.subscribe(),
            _slot: None,
            _place: None,
            _request: None,
        }
    }

    /// The same with a slot, given back when the last clone is dropped.
    #[must_use]
    pub(super) fn with_slot(&self, slot: Slot) -> Self {
        Self {
            _slot: Some(Arc::new(slot)),
            ..self.clone()
        }
    }

    /// The same with a place among the connections of the client's network.
    #[must_use]
    pub(super) fn with_place(self, place: Place) -> Self {
        Self {
            _place: Some(Arc::new(place)),
            ..self
        }
    }

    /// The same for one of the connection's requests: `guard` is dropped when the request, or the WebSocket that it
    /// became, is over.
    #[must_use]
    pub(super) fn for_request(&self, guard: Arc<dyn Send + Sync>) -> Self {
        Self {
            _request: Some(guard),
            ..self.clone()
        }
    }

    /// Returns once the phase is `phase` or later. A server that is gone counts as [`Phase::Closing`].
    pub async fn reached(&mut self, phase: Phase) {
        let _ = self.phase.wait_for(|now| *now >= phase).await;
    }
}
