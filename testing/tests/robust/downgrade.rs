//! Requests over HTTP/2 that would be another, or more than one, once they are written down as HTTP/1.1.

use crate::daemon::{Daemon, route_to, web};
use crate::h2::{DATA, END_STREAM, Outcome, frame, headers, outcome, send};
use crate::witness::Witness;

const PROTOCOL_ERROR: u32 = 1;
const REQUEST: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a"),
    (":authority", "h"),
];

type Fields = Vec<(&'static str, &'static str)>;

fn with(more: &[(&'static str, &'static str)]) -> Fields {
    [&REQUEST, more].concat()
}

/// The same request with another value of one of its pseudo-header fields.
fn but(name: &'static str, value: &'static str) -> Fields {
    REQUEST
        .iter()
        .map(|&(known, was)| (known, if known == name { value } else { was }))
        .collect()
}

fn malformed() -> Vec<(&'static str, Fields)> {
    vec![
        ("CRLF in a value", with(&[("x-a", "1\r\nx-b: 2")])),
        ("LF in a value", with(&[("x-a", "1\nx-b: 2")])),
        ("CR in a value", with(&[("x-a", "1\rx-b: 2")])),
        ("NUL in a value", with(&[("x-a", "1\x002")])),
        ("CRLF in a name", with(&[("x-a: 1\r\nx-b", "2")])),
        ("a colon in a name", with(&[("x-a: 1", "2")])),
        ("a space in a name", with(&[("x a", "2")])),
        ("capitals in a name", with(&[("X-A", "2")])),
        ("no name", with(&[("", "2")])),
        ("a space in the path", but(":path", "/a HTTP/1.1")),
        (
            "CRLF in the path",
            but(":path", "/a HTTP/1.1\r\nHost: i\r\n\r\nGET /hidden"),
        ),
        ("an empty path", but(":path", "")),
        ("a path without a slash", but(":path", "a")),
        (
            "CRLF in the method",
            but(":method", "GET /hidden HTTP/1.1\r\nHost: i\r\n\r\nPOST"),
        ),
        ("a space in the method", but(":method", "GET /hidden")),
        ("CRLF in the authority", but(":authority", "h\r\nx-b: 2")),
        ("a space in the authority", but(":authority", "h i")),
        ("a path in the authority", but(":authority", "h/x")),
        ("a user in the authority", but(":authority", "u@h")),
        ("an empty authority", but(":authority", "")),
        ("CRLF in the scheme", but(":scheme", "http\r\nx")),
        ("a coding", with(&[("transfer-encoding", "chunked")])),
        ("a connection", with(&[("connection", "close")])),
        ("an upgrade", with(&[("upgrade", "h2c")])),
        ("a proxy's connection", with(&[("proxy-connection", "close")])),
        ("TE other than trailers", with(&[("te", "chunked")])),
        ("another host", with(&[("host", "i")])),
        ("two hosts", with(&[("host", "h"), ("host", "h")])),
        ("two paths", with(&[(":path", "/b")])),
        ("a late pseudo-header", with(&[("x-a", "1"), (":method", "GET")])),
        ("an unknown pseudo-header", with(&[(":x", "1")])),
        (
            "no path",
            vec![(":method", "GET"), (":scheme", "http"), (":authority", "h")],
        ),
        (
            "no method",
            vec![(":path", "/a"), (":scheme", "http"), (":authority", "h")],
        ),
        (
            "no scheme",
            vec![(":path", "/a"), (":method", "GET"), (":authority", "h")],
        ),
        (
            "no authority",
            vec![(":path", "/a"), (":method", "GET"), (":scheme", "http")],
        ),
        (
            "two lengths",
            with(&[("content-length", "5"), ("content-length", "6")]),
        ),
        ("a length that is none", with(&[("content-length", "+5")])),
    ]
}

async fn scene() -> (Witness, Daemon) {
    let witness = Witness::start().await;
    let daemon = Daemon::start(&web(&[&route_to(witness.addr, "")]));
    (witness, daemon)
}

fn is_refusal(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Status(400) | Outcome::Reset(PROTOCOL_ERROR) | Outcome::GoAway(PROTOCOL_ERROR)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_never_reaches_an_upstream() {
    let (witness, daemon) = scene().await;
    let mut wrong = Vec::new();
    for (name, fields) in malformed() {
        let bytes = [headers(1, 0, &fields), frame(DATA, END_STREAM, 1, b"hello")].concat();
        let mut stream = send(daemon.addr("web"), &bytes).await;
        let outcome = outcome(&mut stream, 1).await;
        let seen = witness.take();
        if !is_refusal(outcome) || !seen.requests.is_empty() || !seen.faults.is_empty() {
            wrong.push(format!("{name}: {outcome:?}, the upstream saw {seen:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_is_that_of_the_data() {
    let (witness, daemon) = scene().await;
    let sized = |length| with(&[("content-length", length), ("content-type", "image/png")]);
    let hello = |flags| frame(DATA, flags, 1, b"hello");
    for (name, bytes) in [
        ("less", [headers(1, 0, &sized("6")), hello(END_STREAM)].concat()),
        ("more", [headers(1, 0, &sized("4")), hello(END_STREAM)].concat()),
        ("none", headers(1, END_STREAM, &sized("5"))),
        (
            "less in the trailers' stead",
            [
                headers(1, 0, &sized("6")),
                hello(0),
                headers(1, END_STREAM, &[("x-a", "1")]),
            ]
            .concat(),
        ),
    ] {
        let mut stream = send(daemon.addr("web"), &bytes).await;
        let outcome = outcome(&mut stream, 1).await;
        assert!(is_refusal(outcome), "{name}: {outcome:?}");
        let seen = witness.take();
        assert!(
            seen.requests.is_empty() && seen.faults.is_empty(),
            "{name}: {seen:#?}"
        );
    }
    let bytes = [headers(1, 0, &sized("5")), hello(END_STREAM)].concat();
    let mut stream = send(daemon.addr("web"), &bytes).await;
    assert_eq!(outcome(&mut stream, 1).await, Outcome::Status(200));
    let seen = witness.take();
    assert!(seen.faults.is_empty() && seen.requests.len() == 1, "{seen:#?}");
    assert!(seen.requests[0].contains("\ncontent-length: 5\n"), "{seen:#?}");
    assert!(seen.requests[0].ends_with("\n\nhello"), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_that_may_not_be_are_not_passed_on() {
    let (witness, daemon) = scene().await;
    let trailers = [("content-length", "9"), ("host", "i"), ("authorization", "x")];
    let bytes = [
        headers(
            1,
            0,
            &with(&[("content-type", "image/png"), ("trailer", "x-a, host")]),
        ),
        frame(DATA, 0, 1, b"hello"),
        headers(1, END_STREAM, &trailers),
    ];
    let mut stream = send(daemon.addr("web"), &bytes.concat()).await;
    outcome(&mut stream, 1).await;
    let seen = witness.take();
    assert!(seen.faults.is_empty() && seen.requests.len() <= 1, "{seen:#?}");
}
