//! Static files as players and browsers ask for them.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use xrtc_testing::lab::WorkDir;

use crate::client::{get, send, text};
use crate::daemon::{Daemon, web};

fn start(files: &[(&str, &str)], more: &str) -> Daemon {
    let work = WorkDir::new().unwrap();
    for (name, content) in files {
        let path = work.join("root").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    Daemon::start_in(work, &web(&["root: DIR/root", more]), &[])
}

async fn ask(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
    let request = headers
        .iter()
        .fold(Request::get(daemon.uri(path)), |request, (name, value)| {
            request.header(*name, *value)
        });
    send(request.body(Full::<Bytes>::default()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_have_the_types_that_players_want() {
    let types = [
        ("a.m3u8", "application/vnd.apple.mpegurl"),
        ("a.mpd", "application/dash+xml"),
        ("a.m4s", "video/iso.segment"),
        ("a.ts", "video/mp2t"),
        ("a.mp4", "video/mp4"),
        ("a.M4A", "audio/mp4"),
        ("a.vtt", "text/vtt"),
        ("a.wasm", "application/wasm"),
        ("a.html", "text/html"),
    ];
    let files: Vec<_> = types.iter().map(|(name, _)| (*name, "x")).collect();
    let daemon = start(&files, "");
    for (name, expected) in types {
        let response = get(&daemon.uri(&format!("/{name}"))).await;
        assert_eq!(response.headers()["content-type"], expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges() {
    let daemon = start(&[("a.mp4", "0123456789"), ("a.mp4.gz", "gzip")], "");
    for (range, status, content_range, body) in [
        ("bytes=0-3", 206, "bytes 0-3/10", "0123"),
        ("bytes=4-", 206, "bytes 4-9/10", "456789"),
        ("bytes=-2", 206, "bytes 8-9/10", "89"),
        ("bytes=5-100", 206, "bytes 5-9/10", "56789"),
        ("bytes=10-", 416, "bytes */10", ""),
    ] {
        // A range is of the plain file, whatever else the client takes.
        let response = ask(
            &daemon,
            "/a.mp4",
            &[("range", range), ("accept-encoding", "gzip")],
        )
        .await;
        assert_eq!(response.status(), status, "{range}");
        assert_eq!(response.headers()["content-range"], content_range, "{range}");
        assert!(!response.headers().contains_key("content-encoding"), "{range}");
        assert_eq!(text(response).await, body, "{range}");
    }
    let whole = ask(&daemon, "/a.mp4", &[]).await;
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    assert_eq!(text(whole).await, "0123456789");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions() {
    let daemon = start(&[("a.js", "content")], "");
    let path = daemon.work.join("root/a.js");
    age(&path, Duration::from_secs(3600));
    let first = get(&daemon.uri("/a.js")).await;
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    let modified = first.headers()["last-modified"].to_str().unwrap().to_owned();
    for (name, value, status) in [
        ("if-none-match", etag.as_str(), 304),
        ("if-none-match", "\"another\"", 200),
        ("if-modified-since", modified.as_str(), 304),
        ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ("if-match", "\"another\"", 412),
        ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 412),
    ] {
        let response = ask(&daemon, "/a.js", &[(name, value)]).await;
        assert_eq!(response.status(), status, "{name}: {value}");
        let expected = if status == 200 { "content" } else { "" };
        assert_eq!(text(response).await, expected, "{name}: {value}");
    }
    fs::write(&path, "changed").unwrap();
    let response = ask(&daemon, "/a.js", &[("if-none-match", &etag)]).await;
    assert_eq!(
        (response.status().as_u16(), text(response).await.as_str()),
        (200, "changed")
    );
}

fn age(path: &Path, by: Duration) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - by).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn precompressed_siblings_are_for_those_who_take_them() {
    let files = [
        ("a.js", "plain"),
        ("a.js.gz", "gzip"),
        ("a.js.br", "brotli"),
        ("a.js.zst", "zstd"),
        ("b.css", "plain"),
        ("b.css.gz", "gzip"),
    ];
    let daemon = start(&files, "");
    for (path, accepted, coding) in [
        ("/a.js", "", ""),
        ("/a.js", "gzip", "gzip"),
        ("/a.js", "gzip, deflate, br", "br"),
        ("/a.js", "zstd", "zstd"),
        ("/a.js", "gzip;q=0", ""),
        ("/b.css", "br, gzip", "gzip"),
        ("/b.css", "br", ""),
    ] {
        let response = ask(&daemon, path, &[("accept-encoding", accepted)]).await;
        let headers = response.headers().clone();
        let got = headers
            .get("content-encoding")
            .map_or("", |value| value.to_str().unwrap());
        assert_eq!(got, coding, "{path} for {accepted:?}");
        let kind = if path == "/a.js" {
            "text/javascript"
        } else {
            "text/css"
        };
        assert_eq!(headers["content-type"], kind, "the type is the file's own");
        assert_eq!(headers["vary"], "accept-encoding");
        let body = match coding {
            "br" => "brotli",
            "" => "plain",
            other => other,
        };
        assert_eq!(text(response).await, body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_stands_in_for_those_that_are_not_there() {
    let files = [
        ("index.html", "app"),
        ("a.js", "script"),
        ("dir/index.html", "dir"),
    ];
    let daemon = start(&files, "try: /index.html");
    for (path, expected) in [
        ("/", "app"),
        ("/a.js", "script"),
        ("/dir/", "dir"),
        ("/some/view", "app"),
        ("/a.js/x?y=z", "app"),
    ] {
        let response = get(&daemon.uri(path)).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(text(response).await, expected, "{path}");
    }
    let view = get(&daemon.uri("/some/view")).await;
    assert_eq!(view.headers()["content-type"], "text/html");
    fs::remove_file(daemon.work.join("root/index.html")).unwrap();
    assert_eq!(get(&daemon.uri("/some/view")).await.status(), 404);
}
