//! WebRTC servers by the habits that matter to a proxy: libnice (full ICE, answers before it knows the peer, moves only
//! to a strictly better pair) and the single-port kind (lite, one address for all calls, 5-tuple first).

use std::collections::HashMap;
use std::net::SocketAddr;

use xrtc::wire::stun::{Class, Message, Role, TransactionId};

use super::Endpoint;
use super::check::{Check, Login, answer, transaction};
use super::net::Packet;
use super::rng::Rng;
use super::stream::Stream;

/// A host candidate's priority (RFC 8445 section 5.1.2.1).
const HOST_PRIORITY: u32 = 126 << 24 | 0x00ff_ffff;
/// Checks of a pair before it is given up.
const TRIES: u32 = 7;

/// How a call's agent behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Full agent, controlled: the client has offered.
    Controlled,
    /// Full agent, controlling: the server has offered.
    Controlling,
    /// Lite agent.
    Lite,
}

#[derive(Debug)]
struct Pair {
    local: SocketAddr,
    remote: SocketAddr,
    priority: u64,
    valid: bool,
    checked: bool,
    nominated: bool,
    sent: u32,
    due: u64,
    outstanding: Vec<TransactionId>,
}

/// One call at the server.
#[derive(Debug)]
pub struct Session {
    /// The server's credentials for it.
    pub local: Login,
    /// The client's credentials, as the proxy has rewritten them; unknown until the client's SDP has come.
    pub peer: Option<Login>,
    /// Media.
    pub stream: Stream,
    /// Media that came on a pair which no check has proved; it is dropped, as libnice does.
    pub unproved: u64,
    /// Checks with a wrong password.
    pub unauthorized: u64,
    /// 487s that came.
    pub conflicts: u64,
    /// Every pair that media went to: when, and where.
    pub moves: Vec<(u64, SocketAddr)>,
    /// When the last good check came.
    pub last_check: Option<u64>,
    kind: Kind,
    tie_breaker: u64,
    pairs: Vec<Pair>,
    selected: Option<usize>,
}

impl Session {
    /// A call that nobody has asked for yet.
    #[must_use]
    pub const fn new(kind: Kind, local: Login, peer: Option<Login>, tag: u32) -> Self {
        Self {
            local,
            peer,
            stream: Stream::new(tag),
            unproved: 0,
            unauthorized: 0,
            conflicts: 0,
            moves: Vec::new(),
            last_check: None,
            kind,
            tie_breaker: 1 << 40,
            pairs: Vec::new(),
            selected: None,
        }
    }

    /// Where media goes.
    #[must_use]
    pub fn media_goes_to(&self) -> Option<SocketAddr> {
        self.selected.map(|at| self.pairs[at].remote)
    }

    /// Makes its tie-breaker win every conflict.
    pub const fn insist(&mut self) {
        self.tie_breaker = u64::MAX;
    }

    const fn role(&self) -> Role {
        match self.kind {
            Kind::Controlling => Role::Controlling(self.tie_breaker),
            Kind::Controlled | Kind::Lite => Role::Controlled(self.tie_breaker),
        }
    }

    fn pair(&mut self, local: SocketAddr, remote: SocketAddr, priority: u32, now: u64) -> usize {
        let (ours, theirs) = (u64::from(HOST_PRIORITY), u64::from(priority));
        let priority = (ours.min(theirs) << 32) + 2 * ours.max(theirs);
        let known = self
            .pairs
            .iter()
            .position(|pair| pair.local == local && pair.remote == remote);
        known.unwrap_or_else(|| {
            self.pairs.push(Pair {
                local,
                remote,
                priority,
                valid: self.kind == Kind::Lite,
                checked: false,
                nominated: false,
                sent: 0,
                due: now,
                outstanding: Vec::new(),
            });
            self.pairs.len() - 1
        })
    }

