//! What can be wrong with a configuration, and how it is shown: each mistake with its place, the line, a caret, and
//! what was expected.
//!
//! A [`Problem`] says what; a [`Mark`] says where; [`Errors`] is all of them for one file.

use std::fmt;

use super::certificates::CertificateError;

/// A file with more mistakes than this is told of the first ones, and how many more there are.
const MAX_ERRORS: usize = 100;
/// Characters of a source line that are shown.
const LINE_WIDTH: usize = 120;

/// A place in the file. Line and column count from 1, in characters; line 0 stands for the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub len: usize,
}

/// A mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file cannot be opened, read or decoded.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The file is too long to be a configuration.
    #[error("is longer than {limit} bytes")]
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// Nothing in it but blanks and comments.
    #[error("is empty; expected at least `services:`")]
    Empty,
    /// It is not YAML.
    #[error("not YAML here: {0}")]
    Syntax(String),
    /// A tab where YAML wants spaces.
    #[error("a tab; YAML is indented with spaces")]
    Tab,
    /// A second `---`.
    #[error("a second document; expected one only")]
    SeveralDocuments,
    /// Nested beyond any sense.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// Levels.
        limit: usize,
    },
    /// Too many values, counting what aliases repeat.
    #[error("more than {limit} values, counting each use of an alias")]
    TooMany {
        /// Values.
        limit: usize,
    },
    /// `*name` without an earlier `&name`.
    #[error("no anchor `&{0}` stands before this alias; put a text that begins with `*` in quotes")]
    UnknownAlias(String),
    /// `&a [*a]`
    #[error("an alias inside of what it stands for")]
    AliasOfItself,
    /// `!tag`
    #[error("a tag; expected a plain value")]
    Tag,
    /// A list or section as a key.
    #[error("expected a word as the key, found {found}")]
    KeyNotText {
        /// What is there.
        found: String,
    },
    /// `<<:` with something that has no keys.
    #[error("expected a section or a list of sections to merge, found {found}")]
    MergeOfNothing {
        /// What is there.
        found: String,
    },
    /// A key, service or route that is there already.
    #[error("duplicate key `{key}`; the first is in line {first}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Line of the first.
        first: usize,
    },
    /// A key that means nothing here.
    #[error("unknown key `{key}`; {hint}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The nearest known key, or all of them.
        hint: String,
    },
    /// A key that belongs to services of another kind.
    #[error("`{key}` is not for `proto: {proto}`")]
    NotForProto {
        /// The key.
        key: &'static str,
        /// The service's kind.
        proto: &'static str,
    },
    /// A value of the wrong kind or out of range.
    #[error("expected {expected}, found {found}{}", after_semicolon(.hint))]
    Value {
        /// What would be right.
        expected: String,
        /// What is there.
        found: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// A key that must be there.
    #[error("{what} has no `{key}`")]
    MissingKey {
        /// The service or route.
        what: String,
        /// The key.
        key: &'static str,
    },
    /// An upstream group without servers.
    #[error("upstream `{0}` has no servers")]
    NoServers(String),
    /// A route to a group that is not there.
    #[error("unknown upstream `{name}`; {hint}")]
    UnknownUpstream {
        /// The name.
        name: String,
        /// The nearest group, and how to mean a host.
        hint: String,
    },
    /// `http://group:port` or `http://group/path`
    #[error("`{name}` is an upstream group: its URL takes no {part}{}", after_semicolon(.hint))]
    GroupUrl {
        /// The group.
        name: String,
        /// `port` or `path`.
        part: &'static str,
        /// How it is done.
        hint: Option<String>,
    },
    /// Two listeners on one address.
    #[error("{transport} {addr} is taken by {other} (line {line})")]
    PortTaken {
        /// `tcp` or `udp`.
        transport: &'static str,
        /// The address as it would be listened on.
        addr: String,
        /// Who has it.
        other: String,
        /// Where that is written.
        line: usize,
    },
    /// A named file that is not there.
    #[error("no such file: {0}")]
    NoSuchFile(String),
    /// The static files would include a secret.
    #[error("everyone could download {0} from here; put it elsewhere")]
    SecretInRoot(String),
    /// A certificate without its key, or a key without its certificate.
    #[error("`{given}` without `{missing}`")]
    HalfPair {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// A certificate or key that TLS cannot be served with.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// `match: all` with no condition would match everything.
    #[error("route `{0}` asks for all of its conditions and has none; expected `hosts`, `protos` or `paths`")]
    MatchAllOfNothing(String),
    /// Two routes whose sealed names are equal.
    #[error("route `{tag}` gets the same id as route {other}; rename one of them")]
    RouteIdTaken {
        /// The route.
        tag: String,
        /// `service/tag` of the other.
        other: String,
    },
}

fn after_semicolon(hint: &Option<String>) -> String {
    hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"))
}

impl Problem {
    /// The same, with what was probably meant if that is known.
    pub(super) fn meaning(mut self, meant: Option<String>) -> Self {
        if let Self::Value { hint, .. } = &mut self
            && meant.is_some()
        {
            *hint = meant;
        }
        self
    }
}

/// A mistake and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub mark: Mark,
    /// What.
    pub problem: Problem,
}

