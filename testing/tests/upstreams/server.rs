//! A server that can be killed, connections and all, and started again on its port.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use xrtc::config::{Scheme, Server as Configured};

use crate::origin::{OriginBody, respond};

type Answer = Arc<dyn Fn(Request<Incoming>) -> AnswerFuture + Send + Sync>;
type AnswerFuture = std::pin::Pin<Box<dyn Future<Output = Response<OriginBody>> + Send>>;

/// The server.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    answer: Answer,
    running: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) async fn new<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<OriginBody>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let answer: Answer = Arc::new(move |request| Box::pin(answer(request)));
        Self {
            addr,
            running: Some(tokio::spawn(serve(listener, answer.clone()))),
            answer,
        }
    }

    /// One that answers with its name.
    pub(super) async fn named(name: &'static str) -> Self {
        Self::new(move |_| std::future::ready(respond("text/plain", name))).await
    }

    pub(super) fn configured(&self) -> Configured {
        Configured::new(Scheme::Http, self.addr.ip().to_string(), self.addr.port())
    }

    pub(super) async fn kill(&mut self) {
        let running = self.running.take().unwrap();
        running.abort();
        // Its listener and connections are closed when it is gone.
        assert!(running.await.unwrap_err().is_cancelled());
    }

    pub(super) async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.addr).await.unwrap();
        self.running = Some(tokio::spawn(serve(listener, self.answer.clone())));
    }
}

async fn serve(listener: TcpListener, answer: Answer) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answer = answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let serve = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connections.spawn(serve.with_upgrades());
    }
}
