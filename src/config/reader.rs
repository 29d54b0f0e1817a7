//! YAML text to a [`tree`](super::tree): one document, bounded in depth and in nodes, with anchors, aliases and `<<`.
//!
//! Mistakes of form end here. A duplicate key or an unknown alias is noted and reading goes on; text that is not YAML
//! ends it, since what follows would be guesswork.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::errors::{Mark, Problem, Sink};
use super::tree::{Entry, Key, Node, Scalar, Value, short};

/// Levels of nesting. A configuration has nine.
const MAX_DEPTH: usize = 32;
/// Values in all, counting each use of an alias.
const MAX_NODES: usize = 50_000;
/// The key that takes over the entries of other sections.
const MERGE: &str = "<<";

/// Reads the one document of `text`; `None`, with the reason noted, where there is none or it is not YAML.
pub(super) fn read(text: &str, sink: &mut Sink) -> Option<Node> {
    let mut options = granit_parser::options! {
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let mut builder = Builder {
        sink,
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let step = match next {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => Err(syntax(&error, text)),
        };
        if let Err((mark, problem)) = step {
            builder.sink.error(mark, problem);
            return None;
        }
    }
    let root = builder.root.filter(|root| !matches!(root.value, Value::Null));
    if root.is_none() {
        sink.error(Mark::default(), Problem::Empty);
    }
    root
}

fn point(marker: &Marker) -> Mark {
    Mark {
        line: marker.line().max(1),
        column: marker.col() + 1,
        len: 1,
    }
}

fn syntax(error: &ScanError, text: &str) -> Fatal {
    let mut mark = point(error.marker());
    let problem = match error.kind() {
        ErrorKind::RecursionLimitExceeded => Problem::TooDeep { limit: MAX_DEPTH },
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::UnexpectedCharacter { character: '\t' } => {
            // Some are told at the tab, some behind it.
            let before = error.marker().byte_offset().and_then(|at| text.get(..at));
            mark.column -=
                usize::from(mark.column > 1 && before.is_some_and(|before| before.ends_with('\t')));
            Problem::Tab
        }
        kind => Problem::Syntax(told(&kind.to_string())),
    };
    (mark, problem)
}

/// What the parser says, in plainer words where the usual reason is known.
fn told(message: &str) -> String {
    if message.contains("mapping values are not allowed") {
        "a key where none can be; are it and the line before it indented alike, and is a space behind each `:`?"
            .to_owned()
    } else {
        message.to_owned()
    }
}

/// What ends the reading.
type Fatal = (Mark, Problem);

struct Builder<'s> {
    sink: &'s mut Sink,
    /// The lists and sections that are open, outermost first.
    stack: Vec<Open>,
    /// Finished nodes with an anchor, by the parser's number for it.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

struct Open {
    mark: Mark,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Section { entries: Vec<Entry>, key: Option<Key> },
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fatal> {
        let mark = mark(&span);
        if let Some(at) = span.tag_start() {
            self.sink.error(point(&at), Problem::Tag);
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err((mark, Problem::SeveralDocuments)),
            Event::Scalar(text, style, anchor, _) => self.add(anchor, scalar(mark, &text, style)),
            Event::SequenceStart(_, anchor, _) => self.open(mark, anchor, Content::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.open(
                mark,
                anchor,
                Content::Section {
                    entries: Vec::new(),
                    key: None,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => self.alias(mark, id),
            Event::UnresolvedAlias(name) => {
                self.sink.error(mark, Problem::UnknownAlias(short(&name)));
                // As if it had been in quotes, so that nothing more is said of it.
                self.add(0, Node::text(mark, &format!("*{name}")))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, mark: Mark, anchor: usize, content: Content) -> Result<(), Fatal> {
        if self.stack.len() >= MAX_DEPTH {
            return Err((mark, Problem::TooDeep { limit: MAX_DEPTH }));
        }
        self.stack.push(Open {
            mark,
            anchor,
            content,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fatal> {
        let Some(Open {
            mark,
            anchor,
            content,
        }) = self.stack.pop()
        else {
            return Ok(());
        };
        let node = match content {
            Content::List(items) => Node::list(mark, items),
            Content::Section { entries, .. } => Node::section(mark, self.merged(entries)),
        };
        // Its children have been counted.
        self.count(mark, 1)?;
        self.place(anchor, node);
        Ok(())
    }

    fn alias(&mut self, mark: Mark, id: usize) -> Result<(), Fatal> {
        let Some(node) = self.anchors.get(&id) else {
            self.sink.error(mark, Problem::AliasOfItself);
            return self.add(0, Node::leaf(mark, Value::Null));
        };
        if self.stack.len() + node.height > MAX_DEPTH {
            return Err((mark, Problem::TooDeep { limit: MAX_DEPTH }));
        }
        let nodes = node.nodes;
        self.count(mark, nodes)?;
        let node = self.anchors[&id].clone();
        self.place(0, node);
        Ok(())
    }

    fn add(&mut self, anchor: usize, node: Node) -> Result<(), Fatal> {
        self.count(node.mark, 1)?;
        self.place(anchor, node);
        Ok(())
    }

    fn count(&mut self, mark: Mark, nodes: usize) -> Result<(), Fatal> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            Err((mark, Problem::TooMany { limit: MAX_NODES }))
        } else {
            Ok(())
        }
    }

    /// Puts a finished node where it belongs: a list's next item, a section's next key or value, or the root.
    fn place(&mut self, anchor: usize, node: Node) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Section { entries, key }) => match key.take() {
                Some(key) => entries.push(Entry { key, value: node }),
                None => *key = Some(as_key(node, self.sink)),
            },
        }
    }

    /// The entries of a section with `<<` resolved and every key once. An own key outdoes a merged one.
    fn merged(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut lines: HashMap<String, usize> = HashMap::new();
        let own = self.unique(entries, &mut lines);
        let mut all = Vec::with_capacity(own.len());
        for entry in own {
            if entry.key.text != MERGE {
                all.push(entry);
                continue;
            }
            match entry.value.value {
                Value::List(sources) => sources
                    .into_iter()
                    .for_each(|source| self.merge(source, &mut lines, &mut all)),
                _ => self.merge(entry.value, &mut lines, &mut all),
            }
        }
        all
    }

    /// The first entry of each key; the others are reported. `lines` gets the line of each.
    fn unique(&mut self, mut entries: Vec<Entry>, lines: &mut HashMap<String, usize>) -> Vec<Entry> {
        entries.retain(|Entry { key, .. }| match lines.entry(key.text.clone()) {
            Slot::Vacant(slot) => {
                slot.insert(key.mark.line);
                true
            }
            Slot::Occupied(first) => {
                let problem = Problem::DuplicateKey {
                    key: short(&key.text),
                    first: *first.get(),
                };
                self.sink.error(key.mark, problem);
                false
            }
        });
        entries
    }

    /// Adds the entries of a section whose keys are not taken.
    fn merge(&mut self, source: Node, taken: &mut HashMap<String, usize>, into: &mut Vec<Entry>) {
        let Value::Section(entries) = source.value else {
            let found = source.describe();
            self.sink.error(source.mark, Problem::MergeOfNothing { found });
            return;
        };
        for entry in entries {
            if let Slot::Vacant(slot) = taken.entry(entry.key.text.clone()) {
                slot.insert(entry.key.mark.line);
                into.push(entry);
            }
        }
    }
}

fn mark(span: &Span) -> Mark {
    let one_line = span.start.line() == span.end.line();
    let len = if one_line {
        span.end.index().saturating_sub(span.start.index())
    } else {
        1
    };
    Mark {
        len: len.max(1),
        ..point(&span.start)
    }
}

fn scalar(mark: Mark, text: &str, style: ScalarStyle) -> Node {
    let plain = matches!(style, ScalarStyle::Plain);
    let value = match text {
        "" | "~" | "null" if plain => Value::Null,
        _ => Value::Scalar(Scalar {
            text: text.to_owned(),
            plain,
        }),
    };
    Node::leaf(mark, value)
}

fn as_key(node: Node, sink: &mut Sink) -> Key {
    let Node {
        mark,
        value: Value::Scalar(scalar),
        ..
    } = node
    else {
        sink.error(
            node.mark,
            Problem::KeyNotText {
                found: node.describe(),
            },
        );
        return Key {
            text: String::new(),
            mark: node.mark,
        };
    };
    Key {
        text: scalar.text,
        mark,
    }
}
