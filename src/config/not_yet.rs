//! Keys that are read and checked, and whose behaviour is still to come. One warning names those that a file sets.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Entry, Node, Value};

/// The paths of such keys. `*` is any key; `*:tcp` any service of that `proto`.
pub(super) const NOT_YET: &[&str] = &["services.*:tcp.net.enable_ice", "services.*.http.routes.*.icetcp"];

/// Lines that are named per key; the rest is counted.
const MAX_LINES: usize = 3;

/// The one warning, if the file sets any of them (`false` sets nothing).
pub(super) fn warning(root: &Node) -> Option<String> {
    let mut found: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for pattern in NOT_YET {
        let key = pattern.rsplit('.').next().unwrap_or(pattern);
        collect(root, pattern, found.entry(key).or_default());
    }
    let set = found.iter().filter(|(_, lines)| !lines.is_empty());
    let named: Vec<String> = set.map(|(key, lines)| describe(key, lines)).collect();
    (!named.is_empty()).then(|| format!("accepted, but without effect yet: {}", named.join(", ")))
}

fn collect(node: &Node, path: &str, lines: &mut BTreeSet<usize>) {
    let Value::Section(entries) = &node.value else {
        return;
    };
    let (segment, rest) = path.split_once('.').unwrap_or((path, ""));
    for Entry { key, value } in entries.iter().filter(|entry| matches(segment, entry)) {
        if !rest.is_empty() {
            collect(value, rest, lines);
        } else if is_set(value) {
            lines.insert(key.mark.line);
        }
    }
}

fn matches(segment: &str, entry: &Entry) -> bool {
    match segment.strip_prefix("*:") {
        Some(proto) => entry.value.get("proto").is_some_and(|value| value.is_text(proto)),
        None => segment == "*" || segment == entry.key.text,
    }
}

fn is_set(value: &Node) -> bool {
    !matches!(value.value, Value::Null) && !value.is_text("false")
}

fn describe(key: &str, lines: &BTreeSet<usize>) -> String {
    let shown: Vec<String> = lines.iter().take(MAX_LINES).map(usize::to_string).collect();
    let more = lines.len().saturating_sub(MAX_LINES);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let noun = if lines.len() == 1 { "line" } else { "lines" };
    format!("`{key}` ({noun} {}{more})", shown.join(", "))
}
