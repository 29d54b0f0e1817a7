//! The STUN reader and writer against an independent implementation, the `stun-types` crate.

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use stun_types::attribute::{AttributeType, ErrorCode, RawAttribute, Username, XorMappedAddress};
use stun_types::message::{self as theirs, MessageWriteVec, ShortTermCredentials};
use stun_types::prelude::*;

use super::tests::message;
use super::*;

const PASSWORD: &str = "the password of both";

/// No MESSAGE-INTEGRITY and FINGERPRINT: theirs refuses bad ones while parsing, ours when asked.
const SOUP: &[u16] = &[
    attr::USERNAME,
    attr::PRIORITY,
    attr::USE_CANDIDATE,
    attr::XOR_MAPPED_ADDRESS,
    attr::MAPPED_ADDRESS,
    0x7F00,
    0xC057,
];

fn their_id(TransactionId(id): TransactionId) -> theirs::TransactionId {
    id.iter()
        .fold(0, |value: u128, byte| value << 8 | u128::from(*byte))
        .into()
}

fn their_class(class: Class) -> theirs::MessageClass {
    match class {
        Class::Request => theirs::MessageClass::Request,
        Class::Indication => theirs::MessageClass::Indication,
        Class::Success => theirs::MessageClass::Success,
        Class::Error => theirs::MessageClass::Error,
    }
}

fn their_value(message: &theirs::Message<'_>, kind: u16) -> Option<Vec<u8>> {
    Some(message.raw_attribute(AttributeType::new(kind))?.value.to_vec())
}

fn their_credentials() -> theirs::MessageIntegrityCredentials {
    ShortTermCredentials::new(PASSWORD.to_owned()).into()
}

/// A message as either side may write it.
#[derive(Clone, Debug)]
struct Content {
    class: Class,
    transaction: TransactionId,
    username: Option<String>,
    priority: Option<u32>,
    role: Option<Role>,
    use_candidate: bool,
    address: Option<SocketAddr>,
    error: Option<(u16, String)>,
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        any::<u64>().prop_map(Role::Controlling),
        any::<u64>().prop_map(Role::Controlled)
    ]
}

fn content() -> impl Strategy<Value = Content> {
    (
        select(&[Class::Request, Class::Indication, Class::Success, Class::Error]),
        any::<[u8; 12]>().prop_map(TransactionId),
        option::of("[a-zA-Z0-9+/]{1,250}:[a-zA-Z0-9+/]{4,32}"),
        any::<Option<u32>>(),
        option::of(role()),
        any::<bool>(),
        any::<Option<(std::net::IpAddr, u16)>>(),
        option::of((300..=699_u16, "[ -~]{0,40}")),
    )
        .prop_map(
            |(class, transaction, username, priority, role, use_candidate, address, error)| Content {
                class,
                transaction,
                username,
                priority,
                role,
                use_candidate,
                address: address.map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port)),
                error,
            },
        )
}

impl Content {
    fn write(&self, buf: &mut [u8], sealed: bool) -> usize {
        let mut writer = Writer::new(buf, self.class, self.transaction);
        if let Some(username) = &self.username {
            writer.username(username);
        }
        if let Some(priority) = self.priority {
            writer.priority(priority);
        }
        if let Some(role) = self.role {
            writer.role(role);
        }
        if self.use_candidate {
            writer.use_candidate();
        }
        if let Some(address) = self.address {
            writer.xor_mapped_address(address);
        }
        if let Some((code, reason)) = &self.error {
            writer.error_code(*code, reason);
        }
        if sealed {
            writer.finish(&IntegrityKey::new(PASSWORD))
        } else {
            writer.finish_plain()
        }
        .unwrap()
    }

    fn write_theirs(&self) -> Vec<u8> {
        let kind = theirs::MessageType::from_class_method(their_class(self.class), theirs::BINDING);
        let mut writer = theirs::Message::builder(kind, their_id(self.transaction), MessageWriteVec::new());
        if let Some((code, reason)) = &self.error {
            writer
                .add_attribute(&ErrorCode::builder(*code).reason(reason).build().unwrap())
                .unwrap();
        }
        if let Some(address) = self.address {
            writer
                .add_attribute(&XorMappedAddress::new(address, their_id(self.transaction)))
                .unwrap();
        }
        if self.use_candidate {
            writer
                .add_attribute(&RawAttribute::new(attr::USE_CANDIDATE.into(), &[]))
                .unwrap();
        }
        if let Some(role) = self.role {
            let (kind, tie_breaker) = role_attribute(role);
            writer
                .add_attribute(&RawAttribute::new(kind.into(), &tie_breaker))
                .unwrap();
        }
        if let Some(priority) = self.priority {
            writer
                .add_attribute(&RawAttribute::new(attr::PRIORITY.into(), &priority.to_be_bytes()))
                .unwrap();
        }
        if let Some(username) = &self.username {
            writer.add_attribute(&Username::new(username).unwrap()).unwrap();
        }
        writer
            .add_message_integrity(&their_credentials(), theirs::IntegrityAlgorithm::Sha1)
            .unwrap();
        writer.add_fingerprint().unwrap();
        writer.finish()
    }
}

