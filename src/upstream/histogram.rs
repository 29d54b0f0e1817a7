//! How long something took, as counts by duration. Lock-free, of a fixed size.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in milliseconds: from a local answer to a long poll that found nothing.
const BOUNDS: [u64; 10] = [1, 5, 25, 100, 500, 1_000, 2_500, 10_000, 30_000, 60_000];

/// Durations that were observed.
#[derive(Debug, Default)]
pub struct Histogram {
    /// By the first bound that is not exceeded; what exceeds all is only in `total`.
    counts: [AtomicU64; BOUNDS.len()],
    total: AtomicU64,
    micros: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Upper bounds in seconds, each with how many durations did not exceed it.
    pub buckets: Vec<(f64, u64)>,
    /// All durations together, in seconds.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, time: Duration) {
        let bucket = BOUNDS
            .iter()
            .position(|bound| time <= Duration::from_millis(*bound));
        if let Some(count) = bucket.and_then(|bucket| self.counts.get(bucket)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.total.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was observed so far.
    #[must_use]
    pub fn observed(&self) -> Observed {
        let mut below = 0;
        let buckets: Vec<(f64, u64)> = BOUNDS
            .iter()
            .zip(&self.counts)
            .map(|(bound, count)| {
                below += count.load(Ordering::Relaxed);
                (Duration::from_millis(*bound).as_secs_f64(), below)
            })
            .collect();
        Observed {
            buckets,
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64(),
            // An observation may be half made; no bucket may hold more than all.
            count: self.total.load(Ordering::Relaxed).max(below),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 700, 90_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let observed = histogram.observed();
        assert_eq!(observed.count, 5);
        assert!((observed.sum - 90.703).abs() < 1e-9, "{observed:?}");
        let below = |bound| observed.buckets.iter().find(|(at, _)| *at == bound).unwrap().1;
        assert_eq!(
            [below(0.001), below(0.005), below(0.5), below(1.0), below(60.0)],
            [2, 3, 3, 4, 4]
        );
    }
}
