//! Packets from clients, and how a call begins.

use std::sync::Arc;

use crate::ice::{Claims, ClientPath, Counter, DropReason, Now, RoutePolicy, Shell, Tuple};
use crate::media::call::servers;
use crate::media::shared::Call;
use crate::wire::demux::{Datagram, classify};
use crate::wire::stun::{Authenticated, Class, Fingerprint, IntegrityKey, Message};

use super::{ClientPeer, Mux};

/// Room for any answer: header, XOR-MAPPED-ADDRESS or a reason, integrity, fingerprint.
const MAX_ANSWER: usize = 128;

impl Mux {
    /// Takes a packet from a client.
    pub fn handle_client<'b>(
        &mut self,
        now: Now,
        from: ClientPath,
        packet: &'b [u8],
        shell: &mut impl Shell<'b>,
    ) {
        let taken = match classify(packet) {
            Datagram::Dtls | Datagram::Rtp => self.client_data(now, from, packet, shell),
            Datagram::Stun => self.client_stun(now, from, packet, shell),
            Datagram::Other => Err(DropReason::NotIce),
        };
        if let Err(reason) = taken {
            self.counters.dropped(reason);
        }
    }

    fn client_data<'b>(
        &mut self,
        now: Now,
        from: ClientPath,
        packet: &'b [u8],
        shell: &mut impl Shell<'b>,
    ) -> Result<(), DropReason> {
        match self.clients.get(&from) {
            Some(ClientPeer::Hijack(call, tuple)) if !call.is_closed() => {
                if !tuple.has_consent(now.mono) {
                    return Err(DropReason::ConsentExpired);
                }
                tuple.saw_media(now.mono);
                self.point_downlink(call, tuple);
                match call.uplink.load().as_deref() {
                    Some(path) => shell.forward_to_server(path, packet),
                    None => {
                        let mut session = call.lock();
                        // Another shard may have brought the leg up in between.
                        match session.server_path() {
                            Some(path) => shell.forward_to_server(&path, packet),
                            None => session.hold_for_server(packet)?,
                        }
                    }
                }
                Ok(())
            }
            Some(ClientPeer::Direct(flow)) if !flow.is_closed() => {
                Self::direct_data(now, flow, packet, shell)
            }
            Some(_) => Err(DropReason::UnknownTuple),
            None => {
                if !self.adopt_tuple(now, from) {
                    return Err(DropReason::UnknownTuple);
                }
                self.client_data(now, from, packet, shell)
            }
        }
    }

    fn client_stun<'b>(
        &mut self,
        now: Now,
        from: ClientPath,
        packet: &'b [u8],
        shell: &mut impl Shell<'b>,
    ) -> Result<(), DropReason> {
        let message = Message::parse(packet).map_err(|_| DropReason::StunMalformed)?;
        if message.fingerprint() == Fingerprint::Invalid {
            return Err(DropReason::StunFingerprint);
        }
        if message.class() != Class::Request || !message.is_binding() {
            return self.client_other_stun(now, from, &message, shell);
        }
        if message.unknown_required() {
            return Err(DropReason::StunUnsupported);
        }
        let (server_part, client_part) = message.username_parts().ok_or(DropReason::StunUsername)?;
        // A name may be known in more than one way (an upstream can choose its ufrag as it likes), so a request
        // belongs to the first of them whose key it verifies with.
        if let Some(call) = self.shared.call(server_part, client_part) {
            let key = call.lock().client_key().clone();
            if let Some(check) = message.authenticate(&key) {
                return self.take_check(now, from, &call, &check, shell);
            }
        }
        let direct = self.shared.direct_calls(server_part);
        for call in &direct {
            if let Some(check) = message.authenticate(&call.key) {
                return self.take_direct_check(now, from, call, client_part, &check, shell);
            }
        }
        let claims = self.shared.keys.load().open(server_part).map_err(|_| {
            if direct.is_empty() {
                DropReason::TokenForged
            } else {
                DropReason::StunIntegrity
            }
        })?;
        let policy = self.shared.judge(&claims, now)?;
        let key = IntegrityKey::new(&self.shared.keys.load().client_facing_pwd(server_part));
        let check = message.authenticate(&key).ok_or(DropReason::StunIntegrity)?;
        let call = self.begin(now, (server_part, client_part), &claims, &policy, key, shell)?;
        self.take_check(now, from, &call, &check, shell)
    }

    /// STUN that only passes through: answers of an icedirect client, and libwebrtc's GOOG_PING.
    fn client_other_stun<'b>(
        &self,
        now: Now,
        from: ClientPath,
        message: &Message<'b>,
        shell: &mut impl Shell<'b>,
    ) -> Result<(), DropReason> {
        match self.clients.get(&from) {
            Some(ClientPeer::Direct(flow)) if !flow.is_closed() => {
                Self::direct_answer(now, flow, message, shell)
            }
            Some(_) | None if message.class() == Class::Request => Err(DropReason::StunUnsupported),
            Some(_) | None => Err(DropReason::StunUnsolicited),
        }
    }

    /// Begins a call. Its first check has been authenticated.
    fn begin<'b>(
        &mut self,
        now: Now,
        names: (&str, &str),
        claims: &Claims,
        policy: &RoutePolicy,
        client_key: IntegrityKey,
        shell: &mut impl Shell<'b>,
    ) -> Result<Arc<Call>, DropReason> {
        let keys = self.shared.keys.load();
        let call = Arc::new(Call::new(&keys, names, claims, client_key, now, shell.random()));
        let entered = self
            .shared
            .enter(call.clone(), policy.max_sessions)
            .map_err(|_| DropReason::SessionLimit)?;
        if !Arc::ptr_eq(&entered, &call) {
            // Another shard was faster with the same first check.
            return Ok(entered);
        }
        if !self.connect(&call, servers(claims, policy), now, shell) && !claims.candidates.is_empty() {
            self.shared.close(&call, now.mono);
            return Err(DropReason::NoServerSocket);
        }
        self.counters.add(Counter::SessionsOpened, 1);
        self.timers.set(now.mono, &call);
        Ok(call)
    }

    /// An authenticated check of a hijacked call: answers, binds the tuple, keeps the server leg going.
    fn take_check<'b>(
        &mut self,
        now: Now,
        from: ClientPath,
        call: &Arc<Call>,
        check: &Authenticated<'_>,
        shell: &mut impl Shell<'b>,
    ) -> Result<(), DropReason> {
        let mut buf = [0; MAX_ANSWER];
        let mut session = call.lock();
        let checked = session.handle_check(now, from, check, &mut buf)?;
        session.poll(now, &mut super::Out::new(shell));
        shell.keep_client(&from);
        shell.send_to_client(&from, &buf[..checked.answer]);
        if checked.conflict {
            self.counters.add(Counter::RoleConflicts, 1);
            return Ok(());
        }
        self.settle(call, &mut session, now, shell);
        drop(session);
        self.bind(now, from, ClientPeer::Hijack(call.clone(), checked.tuple), shell);
        Ok(())
    }

    /// Gives a client tuple to its new owner; the old one, if there is another, forgets it.
    pub(super) fn bind<'b>(
        &mut self,
        now: Now,
        from: ClientPath,
        peer: ClientPeer,
        shell: &mut impl Shell<'b>,
    ) {
        self.adopt_tuple(now, from);
        match (self.clients.get(&from), &peer) {
            (Some(ClientPeer::Hijack(old, old_tuple)), ClientPeer::Hijack(new, tuple))
                if Arc::ptr_eq(old, new) && Arc::ptr_eq(old_tuple, tuple) =>
            {
                return;
            }
            (Some(ClientPeer::Hijack(old, _)), ClientPeer::Hijack(new, _)) if Arc::ptr_eq(old, new) => {}
            (Some(ClientPeer::Hijack(old, tuple)), _) => forget(old, tuple, now),
            (Some(ClientPeer::Direct(old)), _) => {
                super::direct::close(&self.shared, &self.counters, old, now, shell);
            }
            (None, _) => {}
        }
        self.clients.insert(from, peer);
    }
}

/// Takes a tuple from a call: another has it now.
pub(super) fn forget(call: &Call, tuple: &Arc<Tuple>, now: Now) {
    let mut session = call.lock();
    session.forget_tuple(&tuple.path);
    let downlink = call.downlink.load();
    if downlink.as_ref().is_some_and(|used| Arc::ptr_eq(used, tuple)) {
        let next = session.release_to_client(now).map(|(tuple, _)| tuple);
        call.downlink.store(next);
    }
}

/// What the server-leg socket of a call is chosen by: our ufrag towards the server, which the signalling side knows
/// as well, so that the candidate it shows is the socket that the checks come from.
#[must_use]
pub fn socket_hash(server_facing_ufrag: &str) -> u64 {
    // FNV-1a: stable across processes, which a seeded hash is not.
    server_facing_ufrag
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
