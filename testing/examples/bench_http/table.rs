//! Prints medians and their ratios.

use std::fmt::Write as _;

use super::load::Sample;

/// The proxy that the others are compared with.
const OURS: &str = "xrtc";

/// A table that is printed line by line.
pub(crate) struct Table {
    begun: bool,
}

impl Table {
    /// One of which nothing is printed yet.
    pub(crate) const fn new() -> Self {
        Self { begun: false }
    }

    /// The next line, below a head if it is the first.
    pub(crate) fn line(&mut self, name: &str, medians: Vec<(&'static str, Sample)>) -> String {
        let mut text = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            text += "| row | proxy | requests/s | CPU µs/request | requests/s of xrtc : its | CPU of xrtc : its |\n";
            text += "|---|---|---:|---:|---:|---:|\n";
        }
        let ours = medians
            .iter()
            .find(|(proxy, _)| *proxy == OURS)
            .map(|(_, sample)| *sample);
        for (proxy, sample) in medians {
            let Sample { rate, cpu } = sample;
            // Writing into a String cannot fail.
            let _ = write!(text, "| {name} | {proxy} | {rate:.0} | {:.1} |", cpu * 1e6);
            match ours.filter(|_| proxy != OURS) {
                Some(ours) => {
                    let _ = writeln!(text, " {:.2} | {:.2} |", ours.rate / rate, ours.cpu / cpu);
                }
                None => text += " | |\n",
            }
        }
        text.trim_end().to_owned()
    }

    /// How to read it.
    pub(crate) const fn legend(&self) -> &'static str {
        "\nRequests per second: above 1 xrtc is faster. CPU: below 1 xrtc uses less. A WebSocket message and its echo \
         count as one request."
    }
}
