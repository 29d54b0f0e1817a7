//! `max_conns`: how many requests a server gets at once, and a bounded queue of those that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::UpstreamError;

/// Requests that may wait, beside as many as may run.
const MIN_QUEUE: usize = 64;

/// The permits of one server.
#[derive(Debug)]
pub(super) struct Permits {
    semaphore: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
}

impl Permits {
    pub(super) fn new(max_conns: usize) -> Self {
        let max_conns = max_conns.min(Semaphore::MAX_PERMITS);
        Self {
            semaphore: Arc::new(Semaphore::new(max_conns)),
            waiting: AtomicUsize::new(0),
            queue: max_conns.max(MIN_QUEUE),
        }
    }

    /// A permit, after a wait of `patience` at most.
    pub(super) async fn acquire(&self, patience: Duration) -> Result<OwnedSemaphorePermit, UpstreamError> {
        if let Ok(permit) = self.semaphore.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue {
            return Err(UpstreamError::Busy);
        }
        let acquired = timeout(patience, self.semaphore.clone().acquire_owned()).await;
        drop(place);
        match acquired {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(UpstreamError::Busy),
        }
    }
}

/// A place in the queue, given up when the request stops waiting, whatever the reason.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_a_permit_given_back_is_taken() {
        let permits = Permits::new(1);
        let held = permits.acquire(Duration::ZERO).await.unwrap();
        let patience = Duration::from_millis(20);
        let waiting = join_all((0..MIN_QUEUE).map(|_| permits.acquire(patience)));
        let beyond = async {
            while permits.waiting.load(Ordering::Relaxed) < MIN_QUEUE {
                tokio::task::yield_now().await;
            }
            let began = std::time::Instant::now();
            let refused = permits.acquire(Duration::from_secs(3600)).await;
            (refused, began.elapsed())
        };
        let (waited, (refused, took)) = tokio::join!(waiting, beyond);
        assert!(waited.iter().all(Result::is_err), "nobody gave one back");
        assert!(matches!(refused, Err(UpstreamError::Busy)));
        assert!(took < Duration::from_secs(60), "beyond the queue nobody waits");
        assert_eq!(permits.waiting.load(Ordering::Relaxed), 0);
        let next = permits.acquire(Duration::from_secs(60));
        let (next, ()) = tokio::join!(next, async { drop(held) });
        assert!(next.is_ok());
    }
}
