//! Files that must load: the original's sample in form, every key there is, the example, the embedded one.

use std::path::Path;
use std::time::Duration;

use super::super::keys;
use super::super::model::*;
use super::super::{load, parse};
use super::ok;
use super::pair::Pair;

/// The shape of the original's own sample: the same keys, styles and kinds of value.
const ORIGINAL: &str = "# upstreams first
services:
    html-server:
        proto: upstream
        mode: rr
        servers:
            - http://html_api:8080

    janus-server:
        proto: upstream
        servers:
            - http://janus_api:8088
            - ws://janus_api:8188

    udp_svr:
        proto: udp
        net:
            addr: :6000
            enable_ice: true
            candidate_ips:
                - xrtc_cand_ip

    tcp_svr:
        proto: tcp
        net:
            addr: :6443
            tls_crt_file: CRT
            tls_key_file: KEY
            enable_ice: true
            candidate_ips:
                - xrtc_cand_ip
        enable_http: true
        http:
            servername: _
            root: src
            max_conns: 500
            idle_conn_timeout: 30s
            dial_timeout: 10s
            response_header_timeout: 300s
            keepalive_timeout: 1200s
            flush_interval: 100ms
            global_flush_interval: 100ms
            routes:
                janus:
                    upstream: http://janus-server
                    icetcp: true
                    icedirect: false
                    hosts:
                        - janus.example.com
                    protos:
                        - ws@janus-protocol
                    paths:
                        - /janus
                        - /a: /b
                default:
                    upstream: http://html-server
                    hosts:
                    paths:
                        - /

    http_svr:
        proto: http
        net:
            addr: :6080
            enable_ice: false
        http:
            routes:
                direct:
                    upstream: http://127.0.0.1:8088
                    icedirect: true
                    paths: [/janus]
";

