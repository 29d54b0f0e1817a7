//! `net.per_network`: the connections of one client network, whatever they carry.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{connect_from, expect};
use crate::daemon::{Daemon, route_to, until, web};
use crate::origin::fixed_origin;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const BOUND: &str = "'127.0.0.1:0', per_network: {v4: 32, connections: 2}";

async fn daemon(net: &str) -> (Daemon, String) {
    let upstream = fixed_origin("text/plain", "served").await;
    let config = web(&[&route_to(upstream, "")]).replace("'127.0.0.1:0'", net);
    (Daemon::start(&config), config)
}

/// A connection that was served once, and stays.
async fn served(from: &str, addr: SocketAddr, first: &[u8]) -> TcpStream {
    let mut stream = connect_from(from, addr).await;
    stream.write_all(&[first, GET].concat()).await.unwrap();
    expect(&mut stream, "\r\n\r\nserved").await;
    stream
}

/// Whether a connection is closed without a word.
async fn is_refused(from: &str, addr: SocketAddr, first: &[u8]) -> bool {
    let mut stream = connect_from(from, addr).await;
    // It may be closed already.
    let _ = stream.write_all(&[first, GET].concat()).await;
    matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_has_so_many_connections_and_other_networks_have_their_own() {
    let (daemon, _) = daemon(BOUND).await;
    let addr = daemon.addr("web");
    let first = served("127.0.0.1", addr, b"").await;
    let _second = served("127.0.0.1", addr, b"").await;
    assert!(is_refused("127.0.0.1", addr, b"").await);
    assert_eq!(daemon.count("connections_refused_network").await, 1);
    let _other = served("127.0.0.2", addr, b"").await;
    drop(first);
    until("room", || std::net::TcpStream::connect(addr).is_ok()).await;
    while is_refused("127.0.0.1", addr, b"").await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_a_trusted_proxy_counts_and_the_proxy_does_not() {
    let (daemon, _) = daemon(&format!("{BOUND}, trusted_proxies: [127.0.0.0/8]")).await;
    let addr = daemon.addr("web");
    let of = |client: &str| format!("PROXY TCP4 {client} 192.0.2.1 5000 80\r\n").into_bytes();
    let mut held = Vec::new();
    for client in ["198.51.100.1", "198.51.100.1", "198.51.100.2"] {
        held.push(served("127.0.0.1", addr, &of(client)).await);
    }
    assert!(is_refused("127.0.0.1", addr, &of("198.51.100.1")).await);
    assert_eq!(daemon.count("connections_refused_network").await, 1);
    for _ in 0..3 {
        held.push(served("127.0.0.1", addr, b"").await);
    }
    held.remove(0);
    while is_refused("127.0.0.1", addr, &of("198.51.100.1")).await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_may_change_it_and_what_is_open_stays_and_counts() {
    let (daemon, config) = daemon(BOUND).await;
    let addr = daemon.addr("web");
    let mut first = served("127.0.0.1", addr, b"").await;
    let second = served("127.0.0.1", addr, b"").await;
    daemon.rewrite(&config.replace("connections: 2", "connections: 3"));
    daemon.logged_times("configuration reloaded", 1).await;
    let third = served("127.0.0.1", addr, b"").await;
    assert!(is_refused("127.0.0.1", addr, b"").await);
    daemon.rewrite(&config.replace("connections: 2", "connections: 1"));
    daemon.logged_times("configuration reloaded", 2).await;
    drop(second);
    first.write_all(GET).await.unwrap();
    expect(&mut first, "served").await;
    assert!(
        is_refused("127.0.0.1", addr, b"").await,
        "it has one too many still"
    );
    drop((first, third));
    while is_refused("127.0.0.1", addr, b"").await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn ice_over_tcp_counts_with_http() {
    // A Binding request in an RFC 4571 frame, as far as it tells what it is; no more comes.
    const ICE: &[u8] = b"\x00\x1c\x00\x01\x00\x08\x21\x12\xa4\x42abcdefghijkl";
    let upstream = fixed_origin("text/plain", "served").await;
    let config = web(&[&route_to(upstream, "")])
        .replace("'127.0.0.1:0'", &format!("{BOUND}, enable_ice: true"))
        .replace("proto: http", "proto: tcp\n    enable_http: true");
    let daemon = Daemon::start(&config);
    let addr = daemon.addr("web");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect_from("127.0.0.1", addr).await;
        stream.write_all(ICE).await.unwrap();
        held.push(stream);
    }
    while daemon.count("ice_tcp_connections").await < 2 {}
    assert!(is_refused("127.0.0.1", addr, b"").await);
    let _other = served("127.0.0.2", addr, b"").await;
}
