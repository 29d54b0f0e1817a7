//! A group of servers and the choice among them.
//!
//! The servers of one purpose form a rotation. Chosen from are those that are up; else the backups that are up; else,
//! for want of better, those that requests have failed on (a refused connection is no worse an answer than none). A
//! server that fails its active checks gets nothing new. What belongs to a call that a server has already goes there
//! all the same, by [`Group::server`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::config::{Balance, Scheme, UpstreamGroup};

use super::balance::{self, Choice};
use super::error::UpstreamError;
use super::health::Checks;
use super::peer::{Peer, ServerId, Standing};
use super::tls::TlsId;

/// What a server is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An HTTP request: `http` and `https` servers.
    Request,
    /// A WebSocket: `ws` and `wss` servers, or where there are none the `http` and `https` ones, on which a
    /// WebSocket is just a request to the same host.
    WebSocket,
}

/// What a choice depends on beside the group.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// What for.
    pub purpose: Purpose,
    /// What `mode: hash` hashes.
    pub key: u64,
    /// Servers that have been tried in vain.
    pub tried: &'a [ServerId],
}

/// One `proto: upstream` service.
#[derive(Debug)]
pub struct Group {
    config: UpstreamGroup,
    tls: TlsId,
    http: Rotation,
    websocket: Rotation,
}

/// Servers that stand in for one another.
#[derive(Debug)]
struct Rotation {
    peers: Vec<Arc<Peer>>,
    /// Of round robin, by index.
    credits: Mutex<Vec<i64>>,
}

impl Group {
    /// A group as configured.
    pub(super) fn new(config: &UpstreamGroup, tls: TlsId) -> Self {
        let peers = config
            .servers
            .iter()
            .map(|server| Arc::new(Peer::new(server.clone(), config.slow_start, tls)));
        let (websocket, http) =
            peers.partition(|peer| matches!(peer.server().scheme, Scheme::Ws | Scheme::Wss));
        Self {
            config: config.clone(),
            tls,
            http: Rotation::new(http),
            websocket: Rotation::new(websocket),
        }
    }

    /// Whether it is what [`Self::new`] would make of this, apart from its state.
    pub(super) fn is_of(&self, config: &UpstreamGroup, tls: TlsId) -> bool {
        self.config == *config && self.tls == tls
    }

    /// The group as configured.
    #[must_use]
    pub fn config(&self) -> &UpstreamGroup {
        &self.config
    }

    /// The server whose turn it is.
    ///
    /// # Errors
    /// [`UpstreamError::NoServer`] if the group has none for the purpose, [`UpstreamError::Down`] if none is left.
    pub fn pick(&self, wish: &Wish<'_>, now: Instant) -> Result<Arc<Peer>, UpstreamError> {
        let rotation = self.rotation(wish.purpose);
        if rotation.peers.is_empty() {
            return Err(UpstreamError::NoServer);
        }
        let peer = rotation
            .choices(wish, now)
            .into_iter()
            .find_map(|choices| rotation.choose(&self.config.mode, &choices, wish.key));
        let peer = peer.ok_or(UpstreamError::Down)?;
        peer.chosen(now);
        Ok(peer.clone())
    }

    /// The server of this name, up or not, if the group has it for the purpose.
    #[must_use]
    pub fn server(&self, purpose: Purpose, id: ServerId) -> Option<Arc<Peer>> {
        let mut peers = self.rotation(purpose).peers.iter();
        peers.find(|peer| peer.id() == id).cloned()
    }

    /// The servers for a purpose.
    #[must_use]
    pub fn peers(&self, purpose: Purpose) -> &[Arc<Peer>] {
        &self.rotation(purpose).peers
    }

    /// Every server, whatever its purpose.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.http.peers.iter().chain(&self.websocket.peers)
    }

    /// The active checks of this group, if it has some.
    pub(super) fn checks(&self) -> Option<Checks<'_>> {
        let config = self.config.health.as_ref()?;
        Some(Checks {
            config,
            tls: self.tls,
            peers: self.all().collect(),
        })
    }

    fn rotation(&self, purpose: Purpose) -> &Rotation {
        match purpose {
            Purpose::WebSocket if !self.websocket.peers.is_empty() => &self.websocket,
            Purpose::WebSocket | Purpose::Request => &self.http,
        }
    }
}

