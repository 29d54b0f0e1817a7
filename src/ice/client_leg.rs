//! The client leg: xrtc as an ICE-lite responder towards a client (RFC 8445 section 2.5), and the choice of the
//! tuple that packets for the client go to.
//!
//! The leg never checks; it answers, and it knows from the client's checks which tuples have consent. A tuple enters
//! only with an [`Authenticated`] request in hand, or with the word of the daemon before this one that it had been.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::stun::{Authenticated, Class, IntegrityKey, Role, Writer};

use super::attest::Attested;
use super::counters::DropReason;
use super::path::ClientPath;
use super::replay::SeenTransactions;

/// A tuple may carry data for this long after its last good check (RFC 7675 section 5.1), in milliseconds.
pub const CONSENT: u64 = 30_000;
/// A tuple without a good check for this long loses to one that has had one since: the client has most likely moved,
/// and may have nothing to send. Two consent intervals of any browser, in milliseconds.
const FRESH: u64 = 15_000;
/// No more tuples than these per call.
pub const MAX_TUPLES: usize = 32;

/// One tuple of a client: shared with the packet path, which reads and writes it without a lock.
#[derive(Debug)]
pub struct Tuple {
    /// Where the client is.
    pub path: ClientPath,
    last_check: AtomicU64,
    last_nomination: AtomicU64,
    last_media: AtomicU64,
}

/// When a tuple was last heard from, in milliseconds of the monotonic clock; 0: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastSeen {
    /// The last good check.
    pub check: u64,
    /// The last one that nominated it.
    pub nomination: u64,
    /// The last DTLS or SRTP packet.
    pub media: u64,
}

impl Tuple {
    fn new(path: ClientPath, seen: LastSeen) -> Self {
        Self {
            path,
            last_check: seen.check.into(),
            last_nomination: seen.nomination.into(),
            last_media: seen.media.into(),
        }
    }

    /// When it was last heard from.
    #[must_use]
    pub fn last_seen(&self) -> LastSeen {
        LastSeen {
            check: self.last_check.load(Ordering::Relaxed),
            nomination: self.last_nomination.load(Ordering::Relaxed),
            media: self.last_media.load(Ordering::Relaxed),
        }
    }

    /// Whether a good check is recent enough for data.
    #[must_use]
    pub fn has_consent(&self, mono: u64) -> bool {
        let last = self.last_check.load(Ordering::Relaxed);
        last != 0 && mono.saturating_sub(last) < CONSENT
    }

    /// Notes that DTLS or SRTP came in on it.
    pub fn saw_media(&self, mono: u64) {
        self.last_media.store(mono.max(1), Ordering::Relaxed);
    }

    /// What decides between tuples: whether it is still checked, then media, nomination and check, each by recency.
    fn rank(&self, mono: u64) -> (bool, u64, u64, u64) {
        let last_check = self.last_check.load(Ordering::Relaxed);
        (
            mono.saturating_sub(last_check) < FRESH,
            self.last_media.load(Ordering::Relaxed),
            self.last_nomination.load(Ordering::Relaxed),
            last_check,
        )
    }
}

/// The leg of one call.
#[derive(Debug)]
pub struct ClientLeg {
    key: IntegrityKey,
    tuples: Vec<Arc<Tuple>>,
    seen: SeenTransactions,
    /// Of any tuple, answered or not.
    last_check: u64,
}

/// What became of a check.
#[derive(Debug)]
pub struct Checked {
    /// The tuple that it came on.
    pub tuple: Arc<Tuple>,
    /// Length of the answer in the caller's buffer.
    pub answer: usize,
    /// The answer is a 487.
    pub conflict: bool,
}

impl ClientLeg {
    /// A leg whose client signs its checks with `key`.
    #[must_use]
    pub fn new(key: IntegrityKey, mono: u64) -> Self {
        Self {
            key,
            tuples: Vec::new(),
            seen: SeenTransactions::default(),
            last_check: mono,
        }
    }

    /// The key of the client's checks.
    #[must_use]
    pub fn key(&self) -> &IntegrityKey {
        &self.key
    }

