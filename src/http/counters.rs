//! What happened on the HTTP side, as plain atomics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::traffic::{Open, Routes};

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
        pub struct Counters {
            $($(#[$meta])* pub $name: Count,)*
            /// Connections that are open.
            pub open: Open,
            /// What passes, by route.
            pub routes: Routes,
        }

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
    /// Connections closed at once because there were too many of one client network.
    connections_refused_network,
    /// Times that accepting failed (for want of file descriptors, mostly).
    accept_errors,
    /// Connections that ended over bytes that are no request, or not a whole one.
    connections_unreadable,
    /// Connections over HTTP/2.
    http2_connections,
    /// Connections over TLS, whatever is spoken inside.
    tls_connections,
    /// Connections handed over as ICE-TCP.
    ice_tcp_connections,
    /// Connections that ended before they told what they speak.
    front_left,
    /// Connections that did not tell in time what they speak.
    front_timeout,
    /// Connections that speak nothing that is served here.
    front_unknown,
    /// PROXY protocol headers from a peer that is no trusted proxy.
    proxy_untrusted,
    /// PROXY protocol headers that cannot be made sense of.
    proxy_malformed,
    /// TLS on a service without a certificate, or inside TLS.
    tls_refused,
    /// TLS handshakes that failed.
    tls_failed,
    /// TLS handshakes that did not end in time.
    tls_timeout,
    /// Certificates that were read anew.
    certificates_reloaded,
    /// Changed certificates that were of no use; the ones before them stay.
    certificates_refused,
    /// ICE-TCP on a service that takes none.
    ice_tcp_refused,
    /// HTTP on a service that serves none.
    http_refused,
    /// HTTP/2 connections closed because their requests were taken back again and again, or for frames without end
    /// that ask for nothing.
    http2_flood,
    /// Requests, WebSocket handshakes included.
    requests,
    /// Requests over plain HTTP that were sent to HTTPS.
    redirected,
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
    /// Connections closed because no request came, or its header did not end, or because a client that had ended
    /// its side got no answer soon.
    connections_expired,
    /// Responses and WebSockets ended because the client took nothing of them for too long.
    sends_stalled,
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
    /// Requests to a group of which no server is up.
    upstream_down,
    /// Requests sent once more, to another server.
    upstream_retries,
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
    /// Calls whose server was noted, so that what follows goes there.
    affinity_learned,
    /// Requests that followed their call to its server.
    affinity_followed,
    /// Requests sent on because their call was not known where they were sent first.
    affinity_searched,
    /// Requests that followed a cookie to their server.
    affinity_by_cookie,
}
