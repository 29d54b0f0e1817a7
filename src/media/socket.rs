//! UDP sockets: how listeners and server-leg sockets are bound, and what each can do.
//!
//! It binds and describes; packets move in [`batch`](super::batch).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use socket2::{Domain, Protocol, SockRef, Type};

use super::batch::options;
use crate::ice::ListenerId;

/// Asked of the kernel for either direction, in bytes: a video key frame for a hundred viewers, or what comes while a
/// busy machine keeps the shard from its turn for a tenth of a second at 300 Mbit/s. It takes memory only while packets
/// wait, and all sockets together stay within `net.ipv4.udp_mem`.
const KERNEL_BUFFER: usize = 4 << 20;

/// How often a port for both families is looked for when the kernel may choose.
const PORT_ATTEMPTS: usize = 16;

/// A UDP listener to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpListen {
    /// Its name in [`ClientPath`](crate::ice::ClientPath)s.
    pub id: ListenerId,
    /// `None`: all addresses, IPv4 and (where the system has it) IPv6.
    pub ip: Option<IpAddr>,
    /// 0: any free port, the same for all shards and both families.
    pub port: u16,
}

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("UDP listener {}: {source}", Shown(*.listen))]
pub struct ListenError {
    /// Which.
    pub listen: UdpListen,
    /// What the system said.
    pub source: io::Error,
}

/// A bound UDP socket.
#[derive(Debug)]
pub(super) struct Socket {
    udp: UdpSocket,
    bound: SocketAddr,
    /// Cleared for good when the kernel refuses.
    segmentation: AtomicBool,
    /// What the kernel has dropped on its way in, as last reported.
    dropped: AtomicU32,
}

impl Socket {
    /// Binds the first socket of a listener. It is bound as if it were the only one, so that a second daemon is
    /// refused, which the kernel would otherwise let share the port; only then may other shards join it.
    fn first_listener(addr: SocketAddr) -> io::Result<Self> {
        let socket = Self::listener(addr, false)?;
        SockRef::from(&socket.udp).set_reuse_port(true)?;
        socket.judge_buffer();
        Ok(socket)
    }

    fn listener(addr: SocketAddr, joins: bool) -> io::Result<Self> {
        let socket = Self::bind(addr, joins)?;
        if addr.ip().is_unspecified() {
            options::report_local_address(socket.as_fd(), addr.is_ipv6())?;
        }
        Ok(socket)
    }

    /// Binds a server-leg socket to a port (0: any) of all addresses of a family.
    pub(super) fn server_leg(ipv6: bool, port: u16) -> io::Result<Self> {
        Self::bind(SocketAddr::new(unspecified(ipv6), port), false)
    }

    fn bind(addr: SocketAddr, joins: bool) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(joins)?;
        options::size_buffers(socket.as_fd(), KERNEL_BUFFER)?;
        socket.bind(&addr.into())?;
        let udp = UdpSocket::from(socket);
        // Coalescing is an offer: without it the kernel hands out packets one by one.
        if let Err(error) = options::coalesce_received(udp.as_fd()) {
            tracing::debug!(%error, "no UDP_GRO");
        }
        if let Err(error) = options::report_drops(udp.as_fd()) {
            tracing::debug!(%error, "no SO_RXQ_OVFL");
        }
        let segmentation = AtomicBool::new(options::can_segment(udp.as_fd()));
        Ok(Self {
            dropped: AtomicU32::new(0),
            bound: udp.local_addr()?,
            segmentation,
            udp,
        })
    }

    /// The address it is bound to.
    pub(super) const fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Whether it is bound to all addresses, so that each packet has a local address of its own.
    pub(super) fn is_wildcard(&self) -> bool {
        self.bound.ip().is_unspecified()
    }

    /// How many of the drops that the kernel has told of (a running total, which wraps) are news.
    pub(super) fn newly_dropped(&self, total: u32) -> u32 {
        total.wrapping_sub(self.dropped.swap(total, Ordering::Relaxed))
    }

    /// Says once, in the log, that the kernel grants less than was asked for.
    fn judge_buffer(&self) {
        match SockRef::from(&self.udp).recv_buffer_size() {
            Ok(granted) if granted < KERNEL_BUFFER => tracing::warn!(
                addr = %self.bound,
                granted,
                wanted = KERNEL_BUFFER,
                "a small UDP receive buffer: bursts will be lost; raise net.core.rmem_max or grant CAP_NET_ADMIN"
            ),
            Ok(_) | Err(_) => {}
        }
    }

    /// Whether runs of equal packets may leave in one piece (UDP_SEGMENT).
    pub(super) fn segments(&self) -> bool {
        self.segmentation.load(Ordering::Relaxed)
    }

    /// Sends every packet on its own from now on.
    pub(super) fn stop_segmenting(&self) {
        self.segmentation.store(false, Ordering::Relaxed);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.udp.as_raw_fd()
    }
}

/// One shard's sockets of one listener: one per family.
#[derive(Debug)]
pub(super) struct ListenerSockets {
    pub(super) id: ListenerId,
    pub(super) v4: Option<Socket>,
    pub(super) v6: Option<Socket>,
}

impl ListenerSockets {
    pub(super) const fn family(&self, ipv6: bool) -> Option<&Socket> {
        if ipv6 { self.v6.as_ref() } else { self.v4.as_ref() }
    }
}

