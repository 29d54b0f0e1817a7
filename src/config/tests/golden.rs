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
routes.yml:10:36: expected `true` or `false`, found `yes`; did you mean `true`?
 10 |     net: {addr: :6000, enable_ice: yes, candidate_ips: [192.168.1.300]}
    |                                    ^^^
routes.yml:10:57: expected an address that clients can send to, a host name, or `auto`, found `192.168.1.300`
 10 |     net: {addr: :6000, enable_ice: yes, candidate_ips: [192.168.1.300]}
    |                                                         ^^^^^^^^^^^^^
routes.yml:14:13: expected a listening address, `:port`, `ip:port` or `[ipv6]:port`, found `6443`; did you mean `:6443`?
 14 |       addr: 6443
    |             ^^^^
routes.yml:15:21: no such file: /nonexistent/cert.pem
 15 |       tls_crt_file: /nonexistent/cert.pem
    |                     ^^^^^^^^^^^^^^^^^^^^^
routes.yml:19:18: expected a whole number from 1 to 1000000, found the string `500`; leave out the quotes
 19 |       max_conns: "500"
    |                  ^^^^^
routes.yml:20:21: expected a duration with its unit, like `300s`, `100ms` or `1h30m`, found `10`; did you mean `10s`?
 20 |       dial_timeout: 10
    |                     ^^
routes.yml:23:11: unknown key `uptsream`; did you mean `upstream`?
 23 |           uptsream: http://janus-server
    |           ^^^^^^^^
routes.yml:24:20: expected a WebSocket subprotocol, like `ws@janus-protocol`, found `janus-protocol`; did you mean `ws@janus-protocol`?
 24 |           protos: [janus-protocol]
    |                    ^^^^^^^^^^^^^^
routes.yml:25:9: duplicate key `janus`; the first is in line 22
 25 |         janus:
    |         ^^^^^
routes.yml:28:21: unknown upstream `janus-sever`; did you mean `janus-server`?
 28 |           upstream: http://janus-sever
    |                     ^^^^^^^^^^^^^^^^^^
routes.yml:30:15: expected a path like `/janus`, or a rewrite like `/a: /b`, found `janus`; did you mean `/janus`?
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