    /// Whether it insists on its role.
    fn refuses(&self, request: &Message<'_>) -> bool {
        match (self.kind, request.role()) {
            (Kind::Controlling, Some(Role::Controlling(theirs))) => self.tie_breaker >= theirs,
            (Kind::Controlled | Kind::Lite, Some(Role::Controlled(_))) => true,
            _ => false,
        }
    }

    fn request(&mut self, now: u64, packet: &Packet, message: &Message<'_>, out: &mut Vec<Packet>) {
        if message.authenticate(&self.local.key()).is_none() {
            self.unauthorized += 1;
            return;
        }
        self.last_check = Some(now);
        let conflict = self.refuses(message);
        out.push(Packet {
            src: packet.dst,
            dst: packet.src,
            bytes: answer(message, packet.src, &self.local.key(), conflict),
        });
        if conflict {
            return;
        }
        let at = self.pair(packet.dst, packet.src, message.priority().unwrap_or(0), now);
        self.pairs[at].checked = true;
        self.pairs[at].nominated |= message.use_candidate();
        if self.kind == Kind::Lite && message.use_candidate() {
            self.select(at, now);
        }
        self.reconsider(now);
    }

    fn response(&mut self, now: u64, packet: &Packet, message: &Message<'_>) {
        let Some(peer) = &self.peer else { return };
        let mine = self.pairs.iter_mut().find(|pair| {
            pair.local == packet.dst
                && pair.remote == packet.src
                && pair.outstanding.contains(&message.transaction())
        });
        let (Some(pair), Some(response)) = (mine, message.authenticate(&peer.key())) else {
            return;
        };
        if response.class() == Class::Success {
            pair.valid = true;
            pair.sent = 0;
            self.reconsider(now);
        } else {
            self.conflicts += 1;
        }
    }

    /// libnice: to a valid and nominated pair, and only if it is strictly better than the one in use.
    fn reconsider(&mut self, now: u64) {
        if self.kind == Kind::Lite {
            return;
        }
        let mut eligible = (0..self.pairs.len()).filter(|&at| {
            let pair = &self.pairs[at];
            pair.valid && (pair.nominated || self.kind == Kind::Controlling)
        });
        let first = eligible.next();
        let better = |best: usize, at: usize| {
            if self.pairs[at].priority > self.pairs[best].priority {
                at
            } else {
                best
            }
        };
        let Some(best) = first.map(|first| eligible.fold(first, better)) else {
            return;
        };
        let is_better = |now: usize| self.pairs[best].priority > self.pairs[now].priority;
        if self.selected.is_none_or(is_better) {
            self.select(best, now);
        }
    }

    fn select(&mut self, at: usize, now: u64) {
        if self.selected != Some(at) {
            self.selected = Some(at);
            self.moves.push((now, self.pairs[at].remote));
        }
    }

    fn is_due(&self, at: usize, now: u64) -> bool {
        self.next_check(at) <= now
    }

    /// A full agent tries a new pair a few times; while it controls, it nominates the selected one again and again.
    fn next_check(&self, at: usize) -> u64 {
        let pair = &self.pairs[at];
        let repeats = self.kind == Kind::Controlling && self.selected == Some(at);
        let checked =
            self.kind != Kind::Lite && self.peer.is_some() && (repeats || !pair.valid && pair.sent < TRIES);
        if checked { pair.due } else { u64::MAX }
    }

    fn check(&mut self, at: usize, now: u64, rng: &mut Rng, out: &mut Vec<Packet>) {
        let Some(peer) = &self.peer else { return };
        let role = self.role();
        let pair = &mut self.pairs[at];
        let id = transaction(rng);
        pair.outstanding.push(id);
        pair.due = now
            + if pair.valid {
                2_500
            } else {
                200 << pair.sent.min(4)
            };
        pair.sent += 1;
        let check = Check {
            id,
            to: peer,
            from: &self.local.ufrag,
            role,
            priority: HOST_PRIORITY,
            nominate: self.kind == Kind::Controlling,
        };
        out.push(Packet {
            src: pair.local,
            dst: pair.remote,
            bytes: check.packet(),
        });
    }

