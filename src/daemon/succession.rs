//! What of a new configuration can take effect in a running daemon. Pure.

use crate::config::{Config, Global, Service, ServiceKind};

/// The configuration that is in effect after a reload, and the keys whose change needs a restart.
#[must_use]
pub(super) fn succeed(old: &Config, mut new: Config) -> (Config, Vec<String>) {
    let mut stale = Vec::new();
    let changed = [
        ("state_dir", old.global.state_dir != new.global.state_dir),
        (
            "token_lifetime",
            old.global.token_lifetime != new.global.token_lifetime,
        ),
        (
            "upstream_ports",
            old.global.upstream_ports != new.global.upstream_ports,
        ),
        (
            "media_threads",
            old.global.media_threads != new.global.media_threads,
        ),
        ("max_sessions", old.global.max_sessions != new.global.max_sessions),
        ("admin", old.global.admin != new.global.admin),
    ];
    let keys = changed.into_iter().filter(|(_, changed)| *changed);
    stale.extend(keys.map(|(key, _)| format!("`{key}`")));
    new.global = Global {
        drain_timeout: new.global.drain_timeout,
        ..old.global.clone()
    };
    if udp_addrs(old) != udp_addrs(&new) {
        stale.push("the addresses of `udp` services".to_owned());
        new.services.retain(|service| !is_udp(service));
        new.services
            .extend(old.services.iter().filter(|service| is_udp(service)).cloned());
    }
    (new, stale)
}

/// Whether the media plane listens for it.
#[must_use]
pub(super) fn is_udp(service: &Service) -> bool {
    service.kind == ServiceKind::Udp && service.enable_ice
}

fn udp_addrs(config: &Config) -> Vec<crate::config::ListenAddr> {
    let services = config.services.iter().filter(|service| is_udp(service));
    services.map(|service| service.addr).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::config::{CandidateIps, parse};

    use super::*;

    fn config(top: &str, udp: &str) -> Config {
        let text = format!("{top}\nservices: {{t: {{proto: http, net: {{addr: ':1'}}}}, {udp}}}\n");
        parse(&text, Path::new("/")).unwrap()
    }

    const UDP: &str = "u: {proto: udp, net: {addr: ':2', enable_ice: true}}";

    #[test]
    fn what_can_change_does() {
        let old = config("drain_timeout: 1s", UDP);
        let new = config(
            "drain_timeout: 2s",
            "v: {proto: udp, net: {addr: ':2', enable_ice: true, candidate_ips: [192.0.2.1]}}",
        );
        let (effective, stale) = succeed(&old, new);
        assert_eq!(stale, [""; 0]);
        assert_eq!(effective.global.drain_timeout, Duration::from_secs(2));
        let service = effective.services.iter().find(|service| is_udp(service)).unwrap();
        assert_eq!(service.name, "v");
        assert_ne!(service.candidate_ips, CandidateIps::Auto);
    }

    #[test]
    fn what_needs_a_restart_stays_and_is_named() {
        let old = config("max_sessions: 5", UDP);
        let new = config(
            "max_sessions: 6\nmedia_threads: 1\nadmin: {addr: ':9'}",
            "u: {proto: udp, net: {addr: ':3', enable_ice: true}}",
        );
        let (effective, stale) = succeed(&old, new);
        assert_eq!(
            stale,
            [
                "`media_threads`",
                "`max_sessions`",
                "`admin`",
                "the addresses of `udp` services"
            ]
        );
        assert_eq!(effective.global, old.global);
        assert_eq!(udp_addrs(&effective), udp_addrs(&old));
    }

    #[test]
    fn the_same_stays_the_same() {
        let old = config("max_sessions: 5", UDP);
        assert_eq!(succeed(&old, old.clone()), (old, Vec::new()));
    }
}
