//! Counts what the clients of a section or route take up: requests at once and per second, all together and by
//! client network.
//!
//! The table of networks is bounded. A network leaves it when there is nothing to remember of it: nothing open, and
//! its rate as if it had never asked. When all are busy, further networks are only counted with the whole.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::config::{Limits, NetworkLimits, Rate};

use super::networks::network_of;

/// Networks remembered at once: some 6 MB.
const MAX_NETWORKS: usize = 65_536;
/// A full table is not searched for what can go more often than this.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many at once from this network.
    NetworkConnections,
    /// Too many per second from this network.
    NetworkRate,
    /// Too many at once.
    Connections,
    /// Too many per second.
    Rate,
}

/// The limits that count, and the counts.
#[derive(Debug)]
pub(super) struct Limiter {
    connections: Option<usize>,
    rate: Option<Rate>,
    per_network: NetworkLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    whole: Gauge,
    networks: HashMap<IpNet, Gauge>,
    max_networks: usize,
    swept: Option<Instant>,
}

/// Leave to go on; what it takes up is given back when dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    limiter: Arc<Limiter>,
    network: Option<IpNet>,
}

impl Limiter {
    /// `None` if nothing is limited that must be counted.
    pub(super) fn new(limits: &Limits) -> Option<Arc<Self>> {
        let per_network = limits.per_network;
        let counted = limits.connections.is_some()
            || limits.rate.is_some()
            || per_network.connections.is_some()
            || per_network.rate.is_some();
        counted.then(|| {
            Arc::new(Self {
                connections: limits.connections,
                rate: limits.rate,
                per_network,
                counts: Mutex::new(Counts {
                    whole: Gauge::default(),
                    networks: HashMap::new(),
                    max_networks: MAX_NETWORKS,
                    swept: None,
                }),
            })
        })
    }

    /// Lets a request of `client` in, or tells what is in its way.
    pub(super) fn admit(self: &Arc<Self>, client: IpAddr, now: Instant) -> Result<Admitted, Refused> {
        let mut counts = self.counts();
        let network = self.enter_network(&mut counts, client, now)?;
        if let Err(refused) = counts.whole.enter(self.connections, self.rate, now) {
            if let Some(gauge) = network.and_then(|network| counts.networks.get_mut(&network)) {
                gauge.undo(self.per_network.rate);
            }
            return Err(match refused {
                Full::Open => Refused::Connections,
                Full::Rate => Refused::Rate,
            });
        }
        drop(counts);
        Ok(Admitted {
            limiter: self.clone(),
            network,
        })
    }

    fn enter_network(
        &self,
        counts: &mut Counts,
        client: IpAddr,
        now: Instant,
    ) -> Result<Option<IpNet>, Refused> {
        let limits = &self.per_network;
        if limits.connections.is_none() && limits.rate.is_none() {
            return Ok(None);
        }
        let network = network_of(client, limits.v4, limits.v6);
        if !counts.networks.contains_key(&network) && !counts.make_room(limits.rate, now) {
            return Ok(None);
        }
        let gauge = counts.networks.entry(network).or_default();
        match gauge.enter(limits.connections, limits.rate, now) {
            Ok(()) => Ok(Some(network)),
            Err(Full::Open) => Err(Refused::NetworkConnections),
            Err(Full::Rate) => Err(Refused::NetworkRate),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts();
        counts.whole.open -= 1;
        let Some(network) = self.network else { return };
        let Some(gauge) = counts.networks.get_mut(&network) else {
            return;
        };
        gauge.open -= 1;
        if gauge.open == 0 && self.limiter.per_network.rate.is_none() {
            counts.networks.remove(&network);
        }
    }
}

impl Counts {
    /// Whether one more network can be remembered.
    fn make_room(&mut self, rate: Option<Rate>, now: Instant) -> bool {
        if self.networks.len() < self.max_networks {
            return true;
        }
        if self.swept.is_some_and(|swept| now < swept + SWEEP_EVERY) {
            return false;
        }
        self.swept = Some(now);
        self.networks.retain(|_, gauge| !gauge.is_blank(rate, now));
        self.networks.len() < self.max_networks
    }
}

/// What a gauge has no room for.
enum Full {
    Open,
    Rate,
}

/// How many are open, and a token bucket: `spent` requests are charged now, and are forgiven at the rate.
#[derive(Clone, Copy, Debug, Default)]
struct Gauge {
    open: usize,
    spent: f64,
    charged: Option<Instant>,
}

impl Gauge {
    fn enter(&mut self, most: Option<usize>, rate: Option<Rate>, now: Instant) -> Result<(), Full> {
        if most.is_some_and(|most| self.open >= most) {
            return Err(Full::Open);
        }
        if let Some(rate) = rate {
            let spent = self.spent_at(rate, now);
            if spent + 1.0 > f64::from(rate.burst) {
                return Err(Full::Rate);
            }
            self.spent = spent + 1.0;
            self.charged = Some(now);
        }
        self.open += 1;
        Ok(())
    }

