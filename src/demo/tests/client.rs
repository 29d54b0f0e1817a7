//! A peer for the tests: str0m on a UDP socket of its own, and an HTTP client for one request.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelData;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcError};
use tokio::net::{TcpStream, UdpSocket};

use super::super::Demo;

/// A VP8 keyframe's head (RFC 6386 9.1): enough for a packetiser, which never decodes.
const KEYFRAME: [u8; 10] = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x10, 0x00, 0x10, 0x00];

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: String,
    headers: HeaderMap,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(super) async fn request(demo: &Demo, method: Method, path: &str, media_type: &str, body: &str) -> Reply {
    let stream = TcpStream::connect(("127.0.0.1", demo.http_port())).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", media_type)
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// An offer of audio, video and a data channel.
pub(super) fn offer() -> String {
    new_peer("127.0.0.1:9".parse().unwrap()).1.to_sdp_string()
}

fn new_peer(local: SocketAddr) -> (Rtc, SdpOffer, SdpPendingOffer, Mid) {
    let mut rtc = Rtc::builder()
        .clear_codecs()
        .enable_opus(true, false)
        .enable_vp8(true)
        .build(Instant::now());
    rtc.add_local_candidate(Candidate::host(local, Protocol::Udp).unwrap());
    let mut change = rtc.sdp_api();
    change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
    let video = change.add_media(MediaKind::Video, Direction::SendRecv, None, None, None);
    change.add_channel("ping".to_owned());
    let (offer, pending) = change.apply().unwrap();
    (rtc, offer, pending, video)
}

pub(super) struct Client {
    pub(super) rtc: Rtc,
    /// The call's path on the server.
    pub(super) resource: String,
    socket: UdpSocket,
    local: SocketAddr,
    video: Mid,
    /// When to write the next frame, and its number.
    film: Option<(Instant, u64)>,
}

impl Client {
    /// Calls the echo server; the answer is taken in, nothing is sent yet.
    pub(super) async fn call(demo: &Demo) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let local = socket.local_addr().unwrap();
        let (mut rtc, offer, pending, video) = new_peer(local);
        let reply = request(
            demo,
            Method::POST,
            "/echo",
            "application/sdp",
            &offer.to_sdp_string(),
        )
        .await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
        let answer = SdpAnswer::from_sdp_string(&reply.body).unwrap();
        rtc.sdp_api().accept_answer(pending, answer).unwrap();
        let resource = reply.header("location").unwrap().to_owned();
        Self {
            rtc,
            resource,
            socket,
            local,
            video,
            film: None,
        }
    }

    /// Starts sending a keyframe every 20 ms.
    pub(super) fn film(&mut self) {
        self.film = Some((Instant::now(), 0));
    }

    /// Runs until `accept` says so of an event.
    pub(super) async fn until(
        &mut self,
        patience: Duration,
        mut accept: impl FnMut(&Event, &mut Self) -> bool,
    ) {
        let event = async {
            loop {
                let event = self.event().await;
                if accept(&event, self) {
                    return;
                }
            }
        };
        tokio::time::timeout(patience, event)
            .await
            .expect("the event comes");
    }

    pub(super) async fn until_message(&mut self, patience: Duration) -> ChannelData {
        let mut message = None;
        self.until(patience, |event, _| {
            if let Event::ChannelData(data) = event {
                message = Some(ChannelData {
                    id: data.id,
                    binary: data.binary,
                    data: data.data.clone(),
                });
            }
            message.is_some()
        })
        .await;
        message.unwrap()
    }

    /// Runs until a video frame comes back, which must be one of the film's.
    pub(super) async fn until_frame(&mut self, patience: Duration) {
        let video = self.video;
        self.until(patience, |event, _| {
            let Event::MediaData(frame) = event else {
                return false;
            };
            assert_eq!(frame.mid, video);
            assert_eq!(frame.data[..KEYFRAME.len()], KEYFRAME);
            assert_eq!(frame.data.len(), 4000, "several packets long");
            true
        })
        .await;
    }

    async fn event(&mut self) -> Event {
        let mut buffer = [0; 2048];
        loop {
            let mut deadline = match self.rtc.poll_output() {
                // str0m's answer to a DTLS close_notify that comes while SCTP is shutting down.
                Err(RtcError::Sctp(_)) => return Event::Closed,
                Err(error) => panic!("the peer failed: {error}"),
                Ok(Output::Event(event)) => return event,
                Ok(Output::Transmit(transmit)) => {
                    self.socket
                        .send_to(&transmit.contents, transmit.destination)
                        .await
                        .unwrap();
                    continue;
                }
                Ok(Output::Timeout(deadline)) => deadline,
            };
            if let Some((next, _)) = self.film {
                deadline = deadline.min(next);
            }
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    // A refusal of the port means that the server is gone; the peer hears that by itself.
                    let Ok((length, source)) = received else { continue };
                    let receive = Receive::new(Protocol::Udp, source, self.local, &buffer[..length]).unwrap();
                    self.rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
                }
                () = tokio::time::sleep_until(deadline.into()) => self.tick(Instant::now()),
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        match self.film {
            Some((next, number)) if next <= now => {
                self.film = Some((next + Duration::from_millis(20), number + 1));
                let mut frame = KEYFRAME.to_vec();
                frame.resize(4000, 0x55);
                let writer = self.rtc.writer(self.video).unwrap();
                let format = writer
                    .payload_params()
                    .find(|format| format.spec().codec == Codec::Vp8);
                let pt = format.unwrap().pt();
                writer
                    .write(pt, now, MediaTime::from_90khz(number * 1800), frame)
                    .unwrap();
            }
            _ => self.rtc.handle_input(Input::Timeout(now)).unwrap(),
        }
    }
}
