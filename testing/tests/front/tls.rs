//! TLS: versions, names, ALPN, plain HTTP beside it, and certificates that change.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;
use xrtc::config::TlsFiles;

use crate::door::{Door, Pki, SOON, Setup};
use crate::wire::{GET, GET_H2, TlsClient, exchange, expect, rest, shown};

async fn serving(certificates: Vec<TlsFiles>) -> Door {
    let setup = Setup {
        certificates,
        ..Setup::default()
    };
    setup.start().await
}

fn certificate(files: &TlsFiles) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&files.crt).unwrap()
}

async fn get(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        .await
        .unwrap();
    String::from_utf8(expect(stream, b" bytes\n").await).unwrap()
}

#[tokio::test]
async fn http_and_https_share_the_port() {
    let pki = Pki::new();
    let door = serving(vec![pki.make("a", &["a.example"])]).await;
    let plain = String::from_utf8(exchange(&door, GET).await).unwrap();
    assert!(plain.contains("x-forwarded-proto: http\n"), "{plain}");
    let mut secure = TlsClient::new().connect(&door, "a.example").await;
    let text = get(&mut secure).await;
    assert!(text.contains("x-forwarded-proto: https\n"), "{text}");
    assert_eq!(door.count("tls_connections"), 1);
}

#[tokio::test]
async fn the_certificate_is_the_one_for_the_name() {
    let pki = Pki::new();
    let first = pki.make("first", &["first.example"]);
    let exact = pki.make("exact", &["exact.wild.example", "other.example"]);
    let wild = pki.make("wild", &["*.Wild.example"]);
    let door = serving(vec![first.clone(), wild.clone(), exact.clone()]).await;
    for (name, files) in [
        ("first.example", &first),
        ("exact.wild.example", &exact),
        ("OTHER.example", &exact),
        ("any.wild.example", &wild),
        ("too.deep.wild.example", &first),
        ("wild.example", &first),
        ("unknown.example", &first),
        ("127.0.0.1", &first),
    ] {
        let stream = TlsClient::new().connect(&door, name).await;
        assert_eq!(shown(&stream), certificate(files), "{name}");
    }
}

#[tokio::test]
async fn versions_1_2_and_1_3_and_no_other() {
    let pki = Pki::new();
    let door = serving(vec![pki.make("a", &["a.example"])]).await;
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut stream = TlsClient::of_versions(&[version])
            .connect(&door, "a.example")
            .await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        get(&mut stream).await;
    }
    for minor in 0..3 {
        let answer = exchange(&door, &old_hello(minor)).await;
        // An alert of two bytes: fatal, handshake_failure or protocol_version.
        let reason = answer.last().copied();
        assert_eq!((answer[0], &answer[3..6]), (21, &[0, 2, 2][..]), "SSL 3.{minor}");
        assert!(matches!(reason, Some(40 | 70)), "SSL 3.{minor}: {reason:?}");
    }
    door.counted("tls_failed", 3).await;
}

/// A ClientHello of version 3.`minor` with one cipher suite and no extension.
fn old_hello(minor: u8) -> Vec<u8> {
    let body = [&[3, minor][..], &[7; 32], &[0, 0, 2, 0x00, 0x2f, 1, 0]].concat();
    let len = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, len + 4, 1, 0, 0, len][..], &body].concat()
}

#[tokio::test]
async fn alpn_offers_both_versions_of_http() {
    let pki = Pki::new();
    let door = serving(vec![pki.make("a", &["a.example"])]).await;
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = TlsClient::new().alpn(offered).connect(&door, "a.example").await;
        let alpn = stream.get_ref().1.alpn_protocol();
        assert_eq!(alpn, chosen.map(str::as_bytes), "{offered:?}");
    }
    let stream = TcpStream::connect(door.addr).await.unwrap();
    let other = TlsClient::new().alpn(&["smtp"]).over(stream, "a.example").await;
    assert!(other.is_err(), "nothing in common");
}

/// RFC 9113 section 3.4: an invalid preface is a connection error, for which GOAWAY may be left out.
#[tokio::test]
async fn what_negotiated_h2_is_not_answered_as_http1() {
    let pki = Pki::new();
    let door = serving(vec![pki.make("a", &["a.example"])]).await;
    let mut stream = TlsClient::new().alpn(&["h2"]).connect(&door, "a.example").await;
    stream.write_all(GET).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(!answer.starts_with(b"HTTP/"), "{}", answer.escape_ascii());
    door.counted("connections_unreadable", 1).await;
}

