//! Finds the strings of a JSON document that speak of ICE, without building the document.
//!
//! What is kept is a list of strings with their places and the objects around them, so that memory follows what was
//! found and not what was sent. Grammar is checked only as far as it takes to know where strings begin and end.

use std::ops::Range;

use super::escape::Unescaped;
use super::kind::Kind;
use super::may_concern_ice;

/// Arrays and objects may nest this deep.
pub(super) const MAX_DEPTH: usize = 64;
/// More strings of interest than this are not looked at.
pub(super) const MAX_FOUND: usize = 256;

/// What stands beside a candidate and is renamed with it.
const USERNAME_KEYS: [&str; 2] = ["usernameFragment", "ufrag"];

/// Why a document was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Not JSON.
    Malformed,
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
    /// More than [`MAX_FOUND`] strings.
    TooMany,
}

/// A string of interest.
#[derive(Debug)]
pub(super) struct Found {
    /// What it decodes to, and where.
    pub(super) text: Unescaped,
    /// What that is; `None`: the empty candidate that ends a trickle.
    pub(super) kind: Option<Kind>,
    /// The object that it is a member of, as an index into [`Document::objects`].
    pub(super) object: Option<usize>,
}

/// What matters of an object: places of values, without quotes.
#[derive(Debug, Default)]
pub(super) struct Object {
    /// The object around this one, with or without arrays in between.
    pub(super) parent: Option<usize>,
    /// `type`
    pub(super) kind: Option<Range<usize>>,
    /// `usernameFragment` and `ufrag`
    pub(super) ufrags: [Option<Range<usize>>; 2],
    /// `session_id`
    pub(super) session: Option<Range<usize>>,
    /// `sender`, as servers say, and `handle_id`, as clients say
    pub(super) handles: [Option<Range<usize>>; 2],
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Strings of interest, in order.
    pub(super) found: Vec<Found>,
    /// The objects around them.
    pub(super) objects: Vec<Object>,
}

