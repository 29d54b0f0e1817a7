//! Certificates, trusted proxies and the redirect to HTTPS.

use std::path::Path;

use super::super::{Certificate, NetworkConnections, TlsFiles, parse};
use super::pair::Pair;
use super::{located, ok};

/// A service with these lines in its `net` section; the first is line 7.
fn tcp(net: &str) -> String {
    format!("services:\n  t:\n    proto: tcp\n    enable_http: true\n    net:\n      addr: :1\n{net}")
}

#[test]
fn pairs_are_taken_in_order() {
    let pair = Pair::new("order", &["a.example", "*.B.example"]);
    let net =
        "      tls_crt_file: CRT\n      tls_key_file: KEY\n      certificates: [{crt: CRT, key: KEY}]\n";
    let config = ok(&pair.name_in(&tcp(net)));
    let files = TlsFiles {
        crt: pair.0.join("crt.pem"),
        key: pair.0.join("key.pem"),
    };
    assert_eq!(config.services[0].certificates, [files.clone(), files.clone()]);
    assert_eq!(
        Certificate::load(&files).unwrap().names,
        ["a.example", "*.b.example"]
    );
}

#[test]
fn connections_of_a_network_have_a_bound_that_is_written() {
    let cap = |net: &str| ok(&tcp(net)).services[0].per_network;
    assert_eq!(cap(""), None);
    let given = NetworkConnections {
        v4: 24,
        v6: 56,
        connections: 100,
    };
    assert_eq!(cap("      per_network: {connections: 100}\n"), Some(given));
    for (net, told) in [
        ("{}", "7:7 `per_network` of `net` has no `connections`"),
        (
            "{connections: 0}",
            "7:34 expected a whole number from 1 to 10000000, found `0`",
        ),
        (
            "{connections: 1, v4: 33}",
            "7:41 expected a whole number from 1 to 32, found `33`",
        ),
        (
            "{connections: 1, rate: 1}",
            "7:37 unknown key `rate`; expected `v4`, `v6` or `connections`",
        ),
    ] {
        assert_eq!(
            located(&tcp(&format!("      per_network: {net}\n"))),
            [told],
            "{net}"
        );
    }
    let udp = "services:\n  u:\n    proto: udp\n    net: {addr: ':1', enable_ice: true, per_network: {connections: 1}}\n";
    assert_eq!(located(udp), ["4:41 `per_network` is not for `proto: udp`"]);
}

#[test]
fn half_a_pair_is_refused_and_so_are_missing_files() {
    let pair = Pair::new("half", &["a.example"]);
    let told = |net: &str| located(&pair.name_in(&tcp(net)));
    assert_eq!(
        told("      tls_crt_file: CRT\n"),
        ["7:7 `tls_crt_file` without `tls_key_file`"]
    );
    assert_eq!(
        told("      tls_key_file: KEY\n"),
        ["7:7 `tls_key_file` without `tls_crt_file`"]
    );
    assert_eq!(
        told("      certificates: [{crt: CRT}]\n"),
        ["7:22 this item of `certificates` has no `key`"]
    );
    assert_eq!(
        told("      tls_crt_file: /nonexistent/a\n      tls_key_file: /nonexistent/b\n"),
        [
            "7:21 no such file: /nonexistent/a",
            "8:21 no such file: /nonexistent/b"
        ]
    );
    let directory = told("      tls_crt_file: src\n      tls_key_file: KEY\n");
    assert!(directory[0].starts_with("7:21 no such file: "), "{directory:?}");
}

