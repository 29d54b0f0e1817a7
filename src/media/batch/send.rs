//! The send queue: packets that wait for the end of a turn, grouped by where they go.
//!
//! Grouping finds the runs that UDP_SEGMENT takes in one piece even where the packets of several flows arrived
//! interleaved. Packets to one destination keep their order; packets to different ones do not, as on any network.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;

use super::super::socket::Socket;
use super::transmit::{MAX_RUN_BYTES, MAX_RUN_PACKETS, Runs};

/// Packets that wait at most; one more sends them all.
pub(super) const MAX_PACKETS: usize = 1024;
/// Room for packets that are copied, in bytes.
const ARENA: usize = 256 << 10;
/// The longest payload of a UDP packet over IPv4 without options (RFC 768, RFC 791).
const MAX_PACKET: usize = 65_507;
/// The end of a list.
const END: u32 = u32::MAX;

/// Where a packet goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination<'b> {
    /// The socket to send it on.
    pub(crate) socket: &'b Socket,
    /// The address to send it from; `None`: the socket's own, or what the kernel's routes say. Must be of the family
    /// of the socket.
    pub(crate) local: Option<IpAddr>,
    /// The address to send it to.
    pub(crate) remote: SocketAddr,
}

/// The storage of send batches: once it has reached its size, filling and sending a batch allocates nothing.
pub(crate) struct SendQueue {
    packets: Vec<Packet>,
    arena: Vec<u8>,
    groups: Vec<Group>,
    group_of: HashMap<Flow, u32, foldhash::fast::RandomState>,
    /// The group that the last packet went to: bursts skip the map.
    last: u32,
    /// Groups in the order of sending.
    order: Vec<u32>,
    runs: Runs,
}

struct Packet {
    bytes: Bytes,
    len: usize,
    /// The next packet of the group.
    next: u32,
}

enum Bytes {
    /// In a buffer that lives as long as the batch.
    Borrowed(NonNull<u8>),
    /// At this offset of the arena.
    Copied(usize),
}

/// What a group of packets has in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Flow {
    socket: RawFd,
    local: Option<IpAddr>,
    remote: SocketAddr,
}

struct Group {
    flow: Flow,
    /// Lives as long as the batch.
    socket: NonNull<Socket>,
    first: u32,
    last: u32,
}

impl Default for SendQueue {
    fn default() -> Self {
        Self {
            packets: Vec::with_capacity(MAX_PACKETS),
            arena: Vec::with_capacity(ARENA),
            groups: Vec::with_capacity(MAX_PACKETS),
            group_of: HashMap::with_capacity_and_hasher(MAX_PACKETS, foldhash::fast::RandomState::default()),
            last: END,
            order: Vec::with_capacity(MAX_PACKETS),
            runs: Runs::new(MAX_PACKETS),
        }
    }
}

impl SendQueue {
    /// Starts an empty batch. What a batch before it has not flushed is forgotten.
    pub(crate) fn batch<'b>(&mut self) -> SendBatch<'_, 'b> {
        self.clear();
        SendBatch {
            queue: self,
            refused: 0,
            borrows: PhantomData,
        }
    }

    fn clear(&mut self) {
        self.packets.clear();
        self.arena.clear();
        self.groups.clear();
        self.group_of.clear();
        self.last = END;
    }

    /// The group of a destination, which is made if there is none.
    fn group(&mut self, to: Destination<'_>) -> u32 {
        let flow = Flow {
            socket: to.socket.as_raw_fd(),
            local: to.local,
            remote: to.remote,
        };
        if self
            .groups
            .get(self.last as usize)
            .is_some_and(|group| group.flow == flow)
        {
            return self.last;
        }
        self.last = *self.group_of.entry(flow).or_insert_with(|| {
            self.groups.push(Group {
                flow,
                socket: to.socket.into(),
                first: END,
                last: END,
            });
            (self.groups.len() - 1) as u32
        });
        self.last
    }

    fn append(&mut self, to: Destination<'_>, bytes: Bytes, len: usize) {
        let group = self.group(to) as usize;
        let group = &mut self.groups[group];
        let at = self.packets.len() as u32;
        match self.packets.get_mut(group.last as usize) {
            Some(last) => last.next = at,
            None => group.first = at,
        }
        group.last = at;
        self.packets.push(Packet {
            bytes,
            len,
            next: END,
        });
    }

    /// Sends everything; returns how many packets the kernel refused.
    ///
    /// # Safety
    /// The sockets and borrowed packets must still live.
    unsafe fn send_all(&mut self) -> usize {
        self.order.clear();
        self.order.extend(0..self.groups.len() as u32);
        self.order
            .sort_unstable_by_key(|at| (self.groups[*at as usize].flow.socket, *at));
        let mut refused = 0;
        let mut sent = 0;
        while let Some(first) = self.order.get(sent) {
            let socket = self.groups[*first as usize].socket;
            // SAFETY: the caller says that it lives.
            let socket = unsafe { socket.as_ref() };
            self.runs.clear();
            while let Some(at) = self.order.get(sent) {
                let group = &self.groups[*at as usize];
                if group.flow.socket != socket.as_raw_fd() {
                    break;
                }
                queue_runs(
                    &mut self.runs,
                    &self.packets,
                    &self.arena,
                    group,
                    socket.segments(),
                );
                sent += 1;
            }
            // SAFETY: the caller says that the packets live; the arena does.
            refused += unsafe { self.runs.transmit(socket) };
        }
        refused
    }
}

