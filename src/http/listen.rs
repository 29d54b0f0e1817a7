//! Binds listening sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::config::ListenAddr;

const BACKLOG: i32 = 1024;
/// A free IPv4 port may be taken on IPv6.
const PORT_ATTEMPTS: usize = 16;

/// Listens on an address; without one on every IPv4 and IPv6 address, on separate sockets. A machine without IPv6
/// gets IPv4 only. Port 0 takes a free port, the same for both.
///
/// # Errors
/// The address is taken, not of this machine, or not permitted.
pub fn bind(addr: ListenAddr) -> io::Result<Vec<TcpListener>> {
    if let Some(ip) = addr.ip {
        return Ok(vec![bind_one(SocketAddr::new(ip, addr.port))?]);
    }
    let mut attempt = 0;
    loop {
        match bind_all(addr.port) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && addr.port == 0 && attempt < PORT_ATTEMPTS =>
            {
                attempt += 1;
            }
            done => return done,
        }
    }
}

fn bind_all(port: u16) -> io::Result<Vec<TcpListener>> {
    let v4 = bind_one(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))?;
    let port = v4.local_addr()?.port();
    match bind_one(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)) {
        Ok(v6) => Ok(vec![v4, v6]),
        Err(error) if is_no_ipv6(&error) => Ok(vec![v4]),
        Err(error) => Err(error),
    }
}

fn is_no_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

fn bind_one(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wildcard_takes_one_free_port_for_both_families() {
        let listeners = bind(ListenAddr { ip: None, port: 0 }).unwrap();
        let addrs: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        assert!(addrs[0].is_ipv4());
        assert!(
            addrs
                .iter()
                .all(|addr| addr.port() == addrs[0].port() && addr.port() != 0)
        );
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error() {
        let taken = bind_one("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = taken.local_addr().unwrap();
        let again = ListenAddr {
            ip: Some(addr.ip()),
            port: addr.port(),
        };
        assert_eq!(bind(again).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
