//! The STUN reader and writer against the vectors of RFC 5769, against another implementation, and against noise.

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
