//! Each kind of mistake beside wrong values: where it is told, and in which words.

use std::path::{Path, PathBuf};

use super::super::{Errors, Problem, load, parse};
use super::{located, ok, refused};

#[test]
fn empty_files() {
    for text in ["", "\n\n", "# nothing\n", "---\n", "~", "null\n"] {
        assert_eq!(
            refused(text).to_string(),
            "routes.yml: is empty; expected at least `services:`\n1 error",
            "{text:?}"
        );
    }
}

#[test]
fn files_without_services() {
    assert_eq!(located("drain_timeout: 1s\n"), ["1:1 the file has no `services`"]);
    assert_eq!(
        located("services:\n"),
        ["1:1 expected at least one service, found nothing"]
    );
    assert_eq!(
        located("services: {}\n"),
        ["1:1 expected at least one service, found a section"]
    );
    assert_eq!(
        located("services: [a]\n"),
        ["1:11 expected a section (keys with values), found a list; write `name:` without the `-`"]
    );
    assert_eq!(
        located("hello\n")[0],
        "1:1 expected a section (keys with values), found `hello`"
    );
}

#[test]
fn tabs() {
    assert_eq!(
        located("services:\n\ta: 1\n"),
        ["2:1 a tab; YAML is indented with spaces"]
    );
    assert_eq!(
        located("services:\n  a:\n  \tproto: udp\n"),
        ["3:3 a tab; YAML is indented with spaces"]
    );
}

#[test]
fn text_that_is_not_yaml() {
    let told = located("services: {a: [b}\n");
    assert!(
        told.len() == 1 && told[0].starts_with("1:15 not YAML here: "),
        "{told:?}"
    );
    let told = located("services:\n  a: b: c\n");
    assert!(
        told.len() == 1 && told[0].starts_with("2:7 not YAML here: "),
        "{told:?}"
    );
}

#[test]
fn a_second_document() {
    let text = "services: {u: {proto: udp, net: {addr: ':1', enable_ice: true}}}\n---\na: 1\n";
    assert_eq!(located(text), ["2:1 a second document; expected one only"]);
}

#[test]
fn tags_and_odd_keys() {
    let udp = "{proto: udp, net: {addr: ':1', enable_ice: true}}";
    assert_eq!(
        located(&format!("services: !x {{u: {udp}}}")),
        ["1:11 a tag; expected a plain value"]
    );
    let told = located(&format!("services:\n  u: {udp}\n  [a]: 1\n"));
    assert_eq!(told[0], "3:3 expected a word as the key, found a list");
}

#[test]
fn unknown_keys_name_the_nearest() {
    let udp = "services:\n  u:\n    proto: udp\n    net: {addr: ':1', enable_ice: true}\n";
    assert_eq!(
        located(&format!("{udp}drain_timout: 1s\n")),
        ["5:1 unknown key `drain_timout`; did you mean `drain_timeout`?"]
    );
    assert_eq!(
        located(&format!("{udp}    colour: red\n")),
        [
            "5:5 unknown key `colour`; expected `proto`, `mode`, `hash`, `servers`, `health`, `slow_start`, `cookie`, `tls`, `media`, `net`, `enable_http` or `http`"
        ]
    );
    // Names of older versions of the format.
    assert_eq!(
        located(&udp.replace("enable_ice", "enable")),
        ["4:23 unknown key `enable`; did you mean `enable_ice`?"]
    );
    assert_eq!(
        located(&udp.replace("enable_ice: true", "ips: []")),
        ["4:23 unknown key `ips`; did you mean `candidate_ips`?"]
    );
    assert_eq!(
        located(&udp.replace("proto", "prto")),
        ["3:5 unknown key `prto`; did you mean `proto`?"]
    );
}

#[test]
fn missing_keys() {
    assert_eq!(
        located("services:\n  a: {net: {addr: ':1'}, enable_http: true}\n"),
        ["2:3 service `a` has no `proto`"]
    );
    assert_eq!(
        located("services:\n  a: {proto: udp}\n"),
        ["2:3 `net` of service `a` has no `addr`"]
    );
    assert_eq!(
        located("services:\n  a: {proto: http, net: }\n"),
        ["2:20 `net` of service `a` has no `addr`"]
    );
    let udp = "services: {u: {proto: udp, net: {addr: ':1', enable_ice: true}}}\n";
    assert_eq!(
        located(&format!("{udp}admin: {{}}\n")),
        ["2:1 `admin` has no `addr`"]
    );
}

#[test]
fn protos() {
    let told = |proto: &str| {
        located(&format!(
            "services:\n  a: {{proto: {proto}, net: {{addr: ':1'}}, enable_http: true}}\n"
        ))
    };
    let expected = "expected `http`, `tcp`, `udp` or `upstream`";
    assert_eq!(
        told("tcpp"),
        [format!("2:14 {expected} (did you mean `tcp`?), found `tcpp`")]
    );
    assert_eq!(
        told("TCP"),
        [format!("2:14 {expected} (did you mean `tcp`?), found `TCP`")]
    );
    assert_eq!(told("srt"), [format!("2:14 {expected}, found `srt`")]);
}

