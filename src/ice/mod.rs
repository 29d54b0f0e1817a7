//! The ICE core of xrtc: sealed tokens, credentials, the two legs of a call and the multiplexer that ties packets
//! to calls.
//!
//! Pure: no clock, socket, lock, runtime or global randomness. Time is [`Now`], bytes and entropy are arguments,
//! packets leave through a [`Shell`]. It is not a general ICE library: it implements exactly the two roles that
//! a proxy has (a lite responder towards clients, a full agent with one candidate towards servers).

pub mod attest;
pub mod client_leg;
pub mod counters;
pub mod credentials;
pub mod keys;
pub mod path;
pub mod policy;
pub mod replay;
pub mod server_leg;
pub mod session;
pub mod shell;
pub mod token;

pub use attest::Attested;
pub use client_leg::{LastSeen, Tuple};
pub use counters::{Counter, Counters, DropReason};
pub use credentials::Credentials;
pub use keys::KeyRing;
pub use path::{ClientPath, ListenerId, ServerPath, SocketId, TcpConnId, Transport};
pub use policy::{AllowList, Mode, RouteId, RoutePolicy};
pub use replay::SeenTransactions;
pub use session::Session;
pub use shell::{Now, Shell};
pub use token::{Claims, ServerCandidate};
