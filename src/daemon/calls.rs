//! The media plane as the HTTP side sees it: signalling facts become calls, addresses become candidates.
//!
//! What a reload replaces is one [`Generation`], swapped as a whole; calls and their tables outlive it.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::config::Route;
use crate::http::{Calls, ConnInfo};
use crate::ice::{Counters, KeyRing, RouteId, ServerCandidate};
use crate::media::direct::DirectCall;
use crate::media::mux::socket_hash;
use crate::media::shared::Shared;
use crate::media::{Clock, Media};
use crate::signaling::{Fact, ProxyCandidate, Refusal};

use super::addresses;
use super::generation::Generation;
use super::scopes::{Scope, Scopes};

/// What the HTTP side calls.
#[derive(Debug)]
pub(super) struct MediaCalls {
    /// The tables that the shards read.
    pub(super) shared: Arc<Shared>,
    /// The shards.
    pub(super) media: Arc<Media>,
    /// The clock of the tables.
    pub(super) clock: Clock,
    /// What the configuration amounts to now.
    pub(super) generation: ArcSwap<Generation>,
    /// This machine's addresses, refreshed from time to time.
    pub(super) own_ips: ArcSwap<Vec<IpAddr>>,
    /// Which call a trickled candidate belongs to.
    pub(super) scopes: Mutex<Scopes>,
    /// Descriptions that were left as they were, by reason.
    pub(super) refusals: Refusals,
    /// What was refused of the snapshot that the daemon before this one left.
    pub(super) revival: Counters,
}

impl MediaCalls {
    fn scopes(&self) -> std::sync::MutexGuard<'_, Scopes> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late_candidate(&self, route: &Route, call: &str, candidate: ServerCandidate) {
        if route.icedirect {
            let calls = self.shared.direct_calls(call);
            for call in calls.iter().filter(|known| known.route == route.id) {
                call.add_candidate(candidate);
            }
        } else {
            self.shared.late_candidate(call, candidate, self.clock.now().mono);
            self.media.wake();
        }
    }
}

impl Calls for MediaCalls {
    fn learned(&self, route: &Route, connection: u64, fact: Fact) {
        match fact {
            Fact::ServerDescription {
                scope,
                ufrag,
                pwd,
                token,
                candidates,
                ..
            } => {
                let call = token.unwrap_or_else(|| ufrag.clone());
                if route.icedirect {
                    let mono = self.clock.now().mono;
                    let direct = DirectCall::new(route.id, &ufrag, &pwd, candidates, mono);
                    if !self.shared.register_direct(direct) {
                        tracing::warn!(route = route.tag, "too many icedirect calls are being set up");
                    }
                }
                let waited = self
                    .scopes()
                    .describe(Scope::new(route.id, scope, connection), &call);
                for candidate in waited {
                    self.late_candidate(route, &call, candidate);
                }
            }
            Fact::ServerCandidate { scope, candidate, .. } => {
                let call = self
                    .scopes()
                    .call_of(Scope::new(route.id, scope, connection), candidate);
                if let Some(call) = call {
                    self.late_candidate(route, &call, candidate);
                }
            }
            Fact::ClientDescription { .. } => {}
        }
    }

    fn server_leg_address(&self, server: IpAddr, ufrag: &str) -> Option<SocketAddr> {
        // The port plays no part in the choice of a source address.
        self.media
            .server_leg_address(SocketAddr::new(server, 9), socket_hash(ufrag))
    }

    fn client_candidates(&self, conn: &ConnInfo) -> Vec<ProxyCandidate> {
        let own = self.own_ips.load();
        let now = self.generation.load();
        addresses::candidates(&now.services, conn.local.ip(), &own, |name| {
            now.upstreams.names().known(name)
        })
    }

    fn refused(&self, route: &Route, refusal: Refusal) {
        self.refusals.count(route, refusal);
    }

    fn permits(&self, route: &Route, upstream_ips: &[IpAddr], addr: SocketAddr) -> bool {
        self.generation
            .load()
            .policies
            .policy(route, &self.own_ips.load(), upstream_ips)
            .allow
            .permits(addr)
    }

    fn keys(&self) -> Arc<KeyRing> {
        self.shared.keys.load_full()
    }

    fn unix_now(&self) -> u32 {
        u32::try_from(self.clock.now().unix / 1_000).unwrap_or(u32::MAX)
    }
}

/// Refused descriptions: counted each, logged once for each route and reason.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: [AtomicU64; Refusal::ALL.len()],
    logged: Mutex<HashSet<(RouteId, Refusal)>>,
}

impl Refusals {
    fn count(&self, route: &Route, refusal: Refusal) {
        self.counts[refusal as usize].fetch_add(1, Ordering::Relaxed);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.insert((route.id, refusal)) {
            tracing::warn!(
                route = route.tag,
                reason = refusal.as_str(),
                "a description was left unrewritten ({}); said once",
                hint(refusal)
            );
        }
    }

    /// How often a reason has occurred.
    #[must_use]
    pub(super) fn of(&self, refusal: Refusal) -> u64 {
        self.counts[refusal as usize].load(Ordering::Relaxed)
    }
}

fn hint(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::ServerNotAllowed => "no address in it is the upstream's own; `media.allow` adds networks",
        Refusal::CredentialsMissing => "it has no ICE credentials",
        Refusal::TooLong => "its ICE credentials are too long to be sealed",
        Refusal::NoServerLeg => "there is no server-leg socket towards its server",
        Refusal::NoClientCandidate => "no service with `enable_ice` has an address for clients",
        Refusal::NoBundle => "its media are not bundled",
        Refusal::NoRtcpMux => "its RTCP has a port of its own",
        Refusal::UnknownUfrag => "its call is not known on this node",
        Refusal::TooMany => "it has more parts than are looked at",
        Refusal::TooDeep => "it lies too deep in its message",
    }
}
