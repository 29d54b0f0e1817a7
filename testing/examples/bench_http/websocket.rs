//! A WebSocket echo server and its load, as plain as can be, so that what is measured is the proxy between them. Both
//! are this program itself in another role.

use std::env;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use xrtc_testing::lab::{Error, Process, Result, WorkDir};

use super::proxies::{LOAD_CPU, pinned};

const ECHO: &str = "websocket-echo";
const LOAD: &str = "websocket-load";
const START: Duration = Duration::from_secs(10);
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;
/// Lengths of more than 125 bytes stand in the two bytes that follow (RFC 6455 section 5.2).
const LONG: u8 = 126;

/// Runs the role that the arguments ask for, if they ask for one.
pub(crate) fn role(mut arguments: impl Iterator<Item = String>) -> Option<Result<()>> {
    let role = arguments.next()?;
    let mut number = || arguments.next()?.parse::<u64>().ok();
    match role.as_str() {
        ECHO => number().map(|port| on_one_thread(echo(port))),
        LOAD => {
            let (port, connections, length) = (number()?, number()?, number()?);
            let run = Duration::from_millis(number()?);
            Some(on_one_thread(ask(port, connections, length, run)))
        }
        _ => None,
    }
}

fn on_one_thread(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build()?.block_on(work)
}

/// Starts the echo server.
pub(crate) fn start_echo(port: u16, work: &WorkDir) -> Result<Process> {
    let mut command = pinned(LOAD_CPU, env::current_exe()?);
    command.args([ECHO, &port.to_string()]);
    let mut process = Process::spawn(ECHO, &mut command, work.path())?;
    process.wait_for_listener(port, START)?;
    Ok(process)
}

/// Messages that came back through a proxy, and in how many seconds.
pub(crate) fn measure(port: u16, connections: u32, length: usize, run: Duration) -> Result<(u64, f64)> {
    let mut command = pinned(LOAD_CPU, env::current_exe()?);
    let arguments = [port.into(), connections.into(), length as u128, run.as_millis()];
    command
        .arg(LOAD)
        .args(arguments.map(|argument: u128| argument.to_string()));
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut fields = text.split_whitespace();
    let count = fields.next().and_then(|field| field.parse().ok());
    let seconds = fields.next().and_then(|field| field.parse().ok());
    count
        .zip(seconds)
        .ok_or_else(|| Error::new(String::from_utf8_lossy(&output.stderr).into_owned()))
}

async fn echo(port: u64) -> Result<()> {
    let port = u16::try_from(port).map_err(|_| Error::new("no port"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that leaves is no error here.
        tokio::spawn(async move { serve(stream).await.is_ok() });
    }
}

async fn serve(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let head = read_head(&mut stream).await?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then_some(value.trim())
    });
    let key = key.ok_or_else(|| Error::new("no WebSocket"))?;
    let accept = derive_accept_key(key.as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(response.as_bytes()).await?;
    let mut message = Vec::new();
    loop {
        read_message(&mut stream, &mut message).await?;
        stream.write_all(&frame(&message, None)).await?;
    }
}

async fn ask(port: u64, connections: u64, length: u64, run: Duration) -> Result<()> {
    let port = u16::try_from(port).map_err(|_| Error::new("no port"))?;
    let answered = Arc::new(AtomicU64::new(0));
    let message = vec![b'm'; usize::try_from(length).map_err(|_| Error::new("too long"))?];
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..connections {
        clients.spawn(exchange(port, message.clone(), answered.clone()));
    }
    let measured = async {
        let began = Instant::now();
        tokio::time::sleep(run).await;
        (answered.load(Ordering::Relaxed), began.elapsed())
    };
    let (count, time) = tokio::select! {
        measured = measured => measured,
        // They end only by failing.
        failed = clients.join_next() => match failed {
            Some(Ok(Err(error))) => return Err(error),
            _ => return Err(Error::new("a client ended")),
        },
    };
    writeln!(std::io::stdout(), "{count} {}", time.as_secs_f64())?;
    Ok(())
}

async fn exchange(port: u16, message: Vec<u8>, answered: Arc<AtomicU64>) -> Result<()> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let head = read_head(&mut stream).await?;
    if !head.starts_with("HTTP/1.1 101") {
        return Err(Error::new(format!("no WebSocket: {head}")));
    }
    let sent = frame(&message, Some(MASK));
    let mut echoed = Vec::new();
    loop {
        stream.write_all(&sent).await?;
        read_message(&mut stream, &mut echoed).await?;
        if echoed != message {
            return Err(Error::new("the echo differs"));
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Reads one unfragmented binary message of at most 64 KiB.
async fn read_message(stream: &mut BufReader<TcpStream>, into: &mut Vec<u8>) -> Result<()> {
    let (first, second) = (stream.read_u8().await?, stream.read_u8().await?);
    if first != BINARY {
        return Err(Error::new(format!("a frame that was not sent: {first:#x}")));
    }
    let length = match second & !MASKED {
        LONG => usize::from(stream.read_u16().await?),
        short if short < LONG => usize::from(short),
        _ => return Err(Error::new("a frame that is too long")),
    };
    let mut mask = [0; 4];
    if second & MASKED != 0 {
        stream.read_exact(&mut mask).await?;
    }
    into.resize(length, 0);
    stream.read_exact(into).await?;
    apply(mask, into);
    Ok(())
}

fn frame(message: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![BINARY];
    let masked = if mask.is_some() { MASKED } else { 0 };
    match u8::try_from(message.len()) {
        Ok(short) if short < LONG => frame.push(masked | short),
        _ => {
            frame.push(masked | LONG);
            let length = u16::try_from(message.len()).expect("messages are of at most 64 KiB");
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend(mask.into_iter().flatten());
    let start = frame.len();
    frame.extend_from_slice(message);
    apply(mask.unwrap_or_default(), &mut frame[start..]);
    frame
}

fn apply(mask: [u8; 4], bytes: &mut [u8]) {
    for (byte, mask) in bytes.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}