fn role_attribute(role: Role) -> (u16, [u8; 8]) {
    match role {
        Role::Controlling(tie_breaker) => (attr::ICE_CONTROLLING, tie_breaker.to_be_bytes()),
        Role::Controlled(tie_breaker) => (attr::ICE_CONTROLLED, tie_breaker.to_be_bytes()),
    }
}

proptest! {
    #[test]
    fn they_read_what_we_write(content in content(), sealed: bool) {
        let mut buf = [0; 1024];
        let len = content.write(&mut buf, sealed);
        // It checks the fingerprint, too.
        let read = theirs::Message::from_bytes(&buf[..len]).unwrap();
        prop_assert!(read.has_class(their_class(content.class)) && read.has_method(theirs::BINDING));
        prop_assert_eq!(read.transaction_id(), their_id(content.transaction));
        prop_assert!(read.has_attribute(attr::FINGERPRINT.into()));
        prop_assert_eq!(read.validate_integrity(&their_credentials()).is_ok(), sealed);
        prop_assert_eq!(
            read.attribute::<Username>().ok().map(|username| username.username().to_owned()),
            content.username
        );
        prop_assert_eq!(
            their_value(&read, attr::PRIORITY),
            content.priority.map(|priority| priority.to_be_bytes().to_vec())
        );
        prop_assert_eq!(read.has_attribute(attr::USE_CANDIDATE.into()), content.use_candidate);
        for kind in [attr::ICE_CONTROLLING, attr::ICE_CONTROLLED] {
            let expected = content.role.map(role_attribute).filter(|(written, _)| *written == kind);
            prop_assert_eq!(their_value(&read, kind), expected.map(|(_, value)| value.to_vec()));
        }
        prop_assert_eq!(
            read.attribute::<XorMappedAddress>().ok().map(|address| address.addr(read.transaction_id())),
            content.address
        );
        prop_assert_eq!(
            read.attribute::<ErrorCode>().ok().map(|error| (error.code(), error.reason().to_owned())),
            content.error
        );
    }

    #[test]
    fn we_read_what_they_write(content in content()) {
        let packet = content.write_theirs();
        let read = Message::parse(&packet).unwrap();
        prop_assert!(read.is_binding() && !read.unknown_required());
        prop_assert_eq!((read.class(), read.transaction()), (content.class, content.transaction));
        prop_assert_eq!(read.username(), content.username.as_deref());
        prop_assert_eq!((read.priority(), read.role()), (content.priority, content.role));
        prop_assert_eq!(read.use_candidate(), content.use_candidate);
        prop_assert_eq!(read.xor_mapped_address(), content.address);
        prop_assert_eq!(read.error_code(), content.error.map(|(code, _)| code));
        prop_assert_eq!(read.fingerprint(), Fingerprint::Valid);
        prop_assert!(read.authenticate(&IntegrityKey::new(PASSWORD)).is_some());
        prop_assert!(read.authenticate(&IntegrityKey::new("another")).is_none());
    }

    /// Any attributes in any order and number, some cut off by the end of the message.
    #[test]
    fn we_see_the_attributes_that_they_see(
        attributes in vec((select(SOUP), vec(any::<u8>(), 0..10)), 0..10),
        cut in option::weighted(0.2, 0..100_usize),
    ) {
        let attributes = attributes.iter().map(|(kind, value)| (*kind, value.as_slice())).collect::<Vec<_>>();
        let mut packet = message(0x0001, &attributes);
        if let Some(cut) = cut {
            packet.truncate(HEADER_LEN.max(packet.len().saturating_sub(cut) / 4 * 4));
            let length = (packet.len() - HEADER_LEN) as u16;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
        }
        let (ours, theirs) = (Message::parse(&packet), theirs::Message::from_bytes(&packet));
        prop_assert_eq!(ours.is_ok(), theirs.is_ok());
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
            return Ok(());
        };
        prop_assert_eq!(
            ours.username().map(str::as_bytes).map(<[u8]>::to_vec),
            their_value(&theirs, attr::USERNAME).filter(|value| std::str::from_utf8(value).is_ok())
        );
        prop_assert_eq!(
            ours.priority().map(|priority| priority.to_be_bytes().to_vec()),
            their_value(&theirs, attr::PRIORITY).filter(|value| value.len() == 4)
        );
        prop_assert_eq!(ours.use_candidate(), theirs.has_attribute(attr::USE_CANDIDATE.into()));
        prop_assert_eq!(
            ours.xor_mapped_address(),
            theirs.attribute::<XorMappedAddress>().ok().map(|address| address.addr(theirs.transaction_id()))
        );
    }
}

#[test]
fn every_message_type_has_the_class_and_method_that_they_see() {
    for kind in 0..0x4000_u16 {
        let packet = message(kind, &[]);
        let ours = Message::parse(&packet).unwrap();
        let theirs = theirs::Message::from_bytes(&packet).unwrap();
        assert!(
            theirs.has_class(their_class(ours.class())),
            "class of {kind:#06x}"
        );
        assert!(
            theirs.has_method(theirs::Method::new(ours.method())),
            "method of {kind:#06x}"
        );
    }
}
