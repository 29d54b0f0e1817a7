//! HTTP/2 towards a server in process, without TLS: whether a connection speaks it is the connector's word.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::rt::ReadBufCursor;
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::Connected;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::*;

/// Dials one server, whatever is asked for, and counts.
#[derive(Clone)]
struct Dialler {
    server: SocketAddr,
    h2: bool,
    dialled: Arc<AtomicUsize>,
}

struct Dialled {
    io: TokioIo<TcpStream>,
    h2: bool,
}

impl Service<Uri> for Dialler {
    type Response = Dialled;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialled, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { server, h2, dialled } = self.clone();
        Box::pin(async move {
            dialled.fetch_add(1, Ordering::SeqCst);
            let io = TokioIo::new(TcpStream::connect(server).await?);
            Ok(Dialled { io, h2 })
        })
    }
}

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        if self.h2 {
            Connected::new().negotiated_h2()
        } else {
            Connected::new()
        }
    }
}

impl Read for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Answers with version, authority and path, once `gate` has a permit for it.
async fn server(gate: Arc<Semaphore>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let gate = gate.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let gate = gate.clone();
                async move {
                    gate.acquire().await.unwrap().forget();
                    let told = format!("{:?} {}", request.version(), request.uri());
                    assert!(!request.headers().contains_key(HOST), "it is the authority");
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(told))))
                }
            });
            let serve = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(500)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serve);
        }
    });
    addr
}

async fn multiplexed(h2: bool, gate: Arc<Semaphore>) -> (Multiplexed<Dialler>, Arc<AtomicUsize>) {
    let dialled = Arc::new(AtomicUsize::new(0));
    let dialler = Dialler {
        server: server(gate).await,
        h2,
        dialled: dialled.clone(),
    };
    (Multiplexed::new(dialler, Duration::from_millis(50)), dialled)
}

fn request() -> Request<Body> {
    let empty = http_body_util::Empty::new().map_err(Into::into).boxed_unsync();
    let request = Request::get("https://server:443/x?y").header(HOST, "www.example.com");
    request.body(empty).unwrap()
}

async fn ask(multiplexed: &Multiplexed<Dialler>) -> String {
    let sent = multiplexed.send(request()).await.unwrap();
    let (response, _stream) = sent.unwrap_or_else(|_| panic!("it speaks HTTP/2"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn open_gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1000))
}

#[tokio::test]
async fn the_host_that_was_asked_for_is_the_authority() {
    let (multiplexed, _) = multiplexed(true, open_gate()).await;
    assert_eq!(ask(&multiplexed).await, "HTTP/2.0 https://www.example.com/x?y");
}

#[tokio::test]
async fn a_burst_shares_connections_of_a_hundred_streams() {
    let gate = Arc::new(Semaphore::new(0));
    let (multiplexed, dialled) = multiplexed(true, gate.clone()).await;
    let burst = join_all((0..2 * MAX_STREAMS + 1).map(|_| ask(&multiplexed)));
    let (answers, ()) = tokio::join!(burst, async {
        while dialled.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1000);
    });
    assert_eq!(answers.len(), 2 * MAX_STREAMS + 1);
    assert_eq!(dialled.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_server_that_speaks_http1_gets_its_request_back_unchanged_and_is_not_dialled_each_time() {
    let (multiplexed, dialled) = multiplexed(false, open_gate()).await;
    for _ in 0..3 {
        let Err(unsent) = multiplexed.send(request()).await.unwrap() else {
            panic!("it speaks HTTP/1.1")
        };
        assert_eq!(unsent.uri(), "https://server:443/x?y");
        assert_eq!(unsent.headers()[HOST], "www.example.com");
    }
    assert_eq!(dialled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_the_next_request_makes_another() {
    let (multiplexed, dialled) = multiplexed(true, open_gate()).await;
    ask(&multiplexed).await;
    let links = || {
        let servers = multiplexed.servers.lock().unwrap();
        servers
            .values()
            .map(|server| server.state().links.len())
            .sum::<usize>()
    };
    assert_eq!(links(), 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while links() > 0 {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(5)).await;
    }
    ask(&multiplexed).await;
    assert_eq!(dialled.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_stream_that_is_open_keeps_its_connection() {
    let gate = Arc::new(Semaphore::new(0));
    let (multiplexed, dialled) = multiplexed(true, gate.clone()).await;
    let (answer, ()) = tokio::join!(ask(&multiplexed), async {
        // Several idle periods.
        sleep(Duration::from_millis(250)).await;
        gate.add_permits(2);
    });
    assert!(answer.starts_with("HTTP/2.0 "));
    ask(&multiplexed).await;
    assert_eq!(dialled.load(Ordering::SeqCst), 1);
}
