//! What the kernel knows of a process.

use std::fs;

use xrtc_testing::lab::{Error, Result};

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
