//! Each kind of value: what it takes, what it becomes, and that it takes nothing else.

use std::time::Duration;

use super::super::model::*;
use super::{located, ok};

/// A file with one service and the given lines at top level.
fn top(lines: &str) -> String {
    format!("services: {{u: {{proto: udp, net: {{addr: ':1', enable_ice: true}}}}}}\n{lines}\n")
}

/// A file whose only route has the given lines (flow style).
fn route(lines: &str) -> String {
    format!(
        "services:\n  t:\n    proto: http\n    net: {{addr: ':1'}}\n    http:\n      routes:\n        r: \
         {{upstream: 'http://127.0.0.1:1', {lines}}}\n"
    )
}

fn first_route(lines: &str) -> Route {
    let mut config = ok(&route(lines));
    config
        .services
        .remove(0)
        .http
        .expect("an http service")
        .routes
        .remove(0)
}

/// The messages of all errors, without their places.
fn messages(text: &str) -> Vec<String> {
    located(text)
        .iter()
        .map(|line| line.split_once(' ').expect("a place").1.to_owned())
        .collect()
}

#[test]
fn durations_are_go_or_human_and_always_have_a_unit() {
    let drain = |value: &str| ok(&top(&format!("drain_timeout: {value}"))).global.drain_timeout;
    for (written, millis) in [
        ("300s", 300_000),
        ("100ms", 100),
        ("1h30m", 5_400_000),
        (".5s", 500),
        ("1.5s", 1_500),
        ("2 days", 172_800_000),
        ("1m 10s", 70_000),
        ("0", 0),
        ("0s", 0),
        ("\"10s\"", 10_000),
    ] {
        assert_eq!(drain(written), Duration::from_millis(millis), "{written}");
    }
    for wrong in [
        "10",
        "s",
        "-1s",
        "1 fortnight",
        "1e3s",
        "10 s s",
        "[1s]",
        "{}",
        "",
        "99999999999999999999s",
    ] {
        let told = messages(&top(&format!("drain_timeout: {wrong}")));
        assert!(
            told.len() == 1 && told[0].starts_with("expected a duration with its unit"),
            "{wrong}: {told:?}"
        );
    }
    assert_eq!(
        messages(&top("token_lifetime: 0s")),
        ["expected a duration from 1s to 366 days, found `0s`"]
    );
    assert_eq!(
        messages(&top("drain_timeout: 2y")),
        ["expected a duration from 0s to 366 days, found `2y`"]
    );
}

#[test]
fn truths_and_numbers_are_plain_words() {
    assert!(first_route("icedirect: true, paths: [/]").icedirect);
    assert!(!first_route("icedirect: false, paths: [/]").icedirect);
    for wrong in ["yes", "True", "1", "\"true\"", "[]", "~"] {
        let told = messages(&route(&format!("icedirect: {wrong}, paths: [/]")));
        assert!(
            told.len() == 1 && told[0].starts_with("expected `true` or `false`, found "),
            "{wrong}: {told:?}"
        );
    }
    assert_eq!(ok(&top("media_threads: 4")).global.media_threads, Some(4));
    for wrong in [
        "0",
        "-1",
        "+4",
        "4.0",
        "0x10",
        "1025",
        "\"4\"",
        "99999999999999999999999",
    ] {
        let told = messages(&top(&format!("media_threads: {wrong}")));
        let expected = "expected a whole number from 1 to 1024, found ";
        assert!(
            told.len() == 1 && told[0].starts_with(expected),
            "{wrong}: {told:?}"
        );
    }
}

