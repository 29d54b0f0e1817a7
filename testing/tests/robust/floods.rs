//! Too much of what a protocol allows: headers without end, and frames that ask for work and nothing else. The
//! connection ends, the memory stays as it is, and others are served meanwhile.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use xrtc_testing::lab::report;

use crate::client::{get, raw};
use crate::daemon::{Daemon, route_to, web};
use crate::h2::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Outcome, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, headers, outcome,
};
use crate::memory::Peak;
use crate::origin::{fixed_origin, origin};

/// Frames of a flood.
const MANY: u32 = 100_000;
/// More than buffers and the allocator's whims; far less than the floods.
const FLAT: u64 = 12 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// A server whose answer to `/held` never comes.
async fn scene() -> Daemon {
    let upstream = origin(|request| async move {
        if request.uri().path() == "/held" {
            std::future::pending::<()>().await;
        }
        crate::origin::respond("text/plain", "served")
    })
    .await;
    Daemon::start(&web(&[&route_to(upstream, "")]))
}

/// Requests of another client, one after the other until it is dropped; fails with the first that does.
struct Other(JoinHandle<()>);

impl Other {
    fn of(daemon: &Daemon) -> Self {
        let uri = daemon.uri("/other");
        Self(tokio::spawn(async move {
            loop {
                let began = Instant::now();
                assert_eq!(get(&uri).await.status(), 200);
                assert!(began.elapsed() < PATIENCE, "another client had to wait");
            }
        }))
    }

    fn end(self) {
        assert!(!self.0.is_finished(), "another client was not served");
        self.0.abort();
    }
}

/// Sends pieces until the server ends the connection or there are no more, and tells how it ended.
async fn flood(daemon: &Daemon, first: &[u8], pieces: impl Iterator<Item = Vec<u8>>) -> Outcome {
    let stream = h2::send(daemon.addr("web"), first).await;
    let (mut from, mut to) = stream.into_split();
    let reading = tokio::spawn(async move { outcome(&mut from, u32::MAX).await });
    let mut batch = Vec::new();
    for piece in pieces {
        batch.extend_from_slice(&piece);
        if batch.len() > 16 * 1024 {
            if to.write_all(&batch).await.is_err() {
                break;
            }
            batch.clear();
        }
    }
    let _ = to.write_all(&batch).await;
    reading.await.unwrap()
}

fn request(stream: u32, flags: u8, method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [
        (":method", method),
        (":scheme", "http"),
        (":path", "/held"),
        (":authority", "h"),
        ("content-type", "image/png"),
    ];
    headers(stream, flags, &[&fields, more].concat())
}

/// Each flood by what it is called, what opens it, and its frames.
type Flood = (&'static str, Vec<u8>, Box<dyn Iterator<Item = Vec<u8>> + Send>);

fn again(frame: Vec<u8>) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
    Box::new(std::iter::repeat_n(frame, MANY as usize))
}

fn streams() -> impl Iterator<Item = u32> {
    (0..MANY).map(|number| 2 * number + 1)
}

