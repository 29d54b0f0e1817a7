//! One `http:` section at work: decides for each request whether it is proxied, becomes a WebSocket, or is a file.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Request, Response, Uri};
use ipnet::IpNet;

use crate::config::{Http, Limits, PathRule, Route};
use crate::upstream::{Body, Client, Lease, Upstreams};

use super::access_log::{AccessLogs, Log};
use super::affinity::Affinity;
use super::context::Signalling;
use super::counters::Counters;
use super::drain::Admission;
use super::errors::Error;
use super::files::Files;
use super::headers::{self, Hop, Provenance};
use super::idle::Busy;
use super::limits::{Scope, Scopes};
use super::memory::TokenMemory;
use super::ports::{Calls, ConnInfo};
use super::redirect::Redirect;
use super::request_id::{self, REQUEST_ID};
use super::router::Router;
use super::server::Limits as ConnLimits;
use super::target::Target;
use super::traffic::SectionTraffic;
use super::visit::Visit;
use super::{proxy, websocket};

/// What all sites of the daemon share, and what outlives a reload.
pub struct Shared {
    /// The upstream groups.
    pub upstreams: Arc<Upstreams>,
    /// The media plane.
    pub calls: Arc<dyn Calls>,
    /// Tokens minted before.
    pub memory: Arc<TokenMemory>,
    /// Which server has which call.
    pub affinity: Arc<Affinity>,
    /// What happened.
    pub counters: Arc<Counters>,
    /// The access logs; those of the sections must be open.
    pub access_logs: Arc<AccessLogs>,
    /// Numbers connections and WebSockets; start at any value.
    pub connections: Arc<AtomicU64>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("upstreams", &self.upstreams)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A number that no other connection or WebSocket of this process has.
    pub(super) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Where a server is; `None`: its name does not resolve.
    pub(super) async fn address_of(&self, lease: &Lease) -> Option<IpAddr> {
        if let Some(ip) = lease.literal() {
            return Some(ip);
        }
        let addresses = Box::pin(self.upstreams.names().resolve(&lease.server().host)).await;
        addresses.ok().and_then(|addresses| addresses.first().copied())
    }
}

/// One `http:` section.
#[derive(Debug)]
pub struct Site {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Arc<Client>,
    router: Router,
    files: Option<Files>,
    scopes: Scopes,
    log: Option<Log>,
    traffic: SectionTraffic,
    trusted_proxies: Vec<IpNet>,
}

/// One client connection, as its requests see it.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) connection: u64,
    pub(super) conn: ConnInfo,
    pub(super) provenance: Provenance,
    pub(super) admission: Admission,
    pub(super) limits: ConnLimits,
    pub(super) redirect: Redirect,
}

/// One request on its way to the upstream of a route.
pub(super) struct Exchange<'a> {
    pub(super) site: &'a Site,
    pub(super) visitor: &'a Visitor,
    pub(super) route: Arc<Route>,
    /// The rule that made the path that the upstream sees, if one did.
    pub(super) rule: Option<PathRule>,
    pub(super) target: Target,
    /// The client came over TLS, to us or to a proxy that we trust.
    pub(super) secure: bool,
    pub(super) id: &'a HeaderValue,
    pub(super) limits: Arc<Limits>,
    pub(super) visit: Arc<Visit>,
}

impl Site {
    /// The site of a section.
    #[must_use]
    pub fn new(http: &Http, shared: Arc<Shared>) -> Self {
        Self::build(http, shared, None)
    }

    /// The site that takes over from another: what its clients take up stays counted.
    pub(super) fn after(before: &Self, http: &Http, shared: Arc<Shared>) -> Self {
        Self::build(http, shared, Some(&before.scopes))
    }

    fn build(http: &Http, shared: Arc<Shared>, before: Option<&Scopes>) -> Self {
        Self {
            client: Arc::new(Client::new(&shared.upstreams, http)),
            router: Router::new(http),
            files: http
                .root
                .as_deref()
                .map(|root| Files::new(root, http.fallback.as_deref())),
            scopes: Scopes::new(http, before),
            log: shared.access_logs.of(http.access_log.as_ref()),
            traffic: shared.counters.routes.of(http),
            trusted_proxies: http.trusted_proxies.clone(),
            shared,
        }
    }

