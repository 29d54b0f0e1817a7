//! What two servers might read in two ways (RFC 9112 section 11.2, request smuggling): refused, or read in one way and
//! passed on in plain words. Every request is followed by another on the same connection, which is answered only where
//! it is beyond doubt where the first ends.

use crate::door::{Door, Setup};
use crate::wire::exchange;

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

/// The statuses of all answers, and all of them.
async fn answers(door: &Door, request: &str) -> (Vec<u16>, String) {
    let all = exchange(door, format!("{request}{NEXT}").as_bytes()).await;
    let all = String::from_utf8_lossy(&all).into_owned();
    let statuses = ["HTTP/1.1 ", "HTTP/1.0 "]
        .iter()
        .flat_map(|version| all.match_indices(version))
        .filter_map(|(at, version)| all[at + version.len()..][..3].parse().ok());
    (statuses.collect(), all)
}

/// Refused, and the connection closed with what else came on it.
async fn end_at_once(door: &Door, requests: &[String]) {
    for request in requests {
        let (statuses, all) = answers(door, request).await;
        assert_eq!(statuses, [400], "{}: {all}", request.escape_debug());
    }
}

/// Refused, but whole.
async fn are_refused(door: &Door, requests: &[String]) {
    for request in requests {
        let (statuses, all) = answers(door, request).await;
        assert_eq!(statuses, [400, 200], "{}: {all}", request.escape_debug());
        assert_eq!(all.matches("GET /next\n").count(), 1, "{all}");
    }
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a.example\r\n{headers}\r\n{body}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

fn get(headers: &str) -> String {
    format!("GET / HTTP/1.1\r\n{headers}\r\n")
}

#[tokio::test]
async fn lengths_that_are_none() {
    let door = Setup::default().start().await;
    let lengths = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length : 5\r\n",
    ];
    end_at_once(&door, &lengths.map(|header| post(header, "hello"))).await;
}

#[tokio::test]
async fn codings_that_are_not_chunked() {
    let door = Setup::default().start().await;
    let unreadable = ["gzip", "chunked, gzip", "xchunked", "identity", "\x0bchunked"];
    let unreadable = unreadable.map(|coding| post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"));
    end_at_once(&door, &unreadable).await;
    let of_http_1_0 = "POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned();
    let misspelt = post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n");
    end_at_once(&door, &[of_http_1_0, misspelt]).await;
    let more_than_chunked = [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ];
    are_refused(&door, &more_than_chunked.map(|header| post(header, "0\r\n\r\n"))).await;
}

/// RFC 9112 section 6.3: read as chunked, passed on without the length, and the last request of its connection.
#[tokio::test]
async fn a_length_and_a_coding() {
    let door = Setup::default().start().await;
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let (statuses, all) = answers(&door, &post(headers, "3\r\nabc\r\n0\r\n\r\n")).await;
        assert_eq!(statuses, [200], "{all}");
        assert!(all.ends_with("\n3 bytes\n"), "{all}");
        assert!(!all.contains("content-length: 5"), "{all}");
    }
}

#[tokio::test]
async fn chunks_that_are_none() {
    let door = Setup::default().start().await;
    let bodies = [
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "zz\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX0\r\n\r\n",
    ];
    end_at_once(&door, &bodies.map(chunked)).await;
    let (statuses, all) = answers(&door, &chunked("5;a=b\r\nhello\r\n0\r\n\r\n")).await;
    assert_eq!(statuses, [200, 200], "{all}");
    assert!(all.contains("\n5 bytes\n"), "{all}");
}

#[tokio::test]
async fn lines_that_are_none() {
    let door = Setup::default().start().await;
    let headers = [
        "Host: a\r\nX: b\r\n c\r\n",
        " Host: a\r\n",
        "Host: a\r\nX: a\rb\r\n",
        "Host: a\r\nX Y: z\r\n",
        "Host: a\r\n: z\r\n",
        "Host: a\r\nnone\r\n",
        "Host: a\r\nX: a\0b\r\n",
        "Host: a\r\nX\0: b\r\n",
        "Host: a\r\nX: a\x07b\r\n",
    ];
    end_at_once(&door, &headers.map(get)).await;
    let lines = [
        "GET /\0 HTTP/1.1",
        "GE(T / HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET  / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /",
    ];
    end_at_once(&door, &lines.map(|line| format!("{line}\r\nHost: a\r\n\r\n"))).await;
    // RFC 9112 section 2.2 lets a server take a bare LF for the end of a line; upstream it is CRLF.
    let (statuses, all) = answers(&door, "GET / HTTP/1.1\nHost: a\nX: y\n\n").await;
    assert_eq!(statuses, [200, 200], "{all}");
    assert!(all.contains("\nx: y\n"), "{all}");
}

#[tokio::test]
async fn hosts() {
    let door = Setup::default().start().await;
    let hosts = [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: u@a\r\n",
    ];
    are_refused(&door, &hosts.map(get)).await;
    let targets = ["a.example:80", "*"];
    are_refused(
        &door,
        &targets.map(|target| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")),
    )
    .await;
    // RFC 9112 section 3.2.2: the target's host takes the place of the header's.
    let (statuses, all) = answers(
        &door,
        "GET http://b.example/y HTTP/1.1\r\nHost: a.example\r\n\r\n",
    )
    .await;
    assert_eq!(statuses, [200, 200], "{all}");
    assert!(
        all.contains("GET /y\n") && all.contains("\nhost: b.example\n"),
        "{all}"
    );
    // HTTP/1.0 need not name a host; to the upstream, xrtc must.
    let (statuses, all) = answers(&door, "GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(statuses, [200], "{all}");
    assert!(all.contains("\nhost: 127.0.0.1:"), "{all}");
}