#[test]
fn keys_of_another_proto() {
    let told = located(
        "services:\n  g:\n    proto: upstream\n    servers: ['http://a:1']\n    net: {}\n    enable_http: true\n    http:\n",
    );
    assert_eq!(
        told,
        [
            "5:5 `net` is not for `proto: upstream`",
            "6:5 `enable_http` is not for `proto: upstream`",
            "7:5 `http` is not for `proto: upstream`"
        ]
    );
    let told = located(
        "services:\n  u:\n    proto: udp\n    net: {addr: ':1'}\n    servers: []\n    mode: rr\n    media: {}\n    \
         enable_http: true\n    http: {}\n",
    );
    assert_eq!(
        told,
        [
            "5:5 `servers` is not for `proto: udp`",
            "6:5 `mode` is not for `proto: udp`",
            "7:5 `media` is not for `proto: udp`",
            "8:5 `enable_http` is not for `proto: udp`",
            "9:5 `http` is not for `proto: udp`"
        ]
    );
    let told = located(
        "services:\n  h:\n    proto: http\n    net: {addr: ':1', enable_ice: true}\n    enable_http: false\n",
    );
    assert_eq!(
        told,
        [
            "4:23 `enable_ice` is not for `proto: http`",
            "5:5 `enable_http` is not for `proto: http`"
        ]
    );
}

#[test]
fn duplicates() {
    let text = "services:\n  u: {proto: udp, net: {addr: ':1', addr: ':2', enable_ice: true}}\n  u: {}\nservices: {}\n";
    assert_eq!(
        located(text),
        [
            "2:37 duplicate key `addr`; the first is in line 2",
            "3:3 duplicate key `u`; the first is in line 2",
            "4:1 duplicate key `services`; the first is in line 1"
        ]
    );
}

#[test]
fn names() {
    let told = located("services:\n  a/b: {proto: upstream, servers: ['http://a:1']}\n");
    assert_eq!(
        told,
        ["2:3 expected a name of up to 64 letters, digits, `-`, `_` and `.`, found `a/b`"]
    );
}

#[test]
fn ports_taken_twice() {
    let two = |a: &str, b: &str| format!("services:\n  a: {{{a}, enable_http: true}}\n  b: {{{b}}}\n");
    let taken = two(
        "proto: tcp, net: {addr: ':80'}",
        "proto: http, net: {addr: '127.0.0.1:80'}",
    );
    assert_eq!(
        located(&taken),
        ["3:32 tcp 127.0.0.1:80 is taken by service `a` (line 2)"]
    );
    ok(&two(
        "proto: tcp, net: {addr: ':80'}",
        "proto: udp, net: {addr: ':80'}",
    ));
    ok(&two(
        "proto: tcp, net: {addr: ':80'}",
        "proto: http, net: {addr: ':81'}",
    ));
    ok(&two(
        "proto: tcp, net: {addr: '127.0.0.1:80'}",
        "proto: http, net: {addr: '127.0.0.2:80'}",
    ));
    ok(&two(
        "proto: tcp, net: {addr: ':0'}",
        "proto: http, net: {addr: ':0'}",
    ));
    let admin = format!(
        "{}admin: {{addr: ':80'}}\n",
        two("proto: tcp, net: {addr: ':80'}", "proto: udp, net: {addr: ':80'}")
    );
    assert_eq!(located(&admin), ["4:15 tcp :80 is taken by service `a` (line 2)"]);
}

#[test]
fn secrets_are_not_served() {
    let text = "state_dir: src/state\nservices:\n  t:\n    proto: http\n    net: {addr: ':1'}\n    \
                http: {root: ROOT}\n";
    for (root, served) in [
        (".", true),
        ("src", true),
        ("src/../src", true),
        ("src/config", false),
        ("sr", false),
    ] {
        match parse(&text.replace("ROOT", root), super::base()) {
            Ok(_) => assert!(!served, "{root}"),
            Err(errors) => {
                let told: Vec<String> = errors.iter().map(|error| error.problem.to_string()).collect();
                assert!(
                    served && told.len() == 1 && told[0].starts_with("everyone could download "),
                    "{root}: {told:?}"
                );
            }
        }
    }
}

/// A file with the upstream `janus-server`, and a route whose `upstream` is `url`.
fn with_route(url: &str) -> String {
    format!(
        "services:\n  janus-server: {{proto: upstream, servers: ['http://a:1']}}\n  t:\n    proto: http\n    \
         net: {{addr: ':1'}}\n    http:\n      routes:\n        r:\n          paths: [/]\n          upstream: {url}\n"
    )
}

