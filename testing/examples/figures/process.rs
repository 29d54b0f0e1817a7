//! What the kernel knows of a process.

use std::fs;

use xrtc_testing::lab::{Error, Result};

/// Ticks of `/proc/PID/stat` in a second, on every Linux that Rust runs on (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Resident memory in KiB: all of it, and the part that is the process's own (not backed by a file).
pub(crate) fn memory(pid: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| Error::new(format!("no {name} of process {pid}")))
    };
    Ok((field("VmRSS:")?, field("RssAnon:")?))
}

/// Seconds of processor time that it has used.
pub(crate) fn cpu(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the name, may hold spaces, and ends with the last parenthesis: user time is the 12th after it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    Ok(ticks.iter().sum::<f64>() / TICKS)
}
