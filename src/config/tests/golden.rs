//! One file with many mistakes: all of them are told, each in its place, in words that help.

use super::refused;

const MANY: &str = r#"services:
  janus-server:
    proto: upstream
    mode: roundrobin
    servers:
      - http://janus_api:8088
      - ftp://janus_api
  udp_svr:
    proto: udp
    net: {addr: :6000, enable_ice: yes, candidate_ips: [192.168.1.300]}
  tcp_svr:
    proto: tcp
    net:
      addr: 6443
      tls_crt_file: /nonexistent/cert.pem
      tls_key_file: Cargo.toml
    enable_http: true
    http:
      max_conns: "500"
      dial_timeout: 10
      routes:
        janus:
          uptsream: http://janus-server
          protos: [janus-protocol]
        janus:
          upstream: http://janus-server
        demo:
          upstream: http://janus-sever
          paths:
            - janus
  second:
    proto: udp
    net: {addr: 127.0.0.1:6000}
drain_timeout: 1 fortnight
upstream_ports: 40100-40000
"#;

const TOLD: &str = r#"routes.yml:4:11: expected `rr`, `random`, `least_conn` or `hash`, found `roundrobin`
 4 |     mode: roundrobin
   |           ^^^^^^^^^^
routes.yml:7:9: expected a server like `http://host:port` (http, https, ws or wss; no path), found `ftp://janus_api`
 7 |       - ftp://janus_api
   |         ^^^^^^^^^^^^^^^
routes.yml:10:36: expected `true` or `false`, found `yes`
 10 |     net: {addr: :6000, enable_ice: yes, candidate_ips: [192.168.1.300]}
    |                                    ^^^
routes.yml:10:57: expected an address that clients can send to, a host name, or `auto`, found `192.168.1.300`
 10 |     net: {addr: :6000, enable_ice: yes, candidate_ips: [192.168.1.300]}
    |                                                         ^^^^^^^^^^^^^
routes.yml:14:13: expected a listening address, `:port`, `ip:port` or `[ipv6]:port`, found `6443`
 14 |       addr: 6443
    |             ^^^^
routes.yml:15:21: no such file: /nonexistent/cert.pem
 15 |       tls_crt_file: /nonexistent/cert.pem
    |                     ^^^^^^^^^^^^^^^^^^^^^
routes.yml:19:18: expected a whole number from 1 to 1000000, found the string `500`
 19 |       max_conns: "500"
    |                  ^^^^^
routes.yml:20:21: expected a duration with its unit, like `300s`, `100ms` or `1h30m`, found `10`
 20 |       dial_timeout: 10
    |                     ^^
routes.yml:23:11: unknown key `uptsream`; did you mean `upstream`?
 23 |           uptsream: http://janus-server
    |           ^^^^^^^^
routes.yml:24:20: expected a WebSocket subprotocol, like `ws@janus-protocol`, found `janus-protocol`
 24 |           protos: [janus-protocol]
    |                    ^^^^^^^^^^^^^^
routes.yml:25:9: duplicate key `janus`; the first is in line 22
 25 |         janus:
    |         ^^^^^
routes.yml:28:21: unknown upstream `janus-sever`; did you mean `janus-server`?
 28 |           upstream: http://janus-sever
    |                     ^^^^^^^^^^^^^^^^^^
routes.yml:30:15: expected a path like `/janus`, or a rewrite like `/a: /b`, found `janus`
 30 |             - janus
    |               ^^^^^
routes.yml:33:17: udp 127.0.0.1:6000 is taken by service `udp_svr` (line 10)
 33 |     net: {addr: 127.0.0.1:6000}
    |                 ^^^^^^^^^^^^^^
routes.yml:34:16: expected a duration with its unit, like `300s`, `100ms` or `1h30m`, found `1 fortnight`
 34 | drain_timeout: 1 fortnight
    |                ^^^^^^^^^^^
routes.yml:35:17: expected a range of ports, like `40000-40100`, found `40100-40000`
 35 | upstream_ports: 40100-40000
    |                 ^^^^^^^^^^^
16 errors"#;

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    assert_eq!(refused(MANY).to_string(), TOLD);
}