    /// Answers a request, whatever happens.
    pub(super) async fn handle(
        &self,
        visitor: &Visitor,
        request: Request<Incoming>,
        busy: Option<Busy>,
    ) -> Response<Body> {
        self.shared.counters.requests.add();
        let id = request_id::of(request.headers());
        let client = headers::client_ip(request.headers(), &visitor.conn, &self.trusted_proxies);
        let unrouted = self.traffic.of(None).clone();
        let visit = Visit::begin(&request, client, &id, self.log.clone(), unrouted, busy);
        let head_only = request.method() == Method::HEAD;
        let mut response = match self.answer(visitor, request, &id, &visit).await {
            Ok(response) => response,
            Err(error) => error.into_response(&self.shared.counters),
        };
        response.headers_mut().insert(REQUEST_ID, id);
        visit.answered(head_only, response)
    }

    /// The limits that a request is under, which it is within.
    fn admit(
        &self,
        request: &Request<Incoming>,
        route: Option<&Arc<Route>>,
        visit: &Visit,
    ) -> Result<&Scope, Error> {
        let scope = self.scopes.of(route.map(|route| route.id));
        visit.routed(route, self.traffic.of(route.map(|route| route.id)));
        visit.admitted(scope.admit(request, visit.client())?);
        Ok(scope)
    }

    /// Peers whose word on where a request came from is taken.
    pub(super) fn trusted_proxies(&self) -> &[IpNet] {
        &self.trusted_proxies
    }

    async fn answer(
        &self,
        visitor: &Visitor,
        mut request: Request<Incoming>,
        id: &HeaderValue,
        visit: &Arc<Visit>,
    ) -> Result<Response<Body>, Error> {
        let upgrade = websocket::is_handshake(&request);
        let target = Target::of(&request, upgrade)?;
        let secure = headers::is_secure(request.headers(), &visitor.conn, &self.trusted_proxies);
        if !secure && visitor.redirect.applies(request.uri()) {
            self.shared.counters.redirected.add();
            return visitor.redirect.response(&target.authority, request.uri());
        }
        let found = self.router.route(&target.key());
        let scope = self.admit(&request, found.as_ref().map(|found| &found.route), visit)?;
        let Some(found) = found else {
            let files = self.files.as_ref().ok_or(Error::NotFound)?;
            return files.serve(request).await;
        };
        if let Some(path) = &found.path {
            *request.uri_mut() = with_path(request.uri(), path)?;
        }
        let exchange = Exchange {
            site: self,
            visitor,
            route: found.route,
            rule: found.rule,
            target,
            secure,
            id,
            limits: scope.limits.clone(),
            visit: visit.clone(),
        };
        // Boxed: this future is moved several times before it begins.
        if upgrade {
            Box::pin(websocket::serve(&exchange, request)).await
        } else {
            Box::pin(proxy::forward(&exchange, request)).await
        }
    }
}

impl Exchange<'_> {
    /// A client's headers as an upstream gets them.
    pub(super) fn to_upstream(&self, headers: &HeaderMap) -> HeaderMap {
        let hop = Hop {
            conn: &self.visitor.conn,
            provenance: &self.visitor.provenance,
            authority: &self.target.authority,
            id: self.id,
            trusted: self.site.trusted_proxies(),
        };
        hop.to_upstream(headers)
    }

    /// The rewriting of what this exchange's `connection` carries between its client and a server.
    pub(super) async fn signalling(&self, lease: &Lease, connection: u64) -> Signalling {
        Signalling {
            shared: self.site.shared.clone(),
            route: self.route.clone(),
            connection,
            conn: self.visitor.conn,
            server: self.site.shared.address_of(lease).await,
        }
    }
}

fn with_path(uri: &Uri, path: &str) -> Result<Uri, Error> {
    let path_and_query = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    path_and_query
        .map(Uri::from)
        .map_err(|_| Error::BadRequest("the path cannot be rewritten"))
}
