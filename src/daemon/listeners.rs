//! The HTTP listeners: begun, replaced, added and removed.
//!
//! A listener is known by its address. As long as a service of the configuration has that, it stays open through
//! every reload, and so do its connections; only the site behind it is another one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::{Config, Http, ListenAddr, Service};
use crate::http::{self, LiveSite, Server, Site};

use super::StartError;

/// New listeners, by the name of their service, without a server yet.
pub(super) type Bound = Vec<(String, Vec<TcpListener>)>;

/// The listeners at work.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    listening: Vec<Listening>,
    /// Removed ones that still have connections.
    leaving: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Listening {
    service: String,
    /// As written: `None` and port 0 stand for themselves.
    addr: ListenAddr,
    site: Arc<LiveSite>,
    server: Server,
}

impl Listening {
    /// Port 0 is a port of the service's own.
    fn is_of(&self, service: &Service) -> bool {
        self.addr == service.addr && (service.addr.port != 0 || self.service == service.name)
    }
}

impl Listeners {
    /// Opens what a configuration needs beyond what is open.
    ///
    /// # Errors
    /// The first address that cannot be listened on; then none of the new ones is open.
    pub(super) fn bind(&self, config: &Config) -> Result<Bound, StartError> {
        with_http(config)
            .filter(|(service, _)| !self.listening.iter().any(|open| open.is_of(service)))
            .map(|(service, _)| {
                let listeners = http::bind(service.addr).map_err(|source| StartError::Listen {
                    service: service.name.clone(),
                    addr: service.addr,
                    source,
                })?;
                Ok((service.name.clone(), listeners))
            })
            .collect()
    }

    /// Serves a configuration from the next request on: on what is open already, and on the new listeners. What it
    /// does not name is removed, with `drain` for what runs there.
    ///
    /// # Errors
    /// A new listener that does not know its address.
    pub(super) fn serve(
        &mut self,
        config: &Config,
        mut bound: Bound,
        parts: &Arc<http::Shared>,
        drain: Duration,
    ) -> Result<(), StartError> {
        let mut before = std::mem::take(&mut self.listening);
        let mut failed = None;
        for (service, section) in with_http(config) {
            let listening = match before.iter().position(|open| open.is_of(service)) {
                Some(at) => Ok(renewed(before.swap_remove(at), service, section, parts)),
                None => {
                    let at = bound.iter().position(|(name, _)| *name == service.name);
                    let listeners = at.map(|at| bound.swap_remove(at).1).unwrap_or_default();
                    begun(service, section, listeners, parts)
                }
            };
            match listening {
                Ok(listening) => self.listening.push(listening),
                // The others must live on all the same.
                Err(error) => failed = Some(error),
            }
        }
        self.leaving.retain(|server| !server.is_finished());
        for Listening { service, server, .. } in before {
            tracing::info!(service, addrs = ?server.addrs(), "no longer listened on");
            self.leaving.push(tokio::spawn(server.shutdown(drain)));
        }
        failed.map_or(Ok(()), Err)
    }

    /// What is listened on.
    pub(super) fn addrs(&self) -> impl Iterator<Item = SocketAddr> {
        let servers = self.listening.iter().map(|listening| &listening.server);
        servers.flat_map(|server| server.addrs().iter().copied())
    }

    /// What is listened on once `bound` is served under `config`.
    pub(super) fn addrs_with(&self, config: &Config, bound: &Bound) -> Vec<SocketAddr> {
        let kept = self
            .listening
            .iter()
            .filter(|open| with_http(config).any(|(service, _)| open.is_of(service)));
        let kept = kept.flat_map(|open| open.server.addrs().iter().copied());
        let new = bound.iter().flat_map(|(_, listeners)| listeners);
        kept.chain(new.filter_map(|listener| listener.local_addr().ok()))
            .collect()
    }

    /// Ends all of them in order; returns when nothing is left, or soon after `deadline`.
    pub(super) async fn shutdown(self, deadline: Duration) {
        let servers = self.listening.into_iter().map(|listening| listening.server);
        let ends: Vec<_> = servers
            .map(|server| tokio::spawn(server.shutdown(deadline)))
            .chain(self.leaving)
            .collect();
        for end in ends {
            if let Err(error) = end.await {
                tracing::error!(%error, "a server did not stop");
            }
        }
    }
}

fn with_http(config: &Config) -> impl Iterator<Item = (&Service, &Http)> {
    let services = config.services.iter();
    services.filter_map(|service| Some((service, service.http.as_ref()?)))
}

fn renewed(open: Listening, service: &Service, section: &Http, parts: &Arc<http::Shared>) -> Listening {
    open.site.replace(section, parts.clone());
    open.server.allow_connections(service.max_connections);
    Listening {
        service: service.name.clone(),
        ..open
    }
}

fn begun(
    service: &Service,
    section: &Http,
    listeners: Vec<TcpListener>,
    parts: &Arc<http::Shared>,
) -> Result<Listening, StartError> {
    let site = Arc::new(LiveSite::new(Site::new(section, parts.clone())));
    let server =
        Server::start(listeners, &site, service.max_connections).map_err(|source| StartError::Listen {
            service: service.name.clone(),
            addr: service.addr,
            source,
        })?;
    for addr in server.addrs() {
        tracing::info!(service = service.name, %addr, "HTTP and WebSocket");
    }
    Ok(Listening {
        service: service.name.clone(),
        addr: service.addr,
        site,
        server,
    })
}
