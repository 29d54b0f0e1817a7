//! A new configuration in a running daemon: everything that can fail first, then the swap.
//!
//! Connections, WebSockets and calls live on; requests under way end as they began. What a reload replaces is the
//! [`Generation`] of the media side and the site of each listener. What it cannot replace stays, and is named.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::time::timeout;

use crate::config::{self, AccessLog, Config, LogTarget};
use crate::http;

use super::generation::{Generation, publish};
use super::running::{FIRST_LOOKUP, Running, check_health, doors, limits};
use super::succession::succeed;
use super::{StartError, systemd};

/// How reloads went.
#[derive(Debug)]
pub(super) struct Reloads {
    /// Those that took effect.
    pub(super) applied: AtomicU64,
    /// Those that changed nothing because something was wrong.
    pub(super) refused: AtomicU64,
    /// Whether the file, as it was read last, is in effect.
    pub(super) current: AtomicBool,
    last: Mutex<Option<LastReload>>,
}

/// What came of the last attempt.
#[derive(Clone, Debug)]
pub(super) struct LastReload {
    pub(super) at: SystemTime,
    /// `applied`, `unchanged` or `refused`.
    pub(super) result: &'static str,
    /// Why it was refused.
    pub(super) error: Option<String>,
}

impl Reloads {
    /// The last attempt.
    pub(super) fn last(&self) -> Option<LastReload> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, done: &Result<bool, StartError>) {
        self.current.store(done.is_ok(), Ordering::Relaxed);
        let result = match done {
            Ok(true) => {
                self.applied.fetch_add(1, Ordering::Relaxed);
                "applied"
            }
            Ok(false) => "unchanged",
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                "refused"
            }
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(LastReload {
            at: SystemTime::now(),
            result,
            error: done.as_ref().err().map(ToString::to_string),
        });
    }
}

impl Default for Reloads {
    fn default() -> Self {
        Self {
            applied: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            current: AtomicBool::new(true),
            last: Mutex::default(),
        }
    }
}

impl Running {
    /// Reads the configuration again and puts it to work. If anything is wrong with it, nothing changes.
    pub(super) async fn reload(&mut self) {
        let Some(watch) = &mut self.watch else {
            return tracing::warn!("there is no configuration file to reload");
        };
        watch.acknowledge();
        let path = watch.path().to_owned();
        systemd::reloading();
        let done = match config::load(&path) {
            Ok(new) => self.adopt(new).await,
            Err(errors) => Err(StartError::Config(errors)),
        };
        self.report.reloads.note(&done);
        match done {
            Ok(true) => tracing::info!(config = %path.display(), "configuration reloaded"),
            Ok(false) => tracing::info!(config = %path.display(), "the configuration has not changed"),
            Err(error) => tracing::error!("reload refused, all stays as it was: {error}"),
        }
        systemd::ready();
    }

    /// Whether anything changed.
    async fn adopt(&mut self, new: Config) -> Result<bool, StartError> {
        let before = self.calls.generation.load_full();
        for warning in new
            .warnings
            .iter()
            .filter(|text| !before.config.warnings.contains(text))
        {
            tracing::warn!("{warning}");
        }
        let (new, stale) = succeed(&before.config, new);
        if !stale.is_empty() {
            tracing::warn!("a restart is needed for changes of {}", stale.join(", "));
        }
        if new == *before.config {
            return Ok(false);
        }
        let new = Arc::new(new);
        let prepared = self.listeners.prepare(&new, &self.parts.counters)?;
        open_logs(&self.parts.access_logs, &new)?;
        let media = &self.calls.media;
        let udp = self.udp.prepare(&new, media)?;
        let admin = self.admin.prepare(new.global.admin)?;
        let upstreams = before
            .upstreams
            .succeed(&new.upstreams)
            .map_err(StartError::system("reading the system's trusted certificates"))?;
        let (on_tcp, on_udp) = (
            self.listeners.addrs_with(&new, &prepared),
            self.udp.addrs_with(&new, &udp),
        );
        let generation = Arc::new(Generation::new(&new, upstreams, &on_tcp, &on_udp, media));
        // The allow-lists should know the new servers before their first call.
        if timeout(FIRST_LOOKUP, generation.look_up()).await.is_err() {
            tracing::warn!("some upstream names could not be looked up yet");
        }
        self.parts = self.parts_for(&generation);
        self.checks.abort();
        self.checks = check_health(&generation.upstreams);
        let drain = new.global.drain_timeout;
        // New UDP listeners before they are shown to anyone.
        self.udp.serve(&new, udp, &self.calls.media, drain);
        self.calls.shared.set_limits(limits(&new));
        self.calls.generation.store(generation);
        publish(&self.calls);
        self.admin.serve(admin, &self.report);
        self.listeners
            .serve(&new, prepared, &self.parts, &self.ice_tcp, drain)?;
        self.parts.access_logs.retain(&access_logs(&new));
        let sections = new.services.iter().filter_map(|service| service.http.as_ref());
        self.parts.counters.routes.retain(sections);
        self.report.adopted(doors(&new, &self.listeners, &self.udp));
        Ok(true)
    }

    /// What the sites of a generation share; the rest is as before.
    fn parts_for(&self, generation: &Generation) -> Arc<http::Shared> {
        let parts = &self.parts;
        Arc::new(http::Shared {
            upstreams: generation.upstreams.clone(),
            calls: parts.calls.clone(),
            memory: parts.memory.clone(),
            affinity: parts.affinity.clone(),
            counters: parts.counters.clone(),
            connections: parts.connections.clone(),
            access_logs: parts.access_logs.clone(),
        })
    }
}

/// Opens the access logs of a configuration.
///
/// # Errors
/// One cannot be written.
pub(super) fn open_logs(logs: &http::AccessLogs, config: &Config) -> Result<(), StartError> {
    logs.open(access_logs(config))
        .map_err(|(target, source)| StartError::AccessLog {
            path: match target {
                LogTarget::Stdout => "standard output".into(),
                LogTarget::File(path) => path,
            },
            source,
        })
}

fn access_logs(config: &Config) -> Vec<&AccessLog> {
    let sections = config.services.iter().filter_map(|service| service.http.as_ref());
    sections.filter_map(|http| http.access_log.as_ref()).collect()
}
