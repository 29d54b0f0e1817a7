//! Which limits a request is under: those of its route, or those of the section.
//!
//! A route with `limits` of its own is counted by itself. Counts outlive a reload that leaves their limits as they
//! were, so that what is open then stays counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::Request;

use crate::config::{Http, Limits};
use crate::ice::RouteId;

use super::errors::Error;
use super::limiter::{Admitted, Limiter};

/// Limits, and the counts under them.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) limits: Arc<Limits>,
    limiter: Option<Arc<Limiter>>,
}

/// The limits of a section and of its routes.
#[derive(Debug)]
pub(super) struct Scopes {
    section: Scope,
    routes: HashMap<RouteId, Scope>,
}

impl Scopes {
    /// As configured; counts go on where `before` has the same limits.
    pub(super) fn new(http: &Http, before: Option<&Self>) -> Self {
        let section = Scope::new(&http.limits, before.map(|before| &before.section));
        let routes = http.routes.iter().filter_map(|route| {
            let limits = route.limits.as_ref()?;
            let before = before.and_then(|before| before.routes.get(&route.id));
            Some((route.id, Scope::new(limits, before)))
        });
        Self {
            routes: routes.collect(),
            section,
        }
    }

    /// What applies to a route, or to what has none.
    pub(super) fn of(&self, route: Option<RouteId>) -> &Scope {
        route
            .and_then(|route| self.routes.get(&route))
            .unwrap_or(&self.section)
    }
}

impl Scope {
    fn new(limits: &Limits, before: Option<&Self>) -> Self {
        match before.filter(|before| *before.limits == *limits) {
            Some(before) => before.clone(),
            None => Self {
                limits: Arc::new(limits.clone()),
                limiter: Limiter::new(limits),
            },
        }
    }

    /// Lets a request go on if its size is fit and there is room for it.
    ///
    /// # Errors
    /// Its header or announced body is too large, or a count is at its limit.
    pub(super) fn admit<B: hyper::body::Body>(
        &self,
        request: &Request<B>,
        client: IpAddr,
    ) -> Result<Option<Admitted>, Error> {
        if header_bytes(request) > self.limits.header_bytes {
            return Err(Error::HeaderTooLarge);
        }
        let announced = request.body().size_hint().lower();
        if self.limits.body_bytes.is_some_and(|most| announced > most) {
            return Err(Error::BodyTooLarge);
        }
        let Some(limiter) = &self.limiter else {
            return Ok(None);
        };
        limiter
            .admit(client, Instant::now())
            .map(Some)
            .map_err(Error::Limited)
    }
}

/// As in HTTP/1.1: the target, and each field as `name: value` with its line end.
fn header_bytes<B>(request: &Request<B>) -> usize {
    let target = request
        .uri()
        .path_and_query()
        .map_or(1, |target| target.as_str().len());
    let fields = request.headers().iter();
    target
        + fields
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum::<usize>()
}