#[tokio::test]
async fn without_alpn_the_bytes_count() {
    let pki = Pki::new();
    let door = serving(vec![pki.make("a", &["a.example"])]).await;
    for offered in [&[][..], &["http/1.1"]] {
        let mut stream = TlsClient::new().alpn(offered).connect(&door, "a.example").await;
        stream.write_all(GET_H2).await.unwrap();
        expect(&mut stream, b" bytes\n").await;
    }
}

#[tokio::test]
async fn websockets_over_tls() {
    let pki = Pki::new();
    let door = serving(vec![pki.make("a", &["a.example"])]).await;
    let stream = TlsClient::new().connect(&door, "a.example").await;
    let (mut socket, _) = tokio_tungstenite::client_async("wss://a.example/ws", stream)
        .await
        .unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
}

/// Waits until new connections are shown a certificate.
async fn comes_to_show(door: &Door, files: &TlsFiles) {
    let deadline = Instant::now() + SOON;
    while shown(&TlsClient::new().connect(door, "a.example").await) != certificate(files) {
        assert!(Instant::now() < deadline, "the certificate does not change");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_and_no_connection_is_lost() {
    let pki = Pki::new();
    let files = pki.make("a", &["a.example"]);
    let other = pki.make("b", &["b.example"]);
    let door = serving(vec![files.clone(), other.clone()]).await;
    let mut old = TlsClient::new().connect(&door, "a.example").await;
    get(&mut old).await;

    pki.make("a", &["a.example"]);
    comes_to_show(&door, &files).await;
    assert_eq!(
        door.count("certificates_reloaded"),
        1,
        "the other has not changed"
    );
    get(&mut old).await;

    // Behind a symlink that is swapped, as Kubernetes does it.
    let fresh = pki.make("fresh", &["a.example"]);
    for (new, name) in [(&fresh.crt, &files.crt), (&fresh.key, &files.key)] {
        let link = name.with_extension("link");
        std::os::unix::fs::symlink(new, &link).unwrap();
        std::fs::rename(&link, name).unwrap();
    }
    comes_to_show(&door, &fresh).await;
    get(&mut old).await;
}

#[tokio::test]
async fn a_broken_replacement_keeps_what_was_there() {
    let pki = Pki::new();
    let files = pki.make("a", &["a.example"]);
    let good = certificate(&files);
    let door = serving(vec![files.clone()]).await;
    std::fs::write(&files.crt, "nothing of use").unwrap();
    door.counted("certificates_refused", 1).await;
    assert_eq!(shown(&TlsClient::new().connect(&door, "a.example").await), good);
    std::fs::remove_file(&files.key).unwrap();
    door.counted("certificates_refused", 2).await;
    assert_eq!(shown(&TlsClient::new().connect(&door, "a.example").await), good);
    pki.make("a", &["a.example"]);
    comes_to_show(&door, &files).await;
}

#[tokio::test]
async fn plain_http_is_redirected_where_that_is_asked_for() {
    let pki = Pki::new();
    let setup = Setup {
        certificates: vec![pki.make("a", &["a.example"])],
        redirect_https: true,
        ..Setup::default()
    };
    let door = setup.start().await;
    let answer = exchange(
        &door,
        b"GET /x?y=1 HTTP/1.1\r\nHost: a.example:6443\r\nConnection: close\r\n\r\n",
    )
    .await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert!(
        answer.contains("location: https://a.example:6443/x?y=1\r\n"),
        "{answer}"
    );
    let acme = b"GET /.well-known/acme-challenge/t HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(exchange(&door, acme).await.starts_with(b"HTTP/1.1 200 "));
    let nowhere = exchange(&door, b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(
        nowhere.starts_with(b"HTTP/1.0 400 "),
        "{}",
        nowhere.escape_ascii()
    );
    let mut secure = TlsClient::new().connect(&door, "a.example").await;
    assert!(get(&mut secure).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(door.count("redirected"), 2);
}

#[tokio::test]
async fn what_came_to_a_trusted_proxy_over_tls_is_not_redirected() {
    for (trusted, status) in [(vec!["127.0.0.0/8"], "200"), (vec![], "308")] {
        let setup = Setup {
            redirect_https: true,
            trusted_proxies: trusted,
            ..Setup::default()
        };
        let door = setup.start().await;
        let request =
            b"GET / HTTP/1.1\r\nHost: a.example:80\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
        let answer = String::from_utf8(exchange(&door, request).await).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(
            answer.contains("location: https://a.example/\r\n"),
            status == "308",
            "{answer}"
        );
    }
}