#[test]
fn listening_addresses() {
    let addr = |written: &str| {
        ok(&format!(
            "services: {{a: {{proto: http, net: {{addr: '{written}'}}}}}}"
        ))
    };
    for (written, ip, port) in [
        (":6443", None, 6443),
        (":0", None, 0),
        ("0.0.0.0:80", Some("0.0.0.0"), 80),
        ("127.0.0.1:80", Some("127.0.0.1"), 80),
        ("[::1]:80", Some("::1"), 80),
    ] {
        let expected = ListenAddr {
            ip: ip.map(|ip| ip.parse().expect("an address")),
            port,
        };
        assert_eq!(addr(written).services[0].addr, expected);
        assert_eq!(expected.to_string(), written);
    }
    for wrong in [
        "6443",
        ":",
        ":65536",
        ":+1",
        "::1:80",
        "localhost:80",
        "127.0.0.1",
        "1.2.3.4:",
        ":http",
        "",
    ] {
        let told = messages(&format!(
            "services: {{a: {{proto: http, net: {{addr: '{wrong}'}}}}}}"
        ));
        assert!(
            told.len() == 1 && told[0].starts_with("expected a listening address"),
            "{wrong}: {told:?}"
        );
    }
}

#[test]
fn servers_are_urls_without_a_path() {
    let server = |url: &str| {
        let text = format!("services: {{g: {{proto: upstream, servers: ['{url}']}}}}");
        ok(&text).upstreams.remove(0).servers.remove(0)
    };
    for (url, scheme, host, port) in [
        ("http://janus_api:8088", Scheme::Http, "janus_api", 8088),
        ("ws://Janus:8188/", Scheme::Ws, "janus", 8188),
        ("https://10.0.0.1", Scheme::Https, "10.0.0.1", 443),
        ("wss://[FD00::1]", Scheme::Wss, "fd00::1", 443),
        ("HTTP://[::1]:1", Scheme::Http, "::1", 1),
        ("http://a.example", Scheme::Http, "a.example", 80),
    ] {
        assert_eq!(server(url), Server::new(scheme, host, port), "{url}");
    }
    assert_eq!(server("wss://[fd00::1]").to_string(), "wss://[fd00::1]:443");
    for wrong in [
        "janus:8088",
        "http//x",
        "http://",
        "http://:80",
        "http://a:0",
        "http://a:65536",
        "http://a:+1",
        "http://a:",
        "http://user@a",
        "http://a/b",
        "http://a?b",
        "http://a b",
        "http://[::1",
        "http://::1",
        "http://[1.2.3.4]",
        "http://256.1.1.1",
        "http://a..b",
        "rtsp://a",
    ] {
        let told = messages(&format!(
            "services: {{g: {{proto: upstream, servers: ['{wrong}']}}}}"
        ));
        assert!(
            told.len() == 1 && told[0].starts_with("expected a server like"),
            "{wrong}: {told:?}"
        );
    }
}

#[test]
fn media_networks_and_upstream_ports() {
    let text = "services: {g: {proto: upstream, servers: ['http://a:1'], media: {allow: [10.1.2.3/8, 'fd00::/8', \
                192.0.2.1], max_sessions: 5}}}\nupstream_ports: 40000-40100\n";
    let config = ok(text);
    let networks: Vec<String> = config.upstreams[0]
        .media_allow
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"]);
    assert_eq!(config.upstreams[0].max_sessions, Some(5));
    assert_eq!(config.global.upstream_ports, Some(40000..=40100));
    for wrong in ["10.0.0.0/33", "10.0.0/8", "example.com", "''"] {
        let told = messages(&text.replace("10.1.2.3/8", wrong));
        assert!(
            told.len() == 1 && told[0].starts_with("expected a network like"),
            "{wrong}: {told:?}"
        );
    }
    for wrong in ["40000", "2-1", "0-9", "1-65536", "a-b", "1-", "1-2-3"] {
        let told = messages(&text.replace("40000-40100", wrong));
        assert!(
            told.len() == 1 && told[0].starts_with("expected a range of ports"),
            "{wrong}: {told:?}"
        );
    }
}

