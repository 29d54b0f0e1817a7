//! Calls over ICE-TCP on the port of everything else, as it is, inside TLS, and behind libwebrtc's fake handshake:
//! the real daemon, DTLS and data end to end.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use xrtc_testing::calls::{self, Caller, Daemon, EchoServer, Leg, Ports, Route, Setup, settle};
use xrtc_testing::lab::{Result, WorkDir, report};

use crate::door::Pki;
use crate::segments::{SSLTCP, SSLTCP_ANSWER_LEN};
use crate::wire::TlsClient;

const MESSAGES: u64 = 50;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the frames of a call are in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wrapping {
    None,
    Tls,
    SslTcp,
}

impl Wrapping {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Tls, Self::SslTcp];

    /// A connection that is ready for frames.
    pub(crate) async fn connect(self, to: SocketAddr) -> Result<Leg> {
        let mut stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        match self {
            Self::None => {}
            Self::Tls => {
                let stream = TlsClient::new().over(stream, "a.example").await?;
                return Ok(Leg::framed(stream, local, to));
            }
            Self::SslTcp => {
                stream.write_all(SSLTCP).await?;
                stream.read_exact(&mut [0; SSLTCP_ANSWER_LEN]).await?;
            }
        }
        Ok(Leg::framed(stream, local, to))
    }
}

#[test]
fn calls_over_every_wrapping_of_ice_tcp() {
    calls::scope(async |work| call_over_every_wrapping(work).await);
}

async fn call_over_every_wrapping(work: &WorkDir) -> Result<()> {
    let pki = Pki::new();
    let server = EchoServer::start(Ports::PerCall).await?;
    let setup = Setup {
        tls: Some(pki.make("a", &["a.example"])),
        ..Setup::new(server.http, work)
    };
    let daemon = Daemon::start("xrtc", &setup, work)?;
    for wrapping in Wrapping::ALL {
        for route in Route::ALL {
            let leg = wrapping.connect(daemon.http).await?;
            let name = format!("{wrapping:?}-{route:?}");
            let caller = Caller::start_over(leg, daemon.http, route, &name).await?;
            caller.reach(MESSAGES, PATIENCE).await?;
            let books = settle([&caller], &daemon, PATIENCE).await?;
            report(format_args!(
                "ICE-TCP, {wrapping:?}, {route:?}: {} messages echoed, none lost by xrtc",
                books.echoed
            ));
        }
    }
    let metrics = daemon.metrics().await?;
    let calls = (Wrapping::ALL.len() * Route::ALL.len()) as u64;
    assert_eq!(metrics.media("sessions_connected"), calls);
    assert_eq!(metrics.http("ice_tcp_connections"), calls);
    assert_eq!(metrics.http("tls_connections"), Route::ALL.len() as u64);
    Ok(())
}
