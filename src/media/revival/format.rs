//! The snapshot as bytes. All integers are big-endian.
//!
//! ```text
//!  snapshot = magic 8 B (the last one is the version) | written, Unix ms 8 B | listeners 2 B | address each
//!           | calls until the end | MAC 32 B
//!  call     = token | client's ufrag | server's address | our port towards it 2 B | tuples 1 B | tuple each          (text = length 2 B | bytes)
//!  tuple    = listener 2 B | our IP | client's address | ages 3 x 4 B: check, nomination, media (ms)
//!  IP       = family 1 B (4, 6; 0: none) | 4, 16 or 0 B           address = IP | port 2 B
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::ice::Attested;
use crate::ice::client_leg::CONSENT;
use crate::wire::reader::Reader;

/// No snapshot is longer: about 100 000 calls.
pub const MAX_LEN: usize = 32 << 20;
/// No more tuples than these of one call, the best ones.
pub(super) const MAX_TUPLES: usize = 4;
/// The age of what never happened.
const NEVER: u32 = u32::MAX;
/// A snapshot may be this much younger than now, in milliseconds: a wall clock that was set back further leaves ages
/// unknown.
const CLOCK_SKEW: u64 = 1_000;

const MAGIC: [u8; 8] = *b"xrtcall\x02";

/// Why a snapshot is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not written with a key of ours, or damaged.
    #[error("it was not written with a key of ours, or it is damaged")]
    Forged,
    /// Ours, but of another version.
    #[error("another version wrote it")]
    Version,
    /// No tuple in it can have consent any more.
    #[error("it is too old")]
    Stale,
    /// Longer than [`MAX_LEN`].
    #[error("it is too large")]
    TooLarge,
}

/// A call in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallRecord<'a> {
    pub(super) token: &'a str,
    pub(super) client_ufrag: &'a str,
    /// The uplink, if the leg was up.
    pub(super) uplink: Option<Uplink>,
    pub(super) tuples: Vec<TupleRecord>,
}

/// A way to a server that was in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::media) struct Uplink {
    /// The server's address.
    pub(in crate::media) server: SocketAddr,
    /// The port of our socket.
    pub(in crate::media) port: u16,
}

/// A client's tuple in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TupleRecord {
    /// Index in the list of listeners.
    pub(super) listener: u16,
    pub(super) local: IpAddr,
    pub(super) remote: SocketAddr,
    pub(super) ages: Ages,
}

/// Milliseconds since a tuple was heard from; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ages {
    pub(super) check: u64,
    pub(super) nomination: Option<u64>,
    pub(super) media: Option<u64>,
}

/// Writes the head.
pub(super) fn write_head(out: &mut Vec<u8>, unix: u64, listeners: impl ExactSizeIterator<Item = SocketAddr>) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&unix.to_be_bytes());
    // Listener ids are 16 bits wide, and each has an address per family at most; the rest cannot be named.
    let count = u16::try_from(listeners.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_be_bytes());
    listeners
        .take(count.into())
        .for_each(|addr| write_addr(out, Some(addr)));
}