/// All mistakes of one file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    file: String,
    errors: Vec<(Error, SourceLine)>,
    more: usize,
}

/// What is shown of a source line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SourceLine {
    text: String,
    /// What stands left of the caret, as blanks.
    indent: String,
    carets: usize,
}

impl Errors {
    /// One mistake of the file as a whole.
    pub(super) fn of_file(file: &str, problem: Problem) -> Self {
        let mark = Mark::default();
        Self {
            file: file.to_owned(),
            errors: vec![(Error { mark, problem }, SourceLine::default())],
            more: 0,
        }
    }

    /// The mistakes (at most 100).
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.errors.iter().map(|(error, _)| error)
    }

    /// How many there are in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.errors.len() + self.more
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (Error { mark, problem }, source) in &self.errors {
            if mark.line == 0 {
                writeln!(f, "{}: {problem}", self.file)?;
                continue;
            }
            writeln!(f, "{}:{}:{}: {problem}", self.file, mark.line, mark.column)?;
            let number = mark.line.to_string();
            let gutter = " ".repeat(number.len());
            writeln!(f, " {number} | {}", source.text)?;
            writeln!(f, " {gutter} | {}{}", source.indent, "^".repeat(source.carets))?;
        }
        if self.more > 0 {
            writeln!(f, "... and {} more", self.more)?;
        }
        match self.count() {
            1 => write!(f, "1 error"),
            n => write!(f, "{n} errors"),
        }
    }
}

/// Where the mistakes and warnings of a file come together.
#[derive(Debug, Default)]
pub(super) struct Sink {
    errors: Vec<Error>,
    more: usize,
    warnings: Vec<(Mark, String)>,
}

impl Sink {
    /// Notes a mistake. The same one twice (an alias used twice) counts once.
    pub(super) fn error(&mut self, mark: Mark, problem: Problem) {
        let error = Error { mark, problem };
        if self.is_full() {
            self.more += 1;
        } else if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Notes something that is allowed and yet hardly meant.
    pub(super) fn warn(&mut self, mark: Mark, text: String) {
        if self.warnings.len() < MAX_ERRORS && !self.warnings.contains(&(mark, text.clone())) {
            self.warnings.push((mark, text));
        }
    }

    /// Whether further mistakes are only counted, so that no work need go into their wording.
    pub(super) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The value, or `None` and its problem noted.
    pub(super) fn check<T>(&mut self, mark: Mark, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.error(mark, problem)).ok()
    }

    /// The warnings, in the order of the file.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.sort_by_key(|(mark, _)| *mark);
        warnings
            .into_iter()
            .map(|(mark, text)| format!("line {}: {text}", mark.line))
            .collect()
    }

    pub(super) fn into_errors(mut self, file: &str, text: &str) -> Errors {
        self.errors.sort_by_key(|error| error.mark);
        let lines = Lines::new(text);
        let errors = self.errors.into_iter().map(|error| {
            let source = lines.around(error.mark);
            (error, source)
        });
        Errors {
            file: file.to_owned(),
            errors: errors.collect(),
            more: self.more,
        }
    }
}

/// The lines of a text, as YAML counts them.
struct Lines<'t>(Vec<&'t str>);

impl<'t> Lines<'t> {
    /// YAML ends a line with LF, CR LF or CR (YAML 1.2.2 section 5.4).
    fn new(text: &'t str) -> Self {
        let lines = text
            .split('\n')
            .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
        Self(lines.collect())
    }

    /// The part of the line that the mark points into: at most [`LINE_WIDTH`] characters, controls made harmless.
    fn around(&self, mark: Mark) -> SourceLine {
        let line = mark
            .line
            .checked_sub(1)
            .and_then(|at| self.0.get(at))
            .copied()
            .unwrap_or_default();
        let column = mark.column.saturating_sub(1);
        let start = if column < LINE_WIDTH {
            0
        } else {
            column - LINE_WIDTH / 2
        };
        let mut rest = line.chars().skip(start);
        let shown = rest.by_ref().take(LINE_WIDTH);
        let mut text: String = shown
            .map(|c| {
                if c.is_control() && c != '\t' {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect();
        let mut indent: String = text
            .chars()
            .take(column - start)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let room = text.chars().count().saturating_sub(column - start);
        if start > 0 {
            text.insert(0, '…');
            indent.insert(0, ' ');
        }
        if rest.next().is_some() {
            text.push('…');
        }
        SourceLine {
            text,
            indent,
            carets: mark.len.min(room).max(1),
        }
    }
}
