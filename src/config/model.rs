//! The resolved configuration: every reference holds, every number is in range, every duration parsed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::ice::RouteId;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Listening services, in file order.
    pub services: Vec<Service>,
    /// Upstream groups, in file order.
    pub upstreams: Vec<UpstreamGroup>,
    /// Settings of the daemon as a whole.
    pub global: Global,
    /// What the file asks for in vain or hardly means; one line each, with its line number.
    pub warnings: Vec<String>,
}

/// Settings of the daemon as a whole (top-level keys beside `services`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Where the key lives; `None`: the default search.
    pub state_dir: Option<PathBuf>,
    /// How long a stopping daemon waits for what runs (default 30 s).
    pub drain_timeout: Duration,
    /// How long a token opens after it was minted (default 7 days).
    pub token_lifetime: Duration,
    /// Source ports of the server leg; `None`: any.
    pub upstream_ports: Option<RangeInclusive<u16>>,
    /// Media threads; `None`: one per core.
    pub media_threads: Option<usize>,
    /// Calls at once, all routes together (default 20 000).
    pub max_sessions: usize,
    /// The admin listener (metrics, health); `None`: none.
    pub admin: Option<ListenAddr>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            state_dir: None,
            drain_timeout: Duration::from_secs(30),
            token_lifetime: Duration::from_secs(7 * 24 * 3600),
            upstream_ports: None,
            media_threads: None,
            max_sessions: 20_000,
            admin: None,
        }
    }
}

/// A listening address: `ip:port`, or `:port` for every address of both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddr {
    /// `None`: all addresses, IPv4 and IPv6.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl fmt::Display for ListenAddr {
    /// As it is written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, ":{}", self.port),
        }
    }
}

/// What a service listens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// `proto: http`.
    Http,
    /// `proto: tcp`: HTTP (with `enable_http`) and ICE-TCP.
    Tcp,
    /// `proto: udp`: ICE over UDP.
    Udp,
}

impl ServiceKind {
    /// The value of `proto`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// `tcp` or `udp`: what it listens with.
    #[must_use]
    pub const fn transport(self) -> &'static str {
        match self {
            Self::Http | Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// One listening service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name in the file.
    pub name: String,
    /// Its kind.
    pub kind: ServiceKind,
    /// Where it listens.
    pub addr: ListenAddr,
    /// Certificates with their keys, the one for clients that ask for no name first; none: no TLS.
    pub certificates: Vec<TlsFiles>,
    /// Proxies in front of this service whose word about its clients is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Plain HTTP is redirected to HTTPS: on this port if there is a certificate, else on 443.
    pub redirect_https: bool,
    /// Whether it carries ICE (udp and tcp).
    pub enable_ice: bool,
    /// The addresses shown to clients in candidates.
    pub candidate_ips: CandidateIps,
    /// `max_connections`: client connections at once; more are closed at once (default 16 384).
    pub max_connections: usize,
    /// `per_network`: the same for each client network; `None`: any number.
    pub per_network: Option<NetworkConnections>,
    /// HTTP on this service: always for `http`, with `enable_http` for `tcp`, never for `udp`.
    pub http: Option<Http>,
}

/// `net.per_network`: how many connections the clients of one network may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkConnections {
    /// How many leading bits of an IPv4 address make a network (default 24).
    pub v4: u8,
    /// How many leading bits of an IPv6 address make a network (default 56).
    pub v6: u8,
    /// Connections at once.
    pub connections: usize,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    /// `tls_crt_file`, or `crt` of `certificates`.
    pub crt: PathBuf,
    /// `tls_key_file`, or `key` of `certificates`.
    pub key: PathBuf,
}

/// `candidate_ips`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateIps {
    /// Empty or `auto`: the address that the client's connection came in on, then this machine's others.
    Auto,
    /// As listed. `auto` may be among them.
    List(Vec<CandidateHost>),
}

/// One entry of `candidate_ips`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateHost {
    /// A literal address.
    Ip(IpAddr),
    /// A name, resolved by xrtc and never shown to clients.
    Name(String),
    /// `auto`.
    Auto,
}

