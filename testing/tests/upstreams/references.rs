//! Headers that name the upstream, and what a trusted proxy says, over real sockets.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use xrtc::config::Scheme;

use crate::front::{Setup, route, send, text};
use crate::origin::{echo_origin, origin, respond};

#[tokio::test]
async fn a_redirect_to_the_upstream_becomes_one_to_us() {
    let upstream = origin(|request| async move {
        let host = request.headers()["x-test-name"].to_str().unwrap();
        let mut response = respond("text/plain", "moved");
        *response.status_mut() = 302.try_into().unwrap();
        let headers = response.headers_mut();
        headers.insert("location", format!("http://{host}/b/there?x").parse().unwrap());
        let link = format!("<http://{host}/b/next>; rel=\"next\", </b/up>; rel=up");
        headers.insert("link", link.parse().unwrap());
        headers.insert("content-location", "/b/here".parse().unwrap());
        response
    })
    .await;
    let mut setup = Setup::to(&[(Scheme::Http, upstream)]);
    setup.http.routes = vec![route("r", 0, "/a", Some("/b"))];
    let front = setup.start();
    let request = Request::get(front.uri("/a/x")).header("x-test-name", upstream.to_string());
    let response = send(request.body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(response.status(), 302);
    for (name, value) in [
        ("location", "/a/there?x"),
        ("link", "</a/next>; rel=\"next\", </a/up>; rel=up"),
        ("content-location", "/a/here"),
    ] {
        assert_eq!(response.headers()[name], value, "{name}");
    }
}

#[tokio::test]
async fn only_trusted_proxies_are_believed() {
    for (trusted, seen, forgotten) in [
        (
            "127.0.0.0/8",
            "x-forwarded-for: 203.0.113.5, 127.0.0.1\n",
            "nothing",
        ),
        ("192.0.2.0/24", "x-forwarded-for: 127.0.0.1\n", "203.0.113.5"),
    ] {
        let mut setup = Setup::to(&[(Scheme::Http, echo_origin().await)]);
        setup.http.trusted_proxies = vec![trusted.parse().unwrap()];
        let front = setup.start();
        let request = Request::get(front.uri("/"))
            .header("x-forwarded-for", "203.0.113.5")
            .header("forwarded", "for=203.0.113.5;proto=https");
        let answer = text(send(request.body(Full::<Bytes>::default()).unwrap()).await).await;
        assert!(answer.contains(seen), "{trusted}: {answer}");
        assert!(!answer.contains(forgotten), "{trusted}: {answer}");
    }
}
