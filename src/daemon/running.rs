//! A running daemon: its parts, the housekeeping between them, and the way to its end.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::admin;
use crate::config::{CandidateHost, CandidateIps, Config, ListenAddr, Service, ServiceKind};
use crate::http::{
    self, CERTIFICATE_POLL, Front, IceTcp, Limits as HttpLimits, Server, Site, Tls, TokenMemory,
};
use crate::ice::{Counters, KeyRing, ListenerId, Transport};
use crate::media::mux::Mux;
use crate::media::shared::{Limits, Shared, Sockets};
use crate::media::{Media, MediaConfig, ShardSeat, Streams, UdpListen};
use crate::upstream::{FRESH_FOR, Upstreams};

use super::StartError;
use super::addresses::{IceService, own_addresses};
use super::calls::{MediaCalls, Refusals};
use super::ice_tcp::ToStreams;
use super::key_store::StoredKey;
use super::policies::Policies;
use super::report::DaemonReport;
use super::snapshot::SnapshotFile;

/// Tokens remembered for renegotiations.
const REMEMBERED_TOKENS: usize = 65_536;
/// How long the first look-up of the upstream names may hold up the start.
const FIRST_LOOKUP: Duration = Duration::from_secs(5);
/// How often a draining daemon looks whether its calls have ended.
const DRAIN_STEP: Duration = Duration::from_millis(200);

/// The parts.
pub(super) struct Running {
    config: Arc<Config>,
    calls: Arc<MediaCalls>,
    report: Arc<DaemonReport>,
    snapshot: Option<Arc<SnapshotFile>>,
    servers: Vec<Server>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts everything. On an error nothing is left running.
    pub(super) async fn start(config: Arc<Config>, key: &StoredKey) -> Result<Self, StartError> {
        let limits = Limits {
            max_sessions: config.global.max_sessions,
            token_lifetime: config.global.token_lifetime.as_secs(),
        };
        let shared = Arc::new(Shared::new(KeyRing::new(key.secret, &[]), limits));
        // TCP first: a second daemon by mistake then fails before it shares the first one's UDP port.
        let listeners = bind_tcp(&config)?;
        let media = start_media(&config, &shared)?;
        let upstreams = Upstreams::new(&config.upstreams)
            .map_err(StartError::system("reading the system's trusted certificates"))?;
        let calls = Arc::new(make_calls(
            &config,
            shared,
            media,
            Arc::new(upstreams),
            &listeners,
        ));
        if timeout(FIRST_LOOKUP, refresh(&config, &calls)).await.is_err() {
            tracing::warn!("some upstream names could not be looked up yet");
            publish(&calls);
        }
        let mut tasks = vec![tokio::spawn(keep_fresh(config.clone(), calls.clone()))];
        let snapshot = key.path.as_deref().map(SnapshotFile::beside).map(Arc::new);
        if let Some(file) = &snapshot {
            file.revive(&calls).await;
            tasks.push(tokio::spawn(file.clone().keep(calls.clone())));
        }
        let counters = Arc::new(http::Counters::default());
        let site_parts = Arc::new(http::Shared {
            upstreams: calls.upstreams.clone(),
            calls: calls.clone(),
            memory: Arc::new(TokenMemory::new(REMEMBERED_TOKENS)),
            affinity: Arc::default(),
            counters: counters.clone(),
            connections: Arc::new(AtomicU64::new(0)),
        });
        let servers = start_tcp(&config, listeners, &site_parts, calls.media.streams())?;
        let report = Arc::new(DaemonReport {
            calls: calls.clone(),
            http: counters,
            draining: AtomicBool::new(false),
        });
        let checked = calls.upstreams.clone();
        tasks.push(tokio::spawn(async move { checked.check_health().await }));
        if let Some(addr) = config.global.admin {
            tasks.extend(start_admin(addr, &report)?);
        }
        Ok(Self {
            config,
            calls,
            report,
            snapshot,
            servers,
            tasks,
        })
    }

    /// Says where the demo is.
    pub(super) fn announce_demo(&self) {
        for addr in self.servers.iter().flat_map(Server::addrs).take(1) {
            tracing::info!("the demo is at http://localhost:{}/", addr.port());
        }
    }

