//! Header rules of a gateway: what ends at this hop, and what the upstream is told of the client.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{CONNECTION, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue, TE};
use ipnet::IpNet;

use super::ports::ConnInfo;
use super::request_id::REQUEST_ID;
use super::target::list;

const FORWARDED_PREFIX: &str = "x-forwarded-";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Room for what a request gains on its way.
const GAINED: usize = 12;

/// Whether a field means this connection and not the message (RFC 9110 section 7.6.1).
/// `Trailer` is of the message: without it a trailer would not be passed on.
fn ends_here(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The fields that `Connection` names. Host is no option of a connection, whatever a client says: an upstream must not
/// lose it.
fn options(headers: &HeaderMap) -> Vec<&str> {
    let usual = ["close", "keep-alive", "te", "upgrade", HOST.as_str()];
    list(headers, &CONNECTION)
        .filter(|name| !usual.iter().any(|usual| name.eq_ignore_ascii_case(usual)))
        .collect()
}

/// What is left of `TE` is whether trailers are taken, since they are passed on.
fn takes_trailers(headers: &HeaderMap) -> bool {
    list(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"))
}

/// Removes the fields of this hop, those that `Connection` names among them.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let takes_trailers = takes_trailers(headers);
    let options: Vec<String> = options(headers).into_iter().map(str::to_owned).collect();
    for name in options {
        headers.remove(name);
    }
    while let Some(name) = headers.keys().find(|name| ends_here(name)).cloned() {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// What upstreams are told of every request of a connection, put into words once.
#[derive(Clone, Debug)]
pub(super) struct Provenance {
    address: HeaderValue,
    port: HeaderValue,
}

impl Provenance {
    pub(super) fn of(conn: &ConnInfo) -> Self {
        let value = |text: String| HeaderValue::try_from(text).expect("addresses and ports are plain text");
        Self {
            address: value(peer(conn).to_string()),
            port: HeaderValue::from(conn.local.port()),
        }
    }
}

/// What a request came by.
pub(super) struct Hop<'a> {
    pub(super) conn: &'a ConnInfo,
    pub(super) provenance: &'a Provenance,
    /// What the client asked for.
    pub(super) authority: &'a str,
    pub(super) id: &'a HeaderValue,
    /// Peers whose word on where a request came from is taken.
    pub(super) trusted: &'a [IpNet],
}

impl Hop<'_> {
    /// A client's headers as an upstream gets them. What a trusted proxy says about forwarding is kept and added to;
    /// what anybody else says is replaced.
    pub(super) fn to_upstream(&self, theirs: &HeaderMap) -> HeaderMap {
        let mut ours = HeaderMap::with_capacity(theirs.len() + GAINED);
        let host = self.host(theirs);
        let options = options(theirs);
        let trusted = is_trusted(peer(self.conn), self.trusted);
        for (name, value) in theirs {
            let dropped = ends_here(name)
                // Our own server answers it when the body is first read.
                || *name == EXPECT
                || (*name == HOST && host.is_some())
                || (!trusted && is_claim(name))
                || options.iter().any(|option| option.eq_ignore_ascii_case(name.as_str()));
            if !dropped {
                ours.append(name, value.clone());
            }
        }
        if takes_trailers(theirs) {
            ours.insert(TE, HeaderValue::from_static("trailers"));
        }
        self.tell(&mut ours, host.as_ref());
        if let Some(host) = host {
            ours.insert(HOST, host);
        }
        ours.insert(REQUEST_ID, self.id.clone());
        ours
    }

    /// Tells where the request came from.
    fn tell(&self, ours: &mut HeaderMap, host: Option<&HeaderValue>) {
        let Provenance { address, port } = self.provenance;
        let proto = if self.conn.secure { "https" } else { "http" };
        append(ours, &FORWARDED_FOR, address.clone());
        if let Ok(forwarded) = HeaderValue::try_from(self.forwarded(proto)) {
            append(ours, &FORWARDED, forwarded);
        }
        for (name, value) in [
            (REAL_IP, Some(address)),
            (FORWARDED_PROTO, Some(&HeaderValue::from_static(proto))),
            (FORWARDED_PORT, Some(port)),
            (FORWARDED_HOST, host),
        ] {
            if let Some(value) = value {
                ours.entry(name).or_insert_with(|| value.clone());
            }
        }
    }

    /// What the client asked for as a Host header; `None`: it did not say.
    fn host(&self, theirs: &HeaderMap) -> Option<HeaderValue> {
        if self.authority.is_empty() {
            return None;
        }
        let same = theirs.get(HOST).filter(|host| *host == self.authority);
        same.cloned()
            .or_else(|| HeaderValue::from_str(self.authority).ok())
    }

    /// RFC 7239 section 4. The host is quoted, having a colon more often than not.
    fn forwarded(&self, proto: &str) -> String {
        // It was made of an address.
        let ip = self.provenance.address.to_str().unwrap_or_default();
        let mut text = String::with_capacity(ip.len() + self.authority.len() + 32);
        match peer(self.conn) {
            IpAddr::V4(_) => text.extend(["for=", ip]),
            IpAddr::V6(_) => text.extend(["for=\"[", ip, "]\""]),
        }
        if !self.authority.is_empty() && !self.authority.contains(['"', '\\']) {
            text.extend([";host=\"", self.authority, "\""]);
        }
        text.extend([";proto=", proto]);
        text
    }
}

/// Whether a field says something about forwarding.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with(FORWARDED_PREFIX) || name == FORWARDED.as_str() || name == REAL_IP.as_str()
}

