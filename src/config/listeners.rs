//! Who listens where: no two services may share an address of one transport.

use std::collections::HashMap;
use std::net::IpAddr;

use super::errors::{Mark, Problem, Sink};
use super::model::ListenAddr;

/// The addresses taken so far.
#[derive(Debug, Default)]
pub(super) struct Listeners(HashMap<(&'static str, u16), Vec<Listener>>);

#[derive(Debug)]
struct Listener {
    ip: Option<IpAddr>,
    /// "service `name`".
    what: String,
    line: usize,
}

impl Listeners {
    /// Takes an address for `what`, or reports who has it. Port 0 never collides.
    pub(super) fn claim(
        &mut self,
        transport: &'static str,
        addr: ListenAddr,
        what: String,
        mark: Mark,
        sink: &mut Sink,
    ) {
        if addr.port == 0 {
            return;
        }
        let here = self.0.entry((transport, addr.port)).or_default();
        if let Some(other) = here.iter().find(|other| overlap(other.ip, addr.ip)) {
            let (other, line) = (other.what.clone(), other.line);
            sink.error(
                mark,
                Problem::PortTaken {
                    transport,
                    addr: addr.to_string(),
                    other,
                    line,
                },
            );
        }
        here.push(Listener {
            ip: addr.ip,
            what,
            line: mark.line,
        });
    }
}

/// Whether two listeners on one port would get in each other's way.
fn overlap(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return true };
    a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_by_family_and_wildcard() {
        let ip = |text: &str| Some(text.parse().expect("an address"));
        for (a, b, expected) in [
            (None, ip("10.0.0.1"), true),
            (None, ip("::1"), true),
            (ip("10.0.0.1"), ip("10.0.0.1"), true),
            (ip("10.0.0.1"), ip("10.0.0.2"), false),
            (ip("0.0.0.0"), ip("10.0.0.2"), true),
            (ip("0.0.0.0"), ip("::1"), false),
            (ip("::"), ip("::1"), true),
        ] {
            assert_eq!(overlap(a, b), expected, "{a:?} {b:?}");
            assert_eq!(overlap(b, a), expected, "{b:?} {a:?}");
        }
    }
}
