//! Why an address cannot be listened on, in the words of who has to mend it: the key, the address, and what to do.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use crate::config::{ListenAddr, Service};
use crate::media::ListenError;

use super::StartError;

/// Of the kernel's tables no more lines are read than these.
const MAX_LINES: usize = 100_000;
/// State of a listening TCP socket in `/proc/net/tcp` (`TCP_LISTEN` of Linux).
const LISTENING: &str = "0A";

/// The error of a service's address.
pub(super) fn listen_error(service: &Service, source: io::Error) -> StartError {
    let transport = service.kind.transport();
    StartError::Listen {
        key: format!("services.{}.net.addr", service.name),
        hint: hint(service.addr, transport, &source),
        addr: service.addr,
        source: bare(source),
    }
}

/// The error of the admin listener's address.
pub(super) fn admin_error(addr: ListenAddr, source: io::Error) -> StartError {
    StartError::Listen {
        key: "admin.addr".to_owned(),
        hint: hint(addr, "tcp", &source),
        addr,
        source,
    }
}

/// The system's own error, where the media plane has wrapped it to say whose it is.
fn bare(error: io::Error) -> io::Error {
    let kind = error.kind();
    match error.downcast::<ListenError>() {
        Ok(ListenError { source, .. }) => source,
        Err(error) => io::Error::new(kind, error),
    }
}

fn hint(addr: ListenAddr, transport: &str, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => match holder(addr, transport) {
            Some((pid, _)) if pid == std::process::id() => {
                "; this daemon listens there itself, by another of its addresses".to_owned()
            }
            Some((pid, name)) => format!("; process {pid} ({name}) listens there"),
            None => "; another process listens there".to_owned(),
        },
        ErrorKind::PermissionDenied if addr.port < 1024 => {
            "; a port below 1024 takes root or the capability CAP_NET_BIND_SERVICE".to_owned()
        }
        ErrorKind::AddrNotAvailable => "; no interface of this machine has this address".to_owned(),
        _ => String::new(),
    }
}

/// The process that has an address, and its name, as far as this one may know.
fn holder(addr: ListenAddr, transport: &str) -> Option<(u32, String)> {
    let inodes: Vec<String> = ["", "6"]
        .iter()
        .filter_map(|family| fs::read_to_string(format!("/proc/net/{transport}{family}")).ok())
        .flat_map(|table| inodes(&table, addr, transport == "tcp"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let has_it = fs::read_dir(process.path().join("fd"))
            .ok()?
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()));
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        has_it.then(|| (pid, name.trim().escape_default().to_string()))
    })
}

/// The sockets of a table of `/proc/net` that are in the way of an address, as `/proc/PID/fd` names them.
fn inodes(table: &str, addr: ListenAddr, only_listening: bool) -> Vec<String> {
    let in_the_way = |line: &str| {
        // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
        let fields: Vec<&str> = line.split_whitespace().take(10).collect();
        let [_, local, _, state, _, _, _, _, _, inode] = fields[..] else {
            return None;
        };
        let (ip, port) = local.rsplit_once(':')?;
        let everywhere = ip.bytes().all(|digit| digit == b'0');
        let same_ip = everywhere || addr.ip.is_none_or(|wanted| ip == in_hex(wanted));
        let same_port = u16::from_str_radix(port, 16).ok()? == addr.port;
        (same_ip && same_port && (!only_listening || state == LISTENING)).then(|| format!("socket:[{inode}]"))
    };
    table
        .lines()
        .skip(1)
        .take(MAX_LINES)
        .filter_map(in_the_way)
        .collect()
}

/// An address as the kernel prints it: words of four bytes in the machine's order.
fn in_hex(ip: std::net::IpAddr) -> String {
    let words = |bytes: &[u8]| -> String {
        let words = bytes.chunks_exact(4);
        words
            .map(|word| {
                let word = <[u8; 4]>::try_from(word).unwrap_or_default();
                format!("{:08X}", u32::from_ne_bytes(word))
            })
            .collect()
    };
    match SocketAddr::new(ip, 0) {
        SocketAddr::V4(v4) => words(&v4.ip().octets()),
        SocketAddr::V6(v6) => words(&v6.ip().octets()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};

    use super::*;

    fn at(ip: Option<Ipv4Addr>, port: u16) -> ListenAddr {
        ListenAddr {
            ip: ip.map(Into::into),
            port,
        }
    }

    #[test]
    fn the_holder_of_a_port_is_found() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let me = Some(std::process::id());
        for (port, transport) in [
            (tcp.local_addr().unwrap().port(), "tcp"),
            (udp.local_addr().unwrap().port(), "udp"),
        ] {
            let pid = |ip| holder(at(ip, port), transport).map(|(pid, _)| pid);
            assert_eq!(pid(None), me);
            assert_eq!(pid(Some(Ipv4Addr::LOCALHOST)), me);
            assert_eq!(pid(Some(Ipv4Addr::new(127, 0, 0, 9))), None);
        }
    }

    #[test]
    fn what_can_be_done_is_said() {
        let said = |port, kind: ErrorKind| hint(at(None, port), "tcp", &kind.into());
        assert!(said(80, ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        assert_eq!(said(8080, ErrorKind::PermissionDenied), "");
        assert!(said(8080, ErrorKind::AddrNotAvailable).contains("no interface"));
    }
}
