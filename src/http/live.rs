//! A site that can be replaced while its listeners and connections live on: every request is answered by the one that
//! is current when it comes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::config::Http;
use crate::upstream::Body;

use super::idle::Busy;
use super::site::{Shared, Site, Visitor};

/// The current [`Site`] of a listener.
#[derive(Debug)]
pub struct LiveSite(ArcSwap<Site>);

impl LiveSite {
    /// Serves `site` to begin with.
    #[must_use]
    pub fn new(site: Site) -> Self {
        Self(ArcSwap::from_pointee(site))
    }

    /// Serves another section from the next request on. Requests and WebSockets under way stay with the one that they
    /// began with, and what clients take up stays counted where the limits are the same.
    pub fn replace(&self, http: &Http, shared: Arc<Shared>) {
        let before = self.0.load();
        self.0.store(Arc::new(Site::after(&before, http, shared)));
    }

    /// What all sites share, as of now.
    pub(super) fn shared(&self) -> Arc<Shared> {
        self.0.load().shared.clone()
    }

    /// Answers a request, whatever happens.
    pub(super) async fn handle(
        &self,
        visitor: &Visitor,
        request: Request<Incoming>,
        busy: Option<Busy>,
    ) -> Response<Body> {
        let site = self.0.load_full();
        site.handle(visitor, request, busy).await
    }
}
