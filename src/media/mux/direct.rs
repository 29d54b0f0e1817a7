//! Icedirect packets: everything passes, once a tuple is admitted.

use std::sync::Arc;

use crate::ice::{ClientPath, Counter, Counters, DropReason, Mode, Now, ServerPath, Shell, Transport};
use crate::media::call::in_use;
use crate::media::direct::{DirectCall, DirectFlow, MAX_PATHS};
use crate::media::mux::client::socket_hash;
use crate::media::shared::{Peer, Shared};
use crate::wire::demux::{Datagram, classify};
use crate::wire::stun::{Authenticated, Class, Message};

use super::{ClientPeer, Mux};

impl Mux {
    /// A check that verifies with the server's password: admits its tuple and passes on.
    pub(super) fn take_direct_check<'b>(
        &mut self,
        now: Now,
        from: ClientPath,
        call: &Arc<DirectCall>,
        client_ufrag: &str,
        check: &Authenticated<'b>,
        shell: &mut impl Shell<'b>,
    ) -> Result<(), DropReason> {
        let flow = match self.clients.get(&from) {
            Some(ClientPeer::Direct(flow))
                if !flow.is_closed()
                    && Arc::ptr_eq(&flow.call, call)
                    && *flow.client_ufrag == *client_ufrag =>
            {
                flow.clone()
            }
            Some(_) | None if call.has_seen(check.transaction()) => return Err(DropReason::StunReplayed),
            Some(_) | None => self.admit(now, from, call, client_ufrag, shell)?,
        };
        call.saw(check.transaction());
        flow.checked(now.mono);
        shell.keep_client(&from);
        Self::direct_data(now, &flow, check.bytes(), shell)
    }

    /// A new tuple of an icedirect call.
    fn admit<'b>(
        &mut self,
        now: Now,
        from: ClientPath,
        call: &Arc<DirectCall>,
        client_ufrag: &str,
        shell: &mut impl Shell<'b>,
    ) -> Result<Arc<DirectFlow>, DropReason> {
        let policy = self.shared.policy(call.route).ok_or(DropReason::TokenRoute)?;
        if policy.mode != Mode::Direct {
            return Err(DropReason::TokenRoute);
        }
        let mut permitted = call.candidates();
        permitted.retain(|candidate| policy.allow.permits(candidate.addr));
        if permitted.is_empty() {
            return Err(DropReason::ServerNotAllowed);
        }
        if !self.shared.count(call.route, policy.max_sessions) {
            return Err(DropReason::SessionLimit);
        }
        let flow = Arc::new(DirectFlow::new(call.clone(), from, client_ufrag, now.mono));
        let peer = Peer::Direct(flow.clone());
        let hash = socket_hash(client_ufrag);
        for candidate in in_use(&permitted, policy.icetcp).take(MAX_PATHS) {
            let path = match candidate.transport {
                Transport::Udp => self.reserve(candidate.addr, hash, &peer, now, shell),
                Transport::Tcp => self.dial(candidate.addr, &peer, now, shell),
            };
            path.into_iter().for_each(|path| flow.add_path(path, now.mono));
        }
        if flow.paths().is_empty() {
            self.shared.uncount(call.route);
            return Err(DropReason::NoServerSocket);
        }
        self.counters.add(Counter::SessionsOpened, 1);
        self.bind(now, from, ClientPeer::Direct(flow.clone()), shell);
        Ok(flow)
    }

    /// Passes a packet of an admitted client on: the way that the server answered, before that every way.
    pub(super) fn direct_data<'b>(
        now: Now,
        flow: &DirectFlow,
        packet: &'b [u8],
        shell: &mut impl Shell<'b>,
    ) -> Result<(), DropReason> {
        if !flow.has_consent(now.mono) {
            return Err(DropReason::ConsentExpired);
        }
        match flow.chosen() {
            Some(path) => shell.forward_to_server(&path, packet),
            None => flow
                .paths()
                .iter()
                .filter(|path| !flow.holds_back(path, now.mono))
                .for_each(|path| shell.forward_to_server(path, packet)),
        }
        Ok(())
    }

    /// Passes a packet of the server on to the one tuple that its pair belongs to.
    pub(super) fn server_direct<'b>(
        &self,
        now: Now,
        from: ServerPath,
        flow: &DirectFlow,
        packet: &'b [u8],
        shell: &mut impl Shell<'b>,
    ) -> Result<(), DropReason> {
        if !flow.has_consent(now.mono) {
            return Err(DropReason::ConsentExpired);
        }
        if flow.holds_back(&from, now.mono) {
            return Err(DropReason::UdpHeldBack);
        }
        if classify(packet) == Datagram::Stun
            && let Ok(message) = Message::parse(packet)
        {
            self.server_direct_stun(from, flow, &message)?;
        }
        flow.heard(from, now.mono);
        shell.forward_to_client(&flow.client, packet);
        Ok(())
    }

    fn server_direct_stun(
        &self,
        from: ServerPath,
        flow: &DirectFlow,
        message: &Message<'_>,
    ) -> Result<(), DropReason> {
        match message.class() {
            Class::Request if is_for_another(flow, message) => return Err(DropReason::PairTaken),
            Class::Request => flow.asked(message.transaction(), from),
            Class::Success if flow.chosen().is_none() && message.authenticate(&flow.call.key).is_some() => {
                if flow.answered(from) {
                    self.counters.add(Counter::SessionsConnected, 1);
                }
            }
            Class::Success | Class::Error | Class::Indication => {}
        }
        Ok(())
    }

    /// Passes an answer of the client back the way that the server's check came.
    pub(super) fn direct_answer<'b>(
        now: Now,
        flow: &DirectFlow,
        message: &Message<'b>,
        shell: &mut impl Shell<'b>,
    ) -> Result<(), DropReason> {
        match flow.asked_on(message.transaction()) {
            Some(path) if flow.has_consent(now.mono) => {
                shell.forward_to_server(&path, message.bytes());
                Ok(())
            }
            Some(_) | None => Self::direct_data(now, flow, message.bytes(), shell),
        }
    }
}

/// Whether a check is for another client: a server with one port for all calls checks the address that its SDP named,
/// which may by now be the pair of another call.
fn is_for_another(flow: &DirectFlow, check: &Message<'_>) -> bool {
    check
        .username_parts()
        .is_some_and(|(client, _)| *client != *flow.client_ufrag)
}

/// Ends a flow; its server pairs rest.
pub(super) fn close<'b>(
    shared: &Shared,
    counters: &Counters,
    flow: &DirectFlow,
    now: Now,
    shell: &mut impl Shell<'b>,
) {
    if !flow.close() {
        return;
    }
    for path in flow.paths() {
        shared.release(path, now.mono);
        shell.hang_up_server(&path);
    }
    shared.uncount(flow.call.route);
    counters.add(Counter::SessionsClosed, 1);
}
