//! Every key of the file, by the section that it stands in.

/// The file's own keys.
pub(super) const TOP: &[&str] = &[
    "services",
    "state_dir",
    "drain_timeout",
    "token_lifetime",
    "upstream_ports",
    "media_threads",
    "max_sessions",
    "admin",
];
/// `admin:`
pub(super) const ADMIN: &[&str] = &["addr"];
/// `services.<name>:`
pub(super) const SERVICE: &[&str] = &[
    "proto",
    "mode",
    "hash",
    "servers",
    "health",
    "slow_start",
    "cookie",
    "tls",
    "media",
    "net",
    "enable_http",
    "http",
];
/// An entry of `services.<name>.servers` that is no plain URL.
pub(super) const SERVER: &[&str] = &["url", "weight", "backup", "max_fails", "fail_timeout"];
/// `services.<name>.health:`
pub(super) const HEALTH: &[&str] = &["path", "interval", "timeout", "expect"];
/// `services.<name>.tls:`
pub(super) const UPSTREAM_TLS: &[&str] = &["ca", "server_name", "insecure"];
/// `services.<name>.media:`
pub(super) const MEDIA: &[&str] = &["allow", "max_sessions"];
/// `services.<name>.net:`
pub(super) const NET: &[&str] = &[
    "addr",
    "tls_crt_file",
    "tls_key_file",
    "certificates",
    "redirect_https",
    "trusted_proxies",
    "enable_ice",
    "candidate_ips",
    "max_connections",
    "per_network",
];
/// `services.<name>.net.per_network:`
pub(super) const NET_PER_NETWORK: &[&str] = &["v4", "v6", "connections"];
/// An item of `services.<name>.net.certificates:`
pub(super) const CERTIFICATE: &[&str] = &["crt", "key"];
/// `services.<name>.http:`
pub(super) const HTTP: &[&str] = &[
    "servername",
    "root",
    "try",
    "access_log",
    "limits",
    "max_conns",
    "idle_conn_timeout",
    "dial_timeout",
    "response_header_timeout",
    "keepalive_timeout",
    "flush_interval",
    "global_flush_interval",
    "routes",
];
/// `services.<name>.http.routes.<tag>:`
pub(super) const ROUTE: &[&str] = &[
    "upstream",
    "icetcp",
    "icedirect",
    "match",
    "hosts",
    "protos",
    "paths",
    "limits",
];
/// `access_log:`
pub(super) const ACCESS_LOG: &[&str] = &["path", "format"];
/// `limits:`, of `http` or a route.
pub(super) const LIMITS: &[&str] = &[
    "connections",
    "requests_per_second",
    "burst",
    "per_network",
    "header_bytes",
    "body_bytes",
    "websocket_message_bytes",
    "header_timeout",
    "idle_timeout",
    "body_timeout",
    "send_timeout",
    "websocket_idle_timeout",
];
/// `limits.per_network:`
pub(super) const PER_NETWORK: &[&str] = &["v4", "v6", "connections", "requests_per_second", "burst"];

/// Names that keys had in older versions of the format.
pub(super) const FORMER: &[(&str, &str)] = &[
    ("enable", "enable_ice"),
    ("ips", "candidate_ips"),
    ("port", "addr"),
    ("response_timeout", "response_header_timeout"),
];

/// The sections by what a message calls them. Keys of several sections are in none: they tell nothing.
const PLACES: [(&str, &[&str]); 6] = [
    ("the top level", TOP),
    ("`net`", NET),
    ("`http`", HTTP),
    ("a route", ROUTE),
    ("`limits`", LIMITS),
    ("a service", SERVICE),
];

/// Where a key that is not known here would be, if it is one of one place only.
pub(super) fn place(key: &str) -> Option<&'static str> {
    let mut places = PLACES.iter().filter(|(_, keys)| keys.contains(&key));
    let (place, _) = places.next()?;
    places.next().is_none().then_some(*place)
}
