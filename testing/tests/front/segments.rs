//! However the first bytes are cut into segments, the same is made of them.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::TcpStream;

use crate::door::{Door, Pki, Setup};
use crate::wire::{Cut, GET, GET_H2, ICE, TlsClient, cut_stream, expect};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x13\x88\x01\xbb";
/// libwebrtc's fake hello.
pub(crate) const SSLTCP: &[u8] = b"\x80\x46\x01\x03\x01\x00\x2d\x00\x00\x00\x10\x01\x00\x80\x03\x00\x80\x07\x00\xc0\
    \x06\x00\x40\x02\x00\x80\x04\x00\x80\x00\x00\x04\x00\xfe\xff\x00\x00\x0a\x00\xfe\xfe\x00\x00\x09\x00\x00\x64\
    \x00\x00\x62\x00\x00\x03\x00\x00\x06\x1f\x17\x0c\xa6\x2f\x00\x78\xfc\x46\x55\x2e\xb1\x83\x39\xf1\xea";

/// The same before a frame.
const SSLTCP_AND_ICE: &[u8] = {
    const BOTH: [u8; SSLTCP.len() + ICE.len()] = {
        let mut both = [0; SSLTCP.len() + ICE.len()];
        both.split_at_mut(SSLTCP.len()).0.copy_from_slice(SSLTCP);
        both.split_at_mut(SSLTCP.len()).1.copy_from_slice(ICE);
        both
    };
    &BOTH
};
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
    every_cut(&trusting().await, SSLTCP_AND_ICE, ICE).await;
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
async fn proxy_headers_before_everything_that_is_not_tls() {
    let door = trusting().await;
    for header in [V1, V2] {
        every_cut(&door, &[header, GET].concat(), b"x-real-ip: 192.0.2.7\n").await;
        every_cut(&door, &[header, GET_H2].concat(), b"x-real-ip: 192.0.2.7\n").await;
        every_cut(&door, &[header, ICE].concat(), ICE).await;
        every_cut(&door, &[header, SSLTCP_AND_ICE].concat(), ICE).await;
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

async fn trusting_with_tls() -> Door {
    let pki = Pki::new();
    let setup = Setup {
        certificates: vec![pki.make("a", &["a.example"])],
        trusted_proxies: vec!["127.0.0.0/8"],
        ..Setup::default()
    };
    setup.start().await
}

/// What may be inside TLS, and what its answer shows.
const INSIDE: [(&[u8], &[u8]); 4] = [
    (GET, b"x-forwarded-proto: https\n"),
    (GET_H2, b"x-forwarded-proto: https\n"),
    (ICE, ICE),
    (SSLTCP_AND_ICE, ICE),
];

/// How many bytes this client's hello has.
async fn hello_len() -> usize {
    let (client, mut server) = duplex(64 * 1024);
    let handshake = tokio::spawn(async move { TlsClient::new().over(client, "a.example").await });
    let mut record = [0; 5];
    server.read_exact(&mut record).await.unwrap();
    handshake.abort();
    record.len() + usize::from(u16::from_be_bytes([record[3], record[4]]))
}

/// Sends what is inside TLS after a header and a hello that are cut.
async fn tls_in_cut(door: &Door, header: &[u8], cut: Cut, (stream, answer): (&[u8], &[u8])) {
    let mut io = cut_stream(door.addr, cut).await;
    io.write_all(header).await.unwrap();
    let mut io = TlsClient::new().over(io, "a.example").await.unwrap();
    io.write_all(stream).await.unwrap();
    let got = expect(&mut io, answer).await;
    assert!(!got.is_empty(), "{cut:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_cut_anywhere_in_its_hello() {
    let (door, len) = (trusting_with_tls().await, hello_len().await);
    assert!(len > 200, "{len}");
    for (at, cut) in cuts(len).enumerate() {
        // What is inside comes after all of this: it is enough to have each of them many times.
        tls_in_cut(&door, b"", cut, INSIDE[at % INSIDE.len()]).await;
    }
    for inside in INSIDE {
        tls_in_cut(&door, b"", Cut::EveryByte(len), inside).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_headers_before_tls() {
    let door = trusting_with_tls().await;
    for header in [V1, V2] {
        // A little way into the hello: where the one ends and the other begins is what differs.
        let len = header.len() + 16;
        for (at, cut) in cuts(len).enumerate() {
            tls_in_cut(&door, header, cut, INSIDE[at % INSIDE.len()]).await;
        }
        for inside in INSIDE {
            tls_in_cut(&door, header, Cut::EveryByte(len), inside).await;
        }
    }
    let taken = door.ice.0.lock().unwrap();
    assert!(
        taken
            .iter()
            .all(|conn| conn.remote == "192.0.2.7:5000".parse().unwrap() && conn.secure)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_inside_tls_in_records_of_any_size() {
    let door = trusting_with_tls().await;
    for (stream, answer) in INSIDE {
        for cut in cuts(stream.len()) {
            let io = TcpStream::connect(door.addr).await.unwrap();
            let mut io = TlsClient::new().over(io, "a.example").await.unwrap();
            let ends: Vec<usize> = match cut {
                Cut::At(at) => vec![at, stream.len()],
                Cut::EveryByte(len) => (1..=len).collect(),
            };
            let mut begin = 0;
            for end in ends {
                io.write_all(&stream[begin..end]).await.unwrap();
                io.flush().await.unwrap();
                begin = end;
            }
            let got = expect(&mut io, answer).await;
            assert!(!got.is_empty(), "{cut:?}");
        }
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
