//! A party whose ICE is the `is` crate, the agent inside str0m: an implementation that shares no line with ours.
//!
//! Its transaction ids and tie-breaker are its own, so runs with it repeat in kind but not to the packet.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceConnectionState, IceCreds, Protocol};

use super::Endpoint;
use super::check::Login;
use super::net::Packet;
use super::stream::Stream;

/// What the agent is told before it starts.
#[derive(Clone, Debug)]
pub struct IsSetup {
    /// Its own credentials.
    pub local: Login,
    /// The other side's.
    pub remote: Login,
    /// Its addresses.
    pub addrs: Vec<SocketAddr>,
    /// The other side's candidates.
    pub candidates: Vec<SocketAddr>,
    /// Its role.
    pub controlling: bool,
    /// Whether it is lite.
    pub lite: bool,
}

/// The party.
#[derive(Debug)]
pub struct IsPeer {
    /// Media.
    pub stream: Stream,
    /// Where media goes.
    pub nominated: Option<(SocketAddr, SocketAddr)>,
    agent: IceAgent,
    addrs: Vec<SocketAddr>,
    epoch: Instant,
}

impl IsPeer {
    /// A party that starts at `now`.
    #[must_use]
    pub fn new(setup: &IsSetup, tag: u32, now: u64) -> Self {
        let mut agent = IceAgent::new(creds(&setup.local));
        agent.set_remote_credentials(creds(&setup.remote));
        agent.set_controlling(setup.controlling);
        agent.set_ice_lite(setup.lite);
        for &addr in &setup.addrs {
            agent.add_local_candidate(host(addr));
        }
        for &addr in &setup.candidates {
            agent.add_remote_candidate(host(addr));
        }
        let epoch = Instant::now();
        agent.handle_timeout(epoch + Duration::from_millis(now));
        Self {
            stream: Stream::new(tag),
            nominated: None,
            agent,
            addrs: setup.addrs.clone(),
            epoch,
        }
    }

    /// Whether its ICE is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.agent.state().is_connected()
    }

    /// Whether its ICE has noticed that the other side is gone.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.agent.state() == IceConnectionState::Disconnected
    }

    /// Whether it controls now.
    #[must_use]
    pub fn controlling(&self) -> bool {
        self.agent.controlling()
    }

    fn at(&self, now: u64) -> Instant {
        self.epoch + Duration::from_millis(now)
    }

    fn drain(&mut self, out: &mut Vec<Packet>) {
        while let Some(transmit) = self.agent.poll_transmit() {
            out.push(Packet {
                src: transmit.source,
                dst: transmit.destination,
                bytes: transmit.contents.into(),
            });
        }
        while let Some(event) = self.agent.poll_event() {
            if let IceAgentEvent::NominatedSend {
                source, destination, ..
            } = event
            {
                self.nominated = Some((source, destination));
            }
        }
    }
}

impl Endpoint for IsPeer {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.addrs.clone()
    }

    fn receive(&mut self, now: u64, packet: &Packet, out: &mut Vec<Packet>) {
        let Ok(message) = StunMessage::parse(&packet.bytes) else {
            self.stream.receive(now, &packet.bytes);
            return;
        };
        let packet = StunPacket {
            proto: Protocol::Udp,
            source: packet.src,
            destination: packet.dst,
            message,
        };
        let at = self.at(now);
        self.agent.handle_packet(at, packet);
        self.agent.handle_timeout(at);
        self.drain(out);
    }

    fn poll(&mut self, now: u64, out: &mut Vec<Packet>) {
        let at = self.at(now);
        self.agent.handle_timeout(at);
        self.drain(out);
        if let Some((src, dst)) = self.nominated
            && let Some(bytes) = self.stream.take(now)
        {
            out.push(Packet { src, dst, bytes });
        }
    }

    fn next(&mut self, now: u64) -> u64 {
        let agent = self.agent.poll_timeout().map_or(u64::MAX, |due| {
            // Rounded up, or a poll in the same millisecond would come too early.
            let wait = due
                .saturating_duration_since(self.at(now))
                .as_micros()
                .div_ceil(1_000);
            now + u64::try_from(wait).unwrap_or(u64::MAX / 2)
        });
        match self.nominated {
            Some(_) => agent.min(self.stream.next()),
            None => agent,
        }
    }
}

fn creds(login: &Login) -> IceCreds {
    IceCreds {
        ufrag: login.ufrag.clone(),
        pass: login.pwd.clone(),
    }
}

fn host(addr: SocketAddr) -> Candidate {
    Candidate::host(addr, "udp").expect("simulated addresses are plain unicast")
}
