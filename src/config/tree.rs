//! The YAML of a configuration as a tree that remembers where each thing stands.
//!
//! Not a general YAML model: keys are words, and a scalar stays text until whoever wants a number or a truth asks
//! for it, so that no text turns into something else by itself.

use super::errors::Mark;

/// Characters of a value that an error message repeats.
const MAX_QUOTED: usize = 60;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) value: Value,
    /// How many nodes this is, itself included.
    pub(super) nodes: usize,
    /// How many levels of lists and sections; 0 for a scalar.
    pub(super) height: usize,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing after the colon, or `~`, or `null`.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    /// In file order; no key twice.
    Section(Vec<Entry>),
}

/// A text value.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Written without quotes: only then may it be a number or a truth.
    pub(super) plain: bool,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) value: Node,
}

/// A key and its place.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) mark: Mark,
}

impl Entry {
    /// Where the value stands; one that is left out has no place but its key's.
    pub(super) fn mark(&self) -> Mark {
        if matches!(self.value.value, Value::Null) {
            self.key.mark
        } else {
            self.value.mark
        }
    }
}

impl Node {
    /// A node without children.
    pub(super) fn leaf(mark: Mark, value: Value) -> Self {
        Self {
            mark,
            value,
            nodes: 1,
            height: 0,
        }
    }

    /// A text that stands at `mark`.
    pub(super) fn text(mark: Mark, text: &str) -> Self {
        Self::leaf(
            mark,
            Value::Scalar(Scalar {
                text: text.to_owned(),
                plain: true,
            }),
        )
    }

    pub(super) fn list(mark: Mark, items: Vec<Self>) -> Self {
        let nodes = 1 + items.iter().map(|item| item.nodes).sum::<usize>();
        let height = 1 + items.iter().map(|item| item.height).max().unwrap_or(0);
        Self {
            mark,
            value: Value::List(items),
            nodes,
            height,
        }
    }

    pub(super) fn section(mark: Mark, entries: Vec<Entry>) -> Self {
        let nodes = 1 + entries.iter().map(|entry| 1 + entry.value.nodes).sum::<usize>();
        let height = 1 + entries.iter().map(|entry| entry.value.height).max().unwrap_or(0);
        Self {
            mark,
            value: Value::Section(entries),
            nodes,
            height,
        }
    }

    /// Whether this is the text `text`.
    pub(super) fn is_text(&self, text: &str) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.text == text)
    }

    /// What this is, for an error message.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar(scalar) => scalar.describe(),
            Value::List(_) => "a list".to_owned(),
            Value::Section(_) => "a section".to_owned(),
        }
    }
}

impl Scalar {
    /// The text, for an error message.
    pub(super) fn describe(&self) -> String {
        let text = quoted(&self.text);
        if self.plain {
            text
        } else {
            format!("the string {text}")
        }
    }
}

/// A text of the file for a message: shortened, on one line, without control characters.
pub(super) fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_QUOTED).flat_map(escape).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        shown.push('…');
    }
    shown
}

/// The same in back quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", short(text))
}

fn escape(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}
