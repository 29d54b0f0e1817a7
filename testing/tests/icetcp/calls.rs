//! Calls over every combination of transports, and what becomes of them when a connection breaks.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use xrtc::ice::{Counter, DropReason, Mode, Transport};

use super::client::{Client, check, dtls, rtp, transaction};
use super::rig::{Rig, wait_for};
use super::server::{Server, framed};

const MODES: [Mode; 2] = [Mode::Hijack, Mode::Direct];
const TRANSPORTS: [Transport; 2] = [Transport::Udp, Transport::Tcp];
const BOTH: [Transport; 2] = [Transport::Tcp, Transport::Udp];

#[tokio::test(flavor = "multi_thread")]
async fn every_combination_carries_packets_both_ways() {
    for mode in MODES {
        for (client, inside) in TRANSPORTS.into_iter().flat_map(|a| TRANSPORTS.map(|b| (a, b))) {
            let rig = Rig::start();
            let server = Server::start("srv1").await;
            let candidates = BOTH.map(|transport| server.candidate(transport));
            let login = rig.place(mode, inside == Transport::Tcp, &server.login, candidates.to_vec());
            let mut client = Client::on(&rig, client).await;
            client.connect(&login).await;
            client.echo(&dtls(1)).await;
            for number in 0..200 {
                client.echo(&rtp(number)).await;
            }
            let expected = match inside {
                Transport::Udp => (0, true),
                Transport::Tcp => (1, false),
            };
            assert_eq!(
                (server.accepted(), server.datagrams() > 200),
                expected,
                "{mode:?}"
            );
            assert_eq!(rig.all_drops(), [], "{mode:?}");
            assert_eq!(rig.count(Counter::SessionsConnected), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_is_used_where_a_server_has_nothing_else() {
    for mode in MODES {
        let rig = Rig::start();
        let server = Server::start("srv1").await;
        let only = vec![server.candidate(Transport::Tcp)];
        let login = rig.place(mode, false, &server.login, only);
        let mut client = Client::on(&rig, Transport::Udp).await;
        client.connect(&login).await;
        client.echo(&rtp(1)).await;
        assert_eq!(server.accepted(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_takes_over_where_tcp_is_refused() {
    for mode in MODES {
        let rig = Rig::start();
        let server = Server::start("srv1").await;
        let mut candidates = BOTH.map(|transport| server.candidate(transport));
        // Bound and closed again: nobody listens there.
        candidates[0].addr = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port");
        let login = rig.place(mode, true, &server.login, candidates.to_vec());
        let mut client = Client::on(&rig, Transport::Tcp).await;
        let started = Instant::now();
        client.connect(&login).await;
        client.echo(&rtp(1)).await;
        assert!(started.elapsed() < Duration::from_secs(1), "at once");
        assert_eq!(rig.drops(DropReason::DialFailed), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_takes_over_where_tcp_is_silent() {
    for mode in MODES {
        let rig = Rig::start();
        let server = Server::start("srv1").await;
        server.mute_tcp();
        let candidates = BOTH.map(|transport| server.candidate(transport));
        let login = rig.place(mode, true, &server.login, candidates.to_vec());
        let mut client = Client::on(&rig, Transport::Tcp).await;
        let started = Instant::now();
        client.connect(&login).await;
        client.echo(&rtp(1)).await;
        let took = started.elapsed();
        assert!(
            (Duration::from_millis(900)..Duration::from_secs(3)).contains(&took),
            "{took:?}"
        );
        assert_eq!(server.accepted(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_breaks_off_in_mid_frame_is_connected_to_again() {
    for mode in MODES {
        let rig = Rig::start();
        let server = Server::start("srv1").await;
        let candidates = BOTH.map(|transport| server.candidate(transport));
        let login = rig.place(mode, true, &server.login, candidates.to_vec());
        let mut client = Client::on(&rig, Transport::Tcp).await;
        client.connect(&login).await;
        client.echo(&rtp(1)).await;
        server.cut();
        wait_for("a second connection", || server.accepted() == 2).await;
        client.connect(&login).await;
        client.echo(&rtp(2)).await;
        assert_eq!(server.accepted(), 2);
        assert_eq!(server.datagrams(), 0, "{mode:?}: TCP still comes first");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_in_mid_frame_goes_on_over_a_new_connection() {
    for mode in MODES {
        let rig = Rig::start();
        let server = Server::start("srv1").await;
        let candidates = vec![server.candidate(Transport::Udp)];
        let login = rig.place(mode, false, &server.login, candidates);
        let mut first = Client::on(&rig, Transport::Tcp).await;
        first.connect(&login).await;
        first.echo(&rtp(1)).await;
        first.send_bytes(&framed(&rtp(2))[..100]).await;
        drop(first);
        wait_for("the end of the first", || rig.media.streams().open() == 0).await;

        let mut second = Client::on(&rig, Transport::Tcp).await;
        second.connect(&login).await;
        second.echo(&rtp(3)).await;
        // In hijack mode it is the same call; in icedirect each tuple is one.
        let sessions = if mode == Mode::Hijack { 1 } else { 2 };
        assert_eq!(rig.count(Counter::SessionsOpened), sessions);
        assert_eq!(rig.count(Counter::TcpAccepted), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_one_byte_make_no_difference() {
    let rig = Rig::start();
    let server = Server::start("srv1").await;
    let candidates = vec![server.candidate(Transport::Udp)];
    let login = rig.place(Mode::Hijack, false, &server.login, candidates);
    let mut client = Client::on(&rig, Transport::Tcp).await;
    let stream = [
        framed(&check(transaction(), &login)),
        framed(&[]),
        framed(&dtls(1)),
        framed(&rtp(2)),
    ];
    for byte in stream.concat() {
        client.send_bytes(&[byte]).await;
    }
    let mut echoed = Vec::new();
    while echoed.len() < 2 {
        let packet = client.receive().await.expect("the connection stays");
        if packet[0] >= 20 {
            echoed.push(packet);
        }
    }
    assert_eq!(echoed, [dtls(1), rtp(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_clients_at_once_each_get_their_own_packets() {
    const CLIENTS: u32 = 300;
    let rig = Rig::start();
    let server = Server::start("shrd").await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (mode, inside) = (MODES[number as usize % 2], TRANSPORTS[number as usize / 2 % 2]);
        let mut own = server.login.clone();
        // Each call has a ufrag of its own; the password is the server's.
        own.ufrag = format!("u{number:03}");
        let candidates = vec![server.candidate(inside)];
        let login = rig.place(mode, inside == Transport::Tcp, &own, candidates);
        let mut client = Client::on(&rig, Transport::Tcp).await;
        clients.spawn(async move {
            client.connect(&login).await;
            for round in 0..20 {
                client.echo(&rtp(number * 1_000 + round)).await;
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.expect("every client is served");
    }
    assert_eq!(rig.count(Counter::TcpAccepted), u64::from(CLIENTS));
    assert_eq!(server.accepted(), CLIENTS as usize / 2);
}
