//! The sealed token: a call's whole state in the ICE username that its client sends with every check.
//!
//! ```text
//!  ufrag   = base64 (RFC 4648 section 4, no padding: exactly the ice-chars of RFC 8839 section 5.4) of
//!  +--------+----------------------+-----------------------------------------------------------------+
//!  | key id | synthetic IV, 16 B   | AES-256-SIV (RFC 5297) ciphertext                               |
//!  +--------+----------------------+-----------------------------------------------------------------+
//!  plaintext: version 1 B | route 4 B | minted 4 B | flags 1 B | len S | S | len pwd | pwd | candidates
//!  candidate: kind 1 B (bit 0: TCP, bit 1: IPv6) | address 4 or 16 B | port 2 B
//! ```
//!
//! SIV is deterministic: equal claims give equal tokens, which is what a renegotiation needs (a new ufrag would be an
//! ICE restart), and no nonce can be reused by mistake. The token names nothing to an outsider and cannot be made
//! without the key. It is not a session id: one token may carry several sessions (one for each client ufrag).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::keys::{Key, KeyRing};
use super::path::Transport;
use super::policy::RouteId;

/// The longest token, in characters: Firefox refuses a ufrag of 256, and 247 were seen to work.
pub const MAX_TOKEN_LEN: usize = 240;
/// No more candidates than these are sealed into a token.
pub const MAX_CANDIDATES: usize = 8;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 1;
const SIV_LEN: usize = 16;
const MAX_PLAINTEXT: usize = MAX_TOKEN_LEN / 4 * 3 - KEY_ID_LEN - SIV_LEN;
const FLAG_SERVER_OFFERS: u8 = 1;
const FLAG_SERVER_LITE: u8 = 2;
const FLAG_ICETCP: u8 = 4;
const KIND_TCP: u8 = 1;
const KIND_IPV6: u8 = 2;

/// One address at which a server takes ICE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerCandidate {
    /// Its transport; TCP means passive.
    pub transport: Transport,
    /// Its address.
    pub addr: SocketAddr,
}

/// What a token says.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    /// The tenant; a token is worth nothing on another route.
    pub route: RouteId,
    /// Unix time of the minting, in seconds.
    pub minted_at: u32,
    /// The server made the offer.
    pub server_offers: bool,
    /// The server's SDP said `a=ice-lite`.
    pub server_lite: bool,
    /// The server's TCP candidates come first.
    pub icetcp: bool,
    /// The server's own ice-ufrag.
    pub ufrag: String,
    /// The server's own ice-pwd.
    pub pwd: String,
    /// Where the server takes ICE, best first.
    pub candidates: Vec<ServerCandidate>,
}

impl std::fmt::Debug for Claims {
    /// Leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claims")
            .field("route", &self.route)
            .field("minted_at", &self.minted_at)
            .field("server_offers", &self.server_offers)
            .field("server_lite", &self.server_lite)
            .field("candidates", &self.candidates)
            .finish_non_exhaustive()
    }
}

/// Why claims could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The server's ufrag and password leave no room for an address within [`MAX_TOKEN_LEN`].
    #[error("the server's ice-ufrag and ice-pwd are too long to be sealed")]
    TooLong,
}

/// Why a token did not open. An attacker sees none of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not a token, or none that a key of this ring sealed.
    #[error("not a token of ours")]
    Forged,
}

impl KeyRing {
    /// Seals claims under the current key. Candidates that do not fit, or beyond [`MAX_CANDIDATES`], are left out
    /// from the end.
    ///
    /// # Errors
    /// [`SealError::TooLong`] if not even one candidate fits (or, without candidates, the credentials do not).
    pub fn seal(&self, claims: &Claims) -> Result<String, SealError> {
        let plaintext = encode(claims)?;
        let key = self.current();
        let sealed = cipher(key)
            .encrypt([&[key.id][..]], &plaintext)
            .map_err(|_| SealError::TooLong)?;
        let mut raw = Vec::with_capacity(KEY_ID_LEN + sealed.len());
        raw.push(key.id);
        raw.extend_from_slice(&sealed);
        Ok(STANDARD_NO_PAD.encode(raw))
    }

    /// Opens a token. Whether it is too old, or its route still exists, is for the caller to judge.
    ///
    /// # Errors
    /// [`OpenError::Forged`] for everything that this ring did not seal.
    pub fn open(&self, token: &str) -> Result<Claims, OpenError> {
        self.unseal(token)
            .and_then(|(_, plaintext)| decode(&plaintext))
            .ok_or(OpenError::Forged)
    }