    /// Runs until SIGTERM or SIGINT, then drains: nothing new is accepted, requests and calls may finish within
    /// `drain_timeout`. A second signal ends it at once.
    pub(super) async fn until_stopped(self) {
        let mut signals = match StopSignals::new() {
            Ok(signals) => signals,
            Err(error) => return tracing::error!(%error, "cannot wait for signals"),
        };
        signals.next().await;
        let deadline = self.config.global.drain_timeout;
        let open = self.calls.shared.open_sessions();
        tracing::info!(calls = open, deadline = ?deadline, "stopping; another signal stops at once");
        self.report.draining.store(true, Ordering::Relaxed);
        tokio::select! {
            () = drain(self.servers, &self.calls, deadline) => tracing::info!("stopped"),
            () = signals.next() => tracing::warn!("stopped at once"),
        }
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some(file) = self.snapshot {
            file.conclude(self.calls).await;
        }
    }
}

async fn drain(servers: Vec<Server>, calls: &MediaCalls, deadline: Duration) {
    let end = Instant::now() + deadline;
    let servers: Vec<_> = servers
        .into_iter()
        .map(|server| tokio::spawn(server.shutdown(deadline)))
        .collect();
    while calls.shared.open_sessions() > 0 && Instant::now() < end {
        sleep(DRAIN_STEP).await;
    }
    for server in servers {
        if let Err(error) = server.await {
            tracing::error!(%error, "a server did not stop");
        }
    }
}

struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A service's TCP listeners.
type Bound = (String, Vec<TcpListener>);

fn on_tcp(config: &Config) -> impl Iterator<Item = &Service> {
    let services = config.services.iter();
    services.filter(|service| service.kind.transport() == "tcp")
}

fn bind_tcp(config: &Config) -> Result<Vec<Bound>, StartError> {
    on_tcp(config)
        .map(|service| {
            let listeners = http::bind(service.addr).map_err(|source| listen_error(service, source))?;
            Ok((service.name.clone(), listeners))
        })
        .collect()
}

fn listen_error(service: &Service, source: io::Error) -> StartError {
    StartError::Listen {
        service: service.name.clone(),
        addr: service.addr,
        source,
    }
}

fn start_tcp(
    config: &Config,
    listeners: Vec<Bound>,
    parts: &Arc<http::Shared>,
    streams: &Arc<Streams>,
) -> Result<Vec<Server>, StartError> {
    let ice_tcp: Arc<dyn IceTcp> = Arc::new(ToStreams(streams.clone()));
    on_tcp(config)
        .zip(listeners)
        .map(|(service, (_, listeners))| {
            let front = Arc::new(make_front(service, parts, &ice_tcp)?);
            let server = Server::start(listeners, &front, HttpLimits::default())
                .map_err(|source| listen_error(service, source))?;
            for addr in server.addrs() {
                let serves = if service.http.is_some() {
                    "HTTP and WebSocket"
                } else {
                    "ICE over TCP"
                };
                let (tls, ice) = (!service.certificates.is_empty(), service.enable_ice);
                tracing::info!(service = service.name, %addr, tls, ice, "{serves}");
            }
            Ok(server)
        })
        .collect()
}

fn make_front(
    service: &Service,
    parts: &Arc<http::Shared>,
    ice_tcp: &Arc<dyn IceTcp>,
) -> Result<Front, StartError> {
    let site = |section| Arc::new(Site::new(section, parts.clone()));
    let tls = match service.certificates.as_slice() {
        [] => None,
        files => Some(
            Tls::start(files, CERTIFICATE_POLL, &parts.counters).map_err(|source| StartError::Tls {
                service: service.name.clone(),
                source,
            })?,
        ),
    };
    Ok(Front {
        site: service.http.as_ref().map(site),
        ice_tcp: service.enable_ice.then(|| ice_tcp.clone()),
        tls,
        redirect_https: service.redirect_https,
        trusted_proxies: service.trusted_proxies.clone(),
        counters: parts.counters.clone(),
    })
}

fn ice_udp(config: &Config) -> impl Iterator<Item = (ListenerId, &Service)> {
    let services = config
        .services
        .iter()
        .filter(|service| service.kind == ServiceKind::Udp && service.enable_ice);
    (0..).map(ListenerId).zip(services)
}