/// Opens a listener for every shard.
///
/// # Errors
/// The address is taken, also where another process would share it, or is not ours. A system without IPv6 is no error
/// for a listener on all addresses.
pub(super) fn listen(listen: UdpListen, shards: usize) -> io::Result<Vec<ListenerSockets>> {
    open_first(listen)
        .and_then(|first| share(listen.id, first, shards))
        .map_err(|source| io::Error::new(source.kind(), ListenError { listen, source }))
}

/// Opens the other shards' sockets next to the first one's.
fn share(id: ListenerId, first: ListenerSockets, shards: usize) -> io::Result<Vec<ListenerSockets>> {
    let join = |first: &Option<Socket>| {
        first
            .as_ref()
            .map(|first| Socket::listener(first.bound(), true))
            .transpose()
    };
    let mut all = Vec::with_capacity(shards);
    for _ in 1..shards {
        all.push(ListenerSockets {
            id,
            v4: join(&first.v4)?,
            v6: join(&first.v6)?,
        });
    }
    all.push(first);
    Ok(all)
}

fn open_first(listen: UdpListen) -> io::Result<ListenerSockets> {
    let id = listen.id;
    let Some(ip) = listen.ip else {
        return open_both_families(listen);
    };
    let socket = Socket::first_listener(SocketAddr::new(ip, listen.port))?;
    Ok(if ip.is_ipv6() {
        ListenerSockets {
            id,
            v4: None,
            v6: Some(socket),
        }
    } else {
        ListenerSockets {
            id,
            v4: Some(socket),
            v6: None,
        }
    })
}

fn open_both_families(listen: UdpListen) -> io::Result<ListenerSockets> {
    let UdpListen { id, port, .. } = listen;
    let mut attempts = if port == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let v4 = Socket::first_listener(SocketAddr::new(unspecified(false), port))?;
        match Socket::first_listener(SocketAddr::new(unspecified(true), v4.bound().port())) {
            Ok(v6) => {
                return Ok(ListenerSockets {
                    id,
                    v4: Some(v4),
                    v6: Some(v6),
                });
            }
            Err(error) if is_family_absent(&error) => {
                return Ok(ListenerSockets {
                    id,
                    v4: Some(v4),
                    v6: None,
                });
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && attempts > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether an error says that the system does not have the address family at all.
pub(super) fn is_family_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

const fn unspecified(ipv6: bool) -> IpAddr {
    if ipv6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}

/// A listener in error messages.
struct Shown(UdpListen);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.ip {
            Some(ip) => SocketAddr::new(ip, self.0.port).fmt(f),
            None => write!(f, ":{}", self.0.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::batch::RecvBatch;

    fn any(ip: Option<IpAddr>, port: u16) -> UdpListen {
        UdpListen {
            id: ListenerId(0),
            ip,
            port,
        }
    }

    #[test]
    fn shards_and_families_share_the_port_that_the_kernel_chose() {
        let shards = listen(any(None, 0), 3).unwrap();
        let port = shards[0].v4.as_ref().unwrap().bound().port();
        assert_ne!(port, 0);
        for shard in &shards {
            for socket in [&shard.v4, &shard.v6].into_iter().flatten() {
                assert_eq!(socket.bound().port(), port);
                assert!(socket.is_wildcard());
            }
        }
    }

    #[test]
    fn a_single_address_has_a_single_family() {
        let v4 = listen(any(Some(Ipv4Addr::LOCALHOST.into()), 0), 1).unwrap();
        assert!(v4[0].family(false).is_some_and(|socket| !socket.is_wildcard()));
        assert!(v4[0].family(true).is_none());
        let v6 = listen(any(Some(Ipv6Addr::LOCALHOST.into()), 0), 1).unwrap();
        assert!(v6[0].family(true).is_some() && v6[0].family(false).is_none());
    }

    #[test]
    fn buffers_are_as_large_as_the_kernel_lets_us_have_them() {
        let limit = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        options::size_buffers(socket.as_fd(), 2 * limit).unwrap();
        let granted = SockRef::from(&socket).recv_buffer_size().unwrap();
        // The kernel doubles what it is asked for, for its own needs. Root is not held to the limit, except in a
        // container that takes the capability away.
        assert!([2 * limit, 4 * limit].contains(&granted), "{granted} of {limit}");
    }

    #[test]
    fn what_does_not_fit_into_the_receive_buffer_is_told_with_the_next_packet() {
        const SENT: u32 = 200;
        let socket = Socket::server_leg(false, 0).unwrap();
        SockRef::from(&socket.udp).set_recv_buffer_size(0).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(("127.0.0.1", socket.bound().port())).unwrap();
        let mut batch = RecvBatch::default();
        let (mut received, mut missed) = (0, 0);
        for _ in 0..3 {
            for _ in 0..SENT {
                sender.send(&[7; 1000]).unwrap();
            }
            // On loopback, what has been sent has arrived or been dropped.
            loop {
                let more = batch.receive(&socket);
                for message in batch.messages() {
                    received += message.packets().count() as u32;
                    missed += message.dropped.map_or(0, |total| socket.newly_dropped(total));
                }
                if !more {
                    break;
                }
            }
        }
        assert!(received >= 3, "{received} received");
        // The drops of the last round have not been told yet: no packet came after them.
        let told = 2 * SENT..3 * SENT;
        assert!(told.contains(&(received + missed)), "{received} and {missed}");
    }

    #[test]
    fn a_second_daemon_is_refused() {
        let first = listen(any(Some(Ipv4Addr::LOCALHOST.into()), 0), 2).unwrap();
        let port = first[0].v4.as_ref().unwrap().bound().port();
        let error = listen(any(Some(Ipv4Addr::LOCALHOST.into()), port), 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&port.to_string()), "{error}");
    }
}
