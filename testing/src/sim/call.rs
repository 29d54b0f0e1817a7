//! Calls as the signalling would set them up: the server's SDP sealed into a token, the client's rewritten, one party
//! at each end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use xrtc::ice::{AllowList, Claims, KeyRing, Mode, RouteId, RoutePolicy, ServerCandidate, Transport};
use xrtc::media::direct::DirectCall;
use xrtc::media::shared::Limits;

use super::World;
use super::browser::{Browser, Habit};
use super::check::Login;
use super::proxy::{LISTENER, Setup};
use super::server::{Kind, Session};
use super::world::Id;

/// The hijack route that calls are on if nothing else is said.
pub const ROUTE: RouteId = RouteId(1);
/// The icedirect route.
pub const DIRECT_ROUTE: RouteId = RouteId(2);

/// A proxy with both routes, two shards, and two server-leg sockets on each.
#[must_use]
pub fn setup() -> Setup {
    Setup {
        keys: KeyRing::new([7; 32], &[]),
        policies: vec![policy(ROUTE, Mode::Hijack), policy(DIRECT_ROUTE, Mode::Direct)],
        shards: 2,
        sockets: 2,
        max_sockets: 4_000,
        first_port: 20_000,
        limits: Limits {
            max_sessions: 10_000,
            token_lifetime: 7 * 24 * 3_600,
        },
    }
}

/// A route that may reach all of 10.0.0.0/8.
#[must_use]
pub fn policy(id: RouteId, mode: Mode) -> RoutePolicy {
    let networks = vec!["10.0.0.0/8".parse().expect("a network")];
    RoutePolicy {
        id,
        mode,
        icetcp: false,
        allow: AllowList {
            networks,
            ..AllowList::default()
        },
        max_sessions: 10_000,
    }
}

/// The address of the `n`th client, at one of its sockets.
#[must_use]
pub fn client_addr(n: u16, socket: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, high, low)), 50_000 + socket)
}

/// The address of the `n`th server.
#[must_use]
pub const fn server_addr(n: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 1, n)), 30_000)
}

/// A UDP candidate.
#[must_use]
pub const fn candidate(addr: SocketAddr) -> ServerCandidate {
    ServerCandidate {
        transport: Transport::Udp,
        addr,
    }
}

/// A call to be set up.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its number: names the client's addresses and tags its media.
    pub number: u16,
    /// Its route.
    pub route: RouteId,
    /// The client's habit.
    pub habit: Habit,
    /// The client's addresses, one for each of its sockets, best first.
    pub locals: Vec<SocketAddr>,
    /// The server's part.
    pub kind: Kind,
    /// The server's addresses that its SDP names.
    pub candidates: Vec<SocketAddr>,
    /// The server's credentials.
    pub server: Login,
    /// The client's credentials.
    pub client: Login,
    /// How long ago the server's SDP passed, in seconds.
    pub age: u32,
    /// Whether the server knows the client's credentials from the start.
    pub peer_known: bool,
}

/// A call that was set up.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The client.
    pub client: Id,
    /// The server.
    pub server: Id,
    /// The call's number at the server.
    pub session: usize,
    /// The server's credentials as the client sees them.
    pub remote: Login,
    /// The client's credentials as the server sees them.
    pub facing: Login,
}

impl World {
    /// An ordinary call: the client offers, one socket, one server address.
    pub fn plan(&mut self, number: u16, server: SocketAddr) -> Plan {
        Plan {
            number,
            route: ROUTE,
            habit: Habit::Chrome,
            locals: vec![client_addr(number, 0)],
            kind: Kind::Controlled,
            candidates: vec![server],
            server: Login::random(&mut self.rng),
            client: Login::random(&mut self.rng),
            age: 0,
            peer_known: true,
        }
    }

