//! What a rewrite returns: the new body, what was learnt from it, and what was left alone for a reason.

use crate::ice::ServerCandidate;

/// The result of looking at one message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The body to pass on; `None`: the one that came, unchanged.
    pub body: Option<Vec<u8>>,
    /// What the message said, in the order in which it was said.
    pub facts: Vec<Fact>,
    /// What was recognised and left unrewritten, each once for every place.
    pub refusals: Vec<Refusal>,
}

/// Something that a message said about a call.
///
/// `scope` tells the calls on a shared transport apart (Janus: `session:handle`); `None`: the transport itself does.
#[derive(Clone, PartialEq, Eq)]
pub enum Fact {
    /// A server description passed to a client. One for each set of ICE credentials in it.
    ServerDescription {
        /// The call on its transport.
        scope: Option<String>,
        /// The server's own ice-ufrag.
        ufrag: String,
        /// The server's own ice-pwd.
        pwd: String,
        /// What the client sees instead of `ufrag`; `None` in direct mode.
        token: Option<String>,
        /// The description is an offer.
        server_offers: bool,
        /// It said `a=ice-lite`.
        server_lite: bool,
        /// Its permitted candidates, best first; empty where the server trickles them.
        candidates: Vec<ServerCandidate>,
    },
    /// A permitted candidate that the server trickled.
    ServerCandidate {
        /// The call on its transport.
        scope: Option<String>,
        /// The server's own ice-ufrag, where the message names it.
        ufrag: Option<String>,
        /// The candidate.
        candidate: ServerCandidate,
    },
    /// A client description passed to a server. One for each set of ICE credentials in it.
    ClientDescription {
        /// The call on its transport.
        scope: Option<String>,
        /// The client's own ice-ufrag.
        ufrag: String,
    },
}

impl std::fmt::Debug for Fact {
    /// Leaves passwords and tokens out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ServerDescription {
                scope,
                ufrag,
                server_offers,
                server_lite,
                candidates,
                ..
            } => f
                .debug_struct("ServerDescription")
                .field("scope", scope)
                .field("ufrag", ufrag)
                .field("server_offers", server_offers)
                .field("server_lite", server_lite)
                .field("candidates", candidates)
                .finish_non_exhaustive(),
            Self::ServerCandidate {
                scope,
                ufrag,
                candidate,
            } => f
                .debug_struct("ServerCandidate")
                .field("scope", scope)
                .field("ufrag", ufrag)
                .field("candidate", candidate)
                .finish(),
            Self::ClientDescription { scope, ufrag } => f
                .debug_struct("ClientDescription")
                .field("scope", scope)
                .field("ufrag", ufrag)
                .finish(),
        }
    }
}

/// Why a description or candidate was not rewritten as usual. The message passes; the call it describes does not
/// come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The server named addresses, and none of them is allowed on this route.
    ServerNotAllowed,
    /// An active media section has no ice-ufrag or no ice-pwd.
    CredentialsMissing,
    /// The server's credentials are too long to be sealed.
    TooLong,
    /// There is no address of ours to show to the server.
    NoServerLeg,
    /// There is no address of ours to show to the client.
    NoClientCandidate,
    /// Several media sections share one ufrag outside of a BUNDLE group: one port cannot tell them apart.
    NoBundle,
    /// RTCP on a port of its own (component 2, no `a=rtcp-mux`): one port cannot tell them apart.
    NoRtcpMux,
    /// A server's ufrag for which no token is known: it came in a trickle, or without its password.
    UnknownUfrag,
    /// JSON nested deeper than the scanner goes.
    TooDeep,
    /// More media sections, lines or strings of interest than are looked at.
    TooMany,
}

impl Refusal {
    /// Every reason, in order.
    pub const ALL: [Self; 10] = [
        Self::ServerNotAllowed,
        Self::CredentialsMissing,
        Self::TooLong,
        Self::NoServerLeg,
        Self::NoClientCandidate,
        Self::NoBundle,
        Self::NoRtcpMux,
        Self::UnknownUfrag,
        Self::TooDeep,
        Self::TooMany,
    ];

    /// Its name in counters and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServerNotAllowed => "server_not_allowed",
            Self::CredentialsMissing => "credentials_missing",
            Self::TooLong => "too_long",
            Self::NoServerLeg => "no_server_leg",
            Self::NoClientCandidate => "no_client_candidate",
            Self::NoBundle => "no_bundle",
            Self::NoRtcpMux => "no_rtcp_mux",
            Self::UnknownUfrag => "unknown_ufrag",
            Self::TooDeep => "too_deep",
            Self::TooMany => "too_many",
        }
    }
}
