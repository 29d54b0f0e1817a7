//! Every event and every drop of the media plane by name: the name is the metric's label and what tests assert on.
//!
//! One [`Counters`] per shard; only its shard writes, anyone reads.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)* }
        impl $name {
            /// Every variant, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// The name in metrics and tests.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

named! {
    /// Why a packet, a frame or a description was refused.
    DropReason {
        /// Neither STUN nor DTLS nor SRTP (RFC 7983).
        NotIce = "not_ice",
        /// STUN that does not parse.
        StunMalformed = "stun_malformed",
        /// STUN that is no Binding request, response or indication.
        StunUnsupported = "stun_unsupported",
        /// FINGERPRINT is there and wrong.
        StunFingerprint = "stun_fingerprint",
        /// A request with no or no usable USERNAME.
        StunUsername = "stun_username",
        /// A token that no key of ours sealed: forged, or of another key.
        TokenForged = "token_forged",
        /// A token past `token_lifetime`, or minted in the future.
        TokenExpired = "token_expired",
        /// A token whose route is not in the configuration (any more), or is not in hijack mode.
        TokenRoute = "token_route",
        /// MESSAGE-INTEGRITY is missing or wrong: a wrong password.
        StunIntegrity = "stun_integrity",
        /// A transaction id that another tuple has used.
        StunReplayed = "stun_replayed",
        /// A request on a tuple whose server leg has failed: the client shall see the failure.
        ServerLegFailed = "server_leg_failed",
        /// A response that answers no request of ours.
        StunUnsolicited = "stun_unsolicited",
        /// DTLS or SRTP from an address that belongs to no call.
        UnknownTuple = "unknown_tuple",
        /// DTLS or SRTP on a tuple whose last good check is too old (RFC 7675).
        ConsentExpired = "consent_expired",
        /// Data for a leg that is not up, beyond what is kept for it.
        LegNotReady = "leg_not_ready",
        /// A call beyond the daemon's or the route's limit.
        SessionLimit = "session_limit",
        /// A server address outside the route's allow-list.
        ServerNotAllowed = "server_not_allowed",
        /// No server-leg socket is free towards a server.
        NoServerSocket = "no_server_socket",
        /// A check of a server on a pair of socket and address that belongs to another call.
        PairTaken = "pair_taken",
        /// A packet longer than a receive buffer.
        Truncated = "truncated",
        /// The kernel had no room left in a socket's receive buffer: packets came faster than they were read. Counted
        /// when the next packet comes to that socket; a run of packets that came in one piece counts once.
        ReceiveBuffer = "receive_buffer",
        /// The kernel refused to send.
        SendFailed = "send_failed",
        /// A snapshot of calls that does not verify, is too old, or too large.
        SnapshotRefused = "snapshot_refused",
        /// A slow ICE-TCP peer's queue was full.
        QueueFull = "queue_full",
        /// An ICE-TCP connection whose first frame did not authenticate, or did not come in time.
        TcpUnauthenticated = "tcp_unauthenticated",
        /// An ICE-TCP connection with a frame longer than its sender may send.
        FrameTooLong = "frame_too_long",
        /// An ICE-TCP connection beyond the daemon's limit.
        TcpLimit = "tcp_limit",
        /// A server's TCP candidate that could not be connected to.
        DialFailed = "dial_failed",
        /// A server's check over UDP while TCP, which its route prefers, is in use or hoped for.
        UdpHeldBack = "udp_held_back",
    }
}

named! {
    /// What else is counted.
    Counter {
        /// Packets from clients.
        ClientPackets = "client_packets",
        /// Bytes from clients.
        ClientBytes = "client_bytes",
        /// Packets from servers.
        ServerPackets = "server_packets",
        /// Bytes from servers.
        ServerBytes = "server_bytes",
        /// Calls that began.
        SessionsOpened = "sessions_opened",
        /// Calls among those that began which were taken over from before a restart.
        SessionsRevived = "sessions_revived",
        /// Calls that ended.
        SessionsClosed = "sessions_closed",
        /// Calls whose server leg came up.
        SessionsConnected = "sessions_connected",
        /// Calls whose downlink moved to another tuple.
        DownlinkMoved = "downlink_moved",
        /// Role conflicts answered with 487.
        RoleConflicts = "role_conflicts",
        /// ICE-TCP connections of clients that authenticated.
        TcpAccepted = "tcp_accepted",
        /// TCP connections to servers that came up.
        TcpDialled = "tcp_dialled",
    }
}

/// The counters of one shard. Single writer, any reader.
#[derive(Debug)]
pub struct Counters {
    drops: [AtomicU64; DropReason::ALL.len()],
    counts: [AtomicU64; Counter::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            drops: std::array::from_fn(|_| AtomicU64::new(0)),
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counters {
    /// Counts one drop.
    pub fn dropped(&self, reason: DropReason) {
        self.dropped_many(reason, 1);
    }

    /// Counts `n` drops.
    pub fn dropped_many(&self, reason: DropReason, n: u64) {
        self.drops[reason as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, n: u64) {
        self.counts[counter as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// Reads a drop counter.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].load(Ordering::Relaxed)
    }

    /// Reads a counter.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        self.counts[counter as usize].load(Ordering::Relaxed)
    }
}
