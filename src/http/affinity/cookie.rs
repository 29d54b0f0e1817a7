//! The cookie that brings a client back to its server, where a group has several.
//!
//! Its value is a name that only this daemon's key can make, so that it tells nothing of the servers and cannot be
//! forged; nodes with the same key and configuration make the same names.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue};

use crate::config::Balance;
use crate::ice::{KeyRing, RouteId};
use crate::upstream::{Group, Peer, Purpose, ServerId};

use super::super::site::Exchange;

/// The cookies of one route, for one purpose.
pub(super) struct Jar<'a> {
    name: String,
    keys: Arc<KeyRing>,
    route: RouteId,
    peers: &'a [Arc<Peer>],
    secure: bool,
}

impl<'a> Jar<'a> {
    /// `None`: the group is not to use cookies, or its balancer brings clients back by itself.
    pub(super) fn of(exchange: &Exchange<'_>, group: &'a Group, purpose: Purpose) -> Option<Self> {
        let config = group.config();
        if !config.cookie || matches!(config.mode, Balance::Hash(_)) {
            return None;
        }
        let route = exchange.route.id;
        let suffix = match purpose {
            Purpose::Request => "",
            Purpose::WebSocket => "_ws",
        };
        Some(Self {
            name: format!("xrtc_{:08x}{suffix}", route.0),
            keys: exchange.site.shared.calls.keys(),
            route,
            peers: group.peers(purpose),
            secure: exchange.secure,
        })
    }

    /// The server that a request's cookie names.
    pub(super) fn server(&self, headers: &HeaderMap) -> Option<Arc<Peer>> {
        let name = value(headers, &self.name)?;
        let mut peers = self.peers.iter();
        peers.find(|peer| self.server_name(peer.id()) == name).cloned()
    }

    /// What sets the cookie. `None`: the client has one that names a server of the group. Such a client comes back to
    /// it when it is up again.
    pub(super) fn fresh(&self, server: ServerId, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.server(headers).is_some() {
            return None;
        }
        let Self { name, secure, .. } = self;
        // Calls from pages of other sites need `None`, which browsers take over TLS only.
        let site = if *secure {
            "; Secure; SameSite=None"
        } else {
            "; SameSite=Lax"
        };
        let text = format!("{name}={}; Path=/; HttpOnly{site}", self.server_name(server));
        HeaderValue::try_from(text).ok()
    }

    fn server_name(&self, server: ServerId) -> String {
        let name = self
            .keys
            .opaque_name(&[b"affinity", &self.route.0.to_be_bytes(), &server.to_bytes()]);
        format!("{name:016x}")
    }
}

/// The value of the first cookie of a name.
pub(in super::super) fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1; xa=2".parse().unwrap());
        headers.append(COOKIE, "b=x=y;c".parse().unwrap());
        assert_eq!(value(&headers, "a"), Some("1"));
        assert_eq!(value(&headers, "xa"), Some("2"));
        assert_eq!(value(&headers, "b"), Some("x=y"));
        assert_eq!(value(&headers, "c"), None);
    }
}
