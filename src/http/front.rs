//! The front door of a service: what a connection's first bytes say it speaks decides who gets it.
//!
//! ```text
//!  TCP ─▶ [PROXY header of a trusted proxy] ─┬▶ TLS ─▶ first bytes again ─┐
//!                                            └─────────────┬──────────────┘
//!                            HTTP/1.1 ◀─┬─ HTTP/2 ◀─┬──────┴───▶ ICE-TCP, also behind the `ssltcp` hello
//! ```
//! The bytes count and not ALPN, but for one thing: where ALPN chose h2, what looks like HTTP/1.1 is a broken preface
//! of HTTP/2 and ends the connection as such (RFC 9113 section 3.4). Everything up to the decision has deadlines and
//! takes bounded memory; what is refused is closed and counted.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::wire::sniff::Sniffed;

use super::counters::Counters;
use super::drain::{Admission, Phase};
use super::headers::Provenance;
use super::live::LiveSite;
use super::networks::Networks;
use super::opening::{Opening, OpeningError};
use super::ports::{AsyncReadWrite, ConnInfo, IceTcp};
use super::redirect::Redirect;
use super::server::Limits;
use super::site::Visitor;
use super::tls::{ALPN_H2, Tls};
use super::{connection, h2, ssltcp};

/// What a service takes.
pub struct Front {
    /// HTTP; `None`: there is none.
    pub site: Option<Arc<LiveSite>>,
    /// ICE-TCP; `None`: there is none.
    pub ice_tcp: Option<Arc<dyn IceTcp>>,
    /// TLS; `None`: there is none.
    pub tls: Option<Tls>,
    /// Plain HTTP is redirected to HTTPS: on this port if there is TLS, else on 443.
    pub redirect_https: bool,
    /// Whose PROXY headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What a connection may take up.
    pub limits: Limits,
    /// What happened.
    pub counters: Arc<Counters>,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front")
            .field("site", &self.site.is_some())
            .field("ice_tcp", &self.ice_tcp.is_some())
            .field("tls", &self.tls.is_some())
            .field("trusted_proxies", &self.trusted_proxies)
            .finish_non_exhaustive()
    }
}

/// Why a connection was closed before anything was served on it.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Opening(#[from] OpeningError),
    #[error("the first bytes took too long")]
    TooSlow,
    #[error("nothing that is served here begins like this")]
    Unknown,
    #[error("too many connections of the network of the client that a proxy speaks for")]
    NetworkFull,
    #[error("a PROXY header from a peer that is no trusted proxy")]
    ProxyUntrusted,
    #[error("TLS where there is none")]
    NoTls,
    #[error("the TLS handshake failed: {0}")]
    TlsFailed(io::Error),
    #[error("the TLS handshake took too long")]
    TlsTooSlow,
    #[error("ICE-TCP where there is none")]
    NoIceTcp,
    #[error("HTTP where there is none")]
    NoHttp,
}

impl Refused {
    fn count(&self, counters: &Counters) {
        match self {
            Self::Opening(OpeningError::Left) => counters.front_left.add(),
            Self::Opening(OpeningError::ProxyMalformed) => counters.proxy_malformed.add(),
            Self::TooSlow => counters.front_timeout.add(),
            Self::Unknown => counters.front_unknown.add(),
            Self::NetworkFull => counters.connections_refused_network.add(),
            Self::ProxyUntrusted => counters.proxy_untrusted.add(),
            Self::NoTls => counters.tls_refused.add(),
            Self::TlsFailed(_) => counters.tls_failed.add(),
            Self::TlsTooSlow => counters.tls_timeout.add(),
            Self::NoIceTcp => counters.ice_tcp_refused.add(),
            Self::NoHttp => counters.http_refused.add(),
        }
    }
}

/// A connection at the door.
pub(super) struct Guest {
    pub(super) front: Arc<Front>,
    pub(super) conn: ConnInfo,
    pub(super) networks: Arc<Networks>,
    pub(super) admission: Admission,
}

