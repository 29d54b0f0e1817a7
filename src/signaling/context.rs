//! What a rewrite is told: the direction, the route, the addresses to show, and a small memory to ask.
//!
//! Everything here is borrowed for one call; nothing reads a clock or a socket.

use std::net::SocketAddr;

use crate::ice::{KeyRing, Mode, RouteId, Transport};

/// Which way a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a client to its server: client SDP.
    ToServer,
    /// From a server to its client: server SDP.
    ToClient,
}

/// An address of ours that clients are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProxyCandidate {
    /// Its transport; TCP means passive.
    pub transport: Transport,
    /// Its address, global enough for the client at hand.
    pub addr: SocketAddr,
}

/// The node's bounded memory of tokens. It may forget: a forgotten token costs the call an ICE restart at its next
/// renegotiation, nothing else. Entries never cross routes.
pub trait Memory {
    /// The token that was minted for these credentials of a server, so that a renegotiation shows the same one.
    fn token(&mut self, route: RouteId, ufrag: &str, pwd: &str) -> Option<String>;
    /// The token last minted for this ufrag of a server, for trickled candidates, which name no password.
    fn token_of(&mut self, route: RouteId, ufrag: &str) -> Option<String>;
    /// Keeps a token.
    fn remember(&mut self, route: RouteId, ufrag: &str, pwd: &str, token: &str);
}

/// The surroundings of one message.
pub struct Context<'a> {
    /// The tenant.
    pub route: RouteId,
    /// Hijack or icedirect.
    pub mode: Mode,
    /// The server's TCP candidates are preferred.
    pub icetcp: bool,
    /// Seals tokens and derives credentials.
    pub keys: &'a KeyRing,
    /// Unix time in seconds, the mint time of new tokens.
    pub now: u32,
    /// What clients are shown, best first.
    pub client_candidates: &'a [ProxyCandidate],
    /// The address that a server is shown for the session in which it will see this ufrag from the client (empty:
    /// a trickled candidate does not say which); `None` when there is no server-leg socket to offer.
    pub server_leg: &'a dyn Fn(&str) -> Option<SocketAddr>,
    /// The route's allow-list of server addresses.
    pub permits: &'a dyn Fn(SocketAddr) -> bool,
    /// Tokens minted before.
    pub memory: &'a mut dyn Memory,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("route", &self.route)
            .field("mode", &self.mode)
            .field("icetcp", &self.icetcp)
            .field("now", &self.now)
            .field("client_candidates", &self.client_candidates)
            .finish_non_exhaustive()
    }
}