#[test]
fn upstreams_of_routes() {
    ok(&with_route("ws://janus-server/"));
    ok(&with_route("http://localhost"));
    ok(&with_route("http://group.1").replace("janus-server", "group.1"));
    assert_eq!(
        located(&with_route("http://janus-server:80")),
        ["10:21 `janus-server` is an upstream group: its URL takes no port"]
    );
    assert_eq!(
        located(&with_route("http://janus-server/x")),
        ["10:21 `janus-server` is an upstream group: its URL takes no path; `paths` can rewrite: `/a: /b`"]
    );
    assert_eq!(
        located(&with_route("http://janusserver")),
        ["10:21 unknown upstream `janusserver`; did you mean `janus-server`?"]
    );
    assert_eq!(
        located(&with_route("http://html")),
        ["10:21 unknown upstream `html`; if it is a host, write its port"]
    );
    let expected = "expected `http://GROUP`, or the URL of a server like `http://host:port`";
    assert_eq!(
        located(&with_route("janus-server")),
        [format!(
            "10:21 {expected}, found `janus-server`; did you mean `http://janus-server`?"
        )]
    );
    assert_eq!(
        located(&with_route("http://a:1/x")),
        [format!("10:21 {expected}, found `http://a:1/x`")]
    );
    assert_eq!(
        located(&with_route("[a]")),
        [format!("10:21 {expected}, found a list")]
    );
    assert_eq!(
        located(&with_route("")),
        [format!("10:11 {expected}, found nothing")]
    );
    let none = with_route("http://janus-server").replace("upstream: http", "# upstream: http");
    assert_eq!(located(&none), ["8:9 route `r` has no `upstream`"]);
}

#[test]
fn upstreams_without_servers() {
    for servers in ["", ", servers: ", ", servers: []"] {
        let text = format!("services:\n  g: {{proto: upstream{servers}}}\n");
        assert_eq!(located(&text), ["2:3 upstream `g` has no servers"], "{servers}");
    }
    assert!(
        located("services:\n  g: {proto: upstream, servers: 'http://a:1'}\n")[0]
            .starts_with("2:33 expected a list")
    );
}

#[test]
fn match_all_needs_a_condition() {
    let text = with_route("http://janus-server").replace("paths: [/]", "match: all");
    let told =
        "8:9 route `r` asks for all of its conditions and has none; expected `hosts`, `protos` or `paths`";
    assert_eq!(located(&text), [told]);
}

#[test]
fn route_ids_must_differ() {
    // Found by search: ids are 32 bits, so a pair turns up among some tens of thousands.
    let text = "services:\n  t:\n    proto: http\n    net: {addr: ':1'}\n    http:\n      routes:\n        \
                r94304: {upstream: 'http://a:1', paths: [/a]}\n        r151811: {upstream: 'http://a:1', paths: [/b]}\n";
    assert_eq!(
        located(text),
        ["8:9 route `r151811` gets the same id as route `t/r94304`; rename one of them"]
    );
}

#[test]
fn aliases() {
    let text = "services:\n  t: {proto: http, net: {addr: ':1'}, http: {routes: {r: {upstream: 'http://a:1', hosts: [*.example.com]}}}}\n";
    let told = located(text);
    assert!(
        told[0].contains("no anchor `&.example.com` stands before this alias; put a text"),
        "{told:?}"
    );
    assert_eq!(
        located("services: &a {a: *a}\n")[2],
        "1:18 an alias inside of what it stands for"
    );
}

#[test]
fn merges_need_sections() {
    let told = located("services:\n  u: {proto: udp, net: {addr: ':1', enable_ice: true}, <<: 5}\n");
    assert_eq!(
        told,
        ["2:60 expected a section or a list of sections to merge, found `5`"]
    );
}

#[test]
fn unreadable_files() {
    let told = |result: Result<_, Errors>| {
        result
            .map(|_: super::super::Config| ())
            .expect_err("no such file")
            .to_string()
    };
    let missing = told(load(Path::new("/nonexistent/routes.yml")));
    assert!(
        missing.starts_with("/nonexistent/routes.yml: cannot be read: "),
        "{missing}"
    );
    let directory: PathBuf = env!("CARGO_MANIFEST_DIR").into();
    assert!(told(load(&directory)).contains(": cannot be read: "));
    let endless = told(load(Path::new("/dev/zero")));
    assert_eq!(endless, "/dev/zero: is longer than 1048576 bytes\n1 error");
    let long = parse(&"#".repeat((1 << 20) + 1), Path::new("")).expect_err("too long");
    assert_eq!(
        long.iter().next().map(|error| &error.problem),
        Some(&Problem::TooLarge { limit: 1 << 20 })
    );
}
