//! From a snapshot to live calls.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::ice::client_leg::CONSENT;
use crate::ice::{Attested, ClientPath, Counters, DropReason, LastSeen, ListenerId, Now};
use crate::wire::stun::IntegrityKey;

use super::format::{CallRecord, MAX_LEN, Records, SnapshotError, TupleRecord};
use super::waiting::Arrival;
use crate::media::call;
use crate::media::shared::{Call, Shared};

/// Brings the calls of a snapshot back and returns how many; the shards must be woken after it. `listeners` are the
/// addresses that the media plane is bound to now, `random` makes tie-breakers. What is refused is counted.
///
/// # Errors
/// The snapshot as a whole is not to be used.
pub fn revive(
    shared: &Shared,
    sealed: &[u8],
    listeners: &[(ListenerId, SocketAddr)],
    now: Now,
    counters: &Counters,
    mut random: impl FnMut() -> u64,
) -> Result<usize, SnapshotError> {
    let refused = |error| {
        counters.dropped(DropReason::SnapshotRefused);
        error
    };
    if sealed.len() > MAX_LEN {
        return Err(refused(SnapshotError::TooLarge));
    }
    let keys = shared.keys.load();
    let attested = keys
        .attested(sealed)
        .ok_or_else(|| refused(SnapshotError::Forged))?;
    let records = Records::read(&attested, now.unix).map_err(refused)?;
    let reviver = Reviver {
        shared,
        proof: attested,
        ids: records
            .listeners
            .iter()
            .map(|addr| id_of(listeners, *addr))
            .collect(),
        elapsed: records.age,
        now,
    };
    let mut revived = 0;
    for record in records {
        match reviver.call(&record, random()) {
            Ok(true) => revived += 1,
            Ok(false) => {}
            Err(reason) => counters.dropped(reason),
        }
    }
    Ok(revived)
}

fn id_of(listeners: &[(ListenerId, SocketAddr)], addr: SocketAddr) -> Option<ListenerId> {
    listeners
        .iter()
        .find(|(_, bound)| *bound == addr)
        .map(|(id, _)| *id)
}

struct Reviver<'a> {
    shared: &'a Shared,
    proof: Attested<'a>,
    /// The snapshot's listeners as they are called now; `None`: not listened on any more.
    ids: Vec<Option<ListenerId>>,
    elapsed: u64,
    now: Now,
}

impl Reviver<'_> {
    /// Brings a call back. `false`: its client has begun it already.
    fn call(&self, record: &CallRecord<'_>, tie_breaker: u64) -> Result<bool, DropReason> {
        let tuples: Vec<_> = record
            .tuples
            .iter()
            .filter_map(|tuple| self.tuple(tuple))
            .collect();
        if tuples.is_empty() {
            return Err(DropReason::ConsentExpired);
        }
        let keys = self.shared.keys.load();
        let claims = keys.open(record.token).map_err(|_| DropReason::TokenForged)?;
        let policy = self.shared.judge(&claims, self.now)?;
        let key = IntegrityKey::new(&keys.client_facing_pwd(record.token));
        let names = (record.token, record.client_ufrag);
        let call = Call::new(&keys, names, &claims, key, self.now, tie_breaker);
        call.lock().restore_tuples(tuples, &self.proof);
        let call = Arc::new(call);
        let entered = self
            .shared
            .enter(call.clone(), policy.max_sessions)
            .map_err(|_| DropReason::SessionLimit)?;
        if !Arc::ptr_eq(&entered, &call) {
            return Ok(false);
        }
        let tuples = call.lock().tuples().to_vec();
        for tuple in tuples {
            if !self.shared.waiting.enter_tuple(&call, &tuple) {
                call.lock().forget_tuple(&tuple.path);
            }
        }
        // The server may have trickled the address in use, or made it up: no token names it then.
        self.shared.waiting.arrive(Arrival {
            call,
            servers: call::servers(&claims, &policy),
            uplink: record.uplink.filter(|uplink| policy.allow.permits(uplink.server)),
        });
        Ok(true)
    }

    fn tuple(&self, record: &TupleRecord) -> Option<(ClientPath, LastSeen)> {
        let listener = (*self.ids.get(usize::from(record.listener))?)?;
        if record.ages.check + self.elapsed >= CONSENT {
            return None;
        }
        let moment = |age: u64| self.now.mono.saturating_sub(age + self.elapsed).max(1);
        let seen = LastSeen {
            check: moment(record.ages.check),
            nomination: record.ages.nomination.map_or(0, moment),
            media: record.ages.media.map_or(0, moment),
        };
        let path = ClientPath::Udp {
            listener,
            local: record.local,
            remote: record.remote,
        };
        Some((path, seen))
    }
}
