//! The daemon's numbers as Prometheus reads them. Names follow its conventions: base units, `_total` for what only
//! grows; labels hold names of the configuration and our own words, never what a client has said.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Instant, UNIX_EPOCH};

use crate::admin::exposition::Page;
use crate::http::{RouteName, RouteTraffic};
use crate::ice::{Counter, DropReason};
use crate::signaling::Refusal;
use crate::upstream::{Peer, State};

use super::report::DaemonReport;

/// All metrics.
pub(super) fn page(report: &DaemonReport) -> String {
    let mut page = Page::default();
    daemon(report, &mut page);
    media(report, &mut page);
    connections(report, &mut page);
    routes(report, &mut page);
    upstreams(report, &mut page);
    certificates(report, &mut page);
    page.finish()
}

fn daemon(report: &DaemonReport, page: &mut Page) {
    let reloads = &report.reloads;
    page.family("xrtc_build_info", "The version, as a label.", "gauge")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge(
        "xrtc_uptime_seconds",
        "Since the daemon began to serve.",
        report.started.elapsed().as_secs(),
    );
    page.counters(
        "xrtc_reloads_total",
        "Reloads of the configuration, by what came of them.",
        "result",
        [
            ("applied", reloads.applied.load(Ordering::Relaxed)),
            ("refused", reloads.refused.load(Ordering::Relaxed)),
        ],
    );
    page.gauge(
        "xrtc_config_current",
        "Whether the configuration file, as it was read last, is in effect.",
        u64::from(reloads.current.load(Ordering::Relaxed)),
    );
    let loaded = report.loaded().duration_since(UNIX_EPOCH).unwrap_or_default();
    page.gauge(
        "xrtc_config_loaded_timestamp_seconds",
        "When the configuration in effect was taken up.",
        loaded.as_secs(),
    );
}

fn media(report: &DaemonReport, page: &mut Page) {
    let shards = report.calls.media.counters();
    let sum = |counter| shards.iter().map(|shard| shard.count(counter)).sum();
    let revival = &report.calls.revival;
    let drops = |reason| revival.drops(reason) + shards.iter().map(|shard| shard.drops(reason)).sum::<u64>();
    page.gauge(
        "xrtc_sessions",
        "Calls now: hijacked calls and icedirect tuples.",
        report.calls.shared.open_sessions(),
    );
    page.gauge(
        "xrtc_ice_tcp_connections",
        "ICE-TCP connections now, of clients and to servers.",
        report.calls.media.streams().open(),
    );
    page.counters(
        "xrtc_media_total",
        "Media plane events, by kind.",
        "event",
        Counter::ALL
            .iter()
            .map(|&counter| (counter.as_str(), sum(counter))),
    );
    page.counters(
        "xrtc_media_drops_total",
        "Packets and requests refused by the media plane, by reason.",
        "reason",
        DropReason::ALL
            .iter()
            .map(|&reason| (reason.as_str(), drops(reason))),
    );
    page.counters(
        "xrtc_signaling_refusals_total",
        "Descriptions and candidates left unrewritten, by reason.",
        "reason",
        Refusal::ALL
            .iter()
            .map(|&refusal| (refusal.as_str(), report.calls.refusals.of(refusal))),
    );
}

fn connections(report: &DaemonReport, page: &mut Page) {
    page.counters(
        "xrtc_http_total",
        "HTTP side events, by kind.",
        "event",
        report.http.list(),
    );
    let mut open = page.family(
        "xrtc_connections",
        "Client connections now, by protocol; one inside TLS is under `tls` as well, a WebSocket also under its HTTP/1.1 \
         or HTTP/2.",
        "gauge",
    );
    for (protocol, count) in report.http.open.list() {
        open.sample(&[("protocol", protocol)], count);
    }
}

fn routes(report: &DaemonReport, page: &mut Page) {
    let all = report.http.routes.list();
    let mut of_each = |name: &str, help: &str, kind: &str, value: &dyn Fn(&RouteTraffic) -> u64| {
        let mut family = page.family(name, help, kind);
        for (route, traffic) in &all {
            family.sample(&labels(route), value(traffic));
        }
    };
    of_each(
        "xrtc_http_requests_in_flight",
        "Requests and WebSockets now, by route.",
        "gauge",
        &RouteTraffic::under_way,
    );
    of_each(
        "xrtc_http_request_bytes_total",
        "Bytes of content from clients, by route.",
        "counter",
        &|traffic| traffic.bytes().0,
    );
    of_each(
        "xrtc_http_response_bytes_total",
        "Bytes of content to clients, by route.",
        "counter",
        &|traffic| traffic.bytes().1,
    );
    let mut responses = page.family(
        "xrtc_http_requests_total",
        "Requests that have ended, by route and class of status; 499: the client left first.",
        "counter",
    );
    for (route, traffic) in &all {
        for (class, count) in traffic.responses() {
            let [service, name] = labels(route);
            responses.sample(&[service, name, ("code", class)], count);
        }
    }
    let mut times = page.family(
        "xrtc_http_request_duration_seconds",
        "From a request's head to the end of its response, by route; without WebSockets.",
        "histogram",
    );
    for (route, traffic) in &all {
        let observed = traffic.times();
        times.histogram(&labels(route), &observed.buckets, observed.sum, observed.count);
    }
}

