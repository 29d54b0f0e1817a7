//! The two forms of a line. Pure.
//!
//! The combined form is that of web servers ("Log Files" in the Apache manual); the fields behind it are ours, as
//! `key=value` without blanks.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::LogFormat;

use super::Entry;

/// The status of a request whose client was gone before there was a response.
const CLIENT_GONE: u16 = 499;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// One line, with its end.
pub(super) fn format(format: LogFormat, entry: &Entry) -> String {
    match format {
        LogFormat::Combined => combined(entry),
        LogFormat::Json => json(entry),
    }
}

fn combined(entry: &Entry) -> String {
    let mut line = format!(
        "{} - - [{}] \"{} {} {}\" {} {} \"{}\" \"{}\" host={} in={} time={:.3} upstream_time={} route={} \
         upstream={} id={}",
        entry.client,
        common_time(entry),
        Escaped(entry.method.as_str()),
        Escaped(&entry.uri),
        entry.protocol,
        entry.status.unwrap_or(CLIENT_GONE),
        entry.bytes_out,
        Escaped(entry.referer.as_deref().unwrap_or("-")),
        Escaped(entry.user_agent.as_deref().unwrap_or("-")),
        Word(entry.host.as_deref()),
        entry.bytes_in,
        entry.time.as_secs_f64(),
        Seconds(entry.upstream_time),
        Word(entry.route.as_ref().map(|route| route.tag.as_str())),
        Word(Some(&entry.upstreams.join(","))),
        Word(Some(&entry.id)),
    );
    for (holds, flag) in [(entry.websocket, " websocket"), (!entry.complete, " incomplete")] {
        if holds {
            line.push_str(flag);
        }
    }
    line.push('\n');
    line
}

fn json(entry: &Entry) -> String {
    let seconds = |time: Duration| Value::from((time.as_secs_f64() * 1e6).round() / 1e6);
    let mut line = json!({
        "time": humantime::format_rfc3339_millis(entry.at).to_string(),
        "client": entry.client.to_string(),
        "method": entry.method.as_str(),
        "uri": entry.uri,
        "protocol": entry.protocol,
        "host": entry.host,
        "referer": entry.referer,
        "user_agent": entry.user_agent,
        "request_id": entry.id,
        "status": entry.status.unwrap_or(CLIENT_GONE),
        "bytes_in": entry.bytes_in,
        "bytes_out": entry.bytes_out,
        "seconds": seconds(entry.time),
        "upstream": entry.upstreams.last(),
        "upstreams": entry.upstreams,
        "upstream_seconds": entry.upstream_time.map(seconds),
        "route": entry.route.as_ref().map(|route| route.tag.as_str()),
        "websocket": entry.websocket,
        "complete": entry.complete,
    })
    .to_string();
    // Outside of strings there is none of these, and JSON lets them stand in one as they are.
    if line.chars().any(is_late_control) {
        let escaped = |c: char| match is_late_control(c) {
            true => format!("\\u{:04x}", u32::from(c)),
            false => c.to_string(),
        };
        line = line.chars().map(escaped).collect();
    }
    line.push('\n');
    line
}

/// DEL and the controls behind it, on which terminals act.
fn is_late_control(c: char) -> bool {
    matches!(c, '\u{7F}'..='\u{9F}')
}

/// `10/Oct/2000:13:55:36 +0000`
fn common_time(entry: &Entry) -> String {
    // 2000-10-10T13:55:36Z
    let text = humantime::format_rfc3339_seconds(entry.at).to_string();
    let month = text[5..7].parse::<usize>().unwrap_or(1);
    format!(
        "{}/{}/{}:{} +0000",
        &text[8..10],
        MONTHS[(month - 1) % 12],
        &text[..4],
        &text[11..19]
    )
}

/// What may stand in quotes: printable ASCII; all else, quotes and backslashes as `\xHH`.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'"' | b'\\' => write!(f, "\\x{byte:02X}")?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02X}")?,
            }
        }
        Ok(())
    }
}

/// The same without blanks; `-` for nothing.
struct Word<'a>(Option<&'a str>);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None | Some("") => f.write_str("-"),
            Some(text) => write!(f, "{}", Escaped(&text.replace(' ', "_"))),
        }
    }
}

struct Seconds(Option<Duration>);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => write!(f, "{:.3}", time.as_secs_f64()),
            None => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use hyper::Method;

    use super::*;

    fn entry() -> Entry {
        Entry {
            at: UNIX_EPOCH + Duration::from_millis(971_186_136_250),
            client: "192.0.2.7".parse().unwrap(),
            method: Method::POST,
            uri: "/janus/1?a=b".into(),
            protocol: "HTTP/1.1",
            host: Some("a.example".into()),
            referer: None,
            user_agent: Some("Mozilla/5.0 (\"x\")\u{1b}[31m\nü".into()),
            id: "42".into(),
            status: Some(200),
            bytes_in: 10,
            bytes_out: 2326,
            time: Duration::from_millis(1_250),
            upstreams: vec!["http://10.0.0.9:8088".into(), "http://10.0.0.1:8088".into()],
            upstream_time: Some(Duration::from_micros(7_400)),
            route: None,
            websocket: false,
            complete: true,
        }
    }

    #[test]
    fn combined_lines_cannot_be_forged() {
        assert_eq!(
            combined(&entry()),
            "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"POST /janus/1?a=b HTTP/1.1\" 200 2326 \"-\" \
             \"Mozilla/5.0 (\\x22x\\x22)\\x1B[31m\\x0A\\xC3\\xBC\" host=a.example in=10 time=1.250 \
             upstream_time=0.007 route=- upstream=http://10.0.0.9:8088,http://10.0.0.1:8088 id=42\n"
        );
    }

    #[test]
    fn what_is_odd_is_told_at_the_end() {
        let entry = Entry {
            status: None,
            upstreams: Vec::new(),
            upstream_time: None,
            host: Some("a b".into()),
            websocket: true,
            complete: false,
            ..entry()
        };
        let line = combined(&entry);
        assert!(line.contains("\" 499 2326 "), "{line}");
        assert!(
            line.ends_with(
                "host=a_b in=10 time=1.250 upstream_time=- route=- upstream=- id=42 websocket incomplete\n"
            ),
            "{line}"
        );
    }

    #[test]
    fn json_lines_are_one_object_each() {
        let line = json(&entry());
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "2000-10-10T13:55:36.250Z");
        assert_eq!(value["seconds"], 1.25);
        assert_eq!(value["upstream"], "http://10.0.0.1:8088");
        assert_eq!(value["upstreams"][0], "http://10.0.0.9:8088");
        assert_eq!(value["upstream_seconds"], 0.0074);
        assert_eq!(value["user_agent"], "Mozilla/5.0 (\"x\")\u{1b}[31m\nü");
        assert_eq!(value["route"], Value::Null);
    }
}
