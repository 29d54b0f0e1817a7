//! Access logs in the corners: HTTP/2, retries, proxies in front, IPv6, hostile texts, rotation under load.

use std::fs;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::client::{get, raw, text};
use crate::daemon::{Daemon, lines_of, route_to, until, web};
use crate::load::Load;
use crate::origin::{echo_origin, fixed_origin, websocket_origin};

const JSON: &str = "access_log: {path: DIR/access.log, format: json}";

async fn json_lines(daemon: &Daemon, count: usize) -> Vec<Value> {
    let lines = lines_of(daemon.work.join("access.log"), count).await;
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_that_was_tried_is_named() {
    let upstream = echo_origin().await;
    let group = format!(
        "  group:\n    proto: upstream\n    servers: [{{url: 'http://127.0.0.1:1', max_fails: 0}}, \
         'http://{upstream}']\n"
    );
    let routes = "routes:\n  all:\n    upstream: http://group\n    paths: [/]\n";
    let daemon = Daemon::start(&(web(&[JSON, routes]) + &group));
    for _ in 0..2 {
        assert_eq!(get(&daemon.uri("/")).await.status(), 200);
    }
    let mut tried: Vec<usize> = Vec::new();
    for line in json_lines(&daemon, 2).await {
        assert_eq!(line["upstream"], format!("http://{upstream}"));
        let servers = line["upstreams"].as_array().unwrap();
        tried.push(servers.len());
        if servers.len() == 2 {
            assert_eq!(servers[0], "http://127.0.0.1:1");
        }
    }
    tried.sort_unstable();
    assert_eq!(
        tried,
        [1, 2],
        "taking turns, one of two begins with the dead server"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_and_a_websocket_over_it() {
    let upstream = websocket_origin(|mut socket| async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let daemon = Daemon::start(&web(&[JSON, &route_to(upstream, "")]));
    let stream = TcpStream::connect(daemon.addr("web")).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let plain = Request::get("http://a.example/plain").body(Full::<Bytes>::default());
    sender.send_request(plain.unwrap()).await.unwrap();
    json_lines(&daemon, 1).await;
    let handshake = Request::connect("https://a.example/ws")
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"))
        .body(Full::default());
    let mut response = sender.send_request(handshake.unwrap()).await.unwrap();
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    socket.send(Message::text("1234")).await.unwrap();
    socket.next().await.unwrap().unwrap();
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    let lines = json_lines(&daemon, 2).await;
    assert_eq!(lines[0]["protocol"], "HTTP/2.0");
    assert_eq!(lines[0]["host"], "a.example");
    let websocket = &lines[1];
    for (key, expected) in [
        ("method", "CONNECT".into()),
        ("uri", "/ws".into()),
        ("status", 200.into()),
        ("websocket", true.into()),
        ("complete", true.into()),
        ("bytes_in", 4.into()),
        ("bytes_out", 4.into()),
    ] {
        assert_eq!(websocket[key], Value::clone(&expected), "{key} of {websocket}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_whom_a_trusted_proxy_names() {
    let upstream = echo_origin().await;
    let config = web(&["access_log: {path: DIR/access.log}", &route_to(upstream, "")]);
    let trusting = config.replace(
        "addr: '127.0.0.1:0'}",
        "addr: '127.0.0.1:0', trusted_proxies: [127.0.0.0/8]}",
    );
    let daemon = Daemon::start(&trusting);
    let request = "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\nConnection: close\r\n\r\n";
    let proxied = format!("PROXY TCP6 2001:db8::7 2001:db8::1 50000 80\r\n{request}");
    raw(daemon.addr("web"), &proxied).await;
    let line = lines_of(daemon.work.join("access.log"), 1).await.remove(0);
    assert!(line.starts_with("2001:db8::7 - - ["), "{line}");
    assert!(line.contains(" host=[2001:db8::1]:80 "), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_and_hostile_texts_make_one_bounded_line() {
    let upstream = fixed_origin("text/plain", "x").await;
    for format in ["json", "combined"] {
        let log = format!("access_log: {{path: DIR/access.log, format: {format}}}");
        let daemon = Daemon::start(&web(&[&log, &route_to(upstream, "")]));
        let path = "/a".repeat(15_000);
        let agent = "\u{9b}2J\u{1f}\u{7f}\" \\ %0a\t".repeat(400);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n");
        raw(daemon.addr("web"), &request).await;
        let plain = "GET /end HTTP/1.1\r\nHost: h\r\nUser-Agent: \u{9b}2J\t\"\r\nConnection: close\r\n\r\n";
        raw(daemon.addr("web"), plain).await;
        until("the last line", || {
            fs::read_to_string(daemon.work.join("access.log")).is_ok_and(|log| log.contains("/end"))
        })
        .await;
        let log = fs::read_to_string(daemon.work.join("access.log")).unwrap();
        assert!(log.lines().all(|line| line.len() < 20_000), "{}", log.len());
        assert!(
            !log.trim_end_matches('\n')
                .chars()
                .any(|c| c.is_control() && c != '\n'),
            "{log:?}"
        );
        assert!(log.lines().count() <= 2, "{log:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_or_torn_by_rotations_under_load() {
    let upstream = fixed_origin("text/plain", "the answer").await;
    let daemon = Daemon::start(&web(&[JSON, &route_to(upstream, "")]));
    let log = daemon.work.join("access.log");
    let load = Load::on(daemon.addr("web"), 16, 0);
    let rotations = 8;
    for round in 0..rotations {
        let sofar = load.done();
        until("more load", || load.done() > sofar + 100).await;
        fs::rename(&log, daemon.work.join(&format!("access.log.{round}"))).unwrap();
        daemon.signal("USR1");
        until("a new file", || log.exists()).await;
    }
    let answered = load.finish().await;
    let work = tokio::task::spawn_blocking(|| daemon.stop()).await.unwrap();
    let mut lines = 0;
    for name in (0..rotations)
        .map(|round| format!("access.log.{round}"))
        .chain(["access.log".to_owned()])
    {
        let text = fs::read_to_string(work.join(&name)).unwrap();
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "{name} ends in the middle of a line"
        );
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["uri"], "/http");
            lines += 1;
        }
    }
    assert_eq!(lines, answered, "of {rotations} rotations");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_page_is_logged_as_what_the_client_got() {
    let daemon = Daemon::start(&web(&[JSON, "limits: {body_bytes: 4}\nroot: DIR/root"]));
    let page = text(get(&daemon.uri("/nothing")).await).await;
    let line = json_lines(&daemon, 1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["bytes_out"]),
        (&404.into(), &page.len().into())
    );
    assert_eq!(line["upstreams"], Value::Array(Vec::new()));
}