    /// Notes an authenticated check that is left unanswered on purpose.
    pub fn ignore_check(&mut self, mono: u64) {
        self.last_check = mono;
    }

    /// Whether the client has sent no good check for [`CONSENT`].
    #[must_use]
    pub fn is_gone(&self, mono: u64) -> bool {
        mono.saturating_sub(self.last_check) >= CONSENT
    }

    /// When [`ClientLeg::is_gone`] becomes true, if nothing more comes.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.last_check + CONSENT
    }

    /// Takes a check and writes the answer into `buf`.
    ///
    /// # Errors
    /// [`DropReason::StunReplayed`] if it comes from a new tuple with a transaction id that another has used.
    pub fn handle_check(
        &mut self,
        mono: u64,
        from: ClientPath,
        check: &Authenticated<'_>,
        buf: &mut [u8],
    ) -> Result<Checked, DropReason> {
        let mono = mono.max(1);
        let tuple = self.tuple(from, check, mono)?;
        self.seen.enter(check.transaction());
        // A lite agent is always controlled (RFC 8445 section 6.1.1), so a controlled client is a conflict.
        let conflict = matches!(check.role(), Some(Role::Controlled(_)));
        let class = if conflict { Class::Error } else { Class::Success };
        let mut writer = Writer::new(buf, class, check.transaction());
        if conflict {
            writer.error_code(487, "Role Conflict");
        } else {
            writer.xor_mapped_address(from.remote());
            self.last_check = mono;
            tuple.last_check.store(mono, Ordering::Relaxed);
            if check.use_candidate() {
                tuple.last_nomination.store(mono, Ordering::Relaxed);
            }
        }
        let answer = writer.finish(&self.key).map_err(|_| DropReason::StunMalformed)?;
        Ok(Checked {
            tuple,
            answer,
            conflict,
        })
    }

    /// The tuple that packets for the client go to: among those with consent, and still checked if any is, the one on
    /// which DTLS or SRTP came last; before any has, the last nominated one, else the last checked. (Firefox nominates every pair.)
    #[must_use]
    pub fn best(&self, mono: u64) -> Option<&Arc<Tuple>> {
        self.tuples
            .iter()
            .filter(|tuple| tuple.has_consent(mono))
            .max_by_key(|tuple| tuple.rank(mono))
    }

    /// Every tuple that is remembered, with or without consent.
    #[must_use]
    pub fn tuples(&self) -> &[Arc<Tuple>] {
        &self.tuples
    }

    /// Takes over tuples that had been checked before a restart, with what is left of their consent.
    pub fn restore(
        &mut self,
        tuples: impl IntoIterator<Item = (ClientPath, LastSeen)>,
        _proof: &Attested<'_>,
    ) {
        let tuples = tuples.into_iter().take(MAX_TUPLES);
        self.tuples = tuples
            .map(|(path, seen)| Arc::new(Tuple::new(path, seen)))
            .collect();
        let checks = self.tuples.iter().map(|tuple| tuple.last_seen().check);
        self.last_check = checks.max().unwrap_or_default();
    }

    /// Forgets a tuple that another call has taken.
    pub fn forget(&mut self, path: &ClientPath) {
        self.tuples.retain(|tuple| tuple.path != *path);
    }

    fn tuple(
        &mut self,
        from: ClientPath,
        check: &Authenticated<'_>,
        mono: u64,
    ) -> Result<Arc<Tuple>, DropReason> {
        if let Some(known) = self.tuples.iter().find(|tuple| tuple.path == from) {
            return Ok(known.clone());
        }
        if self.seen.contains(check.transaction()) {
            return Err(DropReason::StunReplayed);
        }
        if self.tuples.len() >= MAX_TUPLES {
            self.tuples.retain(|tuple| tuple.has_consent(mono));
        }
        if self.tuples.len() >= MAX_TUPLES {
            return Err(DropReason::SessionLimit);
        }
        let tuple = Arc::new(Tuple::new(from, LastSeen::default()));
        self.tuples.push(tuple.clone());
        Ok(tuple)
    }
}
