//! A certificate of the test's own, a service that has it, and a client that believes in it.

use std::fs;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use xrtc_testing::lab::WorkDir;

use crate::daemon::Daemon;

/// A client's end of a connection, over TLS or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin> Stream for IO {}

/// Writes a new certificate and its key, in place of those before.
pub(crate) fn certify(work: &WorkDir) {
    let made = rcgen::generate_simple_self_signed(vec!["h.example".to_owned()]).unwrap();
    for (name, pem) in [
        ("crt", made.cert.pem()),
        ("key", made.signing_key.serialize_pem()),
    ] {
        fs::write(work.join(&format!("{name}.new")), pem).unwrap();
        fs::rename(
            work.join(&format!("{name}.new")),
            work.join(&format!("{name}.pem")),
        )
        .unwrap();
    }
}

/// A daemon whose `web` also speaks TLS.
pub(crate) fn start(config: &str) -> Daemon {
    let work = WorkDir::new().unwrap();
    fs::create_dir_all(work.join("root")).unwrap();
    certify(&work);
    Daemon::start_in(work, &with_tls(config), &[])
}

/// The configuration with the certificate.
pub(crate) fn with_tls(config: &str) -> String {
    let pair = "'127.0.0.1:0', tls_crt_file: DIR/crt.pem, tls_key_file: DIR/key.pem";
    config.replace("'127.0.0.1:0'", pair)
}

/// A connection to it; with `tls`, one that negotiates `protocol`.
pub(crate) async fn connect(daemon: &Daemon, tls: bool, protocol: &str) -> Box<dyn Stream> {
    let stream = TcpStream::connect(daemon.addr("web")).await.unwrap();
    if !tls {
        return Box::new(stream);
    }
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(daemon.work.join("crt.pem")).unwrap();
    roots.add(certificate).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = ServerName::try_from("h.example").unwrap();
    Box::new(
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap(),
    )
}
