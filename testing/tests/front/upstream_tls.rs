//! TLS towards upstreams: whose certificates are taken.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use xrtc::config::{Scheme, Server, TlsFiles, UpstreamGroup, UpstreamTls};

use crate::door::{Door, Pki, Setup};
use crate::origin;
use crate::wire::exchange;

fn group(name: &str, addr: SocketAddr, tls: UpstreamTls) -> UpstreamGroup {
    let server = |scheme| Server {
        // Failures are the point here; they must not make it count as down.
        max_fails: 0,
        ..Server::new(scheme, addr.ip().to_string(), addr.port())
    };
    UpstreamGroup {
        tls,
        ..UpstreamGroup::new(name, vec![server(Scheme::Https), server(Scheme::Wss)])
    }
}

async fn serving(groups: Vec<UpstreamGroup>) -> Door {
    let setup = Setup {
        groups,
        ..Setup::default()
    };
    setup.start().await
}

fn signed_by(files: &TlsFiles) -> UpstreamTls {
    UpstreamTls {
        ca: Some(files.crt.clone()),
        ..UpstreamTls::default()
    }
}

/// The status of a request to the group of this number.
async fn status(door: &Door, group: usize) -> String {
    let request = format!("GET /{group} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8(exchange(door, request.as_bytes()).await).unwrap();
    answer[9..12].to_owned()
}

async fn websocket(door: &Door, group: usize) -> Result<(), Error> {
    let stream = TcpStream::connect(door.addr).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://a.example/{group}"), stream).await?;
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap()?, Message::text("hello"));
    Ok(())
}

#[tokio::test]
async fn certificates_are_verified_against_the_groups_own_roots() {
    let pki = Pki::new();
    let files = pki.make("upstream", &["127.0.0.1"]);
    let other = pki.make("other", &["127.0.0.1"]);
    let addr = origin::start_tls(&files).await;
    let door = serving(vec![
        group("right", addr, signed_by(&files)),
        group("wrong", addr, signed_by(&other)),
        group("system", addr, UpstreamTls::default()),
    ])
    .await;
    for (number, expected) in [(0, "200"), (1, "502"), (2, "502")] {
        assert_eq!(status(&door, number).await, expected, "{number}");
        assert_eq!(
            websocket(&door, number).await.is_ok(),
            expected == "200",
            "{number}"
        );
    }
}

#[tokio::test]
async fn the_name_is_verified_and_may_be_another() {
    let pki = Pki::new();
    let files = pki.make("upstream", &["janus.internal"]);
    let addr = origin::start_tls(&files).await;
    let named = |name: &str| UpstreamTls {
        server_name: Some(name.to_owned()),
        ..signed_by(&files)
    };
    let door = serving(vec![
        group("its address", addr, signed_by(&files)),
        group("its name", addr, named("janus.internal")),
        group("another name", addr, named("other.internal")),
    ])
    .await;
    for (number, expected) in [(0, "502"), (1, "200"), (2, "502")] {
        assert_eq!(status(&door, number).await, expected, "{number}");
    }
}

#[tokio::test]
async fn insecure_takes_everything_and_only_for_its_own_group() {
    let pki = Pki::new();
    let files = pki.make("upstream", &["other.internal"]);
    let addr = origin::start_tls(&files).await;
    let insecure = UpstreamTls {
        insecure: true,
        ..UpstreamTls::default()
    };
    let door = serving(vec![
        group("insecure", addr, insecure),
        group("secure", addr, UpstreamTls::default()),
    ])
    .await;
    assert_eq!(status(&door, 0).await, "200");
    assert!(websocket(&door, 0).await.is_ok());
    assert_eq!(
        status(&door, 1).await,
        "502",
        "no connection of the other group serves it"
    );
    assert!(websocket(&door, 1).await.is_err());
}

#[tokio::test]
async fn http2_is_spoken_to_servers_that_choose_it_and_websockets_go_by_http1() {
    let pki = Pki::new();
    let files = pki.make("upstream", &["127.0.0.1"]);
    let both = origin::start_alpn(&files, &["h2", "http/1.1"]).await;
    let old = origin::start_alpn(&files, &["http/1.1"]).await;
    let door = serving(vec![
        group("both", both, signed_by(&files)),
        group("old", old, signed_by(&files)),
    ])
    .await;
    // Over HTTP/2 the origin sees the whole URL, and the host that was asked for in it.
    for (number, seen) in [(0, "GET https://a.example/0\n"), (1, "GET /1\n")] {
        let request = format!("GET /{number} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        for _ in 0..2 {
            let answer = String::from_utf8(exchange(&door, request.as_bytes()).await).unwrap();
            assert!(answer.contains(seen), "{answer}");
        }
        websocket(&door, number).await.unwrap();
    }
}
