//! The STUN reader and writer against the vectors of RFC 5769, the rules about order and repetition, and damage.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// RFC 5769 section 2.1: request with short-term credentials.
const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
\x00\x06\x00\x09evtj:h6vY\x20\x20\x20\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\
\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";

/// RFC 5769 section 2.2: IPv4 response.
const RESPONSE_V4: &[u8] =
    b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0btest vector\x20\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
\x80\x28\x00\x04\xc0\x7d\x4c\x96";

/// RFC 5769 section 2.3: IPv6 response.
const RESPONSE_V6: &[u8] =
    b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0btest vector\x20\x00\x20\x00\x14\x00\x02\xa1\x47\
\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
\x80\x28\x00\x04\xc8\xfb\x0b\x4c";

const TRANSACTION: TransactionId = TransactionId([
    0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE,
]);

fn key() -> IntegrityKey {
    IntegrityKey::new("VOkJxbRl1RmTxUk/WvJxBt")
}

/// A message with these attributes, in this order, and nothing else; its header's length fits.
pub(super) fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut packet = [
        &kind.to_be_bytes()[..],
        &[0, 0],
        &MAGIC_COOKIE.to_be_bytes(),
        &TRANSACTION.0,
    ]
    .concat();
    for (kind, value) in attributes {
        packet.extend(kind.to_be_bytes());
        packet.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        packet.extend(*value);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    set_length(&mut packet);
    packet
}

fn set_length(packet: &mut [u8]) {
    let length = u16::try_from(packet.len() - HEADER_LEN).unwrap();
    packet[2..4].copy_from_slice(&length.to_be_bytes());
}

/// Appends MESSAGE-INTEGRITY.
fn seal(packet: &mut Vec<u8>) {
    let tag = key().tag(packet).unwrap();
    packet.extend([0, 8, 0, 20]);
    packet.extend(tag);
    set_length(packet);
}

fn parse(packet: &[u8]) -> Message<'_> {
    Message::parse(packet).unwrap()
}

/// Everything that can be asked of a message, for tests of what must not panic.
fn ask_everything(message: &Message<'_>) {
    let _ = (
        message.class(),
        message.method(),
        message.is_binding(),
        message.transaction(),
        message.bytes(),
    );
    let _ = (
        message.username(),
        message.username_parts(),
        message.priority(),
        message.use_candidate(),
    );
    let _ = (
        message.role(),
        message.error_code(),
        message.xor_mapped_address(),
        message.unknown_required(),
    );
    let _ = (
        message.fingerprint(),
        message.authenticate(&key()).is_some(),
        format!("{message:?}"),
    );
}

#[test]
fn rfc_5769_request() {
    let message = Message::parse(REQUEST).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Request, 1));
    assert!(message.is_binding());
    assert_eq!(message.transaction(), TRANSACTION);
    assert_eq!(message.username_parts(), Some(("evtj", "h6vY")));
    assert_eq!(message.priority(), Some(0x6E00_01FF));
    assert_eq!(message.role(), Some(Role::Controlled(0x932F_F9B1_5126_3B36)));
    assert!(!message.use_candidate() && !message.unknown_required());
    assert_eq!(message.fingerprint(), Fingerprint::Valid);
    assert!(message.authenticate(&key()).is_some());
    assert!(
        message
            .authenticate(&IntegrityKey::new("VOkJxbRl1RmTxUk/WvJxBT"))
            .is_none()
    );
}

#[test]
fn rfc_5769_responses() {
    for (packet, address) in [
        (RESPONSE_V4, "192.0.2.1:32853"),
        (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let message = Message::parse(packet).unwrap();
        assert_eq!(
            (message.class(), message.transaction()),
            (Class::Success, TRANSACTION)
        );
        assert_eq!(message.xor_mapped_address(), Some(address.parse().unwrap()));
        assert_eq!(message.fingerprint(), Fingerprint::Valid);
        assert!(message.authenticate(&key()).is_some());
    }
}

#[test]
fn a_cut_packet_is_refused_and_one_with_a_cut_attribute_too() {
    for packet in [REQUEST, RESPONSE_V4, RESPONSE_V6] {
        for len in 0..packet.len() {
            let mut cut = packet[..len].to_vec();
            let expected = if len < HEADER_LEN {
                StunError::TooShort
            } else {
                StunError::Length
            };
            assert_eq!(Message::parse(&cut).unwrap_err(), expected, "{len} bytes");
            if len >= HEADER_LEN {
                set_length(&mut cut);
                match Message::parse(&cut) {
                    Ok(message) => ask_everything(&message),
                    Err(error) => assert!(matches!(error, StunError::Length | StunError::Attribute)),
                }
            }
        }
        let longer = [packet, &[0; 4]].concat();
        assert_eq!(Message::parse(&longer).unwrap_err(), StunError::Length);
    }
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    for packet in [REQUEST, RESPONSE_V4, RESPONSE_V6] {
        let integrity_end = packet.len() - 8;
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.to_vec();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            let Ok(message) = Message::parse(&flipped) else {
                continue;
            };
            ask_everything(&message);
            assert_ne!(message.fingerprint(), Fingerprint::Valid, "bit {bit}");
            assert_eq!(
                message.authenticate(&key()).is_some(),
                bit / 8 >= integrity_end,
                "bit {bit}"
            );
        }
    }
}

