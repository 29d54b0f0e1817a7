//! Network namespaces and the veth pairs between them, through `iproute2`.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio, id};

use super::{Error, Result};

/// Names are `xrtc-PID-ROLE`, so that a later run can tell whose they were.
const PREFIX: &str = "xrtc-";

/// A network namespace with `lo` up and nothing else. Dropped, it takes its processes with it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace for `role`, which must be unique within this process.
    pub fn new(role: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{role}", id());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in it and returns what it printed.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["-n", &self.name];
        all.extend(args);
        ip(&all)
    }

    /// Whether it has a route to `address`.
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.ip(&["route", "get", &address.to_string()]).is_ok()
    }

    /// A command that runs `program` in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Joins it to `other` by a veth pair; each end is named after where it leads.
    pub fn join(&self, own_end: &str, other: &Self, other_end: &str) -> Result<()> {
        ip(&[
            "link",
            "add",
            "name",
            own_end,
            "netns",
            &self.name,
            "type",
            "veth", //
            "peer",
            "name",
            other_end,
            "netns",
            &other.name,
        ])?;
        Ok(())
    }

    /// Gives `interface` its addresses (with prefix lengths) and brings it up.
    pub fn configure(&self, interface: &str, addresses: &[String]) -> Result<()> {
        // No link-local address: nothing waits for its duplicate detection, and no router is asked for.
        self.ip(&["link", "set", "dev", interface, "addrgenmode", "none"])?;
        for address in addresses {
            let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            self.ip(&[&["addr", "add", address, "dev", interface], nodad].concat())?;
        }
        self.ip(&["link", "set", interface, "up"])?;
        Ok(())
    }

    /// Has its firewall drop UDP on `interface`, both ways, silently, as networks do that let only TCP out.
    pub fn block_udp(&self, interface: &str) -> Result<()> {
        let rules = format!(
            "table inet lab {{
                chain out {{ type filter hook output priority 0; oifname {interface} meta l4proto udp drop; }}
                chain in {{ type filter hook input priority 0; iifname {interface} meta l4proto udp drop; }}
            }}"
        );
        let output = self.command("nft").arg(rules).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(());
        }
        let reason = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(format!("nft: {}", reason.trim())))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes the namespaces of lab runs whose process is gone, and what still runs in them.
pub(super) fn sweep() {
    let Ok(list) = ip(&["netns", "list"]) else { return };
    for name in list.lines().filter_map(|line| line.split_whitespace().next()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(name);
        }
    }
}

fn remove(name: &str) {
    // Best effort, also while panicking: the sweeper of the next run gets what is left.
    if let Ok(pids) = ip(&["netns", "pids", name]) {
        let _ = Command::new("kill")
            .arg("-9")
            .args(pids.split_whitespace())
            .stderr(Stdio::null())
            .status();
    }
    let _ = ip(&["netns", "del", name]);
}

fn ip(args: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("ip {}: {}", args.join(" "), reason.trim())))
}
