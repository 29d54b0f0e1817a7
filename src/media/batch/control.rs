//! What goes with a message besides its bytes: socket addresses and control messages, in the kernel's layout.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{c_int, sa_family_t};

/// Room for control messages, in words: packet info of either family, a segment size, a count of drops, and what else a
/// system may have switched on for all sockets (timestamps).
const WORDS: usize = 16;

/// A socket address of either family.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    pub(super) const LEN: libc::socklen_t = size_of::<Self>() as libc::socklen_t;

    pub(super) const fn unset() -> Self {
        Self {
            v6: libc::sockaddr_in6 {
                sin6_family: 0,
                sin6_port: 0,
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
                sin6_scope_id: 0,
            },
        }
    }

    /// The address, and how many bytes of it count.
    pub(super) const fn new(addr: SocketAddr) -> (Self, libc::socklen_t) {
        let mut name = Self::unset();
        match addr {
            SocketAddr::V4(addr) => {
                name.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as sa_family_t,
                    sin_port: addr.port().to_be(),
                    sin_addr: to_in_addr(*addr.ip()),
                    sin_zero: [0; 8],
                };
                (name, size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V6(addr) => {
                name.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as sa_family_t,
                    sin6_port: addr.port().to_be(),
                    sin6_flowinfo: addr.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: addr.ip().octets(),
                    },
                    sin6_scope_id: addr.scope_id(),
                };
                (name, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
            }
        }
    }

    /// The address that the kernel wrote, if it is of a family that we know.
    pub(super) fn get(&self) -> Option<SocketAddr> {
        // SAFETY: all bytes of the union are initialised, any bytes are valid for the integers in both variants, and
        // both begin with the family.
        let (family, v4, v6) = unsafe { (c_int::from(self.v4.sin_family), self.v4, self.v6) };
        match family {
            libc::AF_INET => {
                Some(SocketAddrV4::new(from_in_addr(v4.sin_addr), u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// A buffer of control messages, aligned for their headers.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u64; WORDS]);

impl Control {
    pub(super) const LEN: usize = size_of::<Self>();

    pub(super) const fn new() -> Self {
        Self([0; WORDS])
    }

    /// Appends the address to send from at offset `at`; returns the offset after it.
    pub(super) fn put_local_address(&mut self, at: usize, local: IpAddr) -> usize {
        match local {
            IpAddr::V4(ip) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: to_in_addr(ip),
                    ipi_addr: to_in_addr(Ipv4Addr::UNSPECIFIED),
                };
                self.put(at, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }
            IpAddr::V6(ip) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                    ipi6_ifindex: 0,
                };
                self.put(at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
        }
    }

    /// Appends the size of the packets that a message is to be cut into; returns the offset after it.
    pub(super) fn put_segment_size(&mut self, at: usize, size: u16) -> usize {
        self.put(at, libc::SOL_UDP, libc::UDP_SEGMENT, size)
    }

    fn put<T: Copy>(&mut self, at: usize, level: c_int, kind: c_int, value: T) -> usize {
        let size = size_of::<T>() as libc::c_uint;
        // SAFETY: these two only compute.
        let (len, space) = unsafe { (libc::CMSG_LEN(size) as usize, libc::CMSG_SPACE(size) as usize) };
        assert!(at.is_multiple_of(align_of::<libc::cmsghdr>()) && at + space <= Self::LEN);
        // SAFETY: by the assertion above, a header that is aligned and `space` bytes from it lie within the buffer.
        // The data may be less aligned than its type.
        unsafe {
            let header = self.0.as_mut_ptr().byte_add(at).cast::<libc::cmsghdr>();
            (*header).cmsg_len = len as _;
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        at + space
    }
}

/// What the control messages of a received message said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ancillary {
    /// Our address that the message was sent to.
    pub(super) local: Option<IpAddr>,
    /// The size of the packets that the message was put together from.
    pub(super) segment_size: Option<usize>,
    /// How many messages to this socket the kernel had dropped before; it says so once there were any.
    pub(super) dropped: Option<u32>,
}

impl Ancillary {
    /// Reads what the kernel wrote for a message.
    ///
    /// # Safety
    /// The header's control pointer and length must denote initialised, aligned memory that lives on.
    pub(super) unsafe fn read(header: &libc::msghdr) -> Self {
        let mut ancillary = Self::default();
        // SAFETY: the caller vouches for the buffer; the macros stay within its length.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
        while !next.is_null() {
            // SAFETY: a header that the macros return lies within the buffer and is aligned.
            let (level, kind, len) =
                unsafe { ((*next).cmsg_level, (*next).cmsg_type, (*next).cmsg_len as usize) };
            // SAFETY: only computes; the data begins within the buffer.
            let (data, offset) = unsafe { (libc::CMSG_DATA(next), libc::CMSG_LEN(0) as usize) };
            let holds = |size: usize| len >= offset + size;
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if holds(size_of::<libc::in_pktinfo>()) => {
                    // SAFETY: the message's length says that it holds the whole of this plain structure.
                    let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                    ancillary.local = Some(from_in_addr(info.ipi_spec_dst).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if holds(size_of::<libc::in6_pktinfo>()) => {
                    // SAFETY: as above.
                    let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                    ancillary.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                (libc::SOL_UDP, libc::UDP_GRO) if holds(size_of::<c_int>()) => {
                    // SAFETY: as above.
                    let size = unsafe { data.cast::<c_int>().read_unaligned() };
                    ancillary.segment_size = usize::try_from(size).ok().filter(|size| *size > 0);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if holds(size_of::<u32>()) => {
                    // SAFETY: as above.
                    ancillary.dropped = Some(unsafe { data.cast::<u32>().read_unaligned() });
                }
                _ => {}
            }
            // SAFETY: `next` came from these macros with the same header.
            next = unsafe { libc::CMSG_NXTHDR(header, next) };
        }
        ancillary
    }
}

const fn to_in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr {
        s_addr: u32::from_ne_bytes(ip.octets()),
    }
}

const fn from_in_addr(addr: libc::in_addr) -> Ipv4Addr {
    let [a, b, c, d] = addr.s_addr.to_ne_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_layout() {
        for addr in ["192.0.2.1:443", "[2001:db8::1]:50000"] {
            let addr: SocketAddr = addr.parse().unwrap();
            assert_eq!(Name::new(addr).0.get(), Some(addr));
        }
        let scoped = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 9, 0, 4));
        assert_eq!(Name::new(scoped).0.get(), Some(scoped));
        assert_eq!(Name::unset().get(), None);
    }

    fn read(control: &mut Control, len: usize) -> Ancillary {
        // SAFETY: all fields of a message header may be zero.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_control = (&raw mut *control).cast();
        header.msg_controllen = len as _;
        // SAFETY: the buffer is initialised, aligned, and at least `len` long.
        unsafe { Ancillary::read(&header) }
    }

    #[test]
    fn control_messages_are_read_as_written() {
        for ip in ["192.0.2.7", "2001:db8::7"] {
            let ip: IpAddr = ip.parse().unwrap();
            let mut control = Control::new();
            let first = control.put_local_address(0, ip);
            let second = control.put(first, libc::SOL_UDP, libc::UDP_GRO, 1200 as c_int);
            let third = control.put(second, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 7u32);
            let all = Ancillary {
                local: Some(ip),
                segment_size: Some(1200),
                dropped: Some(7),
            };
            assert_eq!(read(&mut control, third), all);
            let two = Ancillary { dropped: None, ..all };
            assert_eq!(read(&mut control, second), two);
            let one = Ancillary {
                segment_size: None,
                ..two
            };
            assert_eq!(read(&mut control, first), one);
            assert_eq!(read(&mut control, 0), Ancillary::default());
        }
    }

    #[test]
    fn short_or_odd_control_messages_say_nothing() {
        let mut control = Control::new();
        let len = control.put(0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, 7u32);
        let len = control.put(len, libc::SOL_UDP, libc::UDP_GRO, -1 as c_int);
        assert_eq!(read(&mut control, len), Ancillary::default());
    }
}
