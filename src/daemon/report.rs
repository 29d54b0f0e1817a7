//! What the admin listener shows of a running daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::admin::Report;
use crate::admin::exposition::Page;
use crate::http;
use crate::ice::{Counter, DropReason};
use crate::signaling::Refusal;

use super::calls::MediaCalls;
use super::reload::Reloads;

/// The daemon's numbers.
#[derive(Debug)]
pub(super) struct DaemonReport {
    /// The media side.
    pub(super) calls: Arc<MediaCalls>,
    /// The HTTP side.
    pub(super) http: Arc<http::Counters>,
    /// How reloads went.
    pub(super) reloads: Reloads,
    /// Set when the daemon begins to stop.
    pub(super) draining: AtomicBool,
}

impl Report for DaemonReport {
    fn metrics(&self) -> String {
        let mut page = Page::default();
        let shards = self.calls.media.counters();
        let sum = |counter| shards.iter().map(|shard| shard.count(counter)).sum();
        let revival = &self.calls.revival;
        let drops =
            |reason| revival.drops(reason) + shards.iter().map(|shard| shard.drops(reason)).sum::<u64>();
        page.gauge(
            "xrtc_sessions",
            "Calls now: hijacked calls and icedirect tuples.",
            self.calls.shared.open_sessions() as u64,
        );
        page.gauge(
            "xrtc_ice_tcp_connections",
            "ICE-TCP connections now, of clients and to servers.",
            self.calls.media.streams().open() as u64,
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
                .map(|&refusal| (refusal.as_str(), self.calls.refusals.of(refusal))),
        );
        page.counters(
            "xrtc_http_total",
            "HTTP side events, by kind.",
            "event",
            self.http.list(),
        );
        let reloads = &self.reloads;
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
            reloads.current.load(Ordering::Relaxed).into(),
        );
        page.finish()
    }

    fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }
}
