//! The UDP listeners of the media plane over reloads: opened, announced, retired, closed.
//!
//! A listener is known by its address, as those of TCP are. One that no service has any more is shown to no new call
//! and goes on for those which use it: it is closed when the last of them has left it, and after the time to drain at
//! the latest. A service that has its address meanwhile takes it up again.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::{Config, ListenAddr, Service};
use crate::ice::ListenerId;
use crate::media::shared::Shared;
use crate::media::{Media, OpenedUdp, UdpListen};

use super::StartError;
use super::generation::ice_udp;
use super::listen_error::listen_error;

/// A client that was shown a listener just before it was retired has this long for its first check.
const FIRST_CHECK: Duration = Duration::from_secs(5);
/// How often it is looked whether a retired listener is still in use.
const LOOK: Duration = Duration::from_millis(500);

/// The listeners.
#[derive(Debug, Default)]
pub(super) struct UdpListeners {
    open: Vec<Open>,
    /// Of the next listener. Ids come again after 65 536 listeners.
    next: u16,
}

#[derive(Debug)]
struct Open {
    id: ListenerId,
    service: String,
    /// As written: `None` and port 0 stand for themselves.
    addr: ListenAddr,
    bound: Vec<SocketAddr>,
    retired: Option<Retired>,
}

#[derive(Clone, Copy, Debug)]
struct Retired {
    since: Instant,
    /// When it is closed whatever happens.
    until: Instant,
}

/// New listeners, bound and not served yet, by the names of their services.
#[derive(Debug, Default)]
pub(super) struct PreparedUdp {
    new: Vec<(String, OpenedUdp)>,
}

impl Open {
    /// Port 0 is a port of the service's own.
    fn is_of(&self, service: &Service) -> bool {
        self.addr == service.addr && (service.addr.port != 0 || self.service == service.name)
    }
}

impl UdpListeners {
    /// What the media plane was started with: the listeners of [`ice_udp`], by number.
    pub(super) fn started(config: &Config, media: &Media) -> Self {
        let bound = media.bound();
        let open: Vec<Open> = (0..)
            .map(ListenerId)
            .zip(ice_udp(config))
            .map(|(id, service)| Open {
                id,
                service: service.name.clone(),
                addr: service.addr,
                bound: bound
                    .iter()
                    .filter_map(|(on, addr)| (*on == id).then_some(*addr))
                    .collect(),
                retired: None,
            })
            .collect();
        open.iter().for_each(announce);
        Self {
            next: open.len() as u16,
            open,
        }
    }

    /// Opens the listeners that a configuration needs and that are not there.
    ///
    /// # Errors
    /// The first address that cannot be listened on; then none of the new ones is left open.
    pub(super) fn prepare(&mut self, config: &Config, media: &Media) -> Result<PreparedUdp, StartError> {
        let mut prepared = PreparedUdp::default();
        for service in ice_udp(config) {
            if self.open.iter().any(|open| open.is_of(service)) {
                continue;
            }
            let listen = UdpListen {
                id: self.free_id(),
                ip: service.addr.ip,
                port: service.addr.port,
            };
            let opened = media.open(listen).map_err(|error| listen_error(service, error))?;
            prepared.new.push((service.name.clone(), opened));
        }
        Ok(prepared)
    }

    /// What a service listens on.
    pub(super) fn at_work(&self, service: &Service) -> Vec<SocketAddr> {
        let open = self.open.iter().find(|open| open.is_of(service));
        open.map(|open| open.bound.clone()).unwrap_or_default()
    }

    /// What is listened on once a configuration is served, with its services.
    pub(super) fn addrs_with<'c>(
        &self,
        config: &'c Config,
        prepared: &PreparedUdp,
    ) -> Vec<(&'c Service, SocketAddr)> {
        let mut all = Vec::new();
        for service in ice_udp(config) {
            let open = self.open.iter().find(|open| open.is_of(service));
            let open = open.into_iter().flat_map(|open| open.bound.iter().copied());
            let new = prepared.new.iter().filter(|(name, _)| *name == service.name);
            let addrs = open.chain(new.flat_map(|(_, opened)| opened.bound()));
            all.extend(addrs.map(|addr| (service, addr)));
        }
        all
    }

    /// Serves a configuration: new listeners from now on, those that it does not name for `drain` at most.
    pub(super) fn serve(&mut self, config: &Config, prepared: PreparedUdp, media: &Media, drain: Duration) {
        for open in &mut self.open {
            match ice_udp(config).find(|service| open.is_of(service)) {
                Some(service) => {
                    open.service.clone_from(&service.name);
                    open.retired = None;
                }
                None if open.retired.is_none() => {
                    tracing::info!(service = open.service, addrs = ?open.bound, "UDP listener is given up");
                    let since = Instant::now();
                    let until = since + drain;
                    open.retired = Some(Retired { since, until });
                }
                None => {}
            }
        }
        for (name, opened) in prepared.new {
            let Some(service) = ice_udp(config).find(|service| service.name == name) else {
                continue;
            };
            let open = Open {
                id: opened.id(),
                service: name,
                addr: service.addr,
                bound: opened.bound().collect(),
                retired: None,
            };
            announce(&open);
            media.serve(opened);
            self.open.push(open);
        }
    }

    /// After a while, closes the retired listeners that are of no more use. While there are none it never returns.
    /// May be dropped and called again.
    pub(super) async fn tidy(&mut self, media: &Media, shared: &Shared) {
        if self.open.iter().all(|open| open.retired.is_none()) {
            return std::future::pending().await;
        }
        sleep(LOOK).await;
        let now = Instant::now();
        self.open.retain(|open| {
            let closes = open.retired.is_some_and(|retired| {
                now >= retired.until || (now >= retired.since + FIRST_CHECK && !shared.is_used(open.id))
            });
            if closes {
                tracing::info!(service = open.service, addrs = ?open.bound, "UDP listener is closed");
                media.close(open.id);
            }
            !closes
        });
    }

    /// An id that no listener has.
    fn free_id(&mut self) -> ListenerId {
        loop {
            let id = ListenerId(self.next);
            self.next = self.next.wrapping_add(1);
            if self.open.iter().all(|open| open.id != id) {
                return id;
            }
        }
    }
}

fn announce(open: &Open) {
    for addr in &open.bound {
        tracing::info!(service = open.service, %addr, "ICE over UDP");
    }
}
