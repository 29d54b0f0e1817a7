//! Turns decisions about a description ("these credentials, these candidates, this address") into edits.
//!
//! What it may touch: `o=` (the address), `c=`, `m=` (the port), and the attributes ice-ufrag, ice-pwd, ice-options,
//! ice-lite, candidate, end-of-candidates, remote-candidates and rtcp. Nothing else.

use std::net::{IpAddr, SocketAddr};

use super::description::{Description, Section, is_zero};
use super::edit::Edit;
use super::line::Line;

/// What happens to `a=ice-lite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lite {
    /// Left as it is.
    Keep,
    /// Said at session level.
    Ensure,
    /// Not said.
    Remove,
}

/// What takes the place of one section's ICE lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// For its own ice-ufrag; `None`: kept.
    pub ufrag: Option<String>,
    /// For its own ice-pwd; `None`: kept.
    pub pwd: Option<String>,
    /// For all its candidates: `candidate:…` without `a=`. Empty: it gets none.
    pub candidates: Vec<String>,
    /// The default address, for `c=`, the port of `m=`, and `a=rtcp`.
    pub default: SocketAddr,
}

/// All decisions about one description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<'p> {
    /// One for each of [`Description::sections`].
    pub sections: Vec<Replacement>,
    /// Sections that get candidates get `a=end-of-candidates` as well. Existing ones stay in either case.
    pub end_of_candidates: bool,
    /// `a=ice-lite`.
    pub lite: Lite,
    /// Tokens to take out of `a=ice-options`.
    pub drop_options: &'p [&'p str],
}

impl Plan<'_> {
    /// The edits that carry the plan out, sorted and disjoint, without those that would change nothing.
    #[must_use]
    pub fn edits(&self, text: &str, sdp: &Description<'_>) -> Vec<Edit> {
        let mut draft = Draft::default();
        for (section, new) in sdp.sections.iter().zip(&self.sections) {
            let anchor = anchor(sdp, section);
            for index in section.lines.clone() {
                if anchor != Anchor::At(index) {
                    self.line(&sdp.lines[index], new, index, &mut draft);
                }
            }
            self.candidates(sdp, section, new, anchor, &mut draft);
        }
        if self.lite == Lite::Ensure && !sdp.sections[0].lite {
            draft.edits.extend(lite(sdp));
        }
        draft.finish(text, sdp)
    }

    fn line(&self, line: &Line<'_>, new: &Replacement, index: usize, draft: &mut Draft) {
        let drops = line.attribute("candidate").is_some()
            || line.attribute("remote-candidates").is_some()
            || self.lite == Lite::Remove && line.is_flag("ice-lite");
        if drops {
            draft.dropped.push(index);
        } else if let Some(options) = line.attribute("ice-options") {
            match self.options(options) {
                Some(kept) if kept.is_empty() => draft.dropped.push(index),
                Some(kept) => draft.edits.push(Edit::new(line.span_of(options), kept)),
                None => {}
            }
        } else {
            let part = credential(line, new).or_else(|| address(line, new.default));
            draft
                .edits
                .extend(part.map(|(part, text)| Edit::new(line.span_of(part), text)));
        }
    }

    /// The option tokens that stay, or `None` if all do.
    fn options(&self, options: &str) -> Option<String> {
        let goes = |token: &&str| self.drop_options.contains(token);
        options
            .split_ascii_whitespace()
            .any(|token| goes(&token))
            .then(|| {
                let kept: Vec<_> = options
                    .split_ascii_whitespace()
                    .filter(|token| !goes(token))
                    .collect();
                kept.join(" ")
            })
    }

    /// The lines of a section's candidates.
    fn block(&self, section: &Section<'_>, new: &Replacement) -> Vec<String> {
        let mut block: Vec<_> = new.candidates.iter().map(|line| format!("a={line}")).collect();
        if self.end_of_candidates && !section.end_of_candidates && !block.is_empty() {
            block.push("a=end-of-candidates".to_owned());
        }
        block
    }

    fn candidates(
        &self,
        sdp: &Description<'_>,
        section: &Section<'_>,
        new: &Replacement,
        anchor: Anchor,
        draft: &mut Draft,
    ) {
        let block = self.block(section, new);
        match anchor {
            Anchor::At(index) if block.is_empty() => draft.dropped.push(index),
            _ if block.is_empty() => {}
            Anchor::At(index) => {
                let line = &sdp.lines[index];
                draft
                    .edits
                    .push(Edit::new(line.span(), block.join(eol(sdp, line))));
            }
            Anchor::Before(index) => draft.edits.push(before(sdp, index, &block)),
            Anchor::After(index) => draft.edits.push(after(sdp, index, &block)),
        }
    }
}

/// Where a section's candidates go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anchor {
    /// In place of this line, its first candidate.
    At(usize),
    /// Before this line, its end-of-candidates: what comes after that is ignored by some agents.
    Before(usize),
    /// After this line, its last that is not blank.
    After(usize),
}

