//! The lines of a description, each with its place in the text.

use std::ops::Range;

/// One line, without its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The text between the line ends.
    pub content: &'a str,
    /// Where it starts.
    pub start: usize,
    /// Where the next line starts, or where the text ends.
    pub next: usize,
}

impl<'a> Line<'a> {
    /// Where its content ends.
    #[must_use]
    pub fn end(&self) -> usize {
        self.start + self.content.len()
    }

    /// How it ends; `None` for a last line without a newline.
    #[must_use]
    pub fn eol(&self) -> Option<&'static str> {
        match self.next - self.end() {
            0 => None,
            1 => Some("\n"),
            _ => Some("\r\n"),
        }
    }

    /// Its content's place in the text.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.start..self.end()
    }

    /// The place in the text of a part of this line's content.
    #[must_use]
    pub fn span_of(&self, part: &str) -> Range<usize> {
        let offset = part.as_ptr() as usize - self.content.as_ptr() as usize;
        let start = self.start + offset;
        start..start + part.len()
    }

    /// What follows `kind=` (such as `m=`), without surrounding blanks.
    #[must_use]
    pub fn value(&self, kind: char) -> Option<&'a str> {
        let rest = self.content.strip_prefix(kind)?.strip_prefix('=')?;
        Some(rest.trim())
    }

    /// The value of the attribute `name` (`a=name:value`), without surrounding blanks.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        let rest = self.value('a')?.strip_prefix(name)?.strip_prefix(':')?;
        Some(rest.trim())
    }

    /// Whether it is the attribute `name` without a value (`a=name`).
    #[must_use]
    pub fn is_flag(&self, name: &str) -> bool {
        self.value('a') == Some(name)
    }
}

/// All lines of a text. Lines end with LF or CR LF; CR before the line end belongs to it.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |whole| {
        let line = Line {
            content: whole
                .strip_suffix('\n')
                .map_or(whole, |line| line.trim_end_matches('\r')),
            start,
            next: start + whole.len(),
        };
        start = line.next;
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_know_their_places() {
        let text = "v=0\r\na=mid:0 \n\na=ice-lite";
        let all: Vec<_> = lines(text).collect();
        let contents: Vec<_> = all.iter().map(|line| line.content).collect();
        assert_eq!(contents, ["v=0", "a=mid:0 ", "", "a=ice-lite"]);
        let ends: Vec<_> = all.iter().map(Line::eol).collect();
        assert_eq!(ends, [Some("\r\n"), Some("\n"), Some("\n"), None]);
        assert!(all.iter().all(|line| &text[line.span()] == line.content));
        assert_eq!(all.last().map(|line| line.next), Some(text.len()));
    }

    #[test]
    fn attributes_are_whole_names() {
        let line = lines("a=ice-ufrag: Ab+/ \r\n").next().expect("one line");
        assert_eq!(line.attribute("ice-ufrag"), Some("Ab+/"));
        assert_eq!(line.attribute("ice"), None);
        let value = line.attribute("ice-ufrag").expect("just read");
        assert_eq!(line.span_of(value), 13..17);
    }

    #[test]
    fn flags_carry_no_value() {
        let all: Vec<_> = lines("a=rtcp-mux\na=rtcp-mux-only\n").collect();
        assert!(all[0].is_flag("rtcp-mux"));
        assert!(!all[1].is_flag("rtcp-mux"));
    }
}
