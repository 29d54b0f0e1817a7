//! Taking a snapshot: the live hijacked calls as they are at one moment.

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::ice::{ClientPath, KeyRing, LastSeen, ListenerId, Now, SocketId, Tuple};

use super::format::{self, Ages, CallRecord, MAX_LEN, MAX_TUPLES, TupleRecord, Uplink};
use crate::media::shared::{Call, Shared};

/// Room for the MAC, and for the last call.
const RESERVE: usize = 4_096;
/// What a call takes, roughly.
const USUAL: usize = 256;

/// A snapshot that is not sealed yet.
#[derive(Debug)]
pub struct Snapshot {
    bytes: Vec<u8>,
    shape: u64,
    calls: usize,
}

impl Snapshot {
    /// Looks at every call. Each is locked for about a microsecond. `listeners` are the addresses that the media plane
    /// is bound to, `port_of` tells the port of a server-leg socket.
    #[must_use]
    pub fn take(
        shared: &Shared,
        listeners: &[(ListenerId, SocketAddr)],
        port_of: impl Fn(SocketId) -> Option<u16>,
        now: Now,
    ) -> Self {
        let live = shared.hijacked();
        let mut bytes = Vec::with_capacity((live.len() * USUAL + RESERVE).min(MAX_LEN));
        format::write_head(&mut bytes, now.unix, listeners.iter().map(|(_, addr)| *addr));
        let mut shape = FixedState::default().build_hasher();
        let mut calls = 0;
        for call in &live {
            if bytes.len() + RESERVE > MAX_LEN {
                break;
            }
            let record = record(call, listeners, &port_of, now);
            // A call without consent has nothing that its next check would not bring.
            if record.tuples.is_empty() || !format::write_call(&mut bytes, &record) {
                continue;
            }
            calls += 1;
            // The order of a concurrent map is stable as long as nothing enters or leaves.
            (record.token, record.client_ufrag, record.uplink).hash(&mut shape);
            let downlink = call.downlink.load().as_ref().map(|tuple| tuple.path);
            downlink.hash(&mut shape);
            let mut paths = record.tuples;
            paths.sort_unstable_by_key(|tuple| tuple.remote);
            for tuple in paths {
                (tuple.listener, tuple.local, tuple.remote).hash(&mut shape);
            }
        }
        Self {
            bytes,
            shape: shape.finish(),
            calls,
        }
    }

    /// What it says, ages aside: two snapshots of the same shape differ by time only.
    #[must_use]
    pub const fn shape(&self) -> u64 {
        self.shape
    }

    /// How many calls it holds.
    #[must_use]
    pub const fn calls(&self) -> usize {
        self.calls
    }

    /// Its bytes, signed.
    #[must_use]
    pub fn seal(mut self, keys: &KeyRing) -> Vec<u8> {
        keys.attest(&mut self.bytes);
        self.bytes
    }
}

fn record<'c>(
    call: &'c Arc<Call>,
    listeners: &[(ListenerId, SocketAddr)],
    port_of: impl Fn(SocketId) -> Option<u16>,
    now: Now,
) -> CallRecord<'c> {
    let mut tuples: Vec<(LastSeen, TupleRecord)> = call
        .lock()
        .tuples()
        .iter()
        .filter(|tuple| tuple.has_consent(now.mono))
        .filter_map(|tuple| tuple_record(tuple, listeners, now.mono))
        .collect();
    tuples.sort_unstable_by_key(|(seen, _)| std::cmp::Reverse((seen.media, seen.nomination, seen.check)));
    tuples.truncate(MAX_TUPLES);
    CallRecord {
        token: &call.token,
        client_ufrag: &call.client_ufrag,
        uplink: call.uplink.load().as_ref().and_then(|path| {
            let port = port_of(path.socket)?;
            let server = path.remote;
            Some(Uplink { server, port })
        }),
        tuples: tuples.into_iter().map(|(_, record)| record).collect(),
    }
}

fn tuple_record(
    tuple: &Tuple,
    listeners: &[(ListenerId, SocketAddr)],
    mono: u64,
) -> Option<(LastSeen, TupleRecord)> {
    let ClientPath::Udp {
        listener,
        local,
        remote,
    } = tuple.path
    else {
        return None;
    };
    let at = listeners
        .iter()
        .position(|(id, addr)| *id == listener && addr.is_ipv6() == remote.is_ipv6())?;
    let seen = tuple.last_seen();
    let ago = |moment: u64| (moment != 0).then(|| mono.saturating_sub(moment));
    let ages = Ages {
        check: ago(seen.check)?,
        nomination: ago(seen.nomination),
        media: ago(seen.media),
    };
    let listener = u16::try_from(at).ok()?;
    Some((
        seen,
        TupleRecord {
            listener,
            local,
            remote,
            ages,
        },
    ))
}