    fn media(&mut self, now: u64, packet: &Packet) {
        let known = |pair: &Pair| {
            (pair.valid || pair.checked) && pair.local == packet.dst && pair.remote == packet.src
        };
        if self.pairs.iter().any(known) {
            self.stream.receive(now, &packet.bytes);
        } else {
            self.unproved += 1;
        }
    }

    fn owns(&self, packet: &Packet) -> bool {
        self.pairs
            .iter()
            .any(|pair| pair.local == packet.dst && pair.remote == packet.src)
    }

    fn next(&self) -> u64 {
        let checks = (0..self.pairs.len()).map(|at| self.next_check(at)).min();
        let media = self.selected.map_or(u64::MAX, |_| self.stream.next());
        checks.unwrap_or(u64::MAX).min(media)
    }
}

/// A server: its addresses and its calls.
#[derive(Debug)]
pub struct Server {
    /// Its calls.
    pub sessions: Vec<Session>,
    addrs: Vec<SocketAddr>,
    single_port: bool,
    by_tuple: HashMap<SocketAddr, usize>,
    rng: Rng,
}

impl Server {
    /// A server that tells calls apart by USERNAME.
    #[must_use]
    pub fn new(addrs: &[SocketAddr], rng: Rng) -> Self {
        Self {
            sessions: Vec::new(),
            addrs: addrs.to_vec(),
            single_port: false,
            by_tuple: HashMap::new(),
            rng,
        }
    }

    /// A server that asks for the sender's address first, and for the USERNAME only if that is unknown.
    #[must_use]
    pub fn single_port(addr: SocketAddr, rng: Rng) -> Self {
        Self {
            single_port: true,
            ..Self::new(&[addr], rng)
        }
    }

    /// One more call; its number.
    pub fn add(&mut self, session: Session) -> usize {
        self.sessions.push(session);
        self.sessions.len() - 1
    }

    /// Has a full agent check an address that an SDP has named.
    pub fn check_candidate(&mut self, session: usize, local: SocketAddr, remote: SocketAddr, now: u64) {
        self.sessions[session].pair(local, remote, HOST_PRIORITY, now);
    }

    fn session_of(&mut self, packet: &Packet, message: Option<&Message<'_>>) -> Option<usize> {
        if self.single_port
            && let Some(&known) = self.by_tuple.get(&packet.src)
        {
            return Some(known);
        }
        let request = message.filter(|message| message.class() == Class::Request);
        let Some(request) = request else {
            return self.sessions.iter().position(|session| session.owns(packet));
        };
        let (to, _) = request.username_parts()?;
        let found = self
            .sessions
            .iter()
            .position(|session| session.local.ufrag == to)?;
        if self.single_port && request.authenticate(&self.sessions[found].local.key()).is_some() {
            self.by_tuple.insert(packet.src, found);
        }
        Some(found)
    }
}

impl Endpoint for Server {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.addrs.clone()
    }

    fn receive(&mut self, now: u64, packet: &Packet, out: &mut Vec<Packet>) {
        let message = Message::parse(&packet.bytes).ok();
        let Some(at) = self.session_of(packet, message.as_ref()) else {
            return;
        };
        let session = &mut self.sessions[at];
        match message {
            Some(message) if message.class() == Class::Request => session.request(now, packet, &message, out),
            Some(message) => session.response(now, packet, &message),
            None => session.media(now, packet),
        }
    }

    fn poll(&mut self, now: u64, out: &mut Vec<Packet>) {
        for session in &mut self.sessions {
            for at in 0..session.pairs.len() {
                if session.is_due(at, now) {
                    session.check(at, now, &mut self.rng, out);
                }
            }
            if let Some(at) = session.selected
                && let Some(bytes) = session.stream.take(now)
            {
                let pair = &session.pairs[at];
                out.push(Packet {
                    src: pair.local,
                    dst: pair.remote,
                    bytes,
                });
            }
        }
    }

    fn next(&mut self, _now: u64) -> u64 {
        self.sessions.iter().map(Session::next).min().unwrap_or(u64::MAX)
    }
}
