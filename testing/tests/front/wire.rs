//! Clients: bytes as they are, TLS that believes every certificate and tells which it got, and streams cut into
//! segments.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::door::{Door, SOON};
use crate::unread::ServerEnd;

/// An RFC 4571 frame with a Binding request that has one attribute (SOFTWARE).
pub(crate) const ICE: &[u8] = b"\x00\x1c\x00\x01\x00\x08\x21\x12\xa4\x42abcdefghijkl\x80\x22\x00\x04test";
pub(crate) const GET: &[u8] = b"GET /path?q=1 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
/// The preface, empty SETTINGS, and a GET of `/` at `a` (RFC 7541: static entries and one literal).
pub(crate) const GET_H2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
    \0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";

/// Writes bytes and reads what comes back until it contains `expected`.
pub(crate) async fn expect<IO>(io: &mut IO, expected: &[u8]) -> Vec<u8>
where
    IO: AsyncRead + Unpin,
{
    let mut got = Vec::new();
    let reading = async {
        while !got.windows(expected.len()).any(|window| window == expected) {
            assert!(
                io.read_buf(&mut got).await.unwrap() > 0,
                "ended after {}",
                got.escape_ascii()
            );
        }
    };
    timeout(SOON, reading).await.expect("an answer");
    got
}

/// Reads to the end of the stream, however it ends.
pub(crate) async fn rest<IO: AsyncRead + Unpin>(io: &mut IO) -> Vec<u8> {
    let mut got = Vec::new();
    let _ = timeout(SOON, io.read_to_end(&mut got)).await.expect("an end");
    got
}

/// Sends bytes on a connection of their own, and returns all that comes back.
pub(crate) async fn exchange(door: &Door, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(door.addr).await.unwrap();
    let _ = stream.write_all(bytes).await;
    rest(&mut stream).await
}

/// How a stream's beginning is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    At(usize),
    EveryByte(usize),
}

impl Cut {
    /// How much of `len` bytes at `offset` goes in one piece.
    fn piece(self, offset: usize, len: usize) -> usize {
        match self {
            Self::At(at) if offset < at => len.min(at - offset),
            Self::EveryByte(until) if offset < until => 1,
            Self::At(_) | Self::EveryByte(_) => len,
        }
    }
}

/// A connection whose first bytes arrive in pieces: the next is sent when the server has read the one before.
pub(crate) async fn cut_stream(addr: SocketAddr, cut: Cut) -> DuplexStream {
    let stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (client, inner) = duplex(64 * 1024);
    tokio::spawn(async move {
        let mut server_end = ServerEnd::new(addr, stream.local_addr().unwrap());
        let (mut from_server, mut to_server) = stream.into_split();
        let (mut from_client, mut to_client) = tokio::io::split(inner);
        let up = async {
            let (mut buf, mut offset) = (vec![0; 4096], 0);
            loop {
                let len = from_client.read(&mut buf).await?;
                if len == 0 {
                    return to_server.shutdown().await;
                }
                let mut chunk = &buf[..len];
                while !chunk.is_empty() {
                    let (piece, left) = chunk.split_at(cut.piece(offset, chunk.len()));
                    to_server.write_all(piece).await?;
                    offset += piece.len();
                    chunk = left;
                    if cut.piece(offset, usize::MAX) != usize::MAX || offset == piece.len() {
                        server_end.read_all().await;
                    }
                }
            }
        };
        let down = async {
            let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
            let _ = to_client.shutdown().await;
        };
        let _ = tokio::join!(up, down);
    });
    client
}

/// Believes every certificate.
#[derive(Debug)]
struct Credulous;

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
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &default_provider().signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &default_provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A TLS client.
#[derive(Clone)]
pub(crate) struct TlsClient(ClientConfig);

impl TlsClient {
    pub(crate) fn new() -> Self {
        Self::of_versions(rustls::ALL_VERSIONS)
    }

    pub(crate) fn of_versions(versions: &[&'static SupportedProtocolVersion]) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous))
            .with_no_client_auth();
        Self(config)
    }

    pub(crate) fn alpn(mut self, protocols: &[&str]) -> Self {
        self.0.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) fn fragments(mut self, len: usize) -> Self {
        self.0.max_fragment_size = Some(len);
        self
    }

    pub(crate) async fn over<IO>(&self, io: IO, host: &str) -> std::io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(self.0.clone()));
        timeout(SOON, connector.connect(name, io))
            .await
            .expect("a handshake")
    }

    pub(crate) async fn connect(&self, door: &Door, host: &str) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(door.addr).await.unwrap();
        self.over(stream, host).await.unwrap()
    }
}

/// The certificate that the server showed.
pub(crate) fn shown<IO>(stream: &TlsStream<IO>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}
