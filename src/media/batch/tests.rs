//! Batches over real loopback sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use proptest::prelude::*;

use super::super::socket::{ListenerSockets, Socket, UdpListen, listen};
use super::recv::RecvBatch;
use super::{Destination, SendQueue};
use crate::ice::ListenerId;

const PATIENCE: Duration = Duration::from_secs(10);

fn socket() -> Socket {
    Socket::server_leg(false, 0).unwrap()
}

fn receiver() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn towards(socket: &Socket, remote: SocketAddr) -> Destination<'_> {
    Destination {
        socket,
        local: None,
        remote,
    }
}

fn local_addr(socket: &Socket) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), socket.bound().port())
}

/// The packets of a plan: number of the receiver, length, whether it is to be copied.
type Plan = Vec<(usize, usize, bool)>;

fn contents(plan: &Plan) -> Vec<Vec<u8>> {
    let bytes =
        |(n, (_, len, _)): (usize, &(usize, usize, bool))| (0..*len).map(|at| (n + at * 7) as u8).collect();
    plan.iter().enumerate().map(bytes).collect()
}

/// Sends a plan in one batch and returns what each receiver got.
fn deliver(
    plan: &Plan,
    sender: &Socket,
    receivers: &[UdpSocket],
    queue: &mut SendQueue,
) -> Vec<Vec<Vec<u8>>> {
    let contents = contents(plan);
    let mut batch = queue.batch();
    for ((receiver, _, copied), packet) in plan.iter().zip(&contents) {
        let to = towards(sender, receivers[*receiver].local_addr().unwrap());
        if *copied {
            batch.push_copy(to, &packet.clone());
        } else {
            batch.push(to, packet);
        }
    }
    assert_eq!(batch.finish(), 0);
    let mut buffer = vec![0; 65_536];
    let mut receive = |socket: &UdpSocket| {
        let len = socket.recv(&mut buffer).expect("a packet is missing");
        buffer[..len].to_vec()
    };
    let count = |n| plan.iter().filter(|(to, ..)| *to == n).count();
    receivers
        .iter()
        .enumerate()
        .map(|(n, socket)| (0..count(n)).map(|_| receive(socket)).collect())
        .collect()
}

fn expected(plan: &Plan, receivers: usize) -> Vec<Vec<Vec<u8>>> {
    let mut expected = vec![Vec::new(); receivers];
    for ((to, ..), packet) in plan.iter().zip(contents(plan)) {
        expected[*to].push(packet);
    }
    expected
}

fn packet_lengths() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(1200usize), 2 => Just(300usize), 1 => 0..1500usize, 1 => Just(0usize)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn packets_arrive_intact_and_in_order_with_and_without_segmentation(
        plan in proptest::collection::vec((0..3usize, packet_lengths(), any::<bool>()), 1..120),
    ) {
        let receivers = [receiver(), receiver(), receiver()];
        let mut queue = SendQueue::default();
        let plain = socket();
        plain.stop_segmenting();
        for sender in [&socket(), &plain] {
            let got = deliver(&plan, sender, &receivers, &mut queue);
            prop_assert_eq!(&got, &expected(&plan, 3));
        }
    }
}

/// Receives until so many packets and truncated messages have come: the packets, their messages' number, and how many
/// were truncated.
fn collect(socket: &Socket, recv: &mut RecvBatch, count: usize) -> (Vec<Vec<u8>>, usize, usize) {
    let mut poll = Poll::new().unwrap();
    poll.registry()
        .register(&mut SourceFd(&socket.as_raw_fd()), Token(0), Interest::READABLE)
        .unwrap();
    let (mut packets, mut messages, mut truncated) = (Vec::new(), 0, 0);
    while packets.len() + truncated < count {
        recv.receive(socket);
        truncated += recv.truncated();
        messages += recv.messages().count();
        packets.extend(
            recv.messages()
                .flat_map(|message| message.packets())
                .map(<[u8]>::to_vec),
        );
        if recv.messages().count() + recv.truncated() == 0 {
            let mut events = Events::with_capacity(4);
            poll.poll(&mut events, Some(PATIENCE)).unwrap();
            assert!(!events.is_empty(), "{} of {count} packets came", packets.len());
        }
    }
    (packets, messages, truncated)
}