/// The `http:` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The service that it is of.
    pub service: String,
    /// Served host name; `None` (`_`): any.
    pub servername: Option<String>,
    /// Static files for what no route takes; `None`: 404.
    pub root: Option<PathBuf>,
    /// `try`: the file of `root` that is served in place of one that is not there.
    pub fallback: Option<String>,
    /// Where requests are logged; `None`: nowhere.
    pub access_log: Option<AccessLog>,
    /// What clients may take up.
    pub limits: Limits,
    /// Requests at once, per upstream server; `None`: as many as the process can hold.
    pub max_conns: Option<usize>,
    /// Idle upstream connections are closed after this (default 30 s).
    pub idle_conn_timeout: Duration,
    /// Connecting to an upstream (default 10 s).
    pub dial_timeout: Duration,
    /// Waiting for an upstream's response headers (default 300 s).
    pub response_header_timeout: Duration,
    /// TCP keep-alive period of upstream connections (default 1200 s).
    pub keepalive_timeout: Duration,
    /// Flush interval of event streams (default 100 ms).
    pub flush_interval: Duration,
    /// Flush interval of everything else (default 100 ms).
    pub global_flush_interval: Duration,
    /// Of `net`: peers whose word on where a request came from is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Routes, in file order.
    pub routes: Vec<Route>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            service: String::new(),
            servername: None,
            root: None,
            fallback: None,
            access_log: None,
            limits: Limits::default(),
            max_conns: None,
            idle_conn_timeout: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(10),
            response_header_timeout: Duration::from_secs(300),
            keepalive_timeout: Duration::from_secs(1200),
            flush_interval: Duration::from_millis(100),
            global_flush_interval: Duration::from_millis(100),
            trusted_proxies: Vec::new(),
            routes: Vec::new(),
        }
    }
}

/// One route of an `http:` section: a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its tag in the file.
    pub tag: String,
    /// Its sealed name.
    pub id: RouteId,
    /// Index into [`Config::upstreams`]; a literal URL in the file becomes a group of one server.
    pub upstream: usize,
    /// Server TCP candidates first.
    pub icetcp: bool,
    /// ICE passes through.
    pub icedirect: bool,
    /// `match: all`: every kind of condition that is given must hold. Otherwise any one suffices.
    pub match_all: bool,
    /// Exact hosts (lower case, no port) or `*.example.com`.
    pub hosts: Vec<String>,
    /// WebSocket subprotocols, of `ws@NAME`.
    pub protos: Vec<String>,
    /// Path prefixes.
    pub paths: Vec<PathRule>,
    /// What its clients may take up, counted by itself; `None`: as the section says, counted with it.
    pub limits: Option<Limits>,
}

/// `access_log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where the lines go.
    pub target: LogTarget,
    /// What a line looks like.
    pub format: LogFormat,
}

/// `access_log.path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogTarget {
    /// `stdout`.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// `access_log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// The combined format of web servers, with more fields behind it.
    #[default]
    Combined,
    /// One JSON object per line.
    Json,
}

/// `limits`: what the clients of a section or of a route may take up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way and open WebSockets at once, all clients together; `None`: any number.
    pub connections: Option<usize>,
    /// Requests of all clients together.
    pub rate: Option<Rate>,
    /// What one client network may take up of it.
    pub per_network: NetworkLimits,
    /// The header fields of a request (default 64 KiB).
    pub header_bytes: usize,
    /// The body of a request; `None`: any length.
    pub body_bytes: Option<u64>,
    /// A WebSocket message, in either direction (default 1 MiB).
    pub websocket_message_bytes: usize,
    /// For the header of a request to be complete (default 30 s).
    pub header_timeout: Duration,
    /// For the next request on a connection (default 75 s).
    pub idle_timeout: Duration,
    /// For the next piece of a request's body (default 60 s).
    pub body_timeout: Duration,
    /// For the client to take the next piece of a response or of a WebSocket (default 60 s).
    pub send_timeout: Duration,
    /// For the next message of a WebSocket, from either side; `None`: for ever.
    pub websocket_idle_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: None,
            rate: None,
            per_network: NetworkLimits::default(),
            header_bytes: 64 * 1024,
            body_bytes: None,
            websocket_message_bytes: 1024 * 1024,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
            websocket_idle_timeout: None,
        }
    }
}

/// `limits.per_network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkLimits {
    /// How many leading bits of an IPv4 address make a network (default 24).
    pub v4: u8,
    /// How many leading bits of an IPv6 address make a network (default 56).
    pub v6: u8,
    /// Requests under way and open WebSockets at once; `None`: any number.
    pub connections: Option<usize>,
    /// Requests.
    pub rate: Option<Rate>,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self {
            v4: 24,
            v6: 56,
            connections: None,
            rate: None,
        }
    }
}

