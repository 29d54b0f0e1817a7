//! Clients that keep a daemon busy, and notice any error.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{expect, websocket};

/// Kept-alive connections with request after request, and WebSockets with message after message. Whatever goes wrong
/// fails the test.
pub(crate) struct Load {
    clients: JoinSet<usize>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
}

impl Load {
    pub(crate) fn on(addr: SocketAddr, connections: usize, websockets: usize) -> Self {
        let mut load = Self {
            clients: JoinSet::new(),
            stop: Arc::default(),
            done: Arc::default(),
        };
        for _ in 0..connections {
            let (stop, done) = (load.stop.clone(), load.done.clone());
            load.clients.spawn(requests(addr, stop, done));
        }
        for _ in 0..websockets {
            let (stop, done) = (load.stop.clone(), load.done.clone());
            load.clients.spawn(messages(addr, stop, done));
        }
        load
    }

    /// Requests and messages answered so far.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends it; gives all that was answered, each without an error.
    pub(crate) async fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.iter().sum()
    }
}

async fn requests(addr: SocketAddr, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> usize {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        stream
            .write_all(b"GET /http HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let answer = expect(&mut stream, "answer").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        count += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
    count
}

async fn messages(addr: SocketAddr, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> usize {
    let mut socket = websocket(addr, "/ws").await.unwrap();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let message = Message::text(format!("message {count}"));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
        count += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
    count
}
