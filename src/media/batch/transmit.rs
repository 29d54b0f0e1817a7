//! Runs of packets on their way into `sendmmsg`.
//!
//! A run goes to one destination and leaves in one message, which UDP_SEGMENT cuts into packets again. Where the
//! kernel refuses that, the packets of the run leave one by one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::super::socket::Socket;
use super::control::{Control, Name};

/// Packets in a run: the UDP_MAX_SEGMENTS of the first kernels to have it; later ones take 128.
pub(super) const MAX_RUN_PACKETS: usize = 64;
/// Bytes in a run: what one IP packet could hold, headers and options allowed for.
pub(super) const MAX_RUN_BYTES: usize = 65_000;

/// The runs for one socket, and the headers that describe them to the kernel.
pub(super) struct Runs {
    iovecs: Vec<libc::iovec>,
    runs: Vec<Run>,
    names: Vec<Name>,
    controls: Vec<Control>,
    headers: Vec<libc::mmsghdr>,
}

struct Run {
    /// The first packet's place among the iovecs.
    first: usize,
    packets: usize,
    /// The length of every packet but the last, which may be shorter.
    packet_len: usize,
    name_len: libc::socklen_t,
    /// The bytes of control messages besides the segment size.
    control_len: usize,
}

impl Runs {
    /// Room for so many packets.
    pub(super) fn new(packets: usize) -> Self {
        Self {
            iovecs: Vec::with_capacity(packets),
            runs: Vec::with_capacity(packets),
            names: Vec::with_capacity(packets),
            controls: Vec::with_capacity(packets),
            headers: Vec::with_capacity(packets),
        }
    }

    pub(super) fn clear(&mut self) {
        self.iovecs.clear();
        self.runs.clear();
        self.names.clear();
        self.controls.clear();
    }

    /// Begins a run of packets of the given length, the last of which may be shorter.
    pub(super) fn begin(&mut self, local: Option<IpAddr>, remote: SocketAddr, packet_len: usize) {
        let (name, name_len) = Name::new(remote);
        let mut control = Control::new();
        let control_len = local.map_or(0, |local| control.put_local_address(0, local));
        self.names.push(name);
        self.controls.push(control);
        self.runs.push(Run {
            first: self.iovecs.len(),
            packets: 0,
            packet_len,
            name_len,
            control_len,
        });
    }

    /// Adds a packet to the last run.
    pub(super) fn add(&mut self, start: *const u8, len: usize) {
        if let Some(run) = self.runs.last_mut() {
            run.packets += 1;
            self.iovecs.push(libc::iovec {
                iov_base: start.cast_mut().cast(),
                iov_len: len,
            });
        }
    }

    /// Sends all runs in order; returns how many packets the kernel refused.
    ///
    /// # Safety
    /// The packets that were added must still live.
    pub(super) unsafe fn transmit(&mut self, socket: &Socket) -> usize {
        self.headers.clear();
        for at in 0..self.runs.len() {
            let header = self.header(at);
            self.headers.push(header);
        }
        let (mut at, mut refused) = (0, 0);
        while at < self.runs.len() {
            // SAFETY: the headers point into vectors of `self` that are not resized meanwhile, and to packets that
            // live, as the caller says.
            let error = match unsafe { send(socket.as_fd(), &mut self.headers[at..]) } {
                Ok(sent) => {
                    at += sent;
                    continue;
                }
                Err(error) => error,
            };
            let packets = self.runs[at].packets;
            let refusal = Refusal::of(&error);
            match refusal {
                Refusal::QueueFull => return refused + self.packets_from(at),
                Refusal::Device | Refusal::Size if packets > 1 => {
                    if matches!(refusal, Refusal::Device) {
                        tracing::debug!(%error, "UDP_SEGMENT refused, packets leave one by one");
                        socket.stop_segmenting();
                    }
                    // SAFETY: as above.
                    refused += unsafe { self.send_one_by_one(at, socket) };
                }
                Refusal::Device | Refusal::Size | Refusal::Other => refused += packets,
            }
            at += 1;
        }
        refused
    }

    /// The header of a run. It holds pointers into the vectors of `self`.
    fn header(&mut self, at: usize) -> libc::mmsghdr {
        let run = &self.runs[at];
        let control_len = match u16::try_from(run.packet_len) {
            Ok(size) if run.packets > 1 => self.controls[at].put_segment_size(run.control_len, size),
            _ => run.control_len,
        };
        // SAFETY: all fields of this plain structure may be zero.
        let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        header.msg_hdr.msg_name = (&raw mut self.names[at]).cast();
        header.msg_hdr.msg_namelen = run.name_len;
        header.msg_hdr.msg_iov = self.iovecs.as_mut_ptr().wrapping_add(run.first);
        header.msg_hdr.msg_iovlen = run.packets as _;
        if control_len > 0 {
            header.msg_hdr.msg_control = (&raw mut self.controls[at]).cast();
            header.msg_hdr.msg_controllen = control_len as _;
        }
        header
    }

    /// Sends the packets of a run without UDP_SEGMENT; returns how many of them the kernel refused.
    ///
    /// # Safety
    /// As for [`Self::transmit`].
    unsafe fn send_one_by_one(&mut self, at: usize, socket: &Socket) -> usize {
        let Run {
            first,
            packets,
            control_len,
            ..
        } = self.runs[at];
        let mut header = self.headers[at];
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_controllen = control_len as _;
        if control_len == 0 {
            header.msg_hdr.msg_control = std::ptr::null_mut();
        }
        let mut refused = 0;
        for packet in first..first + packets {
            header.msg_hdr.msg_iov = &raw mut self.iovecs[packet];
            // SAFETY: as in `transmit`.
            let result = unsafe { send(socket.as_fd(), std::slice::from_mut(&mut header)) };
            refused += usize::from(result.is_err());
        }
        refused
    }

    fn packets_from(&self, at: usize) -> usize {
        self.runs[at..].iter().map(|run| run.packets).sum()
    }
}

/// What the kernel means by an error. None is about an earlier packet: ICMP errors are reported to connected sockets
/// only.
enum Refusal {
    /// The socket's send buffer is full.
    QueueFull,
    /// Neither the device nor the kernel can segment.
    Device,
    /// The run, or its packets, are too long for this path to be segmented.
    Size,
    /// Anything else concerns this destination only.
    Other,
}

impl Refusal {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Self::QueueFull,
            Some(libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT) => Self::Device,
            Some(libc::EINVAL | libc::EMSGSIZE) => Self::Size,
            _ => Self::Other,
        }
    }
}

/// Sends messages; returns how many of them, at least one.
///
/// # Safety
/// The headers' pointers must be valid for the lengths that they say.
unsafe fn send(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: the slice is as long as it says, and the caller vouches for what is in it.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_DONTWAIT as _,
        )
    };
    match usize::try_from(sent) {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Ok(sent) => Ok(sent),
        Err(_) => Err(io::Error::last_os_error()),
    }
}
