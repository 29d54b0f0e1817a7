//! One call of the echo server: whatever the peer sends comes back to it.
//!
//! Sans-IO around [`Rtc`]: datagrams and time go in, datagrams and the next deadline come out.
//! Media is echoed frame by frame, not packet by packet: str0m then terminates RTP on both sides (NACK, RTX,
//! TWCC, reports), so that a loss on the way in is repaired before the frame goes out again.
//! A frame that refers to a lost one is withheld until the next keyframe: a still picture beats a broken one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::channel::ChannelData;
use str0m::config::DtlsCert;
use str0m::media::{KeyframeRequestKind, MediaData, Mid};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc, RtcError};

/// Shortest time between two keyframe requests for one picture; a keyframe takes about that long to arrive.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);

/// What a call wants next.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this datagram, then ask again.
    Send(Transmit),
    /// Nothing to do before this time or the next datagram.
    Wait(Instant),
    /// The call is over.
    Over,
}

/// The echoing end of a call.
#[derive(Debug)]
pub(super) struct Echo {
    rtc: Rtc,
    local: SocketAddr,
    pictures: HashMap<Mid, Picture>,
}

impl Echo {
    /// Accepts `offer`; the second value is the SDP answer, with `local` as its one host candidate.
    ///
    /// # Errors
    /// When the offer is one that str0m cannot answer (no media, no ICE credentials, no fingerprint ...).
    pub(super) fn answer(
        offer: SdpOffer,
        local: SocketAddr,
        credentials: IceCreds,
        certificate: DtlsCert,
        now: Instant,
    ) -> Result<(Self, String), RtcError> {
        let mut rtc = Rtc::builder()
            .set_local_ice_credentials(credentials)
            .set_dtls_cert(certificate)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_vp9(true)
            .enable_h264(true)
            .build(now);
        rtc.add_local_candidate(Candidate::host(local, Protocol::Udp)?);
        let answer = rtc.sdp_api().accept_offer(offer)?.to_sdp_string();
        Ok((
            Self {
                rtc,
                local,
                pictures: HashMap::new(),
            },
            answer,
        ))
    }

    /// Takes a datagram in. Returns whether it was the peer's: an ICE check with a good MESSAGE-INTEGRITY,
    /// or anything else from an address that such a check came from.
    pub(super) fn receive(&mut self, source: SocketAddr, datagram: &[u8], received: Instant) -> bool {
        let Ok(received_from) = Receive::new(Protocol::Udp, source, self.local, datagram) else {
            return false;
        };
        let input = Input::Receive(received, received_from);
        if !self.rtc.accepts(&input) {
            return false;
        }
        self.input(input);
        true
    }

    /// Tells the call that `now` has come.
    pub(super) fn tick(&mut self, now: Instant) {
        self.input(Input::Timeout(now));
    }

    /// Starts the farewell: DTLS close_notify and RTCP BYE are among the next steps.
    pub(super) fn hang_up(&mut self) {
        if self.rtc.close().is_err() {
            self.rtc.disconnect();
        }
    }

    /// The next thing to do. Echoing happens in here; call it until it says [`Step::Wait`].
    pub(super) fn poll(&mut self) -> Step {
        while self.rtc.is_alive() {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(transmit)) => return Step::Send(transmit),
                Ok(Output::Timeout(deadline)) => return Step::Wait(deadline),
                Ok(Output::Event(event)) => self.on_event(event),
                Err(error) => self.fail(&error),
            }
        }
        Step::Over
    }

    fn input(&mut self, input: Input<'_>) {
        if let Err(error) = self.rtc.handle_input(input) {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &RtcError) {
        tracing::debug!(%error, "an echo call failed");
        self.rtc.disconnect();
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::MediaData(frame) => self.on_frame(&frame),
            Event::KeyframeRequest(request) => self.request_keyframe(request.mid, Instant::now()),
            Event::ChannelData(message) => self.on_message(&message),
            _ => {}
        }
    }

    fn on_frame(&mut self, frame: &MediaData) {
        if frame.params.spec().codec.is_video() {
            let picture = self.pictures.entry(frame.mid).or_default();
            if !picture.admits(frame.is_keyframe(), frame.contiguous) {
                self.request_keyframe(frame.mid, frame.network_time);
                return;
            }
        }
        let Some(mut writer) = self.rtc.writer(frame.mid) else {
            return;
        };
        if let Some(orientation) = frame.ext_vals.video_orientation {
            writer = writer.video_orientation(orientation);
        }
        // Fails for a peer that only sends: nothing to echo to, and no reason to end its call.
        if let Err(error) = writer.write(frame.pt, frame.network_time, frame.time, frame.data.clone()) {
            tracing::trace!(%error, "a frame was not echoed");
        }
    }

    fn on_message(&mut self, message: &ChannelData) {
        let Some(mut channel) = self.rtc.channel(message.id) else {
            return;
        };
        // Refused when the peer sends faster than it receives: str0m's send buffer is the bound.
        match channel.write(message.binary, &message.data) {
            Ok(true) => {}
            Ok(false) => tracing::trace!("a message was not echoed: the send buffer is full"),
            Err(error) => tracing::trace!(%error, "a message was not echoed"),
        }
    }

    /// The peer encodes what it decodes: its wish for a keyframe is the echo's wish to it.
    fn request_keyframe(&mut self, mid: Mid, now: Instant) {
        if !self.pictures.entry(mid).or_default().may_request(now) {
            return;
        }
        let Some(mut writer) = self.rtc.writer(mid) else {
            return;
        };
        if let Err(error) = writer.request_keyframe(None, KeyframeRequestKind::Pli) {
            tracing::trace!(%error, "no keyframe could be requested");
        }
    }
}

/// What is known of one incoming video stream.
#[derive(Debug, Default)]
struct Picture {
    decodable: bool,
    requested: Option<Instant>,
}

impl Picture {
    /// Whether a decoder that saw the admitted frames so far can decode this one.
    fn admits(&mut self, keyframe: bool, contiguous: bool) -> bool {
        self.decodable = keyframe || (self.decodable && contiguous);
        self.decodable
    }

    /// Whether a keyframe may be requested now; if so, it counts as requested.
    fn may_request(&mut self, now: Instant) -> bool {
        let due = self
            .requested
            .is_none_or(|last| now.duration_since(last) >= KEYFRAME_INTERVAL);
        if due {
            self.requested = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_starts_at_a_keyframe_and_stops_at_a_gap() {
        let mut picture = Picture::default();
        assert!(!picture.admits(false, true), "nothing to refer to yet");
        assert!(picture.admits(true, false));
        assert!(picture.admits(false, true));
        assert!(!picture.admits(false, false), "refers to a lost frame");
        assert!(!picture.admits(false, true), "refers to a withheld frame");
        assert!(picture.admits(true, true));
    }

    #[test]
    fn keyframe_requests_are_spaced() {
        let (mut picture, start) = (Picture::default(), Instant::now());
        assert!(picture.may_request(start));
        assert!(!picture.may_request(start + KEYFRAME_INTERVAL / 2));
        assert!(picture.may_request(start + KEYFRAME_INTERVAL));
    }
}
