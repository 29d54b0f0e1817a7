//! Candidates: ours as they are shown to either side, and a server's as far as they may be used.

use std::net::SocketAddr;

use super::context::{Context, ProxyCandidate};
use crate::ice::{ServerCandidate, Transport};
use crate::sdp::candidate::host_line;
use crate::sdp::{Candidate, Protocol};

/// RFC 8445 section 5.1.2.2: host candidates. TCP comes clearly after it (RFC 6544 section 4.2 recommends less than UDP).
const TYPE_PREFERENCE_UDP: u32 = 126;
const TYPE_PREFERENCE_TCP: u32 = 90;
/// Of a server's candidates no more are kept.
const MAX_KEPT: usize = 32;

/// The lines that clients are shown, in order of preference and each with a foundation of its own.
pub(super) fn client_lines(shown: &[ProxyCandidate]) -> Vec<String> {
    shown
        .iter()
        .enumerate()
        .map(|(index, candidate)| client_line(index, *candidate, None))
        .collect()
}

/// The line for a trickled candidate: our first of the same transport, else our first.
pub(super) fn trickled_line(
    shown: &[ProxyCandidate],
    protocol: Option<Protocol>,
    ufrag: Option<&str>,
) -> Option<String> {
    let wanted = match protocol {
        Some(Protocol::TcpPassive) => Transport::Tcp,
        _ => Transport::Udp,
    };
    let same = shown.iter().position(|candidate| candidate.transport == wanted);
    let index = same.unwrap_or(0);
    shown
        .get(index)
        .map(|candidate| client_line(index, *candidate, ufrag))
}

/// The one line that a server is shown.
///
/// Its priority is the lowest there is to spare: a server leg that is established anew, from another port, is
/// peer-reflexive to the server, which moves to it only if it outbids this one (libnice).
pub(super) fn server_line(addr: SocketAddr, ufrag: Option<&str>) -> String {
    host_line(1, false, SERVER_LINE_PRIORITY, addr, ufrag)
}

/// The address for `c=` and the like towards clients: UDP where there is one.
pub(super) fn default_address(shown: &[ProxyCandidate]) -> Option<SocketAddr> {
    shown
        .iter()
        .find(|candidate| candidate.transport == Transport::Udp)
        .or_else(|| shown.first())
        .map(|candidate| candidate.addr)
}

fn client_line(index: usize, candidate: ProxyCandidate, ufrag: Option<&str>) -> String {
    let (tcp, preference) = match candidate.transport {
        Transport::Udp => (false, TYPE_PREFERENCE_UDP),
        Transport::Tcp => (true, TYPE_PREFERENCE_TCP),
    };
    host_line(index + 1, tcp, priority(preference, index), candidate.addr, ufrag)
}

/// Below that of any check of the server leg (type preference 110).
const SERVER_LINE_PRIORITY: u32 = 1 << 24 | 255;

/// RFC 8445 section 5.1.2.1, for component 1 and a local preference that falls with `index`.
fn priority(type_preference: u32, index: usize) -> u32 {
    let local = u16::MAX.saturating_sub(u16::try_from(index).unwrap_or(u16::MAX));
    type_preference << 24 | u32::from(local) << 8 | 255
}

/// A server's candidate as it may be dialled, if it may.
pub(super) fn usable(cx: &Context<'_>, candidate: &Candidate<'_>) -> Option<ServerCandidate> {
    let candidate = dialable(candidate)?;
    (cx.permits)(candidate.addr).then_some(candidate)
}

/// A candidate with an address and a transport that can be dialled at all, allowed or not.
pub(super) fn dialable(candidate: &Candidate<'_>) -> Option<ServerCandidate> {
    let transport = match candidate.protocol {
        Protocol::Udp => Transport::Udp,
        Protocol::TcpPassive => Transport::Tcp,
        Protocol::Other => return None,
    };
    let addr = candidate.addr()?;
    (candidate.component == 1).then_some(ServerCandidate { transport, addr })
}

/// The usable ones of many, each once, best first: the preferred transport, then the server's own priorities.
pub(super) fn best<'a>(
    cx: &Context<'_>,
    candidates: impl Iterator<Item = Candidate<'a>>,
) -> Vec<ServerCandidate> {
    let preferred = if cx.icetcp { Transport::Tcp } else { Transport::Udp };
    let mut ranked: Vec<_> = candidates
        .filter_map(|candidate| Some((candidate.priority, usable(cx, &candidate)?)))
        .collect();
    ranked.sort_by_key(|(priority, candidate)| {
        (candidate.transport != preferred, std::cmp::Reverse(*priority))
    });
    let mut kept = Vec::new();
    for (_, candidate) in ranked {
        if kept.len() < MAX_KEPT && !kept.contains(&candidate) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fall_in_priority_and_udp_beats_tcp() {
        let shown = [
            ("192.0.2.1:6443", Transport::Tcp),
            ("192.0.2.1:6443", Transport::Udp),
            ("[2001:db8::1]:6443", Transport::Udp),
        ]
        .map(|(addr, transport)| ProxyCandidate {
            transport,
            addr: addr.parse().expect("an address"),
        });
        let lines = client_lines(&shown);
        assert_eq!(
            lines,
            [
                "candidate:1 1 tcp 1526726655 192.0.2.1 6443 typ host tcptype passive",
                "candidate:2 1 udp 2130706175 192.0.2.1 6443 typ host",
                "candidate:3 1 udp 2130705919 2001:db8::1 6443 typ host",
            ]
        );
        let addr = shown[1].addr;
        assert_eq!(default_address(&shown), Some(addr));
        assert_eq!(
            trickled_line(&shown, Some(Protocol::Udp), Some("T")),
            Some(format!("{} ufrag T", lines[1]))
        );
        assert_eq!(trickled_line(&[], None, None), None);
    }
}
