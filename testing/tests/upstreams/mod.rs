//! Groups of servers: the choice among them, their failures and returns, and the calls that stay on them.
//!
//! Part of the `http` tests, whose front and clients it uses.

mod affinity;
mod balancing;
mod claims;
mod cookies;
mod failing;
mod health;
mod references;
mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Request;
use tokio::time::{Instant, sleep};

use crate::front::{Front, send, text};

/// For what must happen, but not when.
const SOON: Duration = Duration::from_secs(20);

/// Sends a request again and again until the answer is the one that is waited for.
async fn until(front: &Front, path: &str, wanted: impl Fn(u16, &str) -> bool) {
    let deadline = Instant::now() + SOON;
    loop {
        let response = send(front.get(path)).await;
        let status = response.status().as_u16();
        let body = text(response).await;
        if wanted(status, &body) {
            return;
        }
        assert!(Instant::now() < deadline, "still {status} {body:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// How often each answer came to `count` requests, one after the other.
async fn tally(front: &Front, count: usize) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for _ in 0..count {
        *tally.entry(text(send(front.get("/")).await).await).or_default() += 1;
    }
    tally
}

/// A tally as it should be.
fn of<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

/// A request without body.
fn bare(front: &Front, method: &str, path: &str) -> Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = front.get(path);
    *request.method_mut() = method.parse().unwrap();
    request
}
