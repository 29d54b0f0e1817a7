//! The law of dependencies between the daemon's modules, the purity of its core, and the form of its files.
//!
//! It reads the sources as text: paths that start with `crate::`, in `use` or elsewhere, outside comments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What a module may use of the others. `daemon` and the files beside the modules assemble, and may use all.
const LAW: [(&str, &[&str]); 10] = [
    ("wire", &[]),
    ("sdp", &[]),
    ("ice", &["wire"]),
    ("signaling", &["ice", "sdp"]),
    ("media", &["ice", "wire"]),
    ("config", &["ice"]),
    ("upstream", &["config"]),
    ("http", &["config", "ice", "signaling", "upstream", "wire"]),
    ("admin", &["ice"]),
    ("demo", &[]),
];
const ASSEMBLY: &str = "daemon";

/// Modules that get time, bytes and entropy as arguments.
const PURE: [&str; 4] = ["ice", "sdp", "signaling", "wire"];
/// What would make them impure.
const IMPURE: [&str; 18] = [
    "tokio",
    "mio",
    "socket2",
    "libc",
    "hyper",
    "getrandom",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "Instant::now",
    "SystemTime",
    "Mutex",
    "RwLock",
    "RandomState",
];

const MAX_LINES: usize = 600;

#[test]
fn modules_use_only_what_the_law_allows() {
    let law: BTreeMap<&str, &[&str]> = LAW.into();
    let mut violations = Vec::new();
    for (path, code) in sources() {
        let Some(module) = module_of(&path) else { continue };
        let Some(allowed) = law.get(module.as_str()) else {
            violations.push(format!(
                "{}: the law does not know the module `{module}`",
                path.display()
            ));
            continue;
        };
        for used in crate_paths(&code) {
            if used != module && !allowed.contains(&used.as_str()) {
                violations.push(format!("{}: `{module}` uses `{used}`", path.display()));
            }
        }
    }
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn the_pure_modules_have_no_clock_socket_lock_or_randomness() {
    let mut violations = Vec::new();
    for (path, code) in sources() {
        if module_of(&path).is_some_and(|module| PURE.contains(&module.as_str())) {
            let code = before_tests(&code);
            violations.extend(
                IMPURE
                    .iter()
                    .filter(|name| names(code, name))
                    .map(|name| format!("{}: `{name}`", path.display())),
            );
        }
    }
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn every_file_says_what_it_is_and_is_short() {
    let mut violations = Vec::new();
    for directory in ["src", "testing"] {
        for path in rust_files(&root().join(directory)) {
            let text = read(&path);
            if !text.starts_with("//! ") {
                violations.push(format!("{}: does not start with `//!`", path.display()));
            }
            let lines = text.lines().count();
            if lines > MAX_LINES {
                violations.push(format!("{}: {lines} lines", path.display()));
            }
        }
    }
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn the_scanner_sees_every_form_of_a_path() {
    let code = "use crate::wire::stun;\n\
                use crate::{ice::{token, path}, sdp};\nfn f() { crate::http::serve() }\n\
                // crate::demo\nlet url = \"x\"; // crate::admin\n";
    let expected = ["http", "ice", "sdp", "wire"].map(str::to_owned);
    assert_eq!(crate_paths(&without_comments(code)), BTreeSet::from(expected));
    assert!(names("use tokio::net;", "tokio"));
    assert!(!names("my_tokio_like", "tokio"));
    assert!(names("std::time::Instant::now()", "Instant::now"));
}

/// The daemon's own sources, comments removed, by path.
fn sources() -> Vec<(PathBuf, String)> {
    let files = rust_files(&root().join("src"));
    assert!(files.len() > 10, "the sources were not found");
    files
        .into_iter()
        .map(|path| (path.clone(), without_comments(&read(&path))))
        .collect()
}

/// The top-level module that `path` belongs to; `None` for those that assemble.
fn module_of(path: &Path) -> Option<String> {
    let relative = path
        .strip_prefix(root().join("src"))
        .expect("only files of src are asked for");
    let first = relative.components().next()?.as_os_str().to_str()?;
    (first != ASSEMBLY && !first.ends_with(".rs")).then(|| first.to_owned())
}

/// The top-level modules that `code` names in paths from the crate's root.
fn crate_paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        if code[..at].ends_with(is_identifier) {
            continue;
        }
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_members(group)),
            None => found.extend(identifier(rest)),
        }
    }
    found
}

/// The first identifiers of the members of a braced group, whose opening brace has been read.
fn group_members(group: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut depth = 0;
    let mut expects_member = true;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expects_member = true,
            _ if expects_member && is_identifier(character) => {
                members.extend(identifier(&group[at..]));
                expects_member = false;
            }
            _ => {}
        }
    }
    members
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c| !is_identifier(c)).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn is_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether `code` has `name` as whole identifiers.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        !code[..at].ends_with(is_identifier) && !code[at + name.len()..].starts_with(is_identifier)
    })
}

/// Tests of pure modules may do as they like; they are at the bottom, or in a file of their own.
fn before_tests(code: &str) -> &str {
    code.split("#[cfg(test)]\nmod tests {").next().unwrap_or(code)
}

fn without_comments(text: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned() + "\n";
    text.lines().map(code).collect()
}

fn root() -> PathBuf {
    // As cargo says it at run time where it does: checkouts that share a target directory share what is
    // compiled in.
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for path in entries.map(|entry| entry.expect("the directory can be listed").path()) {
        if path.is_dir() {
            let foreign = path
                .file_name()
                .is_some_and(|name| name == "node_modules" || name == "target");
            if !foreign {
                files.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