/// Who sent a request: the peer, or the last address before the trusted proxies that it came through.
pub(super) fn client_ip(headers: &HeaderMap, conn: &ConnInfo, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer(conn);
    if !is_trusted(client, trusted) {
        return client;
    }
    let hops: Vec<&str> = list(headers, &FORWARDED_FOR).collect();
    for hop in hops.into_iter().rev() {
        let Ok(ip) = hop.parse::<IpAddr>() else { break };
        client = ip.to_canonical();
        if !is_trusted(client, trusted) {
            break;
        }
    }
    client
}

/// Whether the client spoke TLS, to us or to the trusted proxy before us.
pub(super) fn is_secure(headers: &HeaderMap, conn: &ConnInfo, trusted: &[IpNet]) -> bool {
    let says = || {
        list(headers, &FORWARDED_PROTO)
            .next()
            .is_some_and(|proto| proto == "https")
    };
    conn.secure || (is_trusted(peer(conn), trusted) && says())
}

fn peer(conn: &ConnInfo) -> IpAddr {
    conn.remote.ip().to_canonical()
}

fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&ip))
}

/// Adds an element to a list, on one line.
fn append(headers: &mut HeaderMap, name: &HeaderName, element: HeaderValue) {
    let mut elements: Vec<&str> = list(headers, name).collect();
    if elements.is_empty() {
        headers.insert(name, element);
        return;
    }
    elements.extend(element.to_str().ok());
    if let Ok(joined) = HeaderValue::try_from(elements.join(", ")) {
        headers.insert(name, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn conn(remote: &str) -> ConnInfo {
        ConnInfo {
            local: "192.0.2.1:6443".parse().unwrap(),
            remote: remote.parse().unwrap(),
            secure: true,
        }
    }

    fn to_upstream(headers: &mut HeaderMap, conn: &ConnInfo, authority: &str, id: &HeaderValue) {
        let hop = Hop {
            conn,
            provenance: &Provenance::of(conn),
            authority,
            id,
            trusted: &["10.0.0.0/8".parse().unwrap()],
        };
        *headers = hop.to_upstream(headers);
    }

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_names_end_here() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Private"),
            ("connection", "host, close"),
            ("keep-alive", "timeout=5"),
            ("x-private", "1"),
            ("te", "deflate, trailers"),
            ("trailer", "x-checksum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "secret"),
            ("host", "a.example"),
            ("authorization", "Bearer x"),
            ("cookie", "c=1"),
        ]);
        strip_hop_by_hop(&mut map);
        let mut left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "cookie", "host", "te", "trailer"]);
        assert_eq!(map["te"], "trailers");
    }

    #[test]
    fn what_the_client_claims_about_forwarding_is_replaced() {
        let mut map = headers(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-prefix", "/admin"),
            ("x-real-ip", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("expect", "100-continue"),
        ]);
        let id = HeaderValue::from_static("id");
        to_upstream(&mut map, &conn("203.0.113.9:5000"), "a.example:6443", &id);
        for (name, value) in [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "6443"),
            ("x-forwarded-host", "a.example:6443"),
            ("x-real-ip", "203.0.113.9"),
            ("forwarded", "for=203.0.113.9;host=\"a.example:6443\";proto=https"),
            ("x-request-id", "id"),
            ("host", "a.example:6443"),
        ] {
            let all: Vec<_> = map.get_all(name).iter().collect();
            assert_eq!(all, [value], "{name}");
        }
        assert!(!map.contains_key("x-forwarded-prefix"));
        assert!(!map.contains_key("expect"));
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_added_to() {
        let mut map = headers(&[
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "public.example"),
            ("x-real-ip", "198.51.100.7"),
            ("forwarded", "for=198.51.100.7"),
        ]);
        let id = HeaderValue::from_static("id");
        to_upstream(&mut map, &conn("10.1.2.3:5000"), "a", &id);
        for (name, value) in [
            ("x-forwarded-for", "198.51.100.7, 192.0.2.1, 10.1.2.3"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "public.example"),
            ("x-forwarded-port", "6443"),
            ("x-real-ip", "198.51.100.7"),
            (
                "forwarded",
                "for=198.51.100.7, for=10.1.2.3;host=\"a\";proto=https",
            ),
        ] {
            let all: Vec<_> = map.get_all(name).iter().collect();
            assert_eq!(all, [value], "{name}");
        }
    }

    #[test]
    fn the_client_is_who_came_before_the_trusted_proxies() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (remote, claims, expected) in [
            ("192.0.2.9:1", "198.51.100.7", "192.0.2.9"),
            ("10.0.0.1:1", "203.0.113.1, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1:1", "198.51.100.7, 10.2.2.2", "198.51.100.7"),
            ("10.0.0.1:1", "nonsense", "10.0.0.1"),
            ("10.0.0.1:1", "10.3.3.3", "10.3.3.3"),
        ] {
            let map = headers(&[("x-forwarded-for", claims)]);
            let client = client_ip(&map, &conn(remote), &trusted);
            assert_eq!(client.to_string(), expected, "{remote} {claims}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_may_say_that_the_client_came_over_tls() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let map = headers(&[("x-forwarded-proto", "https")]);
        let plain = |remote| ConnInfo {
            secure: false,
            ..conn(remote)
        };
        assert!(is_secure(&map, &plain("10.0.0.1:1"), &trusted));
        assert!(!is_secure(&map, &plain("192.0.2.1:1"), &trusted));
        assert!(is_secure(&HeaderMap::new(), &conn("192.0.2.1:1"), &trusted));
    }

    #[test]
    fn ipv6_clients_are_bracketed_in_forwarded_and_mapped_ones_are_ipv4() {
        let mut map = HeaderMap::new();
        let id = HeaderValue::from_static("id");
        to_upstream(&mut map, &conn("[2001:db8::1]:1"), "a", &id);
        assert_eq!(map["forwarded"], "for=\"[2001:db8::1]\";host=\"a\";proto=https");
        assert_eq!(map["x-forwarded-for"], "2001:db8::1");
        let mut map = HeaderMap::new();
        to_upstream(&mut map, &conn("[::ffff:192.0.2.5]:1"), "a", &id);
        assert_eq!(map["x-real-ip"], "192.0.2.5");
    }
}
