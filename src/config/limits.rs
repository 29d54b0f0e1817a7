//! `limits`: what clients may take up, of a section or of one route; and `net.per_network`.

use std::time::Duration;

use super::errors::{Problem, Sink};
use super::hints;
use super::keys;
use super::model::{Limits, NetworkConnections, NetworkLimits, Rate};
use super::scalars::{duration, integer, text, unexpected};
use super::section::Section;
use super::tree::Node;

const MAX_COUNT: usize = 10_000_000;
/// The longest head that is read at all; `header_bytes` cannot exceed it.
const MAX_HEADER_BYTES: u64 = 64 * 1024;
const MAX_BODY_BYTES: u64 = 1 << 50;
const MAX_MESSAGE_BYTES: u64 = 64 << 20;

/// Reads `limits` of a section; what it leaves out is as in `base`.
pub(super) fn limits(section: Section<'_>, base: &Limits, sink: &mut Sink) -> Limits {
    let here = section.section("limits", keys::LIMITS, sink);
    let network = here.section("per_network", keys::PER_NETWORK, sink);
    let (v4, v6) = prefixes(network, &base.per_network, sink);
    let mut size = |key: &str, most: u64| here.value(key, sink, |node| bytes(node, most));
    let header_bytes = size("header_bytes", MAX_HEADER_BYTES).map_or(base.header_bytes, saturated);
    let body_bytes = size("body_bytes", MAX_BODY_BYTES).or(base.body_bytes);
    let message = size("websocket_message_bytes", MAX_MESSAGE_BYTES);
    let mut wait = |key: &str, default: Duration| {
        let least = Duration::from_millis(1);
        here.value(key, sink, |node| duration(node, least))
            .unwrap_or(default)
    };
    let header_timeout = wait("header_timeout", base.header_timeout);
    let idle_timeout = wait("idle_timeout", base.idle_timeout);
    let body_timeout = wait("body_timeout", base.body_timeout);
    let send_timeout = wait("send_timeout", base.send_timeout);
    let least = Duration::from_millis(1);
    let websocket_idle = here.value("websocket_idle_timeout", sink, |node| duration(node, least));
    Limits {
        connections: count(here, "connections", sink).or(base.connections),
        rate: rate(here, base.rate, sink),
        per_network: NetworkLimits {
            v4,
            v6,
            connections: count(network, "connections", sink).or(base.per_network.connections),
            rate: rate(network, base.per_network.rate, sink),
        },
        header_bytes,
        body_bytes,
        websocket_message_bytes: message.map_or(base.websocket_message_bytes, saturated),
        header_timeout,
        idle_timeout,
        body_timeout,
        send_timeout,
        websocket_idle_timeout: websocket_idle.or(base.websocket_idle_timeout),
    }
}

/// Reads `per_network` of `net`; without the section nothing is bounded by network.
pub(super) fn network_connections(net: Section<'_>, sink: &mut Sink) -> Option<NetworkConnections> {
    net.entry("per_network")?;
    let here = net.section("per_network", keys::NET_PER_NETWORK, sink);
    let (v4, v6) = prefixes(here, &NetworkLimits::default(), sink);
    here.required("connections", keys::NET_PER_NETWORK, sink, || {
        "`per_network` of `net`".to_owned()
    });
    let connections = count(here, "connections", sink)?;
    Some(NetworkConnections { v4, v6, connections })
}

/// How many leading bits make a network.
fn prefixes(section: Section<'_>, base: &NetworkLimits, sink: &mut Sink) -> (u8, u8) {
    let mut prefix = |key: &str, bits: usize, default: u8| {
        let written = section.value(key, sink, |node| integer(node, 1..=bits));
        written.and_then(|n| u8::try_from(n).ok()).unwrap_or(default)
    };
    (prefix("v4", 32, base.v4), prefix("v6", 128, base.v6))
}

fn saturated(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn count(section: Section<'_>, key: &str, sink: &mut Sink) -> Option<usize> {
    section.value(key, sink, |node| integer(node, 1..=MAX_COUNT))
}

/// A burst that is not written is as large as one second's requests.
fn rate(section: Section<'_>, base: Option<Rate>, sink: &mut Sink) -> Option<Rate> {
    let burst = count(section, "burst", sink);
    let Some(per_second) = count(section, "requests_per_second", sink) else {
        if let Some(entry) = section.entry("burst").filter(|_| base.is_none()) {
            sink.warn(
                entry.key.mark,
                "`burst` does nothing without `requests_per_second`".to_owned(),
            );
        }
        return base.map(|rate| Rate {
            burst: burst.map_or(rate.burst, narrow),
            ..rate
        });
    };
    Some(Rate {
        per_second: narrow(per_second),
        burst: narrow(burst.unwrap_or(per_second)),
    })
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// `4096`, `64KiB`, `10MiB`, `2GiB`: at least 1, at most `most`.
fn bytes(node: &Node, most: u64) -> Result<u64, Problem> {
    let wrong = || {
        let expected = format!(
            "a size like `4096`, `64KiB`, `10MiB` or `1GiB`, up to {}",
            in_units(most)
        );
        unexpected(expected, node).meaning(hints::size(node))
    };
    let written = text(node, "a size")?;
    let digits = written.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = written.split_at(digits);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(wrong()),
    };
    let size = number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    size.filter(|size| (1..=most).contains(size)).ok_or_else(wrong)
}

/// A bound as one would write it; those of ours are powers of two.
fn in_units(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 30 => format!("{}GiB", bytes >> 30),
        _ if bytes >= 1 << 20 => format!("{}MiB", bytes >> 20),
        _ => format!("{}KiB", bytes >> 10),
    }
}
