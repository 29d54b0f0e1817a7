//! The hosts of the lab and their addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Namespace, Result, namespace, prerequisites, workdir};

/// One set of namespaces at a time in a test process: two would have the same names, and share two cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The three hosts: the browser's, the proxy's, and Janus'.
#[derive(Debug)]
pub struct Topology {
    /// Where the browser runs.
    pub client: Namespace,
    /// Where xrtc runs. In the direct topology, nothing does.
    pub proxy: Namespace,
    /// Where Janus runs.
    pub server: Namespace,
    _alone: MutexGuard<'static, ()>,
}

impl Topology {
    /// The proxy's addresses on the browser's side.
    pub const PROXY: [IpAddr; 2] = [v4(1, 1), v6(1, 1)];
    /// The proxy's addresses on Janus' side.
    pub const PROXY_INSIDE: [IpAddr; 2] = [v4(2, 1), v6(2, 1)];
    /// The browser's addresses.
    pub const CLIENT: [IpAddr; 2] = [v4(1, 2), v6(1, 2)];
    /// Janus' addresses.
    pub const SERVER: [IpAddr; 2] = [v4(2, 2), v6(2, 2)];
    /// The address of a second server ([`Topology::second_server`]).
    pub const SECOND_SERVER: IpAddr = v4(3, 2);
    /// The browser's interface.
    pub const CLIENT_INTERFACE: &str = "to-proxy";
    /// Janus' interface.
    pub const SERVER_INTERFACE: &str = "to-proxy";

    /// Browser, proxy, Janus: the browser reaches only the proxy.
    pub fn proxied() -> Result<Self> {
        let hosts = Self::hosts()?;
        hosts
            .client
            .join(Self::CLIENT_INTERFACE, &hosts.proxy, "to-client")?;
        hosts
            .client
            .configure(Self::CLIENT_INTERFACE, &with_prefix(Self::CLIENT))?;
        hosts.proxy.configure("to-client", &with_prefix(Self::PROXY))?;
        hosts
            .proxy
            .join("to-server", &hosts.server, Self::SERVER_INTERFACE)?;
        hosts
            .proxy
            .configure("to-server", &with_prefix(Self::PROXY_INSIDE))?;
        hosts
            .server
            .configure(Self::SERVER_INTERFACE, &with_prefix(Self::SERVER))?;
        Ok(hosts)
    }

    /// The control: the browser shares a network with Janus, and there is no proxy.
    pub fn direct() -> Result<Self> {
        let hosts = Self::hosts()?;
        hosts.client.join("to-server", &hosts.server, "to-client")?;
        hosts
            .client
            .configure("to-server", &with_prefix(Self::PROXY_INSIDE))?;
        hosts.server.configure("to-client", &with_prefix(Self::SERVER))?;
        Ok(hosts)
    }

    /// A host for another server, on a network of its own with the proxy.
    pub fn second_server(&self) -> Result<Namespace> {
        const PROXY: IpAddr = v4(3, 1);
        let second = Namespace::new("second")?;
        self.proxy.join("to-second", &second, Self::SERVER_INTERFACE)?;
        self.proxy.configure("to-second", &[format!("{PROXY}/24")])?;
        let address = Self::SECOND_SERVER;
        second.configure(Self::SERVER_INTERFACE, &[format!("{address}/24")])?;
        Ok(second)
    }

    fn hosts() -> Result<Self> {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        prerequisites::check()?;
        namespace::sweep();
        workdir::sweep();
        Ok(Self {
            client: Namespace::new("client")?,
            proxy: Namespace::new("proxy")?,
            server: Namespace::new("server")?,
            _alone: alone,
        })
    }
}

const fn v4(net: u8, host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, net, host))
}

const fn v6(net: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd77, net, 0, 0, 0, 0, 0, host))
}

fn with_prefix(addresses: [IpAddr; 2]) -> [String; 2] {
    addresses.map(|address| format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 }))
}
