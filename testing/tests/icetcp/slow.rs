//! A client that does not read: memory stays flat, its checks are answered all the same.

use std::fs;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use xrtc::ice::{Counter, DropReason, Mode, Transport};
use xrtc::wire::stun::{Message, TransactionId};

use super::client::{check, dtls, rtp, transaction};
use super::rig::{PATIENCE, Rig, wait_for};
use super::server::{ASK_FOR_FLOOD, FLOOD, FLOOD_PACKET, Server, framed};

/// The flood is 36 MB.
const MAX_GROWTH: usize = 8 << 20;
/// What the kernel holds for both ends, and a little.
const MAX_AHEAD_OF_STUN: usize = 512 << 10;
const CHECKS: usize = 20;
const RECORDS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_loses_media_and_no_stun_or_dtls() {
    let rig = Rig::start();
    let server = Server::start("srv1").await;
    let candidates = vec![server.candidate(Transport::Udp)];
    let login = rig.place(Mode::Hijack, false, &server.login, candidates);
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(32 << 10).expect("small");
    let mut stream = socket.connect(rig.tcp).await.expect("the rig listens");
    let mut checks: Vec<TransactionId> = Vec::new();
    let mut put = async |packet: &[u8]| stream.write_all(&framed(packet)).await.expect("sent");

    checks.push(transaction());
    put(&check(checks[0], &login)).await;
    wait_for("the server leg", || rig.count(Counter::SessionsConnected) == 1).await;
    let before = resident();
    let mut flood = rtp(0);
    flood[0] = ASK_FOR_FLOOD;
    put(&flood).await;
    let arrived = || rig.count(Counter::ServerPackets);
    for part in 1..=CHECKS as u64 {
        let enough = u64::from(FLOOD) / 2 * part / CHECKS as u64;
        wait_for("the flood", || arrived() >= enough).await;
        checks.push(transaction());
        put(&check(checks[part as usize], &login)).await;
    }
    wait_for("a full queue", || rig.drops(DropReason::QueueFull) > 1_000).await;
    // Several: until the flood has been read, the kernel drops what comes behind it.
    for _ in 0..RECORDS {
        let before = server.datagrams();
        put(&dtls(7)).await;
        wait_for("the server's echo", || server.datagrams() > before).await;
    }
    let growth = resident().saturating_sub(before);
    assert!(
        growth < MAX_GROWTH,
        "{growth} bytes for {} of flood",
        FLOOD as usize * FLOOD_PACKET
    );

    let (mut ahead, mut record) = (0, false);
    while !checks.is_empty() || !record {
        let mut packet = vec![
            0;
            timeout(PATIENCE, stream.read_u16())
                .await
                .expect("in time")
                .expect("a frame")
                .into()
        ];
        stream.read_exact(&mut packet).await.expect("a whole frame");
        match Message::parse(&packet) {
            Ok(message) => checks.retain(|id| *id != message.transaction()),
            Err(_) if packet == dtls(7) => record = true,
            Err(_) if !checks.is_empty() => ahead += packet.len(),
            Err(_) => {}
        }
    }
    assert!(
        ahead < MAX_AHEAD_OF_STUN,
        "{ahead} bytes of media came before the last answer"
    );
}

/// Memory of this process, proxy included.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number") * 4096
}
