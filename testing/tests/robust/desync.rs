//! Requests over HTTP/1.1 that two servers might read in two ways: the upstream gets one that cannot be misread, or
//! none.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::daemon::{Daemon, route_to, web};
use crate::witness::Witness;

/// Behind every attack: a request that must never be taken out of the body or the head that hides it.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(5);
/// At the end of an answer that has none.
const OPEN: &str = " and no end";

/// An attack, the status that the client gets first, and what the upstream sees of it: nothing, or one request in
/// which this is found.
type Case = (&'static str, String, &'static str, Option<&'static str>);

fn post(fields: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")
}

/// Two lengths, or one that is none.
fn lengths() -> Vec<Case> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let attack = |fields: &str| post(fields, &format!("0\r\n\r\n{HIDDEN}"));
    let refused = |name, fields: &str| (name, attack(fields), "400", None);
    // The chunks count, and nothing behind them (RFC 9112 section 6.3).
    let cut_off = |name, fields: &str| (name, attack(fields), "200", Some("POST /a "));
    let unknown = |name, fields: &str| (name, attack(fields), "501", None);
    vec![
        cut_off("CL.TE", &format!("Content-Length: 5\r\n{chunked}")),
        cut_off("TE.CL", &format!("{chunked}Content-Length: 5\r\n")),
        cut_off("CL 0 and TE", &format!("Content-Length: 0\r\n{chunked}")),
        refused("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        refused("a list of two lengths", "Content-Length: 5, 6\r\n"),
        refused("a signed length", "Content-Length: +5\r\n"),
        refused("a negative length", "Content-Length: -5\r\n"),
        refused("a hexadecimal length", "Content-Length: 0x5\r\n"),
        refused("an empty length", "Content-Length: \r\n"),
        refused("a length with a space", "Content-Length: 5 5\r\n"),
        refused(
            "a length beyond 64 bits",
            "Content-Length: 18446744073709551621\r\n",
        ),
        refused("chunked, identity", "Transfer-Encoding: chunked, identity\r\n"),
        refused("identity", "Transfer-Encoding: identity\r\n"),
        refused("xchunked", "Transfer-Encoding: xchunked\r\n"),
        unknown("gzip before chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        unknown("chunked twice", &format!("{chunked}{chunked}")),
        refused("quoted chunked", "Transfer-Encoding: \"chunked\"\r\n"),
        refused(
            "chunked behind a vertical tab",
            "Transfer-Encoding: \x0bchunked\r\n",
        ),
        refused(
            "chunked and then not",
            &format!("{chunked}Transfer-Encoding: cow\r\n"),
        ),
        (
            "chunked in HTTP/1.0",
            post(chunked, "0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0"),
            "400",
            None,
        ),
    ]
}

/// Heads that are none.
fn heads() -> Vec<Case> {
    let refused = |name, request: &str| (name, format!("{request}\r\n{HIDDEN}"), "400", None);
    vec![
        refused(
            "a space before the colon",
            "GET /a HTTP/1.1\r\nHost: h\r\nX-A : 1\r\n",
        ),
        refused("a folded field", "GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n 2\r\n"),
        refused(
            "a field that begins with a space",
            "GET /a HTTP/1.1\r\n X-A: 1\r\nHost: h\r\n",
        ),
        refused(
            "a bare CR in a value",
            "GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\rX-B: 2\r\n",
        ),
        refused(
            "a bare CR in a name",
            "GET /a HTTP/1.1\r\nHost: h\r\nX\r-A: 1\r\n",
        ),
        refused("a NUL in a value", "GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\0\r\n"),
        refused("a NUL in a name", "GET /a HTTP/1.1\r\nHost: h\r\nX\0A: 1\r\n"),
        refused("a NUL in the path", "GET /a\0 HTTP/1.1\r\nHost: h\r\n"),
        refused("no colon", "GET /a HTTP/1.1\r\nHost: h\r\nX-A\r\n"),
        refused("no name", "GET /a HTTP/1.1\r\nHost: h\r\n: 1\r\n"),
        refused("no host", "GET /a HTTP/1.1\r\nX-A: 1\r\n"),
        refused("two hosts", "GET /a HTTP/1.1\r\nHost: h\r\nHost: i\r\n"),
        refused("a host that is none", "GET /a HTTP/1.1\r\nHost: h/x?y\r\n"),
        refused("a host with a space", "GET /a HTTP/1.1\r\nHost: h i\r\n"),
        refused("a host with a user", "GET /a HTTP/1.1\r\nHost: u@h\r\n"),
        refused("a path with a space", "GET /a b HTTP/1.1\r\nHost: h\r\n"),
        refused("a path without a slash", "GET a HTTP/1.1\r\nHost: h\r\n"),
        refused("a version that is none", "GET /a HTTP/1.2\r\nHost: h\r\n"),
        refused("a version in words", "GET /a HTTP/x.y\r\nHost: h\r\n"),
        refused("a method that is none", "G(T /a HTTP/1.1\r\nHost: h\r\n"),
    ]
}

/// Chunked bodies that are none.
fn chunks() -> Vec<Case> {
    let chunked = |name, body: &str| {
        let request = post("Transfer-Encoding: chunked\r\n", &format!("{body}{HIDDEN}"));
        (name, request, "400", None)
    };
    vec![
        chunked(
            "a chunk size beyond 64 bits",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        chunked("a chunk size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        chunked("a signed chunk size", "+5\r\nhello\r\n0\r\n\r\n"),
        chunked("an empty chunk size", "\r\nhello\r\n0\r\n\r\n"),
        chunked("a chunk longer than its size", "3\r\nhello\r\n0\r\n\r\n"),
        chunked("a bare LF after the chunk size", "5\nhello\r\n0\r\n\r\n"),
        chunked("a bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        chunked("a bare CR after the chunk size", "5\rhello\r\n0\r\n\r\n"),
        chunked(
            "too much of extensions",
            &format!("1;{}\r\na\r\n", "x".repeat(20_000)),
        ),
        chunked(
            "extensions again and again",
            &format!("{}0\r\n\r\n", "1;xxxxxxxx\r\na\r\n".repeat(3000)),
        ),
        chunked(
            "too many trailers",
            &format!("0\r\n{}\r\n", "X-A: 1\r\n".repeat(5000)),
        ),
        chunked("a trailer that is none", "0\r\nX A: 1\r\n\r\n"),
    ]
}

/// What is well-formed, and must come through as just that.
fn taken() -> Vec<Case> {
    let close = "Connection: close\r\n";
    let get = |fields: &str| format!("GET /a HTTP/1.1\r\nHost: h\r\n{close}{fields}\r\n");
    let chunked = format!("{close}Transfer-Encoding: chunked\r\n");
    vec![
        (
            "lines that end with LF",
            get("X-A: 1\r\n").replace("\r\n", "\n"),
            "200",
            Some("x-a: 1\n"),
        ),
        (
            "one length twice",
            post(
                &format!("{close}Content-Length: 5\r\nContent-Length: 5\r\n"),
                "hello",
            ),
            "200",
            Some("\ncontent-length: 5\n"),
        ),
        (
            "a length on a GET",
            get("Content-Length: 5\r\n") + "hello",
            "200",
            Some("\n\nhello"),
        ),
        (
            "chunked in capitals",
            post(
                &format!("{close}TRANSFER-ENCODING: Chunked\r\n"),
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            "200",
            Some("\n\nhello"),
        ),
        (
            "an extension",
            post(&chunked, "5;a=\"b\"\r\nhello\r\n0\r\n\r\n"),
            "200",
            Some("\n\nhello"),
        ),
    ]
}

/// The same, where this hop has something to take away or to decide.
fn decided() -> Vec<Case> {
    let close = "Connection: close\r\n";
    let get = |fields: &str| format!("GET /a HTTP/1.1\r\nHost: h\r\n{close}{fields}\r\n");
    let chunked = format!("{close}Transfer-Encoding: chunked\r\n");
    vec![
        (
            "the target's host before that of the header",
            format!("GET http://b.example/a HTTP/1.1\r\nHost: a.example\r\n{close}\r\n"),
            "200",
            Some("host: b.example\n"),
        ),
        (
            "a length that ends at this hop",
            post(
                "Connection: close, content-length\r\nContent-Length: 5\r\n",
                "hello",
            ),
            "200",
            Some("\n\nhello"),
        ),
        (
            "a coding that ends at this hop",
            post(
                "Connection: close, transfer-encoding\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            "200",
            Some("\n\nhello"),
        ),
        (
            "a host that ends at this hop",
            get("Connection: host\r\n"),
            "200",
            Some("host: h\n"),
        ),
        (
            "an upgrade to HTTP/2",
            get(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            ),
            "200",
            Some("GET /a "),
        ),
        (
            "trailers that may not be",
            post(
                &chunked,
                "5\r\nhello\r\n0\r\nContent-Length: 9\r\nHost: i\r\nTransfer-Encoding: x\r\nAuthorization: x\r\n\r\n",
            ),
            "200",
            Some("\n\nhello"),
        ),
    ]
}

/// All that comes back until the connection ends.
async fn exchange(daemon: &Daemon, request: &str) -> String {
    let mut stream = TcpStream::connect(daemon.addr("web")).await.unwrap();
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let end = if read.is_ok() { "" } else { OPEN };
    String::from_utf8_lossy(&answer).into_owned() + end
}

async fn run(cases: Vec<Case>) {
    let witness = Witness::start().await;
    let daemon = Daemon::start(&web(&[&route_to(witness.addr, "")]));
    let mut wrong = Vec::new();
    for (name, request, status, expected) in cases {
        let answer = exchange(&daemon, &request).await;
        let seen = witness.take();
        let told = answer.split(' ').nth(1).unwrap_or("nothing");
        let passed = match (expected, seen.requests.as_slice()) {
            (None, []) => true,
            (Some(text), [request]) => request.contains(text) && !request.contains("h2c"),
            (None | Some(_), _) => false,
        };
        let answers = answer.matches("HTTP/1.1 ").count();
        if answer.ends_with(" and no end")
            || told != status
            || !passed
            || answers != 1
            || !seen.faults.is_empty()
        {
            wrong.push(format!("{name}: {answer:?}, the upstream saw {seen:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_one_length() {
    run(lengths()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_one_or_is_refused() {
    run(heads()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_one_or_is_refused() {
    run(chunks()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_well_formed_comes_through_once() {
    run(taken()).await;
    run(decided()).await;
}