#[test]
fn candidate_addresses() {
    let ips = |written: &str| {
        let text = format!(
            "services: {{u: {{proto: udp, net: {{addr: ':1', enable_ice: true, candidate_ips: {written}}}}}}}"
        );
        ok(&text).services.remove(0).candidate_ips
    };
    let ip = |text: &str| CandidateHost::Ip(text.parse().expect("an address"));
    let name = CandidateHost::Name("xrtc_cand_ip".to_owned());
    assert_eq!(ips("[]"), CandidateIps::Auto);
    assert_eq!(ips("auto"), CandidateIps::Auto);
    assert_eq!(ips("[auto]"), CandidateIps::Auto);
    assert_eq!(ips("192.0.2.1"), CandidateIps::List(vec![ip("192.0.2.1")]));
    assert_eq!(
        ips("[192.0.2.1, xrtc_cand_ip, auto, '2001:db8::1']"),
        CandidateIps::List(vec![
            ip("192.0.2.1"),
            name,
            CandidateHost::Auto,
            ip("2001:db8::1")
        ])
    );
    for wrong in [
        "0.0.0.0",
        "'::'",
        "224.0.0.1",
        "255.255.255.255",
        "192.168.1.300",
        "'a:1'",
        "'[::1]'",
        "a b",
    ] {
        let net = format!("{{addr: ':1', enable_ice: true, candidate_ips: [{wrong}]}}");
        let told = messages(&format!("services: {{u: {{proto: udp, net: {net}}}}}"));
        assert!(
            told.len() == 1 && told[0].starts_with("expected an address that clients"),
            "{wrong}: {told:?}"
        );
    }
}

#[test]
fn hosts_protos_and_paths() {
    let route = first_route(
        "hosts: [Example.COM, '*.example.com', 10.0.0.1, '[::1]'], protos: [ws@janus-protocol], \
         paths: [/janus, /a/, /, {/b: /c/}, {/d: /}], match: all",
    );
    assert_eq!(route.hosts, ["example.com", "*.example.com", "10.0.0.1", "::1"]);
    assert_eq!(route.protos, ["janus-protocol"]);
    let rule = |prefix: &str, rewrite: Option<&str>| PathRule {
        prefix: prefix.to_owned(),
        rewrite: rewrite.map(str::to_owned),
    };
    let rules = [
        rule("/janus", None),
        rule("/a", None),
        rule("/", None),
        rule("/b", Some("/c")),
        rule("/d", Some("/")),
    ];
    assert_eq!(route.paths, rules);
    assert!(route.match_all);
    assert!(!first_route("match: any, paths: [/]").match_all);
    for (lines, start) in [
        ("hosts: ['example.com:80']", "expected a host"),
        ("hosts: ['*']", "expected a host"),
        ("hosts: ['a.*.com']", "expected a host"),
        ("hosts: ['http://a']", "expected a host"),
        ("hosts: example.com", "expected a list"),
        ("protos: [janus-protocol]", "expected a WebSocket subprotocol"),
        ("protos: [ws@]", "expected a WebSocket subprotocol"),
        ("protos: ['ws@a b']", "expected a WebSocket subprotocol"),
        ("paths: [janus]", "expected a path"),
        ("paths: ['/a?b']", "expected a path"),
        ("paths: ['/a b']", "expected a path"),
        ("paths: [/a/../b]", "expected a path"),
        ("paths: [{/a: b}]", "expected a path"),
        ("paths: [[/a]]", "expected a path"),
        ("paths: [/], match: some", "expected `any` or `all`"),
    ] {
        let told = messages(&self::route(lines));
        assert!(told.len() == 1 && told[0].starts_with(start), "{lines}: {told:?}");
    }
}

