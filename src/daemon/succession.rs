//! What of a new configuration can take effect in a running daemon. Pure.

use crate::config::{Config, Global};

/// The configuration that is in effect after a reload, and the keys whose change needs a restart.
#[must_use]
pub(super) fn succeed(old: &Config, mut new: Config) -> (Config, Vec<&'static str>) {
    let (before, after) = (&old.global, &new.global);
    let changed = [
        ("`state_dir`", before.state_dir != after.state_dir),
        ("`upstream_ports`", before.upstream_ports != after.upstream_ports),
        ("`media_threads`", before.media_threads != after.media_threads),
    ];
    new.global = Global {
        state_dir: before.state_dir.clone(),
        upstream_ports: before.upstream_ports.clone(),
        media_threads: before.media_threads,
        ..new.global
    };
    let stale = changed.into_iter().filter(|(_, changed)| *changed);
    (new, stale.map(|(key, _)| key).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::config::parse;

    use super::*;

    fn config(top: &str) -> Config {
        let text = format!("{top}\nservices: {{t: {{proto: http, net: {{addr: ':1'}}}}}}\n");
        parse(&text, Path::new("/")).unwrap()
    }

    #[test]
    fn what_can_change_does_and_the_rest_stays_and_is_named() {
        let old = config("max_sessions: 5\ndrain_timeout: 1s");
        let new = config("max_sessions: 6\nmedia_threads: 1\nadmin: {addr: ':9'}\ntoken_lifetime: 1h");
        let (effective, stale) = succeed(&old, new);
        assert_eq!(stale, ["`media_threads`"]);
        assert_eq!(effective.global.media_threads, None);
        assert_eq!(effective.global.max_sessions, 6);
        assert_eq!(effective.global.token_lifetime, Duration::from_secs(3600));
        assert!(effective.global.admin.is_some());
    }

    #[test]
    fn the_same_stays_the_same() {
        let old = config("max_sessions: 5");
        assert_eq!(succeed(&old, old.clone()), (old, Vec::new()));
    }
}
