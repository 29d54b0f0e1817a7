//! The Prometheus text format, as far as counters, gauges and histograms go.
//! Source: "Exposition formats", text format 0.0.4, of the Prometheus documentation.

use std::fmt::{self, Write as _};

/// The labels of a sample, by name.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// One family of a page; its samples follow one another, as the format asks for.
#[derive(Debug)]
pub struct Family<'p> {
    name: &'p str,
    text: &'p mut String,
}

impl Page {
    /// A family of counters that differ in one label.
    pub fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        let mut family = self.family(name, help, "counter");
        for (value, count) in values {
            family.sample(&[(label, value)], count);
        }
    }

    /// One gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.family(name, help, "gauge").sample(&[], value);
    }

    /// A family of any kind: `counter`, `gauge` or `histogram`.
    pub fn family<'p>(&'p mut self, name: &'p str, help: &str, kind: &str) -> Family<'p> {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            name,
            text: &mut self.text,
        }
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl fmt::Display) {
        self.line("", labels, None, value);
    }

    /// The samples of one histogram: upper bounds in seconds with how many observations did not exceed each.
    pub fn histogram(&mut self, labels: Labels<'_>, buckets: &[(f64, u64)], sum: f64, count: u64) {
        for (bound, below) in buckets {
            self.line("_bucket", labels, Some(&bound.to_string()), below);
        }
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl fmt::Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (name, value) in all {
            let _ = write!(self.text, "{separator}{name}=\"{}\"", Escaped(value));
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// A label's value: backslash, quote and line feed are escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
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

    #[test]
    fn a_histogram_ends_with_its_sum_and_count() {
        let mut page = Page::default();
        let mut family = page.family("xrtc_x_seconds", "X.", "histogram");
        family.histogram(&[("route", "a")], &[(0.005, 1), (1.0, 3)], 2.5, 4);
        assert_eq!(
            page.finish(),
            "# HELP xrtc_x_seconds X.\n# TYPE xrtc_x_seconds histogram\n\
             xrtc_x_seconds_bucket{route=\"a\",le=\"0.005\"} 1\nxrtc_x_seconds_bucket{route=\"a\",le=\"1\"} 3\n\
             xrtc_x_seconds_bucket{route=\"a\",le=\"+Inf\"} 4\nxrtc_x_seconds_sum{route=\"a\"} 2.5\n\
             xrtc_x_seconds_count{route=\"a\"} 4\n"
        );
    }

    #[test]
    fn a_label_cannot_end_early() {
        let mut page = Page::default();
        page.family("x", "X.", "gauge")
            .sample(&[("file", "a\"b\\c\nd")], 1);
        assert!(page.finish().ends_with("x{file=\"a\\\"b\\\\c\\nd\"} 1\n"));
    }
}
