//! Calls stay on the server that created them, without any cookie.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::{Method, Request, Response};

use crate::front::{Front, Setup, route, send, text};
use crate::origin::{OriginBody, respond};

use super::bare;
use super::server::Server;

/// Speaks as much Janus REST as is needed, and WHIP: answers with its name, and creates calls with its number in them.
async fn server(name: &'static str, number: u64) -> Server {
    let sessions = Arc::new(Mutex::new(HashSet::new()));
    Server::new(move |request| {
        let path = request.uri().path().to_owned();
        let session = path
            .strip_prefix("/sessions/")
            .map(|rest| rest.split('/').next().unwrap_or_default().to_owned());
        let response = match (request.method().clone(), path.as_str()) {
            (Method::PUT, _) if session.is_some() => {
                sessions.lock().unwrap().extend(session);
                respond("text/plain", name)
            }
            (_, _) if session.is_some() => {
                let id = session.unwrap_or_default();
                let known = sessions.lock().unwrap().contains(&id);
                respond(
                    "application/json",
                    if known {
                        known_session(name, &id)
                    } else {
                        unknown_session(&id)
                    },
                )
            }
            (Method::POST, "/janus") => {
                let id = 9_007_199_254_740_992 + number;
                respond(
                    "application/json",
                    format!(r#"{{"janus":"success","transaction":"t","data":{{"id":{id}}}}}"#),
                )
            }
            (Method::PATCH | Method::DELETE, path) if path.starts_with("/found/") => {
                let mut response = respond("text/plain", name);
                if !path.ends_with(name) {
                    *response.status_mut() = 404.try_into().unwrap();
                }
                response
            }
            (Method::POST, "/whip/live") => created("/whip/resource/", name),
            (Method::POST, "/whip/relative") => created("resource/", name),
            _ => respond("text/plain", name),
        };
        std::future::ready(response)
    })
    .await
}

fn known_session(name: &str, id: &str) -> String {
    format!(r#"{{"janus":"ack","session_id":{id},"server":"{name}"}}"#)
}

fn unknown_session(id: &str) -> String {
    format!(r#"{{"janus":"error","session_id":{id},"error":{{"code":458,"reason":"No such session"}}}}"#)
}

fn created(location: &str, name: &str) -> Response<OriginBody> {
    let mut response = respond("application/sdp", "not looked at");
    *response.status_mut() = 201.try_into().unwrap();
    let location = format!("{location}{name}").parse().unwrap();
    response.headers_mut().insert("location", location);
    response
}

/// Two servers behind `/one` and `/two`, both rewritten to the servers' own root.
async fn two() -> ([Server; 2], Front) {
    let servers = [server("a", 1).await, server("b", 2).await];
    let mut setup = Setup::to(&[]);
    let configured = servers.iter().map(Server::configured).collect();
    setup.groups = vec![xrtc::config::UpstreamGroup::new("g", configured)];
    setup.http.routes = vec![
        route("one", 0, "/one", Some("/")),
        route("two", 0, "/two", Some("/")),
    ];
    (servers, setup.start())
}

async fn name(front: &Front, method: &str, path: &str) -> String {
    text(send(bare(front, method, path)).await).await
}

/// Creates a session and returns its path and its server.
async fn create(front: &Front, base: &str) -> (String, &'static str) {
    let body = r#"{"janus":"create","transaction":"t"}"#;
    let answer = text(send(front.post(base, "application/json", body)).await).await;
    let id = answer
        .split("\"id\":")
        .nth(1)
        .and_then(|rest| rest.split('}').next())
        .unwrap_or_else(|| panic!("{answer}"));
    let server = if id.ends_with('3') { "a" } else { "b" };
    (format!("{base}/{id}"), server)
}

#[tokio::test]
async fn a_janus_session_stays_with_its_handles_its_polls_and_its_preflights() {
    let (_servers, front) = two().await;
    for _ in 0..4 {
        let (session, server) = create(&front, "/one/janus").await;
        for path in [
            session.clone(),
            format!("{session}/77"),
            format!("{session}?rid=1&maxev=10"),
        ] {
            for method in ["POST", "GET", "OPTIONS"] {
                for _ in 0..3 {
                    assert_eq!(name(&front, method, &path).await, server, "{method} {path}");
                }
            }
        }
    }
    assert_eq!(front.count("affinity_learned"), 4);
    assert_eq!(front.count("affinity_by_cookie"), 0);
}

#[tokio::test]
async fn forty_clients_at_once_each_keep_their_server() {
    let (_servers, front) = two().await;
    let front = &front;
    let clients = (0..40).map(|_| async move {
        let (session, server) = create(front, "/one/janus").await;
        // The two servers number their sessions alike each time: what is learnt must stay true.
        for _ in 0..5 {
            let answers = join_all((0..3).map(|_| name(front, "GET", &session))).await;
            assert!(
                answers.iter().all(|answer| answer == server),
                "{answers:?} of {server}"
            );
        }
        server
    });
    let servers = join_all(clients).await;
    assert_eq!(servers.iter().filter(|server| **server == "a").count(), 20);
}

#[tokio::test]
async fn a_whip_resource_stays_and_its_end_is_noticed() {
    let (_servers, front) = two().await;
    for endpoint in ["/one/whip/live", "/one/whip/relative"] {
        let response = send(front.post(endpoint, "application/sdp", "v=0\r\n")).await;
        assert_eq!(response.status(), 201);
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let resource = match location.strip_prefix('/') {
            Some(_) => location.clone(),
            None => format!("/one/whip/{location}"),
        };
        assert!(
            resource.starts_with("/one/whip/resource/"),
            "mapped back: {location}"
        );
        let server = resource.rsplit('/').next().unwrap().to_owned();
        for method in ["PATCH", "OPTIONS", "GET", "PATCH"] {
            assert_eq!(
                name(&front, method, &resource).await,
                server,
                "{method} {resource}"
            );
        }
        assert_eq!(name(&front, "DELETE", &resource).await, server);
        let after = [
            name(&front, "GET", &resource).await,
            name(&front, "GET", &resource).await,
        ];
        assert_ne!(after[0], after[1], "nothing binds it any more");
    }
}

#[tokio::test]
async fn two_routes_never_share_an_entry() {
    let (_servers, front) = two().await;
    let (session, server) = create(&front, "/one/janus").await;
    let elsewhere = session.replacen("/one", "/two", 1);
    let answers = [
        name(&front, "GET", &elsewhere).await,
        name(&front, "GET", &elsewhere).await,
    ];
    assert_ne!(answers[0], answers[1], "the balancer's");
    assert_eq!(name(&front, "GET", &session).await, server);
}

#[tokio::test]
async fn calls_of_a_server_that_died_fail_at_once_and_new_ones_go_to_the_other() {
    let (mut servers, front) = two().await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        sessions.push(create(&front, "/one/janus").await);
    }
    let (of_a, of_b) = match sessions.as_slice() {
        [(first, "a"), (second, "b")] | [(second, "b"), (first, "a")] => (first, second),
        other => panic!("{other:?}"),
    };
    servers[0].kill().await;
    for _ in 0..5 {
        let answer = tokio::time::timeout(Duration::from_secs(5), send(front.get(of_a))).await;
        assert_eq!(answer.unwrap().status(), 502, "its server and no other");
        assert_eq!(name(&front, "GET", of_b).await, "b");
        assert_eq!(create(&front, "/one/janus").await.1, "b");
    }
    servers[0].start_again().await;
    assert_eq!(
        name(&front, "GET", of_a).await,
        "a",
        "asked although it counts as down"
    );
}

#[tokio::test]
async fn a_bound_request_is_not_repeated_elsewhere() {
    let (mut servers, front) = two().await;
    let (session, server) = create(&front, "/one/janus").await;
    servers[usize::from(server == "b")].kill().await;
    let request = Request::get(front.uri(&session))
        .body(Full::<Bytes>::default())
        .unwrap();
    assert_eq!(send(request).await.status(), 502);
    assert_eq!(front.count("upstream_retries"), 0);
}

/// As after a restart of the daemon: the servers know the sessions, and nothing is noted.
#[tokio::test]
async fn a_session_that_nobody_noted_is_found_by_asking_and_noted() {
    let (_servers, front) = two().await;
    // The first request in turn is the first server's: only `a` knows the session.
    assert_eq!(name(&front, "PUT", "/one/sessions/77").await, "a");
    for round in 0..4 {
        let answer = text(send(front.post("/one/sessions/77/5", "application/json", "{}")).await).await;
        assert_eq!(answer, known_session("a", "77"), "round {round}");
    }
    assert_eq!(
        (front.count("affinity_searched"), front.count("affinity_learned")),
        (1, 1)
    );
    let nowhere = text(send(front.post("/one/sessions/99", "application/json", "{}")).await).await;
    assert_eq!(nowhere, unknown_session("99"), "the servers' own answer");
    assert_eq!(front.count("affinity_searched"), 3, "both were asked");
}

#[tokio::test]
async fn a_resource_that_nobody_noted_is_found_by_asking_and_noted() {
    const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
    let (_servers, front) = two().await;
    let patch = |path: &str, kind: &str| {
        let mut request = front.post(path, kind, "a=ice-ufrag:abcd\r\n");
        *request.method_mut() = Method::PATCH;
        request
    };
    for round in 0..4 {
        for resource in ["b", "a"] {
            let answer = text(send(patch(&format!("/one/found/{resource}"), FRAGMENT)).await).await;
            assert_eq!(answer, resource, "round {round}");
        }
    }
    assert_eq!(front.count("affinity_learned"), 2);
    // Ended without a word before: it is found too.
    for resource in ["c-b", "c-a"] {
        let answer = send(bare(&front, "DELETE", &format!("/one/found/{resource}"))).await;
        assert_eq!(answer.status(), 200, "{resource}");
    }
    let searched = front.count("affinity_searched");
    assert!((1..=4).contains(&searched), "{searched}");
    assert_eq!(send(bare(&front, "DELETE", "/one/found/c")).await.status(), 404);
    assert_eq!(front.count("affinity_searched"), searched + 2, "both were asked");
    // Other requests are nobody else's business.
    let statuses = [
        send(patch("/one/found/c-a", "text/plain"))
            .await
            .status()
            .as_u16(),
        send(patch("/one/found/c-a", "text/plain"))
            .await
            .status()
            .as_u16(),
    ];
    assert_eq!(statuses.iter().sum::<u16>(), 604, "the balancer's: {statuses:?}");
    assert_eq!(front.count("affinity_searched"), searched + 2);
}
