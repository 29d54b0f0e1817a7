//! ICE checks made by hand: valid ones, and templates for those that are not.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use xrtc::wire::stun::{Class, IntegrityKey, Message, Role, TransactionId, Writer};

use crate::lab::{Error, Result};

/// Far more than an answer on loopback takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The value of the first `a=NAME:` in an SDP.
pub fn attribute<'s>(sdp: &'s str, name: &str) -> Result<&'s str> {
    sdp.lines()
        .find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
        .ok_or_else(|| Error::new(format!("no a={name} in:\n{sdp}")))
}

/// What a client signs its checks with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// USERNAME.
    pub username: String,
    /// The password of whom the checks go to.
    pub password: String,
}

impl Credentials {
    /// Those of a client that calls itself `ufrag`, towards the sender of `answer`.
    pub fn of(answer: &str, ufrag: &str) -> Result<Self> {
        Ok(Self {
            username: format!("{}:{ufrag}", attribute(answer, "ice-ufrag")?),
            password: attribute(answer, "ice-pwd")?.to_owned(),
        })
    }

    /// A check with a transaction id of its own, as a controlling agent sends it.
    pub fn check(&self) -> Result<Vec<u8>> {
        let mut buffer = [0; 1024];
        let mut writer = Writer::new(&mut buffer, Class::Request, transaction()?);
        writer
            .username(&self.username)
            .priority(1)
            .role(Role::Controlling(1))
            .use_candidate();
        let length = writer
            .finish(&IntegrityKey::new(&self.password))
            .map_err(|error| Error::new(error.to_string()))?;
        Ok(buffer[..length].to_vec())
    }

    /// Sends a check on a connected socket; the next datagram has to be its answer.
    pub async fn exchange(&self, socket: &UdpSocket) -> Result<()> {
        let check = self.check()?;
        socket.send(&check).await?;
        let mut buffer = [0; 2048];
        let length = timeout(PATIENCE, socket.recv(&mut buffer))
            .await
            .map_err(|_| Error::new("a valid check was not answered"))??;
        let answer = Message::parse(&buffer[..length]).ok();
        let answers = answer.is_some_and(|answer| {
            answer.class() == Class::Success
                && check.get(8..20) == Some(answer.transaction().0.as_slice())
                && answer.authenticate(&IntegrityKey::new(&self.password)).is_some()
        });
        if answers {
            Ok(())
        } else {
            Err(Error::new(format!(
                "this is not the answer to a check: {:02x?}",
                &buffer[..length]
            )))
        }
    }
}

/// The answer of a server whose password is `key` to a check from `source`; `None` if this is no check that verifies.
#[must_use]
pub fn answer(key: &IntegrityKey, packet: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    let check = Message::parse(packet).ok()?.authenticate(key)?;
    if check.class() != Class::Request {
        return None;
    }
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer, Class::Success, check.transaction());
    writer.xor_mapped_address(source);
    let length = writer.finish(key).ok()?;
    Some(buffer[..length].to_vec())
}

/// A random transaction id.
pub fn transaction() -> Result<TransactionId> {
    let mut id = [0; 12];
    getrandom::fill(&mut id).map_err(|error| Error::new(error.to_string()))?;
    Ok(TransactionId(id))
}
