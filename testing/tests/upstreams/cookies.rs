//! The cookie of a group with several servers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use xrtc::config::{Balance, HashBy, UpstreamGroup};

use crate::front::{Front, Setup, send, text};

use super::server::Server;
use super::{of, tally};

async fn two() -> [Server; 2] {
    [Server::named("a").await, Server::named("b").await]
}

fn front(servers: &[Server], change: impl FnOnce(&mut UpstreamGroup)) -> Front {
    let mut setup = Setup::to(&[]);
    let mut group = UpstreamGroup::new("g", servers.iter().map(Server::configured).collect());
    change(&mut group);
    setup.groups = vec![group];
    setup.http.trusted_proxies = vec!["127.0.0.1".parse::<std::net::IpAddr>().unwrap().into()];
    setup.start()
}

async fn get(front: &Front, path: &str, cookie: Option<&str>) -> Response<Incoming> {
    let mut request = Request::get(front.uri(path));
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    send(request.body(Full::<Bytes>::default()).unwrap()).await
}

/// The first cookie's name and value, and the rest of what sets it.
fn set(response: &Response<Incoming>) -> Option<(String, String)> {
    let text = response.headers().get("set-cookie")?.to_str().unwrap();
    let (pair, attributes) = text.split_once("; ").unwrap();
    Some((pair.to_owned(), attributes.to_owned()))
}

#[tokio::test]
async fn a_client_that_keeps_its_cookie_keeps_its_server() {
    let servers = two().await;
    let front = front(&servers, |_| ());
    let first = get(&front, "/", None).await;
    let (cookie, attributes) = set(&first).unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    let server = text(first).await;
    for _ in 0..5 {
        let again = get(&front, "/", Some(&format!("other=1; {cookie}"))).await;
        assert_eq!(set(&again), None, "it has one");
        assert_eq!(text(again).await, server);
    }
    assert_eq!(front.count("affinity_by_cookie"), 5);
    assert_eq!(
        tally(&front, 4).await,
        of([("a", 2), ("b", 2)]),
        "the others take turns"
    );
}

#[tokio::test]
async fn a_forged_cookie_is_replaced() {
    let servers = two().await;
    let front = front(&servers, |_| ());
    let (cookie, _) = set(&get(&front, "/", None).await).unwrap();
    let (name, _) = cookie.split_once('=').unwrap();
    let forged = get(&front, "/", Some(&format!("{name}=0123456789abcdef"))).await;
    assert!(set(&forged).is_some());
    assert_eq!(front.count("affinity_by_cookie"), 0);
}

#[tokio::test]
async fn a_client_whose_server_is_down_goes_elsewhere_and_comes_back() {
    let mut servers = two().await;
    let front = front(&servers, |group| {
        group.servers[0].fail_timeout = std::time::Duration::from_millis(50);
    });
    let first = get(&front, "/", None).await;
    let (cookie, _) = set(&first).unwrap();
    assert_eq!(text(first).await, "a");
    servers[0].kill().await;
    for _ in 0..3 {
        assert_eq!(text(get(&front, "/", Some(&cookie)).await).await, "b");
    }
    servers[0].start_again().await;
    let deadline = tokio::time::Instant::now() + super::SOON;
    while text(get(&front, "/", Some(&cookie)).await).await != "a" {
        assert!(tokio::time::Instant::now() < deadline);
    }
}

#[tokio::test]
async fn over_tls_other_sites_may_use_it() {
    let servers = two().await;
    let front = front(&servers, |_| ());
    let request = Request::get(front.uri("/")).header("x-forwarded-proto", "https");
    let response = send(request.body(Full::<Bytes>::default()).unwrap()).await;
    let (_, attributes) = set(&response).unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; Secure; SameSite=None");
}

#[tokio::test]
async fn no_cookie_where_it_would_not_help_or_is_not_wanted() {
    let servers = two().await;
    for front in [
        front(&servers, |group| group.cookie = false),
        front(&servers, |group| group.mode = Balance::Hash(HashBy::ClientIp)),
        front(&servers[..1], |_| ()),
    ] {
        assert_eq!(set(&get(&front, "/", None).await), None);
    }
    let front = front(&servers, |_| ());
    assert_eq!(
        set(&get(&front, "/style.css", None).await),
        None,
        "it would not be cached"
    );
    let preflight = super::bare(&front, "OPTIONS", "/");
    assert_eq!(set(&send(preflight).await), None);
}