fn start_media(config: &Config, shared: &Arc<Shared>) -> Result<Arc<Media>, StartError> {
    let listeners = ice_udp(config)
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
    let media = Media::start(media_config, make_mux).map_err(|source| match ice_udp(config).next() {
        Some((_, service)) => listen_error(service, source),
        None => StartError::System {
            what: "starting the media plane",
            source,
        },
    })?;
    media.streams().dial_on(Handle::current());
    for (_, addr) in media.bound() {
        tracing::info!(%addr, "ICE over UDP");
    }
    Ok(Arc::new(media))
}

/// Where clients can send ICE, with the ports that are really listened on.
fn ice_services(config: &Config, media: &Media, http: &[Bound]) -> Vec<IceService> {
    let offered = |transport, service: &Service, port| IceService {
        transport,
        addr: ListenAddr {
            ip: service.addr.ip,
            port,
        },
        ips: service.candidate_ips.clone(),
    };
    let udp = ice_udp(config).filter_map(|(id, service)| {
        let (_, addr) = media.bound().iter().find(|(bound, _)| *bound == id)?;
        Some(offered(Transport::Udp, service, addr.port()))
    });
    let tcp = on_tcp(config).zip(http).filter(|(service, _)| service.enable_ice);
    let tcp = tcp.filter_map(|(service, (_, listeners))| {
        let addr = listeners.first()?.local_addr().ok()?;
        Some(offered(Transport::Tcp, service, addr.port()))
    });
    udp.chain(tcp).collect()
}

fn make_calls(
    config: &Arc<Config>,
    shared: Arc<Shared>,
    media: Arc<Media>,
    upstreams: Arc<Upstreams>,
    http: &[Bound],
) -> MediaCalls {
    let services = ice_services(config, &media, http);
    let tcp = http
        .iter()
        .flat_map(|(_, listeners)| listeners)
        .filter_map(|listener| listener.local_addr().ok());
    let udp = media.bound().iter().map(|(_, addr)| *addr);
    let own: Vec<_> = tcp.chain(udp).collect();
    MediaCalls {
        policies: Policies::new(config.clone(), own),
        clock: media.clock(),
        shared,
        media,
        services,
        own_ips: ArcSwap::from_pointee(own_addresses()),
        upstreams,
        scopes: std::sync::Mutex::default(),
        refusals: Refusals::default(),
        revival: Counters::default(),
    }
}

/// Looks upstream and candidate names up again, and lets the media plane know what came of it.
async fn refresh(config: &Config, calls: &MediaCalls) {
    calls.upstreams.refresh().await;
    for name in candidate_names(config) {
        if let Err(error) = calls.upstreams.names().resolve(name).await {
            tracing::warn!(name, %error, "a name of candidate_ips cannot be looked up");
        }
    }
    calls.own_ips.store(Arc::new(own_addresses()));
    publish(calls);
}

fn publish(calls: &MediaCalls) {
    let own_ips = calls.own_ips.load();
    let resolve = |upstream| -> Vec<IpAddr> { calls.upstreams.addresses(upstream) };
    calls.policies.publish(&calls.shared, &own_ips, resolve);
}

fn candidate_names(config: &Config) -> impl Iterator<Item = &str> {
    config
        .services
        .iter()
        .filter(|service| service.enable_ice)
        .flat_map(|service| match &service.candidate_ips {
            CandidateIps::Auto => &[][..],
            CandidateIps::List(hosts) => hosts,
        })
        .filter_map(|host| match host {
            CandidateHost::Name(name) => Some(name.as_str()),
            CandidateHost::Ip(_) | CandidateHost::Auto => None,
        })
}

async fn keep_fresh(config: Arc<Config>, calls: Arc<MediaCalls>) {
    let mut every = interval(FRESH_FOR);
    every.tick().await;
    loop {
        every.tick().await;
        refresh(&config, &calls).await;
    }
}

fn start_admin(addr: ListenAddr, report: &Arc<DaemonReport>) -> Result<Vec<JoinHandle<()>>, StartError> {
    let listeners = http::bind(addr).map_err(|source| StartError::Listen {
        service: "admin".into(),
        addr,
        source,
    })?;
    Ok(listeners
        .into_iter()
        .map(|listener| {
            tracing::info!(addr = ?listener.local_addr().ok(), "admin: /metrics, /healthz, /readyz");
            tokio::spawn(admin::serve(listener, report.clone()))
        })
        .collect())
}
