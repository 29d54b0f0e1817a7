//! However the first bytes are cut into segments, the same is made of them.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::door::{Door, Pki, Setup};
use crate::wire::{Cut, GET, GET_H2, ICE, TlsClient, cut_stream, expect};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x13\x88\x01\xbb";
/// libwebrtc's fake hello.
pub(crate) const SSLTCP: &[u8] = b"\x80\x46\x01\x03\x01\x00\x2d\x00\x00\x00\x10\x01\x00\x80\x03\x00\x80\x07\x00\xc0\
    \x06\x00\x40\x02\x00\x80\x04\x00\x80\x00\x00\x04\x00\xfe\xff\x00\x00\x0a\x00\xfe\xfe\x00\x00\x09\x00\x00\x64\
    \x00\x00\x62\x00\x00\x03\x00\x00\x06\x1f\x17\x0c\xa6\x2f\x00\x78\xfc\x46\x55\x2e\xb1\x83\x39\xf1\xea";

/// The length of what it is answered with.
pub(crate) const SSLTCP_ANSWER_LEN: usize = 79;

async fn trusting() -> Door {
    let setup = Setup {
        trusted_proxies: vec!["127.0.0.0/8"],
        ..Setup::default()
    };
    setup.start().await
}

fn cuts(len: usize) -> impl Iterator<Item = Cut> {
    (1..len).map(Cut::At).chain([Cut::EveryByte(len)])
}

/// Sends a stream's beginning in every cut, and wants this in the answer.
async fn every_cut(door: &Door, stream: &[u8], answer: &[u8]) {
    for cut in cuts(stream.len()) {
        let mut io = cut_stream(door.addr, cut).await;
        io.write_all(stream).await.unwrap();
        let got = expect(&mut io, answer).await;
        assert!(!got.is_empty(), "{cut:?}");
    }
}

#[tokio::test]
async fn http1() {
    every_cut(&trusting().await, GET, b"GET /path?q=1\n").await;
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let door = trusting().await;
    every_cut(&door, GET_H2, b"GET /\n").await;
    assert_eq!(door.count("http2_connections"), GET_H2.len() as u64);
}

#[tokio::test]
async fn ice_tcp() {
    let door = trusting().await;
    every_cut(&door, ICE, ICE).await;
    assert_eq!(door.count("ice_tcp_connections"), ICE.len() as u64);
}

#[tokio::test]
async fn ice_tcp_behind_the_fake_hello() {
    every_cut(&trusting().await, &[SSLTCP, ICE].concat(), ICE).await;
}

#[tokio::test]
async fn the_fake_hello_is_answered_before_anything_follows_it() {
    let door = trusting().await;
    let mut io = cut_stream(door.addr, Cut::At(0)).await;
    io.write_all(SSLTCP).await.unwrap();
    let mut hello = [0; SSLTCP_ANSWER_LEN];
    io.read_exact(&mut hello).await.unwrap();
    assert_eq!(hello[..6], *b"\x16\x03\x01\x00\x4a\x02");
    io.write_all(ICE).await.unwrap();
    expect(&mut io, ICE).await;
}

#[tokio::test]
async fn proxy_headers_before_http_and_ice() {
    let door = trusting().await;
    for header in [V1, V2] {
        every_cut(&door, &[header, GET].concat(), b"x-real-ip: 192.0.2.7\n").await;
        every_cut(&door, &[header, ICE].concat(), ICE).await;
    }
    let taken = door.ice.0.lock().unwrap();
    assert!(
        taken
            .iter()
            .all(|conn| conn.remote == "192.0.2.7:5000".parse().unwrap())
    );
    assert!(
        taken
            .iter()
            .all(|conn| conn.local == "192.0.2.1:443".parse().unwrap())
    );
}

#[tokio::test]
async fn tls_and_what_is_inside() {
    let pki = Pki::new();
    let setup = Setup {
        certificates: vec![pki.make("a", &["a.example"])],
        trusted_proxies: vec!["127.0.0.0/8"],
        ..Setup::default()
    };
    let door = setup.start().await;
    let inside: [(&[u8], &[u8]); 3] = [
        (GET, b"x-forwarded-proto: https\n"),
        (GET_H2, b"x-forwarded-proto: https\n"),
        (ICE, ICE),
    ];
    for (stream, answer) in inside {
        for cut in (1..40).map(Cut::At).chain([Cut::EveryByte(150)]) {
            let io = cut_stream(door.addr, cut).await;
            let mut io = TlsClient::new().over(io, "a.example").await.unwrap();
            io.write_all(stream).await.unwrap();
            expect(&mut io, answer).await;
        }
    }
    // One record for every byte of what is inside.
    for (stream, answer) in inside {
        let mut io = cut_stream(door.addr, Cut::At(V2.len())).await;
        io.write_all(V2).await.unwrap();
        let mut io = TlsClient::new().over(io, "a.example").await.unwrap();
        for byte in stream {
            io.write_all(&[*byte]).await.unwrap();
            io.flush().await.unwrap();
        }
        expect(&mut io, answer).await;
    }
}

#[tokio::test]
async fn a_client_hello_in_many_records() {
    let pki = Pki::new();
    let setup = Setup {
        certificates: vec![pki.make("a", &["a.example"])],
        ..Setup::default()
    };
    let door = setup.start().await;
    let mut io = TlsClient::new().fragments(32).connect(&door, "a.example").await;
    io.write_all(GET).await.unwrap();
    expect(&mut io, b"x-forwarded-proto: https\n").await;
}