/// Reads the JSON value that starts at `start`. Only blanks may follow it.
pub(super) fn scan(text: &str, start: usize) -> Result<Document, Stop> {
    let mut scanner = Scanner {
        text,
        at: start,
        document: Document::default(),
    };
    scanner.value("", None, 0)?;
    scanner.blanks();
    if scanner.at == text.len() {
        Ok(scanner.document)
    } else {
        Err(Stop::Malformed)
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    document: Document,
}

impl<'a> Scanner<'a> {
    /// Reads a value that is the member `key` of `object` (or an element below it), and returns the place of a scalar.
    fn value(&mut self, key: &str, object: Option<usize>, depth: usize) -> Result<Range<usize>, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::TooDeep);
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(object, depth).map(|()| 0..0),
            Some(b'[') => self.array(key, object, depth).map(|()| 0..0),
            Some(b'"') => {
                let span = self.string()?;
                self.consider(&span, key, object)?;
                Ok(span)
            }
            _ => self.literal(),
        }
    }

    fn object(&mut self, parent: Option<usize>, depth: usize) -> Result<(), Stop> {
        let before = self.document.found.len();
        let this = self.document.objects.len();
        self.document.objects.push(Object {
            parent,
            ..Object::default()
        });
        self.at += 1;
        let mut more = !self.eat(b'}');
        while more {
            self.blanks();
            let key = self.string()?;
            let key = &self.text[key];
            self.expect(b':')?;
            let value = self.value(key, Some(this), depth + 1)?;
            self.note(this, key, value);
            more = self.eat(b',');
            if !more {
                self.expect(b'}')?;
            }
        }
        if self.document.found.len() == before {
            self.document.objects.truncate(this);
        }
        Ok(())
    }

    fn array(&mut self, key: &str, object: Option<usize>, depth: usize) -> Result<(), Stop> {
        self.at += 1;
        let mut more = !self.eat(b']');
        while more {
            self.value(key, object, depth + 1)?;
            more = self.eat(b',');
            if !more {
                self.expect(b']')?;
            }
        }
        Ok(())
    }

    /// Remembers a member of an object. Of equal keys the last one counts, as in every browser.
    fn note(&mut self, object: usize, key: &str, value: Range<usize>) {
        let object = &mut self.document.objects[object];
        let slot = match key {
            "type" => &mut object.kind,
            key if key == USERNAME_KEYS[0] => &mut object.ufrags[0],
            key if key == USERNAME_KEYS[1] => &mut object.ufrags[1],
            "session_id" => &mut object.session,
            "sender" => &mut object.handles[0],
            "handle_id" => &mut object.handles[1],
            _ => return,
        };
        *slot = (!value.is_empty()).then_some(value);
    }

    /// Keeps a string if it speaks of ICE.
    fn consider(&mut self, span: &Range<usize>, key: &str, object: Option<usize>) -> Result<(), Stop> {
        if USERNAME_KEYS.contains(&key) {
            return Ok(());
        }
        let raw = &self.text[span.clone()];
        let ends_trickle = raw.is_empty() && key == "candidate";
        if !ends_trickle && !may_concern_ice(raw.as_bytes()) {
            return Ok(());
        }
        let text = Unescaped::new(self.text, span.clone()).ok_or(Stop::Malformed)?;
        let kind = Kind::of(text.as_str());
        if !ends_trickle && kind.is_none() {
            return Ok(());
        }
        if self.document.found.len() == MAX_FOUND {
            return Err(Stop::TooMany);
        }
        self.document.found.push(Found { text, kind, object });
        Ok(())
    }

    /// Reads a string and returns the place of what is between the quotes.
    fn string(&mut self) -> Result<Range<usize>, Stop> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err(Stop::Malformed),
            }
        }
        self.at += 1;
        Ok(start..self.at - 1)
    }

    /// Reads a number, `true`, `false` or `null`.
    fn literal(&mut self) -> Result<Range<usize>, Stop> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        {
            self.at += 1;
        }
        if self.at == start {
            return Err(Stop::Malformed);
        }
        Ok(start..self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| b" \t\r\n".contains(&byte)) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.blanks();
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.eat(byte) {
            Ok(())
        } else {
            Err(Stop::Malformed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(document: &Document) -> Vec<&str> {
        document.found.iter().map(|found| found.text.as_str()).collect()
    }

    #[test]
    fn strings_are_found_with_their_objects() {
        let text = r#"{"session_id":12,"jsep":{"sdp":"v=0\r\n","type":"offer"},"sender":"ab"}"#;
        let document = scan(text, 0).expect("JSON");
        assert_eq!(texts(&document), ["v=0\r\n"]);
        let inner = &document.objects[document.found[0].object.expect("a member")];
        assert_eq!(inner.kind.clone().map(|span| &text[span]), Some("offer"));
        let outer = &document.objects[inner.parent.expect("an object around it")];
        assert_eq!(outer.session.clone().map(|span| &text[span]), Some("12"));
        assert_eq!(outer.handles[0].clone().map(|span| &text[span]), Some("ab"));
    }

    #[test]
    fn objects_without_finds_are_forgotten() {
        let text = format!("[{}{}]", "{\"ufrag\":\"a\"},".repeat(9), r#"{"candidate":""}"#);
        let document = scan(&text, 0).expect("JSON");
        assert_eq!((document.found.len(), document.objects.len()), (1, 1));
    }

    #[test]
    fn a_string_that_merely_mentions_ice_is_not_found() {
        let document = scan(r#"{"error":"no candidate, v=0","ufrag":"x"}"#, 0).expect("JSON");
        assert!(document.found.is_empty());
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH + 2), "]".repeat(MAX_DEPTH + 2));
        assert_eq!(scan(&deep, 0).err(), Some(Stop::TooDeep));
        let unclosed = "[{\"a\":".repeat(100_000);
        assert_eq!(scan(&unclosed, 0).err(), Some(Stop::TooDeep));
        let many = format!("[{}1]", "\"candidate:\",".repeat(MAX_FOUND + 1));
        assert_eq!(scan(&many, 0).err(), Some(Stop::TooMany));
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for text in [
            "{",
            "{\"a\"",
            "[1 2]",
            "{\"a\":1}x",
            "\"a\\",
            "[1,]",
            "{\"a\" 1}",
            "",
            "\"\\",
        ] {
            assert_eq!(scan(text, 0).err(), Some(Stop::Malformed), "{text}");
        }
    }
}
