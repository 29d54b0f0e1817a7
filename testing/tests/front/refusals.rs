//! What is not served is closed and counted, each for its reason.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use xrtc::http::Limits;

use crate::door::{Door, Pki, Setup};
use crate::wire::{GET, GET_H2, ICE, TlsClient, exchange, expect, rest};

async fn refused(door: &Door, bytes: &[u8], counter: &str) {
    let before = door.count(counter);
    assert_eq!(exchange(door, bytes).await, b"", "{}", bytes.escape_ascii());
    door.counted(counter, before + 1).await;
}

fn hasty() -> Limits {
    Limits {
        first_bytes_timeout: Duration::from_millis(50),
        ..Limits::default()
    }
}

#[tokio::test]
async fn nothing_known() {
    let door = Setup::default().start().await;
    for bytes in [
        &b"SSH-2.0-x\r\n"[..],
        b"\0\x01\0\x58\x21\x12\xa4\x42............",
        b"\x80\x2e\x01",
        b"\xff",
    ] {
        if bytes[0].is_ascii_uppercase() {
            // A method, as far as anyone can tell: HTTP's own answer.
            assert!(exchange(&door, bytes).await.starts_with(b"HTTP/1.1 400 "));
        } else {
            refused(&door, bytes, "front_unknown").await;
        }
    }
}

#[tokio::test]
async fn what_this_service_does_not_serve() {
    let setup = Setup {
        http: false,
        ice: false,
        ..Setup::default()
    };
    let door = setup.start().await;
    refused(&door, GET, "http_refused").await;
    refused(&door, GET_H2, "http_refused").await;
    refused(&door, ICE, "ice_tcp_refused").await;
    refused(&door, b"\x80\x46\x01\x03\x01", "ice_tcp_refused").await;
    refused(
        &door,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "tls_refused",
    )
    .await;
}

#[tokio::test]
async fn tls_inside_tls() {
    let pki = Pki::new();
    let setup = Setup {
        certificates: vec![pki.make("a", &["a.example"])],
        trusted_proxies: vec!["127.0.0.0/8"],
        ..Setup::default()
    };
    let door = setup.start().await;
    let outer = TlsClient::new().connect(&door, "a.example").await;
    assert!(TlsClient::new().over(outer, "a.example").await.is_err());
    door.counted("tls_refused", 1).await;
    let mut outer = TlsClient::new().connect(&door, "a.example").await;
    outer.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    assert_eq!(rest(&mut outer).await, b"");
    door.counted("front_unknown", 1).await;
}

#[tokio::test]
async fn slow_beginnings_of_every_kind() {
    let pki = Pki::new();
    let setup = Setup {
        certificates: vec![pki.make("a", &["a.example"])],
        trusted_proxies: vec!["127.0.0.0/8"],
        limits: hasty(),
        ..Setup::default()
    };
    let door = setup.start().await;
    for beginning in [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0\r\n",
        &ICE[..9],
        b"PROXY TCP4 ",
        b"PROXY UNKNOWN\r\n",
        b"\x16\x03",
    ] {
        refused(&door, beginning, "front_timeout").await;
    }
    refused(
        &door,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "tls_timeout",
    )
    .await;
    let before = door.count("front_timeout");
    let mut inside = TlsClient::new().connect(&door, "a.example").await;
    assert_eq!(rest(&mut inside).await, b"");
    door.counted("front_timeout", before + 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_at_once() {
    let door = Setup::default().start().await;
    drop(TcpStream::connect(door.addr).await.unwrap());
    door.counted("front_left", 1).await;
}

#[tokio::test]
async fn a_handshake_that_is_none() {
    let pki = Pki::new();
    let setup = Setup {
        certificates: vec![pki.make("a", &["a.example"])],
        ..Setup::default()
    };
    let door = setup.start().await;
    let answer = exchange(&door, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff").await;
    assert_eq!(answer[..1], [21], "an alert");
    door.counted("tls_failed", 1).await;
}

#[tokio::test]
async fn connections_at_the_door_do_not_outlast_a_drain() {
    let door = Setup::default().start().await;
    let mut waiting = TcpStream::connect(door.addr).await.unwrap();
    let mut ice = TcpStream::connect(door.addr).await.unwrap();
    ice.write_all(ICE).await.unwrap();
    expect(&mut ice, ICE).await;
    door.counted("connections", 2).await;
    let ending = tokio::spawn(door.server.shutdown(Duration::from_millis(100)));
    assert_eq!(rest(&mut waiting).await, b"");
    ice.write_all(ICE).await.unwrap();
    expect(&mut ice, ICE).await;
    ending.await.unwrap();
    assert_eq!(rest(&mut ice).await, b"");
}
