//! Server-side calls that share a UDP socket, driven by one task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use str0m::channel::ChannelData;
use str0m::net::{Protocol, Receive};
use str0m::{Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

const IDLE: Duration = Duration::from_secs(3600);

/// The server's end of a call.
pub(super) struct Call {
    name: String,
    rtc: Rtc,
    due: Instant,
}

impl Call {
    pub(super) fn new(name: String, rtc: Rtc) -> Self {
        Self {
            name,
            rtc,
            due: Instant::now(),
        }
    }

    /// Sends what the call has to send, and echoes with its own name in front.
    async fn flush(&mut self, socket: &UdpSocket) {
        self.due = Instant::now() + IDLE;
        while self.rtc.is_alive() {
            match self.rtc.poll_output() {
                // A failed send is a lost packet; the caller will notice.
                Ok(Output::Transmit(transmit)) => {
                    let _ = socket.send_to(&transmit.contents, transmit.destination).await;
                }
                Ok(Output::Timeout(due)) => {
                    self.due = due;
                    return;
                }
                Ok(Output::Event(Event::ChannelData(message))) => self.echo(&message),
                Ok(Output::Event(_)) => {}
                Err(_) => self.rtc.disconnect(),
            }
        }
    }

    fn echo(&mut self, message: &ChannelData) {
        let echo = [self.name.as_bytes(), b":", &message.data].concat();
        if let Some(mut channel) = self.rtc.channel(message.id) {
            // What cannot be written is a lost message; the caller will notice.
            let _ = channel.write(message.binary, &echo);
        }
    }

    fn input(&mut self, input: Input<'_>) {
        if self.rtc.handle_input(input).is_err() {
            self.rtc.disconnect();
        }
    }
}

/// A socket and its calls.
pub(super) struct Hub {
    pub(super) socket: UdpSocket,
    pub(super) local: SocketAddr,
    /// Counts datagrams that no call takes.
    pub(super) strays: Arc<AtomicU64>,
}

impl Hub {
    /// Runs the calls that come in, until aborted.
    pub(super) async fn run(self, mut incoming: mpsc::Receiver<Call>) {
        let mut calls: Vec<Call> = Vec::new();
        let mut buffer = [0; 2048];
        loop {
            let due = calls.iter().map(|call| call.due).min();
            let due = due.unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                Some(call) = incoming.recv() => calls.push(call),
                // On Linux a failed receive reports an earlier send: of no interest here.
                Ok((length, source)) = self.socket.recv_from(&mut buffer) => {
                    if let Some(datagram) = buffer.get(..length) {
                        self.receive(&mut calls, source, datagram).await;
                    }
                }
                () = sleep_until(due.into()) => {
                    let now = Instant::now();
                    for call in calls.iter_mut().filter(|call| call.due <= now) {
                        call.input(Input::Timeout(now));
                        call.flush(&self.socket).await;
                    }
                }
            }
        }
    }

    async fn receive(&self, calls: &mut [Call], source: SocketAddr, datagram: &[u8]) {
        let taker = Receive::new(Protocol::Udp, source, self.local, datagram)
            .ok()
            .and_then(|receive| {
                let input = Input::Receive(Instant::now(), receive);
                let call = calls.iter_mut().find(|call| call.rtc.accepts(&input))?;
                call.input(input);
                Some(call)
            });
        match taker {
            Some(call) => call.flush(&self.socket).await,
            None => {
                self.strays.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
