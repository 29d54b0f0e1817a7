//! A client that calls, sends numbered messages at a steady pace, each again until it has come back, and keeps the
//! books of what came.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use super::stun::Credentials;
use super::{Leg, Route, post, stun};
use crate::lab::{Error, Result};

/// Between two messages of one call.
const PACE: Duration = Duration::from_millis(20);
/// A message that has not come back after this long is said again. On a machine so busy that the echo only takes longer,
/// it comes back twice.
const AGAIN: Duration = Duration::from_secs(1);

/// The books of a call.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Messages sent, each counted once.
    pub sent: u64,
    /// How often one of them was sent again.
    pub repeated: u64,
    /// Messages that came back with the right names, each counted once.
    pub echoed: u64,
    /// How often one of them came back again.
    pub echoed_again: u64,
    /// What must not happen and did: a foreign message, a packet to a foreign address, an end.
    pub failure: Option<String>,
}

impl Progress {
    /// What was sent and has not come back, repetitions included: lost, or under way.
    #[must_use]
    pub fn missing(&self) -> u64 {
        (self.sent + self.repeated) - (self.echoed + self.echoed_again)
    }
}

/// A call that goes on until it is dropped.
#[derive(Debug)]
pub struct Caller {
    /// The call's name.
    pub name: String,
    /// What its checks are signed with.
    pub credentials: Credentials,
    progress: watch::Receiver<Progress>,
    sending: watch::Sender<bool>,
    last_check: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Caller {
    /// Makes a call through `front` by `route`, over UDP. Everything that it sends has to go to `media`.
    pub async fn start(front: SocketAddr, media: SocketAddr, route: Route, name: &str) -> Result<Self> {
        Self::start_over(Leg::udp(media).await?, front, route, name).await
    }

    /// Makes a call through `front` by `route` over a leg.
    pub async fn start_over(leg: Leg, front: SocketAddr, route: Route, name: &str) -> Result<Self> {
        let (mut rtc, offer, pending) = offer(leg.candidate()?)?;
        let reply = post(front, &format!("{}/{name}", route.path()), &offer).await?;
        if reply.status != 201 {
            return Err(Error::new(format!(
                "call {name}: {} {}",
                reply.status, reply.body
            )));
        }
        let failed = |error: &dyn std::fmt::Display| Error::new(format!("call {name}: {error}"));
        let answer = SdpAnswer::from_sdp_string(&reply.body).map_err(|error| failed(&error))?;
        rtc.sdp_api()
            .accept_answer(pending, answer)
            .map_err(|error| failed(&error))?;
        let credentials = Credentials::of(&reply.body, stun::attribute(&offer, "ice-ufrag")?)?;
        let (progress, watcher) = watch::channel(Progress::default());
        let (sending, is_sending) = watch::channel(true);
        let last_check = Arc::<Mutex<Vec<u8>>>::default();
        let run = Run {
            leg,
            rtc,
            name: name.to_owned(),
            channel: None,
            next: Instant::now(),
            awaited: VecDeque::new(),
            progress,
            sending: is_sending,
            last_check: last_check.clone(),
        };
        Ok(Self {
            name: name.to_owned(),
            credentials,
            progress: watcher,
            sending,
            last_check,
            task: tokio::spawn(run.run()),
        })
    }

    /// The books now.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until so many messages have come back, all told.
    pub async fn reach(&self, echoed: u64, within: Duration) -> Result<()> {
        self.wait_until(within, |progress| progress.echoed >= echoed)
            .await
    }

    /// Stops saying anything new.
    pub fn stop(&self) {
        self.sending.send_replace(false);
    }

    /// Says nothing new any more, and waits until all that was said has come back.
    pub async fn finish(&self, within: Duration) -> Result<()> {
        self.stop();
        self.wait_until(within, |progress| progress.echoed == progress.sent)
            .await
    }

    /// The last check that it sent.
    #[must_use]
    pub fn last_check(&self) -> Vec<u8> {
        self.last_check
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn wait_until(&self, within: Duration, holds: impl Fn(&Progress) -> bool) -> Result<()> {
        let mut progress = self.progress.clone();
        let done = |progress: &Progress| progress.failure.is_some() || holds(progress);
        // What `wait_for` returns is a read lock, and another one must not be taken beside it: the call's task may be
        // waiting to write in between, and then both wait for ever.
        let waited = timeout(within, async { progress.wait_for(done).await.map(drop) }).await;
        let books = self.progress();
        match (waited, books.failure) {
            (Ok(Ok(())), None) => Ok(()),
            (_, Some(failure)) => Err(Error::new(format!("call {}: {failure}", self.name))),
            (_, None) => Err(Error::new(format!(
                "call {}: {} of {} messages echoed, and no more in {within:?}",
                self.name, books.echoed, books.sent
            ))),
        }
    }
}

/// Has the server behind `front` answer an offer, and calls nobody. `path` is a [`Route`]'s, then the call's name.
/// Gives what the checks of such a client are signed with.
pub async fn signal(front: SocketAddr, path: &str) -> Result<Credentials> {
    let nobody = Candidate::host(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), Protocol::Udp);
    let (_, offer, _) = offer(nobody.map_err(|error| Error::new(error.to_string()))?)?;
    let reply = post(front, path, &offer).await?;
    if reply.status != 201 {
        return Err(Error::new(format!("{path}: {} {}", reply.status, reply.body)));
    }
    Credentials::of(&reply.body, stun::attribute(&offer, "ice-ufrag")?)
}

/// An offer of a data channel, from a candidate of the caller's.
fn offer(candidate: Candidate) -> Result<(Rtc, String, SdpPendingOffer)> {
    let mut rtc = Rtc::builder().build(Instant::now());
    rtc.add_local_candidate(candidate);
    let mut change = rtc.sdp_api();
    change.add_channel_with_config(ChannelConfig {
        label: "echo".to_owned(),
        ordered: false,
        reliability: Reliability::MaxRetransmits { retransmits: 0 },
        ..ChannelConfig::default()
    });
    let (offer, pending) = change.apply().ok_or_else(|| Error::new("an offer of nothing"))?;
    Ok((rtc, offer.to_sdp_string(), pending))
}

/// The task of a call.
struct Run {
    leg: Leg,
    rtc: Rtc,
    name: String,
    channel: Option<ChannelId>,
    next: Instant,
    /// The messages that have not come back, and when they were last said; that of the front is the earliest.
    awaited: VecDeque<(u64, Instant)>,
    progress: watch::Sender<Progress>,
    sending: watch::Receiver<bool>,
    last_check: Arc<Mutex<Vec<u8>>>,
}

impl Run {
    async fn run(mut self) {
        if let Err(error) = self.call().await {
            self.progress
                .send_modify(|progress| progress.failure = Some(error.to_string()));
        }
    }