/// `requests_per_second` and `burst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// One entry of `paths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// Matches whole segments. Starts with `/`; ends with `/` only if that is all of it (as does the rewrite).
    pub prefix: String,
    /// `/a: /b`: what the prefix is replaced by.
    pub rewrite: Option<String>,
}

/// A service of `proto: upstream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamGroup {
    /// Its name; for a literal URL, the URL.
    pub name: String,
    /// How a server is chosen.
    pub mode: Balance,
    /// Its servers, in file order.
    pub servers: Vec<Server>,
    /// Active checks; `None`: a server is judged by the requests sent to it alone.
    pub health: Option<HealthCheck>,
    /// How long a server that returns takes to get its full share (default 10 s).
    pub slow_start: Duration,
    /// Whether a client gets a cookie that names its server (default true).
    pub cookie: bool,
    /// How its `https` and `wss` servers are verified.
    pub tls: UpstreamTls,
    /// `media.allow`: networks that calls may be sent to beside the servers' own addresses.
    pub media_allow: Vec<IpNet>,
    /// `media.max_sessions`: calls at once (default: the global limit).
    pub max_sessions: Option<usize>,
}

impl UpstreamGroup {
    /// A group with the default of every setting.
    #[must_use]
    pub fn new(name: impl Into<String>, servers: Vec<Server>) -> Self {
        Self {
            name: name.into(),
            mode: Balance::RoundRobin,
            servers,
            health: None,
            slow_start: Duration::from_secs(10),
            cookie: true,
            tls: UpstreamTls::default(),
            media_allow: Vec::new(),
            max_sessions: None,
        }
    }
}

/// `tls` of an upstream group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Who may have signed the servers' certificates, PEM; `None`: the system's trusted roots.
    pub ca: Option<PathBuf>,
    /// Asked for and verified in place of the servers' own names.
    pub server_name: Option<String>,
    /// Nothing is verified: anyone on the way may read and change what is sent.
    pub insecure: bool,
}

/// `mode` of an upstream group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// `rr`.
    RoundRobin,
    /// `random`.
    Random,
    /// `least_conn`.
    LeastConn,
    /// `hash`, by this.
    Hash(HashBy),
}

/// `hash` of an upstream group: what requests to one server have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// `ip`: the client's address.
    ClientIp,
    /// `header NAME`, in lower case.
    Header(String),
    /// `cookie NAME`.
    Cookie(String),
}

impl fmt::Display for Balance {
    /// As `mode` and `hash` have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoundRobin => f.write_str("rr"),
            Self::Random => f.write_str("random"),
            Self::LeastConn => f.write_str("least_conn"),
            Self::Hash(HashBy::ClientIp) => f.write_str("hash by ip"),
            Self::Hash(HashBy::Header(name)) => write!(f, "hash by header {name}"),
            Self::Hash(HashBy::Cookie(name)) => write!(f, "hash by cookie {name}"),
        }
    }
}

/// `health` of an upstream group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for (default `/`).
    pub path: String,
    /// Between two checks (default 5 s).
    pub interval: Duration,
    /// For the answer (default 2 s).
    pub timeout: Duration,
    /// The statuses of a healthy server (default 200 to 399).
    pub expect: RangeInclusive<u16>,
}

/// One server of an upstream group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// What is spoken to it.
    pub scheme: Scheme,
    /// Name or address, without brackets.
    pub host: String,
    /// The port, given or the scheme's default.
    pub port: u16,
    /// Its share, beside the others' (default 1).
    pub weight: u32,
    /// Only for when the others are down.
    pub backup: bool,
    /// Failures within `fail_timeout` that make it count as down; 0: it never does (default 1).
    pub max_fails: u32,
    /// The time in which failures add up, and for which it then counts as down (default 10 s).
    pub fail_timeout: Duration,
}

impl Server {
    /// A server with the default of every setting.
    #[must_use]
    pub fn new(scheme: Scheme, host: impl Into<String>, port: u16) -> Self {
        Self {
            scheme,
            host: host.into(),
            port,
            weight: 1,
            backup: false,
            max_fails: 1,
            fail_timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Display for Server {
    /// As a URL, with its port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        let scheme = self.scheme.as_str();
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// A server's scheme. `Http*` servers take requests, `Ws*` servers take WebSockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http://`
    Http,
    /// `https://`
    Https,
    /// `ws://`
    Ws,
    /// `wss://`
    Wss,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 4] = [Self::Http, Self::Https, Self::Ws, Self::Wss];

    /// As in a URL, without `://`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The port of a URL that names none.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http | Self::Ws => 80,
            Self::Https | Self::Wss => 443,
        }
    }
}