fn anchor(sdp: &Description<'_>, section: &Section<'_>) -> Anchor {
    let find =
        |test: &dyn Fn(&Line<'_>) -> bool| section.lines.clone().find(|&index| test(&sdp.lines[index]));
    if let Some(index) = find(&|line| line.attribute("candidate").is_some()) {
        return Anchor::At(index);
    }
    if let Some(index) = find(&|line| line.is_flag("end-of-candidates")) {
        return Anchor::Before(index);
    }
    let last = section
        .lines
        .clone()
        .rev()
        .find(|&index| !sdp.lines[index].content.is_empty());
    Anchor::After(last.unwrap_or(section.lines.start))
}

/// How lines beside this one are to end.
fn eol(sdp: &Description<'_>, line: &Line<'_>) -> &'static str {
    line.eol().unwrap_or(sdp.eol)
}

fn before(sdp: &Description<'_>, index: usize, block: &[String]) -> Edit {
    let line = &sdp.lines[index];
    let eol = eol(sdp, line);
    Edit::new(line.start..line.start, block.join(eol) + eol)
}

/// Inserts lines after a line; a missing last newline stays missing.
fn after(sdp: &Description<'_>, index: usize, block: &[String]) -> Edit {
    let line = &sdp.lines[index];
    let eol = eol(sdp, line);
    let block = block.join(eol);
    let text = if line.eol().is_some() {
        block + eol
    } else {
        eol.to_owned() + &block
    };
    Edit::new(line.next..line.next, text)
}

/// Adds `a=ice-lite`: at the end of the session part, but at the head of a fragment, whose session part may be empty
/// or all there is.
fn lite(sdp: &Description<'_>) -> Option<Edit> {
    let block = ["a=ice-lite".to_owned()];
    let session = sdp.sections[0].lines.clone();
    let last = session.rev().find(|&index| !sdp.lines[index].content.is_empty());
    match last {
        Some(index) if !sdp.is_fragment => Some(after(sdp, index, &block)),
        _ => (!sdp.lines.is_empty()).then(|| before(sdp, 0, &block)),
    }
}

fn credential<'a>(line: &Line<'a>, new: &Replacement) -> Option<(&'a str, String)> {
    let replace = |name, new: &Option<String>| Some((line.attribute(name)?, new.clone()?));
    replace("ice-ufrag", &new.ufrag).or_else(|| replace("ice-pwd", &new.pwd))
}

/// The part of a line that names an address or port, and what replaces it.
fn address<'a>(line: &Line<'a>, default: SocketAddr) -> Option<(&'a str, String)> {
    if let Some(connection) = line.value('c') {
        return Some((connection, connection_data(default.ip())));
    }
    if let Some(origin) = line.value('o') {
        return Some((tail(origin, 3)?, connection_data(default.ip())));
    }
    if let Some(media) = line.value('m') {
        let port = media.split_ascii_whitespace().nth(1)?;
        let port = port.split_once('/').map_or(port, |(port, _count)| port);
        return (!is_zero(port)).then(|| (port, default.port().to_string()));
    }
    let rtcp = line.attribute("rtcp")?;
    let port = rtcp.split_ascii_whitespace().next()?;
    let shown = if is_zero(port) { 0 } else { default.port() };
    let text = match tail(rtcp, 1) {
        Some(_) => format!("{shown} {}", connection_data(default.ip())),
        None => shown.to_string(),
    };
    Some((rtcp, text))
}

/// What follows the first `words` words.
fn tail(text: &str, words: usize) -> Option<&str> {
    let mut rest = text;
    for _ in 0..words {
        rest = rest.trim_start().split_once([' ', '\t'])?.1;
    }
    let rest = rest.trim_start();
    (!rest.is_empty()).then_some(rest)
}

fn connection_data(ip: IpAddr) -> String {
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    format!("IN {family} {ip}")
}

#[derive(Default)]
struct Draft {
    edits: Vec<Edit>,
    dropped: Vec<usize>,
}

impl Draft {
    fn finish(mut self, text: &str, sdp: &Description<'_>) -> Vec<Edit> {
        self.dropped.sort_unstable();
        for run in self.dropped.chunk_by(|a, b| a + 1 == *b) {
            self.edits.extend(drop_run(sdp, run));
        }
        self.edits
            .retain(|edit| text.get(edit.range.clone()) != Some(edit.text.as_str()));
        // An insertion comes before what replaces or drops the text that follows it.
        self.edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
        self.edits
    }
}

/// Takes neighbouring lines out. The last of a text without a last newline takes the newline before it along.
fn drop_run(sdp: &Description<'_>, run: &[usize]) -> Option<Edit> {
    let (first, last) = (&sdp.lines[*run.first()?], &sdp.lines[*run.last()?]);
    let before = run[0].checked_sub(1).map(|index| sdp.lines[index].end());
    let start = before.filter(|_| last.eol().is_none()).unwrap_or(first.start);
    Some(Edit::new(start..last.next, ""))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
