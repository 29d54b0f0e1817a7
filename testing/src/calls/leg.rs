//! What a call's packets go over on the client's side: a UDP socket, or RFC 4571 frames on any stream.

use std::net::SocketAddr;

use str0m::Candidate;
use str0m::net::{Protocol, TcpType};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, WriteHalf};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::kernel::udp_socket;
use crate::lab::{Error, Result};

/// Frames that may wait to be taken; then the stream is not read.
const QUEUE: usize = 64;

/// A stream of bytes, over which packets go in frames.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The way of one call's packets.
pub struct Leg {
    /// Where the caller's candidate is.
    pub(super) local: SocketAddr,
    /// Where everything has to go.
    pub(super) remote: SocketAddr,
    way: Way,
}

enum Way {
    Udp(UdpSocket),
    Framed {
        writer: WriteHalf<Box<dyn Stream>>,
        frames: mpsc::Receiver<Vec<u8>>,
    },
}

impl std::fmt::Debug for Leg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {} over {}", self.local, self.remote, self.protocol())
    }
}

impl Leg {
    /// A socket of its own towards `remote`.
    pub async fn udp(remote: SocketAddr) -> Result<Self> {
        let socket = udp_socket().await?;
        Ok(Self {
            local: socket.local_addr()?,
            remote,
            way: Way::Udp(socket),
        })
    }

    /// Frames on a stream from `local` to `remote`, which is open and expects one.
    pub fn framed(stream: impl Stream + 'static, local: SocketAddr, remote: SocketAddr) -> Self {
        let (mut reader, writer) = tokio::io::split(Box::new(stream) as Box<dyn Stream>);
        let (put, frames) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Ok(length) = reader.read_u16().await {
                let mut frame = vec![0; length.into()];
                if reader.read_exact(&mut frame).await.is_err() || put.send(frame).await.is_err() {
                    return;
                }
            }
        });
        Self {
            local,
            remote,
            way: Way::Framed { writer, frames },
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self.way {
            Way::Udp(_) => Protocol::Udp,
            Way::Framed { .. } => Protocol::Tcp,
        }
    }

    /// What the caller offers: on a stream an active candidate (RFC 6544 section 4.5).
    pub(super) fn candidate(&self) -> Result<Candidate> {
        let candidate = match self.way {
            Way::Udp(_) => Candidate::host(self.local, Protocol::Udp),
            Way::Framed { .. } => Candidate::builder()
                .tcp()
                .host(self.local)
                .tcptype(TcpType::Active)
                .build(),
        };
        candidate.map_err(|error| Error::new(error.to_string()))
    }

    pub(super) async fn send(&mut self, packet: &[u8]) -> Result<()> {
        match &mut self.way {
            Way::Udp(socket) => {
                socket.send_to(packet, self.remote).await?;
            }
            Way::Framed { writer, .. } => {
                let length = u16::try_from(packet.len()).map_err(|_| Error::new("a packet too long"))?;
                writer
                    .write_all(&[&length.to_be_bytes(), packet].concat())
                    .await?;
                writer.flush().await?;
            }
        }
        Ok(())
    }

    /// The next packet and whence it came. Nothing is lost when this is dropped.
    pub(super) async fn receive(&mut self) -> Result<(Vec<u8>, SocketAddr)> {
        match &mut self.way {
            Way::Udp(socket) => {
                let mut buffer = vec![0; 2048];
                let (length, source) = socket.recv_from(&mut buffer).await?;
                buffer.truncate(length);
                Ok((buffer, source))
            }
            Way::Framed { frames, .. } => match frames.recv().await {
                Some(frame) => Ok((frame, self.remote)),
                None => Err(Error::new("the stream has ended")),
            },
        }
    }
}
