//! The STUN writer: what it writes reads back, it never leaves its buffer, and it reports what does not fit.

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const ID: TransactionId = TransactionId(*b"transaction!");

fn key() -> IntegrityKey {
    IntegrityKey::new("a password of a call")
}

fn parse(packet: &[u8]) -> Message<'_> {
    Message::parse(packet).unwrap()
}

/// A check as the server leg sends it.
fn write_request(buf: &mut [u8]) -> Result<usize, StunError> {
    let mut writer = Writer::new(buf, Class::Request, ID);
    writer
        .username("server:client")
        .priority(7)
        .role(Role::Controlling(9))
        .use_candidate();
    writer.finish(&key())
}

/// The longest answer to a check.
fn write_conflict(buf: &mut [u8], address: SocketAddr) -> Result<usize, StunError> {
    let mut writer = Writer::new(buf, Class::Error, ID);
    writer
        .error_code(487, "Role Conflict")
        .xor_mapped_address(address);
    writer.finish(&key())
}

#[test]
fn a_request_reads_back() {
    let mut buf = [0; 128];
    let len = write_request(&mut buf).unwrap();
    let message = parse(&buf[..len]);
    assert_eq!(
        (message.class(), message.is_binding(), message.transaction()),
        (Class::Request, true, ID)
    );
    assert_eq!(message.username_parts(), Some(("server", "client")));
    assert_eq!(
        (message.priority(), message.role()),
        (Some(7), Some(Role::Controlling(9)))
    );
    assert!(message.use_candidate());
    assert_eq!(message.fingerprint(), Fingerprint::Valid);
    assert!(message.authenticate(&key()).is_some());
    assert!(message.authenticate(&IntegrityKey::new("another")).is_none());
}

#[test]
fn an_error_reads_back() {
    let address = "[2001:db8::7]:443".parse().unwrap();
    let mut buf = [0; 128];
    let len = write_conflict(&mut buf, address).unwrap();
    let message = parse(&buf[..len]);
    assert_eq!((message.class(), message.error_code()), (Class::Error, Some(487)));
    assert_eq!(message.xor_mapped_address(), Some(address));
    assert!(message.authenticate(&key()).is_some());
}

#[test]
fn a_plain_response_has_a_fingerprint_and_no_integrity() {
    let mut buf = [0; 64];
    let mut writer = Writer::new(&mut buf, Class::Success, ID);
    writer.xor_mapped_address("192.0.2.1:4660".parse().unwrap());
    let len = writer.finish_plain().unwrap();
    assert_eq!(len, HEADER_LEN + 12 + 8);
    let message = parse(&buf[..len]);
    assert_eq!(message.fingerprint(), Fingerprint::Valid);
    assert!(message.authenticate(&key()).is_none());
}

#[test]
fn the_wire_form_of_addresses_has_the_length_of_the_rfc() {
    for (address, value_len) in [
        ("192.0.2.1:1", 8),
        ("[2001:db8::1]:1", 20),
        ("[::ffff:192.0.2.1]:1", 8),
    ] {
        let mut buf = [0; 64];
        let mut writer = Writer::new(&mut buf, Class::Success, ID);
        writer.xor_mapped_address(address.parse().unwrap());
        writer.finish_plain().unwrap();
        assert_eq!(
            buf[HEADER_LEN..HEADER_LEN + 4],
            [0x00, 0x20, 0, value_len],
            "{address}"
        );
    }
}

#[test]
fn a_mapped_ipv4_address_is_reported_as_ipv4() {
    let mut buf = [0; 64];
    let mut writer = Writer::new(&mut buf, Class::Success, ID);
    writer.xor_mapped_address("[::ffff:192.0.2.1]:4660".parse().unwrap());
    let len = writer.finish_plain().unwrap();
    assert_eq!(
        parse(&buf[..len]).xor_mapped_address(),
        Some("192.0.2.1:4660".parse().unwrap())
    );
}