#[test]
fn coalesced_packets_are_taken_apart_again() {
    let (sender, receiver) = (socket(), socket());
    assert!(
        sender.segments(),
        "this kernel has no UDP_SEGMENT: nothing to test"
    );
    let lengths: Vec<usize> = [
        vec![1000; 20],
        vec![400],
        vec![1000; 3],
        vec![0],
        vec![5],
        vec![8; 70],
    ]
    .concat();
    let sent: Vec<Vec<u8>> = lengths
        .iter()
        .enumerate()
        .map(|(n, len)| vec![n as u8; *len])
        .collect();
    let mut queue = SendQueue::default();
    let mut batch = queue.batch();
    for packet in &sent {
        batch.push(towards(&sender, local_addr(&receiver)), packet);
    }
    assert_eq!(batch.finish(), 0);
    let (got, messages, truncated) = collect(&receiver, &mut RecvBatch::default(), sent.len());
    assert_eq!(got, sent);
    assert_eq!(truncated, 0);
    // 20 and the shorter one, 3, the empty one, the one of 5, which no longer one may follow, 64 of 8 and 6 of 8.
    assert_eq!(messages, 6);
}

#[test]
fn a_message_that_does_not_fit_is_counted_and_not_delivered() {
    let (sender, receiver) = (socket(), socket());
    sender.stop_segmenting();
    let packets = [vec![1; 100], vec![2; 101], vec![3; 99]];
    let mut queue = SendQueue::default();
    let mut batch = queue.batch();
    for packet in &packets {
        batch.push(towards(&sender, local_addr(&receiver)), packet);
    }
    assert_eq!(batch.finish(), 0);
    let (got, _, truncated) = collect(&receiver, &mut RecvBatch::new(8, 100), 3);
    assert_eq!(got, [vec![1; 100], vec![3; 99]]);
    assert_eq!(truncated, 1);
}

#[test]
fn a_full_batch_says_that_there_is_more() {
    let (sender, receiver) = (receiver(), socket());
    for n in 0..6 {
        sender.send_to(&[n], local_addr(&receiver)).unwrap();
    }
    let mut recv = RecvBatch::new(4, 100);
    let firsts =
        |recv: &RecvBatch| -> Vec<u8> { recv.messages().map(|m| m.packets().next().unwrap()[0]).collect() };
    assert!(recv.receive(&receiver));
    assert_eq!(firsts(&recv), [0, 1, 2, 3]);
    assert!(!recv.receive(&receiver));
    assert_eq!(firsts(&recv), [4, 5]);
    assert!(!recv.receive(&receiver));
    assert!(firsts(&recv).is_empty());
}

fn wildcard() -> ListenerSockets {
    listen(
        UdpListen {
            id: ListenerId(0),
            ip: None,
            port: 0,
        },
        1,
    )
    .unwrap()
    .remove(0)
}

#[test]
fn a_wildcard_socket_knows_the_address_that_was_asked_and_answers_from_it() {
    let listener = wildcard();
    for asked in ["127.0.0.1", "127.0.0.2", "127.8.8.8", "::1"] {
        let asked: IpAddr = asked.parse().unwrap();
        let Some(server) = listener.family(asked.is_ipv6()) else {
            continue;
        };
        let client = UdpSocket::bind(if asked.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" }).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let to = SocketAddr::new(asked, server.bound().port());
        client.send_to(b"who?", to).unwrap();
        let mut recv = RecvBatch::default();
        collect_one(server, &mut recv);
        let message = recv.messages().next().unwrap();
        assert_eq!(
            (message.local, message.remote),
            (Some(asked), client.local_addr().unwrap())
        );
        let mut queue = SendQueue::default();
        let mut batch = queue.batch();
        let back = Destination {
            socket: server,
            local: message.local,
            remote: message.remote,
        };
        // A run and a single packet, which differ in their control messages.
        for packet in [&b"me"[..], b"me", b"again"] {
            batch.push(back, packet);
        }
        assert_eq!(batch.finish(), 0);
        let mut buffer = [0; 16];
        for expected in [&b"me"[..], b"me", b"again"] {
            let (len, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (expected, to));
        }
    }
}

/// Waits for a batch with something in it.
fn collect_one(socket: &Socket, recv: &mut RecvBatch) {
    let mut poll = Poll::new().unwrap();
    poll.registry()
        .register(&mut SourceFd(&socket.as_raw_fd()), Token(0), Interest::READABLE)
        .unwrap();
    let mut events = Events::with_capacity(4);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    recv.receive(socket);
    assert_eq!(recv.messages().count(), 1);
}

#[test]
fn what_the_kernel_refuses_is_counted_and_holds_up_nothing() {
    let (sender, receiver) = (socket(), receiver());
    let nowhere = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let there = receiver.local_addr().unwrap();
    let too_long = vec![0; 65_508];
    let mut queue = SendQueue::default();
    let mut batch = queue.batch();
    batch.push(towards(&sender, there), b"before");
    for _ in 0..3 {
        batch.push(towards(&sender, nowhere), b"lost");
    }
    batch.push(
        towards(&sender, SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 9)),
        b"wrong family",
    );
    batch.push(towards(&sender, there), &too_long);
    batch.push(towards(&sender, there), b"after");
    assert_eq!(batch.finish(), 5);
    let mut buffer = [0; 16];
    for expected in [&b"before"[..], b"after"] {
        let len = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], expected);
    }
    assert!(
        sender.segments(),
        "one bad destination must not cost the others their runs"
    );
}