proptest! {
    #[test]
    fn noise_behind_a_good_header_does_no_harm(kind in 0..0x4000_u16, noise in vec(any::<u8>(), 0..200)) {
        let mut packet = message(kind, &[]);
        packet.extend(noise);
        packet.truncate(packet.len() / 4 * 4);
        set_length(&mut packet);
        if let Ok(message) = Message::parse(&packet) {
            ask_everything(&message);
            prop_assert!(message.authenticate(&key()).is_none());
        }
    }
}

#[test]
fn headers_of_other_protocols_are_refused() {
    let mut packet = message(0x0001, &[]);
    packet[0] = 0x40;
    assert_eq!(Message::parse(&packet).unwrap_err(), StunError::MessageType);
    packet[0] = 0;
    packet[7] = 0;
    assert_eq!(Message::parse(&packet).unwrap_err(), StunError::Cookie);
    let mut odd = message(0x0001, &[]);
    odd.extend([0; 6]);
    set_length(&mut odd);
    assert_eq!(Message::parse(&odd).unwrap_err(), StunError::Length);
}

#[test]
fn the_first_of_equal_attributes_counts() {
    let packet = message(
        0x0001,
        &[
            (attr::USERNAME, b"a:b"),
            (attr::PRIORITY, &[0, 0, 0, 1]),
            (attr::ICE_CONTROLLED, &[1; 8]),
            (attr::USERNAME, b"c:d"),
            (attr::PRIORITY, &[0, 0, 0, 2]),
            (attr::ICE_CONTROLLING, &[2; 8]),
        ],
    );
    let message = parse(&packet);
    assert_eq!(message.username(), Some("a:b"));
    assert_eq!(message.priority(), Some(1));
    assert_eq!(message.role(), Some(Role::Controlled(0x0101_0101_0101_0101)));
}

#[test]
fn what_follows_the_integrity_does_not_exist() {
    let mut packet = message(0x0001, &[(attr::PRIORITY, &[0, 0, 0, 1])]);
    seal(&mut packet);
    let added = message(
        0x0001,
        &[
            (attr::USERNAME, b"a:b"),
            (attr::USE_CANDIDATE, &[]),
            (attr::ICE_CONTROLLING, &[1; 8]),
            (attr::ERROR_CODE, &[0, 0, 4, 87]),
            (attr::XOR_MAPPED_ADDRESS, &[0, 1, 1, 1, 1, 1, 1, 1]),
            (0x7FFF, &[]),
            (attr::MESSAGE_INTEGRITY, &[0; 20]),
        ],
    );
    packet.extend(&added[HEADER_LEN..]);
    set_length(&mut packet);
    let message = parse(&packet);
    assert!(
        message.authenticate(&key()).is_some(),
        "the length it covers ends with the attribute"
    );
    assert_eq!(
        (message.username(), message.role(), message.error_code()),
        (None, None, None)
    );
    assert_eq!(
        (message.xor_mapped_address(), message.use_candidate()),
        (None, false)
    );
    assert!(!message.unknown_required());
}

#[test]
fn a_fingerprint_is_last_or_invalid() {
    let mut packet = message(0x0001, &[(attr::FINGERPRINT, &[0; 4]), (0x8022, &[])]);
    let crc = crc32fast::hash(&packet[..HEADER_LEN]) ^ FINGERPRINT_XOR;
    packet[HEADER_LEN + 4..HEADER_LEN + 8].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(parse(&packet).fingerprint(), Fingerprint::Invalid);
    assert_eq!(parse(&message(0x0001, &[])).fingerprint(), Fingerprint::Absent);

    // An integrity check behind the fingerprint is none.
    let mut packet = message(0x0001, &[(attr::FINGERPRINT, &[0; 4])]);
    seal(&mut packet);
    assert!(parse(&packet).authenticate(&key()).is_none());
}

