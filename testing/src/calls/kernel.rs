//! What the kernel does to a process's UDP packets: room for them, and the ones for which there was none.
//!
//! UDP promises nothing. On a busy machine a process may be kept from its sockets until they overflow, and then packets
//! are lost that nobody in the test is to blame for. The kernel counts these, so that a test can tell them from others.

#![expect(
    unsafe_code,
    reason = "SO_RCVBUFFORCE has no safe wrapper among our dependencies"
)]

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;

use tokio::net::UdpSocket;

use crate::lab::Result;

/// The kernel counts a run of packets that arrived in one piece as one; no run is longer.
pub const MAX_RUN: u64 = 64;

/// The size of a test socket's receive buffer in bytes, where the kernel grants it.
const BUFFER: libc::c_int = 8 << 20;

/// A UDP socket on a free port of 127.0.0.1, with room for what comes while its process waits for a CPU.
pub(super) async fn udp_socket() -> Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let size = BUFFER;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
        // SAFETY: the option's value is an int, which lives until the call returns.
        let outcome = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const size).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        // Who is not root gets what the system allows; drops are counted anyway.
        if outcome == 0 {
            break;
        }
    }
    Ok(socket)
}

/// How many times the kernel has dropped what came to the UDP sockets that process `pid` has open now, since they were
/// opened.
pub(super) fn drops(pid: u32) -> Result<u64> {
    let own = sockets(pid)?;
    let mut drops = 0;
    for table in ["udp", "udp6"] {
        // A system without IPv6 has no table for it.
        let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        drops += dropped(&table, &own);
    }
    Ok(drops)
}

/// The inodes of the sockets that a process has open.
fn sockets(pid: u32) -> Result<HashSet<String>> {
    let mut inodes = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // What was closed meanwhile is not open now.
        let Ok(target) = entry.and_then(|entry| fs::read_link(entry.path())) else {
            continue;
        };
        let target = target.to_string_lossy();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(inode.map(str::to_owned));
    }
    Ok(inodes)
}

/// The drops in a table such as `/proc/net/udp`: the last column; the inode is the tenth.
fn dropped(table: &str, inodes: &HashSet<String>) -> u64 {
    const INODE: usize = 9;
    let rows = table.lines().skip(1);
    rows.filter_map(|row| {
        let mut fields = row.split_whitespace();
        inodes.contains(fields.nth(INODE)?).then_some(())?;
        fields.last()?.parse::<u64>().ok()
    })
    .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_room_was_left_for_is_counted() {
        const SENT: u64 = 100;
        let before = drops(std::process::id()).unwrap();
        let socket = || std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // With the little room that the system gives unasked.
        let (receiver, sender) = (socket(), socket());
        receiver.set_nonblocking(true).unwrap();
        for _ in 0..SENT {
            let to = receiver.local_addr().unwrap();
            sender.send_to(&[0; 60_000], to).unwrap();
        }
        let mut received = 0;
        while receiver.recv(&mut [0; 1]).is_ok() {
            received += 1;
        }
        assert!(received < SENT);
        assert_eq!(drops(std::process::id()).unwrap() - before, SENT - received);
    }

    #[test]
    fn only_own_sockets_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            1: 0100007F:1 00000000:0 07 00000000:00000000 00:00000000 00000000 0 0 11 2 0000000000000000 5\n\
            2: 0100007F:2 00000000:0 07 00000000:00000000 00:00000000 00000000 0 0 12 2 0000000000000000 70\n";
        let own = |inodes: &[&str]| inodes.iter().map(|inode| (*inode).to_owned()).collect();
        assert_eq!(dropped(table, &own(&["11"])), 5);
        assert_eq!(dropped(table, &own(&["11", "12", "13"])), 75);
    }
}