#[test]
fn servername() {
    let name = |written: &str| {
        let text =
            format!("services: {{t: {{proto: http, net: {{addr: ':1'}}, http: {{servername: {written}}}}}}}");
        ok(&text)
            .services
            .remove(0)
            .http
            .expect("an http service")
            .servername
    };
    assert_eq!(name("_"), None);
    assert_eq!(name("Example.com"), Some("example.com".to_owned()));
    let wrong = "services: {t: {proto: http, net: {addr: ':1'}, http: {servername: 'a:80'}}}";
    assert_eq!(
        messages(wrong),
        ["expected a host without port, or `_` for any, found the string `a:80`; did you mean `a`?"]
    );
}

/// A file whose http section has the given lines (flow style).
fn section(lines: &str) -> String {
    format!("services: {{t: {{proto: http, net: {{addr: ':1'}}, http: {{{lines}}}}}}}\n")
}

fn http(lines: &str) -> Http {
    ok(&section(lines))
        .services
        .remove(0)
        .http
        .expect("an http service")
}

#[test]
fn sizes_are_bytes_or_binary_multiples() {
    let body = |size: &str| http(&format!("limits: {{body_bytes: {size}}}")).limits.body_bytes;
    for (written, bytes) in [
        ("1", 1),
        ("4096B", 4096),
        ("64KiB", 65_536),
        ("2MiB", 2 << 20),
        ("\"3GiB\"", 3 << 30),
    ] {
        assert_eq!(body(written), Some(bytes), "{written}");
    }
    for wrong in [
        "0",
        "-1",
        "1.5MiB",
        "1MB",
        "1 MiB",
        "KiB",
        "99999999999999999999",
        "9999999GiB",
        "[1]",
    ] {
        let told = messages(&section(&format!("limits: {{body_bytes: {wrong}}}")));
        assert!(
            told.len() == 1 && told[0].starts_with("expected a size"),
            "{wrong}: {told:?}"
        );
    }
    let told = messages(&section("limits: {header_bytes: 65KiB}"));
    assert!(told[0].contains("up to 64KiB"), "{told:?}");
}

#[test]
fn a_burst_is_a_second_long_unless_written_and_nothing_without_a_rate() {
    let rate = |lines: &str| http(&format!("limits: {{{lines}}}")).limits.rate;
    let of = |per_second, burst| Some(Rate { per_second, burst });
    assert_eq!(rate("requests_per_second: 5"), of(5, 5));
    assert_eq!(rate("requests_per_second: 5, burst: 50"), of(5, 50));
    assert_eq!(rate("connections: 1"), None);
    let config = ok(&section("limits: {burst: 5}"));
    assert!(
        config.warnings[0].contains("`burst` does nothing"),
        "{:?}",
        config.warnings
    );
}

#[test]
fn a_routes_limits_begin_with_the_sections() {
    let http = http(
        "limits: {requests_per_second: 5, body_bytes: 1KiB}, routes: {a: {upstream: 'http://127.0.0.1:1', \
         paths: [/a], limits: {burst: 9, per_network: {connections: 3}}}, b: {upstream: 'http://127.0.0.1:1', \
         paths: [/b]}}",
    );
    let limits = http.routes[0].limits.as_ref().expect("it has its own");
    let rate = Rate {
        per_second: 5,
        burst: 9,
    };
    assert_eq!((limits.rate, limits.body_bytes), (Some(rate), Some(1024)));
    assert_eq!(limits.per_network.connections, Some(3));
    assert_eq!(http.routes[1].limits, None);
}

#[test]
fn access_logs_and_the_file_to_try() {
    let log = |lines: &str| http(&format!("access_log: {{{lines}}}")).access_log.expect("one");
    assert_eq!(log("path: stdout").target, LogTarget::Stdout);
    assert_eq!(log("path: stdout").format, LogFormat::Combined);
    let file = super::base().join("access.log");
    assert_eq!(log("path: access.log").target, LogTarget::File(file));
    assert_eq!(
        messages(&section("access_log: {format: json}")),
        ["`access_log` has no `path`"]
    );
    assert_eq!(
        messages(&section("root: src, access_log: {path: src/access.log}")).len(),
        1,
        "everyone could read it"
    );
    for wrong in ["/", "index.html", "//x", "/../x", "/a?b"] {
        let told = messages(&section(&format!("root: src, try: '{wrong}'")));
        assert!(
            told[0].starts_with("expected the path of a file"),
            "{wrong}: {told:?}"
        );
    }
}

