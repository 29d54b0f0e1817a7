//! Pings that pass through a WebSocket, so that each is answered once.
//!
//! The protocol's library answers every ping itself, on the leg that it came on. The ping goes on all the same: the far
//! end may count on it as a sign of life. Its pong ends here, since it has been given already; a pong that nothing asked
//! for is a sign of life too, and passes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Unanswered pings that are remembered; the answer to an older one passes.
const MAX_UNANSWERED: usize = 16;

/// The pings of one direction that the far end has not answered yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pings(Mutex<VecDeque<Bytes>>);

impl Pings {
    /// A ping goes on to the far end.
    pub(super) fn passed(&self, payload: Bytes) {
        let mut unanswered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unanswered.len() == MAX_UNANSWERED {
            unanswered.pop_front();
        }
        unanswered.push_back(payload);
    }

    /// Whether a pong of the far end answers one of them, and with it those before (RFC 6455 section 5.5.3).
    pub(super) fn answered(&self, payload: &[u8]) -> bool {
        let mut unanswered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = unanswered.iter().position(|ping| ping == payload) else {
            return false;
        };
        unanswered.drain(..=at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_answers_its_ping_once_and_those_before_it() {
        let pings = Pings::default();
        assert!(!pings.answered(b""), "nothing asked for it");
        for payload in ["a", "b", "c"] {
            pings.passed(Bytes::from(payload));
        }
        assert!(!pings.answered(b"x"));
        assert!(pings.answered(b"b"));
        assert!(!pings.answered(b"b") && !pings.answered(b"a"));
        assert!(pings.answered(b"c"));
    }

    #[test]
    fn only_the_last_are_remembered() {
        let pings = Pings::default();
        for number in 0..=MAX_UNANSWERED {
            pings.passed(Bytes::from(number.to_string()));
        }
        assert!(!pings.answered(b"0"));
        assert!(pings.answered(b"1"));
        assert!(pings.answered(MAX_UNANSWERED.to_string().as_bytes()));
    }
}