fn labels(name: &RouteName) -> [(&str, &str); 2] {
    [("service", name.service.as_str()), ("route", name.route.as_str())]
}

/// A server in one group, by the labels of its samples.
struct Row<'a> {
    upstream: &'a str,
    server: String,
    peer: &'a Peer,
}

impl Row<'_> {
    fn labels(&self) -> [(&str, &str); 2] {
        [("upstream", self.upstream), ("server", &self.server)]
    }
}

fn upstreams(report: &DaemonReport, page: &mut Page) {
    let (generation, now) = (report.calls.generation.load_full(), Instant::now());
    let groups = generation.upstreams.all();
    let mut seen = HashSet::new();
    let rows: Vec<Row<'_>> = groups
        .flat_map(|group| {
            group.all().map(|peer| Row {
                upstream: &group.config().name,
                server: peer.server().to_string(),
                peer,
            })
        })
        // A server that is written twice is two to the balancer, and can be only one here.
        .filter(|row| seen.insert((row.upstream, row.server.clone())))
        .collect();
    let mut of_each = |name: &str, help: &str, kind: &str, value: &dyn Fn(&Peer) -> u64| {
        let mut family = page.family(name, help, kind);
        for row in &rows {
            family.sample(&row.labels(), value(row.peer));
        }
    };
    of_each(
        "xrtc_upstream_up",
        "Whether new work may go to the server.",
        "gauge",
        &|peer| u64::from(peer.is_up(now)),
    );
    of_each(
        "xrtc_upstream_backup",
        "Whether the server is a backup.",
        "gauge",
        &|peer| u64::from(peer.server().backup),
    );
    of_each(
        "xrtc_upstream_requests_active",
        "Requests and WebSockets that the server is busy with.",
        "gauge",
        &|peer| peer.active() as u64,
    );
    of_each(
        "xrtc_upstream_failures_total",
        "Requests and WebSocket handshakes that the server did not answer.",
        "counter",
        &Peer::failures,
    );
    by_word(page, &rows, now);
}

/// The families with a third label.
fn by_word(page: &mut Page, rows: &[Row<'_>], now: Instant) {
    let mut states = page.family(
        "xrtc_upstream_state",
        "The server's state: 1 for the one that holds, 0 for the others.",
        "gauge",
    );
    for row in rows {
        let [upstream, server] = row.labels();
        let current = row.peer.state(now);
        for state in State::ALL {
            states.sample(
                &[upstream, server, ("state", state.as_str())],
                u64::from(state == current),
            );
        }
    }
    let mut checks = page.family(
        "xrtc_upstream_health_checks_total",
        "Active checks of the server, by what came of them.",
        "counter",
    );
    for row in rows {
        let [upstream, server] = row.labels();
        let (passed, failed) = row.peer.checks();
        for (result, count) in [("passed", passed), ("failed", failed)] {
            checks.sample(&[upstream, server, ("result", result)], count);
        }
    }
    let mut times = page.family(
        "xrtc_upstream_response_header_seconds",
        "From the choice of the server to the headers of its answer.",
        "histogram",
    );
    for row in rows {
        let observed = row.peer.answers();
        times.histogram(&row.labels(), &observed.buckets, observed.sum, observed.count);
    }
}

fn certificates(report: &DaemonReport, page: &mut Page) {
    let mut expiry = page.family(
        "xrtc_certificate_expiry_timestamp_seconds",
        "When the certificate in use expires.",
        "gauge",
    );
    let mut seen = HashSet::new();
    for door in report.doors.load().iter() {
        for (file, expires) in door.tls.iter().flat_map(|tls| tls.expiries()) {
            let Some(expires) = expires.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) else {
                continue;
            };
            let file = file.display().to_string();
            if seen.insert((door.service.clone(), file.clone())) {
                expiry.sample(&[("service", &door.service), ("file", &file)], expires.as_secs());
            }
        }
    }
}