/// Anyone can make up an ICMP error, so none may get in the way.
#[test]
fn unreachable_ports_are_passed_over() {
    let (sender, receiver) = (socket(), receiver());
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let there = receiver.local_addr().unwrap();
    let mut queue = SendQueue::default();
    for _ in 0..3 {
        let mut batch = queue.batch();
        batch.push(towards(&sender, closed), b"nobody");
        batch.push(towards(&sender, there), b"somebody");
        assert_eq!(batch.finish(), 0);
    }
    let mut buffer = [0; 16];
    for _ in 0..3 {
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 8);
    }
    receiver.send_to(b"answer", local_addr(&sender)).unwrap();
    let (got, ..) = collect(&sender, &mut RecvBatch::default(), 1);
    assert_eq!(got, [b"answer"]);
}

#[test]
fn more_than_a_batch_leaves_in_several() {
    let (sender, receiver) = (socket(), socket());
    let count = 2 * super::send::MAX_PACKETS + 7;
    let packets: Vec<[u8; 4]> = (0..count as u32).map(u32::to_be_bytes).collect();
    let mut queue = SendQueue::default();
    let mut batch = queue.batch();
    for (n, packet) in packets.iter().enumerate() {
        let to = towards(&sender, local_addr(&receiver));
        if n % 3 == 0 {
            batch.push_copy(to, &packet.clone())
        } else {
            batch.push(to, packet)
        }
    }
    assert_eq!(batch.finish(), 0);
    let (got, ..) = collect(&receiver, &mut RecvBatch::default(), count);
    assert_eq!(got, packets);
}

#[test]
fn a_dropped_batch_leaves_nothing_behind() {
    let (sender, receiver) = (socket(), receiver());
    let to = towards(&sender, receiver.local_addr().unwrap());
    let mut queue = SendQueue::default();
    {
        let packet = b"dropped".to_vec();
        let mut batch = queue.batch();
        batch.push(to, &packet);
    }
    let mut batch = queue.batch();
    batch.push(to, b"sent");
    assert_eq!(batch.finish(), 0);
    let mut buffer = [0; 16];
    let len = receiver.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"sent");
}

/// Packets longer than the path's MTU cannot be segments: the kernel refuses the run, and takes the packets.
#[test]
fn a_run_that_a_path_refuses_leaves_packet_by_packet() {
    let outcome = std::thread::spawn(|| -> io::Result<(bool, bool)> {
        enter_network_with_mtu(1280)?;
        let plan: Plan = (0..12)
            .map(|n| (n % 2, if n < 8 { 1400 } else { 500 }, false))
            .collect();
        let (sender, receivers) = (socket(), [receiver(), receiver()]);
        let got = deliver(&plan, &sender, &receivers, &mut SendQueue::default());
        Ok((got == expected(&plan, 2), sender.segments()))
    });
    match outcome.join().unwrap() {
        Ok(outcome) => assert_eq!(outcome, (true, true)),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
    }
}

/// Moves this thread into a network of its own, where the loopback has the given MTU.
fn enter_network_with_mtu(mtu: u16) -> io::Result<()> {
    // SAFETY: concerns the network of this thread only.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let status = Command::new("ip")
        .args(["link", "set", "lo", "up", "mtu", &mtu.to_string()])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::ErrorKind::Other.into())
    }
}
