//! Reading a section key by key: what is unknown is reported at once, what is asked for is checked.

use super::errors::{Mark, Problem, Sink};
use super::hints;
use super::keys;
use super::nearest::nearest;
use super::scalars::unexpected;
use super::tree::{Entry, Key, Node, Value, quoted, short};

/// The entries of one section of the file; none, where it is left empty.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    /// Where to point when something is missing: the key that the section belongs to.
    pub(super) mark: Mark,
    pub(super) entries: &'t [Entry],
}

impl<'t> Section<'t> {
    /// The section at `node`, whatever its keys; empty, and reported, if it is none.
    pub(super) fn open(mark: Mark, node: &'t Node, sink: &mut Sink) -> Self {
        let entries = match &node.value {
            Value::Section(entries) => entries.as_slice(),
            Value::Null => &[],
            Value::Scalar(_) | Value::List(_) => {
                let problem = unexpected("a section (keys with values)", node);
                sink.error(node.mark, problem.meaning(hints::section(node)));
                &[]
            }
        };
        Self { mark, entries }
    }

    /// The section at `node`, with every key that is not in `known` reported.
    pub(super) fn of(mark: Mark, node: &'t Node, known: &[&str], sink: &mut Sink) -> Self {
        let section = Self::open(mark, node, sink);
        // Left without a value, as a section is whose keys are not indented below it.
        let mut empty_before = None;
        for Entry { key, value } in section.entries {
            if !known.contains(&key.text.as_str()) {
                let problem = unknown(key, known, empty_before, sink);
                sink.error(key.mark, problem);
            }
            empty_before = matches!(value.value, Value::Null).then_some(key.text.as_str());
        }
        section
    }

    /// The entry of a key.
    pub(super) fn entry(&self, key: &str) -> Option<&'t Entry> {
        self.entries.iter().find(|entry| entry.key.text == key)
    }

    /// The entry of a key that must be there. A misspelt one has been reported as such already.
    pub(super) fn required(
        &self,
        key: &'static str,
        known: &[&str],
        sink: &mut Sink,
        what: impl FnOnce() -> String,
    ) -> Option<&'t Entry> {
        let entry = self.entry(key);
        let unknown = || {
            self.entries
                .iter()
                .filter(|entry| !known.contains(&entry.key.text.as_str()))
        };
        if entry.is_none()
            && !sink.is_full()
            && !unknown().any(|entry| meant(&entry.key.text, known) == Some(key))
        {
            sink.error(self.mark, Problem::MissingKey { what: what(), key });
        }
        entry
    }

    /// The section under a key, or an empty one.
    pub(super) fn section(&self, key: &str, known: &[&str], sink: &mut Sink) -> Self {
        let empty = Self {
            mark: self.mark,
            entries: &[],
        };
        self.entry(key).map_or(empty, |Entry { key, value }| {
            Self::of(key.mark, value, known, sink)
        })
    }

    /// The value of a key, if it is there and `parse` takes it.
    pub(super) fn value<T>(
        &self,
        key: &str,
        sink: &mut Sink,
        parse: impl FnOnce(&Node) -> Result<T, Problem>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        sink.check(entry.mark(), parse(&entry.value))
    }

    /// The items of a list under a key; none, where the key is missing or its value left empty.
    pub(super) fn items(&self, key: &str, sink: &mut Sink) -> &'t [Node] {
        match self.entry(key).map(|entry| &entry.value) {
            None
            | Some(Node {
                value: Value::Null, ..
            }) => &[],
            Some(Node {
                value: Value::List(items),
                ..
            }) => items,
            Some(node) => {
                sink.error(
                    node.mark,
                    unexpected("a list (one `- item` per line, or `[a, b]`)", node),
                );
                &[]
            }
        }
    }

    /// Whether a list is missing, left empty, or without items.
    pub(super) fn lacks(&self, key: &str) -> bool {
        match self.entry(key).map(|entry| &entry.value.value) {
            None | Some(Value::Null) => true,
            Some(Value::List(items)) => items.is_empty(),
            Some(Value::Scalar(_) | Value::Section(_)) => false,
        }
    }

    /// Those items of a list that `parse` takes, the others reported.
    pub(super) fn list<T>(
        &self,
        key: &str,
        sink: &mut Sink,
        parse: impl Fn(&Node) -> Result<T, Problem>,
    ) -> Vec<T> {
        let items = self.items(key, sink).iter();
        items
            .filter_map(|item| sink.check(item.mark, parse(item)))
            .collect()
    }
}

/// The known key that an unknown one probably stands for.
fn meant<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let former = keys::FORMER.iter().find(|(old, _)| *old == key);
    let now = former.and_then(|(_, now)| known.iter().copied().find(|known| known == now));
    now.or_else(|| nearest(key, known.iter().copied()))
}

fn unknown(key: &Key, known: &[&str], empty_before: Option<&str>, sink: &Sink) -> Problem {
    let near = if sink.is_full() {
        None
    } else {
        meant(&key.text, known)
    };
    let elsewhere = || keys::place(&key.text).filter(|_| !sink.is_full());
    let hint = match (near, empty_before) {
        (Some(key), _) => format!("did you mean `{key}`?"),
        (None, Some(before)) => format!("is it indented too little to belong to {}?", quoted(before)),
        (None, None) => match elsewhere() {
            Some(place) => format!("it belongs in {place}"),
            None => format!("expected {}", choices(known)),
        },
    };
    Problem::UnknownKey {
        key: short(&key.text),
        hint,
    }
}

/// A list of words for a message: `a`, `b` or `c`.
pub(super) fn choices(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