/// Cuts the packets of a group into runs that can leave in one piece: equal lengths, the last may be shorter.
fn queue_runs(runs: &mut Runs, packets: &[Packet], arena: &[u8], group: &Group, segments: bool) {
    let mut at = group.first;
    while let Some(first) = packets.get(at as usize) {
        runs.begin(group.flow.local, group.flow.remote, first.len);
        let (mut count, mut bytes) = (0, 0);
        while let Some(packet) = packets.get(at as usize) {
            let fits = count == 0
                || segments
                    && (1..=first.len).contains(&packet.len)
                    && count < MAX_RUN_PACKETS
                    && bytes + packet.len <= MAX_RUN_BYTES;
            if !fits {
                break;
            }
            runs.add(packet.start(arena), packet.len);
            (count, bytes, at) = (count + 1, bytes + packet.len, packet.next);
            if packet.len < first.len {
                break;
            }
        }
    }
}

impl Packet {
    fn start(&self, arena: &[u8]) -> *const u8 {
        match self.bytes {
            Bytes::Borrowed(start) => start.as_ptr(),
            Bytes::Copied(offset) => arena[offset..].as_ptr(),
        }
    }
}

/// A batch that is being filled. `'b` is the life of the packets and sockets that it refers to. Dropping it drops what
/// has not been flushed.
pub(crate) struct SendBatch<'q, 'b> {
    queue: &'q mut SendQueue,
    refused: usize,
    borrows: PhantomData<(&'b [u8], &'b Socket)>,
}

impl<'b> SendBatch<'_, 'b> {
    /// Queues a packet that stays where it is until it is sent.
    pub(crate) fn push(&mut self, to: Destination<'b>, packet: &'b [u8]) {
        if self.make_room(packet.len(), 0) {
            self.queue
                .append(to, Bytes::Borrowed(NonNull::from(packet).cast()), packet.len());
        }
    }

    /// Queues a copy of a packet.
    pub(crate) fn push_copy(&mut self, to: Destination<'b>, packet: &[u8]) {
        if self.make_room(packet.len(), packet.len()) {
            let offset = self.queue.arena.len();
            self.queue.arena.extend_from_slice(packet);
            self.queue.append(to, Bytes::Copied(offset), packet.len());
        }
    }

    /// Sends all that is queued.
    pub(crate) fn flush(&mut self) {
        // SAFETY: all that was queued since the queue was last cleared came through this batch, so it lives for `'b`,
        // and so does `self`.
        self.refused += unsafe { self.queue.send_all() };
        self.queue.clear();
    }

    /// Sends the rest; returns how many packets of this batch the kernel refused.
    pub(crate) fn finish(mut self) -> usize {
        self.flush();
        self.refused
    }

    /// Makes room for one more packet, `copied` bytes of it in the arena, unless no packet can be that long.
    fn make_room(&mut self, len: usize, copied: usize) -> bool {
        if len > MAX_PACKET {
            self.refused += 1;
            return false;
        }
        if self.queue.packets.len() == MAX_PACKETS || self.queue.arena.len() + copied > ARENA {
            self.flush();
        }
        true
    }
}
