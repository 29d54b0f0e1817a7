//! The one clock of the media plane.
//!
//! The pure core takes time as an argument; this is where the argument comes from.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ice::Now;

/// What `mono` shows at the start, in milliseconds: moments before it have a name as well, as far back as consent goes.
const START: u64 = 60_000;

/// A source of [`Now`]. Copies share their origin, so the `mono` readings of all shards compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        // A wall clock before 1970 reads as 1970.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: START + millis(self.origin.elapsed()),
            unix: millis(unix),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_their_origin() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.now();
        let second = copy.now();
        assert!(second.mono >= first.mono && second.mono - first.mono < 60_000);
        assert!(first.unix > 1_700_000_000_000, "milliseconds, not seconds");
    }
}
