//! Header rules of a gateway: what ends at this hop, what the upstream is told of the client, and request ids.

use std::fmt::Write as _;
use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{CONNECTION, EXPECT, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use ipnet::IpNet;

use super::ports::ConnInfo;
use super::target::list;

/// Names a request in logs on both sides.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_PREFIX: &str = "x-forwarded-";
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const MAX_REQUEST_ID: usize = 128;

/// Fields that mean this connection and not the message (RFC 9110 section 7.6.1).
/// `Trailer` is of the message: without it a trailer would not be passed on.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes the fields of this hop, those that `Connection` names among them. Host is no option of a connection,
/// whatever a client says: an upstream must not lose it. What is left of `TE` is whether trailers are taken, since
/// they are passed on.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let takes_trailers = list(headers, TE.as_str())
        .iter()
        .any(|coding| coding.eq_ignore_ascii_case("trailers"));
    for name in list(headers, CONNECTION.as_str()) {
        if !name.eq_ignore_ascii_case(HOST.as_str()) {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// What a request came by.
pub(super) struct Hop<'a> {
    pub(super) conn: &'a ConnInfo,
    /// What the client asked for.
    pub(super) authority: &'a str,
    pub(super) id: &'a HeaderValue,
    /// Peers whose word on where a request came from is taken.
    pub(super) trusted: &'a [IpNet],
}

impl Hop<'_> {
    /// Makes a client's headers fit for an upstream. What a trusted proxy says about forwarding is kept and added to;
    /// what anybody else says is replaced.
    pub(super) fn to_upstream(&self, headers: &mut HeaderMap) {
        strip_hop_by_hop(headers);
        // Our own server answers it when the body is first read.
        headers.remove(EXPECT);
        if !is_trusted(peer(self.conn), self.trusted) {
            forget_claims(headers);
        }
        let remote = peer(self.conn).to_string();
        let proto = if self.conn.secure { "https" } else { "http" };
        append(headers, FORWARDED_FOR, &remote);
        append(headers, "forwarded", &self.forwarded(proto));
        set_if_absent(headers, "x-real-ip", &remote);
        set_if_absent(headers, FORWARDED_PROTO, proto);
        set_if_absent(headers, "x-forwarded-port", &self.conn.local.port().to_string());
        set_if_absent(headers, "x-forwarded-host", self.authority);
        if !self.authority.is_empty() {
            set(headers, "host", self.authority);
        }
        headers.insert(REQUEST_ID, self.id.clone());
    }

    /// RFC 7239 section 4. The host is quoted, having a colon more often than not.
    fn forwarded(&self, proto: &str) -> String {
        let mut text = match peer(self.conn) {
            IpAddr::V4(ip) => format!("for={ip}"),
            IpAddr::V6(ip) => format!("for=\"[{ip}]\""),
        };
        if !self.authority.is_empty() && !self.authority.contains(['"', '\\']) {
            // Writing into a String cannot fail.
            let _ = write!(text, ";host=\"{}\"", self.authority);
        }
        let _ = write!(text, ";proto={proto}");
        text
    }
}

/// Removes what a client says about forwarding.
fn forget_claims(headers: &mut HeaderMap) {
    let claimed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(FORWARDED_PREFIX))
        .cloned()
        .collect();
    for name in claimed {
        headers.remove(name);
    }
    headers.remove("forwarded");
    headers.remove("x-real-ip");
}

/// Who sent a request: the peer, or the last address before the trusted proxies that it came through.
pub(super) fn client_ip(headers: &HeaderMap, conn: &ConnInfo, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer(conn);
    for hop in list(headers, FORWARDED_FOR).iter().rev() {
        if !is_trusted(client, trusted) {
            break;
        }
        let Ok(ip) = hop.parse::<IpAddr>() else { break };
        client = ip.to_canonical();
    }
    client
}

/// Whether the client spoke TLS, to us or to the trusted proxy before us.
pub(super) fn is_secure(headers: &HeaderMap, conn: &ConnInfo, trusted: &[IpNet]) -> bool {
    let says = || {
        list(headers, FORWARDED_PROTO)
            .first()
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

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn set_if_absent(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if !headers.contains_key(name) {
        set(headers, name, value);
    }
}

/// Adds an element to a list, on one line.
fn append(headers: &mut HeaderMap, name: &'static str, element: &str) {
    let mut elements = list(headers, name);
    elements.push(element.to_owned());
    set(headers, name, &elements.join(", "));
}

/// The client's own request id if it is one that cannot hurt a log, else a new one of 128 random bits.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers
        .get(REQUEST_ID)
        .filter(|id| is_sane(id.as_bytes()))
        .cloned()
        .unwrap_or_else(new_request_id)
}

fn is_sane(id: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

fn new_request_id() -> HeaderValue {
    let mut bytes = [0; 16];
    // Without entropy ids are all zero: useless, but no reason to refuse requests.
    let _ = getrandom::fill(&mut bytes);
    let text = format!("{:032x}", u128::from_be_bytes(bytes));
    HeaderValue::try_from(text).expect("hexadecimal digits make a header value")
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
            authority,
            id,
            trusted: &["10.0.0.0/8".parse().unwrap()],
        };
        hop.to_upstream(headers);
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

    #[test]
    fn request_ids_are_kept_when_sane_and_made_otherwise() {
        assert_eq!(request_id(&headers(&[("x-request-id", "abc-1.2")])), "abc-1.2");
        for insane in ["", "a b", "<script>"] {
            let id = request_id(&headers(&[("x-request-id", insane)]));
            assert_eq!(id.len(), 32, "{insane:?}");
            assert!(id.as_bytes().iter().all(u8::is_ascii_hexdigit));
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