#[test]
fn a_pair_that_tls_cannot_be_served_with_is_located() {
    let (pair, other) = (
        Pair::new("fit", &["a.example"]),
        Pair::new("unfit", &["a.example"]),
    );
    let told = |net: &str| located(&pair.name_in(&tcp(net)));
    let crt = told("      tls_crt_file: Cargo.toml\n      tls_key_file: KEY\n");
    assert!(
        matches!(crt.as_slice(), [one] if one.starts_with("7:21 ") && one.ends_with("holds no certificate in PEM form")),
        "{crt:?}"
    );
    let key = told("      tls_crt_file: CRT\n      tls_key_file: CRT\n");
    assert!(
        matches!(key.as_slice(), [one] if one.starts_with("8:21 ") && one.contains("holds no private key")),
        "{key:?}"
    );
    let strange = other.0.join("key.pem").display().to_string();
    let mismatch = told(&format!(
        "      tls_crt_file: CRT\n      tls_key_file: {strange}\n"
    ));
    assert!(
        matches!(mismatch.as_slice(), [one] if one.starts_with("8:21 ") && one.contains(" is not the key of ")),
        "{mismatch:?}"
    );
    std::fs::write(
        other.0.join("crt.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let garbage = located(&other.name_in(&tcp("      certificates:\n        - {crt: CRT, key: KEY}\n")));
    assert!(
        matches!(garbage.as_slice(), [one] if one.starts_with("8:17 ") && one.contains("no valid certificate")),
        "{garbage:?}"
    );
}

#[test]
fn proxies_and_the_redirect() {
    let config = ok(&tcp(
        "      trusted_proxies: [10.0.0.0/8, '::1']\n      redirect_https: true\n",
    ));
    let service = &config.services[0];
    let networks: Vec<String> = service.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128"]);
    assert!(service.redirect_https);
    assert_eq!(located(&tcp("      trusted_proxies: [10.0.0.256]\n")).len(), 1);
}

#[test]
fn keys_are_not_served() {
    let pair = Pair::new("served", &["a.example"]);
    let text = "services:\n  t:\n    proto: http\n    net: {addr: ':1', certificates: [{crt: CRT, key: KEY}]}\n    \
                http: {root: ROOT}\n";
    let text = pair.name_in(text).replace("ROOT", &pair.0.display().to_string());
    let errors = parse(&text, Path::new("")).unwrap_err();
    assert!(
        errors.to_string().contains("everyone could download "),
        "{errors}"
    );
}

#[test]
fn what_upstreams_are_verified_against() {
    let pair = Pair::new("upstream", &["a.example"]);
    let group = |tls: &str| {
        pair.name_in(&format!(
            "services:\n  g:\n    proto: upstream\n    servers: ['https://a:1']\n    tls: {tls}\n"
        ))
    };
    let config = ok(&group("{ca: CRT, server_name: Janus.Internal}"));
    let tls = &config.upstreams[0].tls;
    assert_eq!(tls.ca, Some(pair.0.join("crt.pem")));
    assert_eq!(tls.server_name.as_deref(), Some("janus.internal"));
    assert!(!tls.insecure);
    let careless = ok(&group("{insecure: true}"));
    assert!(careless.upstreams[0].tls.insecure);
    assert!(
        careless.warnings[0].starts_with("line 5: `insecure`: "),
        "{:?}",
        careless.warnings
    );
    for (tls, told) in [
        ("{ca: KEY}", "holds no certificate in PEM form"),
        ("{ca: /nonexistent}", "cannot be read"),
        ("{server_name: 'a b'}", "expected a host name or an address"),
    ] {
        let located = located(&group(tls));
        assert!(located.len() == 1 && located[0].contains(told), "{located:?}");
    }
}

#[test]
fn a_certificate_that_has_expired_is_warned_of_and_taken() {
    let pair = Pair::until("expired", &["a.example"], (2001, 3, 1));
    let net = "      tls_crt_file: CRT\n      tls_key_file: KEY\n";
    let config = ok(&pair.name_in(&tcp(net)));
    let crt = pair.0.join("crt.pem").display().to_string();
    let expected = format!("line 7: certificate {crt} expired at 2001-03-01T00:00:00Z");
    assert_eq!(config.warnings, [expected]);
}