#[test]
fn the_shape_of_the_original_loads() {
    let pair = Pair::new("original", &["janus.example.com"]);
    let config = ok(&pair.name_in(ORIGINAL));
    let names: Vec<&str> = config
        .services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(names, ["udp_svr", "tcp_svr", "http_svr"]);
    let groups: Vec<&str> = config.upstreams.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(groups, ["html-server", "janus-server", "http://127.0.0.1:8088"]);
    let server = |scheme, port| Server::new(scheme, "janus_api", port);
    assert_eq!(
        config.upstreams[1].servers,
        [server(Scheme::Http, 8088), server(Scheme::Ws, 8188)]
    );

    let tcp = &config.services[1];
    assert_eq!(
        (tcp.kind, tcp.addr.port, tcp.enable_ice),
        (ServiceKind::Tcp, 6443, true)
    );
    assert_eq!(
        tcp.candidate_ips,
        CandidateIps::List(vec![CandidateHost::Name("xrtc_cand_ip".to_owned())])
    );
    let http = tcp.http.as_ref().expect("enable_http is set");
    assert_eq!(
        (http.max_conns, http.response_header_timeout),
        (Some(500), Duration::from_secs(300))
    );
    let [janus, default] = http.routes.as_slice() else {
        panic!("two routes: {:?}", http.routes)
    };
    assert_eq!(
        (janus.upstream, janus.icetcp, janus.icedirect, janus.match_all),
        (1, true, false, false)
    );
    assert_eq!(janus.paths[1].rewrite.as_deref(), Some("/b"));
    assert_eq!((default.tag.as_str(), default.upstream), ("default", 0));
    assert_eq!(
        config.services[2]
            .http
            .as_ref()
            .map(|http| http.routes[0].upstream),
        Some(2)
    );

    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn defaults_are_those_of_the_reference() {
    let config = ok("services: {t: {proto: http, net: {addr: ':1'}}}");
    assert_eq!(config.global, Global::default());
    let http = Http {
        service: "t".to_owned(),
        ..Http::default()
    };
    assert_eq!(config.services[0].http, Some(http));
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn routes_keep_their_order() {
    let tags: Vec<String> = (0..200).map(|n| format!("r{}", n * 7919 % 1000)).collect();
    let routes: String = tags
        .iter()
        .map(|tag| format!("        {tag}: {{upstream: 'http://a:1', paths: [/{tag}]}}\n"))
        .collect();
    let config = ok(&format!(
        "services:\n  t:\n    proto: http\n    net: {{addr: ':1'}}\n    http:\n      routes:\n{routes}"
    ));
    let http = config.services[0].http.as_ref().expect("an http service");
    assert!(http.routes.iter().map(|route| &route.tag).eq(&tags));
    assert_eq!(config.upstreams.len(), 1, "the same URL is one group");
}

#[test]
fn anchors_and_merges() {
    let config = ok("
services:
  a:
    proto: tcp
    net: {addr: ':1'}
    enable_http: true
    http: &web
      max_conns: 7
      dial_timeout: 1s
      routes: {r: {upstream: 'http://x:1', paths: &paths [/p]}}
  b:
    proto: http
    net: {addr: ':2'}
    http:
      <<: *web
      dial_timeout: 2s
      routes: {s: {upstream: 'http://x:1', paths: *paths}}
");
    let http = config.services[1].http.as_ref().expect("an http service");
    assert_eq!(
        (http.max_conns, http.dial_timeout),
        (Some(7), Duration::from_secs(2))
    );
    assert_eq!((http.routes.len(), http.routes[0].tag.as_str()), (1, "s"));
    assert_eq!(http.routes[0].paths[0].prefix, "/p");
}

#[test]
fn of_several_merged_sections_the_first_wins() {
    let config = ok("
services:
  a: {proto: http, net: {addr: ':1'}, http: &a {max_conns: 1}}
  b: {proto: http, net: {addr: ':2'}, http: &b {max_conns: 2, dial_timeout: 2s}}
  c: {proto: http, net: {addr: ':3'}, http: {<<: [*a, *b]}}
");
    let http = config.services[2].http.as_ref().expect("an http service");
    assert_eq!(
        (http.max_conns, http.dial_timeout),
        (Some(1), Duration::from_secs(2))
    );
}

#[test]
fn enable_http_gates_http_on_tcp() {
    let config =
        ok("services: {t: {proto: tcp, net: {addr: ':1', enable_ice: true}, http: {root: /nonexistent}}}");
    assert_eq!(config.services[0].http, None);
    let config = ok("services: {t: {proto: tcp, net: {addr: ':1'}, enable_http: true}}");
    let http = Http {
        service: "t".to_owned(),
        ..Http::default()
    };
    assert_eq!(config.services[0].http, Some(http));
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    let config = ok("services:
  u: {proto: udp, net: {addr: ':1', tls_crt_file: /nonexistent, candidate_ips: [192.0.2.1]}}
  t: {proto: tcp, net: {addr: ':1', enable_ice: false}, http: {root: /nonexistent}}
  h: {proto: http, net: {addr: ':2'}, http: {routes: {r: {upstream: 'http://a:1'}}}}
");
    assert_eq!(
        config.warnings,
        [
            "line 2: service `u` has neither `enable_ice` nor HTTP: it refuses all",
            "line 2: `tls_crt_file` does nothing for `proto: udp`",
            "line 2: `candidate_ips` does nothing without `enable_ice: true`",
            "line 3: service `t` has neither `enable_ice` nor HTTP: it refuses all",
            "line 3: `http` does nothing without `enable_http: true`",
            "line 3: `root`: /nonexistent is not a directory",
            "line 4: route `r` has no `hosts`, `protos` or `paths`: nothing takes it",
        ]
    );
}

/// One file with every key; which keys it has is checked against the tables.
const EVERYTHING: &str = "
state_dir: state
drain_timeout: 1m
token_lifetime: 1 day
upstream_ports: 40000-40100
media_threads: 2
max_sessions: 100
admin: {addr: 127.0.0.1:9090}
services:
  g:
    proto: upstream
    mode: hash
    hash: cookie sid
    servers: [http://a:1, {url: 'http://b:1', weight: 2, backup: true, max_fails: 3, fail_timeout: 4s}]
    health: {path: /up?x, interval: 1s, timeout: 2s, expect: 200}
    slow_start: 5s
    cookie: false
    tls: {ca: CRT, server_name: janus.internal, insecure: false}
    media: {allow: [10.0.0.0/8], max_sessions: 10}
  t:
    proto: tcp
    net: {addr: ':1', tls_crt_file: CRT, tls_key_file: KEY,
      certificates: [{crt: CRT, key: KEY}], redirect_https: true, trusted_proxies: [10.0.0.0/8],
      enable_ice: true, candidate_ips: [auto], max_connections: 5,
      per_network: {v4: 30, v6: 60, connections: 7}}
    enable_http: true
    http:
      servername: example.com
      root: src
      max_conns: 1
      idle_conn_timeout: 1s
      dial_timeout: 2s
      response_header_timeout: 3s
      keepalive_timeout: 4s
      flush_interval: 5s
      global_flush_interval: 6s
      try: /index.html
      access_log: {path: src.log, format: json}
      limits:
        connections: 1
        requests_per_second: 2
        burst: 3
        per_network: {v4: 32, v6: 64, connections: 4, requests_per_second: 5, burst: 6}
        header_bytes: 7KiB
        body_bytes: 8MiB
        websocket_message_bytes: 9
        header_timeout: 10s
        idle_timeout: 11s
        body_timeout: 12s
        send_timeout: 14s
        websocket_idle_timeout: 13s
      routes:
        r:
          upstream: http://g
          icetcp: true
          icedirect: true
          match: all
          hosts: [example.com]
          protos: [ws@p]
          paths: [/]
          limits: {connections: 20}
";

#[test]
fn every_key_is_taken_and_documented() {
    let reference =
        std::fs::read_to_string(super::base().join("deploy/routes.md")).expect("the reference is there");
    let every = [
        keys::TOP,
        keys::ADMIN,
        keys::SERVICE,
        keys::SERVER,
        keys::HEALTH,
        keys::UPSTREAM_TLS,
        keys::MEDIA,
        keys::NET,
        keys::NET_PER_NETWORK,
        keys::CERTIFICATE,
        keys::HTTP,
        keys::ROUTE,
        keys::ACCESS_LOG,
        keys::LIMITS,
        keys::PER_NETWORK,
    ];
    for key in every.into_iter().flatten() {
        assert!(
            EVERYTHING.contains(&format!("{key}: ")) || EVERYTHING.contains(&format!("{key}:\n")),
            "{key}"
        );
        assert!(
            reference
                .lines()
                .any(|line| line.starts_with(&format!("| `{key}` |"))),
            "{key} is not in the reference"
        );
    }
    let pair = Pair::new("everything", &["example.com"]);
    let config = ok(&pair.name_in(EVERYTHING));
    let http = config.services[0].http.as_ref().expect("enable_http is set");
    let waits = [
        http.idle_conn_timeout,
        http.dial_timeout,
        http.response_header_timeout,
        http.keepalive_timeout,
        http.flush_interval,
        http.global_flush_interval,
    ];
    assert_eq!(waits.map(|wait| wait.as_secs()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(http.servername.as_deref(), Some("example.com"));
    assert_eq!(http.fallback.as_deref(), Some("/index.html"));
    let log = AccessLog {
        target: LogTarget::File(super::base().join("src.log")),
        format: LogFormat::Json,
    };
    assert_eq!(http.access_log, Some(log));
    assert_eq!(http.limits, limits());
    assert_eq!(config.services[0].max_connections, 5);
    assert_eq!(config.services[0].per_network, Some(networks()));
    let route = &http.routes[0];
    let of_route = Limits {
        connections: Some(20),
        ..limits()
    };
    assert_eq!(
        route.limits.as_ref(),
        Some(&of_route),
        "the rest is the section's"
    );
    assert!(route.icetcp && route.icedirect && route.match_all);
    assert_eq!(http.trusted_proxies, ["10.0.0.0/8".parse().expect("a network")]);
    check_group(&config.upstreams[0]);
    let global = Global {
        state_dir: Some(super::base().join("state")),
        drain_timeout: Duration::from_secs(60),
        token_lifetime: Duration::from_secs(86_400),
        upstream_ports: Some(40000..=40100),
        media_threads: Some(2),
        max_sessions: 100,
        admin: Some(ListenAddr {
            ip: Some("127.0.0.1".parse().expect("an address")),
            port: 9090,
        }),
    };
    assert_eq!(config.global, global);
}

fn networks() -> NetworkConnections {
    NetworkConnections {
        v4: 30,
        v6: 60,
        connections: 7,
    }
}

fn limits() -> Limits {
    let secs = Duration::from_secs;
    Limits {
        connections: Some(1),
        rate: Some(Rate {
            per_second: 2,
            burst: 3,
        }),
        per_network: NetworkLimits {
            v4: 32,
            v6: 64,
            connections: Some(4),
            rate: Some(Rate {
                per_second: 5,
                burst: 6,
            }),
        },
        header_bytes: 7 * 1024,
        body_bytes: Some(8 << 20),
        websocket_message_bytes: 9,
        header_timeout: secs(10),
        idle_timeout: secs(11),
        body_timeout: secs(12),
        send_timeout: secs(14),
        websocket_idle_timeout: Some(secs(13)),
    }
}

fn check_group(group: &UpstreamGroup) {
    assert_eq!(group.mode, Balance::Hash(HashBy::Cookie("sid".to_owned())));
    let first = Server::new(Scheme::Http, "a", 1);
    let second = Server {
        weight: 2,
        backup: true,
        max_fails: 3,
        fail_timeout: Duration::from_secs(4),
        ..Server::new(Scheme::Http, "b", 1)
    };
    assert_eq!(group.servers, [first, second]);
    let health = HealthCheck {
        path: "/up?x".to_owned(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
        expect: 200..=200,
    };
    assert_eq!(group.health, Some(health));
    assert_eq!((group.slow_start, group.cookie), (Duration::from_secs(5), false));
}

#[test]
fn the_example_loads_without_a_warning() {
    let config = load(&super::base().join("deploy/routes.yml")).expect("the example is valid");
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn the_embedded_configuration_serves_the_demo() {
    for port in [0, 1, 8088, u16::MAX] {
        let config = Config::embedded(port);
        assert_eq!(
            config.upstreams[0].servers[0].to_string(),
            format!("http://127.0.0.1:{port}")
        );
        assert_eq!(config.services.len(), 2);
        assert_eq!(config.warnings, [""; 0]);
    }
}

#[test]
fn line_ends_and_a_byte_order_mark_do_not_matter() {
    let text = "services:\n  t:\n    proto: http\n    net: {addr: ':1'}\n";
    let expected = parse(text, Path::new(""));
    for variant in [
        text.replace('\n', "\r\n"),
        format!("\u{feff}{text}"),
        format!("---\n{text}...\n"),
    ] {
        assert_eq!(parse(&variant, Path::new("")), expected, "{variant:?}");
    }
}