impl Rotation {
    fn new(peers: Vec<Arc<Peer>>) -> Self {
        Self {
            credits: Mutex::new(vec![0; peers.len()]),
            peers,
        }
    }

    /// Whom to choose from: the first of these that is not empty.
    fn choices(&self, wish: &Wish<'_>, now: Instant) -> [Vec<Choice>; 4] {
        let [mut up, mut backup, mut out, mut backup_out] = [const { Vec::new() }; 4];
        for (index, peer) in self.peers.iter().enumerate() {
            if wish.tried.contains(&peer.id()) {
                continue;
            }
            let server = peer.server();
            let choice = |weight| Choice {
                index,
                id: peer.id(),
                weight,
                load: peer.active(),
            };
            match peer.standing(now) {
                Standing::Up(weight) if server.backup => backup.push(choice(weight)),
                Standing::Up(weight) => up.push(choice(weight)),
                // Once a request has failed, those that may be worse are not for it.
                Standing::Out if !wish.tried.is_empty() => {}
                Standing::Out if server.backup => backup_out.push(choice(u64::from(server.weight))),
                Standing::Out => out.push(choice(u64::from(server.weight))),
                Standing::Unhealthy => {}
            }
        }
        [up, backup, out, backup_out]
    }

    fn choose(&self, mode: &Balance, choices: &[Choice], key: u64) -> Option<&Arc<Peer>> {
        let in_turn = |choices: &[Choice]| {
            let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
            balance::round_robin(choices, &mut credits)
        };
        let index = match mode {
            Balance::RoundRobin => in_turn(choices),
            // Without entropy, taking turns is the next best thing.
            Balance::Random => match getrandom::u64() {
                Ok(number) => balance::random(choices, number),
                Err(_) => in_turn(choices),
            },
            Balance::LeastConn => in_turn(&balance::least_busy(choices)),
            Balance::Hash(_) => balance::hash(choices, key),
        };
        self.peers.get(index?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::{HashBy, Server};

    use super::*;

    fn group(mode: Balance, servers: Vec<Server>) -> Group {
        let config = UpstreamGroup {
            mode,
            slow_start: Duration::ZERO,
            ..UpstreamGroup::new("g", servers)
        };
        Group::new(&config, TlsId::default())
    }

    fn server(scheme: Scheme, host: &str) -> Server {
        Server::new(scheme, host, 80)
    }

    fn http(hosts: &[&str]) -> Vec<Server> {
        hosts.iter().map(|host| server(Scheme::Http, host)).collect()
    }

    fn wish(purpose: Purpose) -> Wish<'static> {
        Wish {
            purpose,
            key: 0,
            tried: &[],
        }
    }

    fn request() -> Wish<'static> {
        wish(Purpose::Request)
    }

    fn picks(group: &Group, purpose: Purpose, n: usize) -> Vec<String> {
        (0..n)
            .map(|_| group.pick(&wish(purpose), Instant::now()).unwrap())
            .map(|peer| peer.server().host.clone())
            .collect()
    }

    fn host(group: &Group, wish: &Wish<'_>, now: Instant) -> Option<String> {
        let peer = group.pick(wish, now).ok()?;
        Some(peer.server().host.clone())
    }

    fn fail(group: &Group, host: &str, now: Instant) {
        let peer = group.all().find(|peer| peer.server().host == host).unwrap();
        peer.lease(now).failed(now);
    }

    #[test]
    fn round_robin_takes_turns_from_the_first_for_each_purpose() {
        let servers = [
            (Scheme::Http, "a"),
            (Scheme::Ws, "w"),
            (Scheme::Https, "b"),
            (Scheme::Wss, "x"),
        ];
        let servers = servers.map(|(scheme, host)| server(scheme, host));
        let group = group(Balance::RoundRobin, servers.into());
        assert_eq!(picks(&group, Purpose::Request, 3), ["a", "b", "a"]);
        assert_eq!(picks(&group, Purpose::WebSocket, 3), ["w", "x", "w"]);
    }