impl Guest {
    /// Serves a connection to its end, whatever it speaks.
    pub(super) async fn serve<IO: AsyncReadWrite + 'static>(self, io: IO) {
        let front = self.front.clone();
        if let Err(refused) = self.receive(io).await {
            refused.count(&front.counters);
            tracing::trace!(%refused, "connection refused");
        }
    }

    async fn receive<IO: AsyncReadWrite + 'static>(mut self, io: IO) -> Result<(), Refused> {
        let mut opening = Opening::new(io);
        let Some(protocol) = self.in_time(open(&mut opening, &self.front, self.conn)).await? else {
            return Ok(());
        };
        let (protocol, conn) = protocol?;
        if conn.remote != self.conn.remote {
            let place = self.networks.take(conn.remote.ip()).ok_or(Refused::NetworkFull)?;
            self.admission = self.admission.with_place(place);
        }
        self.conn = conn;
        match protocol {
            Sniffed::Tls => self.unwrap_tls(opening).await,
            plain => self.hand_over(opening, plain).await,
        }
    }

    async fn unwrap_tls<IO: AsyncReadWrite + 'static>(mut self, opening: Opening<IO>) -> Result<(), Refused> {
        let front = self.front.clone();
        let tls = front.tls.as_ref().ok_or(Refused::NoTls)?;
        let handshake = self.in_time(tls.accept(opening.rewound())).await;
        let stream = match handshake.map_err(|_| Refused::TlsTooSlow)? {
            None => return Ok(()),
            Some(stream) => stream.map_err(Refused::TlsFailed)?,
        };
        front.counters.tls_connections.add();
        let _open = front.counters.open.tls.enter();
        self.conn.secure = true;
        let chose_h2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_H2);
        let mut opening = Opening::new(stream);
        let protocol = match self.in_time(opening.protocol()).await? {
            None => return Ok(()),
            Some(protocol) => protocol?,
        };
        match protocol {
            Sniffed::Http1 if chose_h2 => self.hand_over(opening, Sniffed::Http2).await,
            protocol => self.hand_over(opening, protocol).await,
        }
    }

    /// Gives the stream to whoever serves its protocol.
    async fn hand_over<IO: AsyncReadWrite + 'static>(
        self,
        opening: Opening<IO>,
        protocol: Sniffed,
    ) -> Result<(), Refused> {
        match protocol {
            Sniffed::Http1 => {
                let (site, visitor) = self.visit()?;
                let _open = self.front.counters.open.http1.enter();
                connection::serve_http1(site, opening.rewound(), visitor).await;
                Ok(())
            }
            Sniffed::Http2 => {
                let (site, visitor) = self.visit()?;
                self.front.counters.http2_connections.add();
                let _open = self.front.counters.open.http2.enter();
                h2::serve_http2(site, opening.rewound(), visitor).await;
                Ok(())
            }
            Sniffed::IceTcp => self.ice_tcp(opening).await,
            Sniffed::SslTcp => self.ssltcp(opening).await,
            Sniffed::Tls => Err(Refused::NoTls),
            Sniffed::ProxyV1 | Sniffed::ProxyV2 | Sniffed::Unknown | Sniffed::NeedMore => {
                Err(Refused::Unknown)
            }
        }
    }

    fn visit(&self) -> Result<(Arc<LiveSite>, Visitor), Refused> {
        let site = self.front.site.clone().ok_or(Refused::NoHttp)?;
        let redirect = Redirect {
            enabled: self.front.redirect_https,
            same_port: self.front.tls.is_some(),
        };
        let visitor = Visitor {
            connection: site.shared().next_connection(),
            conn: self.conn,
            provenance: Provenance::of(&self.conn),
            admission: self.admission.clone(),
            limits: self.front.limits,
            redirect,
        };
        Ok((site, visitor))
    }

    async fn ice_tcp<IO: AsyncReadWrite + 'static>(mut self, opening: Opening<IO>) -> Result<(), Refused> {
        let ice_tcp = self.front.ice_tcp.clone().ok_or(Refused::NoIceTcp)?;
        self.front.counters.ice_tcp_connections.add();
        let _open = self.front.counters.open.ice_tcp.enter();
        let (io, already_read) = opening.into_parts();
        let served = ice_tcp.accept(Box::new(io), already_read, self.conn);
        tokio::select! {
            () = served => {}
            () = self.admission.reached(Phase::Closing) => {}
        }
        Ok(())
    }

    async fn ssltcp<IO: AsyncReadWrite + 'static>(self, mut opening: Opening<IO>) -> Result<(), Refused> {
        if self.front.ice_tcp.is_none() {
            return Err(Refused::NoIceTcp);
        }
        let greeting = async {
            opening.take(ssltcp::CLIENT_HELLO_LEN).await?;
            let stream = opening.stream();
            stream
                .write_all(&ssltcp::SERVER_HELLO)
                .await
                .map_err(|_| OpeningError::Left)?;
            stream.flush().await.map_err(|_| OpeningError::Left)?;
            opening.protocol().await
        };
        match self.in_time(greeting).await? {
            None => Ok(()),
            Some(Ok(Sniffed::IceTcp)) => self.ice_tcp(opening).await,
            Some(Ok(_)) => Err(Refused::Unknown),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Bounds a step before anything is served; `None`: the server drains, and what has not begun does not begin.
    async fn in_time<T>(&self, step: impl Future<Output = T>) -> Result<Option<T>, Refused> {
        let mut admission = self.admission.clone();
        tokio::select! {
            done = timeout(self.front.limits.first_bytes_timeout, step) => done.map(Some).map_err(|_| Refused::TooSlow),
            () = admission.reached(Phase::Draining) => Ok(None),
        }
    }
}

/// Finds out what a connection speaks, and whose it is if a trusted proxy says so.
async fn open<IO: AsyncReadWrite>(
    opening: &mut Opening<IO>,
    front: &Front,
    mut conn: ConnInfo,
) -> Result<(Sniffed, ConnInfo), Refused> {
    let mut protocol = opening.protocol().await?;
    if matches!(protocol, Sniffed::ProxyV1 | Sniffed::ProxyV2) {
        if !front.trusts(conn.remote.ip()) {
            return Err(Refused::ProxyUntrusted);
        }
        let via = opening.proxy_header().await?;
        if let Some(ends) = via.ends {
            conn.remote = ends.source;
            conn.local = ends.destination;
        }
        conn.secure = via.secure;
        protocol = opening.protocol().await?;
    }
    Ok((protocol, conn))
}

impl Front {
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&peer))
    }
}
