//! The bare peer: what forwarding costs without a proxy's work, in the plainest way tokio offers.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;
use xrtc_testing::lab::{Error, Result};

/// The argument that asks for it.
pub(crate) const COMMAND: &str = "forward";

/// The server to forward to, if the arguments ask for that.
pub(crate) fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<Option<SocketAddr>> {
    match (arguments.nth(1).as_deref(), arguments.next()) {
        (Some(COMMAND), Some(server)) => match server.parse() {
            Ok(server) => Ok(Some(server)),
            Err(_) => Err(Error::new(format!("{server} is no address"))),
        },
        _ => Ok(None),
    }
}

/// Prints its address, and forwards between its last client and the server until killed.
pub(crate) fn run(server: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let outer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let inner = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        writeln!(std::io::stdout(), "{}", outer.local_addr()?)?;
        let (mut up, mut down) = ([0; 2048], [0; 2048]);
        let mut client = None;
        loop {
            tokio::select! {
                received = outer.recv_from(&mut up) => {
                    let (length, source) = received?;
                    client = Some(source);
                    inner.send_to(&up[..length], server).await?;
                }
                received = inner.recv_from(&mut down) => {
                    let (length, _) = received?;
                    if let Some(client) = client {
                        outer.send_to(&down[..length], client).await?;
                    }
                }
            }
        }
    })
}
