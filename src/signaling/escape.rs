//! JSON string escapes (RFC 8259 section 7), with a map from the decoded text back to the encoded one, so that an edit
//! of the former can be made in the latter without touching how the rest was written.

use std::ops::Range;

use crate::sdp::Edit;

/// A decoded JSON string and where each part of it came from.
#[derive(Debug)]
pub(super) struct Unescaped {
    text: String,
    /// Where, in the decoded text and in the encoded one, a stretch begins that both have in common. The first
    /// stretch begins at the string's start; the end of each escape begins another.
    stretches: Vec<(usize, usize)>,
}

impl Unescaped {
    /// Decodes the string whose content (without quotes) is at `span` of `document`. Lone surrogates read as U+FFFD.
    /// `None` if an escape is malformed.
    pub(super) fn new(document: &str, span: Range<usize>) -> Option<Self> {
        let mut this = Self {
            text: String::new(),
            stretches: vec![(0, span.start)],
        };
        let mut at = span.start;
        while let Some(offset) = document.get(at..span.end)?.find('\\') {
            this.text.push_str(&document[at..at + offset]);
            at += offset;
            let (decoded, len) = unescape(document.get(at..span.end)?)?;
            this.text.push(decoded);
            at += len;
            this.stretches.push((this.text.len(), at));
        }
        this.text.push_str(document.get(at..span.end)?);
        Some(this)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The same edit, made in the document.
    pub(super) fn edit(&self, edit: &Edit) -> Edit {
        Edit {
            range: self.encoded(edit.range.start)..self.encoded(edit.range.end),
            text: escape(&edit.text),
        }
    }

    fn encoded(&self, at: usize) -> usize {
        let after = self.stretches.partition_point(|&(decoded, _)| decoded <= at);
        let (decoded, encoded) = self.stretches[after.saturating_sub(1)];
        encoded + (at - decoded)
    }
}

/// Decodes the escape at the start of `text`; also its length.
fn unescape(text: &str) -> Option<(char, usize)> {
    let simple = match text.as_bytes().get(1)? {
        b'u' => return unescape_unicode(text),
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        _ => return None,
    };
    Some((simple, 2))
}

fn unescape_unicode(text: &str) -> Option<(char, usize)> {
    let first = code_unit(text)?;
    if let Some(second) = text.get(6..).and_then(code_unit)
        && let Some(Ok(decoded)) = char::decode_utf16([first, second]).next()
        && decoded.len_utf16() == 2
    {
        return Some((decoded, 12));
    }
    let alone = char::from_u32(u32::from(first));
    Some((alone.unwrap_or(char::REPLACEMENT_CHARACTER), 6))
}

fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        u16::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sdp::apply;

    fn decode(raw: &str) -> Option<Unescaped> {
        Unescaped::new(raw, 0..raw.len())
    }

    #[test]
    fn all_escapes() {
        let raw = r#"a\r\n\u000d\/\\\"\t\b\f\ud83d\ude00\ud83dx\u00e9é"#;
        let want = "a\r\n\r/\\\"\t\u{8}\u{c}\u{1f600}\u{fffd}x\u{e9}\u{e9}";
        assert_eq!(decode(raw).expect("legal").as_str(), want);
    }

    #[test]
    fn malformed_escapes_are_refused() {
        for raw in [r"\x", r"\u12", r"\u+123", r"\uzzzz", "\\"] {
            assert!(decode(raw).is_none(), "{raw}");
        }
    }

    #[test]
    fn edits_keep_the_escapes_around_them() {
        let raw = r"ab\u000d\/cd\n";
        let text = decode(raw).expect("legal");
        let edits = [
            text.edit(&Edit::new(3..5, "\"\r")),
            text.edit(&Edit::new(6..7, "")),
        ];
        assert_eq!(apply(raw, &edits), r#"ab\u000d\"\rd"#);
    }

    proptest! {
        #[test]
        fn escaped_text_decodes_to_itself(text in any::<String>()) {
            let raw = escape(&text);
            let decoded = decode(&raw).expect("ours");
            prop_assert_eq!(decoded.as_str(), text);
        }

        #[test]
        fn an_edit_of_the_decoded_is_an_edit_of_the_encoded(
            pieces in prop::collection::vec(prop::sample::select(vec!["a", "é", "\\n", "\\u0041", "\\/", "\\ud83d\\ude00"]), 0..12),
            from in 0_usize..12, len in 0_usize..12, new in "[a-z\r\"]{0,5}",
        ) {
            let raw = pieces.concat();
            let text = decode(&raw).expect("made of legal pieces");
            let bounds: Vec<_> = text.as_str().char_indices().map(|(at, _)| at).chain([text.as_str().len()]).collect();
            let start = bounds[from.min(bounds.len() - 1)];
            let end = bounds[(from + len).min(bounds.len() - 1)];
            let edit = Edit::new(start..end, new);
            let encoded = apply(&raw, &[text.edit(&edit)]);
            let decoded = decode(&encoded).expect("still legal");
            prop_assert_eq!(decoded.as_str(), apply(text.as_str(), &[edit]));
        }
    }
}
