//! A new configuration while everything runs.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use xrtc_testing::lab::{WorkDir, report};

use crate::client::{expect, get, text, websocket};
use crate::daemon::{Daemon, route_to, until, web};
use crate::load::Load;
use crate::origin::{fixed_origin, websocket_origin};

async fn echoing_websocket_origin() -> SocketAddr {
    websocket_origin(|mut socket| async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// `/ws` goes to an echo of WebSockets, all else to `http`.
fn two_routes(http: SocketAddr, ws: SocketAddr, more: &str) -> String {
    let routes = format!(
        "{more}\nroutes:\n  ws:\n    upstream: ws://{ws}\n    paths: [/ws]\n  http:\n    upstream: http://{http}\n    \
         paths: [/]\n"
    );
    web(&[&routes])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_fails_under_load_while_the_configuration_changes_and_changes() {
    let one = fixed_origin("text/plain", "the first answer").await;
    let two = fixed_origin("text/plain", "another answer").await;
    let ws = echoing_websocket_origin().await;
    let daemon = Daemon::start(&two_routes(one, ws, ""));
    let load = Load::on(daemon.addr("web"), 16, 8);
    until("some load", || load.done() > 500).await;
    let reloads = 10;
    for round in 1..=reloads {
        let (http, timeout) = if round % 2 == 0 { (one, 7) } else { (two, 8) };
        daemon.rewrite(&two_routes(http, ws, &format!("dial_timeout: {timeout}s")));
        daemon.signal("HUP");
        daemon.logged_times("configuration reloaded", round).await;
        let sofar = load.done();
        until("more load", || load.done() > sofar + 200).await;
        let expected = if round % 2 == 0 {
            "the first answer"
        } else {
            "another answer"
        };
        assert_eq!(text(get(&daemon.uri("/")).await).await, expected);
    }
    let answered = load.finish().await;
    report(format_args!(
        "{reloads} reloads, {answered} requests and messages, no error"
    ));
    assert_eq!(
        daemon.count("websockets_opened").await,
        8,
        "none had to come again"
    );
    assert_eq!(daemon.metric("xrtc_reloads_total{result=\"refused\"}").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing_and_every_mistake_is_told_with_its_place() {
    let upstream = fixed_origin("text/plain", "x").await;
    let good = web(&[&route_to(upstream, "")]);
    let daemon = Daemon::start(&good);
    let before = daemon.log().len();
    daemon.rewrite(&good.replace("paths: [/]", "pathes: [/]\n          match: some"));
    daemon.logged("reload refused").await;
    let told = daemon.log()[before..].to_owned();
    assert!(told.contains("routes.yml:12:11: unknown key `pathes`"), "{told}");
    assert!(told.contains("routes.yml:13:18: "), "{told}");
    assert_eq!(text(get(&daemon.uri("/")).await).await, "x");
    assert_eq!(daemon.metric("xrtc_config_current").await, 0);
    daemon.rewrite(&good);
    daemon.logged("the configuration has not changed").await;
    assert_eq!(
        daemon.log().matches("reload refused").count(),
        1,
        "it is told once"
    );
    assert_eq!(daemon.metric("xrtc_config_current").await, 1);
    fs::remove_file(daemon.work.join("routes.yml")).unwrap();
    daemon.signal("HUP");
    daemon.logged("cannot be read").await;
    assert_eq!(text(get(&daemon.uri("/")).await).await, "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_are_added_and_removed_ones_drain() {
    let upstream = fixed_origin("text/plain", "answer").await;
    let ws = echoing_websocket_origin().await;
    let first = two_routes(upstream, ws, "");
    let second = format!(
        "{}\n  more:\n    proto: http\n    net: {{addr: '127.0.0.1:0'}}\n    http:\n      routes:\n        all:\n          \
         upstream: http://{upstream}\n          paths: [/]\n",
        first.trim_end()
    );
    let daemon = Daemon::start(&format!("drain_timeout: 1s\n{second}"));
    let (web, more) = (daemon.addr("web"), daemon.addr("more"));
    let mut kept = websocket(web, "/ws").await.unwrap();

    // `web` goes; what runs on it may go on for the time to drain.
    let only_more = format!(
        "drain_timeout: 1s\nservices:\n{}",
        &second[second.find("  more:").unwrap()..]
    );
    daemon.rewrite(&only_more);
    daemon.logged("no longer listened on").await;
    until("the end of the listener", || {
        std::net::TcpStream::connect(web).is_err()
    })
    .await;
    kept.send(Message::text("still here")).await.unwrap();
    assert_eq!(kept.next().await.unwrap().unwrap(), Message::text("still here"));
    match kept.next().await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Away),
        other => panic!("no close frame: {other:?}"),
    }
    assert_eq!(text(get(&format!("http://{more}/")).await).await, "answer");

    // It comes again, on a port of its own choice, beside the one that never went.
    daemon.rewrite(&format!("drain_timeout: 1s\n{second}"));
    daemon.logged_times("HTTP and WebSocket", 3).await;
    assert_ne!(daemon.addr("web"), web);
    assert_eq!(text(get(&daemon.uri("/")).await).await, "answer");
    assert_eq!(text(get(&format!("http://{more}/")).await).await, "answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_refuses_the_reload_as_a_whole() {
    let upstream = fixed_origin("text/plain", "before").await;
    let other = fixed_origin("text/plain", "after").await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let daemon = Daemon::start(&web(&[&route_to(upstream, "")]));
    let with_taken = format!(
        "{}  more:\n    proto: http\n    net: {{addr: '{}'}}\n",
        web(&[&route_to(other, "")]),
        taken.local_addr().unwrap()
    );
    daemon.rewrite(&with_taken);
    daemon.logged("services.more.net.addr: cannot listen on ").await;
    assert_eq!(text(get(&daemon.uri("/")).await).await, "before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_meets_the_new_routes_with_its_next_request() {
    let one = fixed_origin("text/plain", "the one").await;
    let two = fixed_origin("text/plain", "the two").await;
    let daemon = Daemon::start(&web(&[&route_to(one, "")]));
    let mut stream = TcpStream::connect(daemon.addr("web")).await.unwrap();
    for (upstream, expected) in [(None, "the one"), (Some(two), "the two")] {
        if let Some(upstream) = upstream {
            daemon.rewrite(&web(&[&route_to(upstream, "")]));
            daemon.logged("configuration reloaded").await;
        }
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        expect(&mut stream, expected).await;
    }
    assert_eq!(daemon.count("connections").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_named_and_the_rest_takes_effect() {
    let one = fixed_origin("text/plain", "one").await;
    let two = fixed_origin("text/plain", "two").await;
    let daemon = Daemon::start(&web(&[&route_to(one, "")]));
    daemon.rewrite(&format!(
        "upstream_ports: 40000-40100\n{}",
        web(&[&route_to(two, "")])
    ));
    daemon
        .logged("a restart is needed for changes of `upstream_ports`")
        .await;
    daemon.logged("configuration reloaded").await;
    assert_eq!(text(get(&daemon.uri("/")).await).await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_moves_goes_and_comes() {
    let upstream = fixed_origin("text/plain", "x").await;
    let daemon = Daemon::start(&web(&[&route_to(upstream, "")]));
    let first = daemon.admin();
    let config = fs::read_to_string(daemon.work.join("routes.yml")).unwrap();
    let replace = |with: &str| {
        let text = config.replace("admin: {addr: '127.0.0.1:0'}", with);
        fs::write(daemon.work.join("new.yml"), text).unwrap();
        fs::rename(daemon.work.join("new.yml"), daemon.work.join("routes.yml")).unwrap();
    };
    replace("");
    daemon.logged("configuration reloaded").await;
    until("the end of the admin listener", || {
        std::net::TcpStream::connect(first).is_err()
    })
    .await;
    replace("admin: {addr: '127.0.0.2:0'}");
    daemon.logged_times("configuration reloaded", 2).await;
    assert_ne!(daemon.admin(), first);
    assert_eq!(daemon.metric("xrtc_reloads_total{result=\"applied\"}").await, 2);
    // Somebody has the next one: nothing changes.
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    replace(&format!("admin: {{addr: '{}'}}", taken.local_addr().unwrap()));
    daemon.logged("admin.addr: cannot listen on ").await;
    let me = format!("process {} (", std::process::id());
    assert!(daemon.log().contains(&me), "who has it is named");
    assert_eq!(daemon.metric("xrtc_reloads_total{result=\"refused\"}").await, 1);
}

/// As Kubernetes mounts a ConfigMap: the file is a symlink to `..data/routes.yml`, and `..data` one to a directory,
/// which is replaced as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_symlink_swapped_on_the_way_to_the_file_is_a_change() {
    let one = fixed_origin("text/plain", "one").await;
    let two = fixed_origin("text/plain", "two").await;
    let daemon = Daemon::start(&web(&[&route_to(one, "")]));
    let original = fs::read_to_string(daemon.work.join("routes.yml")).unwrap();
    let work = tokio::task::spawn_blocking(|| daemon.stop()).await.unwrap();
    for (name, text) in [
        ("..1", original.clone()),
        ("..2", original.replace(&one.to_string(), &two.to_string())),
    ] {
        fs::create_dir(work.join(name)).unwrap();
        fs::write(work.join(name).join("routes.yml"), text).unwrap();
    }
    symlink("..1", work.join("..data")).unwrap();
    fs::remove_file(work.join("routes.yml")).unwrap();
    symlink("..data/routes.yml", work.join("routes.yml")).unwrap();
    fs::remove_file(work.join("xrtc.log")).unwrap();
    let daemon = Daemon::start_from(work, &[]);
    assert_eq!(text(get(&daemon.uri("/")).await).await, "one");
    symlink("..2", daemon.work.join("..data_tmp")).unwrap();
    fs::rename(daemon.work.join("..data_tmp"), daemon.work.join("..data")).unwrap();
    daemon.logged("configuration reloaded").await;
    assert_eq!(text(get(&daemon.uri("/")).await).await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told() {
    let upstream = fixed_origin("text/plain", "x").await;
    let work = WorkDir::new().unwrap();
    let path = work.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let next = || {
        let mut message = [0; 256];
        let len = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..len]).into_owned()
    };
    let config = web(&[&route_to(upstream, "")]);
    let environment = [("NOTIFY_SOCKET", path.display().to_string())];
    let daemon = Daemon::start_in(work, &config, &environment);
    assert_eq!(next().trim_end(), "READY=1");
    daemon.signal("HUP");
    let reloading = next();
    assert!(
        reloading.contains("RELOADING=1\n") && reloading.contains("MONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(next().trim_end(), "READY=1");
    daemon.signal("TERM");
    assert_eq!(next().trim_end(), "STOPPING=1");
}
