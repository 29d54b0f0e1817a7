//! One pair of the server leg: a path, the checks under way on it, and when the next one is due.
//!
//! It keeps the books and the pace (RFC 8445 section 14); what a check says and what an answer means for the leg is the
//! [leg](super::ServerLeg)'s affair.

use crate::ice::path::{ServerPath, Transport};
use crate::wire::stun::TransactionId;

/// When a pair is checked whose connection is not up.
pub(super) const NEVER: u64 = u64::MAX;

/// A check after a role conflict: soon, but a server that never stops refusing must not set the pace (Ta of RFC 8445
/// section 14.2).
pub(super) const RETRY: u64 = 50;
const FIRST_INTERVAL: u64 = 100;
const MAX_INTERVAL: u64 = 1_600;
/// A pair beside the selected one is given up after this many unanswered checks (about 6 s).
const TRIES: u32 = 8;
/// Answers may come to any of the last few requests of a pair.
const OUTSTANDING: usize = 8;

/// A check under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) id: TransactionId,
    /// The role that it was sent in: a 487 speaks of that one.
    pub(super) controlling: bool,
}

/// A pair. All times are milliseconds.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) path: ServerPath,
    /// The last checks that have no answer yet, `next` being the oldest. A triggered check does not disown them.
    requests: [Option<Request>; OUTSTANDING],
    next: usize,
    /// Checks since the last answer.
    sent: u32,
    pub(super) due: u64,
    pub(super) succeeded: bool,
    /// Controlled: the server has nominated it.
    pub(super) nominated: bool,
}

impl Pair {
    /// A pair to be checked from now on, or, if it is a TCP connection, once that is up.
    pub(super) const fn new(path: ServerPath, mono: u64) -> Self {
        Self {
            path,
            requests: [None; OUTSTANDING],
            next: 0,
            sent: 0,
            due: match path.transport() {
                Transport::Udp => mono,
                Transport::Tcp => NEVER,
            },
            succeeded: false,
            nominated: false,
        }
    }

    /// Whether it has not succeeded and is worth another check all the same.
    pub(super) const fn is_hopeful(&self) -> bool {
        !self.succeeded && self.sent < TRIES
    }

    /// Notes a check that goes out now. An unanswered one is followed by others ever more slowly; an answer puts the next
    /// one off.
    pub(super) fn checked(&mut self, request: Request, mono: u64) {
        self.due = mono + (FIRST_INTERVAL << self.sent.min(4)).min(MAX_INTERVAL);
        self.requests[self.next] = Some(request);
        self.next = (self.next + 1) % OUTSTANDING;
        self.sent += 1;
    }

    /// Whether an answer of this transaction is waited for.
    pub(super) fn awaits(&self, id: TransactionId) -> bool {
        self.requests.iter().flatten().any(|request| request.id == id)
    }

    /// The check of a transaction, whose answer is waited for no longer.
    pub(super) fn take(&mut self, id: TransactionId) -> Option<Request> {
        self.requests
            .iter_mut()
            .find(|slot| slot.is_some_and(|request| request.id == id))?
            .take()
    }

    /// Notes a good answer; the next check is due at `next`. Returns whether it is the pair's first.
    pub(super) const fn succeed(&mut self, next: u64) -> bool {
        self.sent = 0;
        self.due = next;
        !std::mem::replace(&mut self.succeeded, true)
    }

    /// A triggered check (RFC 8445 section 7.3.1.4): now, and with all tries.
    pub(super) const fn trigger(&mut self, mono: u64) {
        self.sent = 0;
        self.due = mono;
    }

    /// A role conflict: the check is repeated soon.
    pub(super) fn retry(&mut self, mono: u64) {
        self.due = self.due.min(mono + RETRY);
    }

    /// Trusts it no longer and has it checked anew; a TCP connection that is not up goes on waiting.
    pub(super) fn doubt(&mut self, mono: u64) {
        if self.due != NEVER {
            self.succeeded = false;
            self.sent = 0;
            self.due = self.due.min(mono);
        }
    }
}
