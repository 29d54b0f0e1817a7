//! Whether the server, which is in this process, has read what it was sent: a look at its own socket. The kernel's table
//! of all sockets would tell it too, and takes long on a machine that has many.

#![expect(unsafe_code, reason = "the server's sockets are known by their numbers only")]

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};
use std::{fs, io};

use socket2::{SockAddr, SockRef};

/// Looks until the server has nothing left to read; it may be too busy for that, and then the wait ends all the same.
const LOOKS: usize = 1000;

/// The server's end of a connection.
pub(crate) struct ServerEnd {
    server: SocketAddr,
    client: SocketAddr,
    accepted: bool,
}

impl ServerEnd {
    pub(crate) fn new(server: SocketAddr, client: SocketAddr) -> Self {
        Self {
            server,
            client,
            accepted: false,
        }
    }

    /// Waits until the server has accepted the connection and read all of it so far, or closed it.
    pub(crate) async fn read_all(&mut self) {
        for _ in 0..LOOKS {
            tokio::task::yield_now().await;
            match self.unread() {
                Some(true) => self.accepted = true,
                Some(false) => return self.accepted = true,
                None if self.accepted => return,
                None => {}
            }
        }
    }

    /// Whether it has something left to read; `None`: there is no such socket.
    fn unread(&self) -> Option<bool> {
        let open = fs::read_dir("/proc/self/fd").unwrap();
        let mut numbers = open.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<RawFd>().ok());
        numbers.find_map(|number| {
            // SAFETY: it is asked for its addresses and peeked at; if it has been closed meanwhile, all of that fails.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            let socket = SockRef::from(&fd);
            let is = |address: io::Result<SockAddr>, expected| {
                address.is_ok_and(|address| address.as_socket() == Some(expected))
            };
            let found = is(socket.peer_addr(), self.client) && is(socket.local_addr(), self.server);
            found.then(|| {
                socket
                    .peek(&mut [MaybeUninit::uninit()])
                    .is_ok_and(|unread| unread > 0)
            })
        })
    }
}
