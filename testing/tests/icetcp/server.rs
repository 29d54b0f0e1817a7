//! A WebRTC server as ICE sees it: answers checks that carry its password, and sends everything else back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use xrtc::ice::{ServerCandidate, Transport};
use xrtc::wire::stun::{Class, Message};
use xrtc_testing::sim::check::{Login, answer};

use super::rig::LOCALHOST;

/// A packet with this first byte asks for [`FLOOD`] packets of media.
pub(crate) const ASK_FOR_FLOOD: u8 = 0xBF;
pub(crate) const FLOOD: u32 = 30_000;
pub(crate) const FLOOD_PACKET: usize = 1_200;

pub(crate) struct Server {
    pub(crate) login: Login,
    udp: SocketAddr,
    tcp: SocketAddr,
    state: Arc<State>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    accepted: AtomicUsize,
    datagrams: AtomicUsize,
    mute_tcp: AtomicBool,
    cut: Notify,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Server {
    pub(crate) async fn start(ufrag: &str) -> Self {
        let login = Login::new(ufrag, "a-password-of-the-server");
        let state = Arc::new(State::default());
        let udp = UdpSocket::bind((LOCALHOST, 0)).await.expect("a port");
        let tcp = TcpListener::bind((LOCALHOST, 0)).await.expect("a port");
        let addrs = (udp.local_addr().expect("bound"), tcp.local_addr().expect("bound"));
        let tasks = vec![
            tokio::spawn(serve_udp(udp, login.clone(), state.clone())),
            tokio::spawn(serve_tcp(tcp, login.clone(), state.clone())),
        ];
        Self {
            login,
            udp: addrs.0,
            tcp: addrs.1,
            state,
            tasks,
        }
    }

    pub(crate) fn candidate(&self, transport: Transport) -> ServerCandidate {
        let addr = match transport {
            Transport::Udp => self.udp,
            Transport::Tcp => self.tcp,
        };
        ServerCandidate { transport, addr }
    }

    /// TCP connections that were taken.
    pub(crate) fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// UDP packets that came.
    pub(crate) fn datagrams(&self) -> usize {
        self.state.datagrams.load(Ordering::SeqCst)
    }

    /// Takes connections from now on, and says nothing on them.
    pub(crate) fn mute_tcp(&self) {
        self.state.mute_tcp.store(true, Ordering::SeqCst);
    }

    /// Ends every TCP connection in the middle of a frame.
    pub(crate) fn cut(&self) {
        self.state.cut.notify_waiters();
    }
}

fn reply(login: &Login, packet: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let Ok(message) = Message::parse(packet) else {
        return Some(packet.to_vec());
    };
    let key = login.key();
    let is_check = message.class() == Class::Request && message.authenticate(&key).is_some();
    is_check.then(|| answer(&message, from, &key, false))
}

async fn serve_udp(socket: UdpSocket, login: Login, state: Arc<State>) {
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else {
            return;
        };
        state.datagrams.fetch_add(1, Ordering::SeqCst);
        if buffer[0] == ASK_FOR_FLOOD {
            for number in 0..FLOOD {
                socket.send_to(&flood_packet(number), from).await.expect("sent");
                // The proxy shall see most of it.
                if number % 16 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        } else if let Some(packet) = reply(&login, &buffer[..len], from) {
            socket.send_to(&packet, from).await.expect("sent");
        }
    }
}

fn flood_packet(number: u32) -> Vec<u8> {
    let mut packet = vec![0x80; FLOOD_PACKET];
    packet[4..8].copy_from_slice(&number.to_be_bytes());
    packet
}

async fn serve_tcp(listener: TcpListener, login: Login, state: Arc<State>) {
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            return;
        };
        state.accepted.fetch_add(1, Ordering::SeqCst);
        let (login, state) = (login.clone(), state.clone());
        tokio::spawn(async move {
            // A peer that has gone is no failure of the server's.
            let _ = serve_connection(stream, from, &login, &state).await;
        });
    }
}

async fn serve_connection(
    mut stream: TcpStream,
    from: SocketAddr,
    login: &Login,
    state: &State,
) -> std::io::Result<()> {
    loop {
        let len = tokio::select! {
            len = stream.read_u16() => len?,
            () = state.cut.notified() => return stream.write_all(&[4, 0, 22, 1, 2]).await,
        };
        let mut packet = vec![0; len.into()];
        stream.read_exact(&mut packet).await?;
        if state.mute_tcp.load(Ordering::SeqCst) {
            continue;
        }
        if let Some(packet) = reply(login, &packet, from) {
            stream.write_all(&framed(&packet)).await?;
        }
    }
}

/// A packet in its frame.
pub(crate) fn framed(packet: &[u8]) -> Vec<u8> {
    let len = u16::try_from(packet.len()).expect("a packet");
    [&len.to_be_bytes(), packet].concat()
}
