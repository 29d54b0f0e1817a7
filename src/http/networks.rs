//! How many connections the clients of one network have at a listener; the bound may change while it runs.
//!
//! The table is bounded by itself: a network is in it for as long as it has a connection, and connections have a
//! bound of their own. They are counted without a bound too, so that one that is set later finds them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use crate::config::{NetworkConnections, NetworkLimits};

/// The connections of a listener, by network.
#[derive(Debug)]
pub(super) struct Networks(Mutex<Table>);

#[derive(Debug)]
struct Table {
    v4: u8,
    v6: u8,
    most: usize,
    open: HashMap<IpNet, usize>,
    /// Changes with what a network is: the connections that were counted before are not counted again.
    epoch: u64,
}

/// One connection of a network; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    networks: Arc<Networks>,
    network: IpNet,
    epoch: u64,
}

impl Networks {
    pub(super) fn new(bound: Option<NetworkConnections>) -> Self {
        let bound = bound.unwrap_or_else(any);
        Self(Mutex::new(Table {
            v4: bound.v4,
            v6: bound.v6,
            most: bound.connections,
            open: HashMap::new(),
            epoch: 0,
        }))
    }

    /// Has another bound from now on. What is open stays, and stays counted if networks are what they were.
    pub(super) fn resize(&self, bound: Option<NetworkConnections>) {
        let bound = bound.unwrap_or_else(any);
        let mut table = self.table();
        table.most = bound.connections;
        if (table.v4, table.v6) != (bound.v4, bound.v6) {
            (table.v4, table.v6) = (bound.v4, bound.v6);
            table.open.clear();
            table.epoch += 1;
        }
    }

    /// A place for a connection of `client`, if its network has one free.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let mut table = self.table();
        let network = network_of(client, table.v4, table.v6);
        let (most, epoch) = (table.most, table.epoch);
        let open = table.open.get(&network).copied().unwrap_or(0);
        if open >= most {
            return None;
        }
        table.open.insert(network, open + 1);
        drop(table);
        Some(Place {
            networks: self.clone(),
            network,
            epoch,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Networks as they are by default, without a bound.
fn any() -> NetworkConnections {
    let NetworkLimits { v4, v6, .. } = NetworkLimits::default();
    NetworkConnections {
        v4,
        v6,
        connections: usize::MAX,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.networks.table();
        if table.epoch != self.epoch {
            return;
        }
        if let Some(open) = table.open.get_mut(&self.network) {
            *open -= 1;
            if *open == 0 {
                table.open.remove(&self.network);
            }
        }
    }
}

/// The network of a client, of so many leading bits.
pub(super) fn network_of(client: IpAddr, v4: u8, v6: u8) -> IpNet {
    let client = client.to_canonical();
    let bits = match client {
        IpAddr::V4(_) => v4,
        IpAddr::V6(_) => v6,
    };
    IpNet::new(client, bits).map_or_else(|_| IpNet::from(client), |network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(v4: u8, connections: usize) -> Option<NetworkConnections> {
        Some(NetworkConnections {
            v4,
            v6: 56,
            connections,
        })
    }

    fn taken(networks: &Arc<Networks>, client: &str) -> Option<Place> {
        networks.take(client.parse().unwrap())
    }

    #[test]
    fn each_network_has_its_own_places_and_is_forgotten_with_the_last() {
        let networks = Arc::new(Networks::new(bound(24, 2)));
        let one = taken(&networks, "192.0.2.1");
        let two = taken(&networks, "::ffff:192.0.2.2");
        assert!(one.is_some() && two.is_some());
        assert!(taken(&networks, "192.0.2.3").is_none());
        assert!(taken(&networks, "192.0.3.3").is_some());
        drop(one);
        let six = [(); 2].map(|()| taken(&networks, "2001:db8::1"));
        assert!(six.iter().all(Option::is_some));
        assert!(taken(&networks, "2001:db8:0:ff::1").is_none(), "the same 56 bits");
        assert!(taken(&networks, "192.0.2.3").is_some());
        drop((two, six));
        assert_eq!(networks.table().open.len(), 0);
    }

    #[test]
    fn a_bound_that_comes_later_finds_what_is_open() {
        let networks = Arc::new(Networks::new(None));
        let held = [(); 3].map(|()| taken(&networks, "192.0.2.1"));
        networks.resize(bound(24, 3));
        assert!(taken(&networks, "192.0.2.1").is_none());
        networks.resize(bound(32, 1));
        let by_itself = taken(&networks, "192.0.2.1");
        assert!(by_itself.is_some(), "another kind of network counts anew");
        drop(held);
        assert!(
            taken(&networks, "192.0.2.1").is_none(),
            "the ends of those before count no more"
        );
    }
}
