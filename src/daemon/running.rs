//! A running daemon: its parts, the housekeeping between them, and the way to its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::config::{Config, Service};
use crate::http::{self, AccessLogs, IceTcp, TokenMemory};
use crate::ice::{Counters, KeyRing, ListenerId};
use crate::media::mux::Mux;
use crate::media::shared::{Limits, Shared, Sockets};
use crate::media::{ListenError, Media, MediaConfig, ShardSeat, UdpListen};
use crate::upstream::{FRESH_FOR, Upstreams};

use super::StartError;
use super::addresses::own_addresses;
use super::admin_listener::AdminListener;
use super::calls::{MediaCalls, Refusals};
use super::expiry;
use super::generation::{Generation, ice_udp, publish};
use super::ice_tcp::ToStreams;
use super::key_store::StoredKey;
use super::listen_error::listen_error;
use super::listeners::Listeners;
use super::reload::open_logs;
use super::report::{DaemonReport, Door};
use super::signals::{Signals, Wish};
use super::snapshot::SnapshotFile;
use super::systemd;
use super::udp::{PreparedUdp, UdpListeners};
use super::watch::Watch;

/// Tokens remembered for renegotiations.
const REMEMBERED_TOKENS: usize = 65_536;
/// How long the first look-up of the upstream names may hold up the start.
pub(super) const FIRST_LOOKUP: Duration = Duration::from_secs(5);
/// How often a draining daemon looks whether its calls have ended.
const DRAIN_STEP: Duration = Duration::from_millis(200);
/// How long the last lines of the access logs may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The parts.
pub(super) struct Running {
    pub(super) watch: Option<Watch>,
    pub(super) calls: Arc<MediaCalls>,
    pub(super) report: Arc<DaemonReport>,
    /// What the sites share now.
    pub(super) parts: Arc<http::Shared>,
    pub(super) listeners: Listeners,
    pub(super) udp: UdpListeners,
    pub(super) admin: AdminListener,
    /// Takes the ICE connections of TCP services.
    pub(super) ice_tcp: Arc<dyn IceTcp>,
    signals: Signals,
    snapshot: Option<Arc<SnapshotFile>>,
    /// The active checks of the upstream servers.
    pub(super) checks: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts everything, and watches the file that the configuration is from. On an error nothing is left running.
    pub(super) async fn start(
        config: Arc<Config>,
        key: &StoredKey,
        file: Option<&Path>,
    ) -> Result<Self, StartError> {
        let signals = Signals::new().map_err(StartError::system("waiting for signals"))?;
        let watch = file.map(Watch::new);
        let shared = Arc::new(Shared::new(KeyRing::new(key.secret, &[]), limits(&config)));
        // TCP first: a second daemon by mistake then fails before it shares the first one's UDP port.
        let mut listeners = Listeners::default();
        let counters = Arc::new(http::Counters::default());
        let prepared = listeners.prepare(&config, &counters)?;
        let mut admin = AdminListener::default();
        let prepared_admin = admin.prepare(config.global.admin)?;
        let access_logs = Arc::new(AccessLogs::new(counters.clone()));
        open_logs(&access_logs, &config)?;
        let media = start_media(&config, &shared)?;
        let upstreams = Upstreams::new(&config.upstreams)
            .map_err(StartError::system("reading the system's trusted certificates"))?;
        let tcp = listeners.addrs_with(&config, &prepared);
        let udp = UdpListeners::started(&config, &media);
        let on_udp = udp.addrs_with(&config, &PreparedUdp::default());
        let generation = Generation::new(&config, upstreams, &tcp, &on_udp, &media);
        let calls = Arc::new(MediaCalls {
            clock: media.clock(),
            shared,
            media,
            generation: ArcSwap::from_pointee(generation),
            own_ips: ArcSwap::from_pointee(own_addresses()),
            scopes: std::sync::Mutex::default(),
            refusals: Refusals::default(),
            revival: Counters::default(),
        });
        if timeout(FIRST_LOOKUP, refresh(&calls)).await.is_err() {
            tracing::warn!("some upstream names could not be looked up yet");
            publish(&calls);
        }
        let mut tasks = vec![tokio::spawn(keep_fresh(calls.clone()))];
        let snapshot = key.path.as_deref().map(SnapshotFile::beside).map(Arc::new);
        if let Some(file) = &snapshot {
            file.revive(&calls).await;
            tasks.push(tokio::spawn(file.clone().keep(calls.clone())));
        }
        let parts = shared_parts(&calls, &counters, access_logs);
        let ice_tcp: Arc<dyn IceTcp> = Arc::new(ToStreams(calls.media.streams().clone()));
        listeners.serve(&config, prepared, &parts, &ice_tcp, Duration::ZERO)?;
        let doors = doors(&config, &listeners, &udp);
        let report = Arc::new(DaemonReport::new(calls.clone(), counters, file, doors));
        tasks.push(tokio::spawn(expiry::watch(report.clone())));
        admin.serve(prepared_admin, &report);
        let checks = check_health(&parts.upstreams);
        systemd::ready();
        Ok(Self {
            watch,
            calls,
            report,
            parts,
            listeners,
            udp,
            admin,
            ice_tcp,
            signals,
            snapshot,
            checks,
            tasks,
        })
    }

    /// Says where the demo is.
    pub(super) fn announce_demo(&self) {
        for addr in self.listeners.addrs().take(1) {
            tracing::info!("the demo is at http://localhost:{}/", addr.port());
        }
    }