    /// What the plan's token says.
    #[must_use]
    pub fn claims(&self, plan: &Plan) -> Claims {
        Claims {
            route: plan.route,
            minted_at: self.unix_seconds() - plan.age,
            server_offers: plan.kind == Kind::Controlling,
            server_lite: plan.kind == Kind::Lite,
            icetcp: false,
            ufrag: plan.server.ufrag.clone(),
            pwd: plan.server.pwd.clone(),
            candidates: plan.candidates.iter().copied().map(candidate).collect(),
        }
    }

    /// The server's credentials as the client will see them: a token and what follows from it.
    #[must_use]
    pub fn mint(&self, plan: &Plan) -> Login {
        let keys = &self.setup.keys;
        let token = keys
            .seal(&self.claims(plan))
            .expect("the plan's claims are short");
        Login::new(&token, &keys.client_facing_pwd(&token))
    }

    /// The client's credentials as the server will see them.
    #[must_use]
    pub fn facing(&self, plan: &Plan, token: &str) -> Login {
        let keys = &self.setup.keys;
        let facing = keys.server_facing(plan.route, &plan.client.ufrag, Some(token));
        Login::new(&facing.ufrag, &facing.pwd)
    }

    /// Sets a hijacked call up.
    pub fn place(&mut self, server: Id, plan: &Plan) -> Placed {
        let remote = self.mint(plan);
        let facing = self.facing(plan, &remote.ufrag);
        self.join(server, plan, remote, facing)
    }

    /// Sets an icedirect call up.
    pub fn place_direct(&mut self, server: Id, plan: &Plan) -> Placed {
        let candidates = plan.candidates.iter().copied().map(candidate).collect();
        let (ufrag, pwd) = (&plan.server.ufrag, &plan.server.pwd);
        let call = DirectCall::new(plan.route, ufrag, pwd, candidates, self.now);
        assert!(self.proxy.shared.register_direct(call));
        self.join(server, plan, plan.server.clone(), plan.client.clone())
    }

    fn join(&mut self, server: Id, plan: &Plan, remote: Login, facing: Login) -> Placed {
        let tag = u32::from(plan.number);
        let peer = plan.peer_known.then(|| facing.clone());
        let session = Session::new(plan.kind, plan.server.clone(), peer, tag);
        let session = self.server(server).add(session);
        let pairs: Vec<_> = plan.locals.iter().map(|&local| (local, LISTENER)).collect();
        let (rng, now) = (self.fork(), self.now);
        let browser = Browser::new(
            plan.habit,
            plan.client.clone(),
            remote.clone(),
            &pairs,
            tag,
            rng,
            now,
        );
        let client = self.add(browser);
        Placed {
            client,
            server,
            session,
            remote,
            facing,
        }
    }

    /// The server's side of a call.
    pub fn session(&mut self, call: &Placed) -> &mut Session {
        &mut self.server(call.server).sessions[call.session]
    }

    /// Whether the client's ICE carries media.
    pub fn client_is_connected(&mut self, call: &Placed) -> bool {
        let now = self.now;
        self.browser(call.client).is_connected(now)
    }

    /// Whether the client's ICE has failed.
    pub fn client_has_failed(&mut self, call: &Placed) -> bool {
        let now = self.now;
        self.browser(call.client).has_failed(now)
    }

    /// Has the client select one of its pairs.
    pub fn use_pair(&mut self, call: &Placed, pair: usize) {
        let now = self.now;
        self.browser(call.client).use_pair(pair, now);
    }

    /// Whether media of the call reaches both ends, judged by what comes in the next `ms` milliseconds.
    pub fn flows(&mut self, call: &Placed, ms: u64) -> bool {
        let before = self.received(call);
        self.run(ms);
        let after = self.received(call);
        after.0 > before.0 && after.1 > before.1
    }

    /// Media packets that the client and the server have received. No packet of another call is among them.
    pub fn received(&mut self, call: &Placed) -> (u64, u64) {
        let server = &self.session(call).stream;
        assert_eq!(server.foreign, 0, "the server got another call's media");
        let server = server.received;
        let client = &self.browser(call.client).stream;
        assert_eq!(client.foreign, 0, "the client got another call's media");
        (client.received, server)
    }
}