#[test]
fn every_shorter_buffer_is_reported() {
    let mut buf = [0; 128];
    let len = write_request(&mut buf).unwrap();
    assert_eq!(write_request(&mut buf[..len]), Ok(len), "the exact size fits");
    for shorter in 0..len {
        assert_eq!(
            write_request(&mut buf[..shorter]),
            Err(StunError::NoRoom),
            "{shorter} bytes"
        );
    }
}

#[test]
fn what_an_attribute_cannot_hold_is_reported() {
    let write = |call: &dyn Fn(&mut Writer<'_>)| {
        let mut buf = [0; 1024];
        let mut writer = Writer::new(&mut buf, Class::Error, ID);
        call(&mut writer);
        writer.finish(&key())
    };
    let longest = "a".repeat(MAX_USERNAME_LEN);
    assert!(write(&|writer| _ = writer.username(&longest)).is_ok());
    assert_eq!(
        write(&|writer| _ = writer.username(&format!("{longest}a"))),
        Err(StunError::Value)
    );
    assert!(write(&|writer| _ = writer.error_code(699, &"a".repeat(763))).is_ok());
    assert_eq!(
        write(&|writer| _ = writer.error_code(400, &"a".repeat(764))),
        Err(StunError::Value)
    );
    for code in [0, 299, 700, u16::MAX] {
        assert_eq!(
            write(&|writer| _ = writer.error_code(code, "")),
            Err(StunError::Value),
            "{code}"
        );
    }
}

#[test]
fn a_message_longer_than_its_length_field_is_reported() {
    let write = |usernames: usize| {
        let mut buf = vec![0; 80_000];
        let mut writer = Writer::new(&mut buf, Class::Request, ID);
        for _ in 0..usernames {
            writer.username(&"a".repeat(508));
        }
        writer.finish(&key())
    };
    assert_eq!(write(127), Ok(HEADER_LEN + 127 * 512 + 24 + 8));
    assert_eq!(write(128), Err(StunError::NoRoom));
}

#[test]
fn what_the_buffer_held_before_does_not_show() {
    let (mut clean, mut dirty) = ([0; 128], [0xFF; 128]);
    let len = write_request(&mut clean).unwrap();
    assert_eq!(write_request(&mut dirty), Ok(len));
    assert_eq!(clean[..len], dirty[..len]);
    assert!(
        dirty[len..].iter().all(|byte| *byte == 0xFF),
        "and what lies behind stays"
    );
}

/// What the core relies on to answer with less than it was sent.
#[test]
fn answers_to_checks_have_the_known_sizes() {
    for (address, expected) in [("192.0.2.1:1", 64), ("[2001:db8::1]:1", 76)] {
        let mut buf = [0; 128];
        let mut writer = Writer::new(&mut buf, Class::Success, ID);
        writer.xor_mapped_address(address.parse().unwrap());
        assert_eq!(writer.finish(&key()), Ok(expected));
    }
}

proptest! {
    #[test]
    fn addresses_read_back(address: SocketAddr, id: [u8; 12]) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let mut buf = [0; 64];
        let mut writer = Writer::new(&mut buf, Class::Success, TransactionId(id));
        writer.xor_mapped_address(address);
        let len = writer.finish_plain().unwrap();
        prop_assert_eq!(parse(&buf[..len]).xor_mapped_address(), Some(address));
    }

    #[test]
    fn any_sequence_of_attributes_is_a_message(lens in vec(0..60_usize, 0..10)) {
        let mut buf = [0xFF; 1024];
        let mut writer = Writer::new(&mut buf, Class::Indication, ID);
        for len in &lens {
            writer.username(&"u".repeat(*len));
        }
        let len = writer.finish(&key()).unwrap();
        let message = parse(&buf[..len]);
        prop_assert_eq!(message.class(), Class::Indication);
        prop_assert_eq!(message.username().map(str::len), lens.first().copied());
        prop_assert!(message.authenticate(&key()).is_some());
    }
}
