//! Receiving: up to 64 messages per system call, each of which may hold up to 64 packets of one flow.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use super::control::{Ancillary, Control, Name};

/// Messages per system call.
const MESSAGES: usize = 64;
/// The longest thing that UDP_GRO hands out, in bytes; less loses packets.
const BUFFER: usize = 65_535;
/// Distance between the starts of two buffers beyond their size, in bytes: buffers a power of two apart would have
/// their packets' headers compete for the same cache lines.
const STAGGER: usize = 193;
/// Errors that a socket reports once each before it is asked for packets again.
const ERROR_LIMIT: usize = 4;

/// Receive buffers and what the kernel wrote about their contents. About 4 MB of address space, of which only what
/// packets have touched takes memory.
pub(crate) struct RecvBatch {
    buffers: Vec<u8>,
    buffer_len: usize,
    names: Vec<Name>,
    controls: Vec<Control>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// Messages of the last call.
    received: usize,
    /// Headers that the last call used, and that must be set up again before the next.
    spent: usize,
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new(MESSAGES, BUFFER)
    }
}

impl RecvBatch {
    /// Room for so many messages of so many bytes.
    pub(crate) fn new(messages: usize, buffer_len: usize) -> Self {
        // SAFETY: all fields of these plain structures may be zero.
        let (header, iovec) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            buffers: vec![0; messages * (buffer_len + STAGGER)],
            buffer_len,
            names: vec![Name::unset(); messages],
            controls: vec![Control::new(); messages],
            iovecs: vec![iovec; messages],
            headers: vec![header; messages],
            received: 0,
            spent: messages,
        }
    }

    /// Reads what a non-blocking socket has, at most one batch of it. What was received before is gone. Errors that a
    /// socket reports on behalf of packets sent earlier (ICMP) are passed over: anyone can make them up.
    ///
    /// Returns whether there may be more.
    pub(crate) fn receive(&mut self, socket: &impl AsFd) -> bool {
        let socket = socket.as_fd();
        self.arm();
        for _ in 0..ERROR_LIMIT {
            // SAFETY: the headers point to names, control buffers and packet buffers of the lengths they say, all
            // owned by this batch and not borrowed, since `self` is exclusive.
            let result = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    self.headers.len() as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                    std::ptr::null_mut(),
                )
            };
            match usize::try_from(result) {
                Ok(received) => {
                    (self.received, self.spent) = (received, received);
                    return received == self.headers.len();
                }
                Err(_) if io::Error::last_os_error().kind() == ErrorKind::WouldBlock => return false,
                Err(_) => {}
            }
        }
        false
    }

    /// Sets up the headers that the kernel has written to.
    fn arm(&mut self) {
        let spacing = self.buffer_len + STAGGER;
        for at in 0..self.spent {
            // SAFETY: all four vectors have an element `at`, and `buffers` has room for `spacing` bytes per element.
            // None of them is ever resized, so the pointers hold until the batch is dropped.
            unsafe {
                let iovec = self.iovecs.as_mut_ptr().add(at);
                (*iovec).iov_base = self.buffers.as_mut_ptr().add(at * spacing).cast();
                (*iovec).iov_len = self.buffer_len;
                let header = &mut self.headers[at].msg_hdr;
                header.msg_name = self.names.as_mut_ptr().add(at).cast();
                header.msg_namelen = Name::LEN;
                header.msg_iov = iovec;
                header.msg_iovlen = 1;
                header.msg_control = self.controls.as_mut_ptr().add(at).cast();
                header.msg_controllen = Control::LEN as _;
                header.msg_flags = 0;
            }
        }
        (self.received, self.spent) = (0, 0);
    }

    /// The messages of the last call, in the order in which they arrived, without truncated ones.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        (0..self.received)
            .filter(|at| !self.is_truncated(*at))
            .filter_map(|at| self.message(at))
    }

    /// How many messages of the last call did not fit, or came without all that belongs to them.
    pub(crate) fn truncated(&self) -> usize {
        (0..self.received).filter(|at| self.is_truncated(*at)).count()
    }

    fn is_truncated(&self, at: usize) -> bool {
        self.headers[at].msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0
    }

    fn message(&self, at: usize) -> Option<Message<'_>> {
        let header = &self.headers[at];
        let start = at * (self.buffer_len + STAGGER);
        let len = usize::try_from(header.msg_len).ok()?;
        let payload = self.buffers.get(start..start + len)?;
        // SAFETY: the kernel left the control pointer as it was and set the length to what it wrote there.
        let ancillary = unsafe { Ancillary::read(&header.msg_hdr) };
        Some(Message {
            remote: self.names[at].get()?,
            local: ancillary.local,
            payload,
            packet_len: ancillary.segment_size.unwrap_or(payload.len()),
            dropped: ancillary.dropped,
        })
    }
}

/// One or more packets of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'b> {
    /// Who sent them.
    pub(crate) remote: SocketAddr,
    /// Our address that they were sent to; known on sockets bound to all addresses.
    pub(crate) local: Option<IpAddr>,
    /// How many messages to this socket the kernel had dropped before this one, since the socket was opened, for want of
    /// room in its receive buffer; `None` means none.
    pub(crate) dropped: Option<u32>,
    payload: &'b [u8],
    /// The length of every packet but the last, which may be shorter.
    packet_len: usize,
}

impl<'b> Message<'b> {
    /// The packets, in order; at least one, which may be empty.
    pub(crate) fn packets(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let (first, rest) = self.payload.split_at(self.packet_len.min(self.payload.len()));
        std::iter::once(first).chain(rest.chunks(self.packet_len.max(1)))
    }

    /// All packets together, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.payload.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(payload: &[u8], packet_len: usize) -> Vec<usize> {
        let remote = ([127, 0, 0, 1], 9).into();
        Message {
            remote,
            local: None,
            dropped: None,
            payload,
            packet_len,
        }
        .packets()
        .map(<[u8]>::len)
        .collect()
    }

    #[test]
    fn a_message_is_cut_at_the_segment_size() {
        assert_eq!(lengths(&[7; 10], 4), [4, 4, 2]);
        assert_eq!(lengths(&[7; 8], 4), [4, 4]);
        assert_eq!(lengths(&[7; 3], 4), [3]);
        assert_eq!(lengths(&[7; 3], 3), [3]);
        assert_eq!(lengths(&[], 0), [0]);
        assert_eq!(lengths(&[], 4), [0]);
    }
}
