//! What the admin listener tells: numbers as Prometheus takes them, and the state as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::client::{get, text, websocket};
use crate::daemon::{Daemon, until, web};
use crate::origin::{fixed_origin, websocket_origin};

fn config(http: &str, more: &str) -> String {
    let group = format!(
        "  group:\n    proto: upstream\n    mode: least_conn\n    servers: ['{http}', {{url: 'http://127.0.0.1:1', \
         backup: true}}]\n"
    );
    let routes = "root: DIR/root\nroutes:\n  api:\n    upstream: http://group\n    paths: [/api]\n  down:\n    \
                  upstream: http://127.0.0.1:2\n    paths: [/down]\n";
    web(&[routes]).replace(
        "net: {addr: '127.0.0.1:0'",
        &format!("net: {{addr: '127.0.0.1:0'{more}"),
    ) + &group
}

/// The page is well formed: every sample belongs to the family before it, is there once and has a number.
fn check_form(page: &str) {
    let (mut family, mut kind) = (String::new(), String::new());
    let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "{name} is there twice");
            assert!(help.ends_with('.'), "{line}");
            family = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            kind = of.to_owned();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
            let name = sample.split('{').next().unwrap();
            let suffix = name
                .strip_prefix(&family)
                .unwrap_or_else(|| panic!("{line} in {family}"));
            let allowed: &[&str] = match kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line}");
            assert!(samples.insert(sample.to_owned()), "{sample} is there twice");
        }
    }
    assert!(families.len() > 20, "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_servers_and_connections_are_counted() {
    let upstream = fixed_origin("text/plain", "0123456789").await;
    let daemon = Daemon::start(&config(&format!("http://{upstream}"), ""));
    for path in ["/api/1", "/api/2", "/down", "/nothing"] {
        text(get(&daemon.uri(path)).await).await;
    }
    // The client has its answer a moment before it is counted.
    for (route, code, count) in [("api", "2xx", 2), ("down", "5xx", 1), ("(none)", "4xx", 1)] {
        let name = format!("xrtc_http_requests_total{{service=\"web\",route=\"{route}\",code=\"{code}\"}}");
        daemon.reaches(&name, count).await;
    }
    let page = daemon.page("/metrics").await;
    check_form(&page);
    let samples: BTreeMap<&str, f64> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect();
    let server = format!("upstream=\"group\",server=\"http://{upstream}\"");
    for (name, expected) in [
        ("xrtc_http_response_bytes_total{service=\"web\",route=\"api\"}".to_owned(), 20.0),
        ("xrtc_http_requests_in_flight{service=\"web\",route=\"api\"}".to_owned(), 0.0),
        ("xrtc_http_request_duration_seconds_count{service=\"web\",route=\"api\"}".to_owned(), 2.0),
        (format!("xrtc_upstream_up{{{server}}}"), 1.0),
        (format!("xrtc_upstream_state{{{server},state=\"up\"}}"), 1.0),
        (format!("xrtc_upstream_requests_active{{{server}}}"), 0.0),
        (format!("xrtc_upstream_response_header_seconds_count{{{server}}}"), 2.0),
        (
            "xrtc_upstream_backup{upstream=\"group\",server=\"http://127.0.0.1:1\"}".to_owned(),
            1.0,
        ),
        (
            "xrtc_upstream_failures_total{upstream=\"http://127.0.0.1:2\",server=\"http://127.0.0.1:2\"}".to_owned(),
            1.0,
        ),
        (
            "xrtc_upstream_state{upstream=\"http://127.0.0.1:2\",server=\"http://127.0.0.1:2\",state=\"failing\"}"
                .to_owned(),
            1.0,
        ),
    ] {
        assert_eq!(samples.get(name.as_str()), Some(&expected), "{name} in\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_connections_are_told_by_protocol() {
    let upstream = websocket_origin(|mut socket| async move {
        use futures_util::StreamExt as _;
        while socket.next().await.is_some() {}
    })
    .await;
    let daemon = Daemon::start(&config(&format!("http://{upstream}"), ""));
    let of = |protocol: &str| format!("xrtc_connections{{protocol=\"{protocol}\"}}");
    let socket = websocket(daemon.addr("web"), "/api/ws").await.unwrap();
    let mut plain = TcpStream::connect(daemon.addr("web")).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"GET / HT")
        .await
        .unwrap();
    daemon.reaches(&of("websocket"), 1).await;
    daemon
        .reaches("xrtc_http_requests_in_flight{service=\"web\",route=\"api\"}", 1)
        .await;
    drop((socket, plain));
    for protocol in ["websocket", "http1", "http2", "tls", "ice_tcp"] {
        daemon.reaches(&of(protocol), 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_go_on_over_a_reload_and_routes_that_go_are_forgotten() {
    let upstream = fixed_origin("text/plain", "x").await;
    let first = config(&format!("http://{upstream}"), "");
    let daemon = Daemon::start(&first);
    text(get(&daemon.uri("/api")).await).await;
    let of =
        |route: &str| format!("xrtc_http_requests_total{{service=\"web\",route=\"{route}\",code=\"2xx\"}}");
    daemon.reaches(&of("api"), 1).await;
    daemon.rewrite(&first.replace("  down:", "  other:"));
    daemon.logged("configuration reloaded").await;
    text(get(&daemon.uri("/api")).await).await;
    daemon.reaches(&of("api"), 2).await;
    let page = daemon.page("/metrics").await;
    check_form(&page);
    assert!(
        page.contains("route=\"other\"") && !page.contains("route=\"down\""),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_told_as_json() {
    let upstream = fixed_origin("text/plain", "x").await;
    let good = config(&format!("http://{upstream}"), "");
    let daemon = Daemon::start(&good);
    let status = async || -> Value { serde_json::from_str(&daemon.page("/status").await).unwrap() };
    let before = status().await;
    assert_eq!(before["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&before["draining"], &before["sessions"]),
        (&false.into(), &0.into())
    );
    assert_eq!(before["config"]["last_reload"], Value::Null);
    let file = daemon.work.join("routes.yml").display().to_string();
    assert_eq!(before["config"]["file"], file);
    assert_eq!(
        before["services"][0]["addresses"][0],
        daemon.addr("web").to_string()
    );
    let group = &before["upstreams"][0];
    assert_eq!(
        (&group["name"], &group["mode"]),
        (&"group".into(), &"least_conn".into())
    );
    assert_eq!(group["servers"][0]["state"], "up");
    daemon.rewrite(&good.replace("paths:", "pathes:"));
    daemon.logged("reload refused").await;
    let after = status().await;
    let last = &after["config"]["last_reload"];
    assert_eq!(last["result"], "refused");
    assert!(
        last["error"].as_str().unwrap().contains("unknown key `pathes`"),
        "{last}"
    );
    assert_eq!(after["config"]["loaded_at"], before["config"]["loaded_at"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_tell_when_they_expire() {
    let upstream = fixed_origin("text/plain", "x").await;
    let tls = ", tls_crt_file: DIR/root/../crt.pem, tls_key_file: DIR/root/../key.pem";
    let work = xrtc_testing::lab::WorkDir::new().unwrap();
    fs::create_dir_all(work.join("root")).unwrap();
    let write = |work: &xrtc_testing::lab::WorkDir, year| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 3, 1);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(work.join("crt.pem"), certificate.pem()).unwrap();
        fs::write(work.join("key.pem"), key.serialize_pem()).unwrap();
    };
    write(&work, 2001);
    let daemon = Daemon::start_in(work, &config(&format!("http://{upstream}"), tls), &[]);
    assert!(
        daemon.log().contains("expired at 2001-03-01T00:00:00Z"),
        "{}",
        daemon.log()
    );
    let file = daemon.work.join("root/../crt.pem").display().to_string();
    let name = format!("xrtc_certificate_expiry_timestamp_seconds{{service=\"web\",file=\"{file}\"}}");
    assert_eq!(daemon.metric(&name).await, 983_404_800);
    write(&daemon.work, 2101);
    daemon.reaches(&name, 4_139_078_400).await;
    until("the certificate's line", || {
        daemon.log().contains("a new certificate")
    })
    .await;
}
