//! What the admin listener knows of a running daemon. [`metrics`] and [`status`] put it
//! into words.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use serde_json::Value;

use crate::admin::Report;
use crate::http::{self, Tls};

use super::calls::MediaCalls;
use super::reload::Reloads;
use super::{metrics, status};

/// The daemon's numbers and its state.
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
    /// The configuration's file, if it is from one.
    pub(super) file: Option<PathBuf>,
    /// When the daemon began to serve.
    pub(super) started: Instant,
    /// Since when the configuration is in effect.
    pub(super) loaded: Mutex<SystemTime>,
    /// Where the services listen.
    pub(super) doors: ArcSwap<Vec<Door>>,
}

/// A service at work.
#[derive(Debug)]
pub(super) struct Door {
    /// Its name.
    pub(super) service: String,
    /// Its `proto`.
    pub(super) proto: &'static str,
    /// The addresses that it listens on.
    pub(super) addrs: Vec<SocketAddr>,
    /// Its certificates.
    pub(super) tls: Option<Tls>,
    /// Whether it carries ICE.
    pub(super) ice: bool,
}

impl DaemonReport {
    /// Of a daemon that begins to serve.
    pub(super) fn new(
        calls: Arc<MediaCalls>,
        http: Arc<http::Counters>,
        file: Option<&Path>,
        doors: Vec<Door>,
    ) -> Self {
        Self {
            calls,
            http,
            reloads: Reloads::default(),
            draining: AtomicBool::new(false),
            file: file.map(Path::to_owned),
            started: Instant::now(),
            loaded: Mutex::new(SystemTime::now()),
            doors: ArcSwap::from_pointee(doors),
        }
    }

    /// A new configuration is in effect.
    pub(super) fn adopted(&self, doors: Vec<Door>) {
        self.doors.store(Arc::new(doors));
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = SystemTime::now();
    }

    /// When the configuration in effect was taken up.
    pub(super) fn loaded(&self) -> SystemTime {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report for DaemonReport {
    fn metrics(&self) -> String {
        metrics::page(self)
    }

    fn status(&self) -> Value {
        status::page(self)
    }

    fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }
}
