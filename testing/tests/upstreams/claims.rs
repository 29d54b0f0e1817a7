//! A Janus session that is claimed over a new WebSocket is found, whichever server was asked first.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper_tungstenite::HyperWebsocketStream;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use xrtc::config::Scheme;

use crate::front::{Front, Setup};
use crate::origin::websocket_origin;
use crate::websocket::connect;

type Socket = WebSocketStream<TcpStream>;

/// Speaks as much of Janus' protocol as is needed: has one session, answers a claim of it, and tells its own number.
async fn janus(number: u64) -> SocketAddr {
    websocket_origin(move |mut socket: HyperWebsocketStream| async move {
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let asked: Value = serde_json::from_str(&text).unwrap();
            let (session, transaction) = (&asked["session_id"], &asked["transaction"]);
            let mut answer = json!({"janus": "success", "transaction": transaction, "server": number});
            if asked["janus"] == "claim" && *session != number {
                let error = json!({"code": 458, "reason": "No such session"});
                answer = json!({"janus": "error", "session_id": session, "transaction": transaction, "error": error});
            }
            socket.send(Message::text(answer.to_string())).await.unwrap();
        }
    })
    .await
}

/// Three servers, which have the sessions 1, 2 and 3.
async fn three() -> Front {
    let mut servers = Vec::new();
    for number in 1..=3 {
        servers.push((Scheme::Ws, janus(number).await));
    }
    Setup::to(&servers).start()
}

async fn open(front: &Front) -> Socket {
    let headers = [("sec-websocket-protocol", "janus-protocol")];
    connect(front, &headers).await.unwrap().0
}

async fn ask(socket: &mut Socket, what: &str, session: u64) -> Value {
    let message = json!({"janus": what, "session_id": session, "transaction": "t"});
    socket.send(Message::text(message.to_string())).await.unwrap();
    serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
}

#[tokio::test]
async fn a_claim_finds_its_server() {
    let front = three().await;
    for round in 0..3 {
        for session in [3, 2, 1] {
            let mut socket = open(&front).await;
            let answer = ask(&mut socket, "claim", session).await;
            assert_eq!(answer["server"], session, "round {round}: {answer}");
            // The rest of the WebSocket is with the same server.
            for _ in 0..3 {
                assert_eq!(ask(&mut socket, "keepalive", session).await["server"], session);
            }
            socket.close(None).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        }
    }
    // By turns 1, 2 and 3 are asked first: a third of the claims are at home at once, the others one or two servers away.
    let searched = front.counters.affinity_searched.get();
    assert!((6..=12).contains(&searched), "{searched}");
}

#[tokio::test]
async fn a_claim_that_nobody_knows_is_denied_once_and_the_websocket_goes_on() {
    let front = three().await;
    let mut socket = open(&front).await;
    let answer = ask(&mut socket, "claim", 9).await;
    assert_eq!(answer["error"]["code"], 458, "{answer}");
    assert_eq!(
        front.counters.affinity_searched.get(),
        2,
        "every other server was asked"
    );
    let server = ask(&mut socket, "create", 0).await["server"].clone();
    assert_eq!(ask(&mut socket, "create", 0).await["server"], server);
}

#[tokio::test]
async fn only_the_first_message_is_a_claim_that_moves() {
    let front = three().await;
    let mut socket = open(&front).await;
    let server = ask(&mut socket, "create", 0).await["server"].as_u64().unwrap();
    let another = server % 3 + 1;
    assert_eq!(ask(&mut socket, "claim", another).await["error"]["code"], 458);
    assert_eq!(ask(&mut socket, "create", 0).await["server"], server);
    assert_eq!(front.counters.affinity_searched.get(), 0);
}

#[tokio::test]
async fn servers_that_are_gone_are_passed_over() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = gone.local_addr().unwrap();
    drop(gone);
    let servers = [
        (Scheme::Ws, janus(1).await),
        (Scheme::Ws, nobody),
        (Scheme::Ws, janus(3).await),
    ];
    let front = Setup::to(&servers).start();
    for _ in 0..4 {
        for session in [1, 3] {
            let answer = ask(&mut open(&front).await, "claim", session).await;
            assert_eq!(answer["server"], session, "{answer}");
        }
        let answer = ask(&mut open(&front).await, "claim", 2).await;
        assert_eq!(answer["error"]["code"], 458, "{answer}");
    }
}
