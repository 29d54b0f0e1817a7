//! What happened on the HTTP side, as plain atomics.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// The counters of the HTTP side, shared by all sites.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[$meta])* pub $name: Count,)* }

        impl Counters {
            /// Every counter with its name.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections,
    /// Connections closed at once because there were too many.
    connections_refused,
    /// Times that accepting failed (for want of file descriptors, mostly).
    accept_errors,
    /// Requests, WebSocket handshakes included.
    requests,
    /// Requests refused because too many were under way, all clients together.
    refused_connections,
    /// Requests refused because too many came, all clients together.
    refused_rate,
    /// Requests refused because too many of one client network were under way.
    refused_network_connections,
    /// Requests refused because too many came from one client network.
    refused_network_rate,
    /// Requests refused because their header was too large.
    refused_header_bytes,
    /// Requests refused because their body was too large.
    refused_body_bytes,
    /// Requests whose body did not come in time.
    uploads_stalled,
    /// Connections closed because no request came, or its header did not end.
    connections_expired,
    /// Lines of access logs that could not be written, or not fast enough.
    access_log_dropped,
    /// WebSockets closed because no message came for too long.
    websockets_idle,
    /// WebSockets closed because a message was too long.
    websocket_messages_too_long,
    /// WebSockets that came up, both legs.
    websockets_opened,
    /// WebSockets that ended.
    websockets_closed,
    /// Bodies and WebSocket messages that were rewritten.
    bodies_rewritten,
    /// Bodies that might have held signalling and were too large to look at.
    bodies_too_large,
    /// Bodies that might have held signalling in a content coding that is not understood.
    bodies_encoded,
    /// Requests to a group with no server of that kind.
    upstream_no_server,
    /// Requests that waited in vain for one of `max_conns`.
    upstream_busy,
    /// Upstream servers that could not be reached.
    upstream_dial,
    /// Upstream servers that did not accept a connection in `dial_timeout`.
    upstream_dial_timeout,
    /// Upstream servers that did not answer in `response_header_timeout`.
    upstream_header_timeout,
    /// Upstream connections that broke before the response, and responses that were no HTTP.
    upstream_broken,
}
