//! The Prometheus text format, as far as counters and gauges go.
//! Source: "Exposition formats", text format 0.0.4, of the Prometheus documentation.

use std::fmt::Write as _;

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// A family of counters that differ in one label. Label values are our own identifiers and need no escaping.
    pub fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, help, "counter");
        for (value, count) in values {
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "{name}{{{label}=\"{value}\"}} {count}");
        }
    }

    /// One counter.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        let _ = writeln!(self.text, "{name} {value}");
    }

    /// One gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.text, "{name} {value}");
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut page = Page::default();
        page.counters(
            "xrtc_drops_total",
            "Packets dropped, by reason.",
            "reason",
            [("not_ice", 3), ("x", 0)],
        );
        page.gauge("xrtc_sessions", "Calls now.", 2);
        assert_eq!(
            page.finish(),
            "# HELP xrtc_drops_total Packets dropped, by reason.\n# TYPE xrtc_drops_total counter\n\
             xrtc_drops_total{reason=\"not_ice\"} 3\nxrtc_drops_total{reason=\"x\"} 0\n\
             # HELP xrtc_sessions Calls now.\n# TYPE xrtc_sessions gauge\nxrtc_sessions 2\n"
        );
    }
}
