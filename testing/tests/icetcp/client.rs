//! A client: checks, and packets that come back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;
use xrtc::ice::Transport;
use xrtc::wire::stun::{Message, Role, TransactionId};
use xrtc_testing::sim::check::{Check, Login};

use super::rig::{LOCALHOST, PATIENCE, Rig};
use super::server::framed;

/// Between two checks.
const RETRY: Duration = Duration::from_millis(100);

pub(crate) struct Client {
    sender: Sender,
    received: UnboundedReceiver<Vec<u8>>,
}

enum Sender {
    Udp(Arc<UdpSocket>, SocketAddr),
    Tcp(OwnedWriteHalf),
}

impl Client {
    pub(crate) async fn on(rig: &Rig, transport: Transport) -> Self {
        let (put, received) = mpsc::unbounded_channel();
        let sender = match transport {
            Transport::Udp => {
                let socket = Arc::new(UdpSocket::bind((LOCALHOST, 0)).await.expect("a port"));
                let reader = socket.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    while let Ok(len) = reader.recv(&mut buffer).await {
                        if put.send(buffer[..len].to_vec()).is_err() {
                            return;
                        }
                    }
                });
                Sender::Udp(socket, rig.udp)
            }
            Transport::Tcp => {
                let stream = TcpStream::connect(rig.tcp).await.expect("the rig listens");
                let (mut reader, writer) = stream.into_split();
                tokio::spawn(async move {
                    while let Ok(len) = reader.read_u16().await {
                        let mut packet = vec![0; len.into()];
                        if reader.read_exact(&mut packet).await.is_err() || put.send(packet).is_err() {
                            return;
                        }
                    }
                });
                Sender::Tcp(writer)
            }
        };
        Self { sender, received }
    }

    pub(crate) async fn send(&mut self, packet: &[u8]) {
        match &mut self.sender {
            Sender::Udp(socket, to) => {
                socket.send_to(packet, *to).await.expect("sent");
            }
            Sender::Tcp(_) => self.send_bytes(&framed(packet)).await,
        }
    }

    /// Bytes of the stream, whatever they are.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let Sender::Tcp(writer) = &mut self.sender else {
            panic!("UDP has no stream");
        };
        writer.write_all(bytes).await.expect("sent");
    }

    /// The next packet; `None`: the connection has been closed.
    pub(crate) async fn receive(&mut self) -> Option<Vec<u8>> {
        timeout(PATIENCE, self.received.recv())
            .await
            .expect("a packet or the end in time")
    }

    /// Checks until an answer has come that verifies.
    pub(crate) async fn connect(&mut self, login: &Login) {
        let attempts = PATIENCE.as_millis() / RETRY.as_millis();
        for _ in 0..attempts {
            let id = transaction();
            self.send(&check(id, login)).await;
            if let Ok(Some(answer)) = timeout(RETRY, self.answer(login)).await {
                assert!(!answer.is_empty());
                return;
            }
        }
        panic!("no answer");
    }

    /// Waits for an answer that verifies; passes over everything else.
    async fn answer(&mut self, login: &Login) -> Option<Vec<u8>> {
        loop {
            let packet = self.received.recv().await?;
            if Message::parse(&packet).is_ok_and(|message| message.authenticate(&login.key()).is_some()) {
                return Some(packet);
            }
        }
    }

    /// Sends a packet and waits until it has come back.
    pub(crate) async fn echo(&mut self, packet: &[u8]) {
        self.send(packet).await;
        loop {
            let received = self.receive().await.expect("the connection stays");
            // Answers to checks that were repeated.
            if Message::parse(&received).is_err() {
                assert_eq!(received, packet);
                return;
            }
        }
    }
}

/// An id that no other check of the process has.
pub(crate) fn transaction() -> TransactionId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0x5a; 12];
    // Spread out: ids of real agents are random.
    let spread = NEXT
        .fetch_add(1, Ordering::Relaxed)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    id[..8].copy_from_slice(&spread.to_be_bytes());
    TransactionId(id)
}

pub(crate) fn check(id: TransactionId, login: &Login) -> Vec<u8> {
    Check {
        id,
        to: login,
        from: "clnt",
        role: Role::Controlling(7),
        priority: 1,
        nominate: true,
    }
    .packet()
}

/// A packet in the shape of SRTP.
pub(crate) fn rtp(number: u32) -> Vec<u8> {
    let mut packet = vec![0x80; 300 + number as usize % 900];
    packet[4..8].copy_from_slice(&number.to_be_bytes());
    packet
}

/// A packet in the shape of a DTLS record.
pub(crate) fn dtls(number: u32) -> Vec<u8> {
    let mut packet = vec![22; 1_200];
    packet[4..8].copy_from_slice(&number.to_be_bytes());
    packet
}