fn floods() -> Vec<Flood> {
    let open = || request(1, 0, "POST", &[]);
    let head = frame(HEADERS, 0, 1, &h2::block(&[(":method", "GET")]));
    let rapid = streams().map(|id| {
        let reset = frame(RST_STREAM, 0, id, &[0, 0, 0, 8]);
        [request(id, END_STREAM, "GET", &[]), reset].concat()
    });
    // CVE-2025-8671: each stream is opened well and then broken, so that it is the server who resets.
    let overflow = streams().map(|id| {
        let window = frame(WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff]);
        [request(id, END_STREAM, "GET", &[]), window].concat()
    });
    let nothing = streams().map(|id| {
        let window = frame(WINDOW_UPDATE, 0, id, &[0; 4]);
        [request(id, END_STREAM, "GET", &[]), window].concat()
    });
    let self_dependent = streams().map(|id| {
        let [a, b, c, d] = id.to_be_bytes();
        let priority = frame(PRIORITY, 0, id, &[a, b, c, d, 0]);
        [request(id, END_STREAM, "GET", &[]), priority].concat()
    });
    let too_long = streams().map(|id| {
        let data = frame(DATA, END_STREAM, id, b"longer");
        [request(id, 0, "POST", &[("content-length", "1")]), data].concat()
    });
    vec![
        (
            "CONTINUATION",
            head.clone(),
            again(frame(CONTINUATION, 0, 1, &h2::block(&[("x-a", "1")]))),
        ),
        ("empty CONTINUATION", head, again(frame(CONTINUATION, 0, 1, b""))),
        ("rapid reset", Vec::new(), Box::new(rapid)),
        ("resets by overflowing windows", Vec::new(), Box::new(overflow)),
        ("resets by windows of nothing", Vec::new(), Box::new(nothing)),
        (
            "resets by streams that depend on themselves",
            Vec::new(),
            Box::new(self_dependent),
        ),
        (
            "resets by bodies beyond their length",
            Vec::new(),
            Box::new(too_long),
        ),
        ("SETTINGS", Vec::new(), again(frame(SETTINGS, 0, 0, b""))),
        (
            "SETTINGS that change",
            Vec::new(),
            again(frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0, 0, 4, 0, 0, 16, 0])),
        ),
        (
            "acknowledged SETTINGS",
            Vec::new(),
            again(frame(SETTINGS, 1, 0, b"")),
        ),
        ("PING", Vec::new(), again(frame(PING, 0, 0, &[7; 8]))),
        ("acknowledged PING", Vec::new(), again(frame(PING, 1, 0, &[7; 8]))),
        ("empty DATA", open(), again(frame(DATA, 0, 1, b""))),
        ("DATA of padding only", open(), again(frame(DATA, 8, 1, &[0]))),
        (
            "WINDOW_UPDATE of the connection",
            Vec::new(),
            again(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ),
        (
            "WINDOW_UPDATE of a stream",
            open(),
            again(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ),
        (
            "PRIORITY",
            Vec::new(),
            Box::new(streams().map(|id| frame(PRIORITY, 0, id, &[0, 0, 0, 0, 9]))),
        ),
        (
            "frames of no known type",
            Vec::new(),
            again(frame(0xee, 0, 0, b"?")),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_end_their_connection_and_take_no_memory() {
    let daemon = scene().await;
    assert_eq!(get(&daemon.uri("/")).await.status(), 200);
    let other = Other::of(&daemon);
    let mut wrong = Vec::new();
    for (name, first, pieces) in floods() {
        let peak = Peak::of(daemon.id());
        let began = Instant::now();
        let outcome = flood(&daemon, &first, pieces).await;
        let growth = peak.growth();
        report(format_args!(
            "{name}: {outcome:?} after {:?}, {} KiB more",
            began.elapsed(),
            growth >> 10
        ));
        if growth > FLAT || !matches!(outcome, Outcome::GoAway(1..) | Outcome::Closed) {
            wrong.push(format!("{name}: {outcome:?}, {growth} bytes more"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    other.end();
    assert!(daemon.count("http2_flood").await > 0);
}

/// Header lists that are too large in one way or another.
fn blocks() -> Vec<(&'static str, Vec<u8>)> {
    let filler = "x".repeat(16_000);
    let value = filler.as_str();
    let many: Vec<(&str, &str)> = vec![("x-a", "1"); 3000];
    // One entry of the dynamic table (RFC 7541 section 6.2.1), then references to it: 4 KB for each byte.
    let entry = [&[0x40, 3][..], b"x-a", &[127, 0xa1, 0x1e], &[b'x'; 4000]].concat();
    let bomb = [
        h2::block(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "h"),
        ]),
        entry,
        vec![0xbe; 8000],
    ]
    .concat();
    // Huffman codes of five bits each (RFC 7541 appendix B): 8/5 of the bytes sent.
    let huffman = [&[0, 3][..], b"x-a", &[0xff, 0x81, 0x7c], &[0x19_u8; 16_000]].concat();
    vec![
        (
            "one long field",
            h2::block(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "h"),
                ("x-a", value),
                ("x-b", value),
                ("x-c", value),
                ("x-d", value),
                ("x-e", value),
            ]),
        ),
        (
            "many fields",
            h2::block(
                &[
                    &[
                        (":method", "GET"),
                        (":scheme", "http"),
                        (":path", "/"),
                        (":authority", "h"),
                    ],
                    many.as_slice(),
                ]
                .concat(),
            ),
        ),
        ("references", bomb),
        (
            "compressed",
            [
                h2::block(&[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":path", "/"),
                    (":authority", "h"),
                ]),
                huffman.repeat(5),
            ]
            .concat(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_list_of_http_2_has_a_size() {
    let daemon = scene().await;
    for (name, block) in blocks() {
        let peak = Peak::of(daemon.id());
        let mut pieces = block.chunks(16_000);
        let mut bytes = frame(HEADERS, END_STREAM, 1, pieces.next().unwrap());
        let count = pieces.len();
        for (number, piece) in pieces.enumerate() {
            let flags = if number + 1 == count { END_HEADERS } else { 0 };
            bytes.extend(frame(CONTINUATION, flags, 1, piece));
        }
        let mut stream = h2::send(daemon.addr("web"), &bytes).await;
        let outcome = outcome(&mut stream, 1).await;
        let growth = peak.growth();
        report(format_args!("{name}: {outcome:?}, {} KiB more", growth >> 10));
        // 431 is in no static table.
        assert!(
            matches!(
                outcome,
                Outcome::Status(0) | Outcome::Reset(_) | Outcome::GoAway(_)
            ),
            "{name}: {outcome:?}"
        );
        assert!(growth < FLAT, "{name}: {growth} bytes more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_http_1_has_a_size_and_a_number_of_fields() {
    let daemon = scene().await;
    let addr = daemon.addr("web");
    let other = Other::of(&daemon);
    let peak = Peak::of(daemon.id());
    let start = "GET / HTTP/1.1\r\nHost: h\r\n";
    for (name, request, expected) in [
        (
            "one long field",
            format!("{start}X-A: {}\r\n\r\n", "x".repeat(1 << 20)),
            "431",
        ),
        (
            "many fields",
            format!("{start}{}\r\n", "X-A: 1\r\n".repeat(100_000)),
            "431",
        ),
        (
            "101 fields",
            format!("{start}{}\r\n", "X-A: 1\r\n".repeat(101)),
            "431",
        ),
        (
            "a long name",
            format!("{start}{}: 1\r\n\r\n", "x".repeat(1 << 20)),
            "431",
        ),
        (
            "a long target",
            format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(1 << 20)),
            "431",
        ),
        (
            "an empty line first",
            format!("\r\n{start}Connection: close\r\n\r\n"),
            "200",
        ),
        (
            "empty lines first",
            format!("{}{start}Connection: close\r\n\r\n", "\r\n".repeat(3)),
            "nothing",
        ),
        ("empty lines without end", "\r\n".repeat(1 << 20), "nothing"),
    ] {
        let answer = raw(addr, &request).await;
        let told = answer.split(' ').nth(1).unwrap_or("nothing");
        assert!(told == expected, "{name}: {answer:?}");
    }
    let growth = peak.growth();
    assert!(growth < FLAT, "{growth} bytes more");
    other.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_head_and_never_ends_is_cut_at_its_size() {
    let upstream = fixed_origin("text/plain", "x").await;
    let daemon = Daemon::start(&web(&[&route_to(upstream, "")]));
    let peak = Peak::of(daemon.id());
    let mut stream = TcpStream::connect(daemon.addr("web")).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nX-A: ").await.unwrap();
    let sending = async {
        let mut sent = 0;
        while stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {
            sent += 64 * 1024;
        }
        sent
    };
    // What comes behind the refusal is read for a while, and not kept.
    let sent: usize = timeout(PATIENCE, sending).await.expect("an end");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let growth = peak.growth();
    assert!(growth < FLAT, "{growth} bytes more after {sent}");
}
