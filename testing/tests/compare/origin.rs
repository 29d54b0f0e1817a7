//! The upstream of all proxies: notes what it gets, byte by byte, and answers as the case wants it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::message::{self, Head, Message};

/// A proxy that goes on sending for longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the upstream does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Sends these bytes, with its own address for `UPSTREAM`, and keeps the connection.
    Sends(&'static str),
    /// Sends these bytes and closes.
    Closes(&'static str),
    /// Sends a body in gzip, kept in bytes that are no text.
    Gzip,
    /// Says nothing until the proxy leaves.
    Silent,
    /// Accepts a WebSocket and sends back the first frame that comes, as it came but for the mask.
    WebSocket,
}

/// The upstream of one proxy.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answer: Option<Answer>,
    seen: Vec<Message>,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.unwrap(), shared.clone());
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { addr, state }
    }

    /// What it answers from now on; nothing has been seen yet.
    pub(crate) fn prepare(&self, answer: Answer) {
        *self.state.lock().unwrap() = State {
            answer: Some(answer),
            seen: Vec::new(),
        };
    }

    /// The requests since then.
    pub(crate) fn seen(&self) -> Vec<Message> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut read = Vec::new();
    while let Some(head) = read_head(&mut stream, &mut read) {
        let at = {
            let mut state = state.lock().unwrap();
            state.seen.push(Message {
                head: head.clone(),
                body: Vec::new(),
            });
            state.seen.len() - 1
        };
        if head.has("expect") && stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err() {
            return;
        }
        let Some(body) = message::read_body(&head, true, &mut read, &mut stream) else {
            return;
        };
        let answer = {
            let mut state = state.lock().unwrap();
            if let Some(seen) = state.seen.get_mut(at) {
                seen.body = body;
            }
            state.answer
        };
        if !respond(&mut stream, &head, answer) {
            return;
        }
    }
}

/// Whether the connection goes on.
fn respond(stream: &mut TcpStream, head: &Head, answer: Option<Answer>) -> bool {
    match answer {
        None => false,
        Some(Answer::Sends(text)) => {
            let own = stream.local_addr().unwrap().to_string();
            stream
                .write_all(text.replace("UPSTREAM", &own).as_bytes())
                .is_ok()
        }
        Some(Answer::Closes(text)) => {
            let _ = stream.write_all(text.as_bytes());
            false
        }
        Some(Answer::Gzip) => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(b"compressed").unwrap();
            let body = encoder.finish().unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), &body].concat()).is_ok()
        }
        Some(Answer::Silent) => {
            let _ = stream.read(&mut [0; 1]);
            false
        }
        Some(Answer::WebSocket) => {
            let key = head.value("sec-websocket-key").unwrap_or_default();
            let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
            let text = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            let _ = stream.write_all(text.as_bytes());
            // A masked frame of five bytes: two of head, four of mask.
            let mut frame = [0; 11];
            if stream.read_exact(&mut frame).is_ok() {
                let text: Vec<u8> = (0..5).map(|at| frame[6 + at] ^ frame[2 + at % 4]).collect();
                let _ = stream.write_all(&[&[0x81, 5], &text[..]].concat());
            }
            let _ = stream.read(&mut [0; 64]);
            false
        }
    }
}

fn read_head(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Head> {
    loop {
        if let Some((head, len)) = Head::parse(read) {
            read.drain(..len);
            return Some(head);
        }
        let mut piece = [0; 4096];
        let len = stream.read(&mut piece).ok().filter(|len| *len > 0)?;
        read.extend_from_slice(&piece[..len]);
    }
}
