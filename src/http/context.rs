//! The surroundings of one client's signalling on one route: puts together what a rewrite asks for, and tells the
//! media plane what it found.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::Route;
use crate::ice::Mode;
use crate::signaling::{self, Context, Direction};
use crate::upstream::Lease;

use super::ports::ConnInfo;
use super::site::Shared;

/// Rewrites the messages between one client and one server.
pub(super) struct Signalling {
    pub(super) shared: Arc<Shared>,
    pub(super) route: Arc<Route>,
    /// Tells calls apart that do not tell themselves.
    pub(super) connection: u64,
    pub(super) conn: ConnInfo,
    /// Where the server is; `None`: its name did not resolve.
    pub(super) server: Option<IpAddr>,
}

impl Signalling {
    /// The same with another server.
    pub(super) async fn toward(&self, lease: &Lease) -> Self {
        Self {
            shared: self.shared.clone(),
            route: self.route.clone(),
            connection: self.connection,
            conn: self.conn,
            server: self.shared.address_of(lease).await,
        }
    }

    /// The message to pass on instead of this one; `None`: this one.
    pub(super) fn rewrite(&self, direction: Direction, body: &[u8]) -> Option<Vec<u8>> {
        if !signaling::may_concern_ice(body) {
            return None;
        }
        let calls = &self.shared.calls;
        let upstream_ips = self.shared.upstreams.addresses(self.route.upstream);
        let keys = calls.keys();
        let client_candidates = match direction {
            Direction::ToClient => calls.client_candidates(&self.conn),
            Direction::ToServer => Vec::new(),
        };
        let mut memory = &*self.shared.memory;
        let mut cx = Context {
            route: self.route.id,
            mode: if self.route.icedirect {
                Mode::Direct
            } else {
                Mode::Hijack
            },
            icetcp: self.route.icetcp,
            keys: &keys,
            now: calls.unix_now(),
            client_candidates: &client_candidates,
            server_leg: &|ufrag| calls.server_leg_address(self.server?, ufrag),
            permits: &|addr: SocketAddr| calls.permits(&self.route, &upstream_ips, addr),
            memory: &mut memory,
        };
        let outcome = signaling::rewrite(&mut cx, direction, body);
        for refusal in outcome.refusals {
            calls.refused(&self.route, refusal);
        }
        for fact in outcome.facts {
            calls.learned(&self.route, self.connection, fact);
        }
        if outcome.body.is_some() {
            self.shared.counters.bodies_rewritten.add();
        }
        outcome.body
    }
}
