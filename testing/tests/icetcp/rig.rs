//! The media plane behind a front door that takes nothing but ICE-TCP, and the calls that it knows.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use xrtc::config::ListenAddr;
use xrtc::http::{AsyncReadWrite, ConnInfo, Counters as HttpCounters, Front, IceTcp, Limits as HttpLimits};
use xrtc::http::{Served, Server as HttpServer};
use xrtc::ice::{
    AllowList, Claims, Counter, DropReason, KeyRing, ListenerId, Mode, RouteId, RoutePolicy, ServerCandidate,
};
use xrtc::media::direct::DirectCall;
use xrtc::media::mux::Mux;
use xrtc::media::shared::{Limits, Shared, Sockets};
use xrtc::media::{Media, MediaConfig, Streams, UdpListen};
use xrtc_testing::sim::check::Login;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct ToStreams(Arc<Streams>);

impl IceTcp for ToStreams {
    fn accept(&self, io: Box<dyn AsyncReadWrite>, already_read: Bytes, conn: ConnInfo) -> Served {
        let streams = self.0.clone();
        Box::pin(async move { streams.serve_client(io, &already_read, conn.remote).await })
    }
}

/// The proxy.
pub(crate) struct Rig {
    pub(crate) media: Media,
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
    shared: Arc<Shared>,
    keys: KeyRing,
    _door: HttpServer,
}

/// A route of the rig for a mode.
fn route(mode: Mode, icetcp: bool) -> RouteId {
    RouteId::of("rig", &format!("{mode:?} {icetcp}"))
}

impl Rig {
    /// To be called within a runtime.
    pub(crate) fn start() -> Self {
        let keys = KeyRing::new([7; 32], &[]);
        let limits = Limits {
            max_sessions: 10_000,
            token_lifetime: 3_600,
        };
        let shared = Arc::new(Shared::new(keys.clone(), limits));
        let both = [Mode::Hijack, Mode::Direct].map(|mode| [false, true].map(|icetcp| (mode, icetcp)));
        let policies = both.into_iter().flatten().map(|(mode, icetcp)| {
            let id = route(mode, icetcp);
            let allow = AllowList {
                networks: vec!["127.0.0.1/32".parse().expect("a network")],
                ..AllowList::default()
            };
            let policy = RoutePolicy {
                id,
                mode,
                icetcp,
                allow,
                max_sessions: 10_000,
            };
            (id, Arc::new(policy))
        });
        shared.policies.store(Arc::new(policies.collect()));
        let media = start_media(&shared);
        media.streams().dial_on(Handle::current());
        let door = start_door(media.streams());
        Self {
            tcp: door.addrs()[0],
            udp: media.bound()[0].1,
            media,
            shared,
            keys,
            _door: door,
        }
    }

    /// Makes a call known, as its signalling would, and gives what the client is shown of the server's credentials.
    pub(crate) fn place(
        &self,
        mode: Mode,
        icetcp: bool,
        server: &Login,
        candidates: Vec<ServerCandidate>,
    ) -> Login {
        let now = self.media.clock().now();
        let route = route(mode, icetcp);
        if mode == Mode::Direct {
            let call = DirectCall::new(route, &server.ufrag, &server.pwd, candidates, now.mono);
            assert!(self.shared.register_direct(call));
            return server.clone();
        }
        let claims = Claims {
            route,
            minted_at: u32::try_from(now.unix / 1_000).expect("before 2106"),
            server_offers: false,
            server_lite: false,
            icetcp,
            ufrag: server.ufrag.clone(),
            pwd: server.pwd.clone(),
            candidates,
        };
        let token = self.keys.seal(&claims).expect("short credentials");
        Login::new(&token, &self.keys.client_facing_pwd(&token))
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.media
            .counters()
            .iter()
            .map(|shard| shard.drops(reason))
            .sum()
    }

    pub(crate) fn all_drops(&self) -> Vec<(DropReason, u64)> {
        let all = DropReason::ALL.iter().map(|&reason| (reason, self.drops(reason)));
        all.filter(|(_, drops)| *drops > 0).collect()
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.media
            .counters()
            .iter()
            .map(|shard| shard.count(counter))
            .sum()
    }
}

fn start_media(shared: &Arc<Shared>) -> Media {
    let config = MediaConfig {
        listeners: vec![UdpListen {
            id: ListenerId(0),
            ip: Some(LOCALHOST),
            port: 0,
        }],
        shards: 2,
        upstream_ports: None,
        max_server_sockets: 1_024,
    };
    Media::start(config, |seat| {
        if seat.shard == 0 {
            let [v4, v6] = [false, true].map(|ipv6| seat.pool.sockets(ipv6));
            shared.set_sockets(Sockets {
                initial: [v4.len(), v6.len()],
                v4,
                v6,
            });
        }
        Mux::new(shared.clone(), seat.counters.clone())
    })
    .expect("loopback sockets")
}

fn start_door(streams: &Arc<Streams>) -> HttpServer {
    let front = Front {
        limits: HttpLimits::default(),
        site: None,
        ice_tcp: Some(Arc::new(ToStreams(streams.clone()))),
        tls: None,
        redirect_https: false,
        trusted_proxies: Vec::new(),
        counters: Arc::new(HttpCounters::default()),
    };
    let addr = ListenAddr {
        ip: Some(LOCALHOST),
        port: 0,
    };
    let listeners = xrtc::http::bind(addr).expect("a loopback port");
    HttpServer::start(listeners, front).expect("it knows its address")
}

/// Waits for what leaves no other trace.
pub(crate) async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::task::yield_now().await;
    }
}
