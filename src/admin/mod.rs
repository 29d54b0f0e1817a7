//! The admin listener: metrics for Prometheus, the daemon's state as JSON, health and readiness. Plain HTTP/1.1 on an address of its own, off by
//! default; it has no authentication, so it belongs on loopback or a management network.

pub mod exposition;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// At once; more are closed.
const MAX_CONNECTIONS: usize = 256;

/// What the admin listener shows.
pub trait Report: Send + Sync {
    /// All metrics, in the Prometheus text format.
    fn metrics(&self) -> String;
    /// What the daemon is and does now.
    fn status(&self) -> serde_json::Value;
    /// Whether new work is welcome: false while draining. Upstreams that are down do not count: a daemon that can say
    /// so is of more use than none.
    fn is_ready(&self) -> bool;
}

/// Serves until dropped; connections end with it.
pub async fn serve(listener: TcpListener, report: Arc<dyn Report>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(serve_connection(stream, report.clone()));
            }
            Ok(_) => tracing::debug!("too many admin connections"),
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, report: Arc<dyn Report>) {
    let service = hyper::service::service_fn(move |request| {
        let response = respond(&request, &*report);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

fn respond<B>(request: &Request<B>, report: &dyn Report) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into());
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, report.metrics()),
        "/status" => json(&report.status()),
        "/healthz" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" if report.is_ready() => text(StatusCode::OK, "ready\n".into()),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".into()),
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /status, /healthz and /readyz\n".into(),
        ),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(format!("{value:#}\n").into()));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    struct Fixed(bool);

    impl Report for Fixed {
        fn metrics(&self) -> String {
            "xrtc_x 1\n".into()
        }
        fn status(&self) -> serde_json::Value {
            serde_json::json!({"ready": self.0})
        }
        fn is_ready(&self) -> bool {
            self.0
        }
    }

    fn ask(method: Method, path: &str, ready: bool) -> Response<Full<Bytes>> {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        respond(&request, &Fixed(ready))
    }

    #[tokio::test]
    async fn metrics_are_plain_text() {
        let response = ask(Method::GET, "/metrics", true);
        assert_eq!(
            response.headers()[CONTENT_TYPE],
            "text/plain; version=0.0.4; charset=utf-8"
        );
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            "xrtc_x 1\n"
        );
    }

    #[tokio::test]
    async fn the_state_is_json() {
        let response = ask(Method::GET, "/status", true);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "{\n  \"ready\": true\n}\n");
    }

    #[test]
    fn draining_is_healthy_but_not_ready() {
        assert_eq!(ask(Method::GET, "/healthz", false).status(), StatusCode::OK);
        assert_eq!(
            ask(Method::GET, "/readyz", false).status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(ask(Method::GET, "/readyz", true).status(), StatusCode::OK);
    }

    #[test]
    fn nothing_else_is_there() {
        assert_eq!(ask(Method::GET, "/", true).status(), StatusCode::NOT_FOUND);
        assert_eq!(
            ask(Method::POST, "/metrics", true).status(),
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}