#[test]
fn an_integrity_of_another_length_is_wrong() {
    let packet = message(0x0001, &[]);
    let tag = key().tag(&packet).unwrap();
    for len in [0, 4, 16, 19] {
        let packet = message(0x0001, &[(attr::MESSAGE_INTEGRITY, &tag[..len])]);
        assert!(parse(&packet).authenticate(&key()).is_none(), "{len} bytes");
    }
    let packet = message(0x0001, &[(attr::MESSAGE_INTEGRITY, &tag)]);
    assert!(parse(&packet).authenticate(&key()).is_some());
}

#[test]
fn malformed_values_are_as_good_as_absent() {
    let long = [b'a'; MAX_USERNAME_LEN + 1];
    let cases: [&[(u16, &[u8])]; 4] = [
        &[
            (attr::USERNAME, &[0xFF, 0xFE]),
            (attr::PRIORITY, &[1, 2, 3]),
            (attr::ICE_CONTROLLING, &[1; 7]),
        ],
        &[
            (attr::USERNAME, &long),
            (attr::PRIORITY, &[0; 5]),
            (attr::ICE_CONTROLLED, &[1; 9]),
        ],
        &[
            (attr::ERROR_CODE, &[0, 0, 7, 0]),
            (attr::XOR_MAPPED_ADDRESS, &[0, 2, 1, 1, 1, 1, 1, 1]),
        ],
        &[
            (attr::ERROR_CODE, &[0, 0, 4, 100]),
            (attr::XOR_MAPPED_ADDRESS, &[0, 1, 1, 1, 1, 1, 1, 1, 1]),
        ],
    ];
    for attributes in cases {
        let packet = message(0x0111, attributes);
        let message = parse(&packet);
        assert_eq!(
            (message.username(), message.priority(), message.role()),
            (None, None, None)
        );
        assert_eq!((message.error_code(), message.xor_mapped_address()), (None, None));
    }
    let longest = [b'a'; MAX_USERNAME_LEN];
    assert!(
        parse(&message(0x0001, &[(attr::USERNAME, &longest)]))
            .username()
            .is_some()
    );
}

#[test]
fn reserved_bits_of_an_error_code_are_ignored() {
    let packet = message(0x0111, &[(attr::ERROR_CODE, &[0xFF, 0xFF, 0xFC, 87])]);
    assert_eq!(parse(&packet).error_code(), Some(487));
}

#[test]
fn a_username_splits_at_its_first_colon() {
    for (username, parts) in [
        ("a:b", Some(("a", "b"))),
        ("a:b:c", Some(("a", "b:c"))),
        (":", Some(("", ""))),
        ("ab", None),
    ] {
        let packet = message(0x0001, &[(attr::USERNAME, username.as_bytes())]);
        assert_eq!(parse(&packet).username_parts(), parts);
    }
}

#[test]
fn only_unknown_attributes_below_0x8000_are_required() {
    let known = [
        attr::MAPPED_ADDRESS,
        attr::USERNAME,
        attr::ERROR_CODE,
        attr::UNKNOWN_ATTRIBUTES,
        attr::REALM,
        attr::NONCE,
        attr::XOR_MAPPED_ADDRESS,
        attr::PRIORITY,
        attr::USE_CANDIDATE,
        attr::MESSAGE_INTEGRITY,
    ];
    for kind in 0..=u16::MAX {
        let expected = kind < 0x8000 && !known.contains(&kind);
        let alone = message(0x0001, &[(kind, &[])]);
        assert_eq!(parse(&alone).unknown_required(), expected, "{kind:#06x}");
        let followed = message(0x0001, &[(kind, &[]), (0xC057, &[0; 4])]);
        assert_eq!(parse(&followed).unknown_required(), expected, "{kind:#06x}");
    }
}

#[test]
fn goog_ping_is_a_message_but_no_binding() {
    for (kind, class) in [
        (0x0200, Class::Request),
        (0x0300, Class::Success),
        (0x0310, Class::Error),
    ] {
        let packet = message(kind, &[(0xC060, &[0; 4])]);
        let message = parse(&packet);
        assert_eq!(
            (message.class(), message.method(), message.is_binding()),
            (class, 0x80, false)
        );
    }
}

#[test]
fn nothing_shows_the_key() {
    assert_eq!(format!("{:?}", key()), "IntegrityKey(..)");
}
