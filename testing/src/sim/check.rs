//! Checks and answers as packets, for the parties that are written by hand.

use std::net::SocketAddr;

use xrtc::wire::stun::{Class, IntegrityKey, Message, Role, TransactionId, Writer};

use super::rng::Rng;

/// Longest message that a party writes.
const MAX_LEN: usize = 700;

/// A username fragment and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// `a=ice-ufrag`
    pub ufrag: String,
    /// `a=ice-pwd`
    pub pwd: String,
}

impl Login {
    /// Credentials by value.
    #[must_use]
    pub fn new(ufrag: &str, pwd: &str) -> Self {
        Self {
            ufrag: ufrag.into(),
            pwd: pwd.into(),
        }
    }

    /// Credentials in libwebrtc's sizes: 4 and 24 characters.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        let mut text = |len: usize| -> String {
            (0..len)
                .map(|_| char::from(b"abcdefghijklmnopqrstuvwxyzABCDEF0123456789+/"[rng.below(44) as usize]))
                .collect()
        };
        Self {
            ufrag: text(4),
            pwd: text(24),
        }
    }

    /// The key of messages that this password signs.
    #[must_use]
    pub fn key(&self) -> IntegrityKey {
        IntegrityKey::new(&self.pwd)
    }
}

/// What a check says.
#[derive(Clone, Debug)]
pub struct Check<'a> {
    /// Transaction id.
    pub id: TransactionId,
    /// The receiver.
    pub to: &'a Login,
    /// The sender's ufrag.
    pub from: &'a str,
    /// Sender's role.
    pub role: Role,
    /// PRIORITY.
    pub priority: u32,
    /// USE-CANDIDATE.
    pub nominate: bool,
}

impl Check<'_> {
    /// The packet.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        write(Class::Request, self.id, &self.to.key(), |writer| {
            writer
                .username(&format!("{}:{}", self.to.ufrag, self.from))
                .priority(self.priority)
                .role(self.role);
            if self.nominate {
                writer.use_candidate();
            }
        })
    }
}

/// A success response, or a 487.
#[must_use]
pub fn answer(request: &Message<'_>, from: SocketAddr, key: &IntegrityKey, conflict: bool) -> Vec<u8> {
    let class = if conflict { Class::Error } else { Class::Success };
    write(class, request.transaction(), key, |writer| {
        if conflict {
            writer.error_code(487, "Role Conflict");
        } else {
            writer.xor_mapped_address(from);
        }
    })
}

/// A random transaction id.
pub fn transaction(rng: &mut Rng) -> TransactionId {
    TransactionId(rng.bytes())
}

fn write(
    class: Class,
    id: TransactionId,
    key: &IntegrityKey,
    attributes: impl FnOnce(&mut Writer<'_>),
) -> Vec<u8> {
    let mut buf = [0; MAX_LEN];
    let mut writer = Writer::new(&mut buf, class, id);
    attributes(&mut writer);
    let len = writer.finish(key).expect("usernames of tests are short");
    buf[..len].to_vec()
}