    #[test]
    fn random_reaches_every_server() {
        let group = group(Balance::Random, http(&["a", "b"]));
        let seen: std::collections::HashSet<_> = picks(&group, Purpose::Request, 64).into_iter().collect();
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn least_conn_goes_where_the_least_is_open_and_takes_turns_among_equals() {
        let group = group(Balance::LeastConn, http(&["a", "b", "c"]));
        let now = Instant::now();
        let _on_a = group.pick(&request(), now).unwrap().lease(now);
        assert_eq!(picks(&group, Purpose::Request, 4), ["b", "c", "b", "c"]);
    }

    #[test]
    fn a_hash_key_keeps_its_server() {
        let group = group(Balance::Hash(HashBy::ClientIp), http(&["a", "b", "c"]));
        let now = Instant::now();
        let of = |key| host(&group, &Wish { key, ..request() }, now).unwrap();
        let first: Vec<_> = (0..100).map(of).collect();
        assert_eq!(first, (0..100).map(of).collect::<Vec<_>>());
        assert!(["a", "b", "c"].iter().all(|host| first.iter().any(|f| f == host)));
    }

    #[test]
    fn websockets_fall_back_to_http_servers_but_requests_never_to_websocket_servers() {
        let plain = group(Balance::RoundRobin, http(&["a"]));
        assert_eq!(picks(&plain, Purpose::WebSocket, 1), ["a"]);
        let ws = group(Balance::RoundRobin, vec![server(Scheme::Ws, "w")]);
        let refused = ws.pick(&request(), Instant::now());
        assert!(matches!(refused, Err(UpstreamError::NoServer)));
    }

    #[test]
    fn a_server_that_fails_is_left_out_until_its_time_has_come() {
        let group = group(Balance::RoundRobin, http(&["a", "b"]));
        let start = Instant::now();
        fail(&group, "a", start);
        let at = |seconds| start + Duration::from_secs(seconds);
        for seconds in 0..5 {
            assert_eq!(host(&group, &request(), at(seconds)).as_deref(), Some("b"));
        }
        let later: Vec<_> = (0..3)
            .map(|_| host(&group, &request(), at(10)).unwrap())
            .collect();
        assert_eq!(later.iter().filter(|host| *host == "a").count(), 1, "{later:?}");
    }

    #[test]
    fn backups_serve_only_when_nobody_else_does() {
        let mut servers = http(&["a", "b"]);
        servers[1].backup = true;
        let group = group(Balance::RoundRobin, servers);
        assert_eq!(picks(&group, Purpose::Request, 3), ["a", "a", "a"]);
        let now = Instant::now();
        fail(&group, "a", now);
        assert_eq!(host(&group, &request(), now).as_deref(), Some("b"));
        fail(&group, "b", now);
        assert_eq!(
            host(&group, &request(), now).as_deref(),
            Some("a"),
            "nothing better"
        );
    }

    #[test]
    fn what_was_tried_is_not_tried_again_nor_is_what_is_out() {
        let group = group(Balance::RoundRobin, http(&["a", "b", "c"]));
        let now = Instant::now();
        fail(&group, "c", now);
        let tried = [group.pick(&request(), now).unwrap().id()];
        let again = Wish {
            tried: &tried,
            ..request()
        };
        assert_eq!(host(&group, &again, now).as_deref(), Some("b"));
        fail(&group, "b", now);
        assert!(matches!(group.pick(&again, now), Err(UpstreamError::Down)));
    }

    #[test]
    fn a_server_that_fails_its_checks_gets_nothing_new_but_keeps_its_calls() {
        let group = group(Balance::RoundRobin, http(&["a"]));
        let now = Instant::now();
        let peer = group.pick(&request(), now).unwrap();
        for _ in 0..2 {
            peer.checked(false, now);
        }
        assert!(matches!(group.pick(&request(), now), Err(UpstreamError::Down)));
        assert!(group.server(Purpose::Request, peer.id()).is_some());
    }
}
