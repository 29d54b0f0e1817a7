//! Tests of the whole: messages in, messages out.

mod descriptions;
mod janus;
mod properties;
mod refusals;
mod samples;
mod shapes;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;

use super::*;
use crate::ice::{KeyRing, Mode, RouteId, Transport};

/// What the daemon's memory does, without its bounds.
#[derive(Default)]
struct Tokens {
    by_credentials: HashMap<(RouteId, String, String), String>,
    by_ufrag: HashMap<(RouteId, String), String>,
}

impl Memory for Tokens {
    fn token(&mut self, route: RouteId, ufrag: &str, pwd: &str) -> Option<String> {
        let key = (route, ufrag.to_owned(), pwd.to_owned());
        self.by_credentials.get(&key).cloned()
    }

    fn token_of(&mut self, route: RouteId, ufrag: &str) -> Option<String> {
        self.by_ufrag.get(&(route, ufrag.to_owned())).cloned()
    }

    fn remember(&mut self, route: RouteId, ufrag: &str, pwd: &str, token: &str) {
        let key = (route, ufrag.to_owned(), pwd.to_owned());
        self.by_credentials.insert(key, token.to_owned());
        self.by_ufrag.insert((route, ufrag.to_owned()), token.to_owned());
    }
}

/// A proxy at 192.0.2.1:6443 (and an IPv6 address) whose servers are in 10.0.0.0/8.
struct Bench {
    mode: Mode,
    icetcp: bool,
    keys: KeyRing,
    now: u32,
    shown: Vec<ProxyCandidate>,
    server_leg: Option<SocketAddr>,
    permits: fn(SocketAddr) -> bool,
    tokens: Tokens,
    /// The ufrags for which an address was asked.
    asked: RefCell<Vec<String>>,
}

const ROUTE: RouteId = RouteId(7);
const LEG: &str = "10.0.0.254";

impl Bench {
    fn new(mode: Mode) -> Self {
        let shown = |transport, addr: &str| ProxyCandidate {
            transport,
            addr: addr.parse().expect("an address"),
        };
        Self {
            mode,
            icetcp: false,
            keys: KeyRing::new([1; 32], &[]),
            now: 1000,
            shown: vec![
                shown(Transport::Udp, "192.0.2.1:6443"),
                shown(Transport::Udp, "[2001:db8::1]:6443"),
                shown(Transport::Tcp, "192.0.2.1:6443"),
            ],
            server_leg: Some(([10, 0, 0, 254], 50000).into()),
            permits: |addr| matches!(addr, SocketAddr::V4(v4) if v4.ip().octets()[0] == 10),
            tokens: Tokens::default(),
            asked: RefCell::default(),
        }
    }

    fn run(&mut self, direction: Direction, body: &[u8]) -> Outcome {
        let leg = self.server_leg;
        let mut cx = Context {
            route: ROUTE,
            mode: self.mode,
            icetcp: self.icetcp,
            keys: &self.keys,
            now: self.now,
            client_candidates: &self.shown,
            server_leg: &|ufrag| {
                self.asked.borrow_mut().push(ufrag.to_owned());
                leg
            },
            permits: &self.permits,
            memory: &mut self.tokens,
        };
        rewrite(&mut cx, direction, body)
    }

    /// The body as it goes on, for messages that must be served.
    fn text(&mut self, direction: Direction, body: &str) -> String {
        let outcome = self.run(direction, body.as_bytes());
        assert_eq!(outcome.refusals, [], "{body}");
        let body = outcome.body.unwrap_or_else(|| body.as_bytes().to_vec());
        String::from_utf8(body).expect("text stays text")
    }
}

/// The value of the first attribute `name`.
fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let found = sdp
        .lines()
        .find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {name} in {sdp}")).trim()
}

fn count(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

/// How JSON writes this text.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("any text is JSON")
}
