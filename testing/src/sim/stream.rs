//! A stand-in for media: numbered packets in the shape of RTP, tagged with their call, sent at a steady pace, and an
//! account of what came of the other side's.

/// First bytes of a packet: RTP version 2, no marker, payload type 111.
const HEAD: [u8; 2] = [0x80, 111];

/// One call's media at one end.
#[derive(Debug)]
pub struct Stream {
    /// What packets carry as their SSRC; both ends of a call have the same.
    pub tag: u32,
    /// Milliseconds between packets.
    pub every: u64,
    /// Whether packets are sent.
    pub active: bool,
    /// Packets sent.
    pub sent: u32,
    /// Packets of this call that came.
    pub received: u64,
    /// Packets of another call that came: never to happen.
    pub foreign: u64,
    /// When the last one came.
    pub last_at: Option<u64>,
    /// The longest time between two that came.
    pub longest_gap: u64,
    due: u64,
}

impl Stream {
    /// A stream that sends ten packets in a second.
    #[must_use]
    pub const fn new(tag: u32) -> Self {
        Self {
            tag,
            every: 100,
            active: true,
            sent: 0,
            received: 0,
            foreign: 0,
            last_at: None,
            longest_gap: 0,
            due: 0,
        }
    }

    /// When the next packet is due.
    #[must_use]
    pub const fn next(&self) -> u64 {
        if self.active { self.due } else { u64::MAX }
    }

    /// The packet that is due.
    pub fn take(&mut self, now: u64) -> Option<Vec<u8>> {
        if self.next() > now {
            return None;
        }
        self.due = now + self.every;
        self.sent += 1;
        Some(packet(self.tag, self.sent))
    }

    /// Accounts for a packet that came.
    pub fn receive(&mut self, now: u64, bytes: &[u8]) {
        if tag_of(bytes) != Some(self.tag) {
            self.foreign += 1;
            return;
        }
        self.received += 1;
        if let Some(last) = self.last_at {
            self.longest_gap = self.longest_gap.max(now - last);
        }
        self.last_at = Some(now);
    }
}

/// A media packet.
#[must_use]
pub fn packet(tag: u32, number: u32) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    bytes.extend_from_slice(&number.to_be_bytes()[2..]);
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(&tag.to_be_bytes());
    bytes
}

/// The call that a media packet belongs to.
#[must_use]
pub fn tag_of(bytes: &[u8]) -> Option<u32> {
    let tag = bytes.starts_with(&HEAD).then(|| bytes.get(8..12))??;
    Some(u32::from_be_bytes(tag.try_into().ok()?))
}
