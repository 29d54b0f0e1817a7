//! Replacements in a text, by byte range.

use std::ops::Range;

/// One replacement. The range lies on character boundaries of the text that it edits; it may be empty (an insertion).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced, in bytes.
    pub range: Range<usize>,
    /// What takes its place.
    pub text: String,
}

impl Edit {
    /// Replaces `range` by `text`.
    #[must_use]
    pub fn new(range: Range<usize>, text: impl Into<String>) -> Self {
        Self {
            range,
            text: text.into(),
        }
    }
}

/// The text with all edits made. They must be sorted by their start and must not overlap.
#[must_use]
pub fn apply(text: &str, edits: &[Edit]) -> String {
    let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut out = String::with_capacity(text.len() + added);
    let mut at = 0;
    for edit in edits {
        debug_assert!(at <= edit.range.start, "edits overlap or are out of order");
        out.push_str(text.get(at..edit.range.start).unwrap_or_default());
        out.push_str(&edit.text);
        at = edit.range.end.max(at);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_replace_insert_and_delete() {
        let edits = [Edit::new(0..0, ">"), Edit::new(1..3, "__"), Edit::new(4..5, "")];
        assert_eq!(apply("abcdef", &edits), ">a__df");
    }

    #[test]
    fn no_edits_change_nothing() {
        assert_eq!(apply("a\r\nb", &[]), "a\r\nb");
    }
}
