//! What a daemon counts, read as a scraper reads it.

use std::collections::BTreeMap;

/// One reading of `/metrics`: every sample by its name, labels included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics(BTreeMap<String, u64>);

impl Metrics {
    /// Reads the Prometheus text format.
    #[must_use]
    pub fn parse(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        Self(
            samples
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
                .collect(),
        )
    }

    /// A sample; 0 where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Calls now.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.get("xrtc_sessions")
    }

    /// An event of the media plane.
    #[must_use]
    pub fn media(&self, event: &str) -> u64 {
        self.get(&format!("xrtc_media_total{{event=\"{event}\"}}"))
    }

    /// An event of the HTTP side.
    #[must_use]
    pub fn http(&self, event: &str) -> u64 {
        self.get(&format!("xrtc_http_total{{event=\"{event}\"}}"))
    }

    /// Everything refused since `before`, by reason: dropped packets and unrewritten descriptions.
    #[must_use]
    pub fn refused_since(&self, before: &Self) -> BTreeMap<String, u64> {
        const REFUSALS: [&str; 2] = [
            "xrtc_media_drops_total{reason=\"",
            "xrtc_signaling_refusals_total{reason=\"",
        ];
        let mut refused = BTreeMap::new();
        for (name, value) in &self.0 {
            let reason = REFUSALS.iter().find_map(|prefix| name.strip_prefix(prefix));
            let grown = value - before.get(name).min(*value);
            if let Some(reason) = reason
                && grown > 0
            {
                *refused
                    .entry(reason.trim_end_matches("\"}").to_owned())
                    .or_default() += grown;
            }
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_is_told_by_reason() {
        let page = |drops, sessions| {
            Metrics::parse(&format!(
                "# HELP xrtc_sessions Calls.\nxrtc_sessions {sessions}\n\
                 xrtc_media_drops_total{{reason=\"not_ice\"}} {drops}\n\
                 xrtc_signaling_refusals_total{{reason=\"too_deep\"}} 7\n"
            ))
        };
        let (before, after) = (page(1, 3), page(5, 4));
        assert_eq!(after.sessions(), 4);
        assert_eq!(after.refused_since(&before), [("not_ice".to_owned(), 4)].into());
    }
}