    async fn call(&mut self) -> Result<()> {
        loop {
            let mut due = self.flush().await?;
            if self.channel.is_some() && *self.sending.borrow() {
                due = due.min(self.next);
            }
            if let Some((_, said)) = self.awaited.front() {
                due = due.min(*said + AGAIN);
            }
            let received = tokio::select! {
                received = self.leg.receive() => Some(received?),
                () = sleep_until(due.into()) => None,
            };
            self.take(received.as_ref())
                .map_err(|error| Error::new(error.to_string()))?;
            self.speak()?;
        }
    }

    /// A packet and its source, or the time.
    fn take(&mut self, received: Option<&(Vec<u8>, SocketAddr)>) -> std::result::Result<(), RtcError> {
        let now = Instant::now();
        let input = match received {
            Some((packet, source)) => {
                let (protocol, local) = (self.leg.protocol(), self.leg.local);
                Input::Receive(now, Receive::new(protocol, *source, local, packet)?)
            }
            None => Input::Timeout(now),
        };
        self.rtc.handle_input(input)
    }

    /// Says what is due: a message once more, or the next one.
    fn speak(&mut self) -> Result<()> {
        let now = Instant::now();
        while let Some((number, said)) = self.awaited.front().copied()
            && said + AGAIN <= now
        {
            self.awaited.pop_front();
            self.awaited.push_back((number, now));
            if self.say(number)? {
                self.progress.send_modify(|progress| progress.repeated += 1);
            }
        }
        if self.next <= now && *self.sending.borrow() {
            self.next = now + PACE;
            let number = self.progress.borrow().sent;
            if self.say(number)? {
                self.awaited.push_back((number, now));
                self.progress.send_modify(|progress| progress.sent += 1);
            }
        }
        Ok(())
    }

    /// Whether there was a channel, and room in it, for a message.
    fn say(&mut self, number: u64) -> Result<bool> {
        let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) else {
            return Ok(false);
        };
        let message = format!("{}#{number}", self.name);
        channel
            .write(false, message.as_bytes())
            .map_err(|error| Error::new(error.to_string()))
    }

    async fn flush(&mut self) -> Result<Instant> {
        loop {
            match self
                .rtc
                .poll_output()
                .map_err(|error| Error::new(error.to_string()))?
            {
                Output::Timeout(due) => return Ok(due),
                Output::Transmit(transmit) => self.send(&transmit).await?,
                Output::Event(Event::ChannelOpen(id, _)) => self.channel = Some(id),
                Output::Event(Event::ChannelData(message)) => self.hear(&message.data)?,
                Output::Event(Event::Closed) => return Err(Error::new("the call has ended")),
                Output::Event(_) => {}
            }
        }
    }

    async fn send(&mut self, transmit: &Transmit) -> Result<()> {
        if transmit.destination != self.leg.remote {
            return Err(Error::new(format!("a packet to {}", transmit.destination)));
        }
        self.leg.send(&transmit.contents).await?;
        // A Binding request (RFC 8489 section 5).
        if transmit.contents.starts_with(&[0, 1]) {
            *self.last_check.lock().unwrap_or_else(PoisonError::into_inner) = transmit.contents.to_vec();
        }
        Ok(())
    }

    /// The server puts the name by which it knows the call in front of what the client said.
    fn hear(&mut self, echo: &[u8]) -> Result<()> {
        let expected = format!("{0}:{0}#", self.name);
        let number = std::str::from_utf8(echo)
            .ok()
            .and_then(|echo| echo.strip_prefix(&expected)?.parse::<u64>().ok())
            .filter(|number| *number < self.progress.borrow().sent);
        let foreign = || Error::new(format!("a foreign message: {}", echo.escape_ascii()));
        let number = number.ok_or_else(foreign)?;
        let awaited = self.awaited.iter().position(|(awaited, _)| *awaited == number);
        let mut excess = false;
        self.progress.send_modify(|progress| match awaited {
            Some(_) => progress.echoed += 1,
            None => {
                progress.echoed_again += 1;
                excess = progress.echoed_again > progress.repeated;
            }
        });
        if let Some(at) = awaited {
            self.awaited.remove(at);
        }
        if excess {
            return Err(Error::new(format!(
                "message {number} came back more often than it was sent"
            )));
        }
        Ok(())
    }
}
