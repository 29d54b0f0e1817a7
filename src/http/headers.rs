//! Header rules of a gateway: what ends at this hop, what the upstream is told of the client, and request ids.

use std::fmt::Write as _;
use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{CONNECTION, EXPECT, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};

use super::ports::ConnInfo;
use super::target::list;

/// Names a request in logs on both sides.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_PREFIX: &str = "x-forwarded-";
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

/// Makes a client's headers fit for an upstream. What the client says about forwarding is replaced: nobody before us
/// is trusted. `authority` is what the client asked for.
pub(super) fn to_upstream(headers: &mut HeaderMap, conn: &ConnInfo, authority: &str, id: &HeaderValue) {
    strip_hop_by_hop(headers);
    // Our own server answers it when the body is first read.
    headers.remove(EXPECT);
    let claimed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(FORWARDED_PREFIX))
        .cloned()
        .collect();
    for name in claimed {
        headers.remove(name);
    }
    let proto = if conn.secure { "https" } else { "http" };
    let remote = conn.remote.ip().to_canonical().to_string();
    set(headers, "x-forwarded-for", &remote);
    set(headers, "x-forwarded-proto", proto);
    set(headers, "x-forwarded-port", &conn.local.port().to_string());
    set(headers, "x-forwarded-host", authority);
    set(headers, "x-real-ip", &remote);
    set(headers, "forwarded", &forwarded(conn, authority, proto));
    if !authority.is_empty() {
        set(headers, "host", authority);
    }
    headers.insert(REQUEST_ID, id.clone());
}

/// RFC 7239 section 4. The host is quoted, having a colon more often than not.
fn forwarded(conn: &ConnInfo, authority: &str, proto: &str) -> String {
    let mut text = match conn.remote.ip().to_canonical() {
        IpAddr::V4(ip) => format!("for={ip}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\""),
    };
    if !authority.is_empty() && !authority.contains(['"', '\\']) {
        let _ = write!(text, ";host=\"{authority}\"");
    }
    let _ = write!(text, ";proto={proto}");
    text
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
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
    fn ipv6_clients_are_bracketed_in_forwarded_and_mapped_ones_are_ipv4() {
        let mut map = HeaderMap::new();
        let id = HeaderValue::from_static("id");
        to_upstream(&mut map, &conn("[2001:db8::1]:1"), "a", &id);
        assert_eq!(map["forwarded"], "for=\"[2001:db8::1]\";host=\"a\";proto=https");
        assert_eq!(map["x-forwarded-for"], "2001:db8::1");
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
