//! What the server leg says: its checks and its answers, as bytes.

use crate::ice::path::ServerPath;
use crate::wire::stun::{Authenticated, Class, IntegrityKey, Role, TransactionId, Writer};

use super::Outbox;

/// The peer-reflexive type preference of RFC 8445 section 5.1.2.1; lower than any server's host candidates, so that
/// our part decides a pair's priority.
pub(super) const TYPE_PREFERENCE: u32 = 110 << 24;
/// Room for the longest check: header, USERNAME of two long ufrags, the fixed attributes.
const MAX_CHECK: usize = 640;

/// A connectivity check (RFC 8445 section 7.1).
#[derive(Debug)]
pub(super) struct Check<'a> {
    pub(super) id: TransactionId,
    pub(super) username: &'a str,
    pub(super) priority: u32,
    pub(super) role: Role,
    pub(super) nominate: bool,
}

impl Check<'_> {
    /// Sends it, signed with the server's password.
    pub(super) fn send(&self, key: &IntegrityKey, to: &ServerPath, out: &mut impl Outbox) {
        let mut buf = [0; MAX_CHECK];
        let mut writer = Writer::new(&mut buf, Class::Request, self.id);
        writer.username(self.username);
        writer.priority(self.priority);
        writer.role(self.role);
        if self.nominate {
            writer.use_candidate();
        }
        if let Ok(len) = writer.finish(key) {
            out.send(to, &buf[..len]);
        }
    }
}

/// Answers a check, signed with our password: success, or `error`, which is a role conflict.
pub(super) fn answer(
    request: &Authenticated<'_>,
    error: Option<u16>,
    key: &IntegrityKey,
    to: &ServerPath,
    out: &mut impl Outbox,
) {
    let mut buf = [0; MAX_CHECK];
    let class = if error.is_some() {
        Class::Error
    } else {
        Class::Success
    };
    let mut writer = Writer::new(&mut buf, class, request.transaction());
    match error {
        Some(code) => writer.error_code(code, "Role Conflict"),
        None => writer.xor_mapped_address(to.remote),
    };
    if let Ok(len) = writer.finish(key) {
        out.send(to, &buf[..len]);
    }
}

/// The PRIORITY of every check of a leg: it grows with the token's age in tenths of a second, so that a leg that is
/// established anew always outbids the one before it, wherever that one ran. 24 bits last for 19 days.
pub(super) fn priority(unix: u64, minted_at: u32) -> u32 {
    let age = unix.saturating_sub(u64::from(minted_at) * 1_000) / 100;
    TYPE_PREFERENCE | u32::try_from(age).unwrap_or(u32::MAX).min(0x00ff_ffff)
}

/// A random transaction id.
pub(super) fn transaction(out: &mut impl Outbox) -> TransactionId {
    let mut id = [0; 12];
    id[..8].copy_from_slice(&out.random().to_be_bytes());
    id[8..].copy_from_slice(&out.random().to_be_bytes()[..4]);
    TransactionId(id)
}
