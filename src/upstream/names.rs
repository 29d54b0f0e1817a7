//! Server names and their addresses: cached for a short while, and the last good answer kept when a lookup fails.
//!
//! Holds only names from the configuration, so it needs no bound.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// How long an answer is used before the name is looked up again.
pub const FRESH_FOR: Duration = Duration::from_secs(10);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// A caching resolver; clones share the cache.
#[derive(Clone, Debug, Default)]
pub struct Names {
    answers: Arc<Mutex<HashMap<String, Answer>>>,
}

#[derive(Clone, Debug)]
struct Answer {
    addresses: Vec<IpAddr>,
    fresh_until: Instant,
}

impl Names {
    /// The addresses of a name or of a literal (without brackets), never empty.
    ///
    /// # Errors
    /// The name does not resolve and never did.
    pub async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        if let Some(addresses) = self.cached(host, Instant::now()) {
            return Ok(addresses);
        }
        match lookup(host).await {
            Ok(addresses) => {
                self.store(host, addresses.clone());
                Ok(addresses)
            }
            Err(error) => {
                let stale = self.known(host);
                if stale.is_empty() { Err(error) } else { Ok(stale) }
            }
        }
    }

    /// What a name resolved to last, however long ago; empty if it never did.
    #[must_use]
    pub fn known(&self, host: &str) -> Vec<IpAddr> {
        if let Ok(ip) = host.parse() {
            return vec![ip];
        }
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers
            .get(host)
            .map(|answer| answer.addresses.clone())
            .unwrap_or_default()
    }

    /// A fresh answer. The first to find it stale is told to look it up; until it has, the others go on with it.
    fn cached(&self, host: &str, now: Instant) -> Option<Vec<IpAddr>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get_mut(host)?;
        if now < answer.fresh_until {
            return Some(answer.addresses.clone());
        }
        answer.fresh_until = now + FRESH_FOR;
        None
    }

    fn store(&self, host: &str, addresses: Vec<IpAddr>) {
        let answer = Answer {
            addresses,
            fresh_until: Instant::now() + FRESH_FOR,
        };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(host.to_owned(), answer);
    }
}

async fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, 0))).await??;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for addr in found {
        if !addresses.contains(&addr.ip()) {
            addresses.push(addr.ip());
        }
    }
    if addresses.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(addresses)
}

/// As the connector of an HTTP client asks. The connector fills in the port.
impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let names = self.clone();
        Box::pin(async move {
            let addresses = names.resolve(name.as_str()).await?;
            let with_port: Vec<_> = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(with_port.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refused by the resolver without asking anyone.
    const NO_NAME: &str = "no\0name";
    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[tokio::test]
    async fn literals_resolve_to_themselves() {
        let names = Names::default();
        for literal in ["127.0.0.1", "::1"] {
            let ip: IpAddr = literal.parse().unwrap();
            assert_eq!(names.resolve(literal).await.unwrap(), [ip]);
            assert_eq!(names.known(literal), [ip]);
        }
    }

    #[tokio::test]
    async fn a_name_that_never_resolved_is_an_error_and_has_no_address() {
        let names = Names::default();
        assert!(names.resolve(NO_NAME).await.is_err());
        assert!(names.known(NO_NAME).is_empty());
    }

    #[tokio::test]
    async fn the_last_good_answer_outlives_a_failing_lookup() {
        let names = Names::default();
        names.store(NO_NAME, vec![IP]);
        let expired = Instant::now() + FRESH_FOR;
        assert_eq!(names.cached(NO_NAME, expired), None, "one caller looks it up");
        assert_eq!(names.cached(NO_NAME, expired), Some(vec![IP]), "the others go on");
        let expire = |answer: &mut Answer| answer.fresh_until = Instant::now();
        names
            .answers
            .lock()
            .unwrap()
            .get_mut(NO_NAME)
            .map(expire)
            .unwrap();
        assert_eq!(names.resolve(NO_NAME).await.unwrap(), [IP]);
    }
}