/// A file with one group that has the given lines (flow style).
fn group(lines: &str) -> String {
    format!("services: {{g: {{proto: upstream, {lines}}}, t: {{proto: http, net: {{addr: ':1'}}}}}}")
}

#[test]
fn modes_and_what_they_hash() {
    let mode = |lines: &str| {
        let mut config = ok(&group(&format!("{lines}, servers: ['http://a:1']")));
        config.upstreams.remove(0).mode
    };
    let header = HashBy::Header("x-user".to_owned());
    for (written, expected) in [
        ("mode: rr", Balance::RoundRobin),
        ("mode: random", Balance::Random),
        ("mode: least_conn", Balance::LeastConn),
        ("mode: hash", Balance::Hash(HashBy::ClientIp)),
        ("mode: hash, hash: ip", Balance::Hash(HashBy::ClientIp)),
        ("mode: hash, hash: header X-User", Balance::Hash(header)),
    ] {
        assert_eq!(mode(written), expected, "{written}");
    }
    for wrong in ["x", "header", "header ", "cookie a=b", "ip 4", "[]"] {
        let told = messages(&group(&format!(
            "mode: hash, hash: {wrong}, servers: ['http://a:1']"
        )));
        assert!(
            told.len() == 1 && told[0].starts_with("expected `ip`, `header NAME` or `cookie NAME`, found "),
            "{wrong}: {told:?}"
        );
    }
    let config = ok(&group("hash: ip, servers: ['http://a:1']"));
    assert_eq!(
        config.warnings,
        ["line 1: `hash` does nothing without `mode: hash`"]
    );
}

#[test]
fn servers_with_settings() {
    for (wrong, message) in [
        ("{weight: 2}", "this server has no `url`"),
        (
            "{url: 'http://a:1', weight: 0}",
            "expected a whole number from 1 to 1000, found `0`",
        ),
        (
            "{url: 'http://a:1', backup: 1}",
            "expected `true` or `false`, found `1`; did you mean `true`?",
        ),
        (
            "{url: 'http://a:1', fail_timeout: 0s}",
            "expected a duration from 1ms to 366 days, found `0s`",
        ),
        (
            "{url: 'http://a:1', wieght: 2}",
            "unknown key `wieght`; did you mean `weight`?",
        ),
        (
            "{url: 'http://a:1/x'}",
            "expected a server like `http://host:port` (http, https, ws or wss; no path), found the string `http://a:1/x`; did you mean `http://a:1`? The `paths` of a route can rewrite: `/a: /b`",
        ),
    ] {
        assert_eq!(
            messages(&group(&format!("servers: [{wrong}]"))),
            [message],
            "{wrong}"
        );
    }
}

#[test]
fn health_checks() {
    let health = |lines: &str| {
        let mut config = ok(&group(&format!("health: {lines}, servers: ['http://a:1']")));
        config.upstreams.remove(0).health.expect("it is asked for")
    };
    let all_defaults = health("{}");
    assert_eq!(
        (all_defaults.path.as_str(), all_defaults.expect),
        ("/", 200..=399)
    );
    assert_eq!(health("{expect: 200-204}").expect, 200..=204);
    for wrong in [
        "expect: 99",
        "expect: 300-200",
        "expect: 2xx",
        "expect: 600",
        "path: x",
        "path: '/a b'",
        "path: '/?#'",
    ] {
        let told = messages(&group(&format!("health: {{{wrong}}}, servers: ['http://a:1']")));
        assert!(
            told.len() == 1 && told[0].starts_with("expected a "),
            "{wrong}: {told:?}"
        );
    }
}