    /// The key that sealed a token.
    pub(super) fn sealed_with(&self, token: &str) -> Option<&Key> {
        self.unseal(token).map(|(key, _)| key)
    }

    fn unseal(&self, token: &str) -> Option<(&Key, Vec<u8>)> {
        if token.len() > MAX_TOKEN_LEN {
            return None;
        }
        let raw = STANDARD_NO_PAD.decode(token).ok()?;
        let (&id, sealed) = raw.split_first()?;
        self.with_id(id)
            .find_map(|key| Some((key, cipher(key).decrypt([&[id][..]], sealed).ok()?)))
    }
}

fn cipher(key: &Key) -> Aes256Siv {
    let mut wide = [0; 64];
    wide[..32].copy_from_slice(&key.prf("token seal 1", &[]));
    wide[32..].copy_from_slice(&key.prf("token seal 2", &[]));
    Aes256Siv::new(&wide.into())
}

fn encode(claims: &Claims) -> Result<Vec<u8>, SealError> {
    let mut out = Vec::with_capacity(MAX_PLAINTEXT);
    out.push(VERSION);
    out.extend_from_slice(&claims.route.0.to_be_bytes());
    out.extend_from_slice(&claims.minted_at.to_be_bytes());
    let flag = |on, bit| if on { bit } else { 0 };
    out.push(
        flag(claims.server_offers, FLAG_SERVER_OFFERS)
            | flag(claims.server_lite, FLAG_SERVER_LITE)
            | flag(claims.icetcp, FLAG_ICETCP),
    );
    for text in [&claims.ufrag, &claims.pwd] {
        out.push(u8::try_from(text.len()).map_err(|_| SealError::TooLong)?);
        out.extend_from_slice(text.as_bytes());
    }
    let before = out.len();
    for candidate in claims.candidates.iter().take(MAX_CANDIDATES) {
        let len = out.len();
        encode_candidate(&mut out, candidate);
        if out.len() > MAX_PLAINTEXT {
            out.truncate(len);
            break;
        }
    }
    let starved = !claims.candidates.is_empty() && out.len() == before;
    if starved || out.len() > MAX_PLAINTEXT {
        Err(SealError::TooLong)
    } else {
        Ok(out)
    }
}

fn encode_candidate(out: &mut Vec<u8>, candidate: &ServerCandidate) {
    let tcp = match candidate.transport {
        Transport::Udp => 0,
        Transport::Tcp => KIND_TCP,
    };
    match candidate.addr.ip() {
        IpAddr::V4(ip) => {
            out.push(tcp);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(tcp | KIND_IPV6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&candidate.addr.port().to_be_bytes());
}

/// Takes the plaintext apart. Only sealed bytes come here, so `None` means a token of another version.
fn decode(plaintext: &[u8]) -> Option<Claims> {
    let mut rest = plaintext;
    let [version] = take::<1>(&mut rest)?;
    if version != VERSION {
        return None;
    }
    let route = RouteId(u32::from_be_bytes(take(&mut rest)?));
    let minted_at = u32::from_be_bytes(take(&mut rest)?);
    let [flags] = take(&mut rest)?;
    let ufrag = take_text(&mut rest)?;
    let pwd = take_text(&mut rest)?;
    let mut candidates = Vec::new();
    while !rest.is_empty() {
        candidates.push(take_candidate(&mut rest)?);
    }
    Some(Claims {
        route,
        minted_at,
        server_offers: flags & FLAG_SERVER_OFFERS != 0,
        server_lite: flags & FLAG_SERVER_LITE != 0,
        icetcp: flags & FLAG_ICETCP != 0,
        ufrag,
        pwd,
        candidates,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let [len] = take(rest)?;
    let (head, tail) = rest.split_at_checked(usize::from(len))?;
    *rest = tail;
    String::from_utf8(head.to_vec()).ok()
}

fn take_candidate(rest: &mut &[u8]) -> Option<ServerCandidate> {
    let [kind] = take(rest)?;
    let ip = if kind & KIND_IPV6 == 0 {
        IpAddr::V4(Ipv4Addr::from(take::<4>(rest)?))
    } else {
        IpAddr::V6(Ipv6Addr::from(take::<16>(rest)?))
    };
    let port = u16::from_be_bytes(take(rest)?);
    let transport = if kind & KIND_TCP == 0 {
        Transport::Udp
    } else {
        Transport::Tcp
    };
    Some(ServerCandidate {
        transport,
        addr: SocketAddr::new(ip, port),
    })
}

#[cfg(test)]
mod tests;