/// Writes a call. `false`, and nothing is written, if a text is too long to be one.
pub(super) fn write_call(out: &mut Vec<u8>, call: &CallRecord<'_>) -> bool {
    let before = out.len();
    for text in [call.token, call.client_ufrag] {
        let Ok(len) = u16::try_from(text.len()) else {
            out.truncate(before);
            return false;
        };
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    write_addr(out, call.uplink.map(|uplink| uplink.server));
    let port = call.uplink.map_or(0, |uplink| uplink.port);
    out.extend_from_slice(&port.to_be_bytes());
    out.push(call.tuples.len().min(MAX_TUPLES) as u8);
    for tuple in call.tuples.iter().take(MAX_TUPLES) {
        out.extend_from_slice(&tuple.listener.to_be_bytes());
        write_ip(out, Some(tuple.local));
        write_addr(out, Some(tuple.remote));
        for age in [Some(tuple.ages.check), tuple.ages.nomination, tuple.ages.media] {
            let age = age.map_or(NEVER, |age| u32::try_from(age).unwrap_or(NEVER));
            out.extend_from_slice(&age.to_be_bytes());
        }
    }
    true
}

fn write_ip(out: &mut Vec<u8>, ip: Option<IpAddr>) {
    match ip {
        None => out.push(0),
        Some(IpAddr::V4(ip)) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
}

fn write_addr(out: &mut Vec<u8>, addr: Option<SocketAddr>) {
    write_ip(out, addr.map(|addr| addr.ip()));
    out.extend_from_slice(&addr.map_or(0, |addr| addr.port()).to_be_bytes());
}

/// A snapshot's head, and its calls one by one.
#[derive(Debug)]
pub(super) struct Records<'a> {
    /// Milliseconds since it was written.
    pub(super) age: u64,
    /// The addresses that the listeners were bound to.
    pub(super) listeners: Vec<SocketAddr>,
    rest: Reader<'a>,
}

impl<'a> Records<'a> {
    /// Reads the head. `unix` is now.
    pub(super) fn read(attested: &Attested<'a>, unix: u64) -> Result<Self, SnapshotError> {
        let mut reader = Reader::new(attested.bytes());
        if reader.array() != Some(MAGIC) {
            return Err(SnapshotError::Version);
        }
        let written = reader
            .array()
            .map(u64::from_be_bytes)
            .ok_or(SnapshotError::Version)?;
        if written > unix + CLOCK_SKEW || unix >= written + CONSENT {
            return Err(SnapshotError::Stale);
        }
        let count = reader.u16().ok_or(SnapshotError::Version)?;
        let listeners = (0..count).map(|_| read_addr(&mut reader).flatten());
        Ok(Self {
            age: unix.saturating_sub(written),
            listeners: listeners.collect::<Option<_>>().ok_or(SnapshotError::Version)?,
            rest: reader,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = CallRecord<'a>;

    /// The next call. What does not parse ends the list: the MAC has verified, so nobody has damaged it.
    fn next(&mut self) -> Option<CallRecord<'a>> {
        let reader = &mut self.rest;
        let token = read_text(reader)?;
        let client_ufrag = read_text(reader)?;
        let server = read_addr(reader)?;
        let port = reader.u16()?;
        let [count] = reader.array()?;
        let tuples = (0..count).map(|_| read_tuple(reader)).collect::<Option<_>>()?;
        Some(CallRecord {
            token,
            client_ufrag,
            uplink: server.map(|server| Uplink { server, port }),
            tuples,
        })
    }
}

fn read_tuple(reader: &mut Reader<'_>) -> Option<TupleRecord> {
    let listener = reader.u16()?;
    let local = read_ip(reader)??;
    let remote = read_addr(reader)??;
    let mut age = || Some(Some(reader.u32()?).filter(|age| *age != NEVER).map(u64::from));
    let ages = Ages {
        check: age()??,
        nomination: age()?,
        media: age()?,
    };
    Some(TupleRecord {
        listener,
        local,
        remote,
        ages,
    })
}

fn read_text<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let len = reader.u16()?;
    std::str::from_utf8(reader.take(len.into())?).ok()
}

/// The outer `None`: it does not parse. The inner one: there is none.
#[expect(clippy::option_option, reason = "absent and broken are two things")]
fn read_ip(reader: &mut Reader<'_>) -> Option<Option<IpAddr>> {
    match reader.array()? {
        [0] => Some(None),
        [4] => Some(Some(Ipv4Addr::from(reader.array::<4>()?).into())),
        [6] => Some(Some(Ipv6Addr::from(reader.array::<16>()?).into())),
        [_] => None,
    }
}

/// As [`read_ip`].
#[expect(clippy::option_option, reason = "absent and broken are two things")]
fn read_addr(reader: &mut Reader<'_>) -> Option<Option<SocketAddr>> {
    let ip = read_ip(reader)?;
    let port = reader.u16()?;
    Some(ip.map(|ip| SocketAddr::new(ip, port)))
}
