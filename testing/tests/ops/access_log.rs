//! Access logs, parsed back.

use std::fs;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Request;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{connect_from, get, raw, send, text, websocket};
use crate::daemon::{Daemon, lines_of, route_to, until, web};
use crate::origin::{echo_origin, origin, websocket_origin};

const JSON: &str = "access_log: {path: DIR/access.log, format: json}";

async fn json_lines(daemon: &Daemon, count: usize) -> Vec<Value> {
    let lines = lines_of(daemon.work.join("access.log"), count).await;
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_all_that_is_known_of_it() {
    let upstream = echo_origin().await;
    let daemon = Daemon::start(&web(&[JSON, &route_to(upstream, "")]));
    let request = Request::post(daemon.uri("/janus/1?token=t"))
        .header("referer", "https://page.example/")
        .header("user-agent", "Test/1.0 \"quoted\"")
        .header("authorization", "Bearer secret-1")
        .header("cookie", "session=secret-2")
        .header("x-request-id", "id-42")
        .body("12345".to_owned())
        .unwrap();
    let body = text(send(request).await).await;
    let line = &json_lines(&daemon, 1).await[0];
    for (key, expected) in [
        ("client", "127.0.0.1".into()),
        ("method", "POST".into()),
        ("uri", "/janus/1?token=t".into()),
        ("protocol", "HTTP/1.1".into()),
        ("host", daemon.addr("web").to_string().into()),
        ("status", 200.into()),
        ("bytes_in", 5.into()),
        ("bytes_out", body.len().into()),
        ("referer", "https://page.example/".into()),
        ("user_agent", "Test/1.0 \"quoted\"".into()),
        ("request_id", "id-42".into()),
        ("route", "all".into()),
        ("upstream", format!("http://{upstream}").into()),
        ("websocket", false.into()),
        ("complete", true.into()),
    ] {
        assert_eq!(line[key], Value::clone(&expected), "{key} of {line}");
    }
    let seconds = |key: &str| line[key].as_f64().unwrap();
    assert!(0.0 < seconds("upstream_seconds") && seconds("upstream_seconds") <= seconds("seconds"));
    assert!(body.contains("secret-1"), "the upstream is told all");
    let logged = fs::read_to_string(daemon.work.join("access.log")).unwrap();
    assert!(!logged.contains("secret-"), "{logged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_combined_format_is_what_tools_read() {
    let upstream = echo_origin().await;
    let log = "access_log: {path: DIR/access.log}";
    let daemon = Daemon::start(&web(&[log, &route_to(upstream, "")]));
    let forged = "GET /a\"b HTTP/1.1\r\nHost: h\r\nUser-Agent: x\" 200 1 \"\\\r\nConnection: close\r\n\r\n";
    raw(daemon.addr("web"), forged).await;
    raw(
        daemon.addr("web"),
        "POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    )
    .await;
    let lines = lines_of(daemon.work.join("access.log"), 2).await;
    let quotes = |line: &str| line.matches('"').count();
    for line in &lines {
        assert_eq!(
            quotes(line),
            6,
            "request, referer and agent are quoted, nothing else: {line}"
        );
        let (client, rest) = line.split_once(" - - [").unwrap();
        assert_eq!(client, "127.0.0.1");
        let (time, rest) = rest.split_once("] \"").unwrap();
        assert_eq!(
            (time.len(), &time[2..3], &time[20..]),
            (26, "/", " +0000"),
            "{line}"
        );
        let fields: Vec<&str> = rest.split('"').nth(1).unwrap().split_whitespace().collect();
        let [status, bytes] = fields[..] else {
            panic!("{line}")
        };
        assert_eq!(status, "200");
        assert!(bytes.parse::<u64>().unwrap() > 0);
    }
    assert!(lines[0].contains("\"GET /a\\x22b HTTP/1.1\""), "{}", lines[0]);
    assert!(lines[0].contains("\"x\\x22 200 1 \\x22\\x5C\""), "{}", lines[0]);
    let tail = lines[1].rsplit_once("\" ").unwrap().1;
    assert!(
        tail.starts_with("host=h in=3 time=0.") && tail.contains(" route=all "),
        "{tail}"
    );
    assert!(tail.contains(&format!(" upstream=http://{upstream} ")), "{tail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_logged_at_its_end_with_what_passed() {
    let upstream = websocket_origin(|mut socket| async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(Message::text("12345")).await.is_err() {
                return;
            }
        }
    })
    .await;
    let daemon = Daemon::start(&web(&[JSON, &route_to(upstream, "")]));
    let mut socket = websocket(daemon.addr("web"), "/ws").await.unwrap();
    for _ in 0..2 {
        socket.send(Message::text("123")).await.unwrap();
        socket.next().await.unwrap().unwrap();
    }
    text(get(&daemon.uri("/none")).await).await;
    let before = json_lines(&daemon, 1).await;
    assert_eq!(before[0]["uri"], "/none", "the WebSocket is still open");
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    let line = &json_lines(&daemon, 2).await[1];
    assert_eq!((&line["uri"], &line["status"]), (&"/ws".into(), &101.into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&6.into(), &10.into()));
    assert_eq!(
        (&line["websocket"], &line["complete"]),
        (&true.into(), &true.into())
    );
    assert_eq!(line["upstream"], format!("http://{upstream}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_and_requests_that_reach_no_upstream() {
    let (arrived, mut arrivals) = tokio::sync::mpsc::channel(1);
    let upstream = origin(move |_| {
        let arrived = arrived.clone();
        async move {
            arrived.send(()).await.unwrap();
            std::future::pending().await
        }
    })
    .await;
    let routes = format!(
        "routes:\n  slow:\n    upstream: http://{upstream}\n    paths: [/slow]\n  dead:\n    upstream: \
         http://127.0.0.1:1\n    paths: [/dead]\n"
    );
    let daemon = Daemon::start(&web(&[JSON, &routes]));
    let mut stream = connect_from("127.0.0.1", daemon.addr("web")).await;
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    arrivals.recv().await.unwrap();
    drop(stream);
    let line = json_lines(&daemon, 1).await.remove(0);
    assert_eq!((&line["status"], &line["complete"]), (&499.into(), &false.into()));
    assert_eq!(line["upstream_seconds"], Value::Null);
    text(get(&daemon.uri("/dead")).await).await;
    text(get(&daemon.uri("/nothing")).await).await;
    let lines = json_lines(&daemon, 3).await;
    assert_eq!(
        (&lines[1]["status"], &lines[1]["route"]),
        (&502.into(), &"dead".into())
    );
    assert_eq!(lines[1]["upstream"], "http://127.0.0.1:1");
    assert_eq!(
        (&lines[2]["status"], &lines[2]["route"]),
        (&404.into(), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_moved_away_is_opened_again_and_nothing_is_lost() {
    let upstream = echo_origin().await;
    let daemon = Daemon::start(&web(&[JSON, &route_to(upstream, "")]));
    let log = daemon.work.join("access.log");
    let old = daemon.work.join("access.log.1");
    text(get(&daemon.uri("/1")).await).await;
    lines_of(log.clone(), 1).await;
    fs::rename(&log, &old).unwrap();
    text(get(&daemon.uri("/2")).await).await;
    assert_eq!(
        lines_of(old.clone(), 2).await.len(),
        2,
        "until told, the moved file is written on"
    );
    daemon.signal("USR1");
    until("a new file", || log.exists()).await;
    text(get(&daemon.uri("/3")).await).await;
    assert_eq!(json_lines(&daemon, 1).await[0]["uri"], "/3");
    assert_eq!(fs::read_to_string(&old).unwrap().lines().count(), 2);
    assert_eq!(daemon.count("access_log_dropped").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_stops_the_start_and_a_reload() {
    let upstream = echo_origin().await;
    let daemon = Daemon::start(&web(&[&route_to(upstream, "")]));
    daemon.rewrite(&web(&[
        "access_log: {path: DIR/no/such/access.log}",
        &route_to(upstream, ""),
    ]));
    daemon.logged("reload refused").await;
    daemon.logged("access log ").await;
    assert_eq!(get(&daemon.uri("/")).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_logged_is_on_disk_when_the_daemon_has_stopped() {
    let upstream = echo_origin().await;
    let daemon = Daemon::start(&web(&[JSON, &route_to(upstream, "")]));
    for n in 0..200 {
        text(get(&daemon.uri(&format!("/{n}"))).await).await;
    }
    let work = tokio::task::spawn_blocking(|| daemon.stop()).await.unwrap();
    let written = fs::read_to_string(work.join("access.log")).unwrap();
    assert_eq!(written.lines().count(), 200);
}