    fn undo(&mut self, rate: Option<Rate>) {
        self.open -= 1;
        if rate.is_some() {
            self.spent -= 1.0;
        }
    }

    fn spent_at(&self, rate: Rate, now: Instant) -> f64 {
        let Some(charged) = self.charged else { return 0.0 };
        let forgiven = now.saturating_duration_since(charged).as_secs_f64() * f64::from(rate.per_second);
        (self.spent - forgiven).max(0.0)
    }

    fn is_blank(&self, rate: Option<Rate>, now: Instant) -> bool {
        self.open == 0 && rate.is_none_or(|rate| self.spent_at(rate, now) <= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limiter(limits: Limits) -> Arc<Limiter> {
        Limiter::new(&limits).unwrap()
    }

    fn networks(limits: NetworkLimits) -> Limits {
        Limits {
            per_network: limits,
            ..Limits::default()
        }
    }

    const RATE: Option<Rate> = Some(Rate {
        per_second: 2,
        burst: 3,
    });

    #[test]
    fn nothing_limited_nothing_counted() {
        assert!(Limiter::new(&Limits::default()).is_none());
    }

    #[test]
    fn connections_are_counted_by_network_until_they_end() {
        let limiter = limiter(networks(NetworkLimits {
            connections: Some(2),
            ..NetworkLimits::default()
        }));
        let now = Instant::now();
        let one = limiter.admit(ip("192.0.2.1"), now).unwrap();
        let _two = limiter.admit(ip("192.0.2.200"), now).unwrap();
        assert_eq!(
            limiter.admit(ip("::ffff:192.0.2.3"), now).unwrap_err(),
            Refused::NetworkConnections
        );
        let other = limiter.admit(ip("192.0.3.1"), now).unwrap();
        drop(one);
        assert!(limiter.admit(ip("192.0.2.3"), now).is_ok());
        drop(other);
        assert_eq!(limiter.counts().networks.len(), 1, "what has ended is forgotten");
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = limiter(networks(NetworkLimits {
            rate: RATE,
            ..NetworkLimits::default()
        }));
        let now = Instant::now();
        let at = |millis| limiter.admit(ip("2001:db8::1"), now + Duration::from_millis(millis));
        for _ in 0..3 {
            at(0).unwrap();
        }
        assert_eq!(at(0).unwrap_err(), Refused::NetworkRate);
        assert_eq!(at(499).unwrap_err(), Refused::NetworkRate);
        at(500).unwrap();
        assert_eq!(at(500).unwrap_err(), Refused::NetworkRate);
        assert!(limiter.admit(ip("2001:db8:0:100::1"), now).is_ok(), "another /56");
        for _ in 0..3 {
            at(60_000).unwrap();
        }
        assert_eq!(
            at(60_000).unwrap_err(),
            Refused::NetworkRate,
            "a pause earns a burst, no more"
        );
    }

    #[test]
    fn the_whole_has_limits_too_and_a_refusal_costs_the_network_nothing() {
        let limiter = limiter(Limits {
            connections: Some(1),
            rate: RATE,
            per_network: NetworkLimits {
                connections: Some(1),
                rate: RATE,
                ..NetworkLimits::default()
            },
            ..Limits::default()
        });
        let now = Instant::now();
        let one = limiter.admit(ip("192.0.2.1"), now).unwrap();
        for _ in 0..10 {
            assert_eq!(
                limiter.admit(ip("192.0.3.1"), now).unwrap_err(),
                Refused::Connections
            );
        }
        drop(one);
        drop(limiter.admit(ip("192.0.3.1"), now).unwrap());
        drop(limiter.admit(ip("192.0.4.1"), now).unwrap());
        assert_eq!(limiter.admit(ip("192.0.5.1"), now).unwrap_err(), Refused::Rate);
    }

    #[test]
    fn the_table_is_bounded_and_the_rest_counts_with_the_whole() {
        let limiter = limiter(Limits {
            connections: Some(4),
            ..networks(NetworkLimits {
                rate: RATE,
                ..NetworkLimits::default()
            })
        });
        limiter.counts().max_networks = 2;
        let now = Instant::now();
        let held: Vec<_> = (0..4)
            .map(|n| limiter.admit(IpAddr::from([10, 0, n, 1]), now).unwrap())
            .collect();
        assert_eq!(limiter.counts().networks.len(), 2);
        assert_eq!(
            limiter.admit(ip("10.0.9.1"), now).unwrap_err(),
            Refused::Connections
        );
        drop(held);
        let later = now + Duration::from_secs(10);
        drop(limiter.admit(ip("10.0.9.1"), later).unwrap());
        let counts = limiter.counts();
        assert_eq!(
            counts.networks.len(),
            1,
            "those with nothing to remember made room"
        );
        assert_eq!(counts.whole.open, 0);
    }
}
