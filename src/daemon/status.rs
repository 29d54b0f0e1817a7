//! The daemon's state as JSON, for people and scripts. Numbers that grow are in the metrics.

use std::path::Path;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use crate::upstream::Group;

use super::generation::Generation;
use super::report::{DaemonReport, Door};

/// The state.
pub(super) fn page(report: &DaemonReport) -> Value {
    let generation = report.calls.generation.load();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": report.started.elapsed().as_secs(),
        "draining": report.draining.load(std::sync::atomic::Ordering::Relaxed),
        "sessions": report.calls.shared.open_sessions(),
        "config": config(report),
        "services": report.doors.load().iter().map(service).collect::<Vec<_>>(),
        "upstreams": upstreams(&generation),
    })
}

fn config(report: &DaemonReport) -> Value {
    let last = report.reloads.last();
    json!({
        "file": report.file.as_deref().map(Path::display).map(|file| file.to_string()),
        "loaded_at": date(report.loaded()),
        "last_reload": last.map(|last| json!({
            "at": date(last.at),
            "result": last.result,
            "error": last.error,
        })),
    })
}

fn service(door: &Door) -> Value {
    let expiries = door.tls.iter().flat_map(|tls| tls.expiries());
    json!({
        "name": door.service,
        "proto": door.proto,
        "addresses": door.addrs,
        "ice": door.ice,
        "certificates": expiries.map(|(file, expires)| json!({
            "file": file.display().to_string(),
            "expires_at": expires.map(date),
        })).collect::<Vec<_>>(),
    })
}

fn upstreams(generation: &Generation) -> Vec<Value> {
    generation.upstreams.all().map(group).collect()
}

fn group(group: &Group) -> Value {
    let now = Instant::now();
    let servers: Vec<Value> = group
        .all()
        .map(|peer| {
            json!({
                "url": peer.server().to_string(),
                "state": peer.state(now).as_str(),
                "backup": peer.server().backup,
                "weight": peer.server().weight,
                "active": peer.active(),
                "answered": peer.answers().count,
                "failed": peer.failures(),
            })
        })
        .collect();
    let config = group.config();
    json!({"name": config.name, "mode": config.mode.to_string(), "servers": servers})
}

fn date(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}
