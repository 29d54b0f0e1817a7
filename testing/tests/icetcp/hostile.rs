//! Connections that have no business here, and clients that are up to no good.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use xrtc::ice::{DropReason, Mode, ServerCandidate, Transport};
use xrtc_testing::sim::check::Login;

use super::client::{Client, check, rtp, transaction};
use super::rig::{PATIENCE, Rig, wait_for};
use super::server::{Server, framed};

/// Sends bytes on a new connection and gives what comes back until it is closed.
async fn answer_to(rig: &Rig, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(rig.tcp).await.expect("the rig listens");
    stream.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("closed in time");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_authenticate_is_closed_without_an_answer() {
    let rig = Rig::start();
    let server = Server::start("srv1").await;
    for mode in [Mode::Hijack, Mode::Direct] {
        let candidates = vec![server.candidate(Transport::Udp)];
        let login = rig.place(mode, false, &server.login, candidates);
        let wrong = [
            Login::new(&login.ufrag, "another-password-of-no-one"),
            Login::new("none", &login.pwd),
            Login::new(&"A".repeat(200), &login.pwd),
        ];
        for wrong in wrong {
            let before = rig.drops(DropReason::TcpUnauthenticated);
            // What follows the first frame is not looked at.
            let stream = [
                framed(&check(transaction(), &wrong)),
                framed(&check(transaction(), &login)),
            ];
            assert!(answer_to(&rig, &stream.concat()).await.is_empty());
            assert_eq!(
                rig.drops(DropReason::TcpUnauthenticated),
                before + 1,
                "{:?}",
                rig.all_drops()
            );
        }
    }
    assert_eq!(server.datagrams(), 0);
    wait_for("no connection is left", || rig.media.streams().open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_long_ends_the_connection() {
    let rig = Rig::start();
    let server = Server::start("srv1").await;
    let candidates = vec![server.candidate(Transport::Udp)];
    let login = rig.place(Mode::Hijack, false, &server.login, candidates);
    let mut client = Client::on(&rig, Transport::Tcp).await;
    client.connect(&login).await;
    // Kept for a server leg that is not up yet, which the longest frame would be too long for.
    client.echo(&rtp(1)).await;
    let mut longest = rtp(0);
    longest.resize(16 << 10, 0x80);
    client.echo(&longest).await;
    longest.push(0x80);
    client.send(&longest).await;
    while client.receive().await.is_some() {}
    assert_eq!(rig.drops(DropReason::FrameTooLong), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_replayed_on_a_new_connection_gets_nothing() {
    let rig = Rig::start();
    let server = Server::start("srv1").await;
    for mode in [Mode::Hijack, Mode::Direct] {
        let candidates = vec![server.candidate(Transport::Udp)];
        let login = rig.place(mode, false, &server.login, candidates);
        let captured = check(transaction(), &login);
        let mut client = Client::on(&rig, Transport::Tcp).await;
        client.send(&captured).await;
        client.echo(&rtp(1)).await;
        assert!(answer_to(&rig, &framed(&captured)).await.is_empty());
    }
    assert_eq!(rig.drops(DropReason::StunReplayed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_servers_that_the_route_permits_are_connected_to() {
    let rig = Rig::start();
    let server = Server::start("srv1").await;
    let elsewhere = TcpListener::bind("127.0.0.2:0").await.expect("a port");
    let forbidden = ServerCandidate {
        transport: Transport::Tcp,
        addr: elsewhere.local_addr().expect("bound"),
    };
    for mode in [Mode::Hijack, Mode::Direct] {
        let candidates = vec![forbidden, server.candidate(Transport::Tcp)];
        let login = rig.place(mode, true, &server.login, candidates);
        let mut client = Client::on(&rig, Transport::Tcp).await;
        client.connect(&login).await;
        client.echo(&rtp(1)).await;
    }
    assert_eq!(server.accepted(), 2);
    // Whatever had been dialled would be in the backlog by now.
    elsewhere
        .into_std()
        .expect("a listener")
        .accept()
        .expect_err("nobody came");
}
