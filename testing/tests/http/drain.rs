//! Stopping in order.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use xrtc::config::Scheme;

use crate::front::{Setup, send, text};
use crate::origin::{origin, respond, websocket_origin};
use crate::websocket::{close_code, connect};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_request_under_way_is_finished_and_idle_connections_end() {
    let (started, mut starts) = mpsc::channel(1);
    let (go, going) = mpsc::channel::<()>(1);
    let going = std::sync::Arc::new(tokio::sync::Mutex::new(going));
    let upstream = origin(move |_| {
        let (started, going) = (started.clone(), going.clone());
        async move {
            started.send(()).await.unwrap();
            going.lock().await.recv().await;
            respond("text/plain", "done")
        }
    })
    .await;
    let front = Setup::to(&[(Scheme::Http, upstream)]).start();
    let addr = front.addr;
    let mut idle = TcpStream::connect(addr).await.unwrap();
    let answer = tokio::spawn(send(front.get("/")));
    starts.recv().await.unwrap();
    let shutdown = tokio::spawn(front.server.shutdown(LONG));
    assert_eq!(
        idle.read(&mut [0; 1]).await.unwrap(),
        0,
        "idle connections are closed at once"
    );
    assert!(!shutdown.is_finished());
    go.send(()).await.unwrap();
    assert_eq!(text(answer.await.unwrap()).await, "done");
    shutdown.await.unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn websockets_go_on_until_the_deadline_and_end_with_1001_on_both_sides() {
    let (tell, mut told) = mpsc::channel(1);
    let upstream = websocket_origin(move |mut socket| {
        let tell = tell.clone();
        async move {
            let last = socket.next().await;
            tell.send(close_code(last)).await.unwrap();
        }
    })
    .await;
    let front = Setup::to(&[(Scheme::Ws, upstream)]).start();
    let mut socket = connect(&front, &[]).await.unwrap().0;
    let shutdown = front.server.shutdown(Duration::ZERO);
    let (code, ()) = tokio::join!(
        async {
            let code = close_code(socket.next().await);
            while socket.next().await.is_some() {}
            code
        },
        shutdown
    );
    assert_eq!(code, Some(CloseCode::Away));
    assert_eq!(told.recv().await.unwrap(), Some(CloseCode::Away));
    assert_eq!(front.counters.websockets_closed.get(), 1);
}
