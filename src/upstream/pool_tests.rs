//! Connections that are kept, against servers of a few lines.

use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::config::{Http, Scheme, UpstreamGroup};
use crate::upstream::{Client, Purpose, Upstreams, Wish};

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Scene {
    upstreams: Upstreams,
    client: Client,
    connections: Arc<AtomicUsize>,
}

/// A server that answers so many requests on each connection, and then closes it.
async fn scene(requests: usize, http: Http) -> Scene {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(answer(stream, requests));
        }
    });
    let group = UpstreamGroup::new("g", vec![Server::new(Scheme::Http, "127.0.0.1", port)]);
    let upstreams = Upstreams::new(&[group]).unwrap();
    Scene {
        client: Client::new(&upstreams, &http),
        upstreams,
        connections,
    }
}

async fn answer(mut stream: TcpStream, requests: usize) {
    for _ in 0..requests {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        stream.write_all(ANSWER).await.unwrap();
    }
    if requests == 0 {
        // Silent, until the client leaves.
        while stream.read_u8().await.is_ok() {}
    }
}

impl Scene {
    async fn get(&self) -> Result<Response<Body>, UpstreamError> {
        let wish = Wish {
            purpose: Purpose::Request,
            key: 0,
            tried: &[],
        };
        let peer = self.upstreams.group(0).pick(&wish, Instant::now()).unwrap();
        let lease = Arc::new(peer.lease(Instant::now()));
        let body = Empty::new().map_err(Into::into).boxed_unsync();
        self.client.send(&lease, Request::new(body)).await
    }

    async fn text(&self) -> Bytes {
        let response = self.get().await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn idle(&self) -> usize {
        self.client.pool().0.idle().links.values().map(Vec::len).sum()
    }

    fn idle_after_a_look(&self) -> usize {
        let mut idle = self.client.pool().0.idle();
        for links in idle.links.values_mut() {
            links.retain_mut(|(_, link)| link.is_ready());
        }
        idle.links.values().map(Vec::len).sum()
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let scene = scene(usize::MAX, Http::default()).await;
    for _ in 0..3 {
        assert_eq!(scene.text().await, "ok");
    }
    assert_eq!(scene.connections(), 1);
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each_and_give_it_back() {
    let scene = scene(usize::MAX, Http::default()).await;
    let (one, two) = tokio::join!(scene.get(), scene.get());
    assert_eq!(scene.connections(), 2);
    for response in [one, two] {
        response.unwrap().into_body().collect().await.unwrap();
    }
    assert_eq!(scene.text().await, "ok");
    assert_eq!(scene.connections(), 2);
}

#[tokio::test]
async fn a_body_that_is_not_read_to_its_end_closes_its_connection() {
    let scene = scene(usize::MAX, Http::default()).await;
    drop(scene.get().await.unwrap());
    assert_eq!(scene.text().await, "ok");
    assert_eq!(scene.connections(), 2);
}

#[tokio::test]
async fn what_the_server_or_time_has_closed_is_not_used() {
    let scene = scene(1, Http::default()).await;
    for expected in 1..=3 {
        assert_eq!(scene.text().await, "ok");
        assert_eq!(scene.connections(), expected);
        // Until the end of the connection has arrived.
        tokio::time::timeout(Duration::from_secs(10), async {
            while scene.idle_after_a_look() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for_longer_than_configured() {
    let http = Http {
        response_header_timeout: Duration::from_millis(20),
        ..Http::default()
    };
    let scene = scene(0, http).await;
    assert!(matches!(scene.get().await, Err(UpstreamError::HeaderTimeout)));
}

#[tokio::test]
async fn idle_connections_are_swept_away() {
    let http = Http {
        idle_conn_timeout: Duration::from_millis(20),
        ..Http::default()
    };
    let scene = scene(usize::MAX, http).await;
    assert_eq!(scene.text().await, "ok");
    tokio::time::timeout(Duration::from_secs(10), async {
        while scene.idle() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}
