//! Hostile and broken texts: an answer in time, never a panic, never a flood.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Problem, parse};
use super::{located, refused};

/// Far more than any text of the permitted size takes in a debug build, far less than anything quadratic does.
const SOON: Duration = Duration::from_secs(5);

fn in_time(text: &str) -> String {
    let start = Instant::now();
    let told = parse(text, Path::new(""))
        .map(|_| ())
        .expect_err("not a configuration")
        .to_string();
    assert!(start.elapsed() < SOON, "{:?} for {:.20}", start.elapsed(), text);
    assert!(told.len() < 100_000, "{} bytes of errors", told.len());
    told
}

#[test]
fn deep_nesting_is_refused_at_once() {
    for unit in ["[", "{", "- ", "{a: ", "? ", "[{"] {
        in_time(&unit.repeat(100_000 / unit.len()));
    }
    let indented: String = (0..400).fold(String::new(), |mut text, depth| {
        let _ = writeln!(text, "{}a:", " ".repeat(depth));
        text
    });
    assert!(in_time(&indented).contains("nested deeper than 32 levels"));
}

#[test]
fn aliases_cannot_multiply() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let _ = writeln!(
            text,
            "a{n}: &a{n} [{}]",
            vec![format!("*a{}", n - 1); 10].join(", ")
        );
    }
    assert!(in_time(&text).contains("more than 50000 values, counting each use of an alias"));
    let chain: String = (1..40).fold("a0: &a0 [x]\n".to_owned(), |mut text, n| {
        let _ = writeln!(text, "a{n}: &a{n} [*a{}]", n - 1);
        text
    });
    assert!(in_time(&chain).contains("nested deeper than 32 levels"));
}

#[test]
fn long_texts_of_one_kind_take_no_quadratic_time() {
    let many = |unit: &dyn Fn(usize) -> String| (0..20_000).map(unit).collect::<String>();
    in_time(&many(&|n| format!("k{n}: 1\n")));
    in_time(&many(&|_| "k: 1\n".to_owned()));
    in_time(&format!(
        "services:\n{}",
        many(&|n| format!("  s{n}: {{prot: x}}\n"))
    ));
    in_time(&format!("services:\n{}", many(&|n| format!("  s{n}: \n"))));
    in_time(&format!("a: [{}", many(&|_| "x, ".to_owned())));
    in_time(&format!("a: \"{}", "x".repeat(1_000_000)));
    in_time(&format!("{}: 1", "x".repeat(1_000_000)));
    in_time(&format!("services: {}", "x".repeat(1_000_000)));
    in_time(&"\n".repeat(1_000_000));
    in_time(&"#\n".repeat(500_000));
    in_time(&"&a ".repeat(300_000));
}

#[test]
fn only_the_first_hundred_mistakes_are_told() {
    let text: String = (0..500).map(|n| format!("key{n}: 1\n")).collect();
    let told = refused(&text);
    assert_eq!((told.iter().count(), told.count()), (100, 500));
    assert!(told.to_string().ends_with("... and 400 more\n500 errors"));
}

#[test]
fn an_aliased_mistake_is_told_once_where_it_stands() {
    let text = "services:\n  a: &a {proto: upstream, servers: [x]}\n  b: *a\n  c: *a\n";
    assert_eq!(located(text).len(), 1);
    assert!(located(text)[0].starts_with("2:37 "));
}

#[test]
fn what_is_shown_of_a_line_is_short_and_harmless() {
    let text = format!("services: \"\\u001b[2J{}\" # \u{7f}\u{1b}", "é".repeat(300));
    let told = refused(&text).to_string();
    assert!(told.chars().all(|c| c == '\n' || !c.is_control()), "{told:?}");
    let wide = format!("{{services: {{}},{}x: 1{}}}", " ".repeat(300), " ".repeat(300));
    let told = refused(&wide).to_string();
    let shown: Vec<&str> = told.lines().skip(1).take(2).collect();
    let line = format!(" 1 | …{}x: 1{}…", " ".repeat(60), " ".repeat(56));
    assert_eq!(shown, [line, format!("   | {}^", " ".repeat(61))]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gets_an_answer(text in "\\PC*|(.|\n){0,200}") {
        let _ = parse(&text, Path::new("")).map_err(|errors| errors.to_string());
    }

    /// Pieces of real files in any order reach further than characters do.
    #[test]
    fn any_pieces_get_an_answer(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let text = pieces.concat();
        if let Err(errors) = parse(&text, Path::new("")) {
            let lines = text.split(['\n', '\r']).count();
            for error in errors.iter() {
                prop_assert!(error.mark.line <= lines + 1, "{:?} of {lines}", error);
                prop_assert_ne!(&error.problem, &Problem::Unreadable(String::new()));
            }
            prop_assert!(errors.count() > 0 && errors.to_string().ends_with(['r', 's']));
        }
    }

    /// A valid file with one character changed is judged, and every error points into it.
    #[test]
    fn one_changed_character(at in 0..super::super::EMBEDDED.len(), c in any::<char>()) {
        let mut text: Vec<char> = super::super::EMBEDDED.chars().collect();
        text[at] = c;
        let text: String = text.into_iter().collect();
        if let Err(errors) = parse(&text, Path::new("")) {
            prop_assert!(errors.iter().all(|error| error.mark.line <= text.split(['\n', '\r']).count() + 1));
        }
    }
}

const PIECES: &[&str] = &[
    "services:",
    "\n",
    "\n  ",
    "\n    ",
    "\n      ",
    "\n        ",
    " ",
    "- ",
    ": ",
    ", ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "a",
    "b",
    "proto: ",
    "udp",
    "tcp",
    "http",
    "upstream",
    "net:",
    "addr: ",
    ":1",
    "servers: ",
    "http://a:1",
    "http://b",
    "&x ",
    "*x",
    "<<: ",
    "~",
    "true",
    "1s",
    "routes:",
    "paths: ",
    "/a",
    "hosts: ",
    "match: all",
    "!t ",
    "#",
    "|",
    ">",
    "\t",
    "---",
    "...",
    "%YAML 1.2",
    "\r",
    "\u{feff}",
    "é",
    "? ",
];
