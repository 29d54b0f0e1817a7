//! The TCP listeners: begun, replaced, added and removed.
//!
//! A listener is known by its address. As long as a service of the configuration has that, it stays open through
//! every reload, and so do its connections; what is behind it is another front, and for the requests to come another
//! site. Certificates whose file names stay are not read again here: their own watch does that.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::{Config, Limits as HttpLimits, ListenAddr, Service, TlsFiles};
use crate::http::{self, CERTIFICATE_POLL, Counters, Front, IceTcp, Limits, LiveSite, Server, Site, Tls};

use super::StartError;
use super::listen_error::listen_error;

/// What a configuration needs beyond what is there: all that may fail.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// New listeners, by the name of their service, without a server yet.
    bound: HashMap<String, Vec<TcpListener>>,
    /// New certificates, by the name of their service.
    tls: HashMap<String, Tls>,
}

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
    certificates: Vec<TlsFiles>,
    tls: Option<Tls>,
    site: Option<Arc<LiveSite>>,
    server: Server,
}

impl Listening {
    /// Port 0 is a port of the service's own.
    fn is_of(&self, service: &Service) -> bool {
        self.addr == service.addr && (service.addr.port != 0 || self.service == service.name)
    }
}

impl Listeners {
    /// Opens listeners and reads certificates, as far as a configuration needs new ones.
    ///
    /// # Errors
    /// The first address that cannot be listened on or certificate that is of no use; then none of the new ones is
    /// left open.
    pub(super) fn prepare(&self, config: &Config, counters: &Arc<Counters>) -> Result<Prepared, StartError> {
        let mut prepared = Prepared::default();
        for service in on_tcp(config) {
            let open = self.listening.iter().find(|open| open.is_of(service));
            if open.is_none() {
                let listeners = http::bind(service.addr).map_err(|source| listen_error(service, source))?;
                prepared.bound.insert(service.name.clone(), listeners);
            }
            let known = open.is_some_and(|open| open.certificates == service.certificates);
            if !known && !service.certificates.is_empty() {
                let tls =
                    Tls::start(&service.certificates, CERTIFICATE_POLL, counters).map_err(|source| {
                        StartError::Tls {
                            service: service.name.clone(),
                            source,
                        }
                    })?;
                prepared.tls.insert(service.name.clone(), tls);
            }
        }
        Ok(prepared)
    }

    /// Serves a configuration: what is open already from its next connection and request on, and the new listeners.
    /// What it does not name is removed, with `drain` for what runs there.
    ///
    /// # Errors
    /// A new listener that does not know its address.
    pub(super) fn serve(
        &mut self,
        config: &Config,
        mut prepared: Prepared,
        parts: &Arc<http::Shared>,
        ice_tcp: &Arc<dyn IceTcp>,
        drain: Duration,
    ) -> Result<(), StartError> {
        let mut before = std::mem::take(&mut self.listening);
        let mut failed = None;
        for service in on_tcp(config) {
            let tls = prepared.tls.remove(&service.name);
            let listening = match before.iter().position(|open| open.is_of(service)) {
                Some(at) => Ok(renewed(before.swap_remove(at), service, tls, parts, ice_tcp)),
                None => {
                    let listeners = prepared.bound.remove(&service.name).unwrap_or_default();
                    begun(service, listeners, tls, parts, ice_tcp)
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

    /// What a service listens on, and its certificates.
    pub(super) fn at_work(&self, service: &Service) -> (Vec<SocketAddr>, Option<Tls>) {
        let open = self.listening.iter().find(|open| open.is_of(service));
        open.map(|open| (open.server.addrs().to_vec(), open.tls.clone()))
            .unwrap_or_default()
    }

    /// What is listened on once a configuration is served, with its services.
    pub(super) fn addrs_with<'c>(
        &self,
        config: &'c Config,
        prepared: &Prepared,
    ) -> Vec<(&'c Service, SocketAddr)> {
        let mut all = Vec::new();
        for service in on_tcp(config) {
            let open = self.listening.iter().find(|open| open.is_of(service));
            let open = open
                .into_iter()
                .flat_map(|open| open.server.addrs().iter().copied());
            let new = prepared.bound.get(&service.name).into_iter().flatten();
            let addrs = open.chain(new.filter_map(|listener| listener.local_addr().ok()));
            all.extend(addrs.map(|addr| (service, addr)));
        }
        all
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

fn on_tcp(config: &Config) -> impl Iterator<Item = &Service> {
    let services = config.services.iter();
    services.filter(|service| service.kind.transport() == "tcp")
}

fn renewed(
    open: Listening,
    service: &Service,
    tls: Option<Tls>,
    parts: &Arc<http::Shared>,
    ice_tcp: &Arc<dyn IceTcp>,
) -> Listening {
    let tls = tls.or_else(|| open.tls.filter(|_| !service.certificates.is_empty()));
    let site = service.http.as_ref().map(|section| match open.site {
        Some(site) => {
            site.replace(section, parts.clone());
            site
        }
        None => Arc::new(LiveSite::new(Site::new(section, parts.clone()))),
    });
    open.server
        .replace(front(service, site.clone(), tls.clone(), parts, ice_tcp));
    Listening {
        service: service.name.clone(),
        addr: open.addr,
        certificates: service.certificates.clone(),
        tls,
        site,
        server: open.server,
    }
}

fn begun(
    service: &Service,
    listeners: Vec<TcpListener>,
    tls: Option<Tls>,
    parts: &Arc<http::Shared>,
    ice_tcp: &Arc<dyn IceTcp>,
) -> Result<Listening, StartError> {
    let site = |section| Arc::new(LiveSite::new(Site::new(section, parts.clone())));
    let site = service.http.as_ref().map(site);
    let server = Server::start(
        listeners,
        front(service, site.clone(), tls.clone(), parts, ice_tcp),
    )
    .map_err(|source| listen_error(service, source))?;
    for addr in server.addrs() {
        let serves = if site.is_some() {
            "HTTP and WebSocket"
        } else {
            "ICE over TCP"
        };
        let (tls, ice) = (tls.is_some(), service.enable_ice);
        tracing::info!(service = service.name, %addr, tls, ice, "{serves}");
    }
    Ok(Listening {
        service: service.name.clone(),
        addr: service.addr,
        certificates: service.certificates.clone(),
        tls,
        site,
        server,
    })
}

fn front(
    service: &Service,
    site: Option<Arc<LiveSite>>,
    tls: Option<Tls>,
    parts: &Arc<http::Shared>,
    ice_tcp: &Arc<dyn IceTcp>,
) -> Front {
    let defaults = HttpLimits::default();
    let limits = service.http.as_ref().map_or(&defaults, |http| &http.limits);
    Front {
        site,
        ice_tcp: service.enable_ice.then(|| ice_tcp.clone()),
        tls,
        redirect_https: service.redirect_https,
        trusted_proxies: service.trusted_proxies.clone(),
        limits: Limits {
            connections: service.max_connections,
            per_network: service.per_network,
            ..Limits::of(limits)
        },
        counters: parts.counters.clone(),
    }
}
