//! TLS towards upstream servers: what their certificates are verified against, which is a group's own business.

use std::io;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::config::{Scheme, UpstreamGroup, UpstreamTls, load_roots};

/// Where a group's settings are in [`Settings`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsId(usize);

/// Every setting that some group has, once.
#[derive(Debug, Default)]
pub(super) struct Settings(Vec<(UpstreamTls, Tls)>);

/// How to speak TLS to the servers of a group.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) config: ClientConfig,
    /// Taken for the servers' own names.
    pub(super) server_name: Option<ServerName<'static>>,
}

impl Settings {
    /// The settings of a group, which are made if no group before it has the same.
    pub(super) fn of(&mut self, group: &UpstreamGroup) -> io::Result<TlsId> {
        let secure = |scheme| matches!(scheme, Scheme::Https | Scheme::Wss);
        let wanted = if group.servers.iter().any(|server| secure(server.scheme)) {
            group.tls.clone()
        } else {
            // Never used, so that the system's roots need not be read.
            UpstreamTls {
                insecure: true,
                ..UpstreamTls::default()
            }
        };
        if let Some(at) = self.0.iter().position(|(known, _)| *known == wanted) {
            return Ok(TlsId(at));
        }
        let tls = Tls::new(&wanted)?;
        self.0.push((wanted, tls));
        Ok(TlsId(self.0.len() - 1))
    }

    /// Every setting, in the order of their ids.
    pub(super) fn all(&self) -> impl Iterator<Item = &Tls> {
        self.0.iter().map(|(_, tls)| tls)
    }

    pub(super) fn get(&self, TlsId(at): TlsId) -> &Tls {
        &self.0[at].1
    }
}

impl TlsId {
    /// Into [`Settings::all`].
    pub(super) fn index(self) -> usize {
        self.0
    }
}

impl Tls {
    fn new(wanted: &UpstreamTls) -> io::Result<Self> {
        let builder = ClientConfig::builder();
        let builder = match (&wanted.ca, wanted.insecure) {
            (_, true) => builder.with_root_certificates(RootCertStore::empty()),
            (Some(ca), false) => builder.with_root_certificates(load_roots(ca).map_err(io::Error::other)?),
            (None, false) => builder.with_native_roots()?,
        };
        let mut config = builder.with_no_client_auth();
        if wanted.insecure {
            config
                .dangerous()
                .set_certificate_verifier(Arc::new(Credulous(default_provider())));
        }
        let server_name = wanted.server_name.clone().map(ServerName::try_from);
        Ok(Self {
            config,
            server_name: server_name.transpose().map_err(io::Error::other)?,
        })
    }
}

/// Takes every certificate: `insecure`. The server must own its key all the same.
#[derive(Debug)]
struct Credulous(CryptoProvider);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
