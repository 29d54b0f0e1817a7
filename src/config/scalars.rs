//! Single values: truths, numbers, durations, words. Each parser takes exactly what it names and refuses the rest.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::errors::Problem;
use super::hints;
use super::nearest::nearest;
use super::section::choices;
use super::tree::{Node, Scalar, Value, quoted};

/// Longer waits are refused: adding them to a clock could overflow, and nobody means them.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);
const MAX_NAME: usize = 64;

/// "Expected this, found what the node is".
pub(super) fn unexpected(expected: impl Into<String>, node: &Node) -> Problem {
    Problem::Value {
        expected: expected.into(),
        found: node.describe(),
        hint: None,
    }
}

/// Any text, quoted or not, but not empty.
pub(super) fn text<'n>(node: &'n Node, expected: &str) -> Result<&'n str, Problem> {
    match &node.value {
        Value::Scalar(Scalar { text, .. }) if !text.is_empty() => Ok(text),
        _ => Err(unexpected(expected, node)),
    }
}

/// Text without quotes: in quotes, a number is a string.
fn plain<'n>(node: &'n Node, expected: &str) -> Result<&'n str, Problem> {
    match &node.value {
        Value::Scalar(Scalar { text, plain: true }) => Ok(text),
        _ => Err(unexpected(expected, node)),
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Result<bool, Problem> {
    const EXPECTED: &str = "`true` or `false`";
    match plain(node, EXPECTED) {
        Ok("true") => Ok(true),
        Ok("false") => Ok(false),
        _ => Err(unexpected(EXPECTED, node).meaning(hints::boolean(node))),
    }
}

/// A whole number within `range`.
pub(super) fn integer(node: &Node, range: RangeInclusive<usize>) -> Result<usize, Problem> {
    let expected = format!("a whole number from {} to {}", range.start(), range.end());
    let digits = plain(node, &expected).map_err(|problem| problem.meaning(hints::integer(node)))?;
    let number = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten();
    number
        .filter(|n| range.contains(n))
        .ok_or_else(|| unexpected(expected, node))
}

/// `300s`, `100ms`, `1h30m`, `.5s`, `2 days`: a number and a unit, repeated. From `least` to a year.
pub(super) fn duration(node: &Node, least: Duration) -> Result<Duration, Problem> {
    const EXPECTED: &str = "a duration with its unit, like `300s`, `100ms` or `1h30m`";
    let written = text(node, EXPECTED)?;
    let leading = if written.starts_with('.') { "0" } else { "" };
    let parsed = match written {
        "0" => Duration::ZERO,
        _ => humantime::parse_duration(&format!("{leading}{written}"))
            .map_err(|_| unexpected(EXPECTED, node).meaning(hints::duration(node)))?,
    };
    if (least..=MAX_DURATION).contains(&parsed) {
        return Ok(parsed);
    }
    let least = humantime::format_duration(least);
    Err(unexpected(format!("a duration from {least} to 366 days"), node))
}

/// One of some words, with what it stands for.
pub(super) fn choice<T: Copy>(node: &Node, words: &[(&str, T)]) -> Result<T, Problem> {
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let mut expected = choices(&names);
    let written = text(node, &expected)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == written) {
        return Ok(*value);
    }
    if let Some(near) = nearest(written, names) {
        expected = format!("{expected} (did you mean `{near}`?)");
    }
    Err(unexpected(expected, node))
}

/// A path of the file system, from `base` where it is relative.
pub(super) fn path(node: &Node, base: &Path) -> Result<PathBuf, Problem> {
    const EXPECTED: &str = "a file path";
    let written = text(node, EXPECTED)?;
    if written.contains('\0') {
        Err(unexpected(EXPECTED, node))
    } else {
        Ok(base.join(written))
    }
}

/// The name of a service or route: it stands in URLs, metrics and logs.
pub(super) fn name(name: &str) -> Result<(), Problem> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    let expected = format!("a name of up to {MAX_NAME} letters, digits, `-`, `_` and `.`");
    Err(Problem::Value {
        expected,
        found: quoted(name),
        hint: None,
    })
}