const NEWCOMERS: &str = r#"services:
  janus:
    proto: upstream
    mode: least-conn
    servers:
      - 127.0.0.1:8088
      - http://127.0.0.1:8088/janus
    health: [/]
  media:
    proto: udp
    net: {addr: 127.0.0.1, enable_ice: true}
    http: {}
  web:
    proto: tcp
    enable_http: "true"
    net:
      addr: example.com:443
      root: /var/www
      trusted_proxies: [10.0.0.0/33]
    http:
      servername: https://example.com/
      limits: {body_bytes: 10MB, connections: -1}
      routes:
        - janus
  other:
    proto: http
    net: {addr: '*:66443'}
    http:
      routes:
      janus: {upstream: janus, paths: [/]}
  last:
    proto: http
    net: {addr: localhost:81}
    http:
      routes:
        a: {upstream: janus, hosts: [*.example.com, example.com:443]}
        b: {upstream: http://janus/janus, paths: ['~ ^/x']}
"#;

const HELPED: &str = r#"routes.yml:4:11: expected `rr`, `random`, `least_conn` or `hash` (did you mean `least_conn`?), found `least-conn`
 4 |     mode: least-conn
   |           ^^^^^^^^^^
routes.yml:6:9: expected a server like `http://host:port` (http, https, ws or wss; no path), found `127.0.0.1:8088`; did you mean `http://127.0.0.1:8088`?
 6 |       - 127.0.0.1:8088
   |         ^^^^^^^^^^^^^^
routes.yml:7:9: expected a server like `http://host:port` (http, https, ws or wss; no path), found `http://127.0.0.1:8088/janus`; did you mean `http://127.0.0.1:8088`? The `paths` of a route can rewrite: `/a: /b`
 7 |       - http://127.0.0.1:8088/janus
   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^
routes.yml:8:13: expected a section (keys with values), found a list; write `name:` without the `-`
 8 |     health: [/]
   |             ^
routes.yml:11:17: expected a listening address, `:port`, `ip:port` or `[ipv6]:port`, found `127.0.0.1`; its port is missing
 11 |     net: {addr: 127.0.0.1, enable_ice: true}
    |                 ^^^^^^^^^
routes.yml:12:5: `http` is not for `proto: udp`
 12 |     http: {}
    |     ^^^^
routes.yml:15:18: expected `true` or `false`, found the string `true`; leave out the quotes
 15 |     enable_http: "true"
    |                  ^^^^^^
routes.yml:17:13: expected a listening address, `:port`, `ip:port` or `[ipv6]:port`, found `example.com:443`; names are not looked up here; an address, or none for all
 17 |       addr: example.com:443
    |             ^^^^^^^^^^^^^^^
routes.yml:18:7: unknown key `root`; it belongs in `http`
 18 |       root: /var/www
    |       ^^^^
routes.yml:19:25: expected a network like `10.0.0.0/8` or `fd00::/8`, or an address, found `10.0.0.0/33`
 19 |       trusted_proxies: [10.0.0.0/33]
    |                         ^^^^^^^^^^^
routes.yml:21:19: expected a host without port, or `_` for any, found `https://example.com/`; did you mean `example.com`?
 21 |       servername: https://example.com/
    |                   ^^^^^^^^^^^^^^^^^^^^
routes.yml:22:28: expected a size like `4096`, `64KiB`, `10MiB` or `1GiB`, up to 1048576GiB, found `10MB`; did you mean `10MiB`?
 22 |       limits: {body_bytes: 10MB, connections: -1}
    |                            ^^^^
routes.yml:22:47: expected a whole number from 1 to 10000000, found `-1`
 22 |       limits: {body_bytes: 10MB, connections: -1}
    |                                               ^^
routes.yml:24:9: expected a section (keys with values), found a list; write `name:` without the `-`
 24 |         - janus
    |         ^
routes.yml:27:17: expected a listening address, `:port`, `ip:port` or `[ipv6]:port`, found the string `*:66443`; a port is at most 65535
 27 |     net: {addr: '*:66443'}
    |                 ^^^^^^^^^
routes.yml:30:7: unknown key `janus`; is it indented too little to belong to `routes`?
 30 |       janus: {upstream: janus, paths: [/]}
    |       ^^^^^
routes.yml:33:17: expected a listening address, `:port`, `ip:port` or `[ipv6]:port`, found `localhost:81`; did you mean `127.0.0.1:81`?
 33 |     net: {addr: localhost:81}
    |                 ^^^^^^^^^^^^
routes.yml:36:23: expected `http://GROUP`, or the URL of a server like `http://host:port`, found `janus`; did you mean `http://janus`?
 36 |         a: {upstream: janus, hosts: [*.example.com, example.com:443]}
    |                       ^^^^^
routes.yml:36:38: no anchor `&.example.com` stands before this alias; put a text that begins with `*` in quotes
 36 |         a: {upstream: janus, hosts: [*.example.com, example.com:443]}
    |                                      ^^^^^^^^^^^^^
routes.yml:36:53: expected a host without port, like `example.com` or `"*.example.com"`, found `example.com:443`; did you mean `example.com`?
 36 |         a: {upstream: janus, hosts: [*.example.com, example.com:443]}
    |                                                     ^^^^^^^^^^^^^^^
routes.yml:37:23: `janus` is an upstream group: its URL takes no path; `paths` can rewrite: `/a: /b`
 37 |         b: {upstream: http://janus/janus, paths: ['~ ^/x']}
    |                       ^^^^^^^^^^^^^^^^^^
routes.yml:37:51: expected a path like `/janus`, or a rewrite like `/a: /b`, found the string `~ ^/x`; a path is a prefix, not a pattern
 37 |         b: {upstream: http://janus/janus, paths: ['~ ^/x']}
    |                                                   ^^^^^^^
22 errors"#;

#[test]
fn what_newcomers_write_is_told_with_what_they_meant() {
    assert_eq!(refused(NEWCOMERS).to_string(), HELPED);
}
