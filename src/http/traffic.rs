//! What passes, by route and by protocol: for the operator's graphs, not for any decision.
//!
//! The names are those of the configuration, so that there are as many as it has; nothing that a client says becomes
//! one.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;

use crate::config::Http;
use crate::ice::RouteId;
use crate::upstream::{Histogram, Observed};

/// The route of requests that no route took: files, and what was refused before.
const NO_ROUTE: &str = "(none)";
/// How responses are told apart; the last one is for clients that left before theirs.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "499"];
const GONE: usize = 5;

/// Names a route: its service and its tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteName {
    /// The service.
    pub service: String,
    /// The tag.
    pub route: String,
}

/// The requests of one route.
#[derive(Debug, Default)]
pub struct RouteTraffic {
    under_way: AtomicU64,
    responses: [AtomicU64; CLASSES.len()],
    received: AtomicU64,
    sent: AtomicU64,
    times: Histogram,
}

impl RouteTraffic {
    /// Requests and WebSockets now.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Requests that have ended, by the class of their status.
    pub fn responses(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.responses.iter().map(|count| count.load(Ordering::Relaxed));
        CLASSES.into_iter().zip(counts)
    }

    /// Bytes of content that clients have sent and were sent.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.received.load(Ordering::Relaxed),
            self.sent.load(Ordering::Relaxed),
        )
    }

    /// How long requests took, WebSockets not among them.
    #[must_use]
    pub fn times(&self) -> Observed {
        self.times.observed()
    }

    pub(super) fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has ended; `time` is `None` for a WebSocket.
    pub(super) fn end(&self, status: Option<StatusCode>, time: Option<Duration>) {
        let class = status.map_or(GONE, |status| usize::from(status.as_u16() / 100).clamp(1, 5) - 1);
        self.responses[class].fetch_add(1, Ordering::Relaxed);
        if let Some(time) = time {
            self.times.observe(time);
        }
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// All routes. Outlives reloads: a route of the same name counts on.
#[derive(Debug, Default)]
pub struct Routes(Mutex<BTreeMap<RouteName, Arc<RouteTraffic>>>);

impl Routes {
    /// Every route with what passed.
    #[must_use]
    pub fn list(&self) -> Vec<(RouteName, Arc<RouteTraffic>)> {
        let all = self.lock();
        all.iter()
            .map(|(name, traffic)| (name.clone(), traffic.clone()))
            .collect()
    }

    /// Forgets the routes that none of these sections has.
    pub fn retain<'c>(&self, sections: impl IntoIterator<Item = &'c Http>) {
        let sections: Vec<&Http> = sections.into_iter().collect();
        self.lock().retain(|name, _| {
            sections.iter().any(|http| {
                let tags = http.routes.iter().map(|route| route.tag.as_str());
                http.service == name.service && tags.chain([NO_ROUTE]).any(|tag| tag == name.route)
            })
        });
    }

    pub(super) fn of(&self, http: &Http) -> SectionTraffic {
        let mut all = self.lock();
        let mut entered = |route: &str| {
            let name = RouteName {
                service: http.service.clone(),
                route: route.to_owned(),
            };
            all.entry(name).or_default().clone()
        };
        SectionTraffic {
            no_route: entered(NO_ROUTE),
            routes: http
                .routes
                .iter()
                .map(|route| (route.id, entered(&route.tag)))
                .collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RouteName, Arc<RouteTraffic>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes of one section.
#[derive(Debug)]
pub(super) struct SectionTraffic {
    no_route: Arc<RouteTraffic>,
    routes: HashMap<RouteId, Arc<RouteTraffic>>,
}

impl SectionTraffic {
    /// Of a route; `None`: of what no route takes.
    pub(super) fn of(&self, route: Option<RouteId>) -> &Arc<RouteTraffic> {
        route
            .and_then(|id| self.routes.get(&id))
            .unwrap_or(&self.no_route)
    }
}

/// Something that is open now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more, until the value is dropped.
    pub(super) fn enter(&self) -> Present<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Present(self)
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of what a [`Gauge`] counts.
#[derive(Debug)]
pub(super) struct Present<'g>(&'g Gauge);

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Client connections now, by what they speak. Inside TLS they count twice: as what they speak, and as `tls`.
#[derive(Debug, Default)]
pub struct Open {
    /// HTTP/1.1.
    pub http1: Gauge,
    /// HTTP/2.
    pub http2: Gauge,
    /// ICE over TCP.
    pub ice_tcp: Gauge,
    /// TLS, whatever is inside.
    pub tls: Gauge,
    /// WebSockets, over HTTP/1.1 and HTTP/2.
    pub websocket: Gauge,
}

impl Open {
    /// All of them by name.
    #[must_use]
    pub fn list(&self) -> [(&'static str, u64); 5] {
        [
            ("http1", self.http1.get()),
            ("http2", self.http2.get()),
            ("ice_tcp", self.ice_tcp.get()),
            ("tls", self.tls.get()),
            ("websocket", self.websocket.get()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(service: &str) -> Http {
        Http {
            service: service.into(),
            ..Http::default()
        }
    }

    #[test]
    fn a_section_that_comes_again_counts_on_and_one_that_goes_is_forgotten() {
        let routes = Routes::default();
        let (kept, gone) = (section("kept"), section("gone"));
        for http in [&kept, &gone] {
            let traffic = routes.of(http);
            traffic.of(None).begin();
            traffic
                .of(Some(RouteId(7)))
                .end(Some(StatusCode::NOT_FOUND), None);
        }
        routes.retain([&kept]);
        let again = routes.of(&kept);
        let counted: Vec<_> = again.of(None).responses().collect();
        assert_eq!(counted[3], ("4xx", 1));
        let names: Vec<_> = routes.list().into_iter().map(|(name, _)| name.service).collect();
        assert_eq!(names, ["kept"]);
    }

    #[test]
    fn every_end_has_a_class() {
        let traffic = RouteTraffic::default();
        let codes = [101, 204, 302, 431, 503, 999];
        for code in codes {
            traffic.begin();
            traffic.end(StatusCode::from_u16(code).ok(), Some(Duration::ZERO));
        }
        traffic.begin();
        traffic.end(None, None);
        let counts: Vec<_> = traffic.responses().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 1, 1, 1, 2, 1]);
        assert_eq!((traffic.under_way(), traffic.times().count), (0, 6));
    }
}
