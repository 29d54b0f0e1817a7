//! The socket options that batches need and no safe wrapper sets.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;

/// Makes each message say which local address it was sent to (IP_PKTINFO, IPV6_RECVPKTINFO).
pub(crate) fn report_local_address(fd: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// Makes the kernel hand out runs of packets of one flow in one piece (UDP_GRO, Linux 5.0).
pub(crate) fn coalesce_received(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Makes messages say how many the kernel has dropped before them, for want of room in the socket's receive buffer
/// (SO_RXQ_OVFL).
pub(crate) fn report_drops(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
}

/// Asks for buffers of so many bytes in both directions. With CAP_NET_ADMIN that is what they get; without it the kernel
/// grants what `net.core.rmem_max` and `wmem_max` allow.
pub(crate) fn size_buffers(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let value = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    for (forced, asked) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        set(fd, libc::SOL_SOCKET, forced, value).or_else(|_| set(fd, libc::SOL_SOCKET, asked, value))?;
    }
    Ok(())
}

/// Whether the kernel knows UDP_SEGMENT (Linux 4.18). Whether a device does shows only on sending.
pub(crate) fn can_segment(fd: BorrowedFd<'_>) -> bool {
    set(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok()
}

fn set(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the kernel reads `len` bytes of an int that outlives the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
