//! HTTP/1.1 messages as they are on the wire, read as far as a comparison needs.

use std::io::Read;

/// A start line and fields, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
}

/// A message, its body without its framing; trailers are marked at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Head {
    /// The head that bytes begin with, and its length.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(field).collect();
        Some((Self { start, fields }, end + 4))
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The second word: of a response its status.
    pub(crate) fn status(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}

/// Reads a body; `None`: it broke off. `read` holds what has come already, and keeps what comes after.
pub(crate) fn read_body(
    head: &Head,
    is_request: bool,
    read: &mut Vec<u8>,
    from: &mut impl Read,
) -> Option<Vec<u8>> {
    if head
        .value("transfer-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    {
        return read_chunks(read, from);
    }
    match head.value("content-length").and_then(|value| value.parse().ok()) {
        Some(len) => {
            while read.len() < len {
                more(read, from)?;
            }
            Some(read.drain(..len).collect())
        }
        None if is_request => Some(Vec::new()),
        None => {
            while more(read, from).is_some() {}
            Some(std::mem::take(read))
        }
    }
}

fn read_chunks(read: &mut Vec<u8>, from: &mut impl Read) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(read, from)?;
        let len = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        if len == 0 {
            // What is left are trailers.
            loop {
                let line = read_line(read, from)?;
                if line.is_empty() {
                    return Some(body);
                }
                body.extend_from_slice(format!("[trailer {}]", line.to_ascii_lowercase()).as_bytes());
            }
        }
        while read.len() < len + 2 {
            more(read, from)?;
        }
        body.extend(read.drain(..len));
        read.drain(..2);
    }
}

fn read_line(read: &mut Vec<u8>, from: &mut impl Read) -> Option<String> {
    loop {
        if let Some(end) = read.windows(2).position(|window| window == b"\r\n") {
            let line = String::from_utf8_lossy(&read[..end]).into_owned();
            read.drain(..end + 2);
            return Some(line);
        }
        more(read, from)?;
    }
}

fn more(read: &mut Vec<u8>, from: &mut impl Read) -> Option<()> {
    let mut piece = [0; 4096];
    let len = from.read(&mut piece).ok().filter(|len| *len > 0)?;
    read.extend_from_slice(&piece[..len]);
    Some(())
}
