//! A group of servers and the choice among them.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::{Balance, Scheme, Server, UpstreamGroup};

use super::error::UpstreamError;

/// What a server is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An HTTP request: `http` and `https` servers.
    Request,
    /// A WebSocket: `ws` and `wss` servers, or where there are none the `http` and `https` ones, on which a
    /// WebSocket is just a request to the same host.
    WebSocket,
}

/// One `proto: upstream` service.
#[derive(Debug)]
pub struct Group {
    mode: Balance,
    http: Rotation,
    websocket: Rotation,
}

/// Servers that stand in for one another.
#[derive(Debug)]
struct Rotation {
    servers: Vec<Server>,
    next: AtomicUsize,
}

impl Group {
    /// A group as configured.
    #[must_use]
    pub fn new(config: &UpstreamGroup) -> Self {
        let (websocket, http) = config
            .servers
            .iter()
            .cloned()
            .partition(|server| matches!(server.scheme, Scheme::Ws | Scheme::Wss));
        Self {
            mode: config.mode,
            http: Rotation::new(http),
            websocket: Rotation::new(websocket),
        }
    }

    /// The next server for a purpose.
    ///
    /// # Errors
    /// [`UpstreamError::NoServer`] if the group has none for it.
    pub fn pick(&self, purpose: Purpose) -> Result<&Server, UpstreamError> {
        let rotation = match purpose {
            Purpose::WebSocket if !self.websocket.servers.is_empty() => &self.websocket,
            Purpose::WebSocket | Purpose::Request => &self.http,
        };
        rotation.pick(self.mode).ok_or(UpstreamError::NoServer)
    }

    /// Every server, whatever its purpose.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.http.servers.iter().chain(&self.websocket.servers)
    }
}

impl Rotation {
    fn new(servers: Vec<Server>) -> Self {
        Self {
            servers,
            next: AtomicUsize::new(0),
        }
    }

    fn pick(&self, mode: Balance) -> Option<&Server> {
        let count = self.servers.len();
        let turn = || self.next.fetch_add(1, Ordering::Relaxed);
        let index = match (count, mode) {
            (0, _) => return None,
            (1, _) => 0,
            (_, Balance::RoundRobin) => turn() % count,
            // Without entropy, taking turns is the next best thing.
            (_, Balance::Random) => getrandom::u32().map_or_else(|_| turn(), |n| n as usize) % count,
        };
        self.servers.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(mode: Balance, servers: &[(Scheme, &str)]) -> Group {
        Group::new(&UpstreamGroup {
            name: "g".into(),
            mode,
            servers: servers
                .iter()
                .map(|&(scheme, host)| Server {
                    scheme,
                    host: host.into(),
                    port: 80,
                })
                .collect(),
            media_allow: Vec::new(),
            max_sessions: None,
        })
    }

    fn picks(group: &Group, purpose: Purpose, n: usize) -> Vec<&str> {
        (0..n)
            .map(|_| group.pick(purpose).unwrap().host.as_str())
            .collect()
    }

    #[test]
    fn round_robin_takes_turns_from_the_first_for_each_purpose() {
        let group = group(
            Balance::RoundRobin,
            &[
                (Scheme::Http, "a"),
                (Scheme::Ws, "w"),
                (Scheme::Https, "b"),
                (Scheme::Wss, "x"),
            ],
        );
        assert_eq!(picks(&group, Purpose::Request, 3), ["a", "b", "a"]);
        assert_eq!(picks(&group, Purpose::WebSocket, 3), ["w", "x", "w"]);
    }

    #[test]
    fn random_reaches_every_server() {
        let group = group(Balance::Random, &[(Scheme::Http, "a"), (Scheme::Http, "b")]);
        let seen: std::collections::HashSet<_> = picks(&group, Purpose::Request, 64).into_iter().collect();
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn websockets_fall_back_to_http_servers_but_requests_never_to_websocket_servers() {
        let http = group(Balance::RoundRobin, &[(Scheme::Http, "a")]);
        assert_eq!(picks(&http, Purpose::WebSocket, 1), ["a"]);
        let ws = group(Balance::RoundRobin, &[(Scheme::Ws, "w")]);
        assert!(matches!(ws.pick(Purpose::Request), Err(UpstreamError::NoServer)));
    }
}
