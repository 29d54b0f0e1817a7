//! A service under test: a route for every path to the echoing upstream, and a taker of ICE-TCP that echoes.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};
use xrtc::config::{
    Http, ListenAddr, PathRule, Route, Scheme, Server as UpstreamServer, TlsFiles, UpstreamGroup,
};
use xrtc::http::{
    AccessLogs, AsyncReadWrite, Calls, ConnInfo, Counters, Front, IceTcp, Limits, LiveSite, Served, Server,
    Shared, Site, Tls, TokenMemory,
};
use xrtc::ice::{KeyRing, RouteId};
use xrtc::signaling::{Fact, ProxyCandidate, Refusal};
use xrtc::upstream::Upstreams;

use crate::origin;

/// How often changed certificates are looked for.
const POLL: Duration = Duration::from_millis(20);
/// For what must happen.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Here no call is made.
struct NoCalls(Arc<KeyRing>);

impl Calls for NoCalls {
    fn learned(&self, _: &Route, _: u64, _: Fact) {}

    fn server_leg_address(&self, _: IpAddr, _: &str) -> Option<SocketAddr> {
        None
    }

    fn client_candidates(&self, _: &ConnInfo) -> Vec<ProxyCandidate> {
        Vec::new()
    }

    fn refused(&self, _: &Route, _: Refusal) {}

    fn permits(&self, _: &Route, _: &[IpAddr], _: SocketAddr) -> bool {
        false
    }

    fn keys(&self) -> Arc<KeyRing> {
        self.0.clone()
    }

    fn unix_now(&self) -> u32 {
        1_800_000_000
    }
}

/// Sends back what it gets, and remembers whose it was.
#[derive(Default)]
pub(crate) struct IceEcho(pub(crate) Mutex<Vec<ConnInfo>>);

impl IceTcp for IceEcho {
    fn accept(&self, mut io: Box<dyn AsyncReadWrite>, already_read: Bytes, conn: ConnInfo) -> Served {
        self.0.lock().unwrap().push(conn);
        Box::pin(async move {
            if io.write_all(&already_read).await.is_err() || io.flush().await.is_err() {
                return;
            }
            let mut buf = [0; 2048];
            while let Ok(len @ 1..) = io.read(&mut buf).await {
                if io.write_all(&buf[..len]).await.is_err() || io.flush().await.is_err() {
                    return;
                }
            }
        })
    }
}

/// What to start.
pub(crate) struct Setup {
    pub(crate) certificates: Vec<TlsFiles>,
    pub(crate) redirect_https: bool,
    pub(crate) trusted_proxies: Vec<&'static str>,
    pub(crate) http: bool,
    pub(crate) ice: bool,
    pub(crate) limits: Limits,
    /// Each is at `/NUMBER`, the first also at all else; without any there is the echoing upstream.
    pub(crate) groups: Vec<UpstreamGroup>,
}

impl Default for Setup {
    /// HTTP and ICE-TCP without TLS.
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            redirect_https: false,
            trusted_proxies: Vec::new(),
            http: true,
            ice: true,
            // A busy machine may take long over a byte at a time; the deadline has tests of its own.
            limits: Limits {
                first_bytes_timeout: Duration::from_secs(120),
                ..Limits::default()
            },
            groups: Vec::new(),
        }
    }
}

/// A running service.
pub(crate) struct Door {
    pub(crate) addr: SocketAddr,
    pub(crate) server: Server,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ice: Arc<IceEcho>,
}

impl Setup {
    fn networks<T: FromStr<Err: Debug>>(&self) -> Vec<T> {
        self.trusted_proxies
            .iter()
            .map(|text| text.parse().unwrap())
            .collect()
    }

    pub(crate) async fn start(mut self) -> Door {
        if self.groups.is_empty() {
            self.groups.push(group(origin::start().await));
        }
        let numbered = (0..self.groups.len()).map(|number| route(number, &format!("/{number}")));
        let http = Http {
            routes: numbered.chain([route(0, "/")]).collect(),
            trusted_proxies: self.networks(),
            ..Http::default()
        };
        let counters = Arc::new(Counters::default());
        let shared = Arc::new(Shared {
            upstreams: Arc::new(Upstreams::new(&self.groups).unwrap()),
            calls: Arc::new(NoCalls(Arc::new(KeyRing::new([7; 32], &[])))),
            memory: Arc::new(TokenMemory::default()),
            affinity: Arc::default(),
            counters: counters.clone(),
            connections: Arc::default(),
            access_logs: Arc::new(AccessLogs::new(counters.clone())),
        });
        let ice = Arc::new(IceEcho::default());
        let tls = match self.certificates.as_slice() {
            [] => None,
            files => Some(Tls::start(files, POLL, &counters).unwrap()),
        };
        let front = Front {
            limits: self.limits,
            site: self
                .http
                .then(|| Arc::new(LiveSite::new(Site::new(&http, shared)))),
            ice_tcp: self.ice.then(|| ice.clone() as Arc<dyn IceTcp>),
            tls,
            redirect_https: self.redirect_https,
            trusted_proxies: self.networks(),
            counters: counters.clone(),
        };
        let loopback = ListenAddr {
            ip: Some(IpAddr::from([127, 0, 0, 1])),
            port: 0,
        };
        let listeners = xrtc::http::bind(loopback).unwrap();
        let server = Server::start(listeners, front).unwrap();
        Door {
            addr: server.addrs()[0],
            server,
            counters,
            ice,
        }
    }
}

impl Door {
    pub(crate) fn count(&self, name: &str) -> u64 {
        let list = self.counters.list();
        list.iter().find(|(known, _)| *known == name).expect(name).1
    }

    /// Waits until a counter has a value.
    pub(crate) async fn counted(&self, name: &str, value: u64) {
        let deadline = Instant::now() + SOON;
        while self.count(name) != value {
            assert!(
                Instant::now() < deadline,
                "{name} is {}, not {value}",
                self.count(name)
            );
            sleep(Duration::from_millis(2)).await;
        }
    }
}

fn group(addr: SocketAddr) -> UpstreamGroup {
    let server = |scheme| UpstreamServer::new(scheme, addr.ip().to_string(), addr.port());
    UpstreamGroup::new("echo", vec![server(Scheme::Http), server(Scheme::Ws)])
}

fn route(upstream: usize, prefix: &str) -> Route {
    Route {
        tag: prefix.into(),
        id: RouteId::of("test", prefix),
        upstream,
        icetcp: false,
        icedirect: false,
        match_all: false,
        hosts: Vec::new(),
        protos: Vec::new(),
        paths: vec![PathRule {
            prefix: prefix.into(),
            rewrite: None,
        }],
        limits: None,
    }
}

static DIRS: AtomicUsize = AtomicUsize::new(0);

/// Certificates in files that are gone after the test.
pub(crate) struct Pki(PathBuf);

impl Pki {
    pub(crate) fn new() -> Self {
        let serial = DIRS.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("xrtc-pki-{}-{serial}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// A file of its own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Where a pair belongs.
    pub(crate) fn files(&self, name: &str) -> TlsFiles {
        TlsFiles {
            crt: self.path(&format!("{name}.crt")),
            key: self.path(&format!("{name}.key")),
        }
    }

    /// Makes a self-signed pair, in place of an earlier one of this name.
    pub(crate) fn make(&self, name: &str, hosts: &[&str]) -> TlsFiles {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(hosts).unwrap();
        let files = self.files(name);
        std::fs::write(&files.crt, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
