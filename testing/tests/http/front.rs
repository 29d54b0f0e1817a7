//! A site under test, with a mock of the media plane, and clients for it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use xrtc::config::{Http, ListenAddr, PathRule, Route, Scheme, Server as UpstreamServer, UpstreamGroup};
use xrtc::http::{
    AccessLogs, Calls, ConnInfo, Counters, Front as Door, Limits, LiveSite, Server, Shared, Site, TokenMemory,
};
use xrtc::ice::{KeyRing, RouteId, Transport};
use xrtc::signaling::{Fact, ProxyCandidate, Refusal};
use xrtc::upstream::Upstreams;

/// What clients are shown.
pub(crate) const PROXY: &str = "198.51.100.1";
/// What servers are shown.
pub(crate) const SERVER_LEG: &str = "198.51.100.2";

/// Records what it is told.
pub(crate) struct MockCalls {
    keys: Arc<KeyRing>,
    clock: AtomicU32,
    pub(crate) facts: Mutex<Vec<(u64, Fact)>>,
    pub(crate) refusals: Mutex<Vec<Refusal>>,
}

impl Calls for MockCalls {
    fn learned(&self, _: &Route, connection: u64, fact: Fact) {
        self.facts.lock().unwrap().push((connection, fact));
    }

    fn server_leg_address(&self, server: IpAddr, _: &str) -> Option<SocketAddr> {
        assert!(server.is_loopback());
        Some(SocketAddr::new(SERVER_LEG.parse().unwrap(), 40_000))
    }

    fn client_candidates(&self, conn: &ConnInfo) -> Vec<ProxyCandidate> {
        let addr = SocketAddr::new(PROXY.parse().unwrap(), conn.local.port());
        vec![
            ProxyCandidate {
                transport: Transport::Udp,
                addr,
            },
            ProxyCandidate {
                transport: Transport::Tcp,
                addr,
            },
        ]
    }

    fn refused(&self, _: &Route, refusal: Refusal) {
        self.refusals.lock().unwrap().push(refusal);
    }

    fn permits(&self, _: &Route, upstream_ips: &[IpAddr], addr: SocketAddr) -> bool {
        upstream_ips.contains(&addr.ip())
    }

    fn keys(&self) -> Arc<KeyRing> {
        self.keys.clone()
    }

    fn unix_now(&self) -> u32 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }
}

/// What to start.
pub(crate) struct Setup {
    pub(crate) http: Http,
    pub(crate) groups: Vec<UpstreamGroup>,
    pub(crate) connections: usize,
}

impl Setup {
    /// One route for every path, to one group with these servers.
    pub(crate) fn to(servers: &[(Scheme, SocketAddr)]) -> Self {
        let mut setup = Self::empty();
        setup.groups.push(group(servers));
        setup.http.routes.push(route("all", 0, "/", None));
        setup
    }

    /// No route, no files.
    pub(crate) fn empty() -> Self {
        Self {
            http: Http::default(),
            groups: Vec::new(),
            connections: 1000,
        }
    }

    pub(crate) fn root(mut self, root: PathBuf) -> Self {
        self.http.root = Some(root);
        self
    }

    pub(crate) fn start(self) -> Front {
        let upstreams = Arc::new(Upstreams::new(&self.groups).unwrap());
        let calls = Arc::new(MockCalls {
            keys: Arc::new(KeyRing::new([7; 32], &[])),
            clock: AtomicU32::new(1_800_000_000),
            facts: Mutex::default(),
            refusals: Mutex::default(),
        });
        let counters = Arc::new(Counters::default());
        let shared = Arc::new(Shared {
            upstreams: upstreams.clone(),
            calls: calls.clone(),
            memory: Arc::new(TokenMemory::default()),
            affinity: Arc::default(),
            counters: counters.clone(),
            connections: Arc::default(),
            access_logs: Arc::new(AccessLogs::new(counters.clone())),
        });
        let door = Door {
            limits: Limits {
                connections: self.connections,
                ..Limits::of(&self.http.limits)
            },
            site: Some(Arc::new(LiveSite::new(Site::new(&self.http, shared)))),
            ice_tcp: None,
            tls: None,
            redirect_https: false,
            trusted_proxies: Vec::new(),
            counters: counters.clone(),
        };
        let loopback = ListenAddr {
            ip: Some(IpAddr::from([127, 0, 0, 1])),
            port: 0,
        };
        let listeners = xrtc::http::bind(loopback).unwrap();
        let server = Server::start(listeners, door).unwrap();
        Front {
            addr: server.addrs()[0],
            server,
            upstreams,
            calls,
            counters,
        }
    }
}

pub(crate) fn group(servers: &[(Scheme, SocketAddr)]) -> UpstreamGroup {
    let server = |&(scheme, addr): &(Scheme, SocketAddr)| {
        UpstreamServer::new(scheme, addr.ip().to_string(), addr.port())
    };
    UpstreamGroup::new("group", servers.iter().map(server).collect())
}

pub(crate) fn route(tag: &str, upstream: usize, prefix: &str, rewrite: Option<&str>) -> Route {
    Route {
        tag: tag.into(),
        id: RouteId::of("test", tag),
        upstream,
        icetcp: false,
        icedirect: false,
        match_all: false,
        hosts: Vec::new(),
        protos: Vec::new(),
        paths: vec![PathRule {
            prefix: prefix.into(),
            rewrite: rewrite.map(Into::into),
        }],
        limits: None,
    }
}

/// A running site.
pub(crate) struct Front {
    pub(crate) addr: SocketAddr,
    pub(crate) server: Server,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) calls: Arc<MockCalls>,
    pub(crate) counters: Arc<Counters>,
}

impl Front {
    pub(crate) fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn get(&self, path: &str) -> Request<Full<Bytes>> {
        Request::get(self.uri(path)).body(Full::default()).unwrap()
    }

    pub(crate) fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        Request::post(self.uri(path))
            .header("content-type", content_type)
            .body(Full::new(body.into()))
            .unwrap()
    }

    /// Bytes in, bytes out until the connection ends.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let list = self.counters.list();
        list.iter().find(|(known, _)| *known == name).expect(name).1
    }
}

pub(crate) async fn send<B>(request: Request<B>) -> Response<Incoming>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let client: Client<HttpConnector, B> = Client::builder(TokioExecutor::new()).build_http();
    client.request(request).await.unwrap()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
