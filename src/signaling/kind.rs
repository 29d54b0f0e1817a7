//! What a text is: a description, a candidate, or JSON. Judged by its beginning, never by a content type.

use super::may_concern_ice;

/// socket.io, SockJS and the like put a short word before their JSON.
const MAX_PREFIX: usize = 64;

/// A text that may speak of ICE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// SDP, or a fragment of it.
    Description,
    /// One candidate line.
    Candidate,
    /// JSON that starts here.
    Json(usize),
}

impl Kind {
    /// What `text` is, if anything of interest.
    pub(super) fn of(text: &str) -> Option<Self> {
        let body = body(text);
        let starts = |mark: &str| body.starts_with(mark);
        let one_line = !body.trim_end().contains('\n');
        if body
            .strip_prefix("v=0")
            .is_some_and(|rest| rest.starts_with(char::is_whitespace))
        {
            Some(Self::Description)
        } else if one_line && (starts("candidate:") || starts("a=candidate:")) {
            Some(Self::Candidate)
        } else if is_fragment(body) {
            Some(Self::Description)
        } else if may_concern_ice(body.as_bytes()) {
            json_start(text).map(Self::Json)
        } else {
            None
        }
    }
}

/// A text without the byte order mark and the blanks before it.
pub(super) fn body(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim_start()
}

/// Whether it is an SDP fragment: SDP lines, one of which speaks of ICE.
fn is_fragment(text: &str) -> bool {
    let typed = |mark: &str| text.starts_with(mark);
    (typed("a=") || typed("m="))
        && text
            .lines()
            .any(|line| line.starts_with("a=ice-ufrag:") || line.starts_with("a=candidate:"))
}

fn json_start(text: &str) -> Option<usize> {
    let start = text.find(['{', '[', '"'])?;
    let prefix = text[..start].trim_start_matches('\u{feff}');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/,-_: \t\r\n".contains(&byte);
    (prefix.len() <= MAX_PREFIX && prefix.bytes().all(plain)).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_their_beginning() {
        for (text, kind) in [
            ("v=0\r\no=-", Some(Kind::Description)),
            ("\n v=0\n", Some(Kind::Description)),
            ("v=01", None),
            ("a=ice-ufrag:x\r\n", Some(Kind::Description)),
            (
                "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1\r\n",
                Some(Kind::Description),
            ),
            ("a=candidate:1 1 udp", Some(Kind::Candidate)),
            ("candidate:1 1 udp\r\n", Some(Kind::Candidate)),
            ("a=mid:candidate\r\n", None),
            (" {\"candidate\":\"\"}", Some(Kind::Json(1))),
            ("42/rtc,7[\"ufrag\"]", Some(Kind::Json(8))),
            ("{\"a\":1}", None),
            (&format!("{}[\"ufrag\"]", "a".repeat(MAX_PREFIX + 1)), None),
            ("<p>candidate [1]", None),
            ("", None),
        ] {
            assert_eq!(Kind::of(text), kind, "{text}");
        }
    }
}
