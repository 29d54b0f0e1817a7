//! TLS on the front door: one acceptor per service, certificates by name, read anew when their files change.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::{CertificateError, TlsFiles};

use super::certificates::Certificates;
use super::counters::Counters;
use super::ports::AsyncReadWrite;

/// How often the files are looked at.
pub const CERTIFICATE_POLL: Duration = Duration::from_secs(2);

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A pair of files is of no use.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The library refuses.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

/// The TLS of one service; clones are of the same.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificates, of which the first is for clients that ask for no known name, and looks after changes
    /// of their files every `poll` for as long as this lives. To be called within a tokio runtime.
    ///
    /// # Errors
    /// A pair of files is of no use, or there is none.
    pub fn start(files: &[TlsFiles], poll: Duration, counters: &Arc<Counters>) -> Result<Self, TlsError> {
        let certificates = Arc::new(Certificates::load(files)?);
        certificates.watch(poll, counters.clone());
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(certificates.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Ticketer::new()?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificates,
        })
    }

    /// The certificate files in use now, and when what is in them expires.
    #[must_use]
    pub fn expiries(&self) -> Vec<(PathBuf, Option<SystemTime>)> {
        self.certificates.expiries()
    }

    /// The handshake.
    pub(super) async fn accept<IO: AsyncReadWrite>(&self, io: IO) -> io::Result<TlsStream<IO>> {
        self.acceptor.accept(io).await
    }
}