    /// Runs until SIGTERM or SIGINT, then drains: nothing new is accepted, requests and calls may finish within
    /// `drain_timeout`. A second signal ends it at once. Until then SIGHUP, or another configuration file, reloads;
    /// SIGUSR1 opens the access logs again.
    pub(super) async fn until_stopped(mut self) {
        loop {
            match self.next_wish().await {
                Wish::Stop => break,
                Wish::Reload => self.reload().await,
                Wish::ReopenLogs => self.reopen_logs(),
            }
        }
        systemd::stopping();
        let deadline = self.calls.generation.load().config.global.drain_timeout;
        let open = self.calls.shared.open_sessions();
        tracing::info!(calls = open, deadline = ?deadline, "stopping; another signal stops at once");
        self.report.draining.store(true, Ordering::Relaxed);
        tokio::select! {
            () = drain(self.listeners, &self.calls, deadline) => tracing::info!("stopped"),
            () = self.signals.stop() => tracing::warn!("stopped at once"),
        }
        self.checks.abort();
        self.admin.stop();
        self.tasks.iter().for_each(JoinHandle::abort);
        let logs = self.parts.access_logs.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || logs.flush(LAST_LINES)).await {
            tracing::error!(%error, "the access logs were not finished");
        }
        if let Some(file) = self.snapshot {
            file.conclude(self.calls).await;
        }
    }

    async fn next_wish(&mut self) -> Wish {
        let changed = async {
            match &mut self.watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let (media, shared) = (&self.calls.media, &self.calls.shared);
        let tidied = async {
            loop {
                self.udp.tidy(media, shared).await;
            }
        };
        tokio::select! {
            never = tidied => never,
            wish = self.signals.next() => wish,
            () = changed => Wish::Reload,
        }
    }

    fn reopen_logs(&self) {
        let logs = self.parts.access_logs.clone();
        // A disk that hangs holds up this thread, and nothing else.
        tokio::task::spawn_blocking(move || {
            logs.reopen();
            tracing::info!("access logs opened again");
        });
    }
}

/// What the sites share to begin with.
fn shared_parts(
    calls: &Arc<MediaCalls>,
    counters: &Arc<http::Counters>,
    access_logs: Arc<AccessLogs>,
) -> Arc<http::Shared> {
    Arc::new(http::Shared {
        upstreams: calls.generation.load().upstreams.clone(),
        calls: calls.clone(),
        memory: Arc::new(TokenMemory::new(REMEMBERED_TOKENS)),
        affinity: Arc::default(),
        counters: counters.clone(),
        connections: Arc::new(AtomicU64::new(0)),
        access_logs,
    })
}

async fn drain(listeners: Listeners, calls: &MediaCalls, deadline: Duration) {
    let end = Instant::now() + deadline;
    let calls_end = async {
        while calls.shared.open_sessions() > 0 && Instant::now() < end {
            sleep(DRAIN_STEP).await;
        }
    };
    tokio::join!(listeners.shutdown(deadline), calls_end);
}

fn start_media(config: &Config, shared: &Arc<Shared>) -> Result<Arc<Media>, StartError> {
    let listeners = (0..)
        .map(ListenerId)
        .zip(ice_udp(config))
        .map(|(id, service)| UdpListen {
            id,
            ip: service.addr.ip,
            port: service.addr.port,
        })
        .collect();
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let media_config = MediaConfig {
        listeners,
        shards: config.global.media_threads.unwrap_or_else(cores),
        upstream_ports: config.global.upstream_ports.clone(),
        max_server_sockets: MediaConfig::DEFAULT_MAX_SERVER_SOCKETS,
    };
    let make_mux = |seat: ShardSeat<'_>| {
        if seat.shard == 0 {
            let [v4, v6] = [false, true].map(|ipv6| seat.pool.sockets(ipv6));
            shared.set_sockets(Sockets {
                initial: [v4.len(), v6.len()],
                v4,
                v6,
            });
        }
        Mux::new(shared.clone(), seat.counters.clone())
    };
    let media = Media::start(media_config, make_mux).map_err(|source| media_error(config, source))?;
    media.streams().dial_on(Handle::current());
    Ok(Arc::new(media))
}

/// Whose fault it is that the media plane does not start.
fn media_error(config: &Config, source: std::io::Error) -> StartError {
    let inner = source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<ListenError>());
    let at = inner.map(|error| usize::from(error.listen.id.0));
    match at.and_then(|at| ice_udp(config).nth(at)) {
        Some(service) => listen_error(service, source),
        None => StartError::System {
            what: "starting the media plane",
            source,
        },
    }
}

/// The services as they listen.
pub(super) fn doors(config: &Config, listeners: &Listeners, udp: &UdpListeners) -> Vec<Door> {
    let door = |service: &Service| {
        let (mut addrs, tls) = listeners.at_work(service);
        addrs.extend(udp.at_work(service));
        Door {
            service: service.name.clone(),
            proto: service.kind.as_str(),
            addrs,
            tls,
            ice: service.enable_ice,
        }
    };
    config.services.iter().map(door).collect()
}

/// What a configuration says of the calls of all routes together.
pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        max_sessions: config.global.max_sessions,
        token_lifetime: config.global.token_lifetime.as_secs(),
    }
}

/// Looks upstream and candidate names up again, and lets the media plane know what came of it.
async fn refresh(calls: &MediaCalls) {
    calls.generation.load_full().look_up().await;
    calls.own_ips.store(Arc::new(own_addresses()));
    publish(calls);
}

async fn keep_fresh(calls: Arc<MediaCalls>) {
    let mut every = interval(FRESH_FOR);
    every.tick().await;
    loop {
        every.tick().await;
        refresh(&calls).await;
    }
}

/// Runs the active checks of upstream servers.
pub(super) fn check_health(upstreams: &Arc<Upstreams>) -> JoinHandle<()> {
    let upstreams = upstreams.clone();
    tokio::spawn(async move { upstreams.check_health().await })
}
