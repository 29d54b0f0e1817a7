//! Packets from servers.

use std::sync::Arc;

use crate::ice::{DropReason, Now, ServerPath, Shell};
use crate::media::shared::{Call, Peer};
use crate::wire::demux::{Datagram, classify};
use crate::wire::stun::{Class, Message};

use super::{Mux, Out};

impl Mux {
    /// Takes a packet from a server.
    pub fn handle_server<'b>(
        &mut self,
        now: Now,
        from: ServerPath,
        packet: &'b [u8],
        shell: &mut impl Shell<'b>,
    ) {
        let taken = match self.server_peer(from) {
            Some(Peer::Direct(flow)) => self.server_direct(now, from, &flow, packet, shell),
            peer => match (classify(packet), peer) {
                (Datagram::Stun, peer) => self.server_stun(now, from, peer, packet, shell),
                (Datagram::Dtls | Datagram::Rtp, Some(Peer::Hijack(call))) => {
                    self.server_data(now, &call, packet, shell)
                }
                (Datagram::Dtls | Datagram::Rtp, _) => Err(DropReason::UnknownTuple),
                (Datagram::Other, _) => Err(DropReason::NotIce),
            },
        };
        if let Err(reason) = taken {
            self.counters.dropped(reason);
        }
    }

    /// Who holds a pair: this shard's own table first, the shared one on a miss.
    fn server_peer(&mut self, from: ServerPath) -> Option<Peer> {
        if let Some(peer) = self.servers.get(&(from.socket, from.remote))
            && !peer.is_closed()
        {
            return Some(peer.clone());
        }
        let peer = self.shared.holder(from)?;
        self.servers.insert((from.socket, from.remote), peer.clone());
        Some(peer)
    }

    fn server_data<'b>(
        &self,
        now: Now,
        call: &Arc<Call>,
        packet: &'b [u8],
        shell: &mut impl Shell<'b>,
    ) -> Result<(), DropReason> {
        if let Some(tuple) = call.downlink.load().as_deref()
            && tuple.has_consent(now.mono)
        {
            shell.forward_to_client(&tuple.path, packet);
            return Ok(());
        }
        // The tuple in use has lost consent, or there is none yet.
        let mut session = call.lock();
        match session.release_to_client(now) {
            Some((tuple, waiting)) => {
                self.point_downlink(call, &tuple);
                waiting
                    .iter()
                    .for_each(|packet| shell.send_to_client(&tuple.path, packet));
                shell.forward_to_client(&tuple.path, packet);
                Ok(())
            }
            None => session.hold_for_client(packet),
        }
    }

    fn server_stun<'b>(
        &mut self,
        now: Now,
        from: ServerPath,
        peer: Option<Peer>,
        packet: &'b [u8],
        shell: &mut impl Shell<'b>,
    ) -> Result<(), DropReason> {
        let message = Message::parse(packet).map_err(|_| DropReason::StunMalformed)?;
        if !message.is_binding() || message.unknown_required() {
            return Err(DropReason::StunUnsupported);
        }
        match message.class() {
            Class::Request => self.server_request(now, from, peer, &message, shell),
            Class::Success | Class::Error => {
                let Some(Peer::Hijack(call)) = peer else {
                    return Err(DropReason::StunUnsolicited);
                };
                let mut session = call.lock();
                session.handle_server_response(now, from, &message, &mut Out::new(shell))?;
                self.settle(&call, &mut session, now, shell);
                Ok(())
            }
            // libnice's keep-alive; it asks for nothing.
            Class::Indication => Ok(()),
        }
    }

    /// A check of the server: routed by its USERNAME, since a server may send from an address that it has not named.
    /// Should two calls of a route have equal ufrags at both ends, the one whose pair it came on is meant.
    fn server_request<'b>(
        &mut self,
        now: Now,
        from: ServerPath,
        peer: Option<Peer>,
        message: &Message<'_>,
        shell: &mut impl Shell<'b>,
    ) -> Result<(), DropReason> {
        let username = message.username().ok_or(DropReason::StunUsername)?;
        let call = match peer {
            Some(Peer::Hijack(call)) if *call.server_username == *username => call,
            _ => self
                .shared
                .call_by_server(username)
                .ok_or(DropReason::StunUsername)?,
        };
        let mut session = call.lock();
        if !session.is_from_server(message) {
            return Err(DropReason::StunIntegrity);
        }
        self.admit_server_path(now, &call, from)?;
        session.handle_server_request(now, from, message, &mut Out::new(shell))?;
        if !session.server_paths().any(|path| path == from) {
            // Answered, but beyond what one call may use.
            self.shared.release(from, now.mono);
        }
        self.settle(&call, &mut session, now, shell);
        Ok(())
    }

    /// Lets an authenticated server use a path, if it is the call's already or free and permitted.
    fn admit_server_path(&self, now: Now, call: &Arc<Call>, from: ServerPath) -> Result<(), DropReason> {
        match self.shared.holder(from) {
            Some(Peer::Hijack(holder)) if Arc::ptr_eq(&holder, call) => return Ok(()),
            Some(_) => return Err(DropReason::PairTaken),
            None => {}
        }
        let policy = self.shared.policy(call.route).ok_or(DropReason::TokenRoute)?;
        if !policy.allow.permits(from.remote) {
            return Err(DropReason::ServerNotAllowed);
        }
        self.shared
            .hold(from, &Peer::Hijack(call.clone()), now.mono)
            .map(|_| ())
            .ok_or(DropReason::PairTaken)
    }
}
