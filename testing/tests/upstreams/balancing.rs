//! Each mode over real sockets: how requests are shared, and what they go by.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::sync::{mpsc, watch};
use xrtc::config::{Balance, HashBy, Server as Configured, UpstreamGroup};

use crate::front::{Front, Setup, send, text};
use crate::origin::respond;

use super::server::Server;
use super::{of, tally};

/// Servers `a`, `b`, `c`.
async fn three() -> [Server; 3] {
    [
        Server::named("a").await,
        Server::named("b").await,
        Server::named("c").await,
    ]
}

fn front(mode: Balance, servers: Vec<Configured>) -> Front {
    let mut setup = Setup::to(&[]);
    setup.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    setup.groups = vec![UpstreamGroup {
        mode,
        ..UpstreamGroup::new("g", servers)
    }];
    setup.start()
}

fn configured(servers: &[Server]) -> Vec<Configured> {
    servers.iter().map(Server::configured).collect()
}

#[tokio::test]
async fn round_robin_shares_by_weight() {
    let servers = three().await;
    let mut weighted = configured(&servers);
    weighted[0].weight = 3;
    let front = front(Balance::RoundRobin, weighted);
    assert_eq!(tally(&front, 10).await, of([("a", 6), ("b", 2), ("c", 2)]));
}

#[tokio::test]
async fn random_reaches_all_and_favours_the_heavier() {
    let servers = three().await;
    let mut weighted = configured(&servers);
    weighted[0].weight = 8;
    let front = front(Balance::Random, weighted);
    let tally = tally(&front, 300).await;
    // Expected 240, 30 and 30; beyond these bounds once in a billion runs.
    assert!(tally["a"] > 190 && tally["b"] > 1 && tally["c"] > 1, "{tally:?}");
}

#[tokio::test]
async fn a_backup_gets_nothing_while_another_is_up() {
    let mut servers = three().await;
    let mut listed = configured(&servers);
    listed[2].backup = true;
    let front = front(Balance::RoundRobin, listed);
    assert_eq!(tally(&front, 4).await, of([("a", 2), ("b", 2)]));
    servers[0].kill().await;
    servers[1].kill().await;
    assert_eq!(
        tally(&front, 4).await,
        of([("c", 4)]),
        "each of the others once in vain"
    );
    assert_eq!(front.count("upstream_retries"), 2);
}

#[tokio::test]
async fn least_conn_goes_where_fewer_requests_wait() {
    let (arrived, mut arrivals) = mpsc::channel(16);
    let (release, released) = watch::channel(false);
    let mut servers = Vec::new();
    for name in ["a", "b"] {
        let (arrived, released) = (arrived.clone(), released.clone());
        let server = Server::new(move |request| {
            let (arrived, mut released) = (arrived.clone(), released.clone());
            async move {
                if request.uri().path() == "/hold" {
                    arrived.send(name).await.unwrap();
                    released.wait_for(|released| *released).await.unwrap();
                }
                respond("text/plain", name)
            }
        });
        servers.push(server.await);
    }
    let front = front(Balance::LeastConn, configured(&servers));
    let mut held = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..4 {
        held.push(tokio::spawn(send(front.get("/hold"))));
        seen.push(arrivals.recv().await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, ["a", "a", "b", "b"], "held requests are spread");
    // One more on either side, and all that are short go to the other.
    held.push(tokio::spawn(send(front.get("/hold"))));
    let fuller = arrivals.recv().await.unwrap();
    let other = if fuller == "a" { "b" } else { "a" };
    assert_eq!(tally(&front, 5).await, of([(other, 5)]));
    release.send_replace(true);
    for held in held {
        assert_eq!(held.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn what_is_hashed_decides_and_the_rest_stays_when_a_server_dies() {
    let mut servers = three().await;
    let front = front(
        Balance::Hash(HashBy::Header("x-user".into())),
        configured(&servers),
    );
    let mut first = Vec::new();
    for user in 0..60 {
        first.push(ask(&front, "x-user", &format!("user-{user}")).await);
    }
    for (user, server) in first.iter().enumerate() {
        assert_eq!(ask(&front, "x-user", &format!("user-{user}")).await, *server);
    }
    assert!(["a", "b", "c"].iter().all(|name| first.iter().any(|f| f == name)));
    servers[1].kill().await;
    for (user, server) in first.iter().enumerate() {
        let now = ask(&front, "x-user", &format!("user-{user}")).await;
        assert!(
            now == *server || (server == "b" && now != "b"),
            "user {user}: {server} to {now}"
        );
    }
}

#[tokio::test]
async fn the_address_that_is_hashed_is_the_clients_and_not_the_trusted_proxys() {
    let servers = three().await;
    let front = front(Balance::Hash(HashBy::ClientIp), configured(&servers));
    let mut seen = std::collections::BTreeSet::new();
    for host in 0..60 {
        let client = format!("198.51.100.{host}");
        let server = ask(&front, "x-forwarded-for", &client).await;
        assert_eq!(ask(&front, "x-forwarded-for", &client).await, server);
        seen.insert(server);
    }
    assert_eq!(seen.len(), 3);
}

async fn ask(front: &Front, name: &str, value: &str) -> String {
    let request = Request::get(front.uri("/")).header(name, value);
    text(send(request.body(Full::<Bytes>::default()).unwrap()).await).await
}
