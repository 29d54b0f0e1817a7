//! An upstream that reads requests as strictly as the grammar allows, and remembers what it read.
//!
//! Whatever two servers might read in two ways is a fault: a bare CR or LF, a field that is no token, more than one
//! length.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What came, of all connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Whole requests: head, then body.
    pub(crate) requests: Vec<String>,
    /// What no well-behaved client sends.
    pub(crate) faults: Vec<String>,
}

/// The server; it runs for the rest of the test.
pub(crate) struct Witness {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Witness {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let all = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let seen = all.clone();
                tokio::spawn(async move {
                    if let Err(fault) = serve(stream, &seen).await {
                        seen.lock().unwrap().faults.push(fault);
                    }
                });
            }
        });
        Self { addr, seen }
    }

    /// What came since the last time.
    pub(crate) fn take(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Answers requests until the client leaves; a request that breaks off is none, and no fault.
async fn serve(stream: TcpStream, seen: &Mutex<Seen>) -> Result<(), String> {
    let mut stream = BufReader::new(stream);
    loop {
        let Some(mut head) = lines(&mut stream).await? else {
            return Ok(());
        };
        let request_line = head.remove(0);
        let words: Vec<&str> = request_line.split(' ').collect();
        let is_fit = words.len() == 3 && words[2] == "HTTP/1.1" && words.iter().all(|word| !word.is_empty());
        if !is_fit {
            return Err(format!("the request line {request_line:?}"));
        }
        let fields = head
            .iter()
            .map(|line| field(line))
            .collect::<Result<Vec<_>, _>>()?;
        if fields.iter().filter(|(name, _)| name == "host").count() != 1 {
            return Err(format!("not one host in {head:?}"));
        }
        let Some(body) = body(&mut stream, &fields).await? else {
            return Ok(());
        };
        let text = format!("{request_line}\n{}\n\n{}", head.join("\n"), body.escape_ascii());
        seen.lock().unwrap().requests.push(text);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\nseen";
        if stream.get_mut().write_all(answer).await.is_err() {
            return Ok(());
        }
    }
}

/// Lines up to an empty one; `None`: the stream ended.
async fn lines(stream: &mut BufReader<TcpStream>) -> Result<Option<Vec<String>>, String> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        match stream.read_until(b'\n', &mut line).await {
            Ok(len) if len > 0 && line.ends_with(b"\n") => {}
            Ok(_) | Err(_) => return Ok(None),
        }
        let line = String::from_utf8(line).map_err(|_| "a line that is no text".to_owned())?;
        let Some(line) = line.strip_suffix("\r\n") else {
            return Err(format!("a bare LF after {line:?}"));
        };
        if line.is_empty() {
            return Ok(Some(lines));
        }
        if line.contains(['\r', '\0']) {
            return Err(format!("a bare CR or NUL in {line:?}"));
        }
        lines.push(line.to_owned());
    }
}

/// RFC 9110 section 5.1.
fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("no colon in {line:?}"))?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("the name in {line:?}"));
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// RFC 9112 section 6.3, and nothing that it tolerates.
async fn body(
    stream: &mut BufReader<TcpStream>,
    fields: &[(String, String)],
) -> Result<Option<Vec<u8>>, String> {
    let all = |wanted: &str| -> Vec<&str> {
        let of_name = fields.iter().filter(|(name, _)| name == wanted);
        of_name.map(|(_, value)| value.as_str()).collect()
    };
    match (
        all("content-length").as_slice(),
        all("transfer-encoding").as_slice(),
    ) {
        ([], []) => Ok(Some(Vec::new())),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let mut body = vec![0; length.parse().map_err(|_| format!("the length {length}"))?];
            Ok(stream.read_exact(&mut body).await.ok().map(|_| body))
        }
        ([], ["chunked"]) => chunks(stream).await,
        (lengths, codings) => Err(format!("lengths {lengths:?} and codings {codings:?}")),
    }
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        if stream.read_line(&mut size).await.is_err() || !size.ends_with("\r\n") {
            return Ok(None);
        }
        let size = size.trim_end();
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("the chunk size {size:?}"));
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| format!("the chunk size {size}"))?;
        if size == 0 {
            let Some(trailers) = lines(stream).await? else {
                return Ok(None);
            };
            for trailer in &trailers {
                let (name, _) = field(trailer)?;
                if ["content-length", "transfer-encoding", "host", "authorization"].contains(&name.as_str()) {
                    return Err(format!("the trailer {trailer:?}"));
                }
            }
            body.extend_from_slice(trailers.join("|").as_bytes());
            return Ok(Some(body));
        }
        let mut chunk = vec![0; size + 2];
        if stream.read_exact(&mut chunk).await.is_err() {
            return Ok(None);
        }
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk without its end".to_owned());
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
