//! A forwarded packet allocates nothing: the whole process is watched while packets go through a shard.
//!
//! One test only, since other tests' threads would be counted with it.

#![allow(unsafe_code)] // A global allocator is an unsafe trait.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use xrtc::ice::{ClientPath, ListenerId, Now, ServerPath, Shell, SocketId};
use xrtc::media::{Media, MediaConfig, Multiplexer, UdpListen};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Packets between one client and one server; every fourth one is copied, as the core's own packets are.
struct Relay {
    to_server: ServerPath,
    to_client: Option<ClientPath>,
    packets: usize,
}

impl Multiplexer for Relay {
    fn handle_client<'b>(&mut self, _: Now, from: ClientPath, packet: &'b [u8], shell: &mut impl Shell<'b>) {
        self.to_client = Some(from);
        self.packets += 1;
        if self.packets.is_multiple_of(4) {
            shell.send_to_server(&self.to_server, packet);
        } else {
            shell.forward_to_server(&self.to_server, packet);
        }
    }

    fn handle_server<'b>(&mut self, _: Now, _: ServerPath, packet: &'b [u8], shell: &mut impl Shell<'b>) {
        let _ = shell.random();
        if let Some(client) = self.to_client {
            shell.forward_to_client(&client, packet);
        }
    }

    fn handle_timeout<'b>(&mut self, _: Now, _: &mut impl Shell<'b>) {}

    fn next_timeout(&self) -> Option<u64> {
        Some(u64::MAX)
    }
}

#[test]
fn forwarding_allocates_nothing_once_warm() {
    const BURST: usize = 32;
    let server = socket();
    let remote = server.local_addr().expect("bound");
    let config = MediaConfig {
        listeners: vec![UdpListen {
            id: ListenerId(0),
            ip: None,
            port: 0,
        }],
        shards: 1,
        upstream_ports: None,
        max_server_sockets: 16,
    };
    let media = Media::start(config, |_| Relay {
        to_server: ServerPath {
            socket: SocketId(0),
            remote,
        },
        to_client: None,
        packets: 0,
    })
    .expect("loopback sockets");
    let client = socket();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, media.bound()[0].1.port()));
    let mut buffer = [0; 2048];
    let mut round = || {
        for number in 0..BURST {
            client
                .send_to(&[number as u8; 1200][..1200 - number % 3], to)
                .expect("sent");
        }
        for number in 0..BURST {
            let (len, from) = server.recv_from(&mut buffer).expect("a packet for the server");
            assert_eq!((len, buffer[0]), (1200 - number % 3, number as u8));
            server.send_to(&buffer[..len], from).expect("sent");
        }
        for number in 0..BURST {
            let len = client.recv(&mut buffer).expect("a packet for the client");
            assert_eq!((len, buffer[0]), (1200 - number % 3, number as u8));
        }
    };
    for _ in 0..4 {
        round();
    }
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    for _ in 0..200 {
        round();
    }
    let after = ALLOCATIONS.load(Ordering::SeqCst);
    assert_eq!(after - before, 0, "allocations for {} packets", 200 * 2 * BURST);
    media.stop();
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    socket
}
