//! Walks one message: what kind of text it is, what is inside, and what surrounds each find.

use std::collections::BTreeSet;

use super::addresses;
use super::context::{Context, Direction};
use super::description::{self, Hint};
use super::escape::Unescaped;
use super::json::{self, Document, Found, Object, Stop};
use super::kind::{self, Kind};
use super::outcome::{Fact, Refusal};
use crate::ice::Mode;
use crate::sdp::{Candidate, Edit};

/// JSON inside strings of JSON is entered this many times.
const MAX_NESTED: usize = 4;
/// A scope longer than this tells nothing apart.
const MAX_SCOPE: usize = 128;

/// The state of one walk.
pub(super) struct Rewriter<'c, 'a> {
    pub(super) cx: &'c mut Context<'a>,
    pub(super) direction: Direction,
    pub(super) facts: Vec<Fact>,
    pub(super) refusals: Vec<Refusal>,
}

impl Rewriter<'_, '_> {
    /// The edits for a text that is not inside any other.
    pub(super) fn message(&mut self, text: &str) -> Vec<Edit> {
        match Kind::of(text) {
            Some(kind) => self.text(text, kind, &Hint::default(), None, 0),
            None => Vec::new(),
        }
    }

    /// The edits for a text of a known kind. `ufrag` is what stands beside a candidate.
    fn text(&mut self, text: &str, kind: Kind, hint: &Hint, ufrag: Option<&str>, nested: usize) -> Vec<Edit> {
        let body = kind::body(text);
        let skipped = text.len() - body.len();
        match kind {
            Kind::Description => {
                match description::rewrite(self.cx, self.direction, body, hint, &mut self.facts) {
                    Ok(edits) => shifted(edits, skipped),
                    Err(refusal) => self.refuse(refusal),
                }
            }
            Kind::Candidate => shifted(self.candidate(body.trim_end(), hint, ufrag), skipped),
            Kind::Json(_) if nested > MAX_NESTED => self.refuse(Refusal::TooDeep),
            Kind::Json(start) => match json::scan(text, start) {
                Ok(document) => self.document(text, &document, hint, nested),
                Err(Stop::Malformed) => Vec::new(),
                Err(Stop::TooDeep) => self.refuse(Refusal::TooDeep),
                Err(Stop::TooMany) => self.refuse(Refusal::TooMany),
            },
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Vec<Edit> {
        self.refusals.push(refusal);
        Vec::new()
    }

    fn document(&mut self, text: &str, document: &Document, outer: &Hint, nested: usize) -> Vec<Edit> {
        let mut edits = Vec::new();
        let mut renamed = BTreeSet::new();
        for found in &document.found {
            let hint = hint(text, document, found, outer);
            let object = found.object.map(|index| &document.objects[index]);
            let is_candidate = matches!(found.kind, None | Some(Kind::Candidate));
            let siblings = object
                .filter(|_| is_candidate)
                .map(|object| siblings(text, object));
            let siblings = siblings.unwrap_or_default();
            if is_candidate && renamed.insert(found.object) {
                edits.extend(siblings.iter().filter_map(|sibling| self.sibling(sibling)));
            }
            if let Some(kind) = found.kind {
                let inner = found.text.as_str();
                let beside = siblings.first().map(Unescaped::as_str);
                let inside = self.text(inner, kind, &hint, beside, nested + 1);
                edits.extend(inside.iter().map(|edit| found.text.edit(edit)));
            }
        }
        edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
        edits
    }

    /// Renames the ufrag that stands beside a candidate.
    fn sibling(&mut self, ufrag: &Unescaped) -> Option<Edit> {
        let new = self.rename(ufrag.as_str());
        if new.is_none() {
            self.refusals.push(Refusal::UnknownUfrag);
        }
        let whole = 0..ufrag.as_str().len();
        new.filter(|new| new != ufrag.as_str())
            .map(|new| ufrag.edit(&Edit::new(whole, new)))
    }

    /// What the other side knows a ufrag as; `None` if it knows it not.
    fn rename(&mut self, ufrag: &str) -> Option<String> {
        let cx = &mut *self.cx;
        match (cx.mode, self.direction) {
            (Mode::Direct, _) => Some(ufrag.to_owned()),
            (Mode::Hijack, Direction::ToServer) => Some(cx.keys.server_facing(cx.route, ufrag, None).ufrag),
            (Mode::Hijack, Direction::ToClient) => cx.memory.token_of(cx.route, ufrag),
        }
    }

    /// The edit for one candidate line, without blanks around it. It always becomes ours, allowed or not: no address passes.
    fn candidate(&mut self, line: &str, hint: &Hint, beside: Option<&str>) -> Vec<Edit> {
        let candidate = Candidate::parse(line);
        let named = candidate.and_then(|candidate| candidate.ufrag);
        let renamed = named.and_then(|ufrag| self.rename(ufrag));
        let ours = match self.direction {
            Direction::ToServer => {
                let seen = beside.or(named).and_then(|ufrag| self.rename(ufrag));
                (self.cx.server_leg)(seen.as_deref().unwrap_or_default())
                    .map(|addr| addresses::server_line(addr, renamed.as_deref()))
                    .ok_or(Refusal::NoServerLeg)
            }
            Direction::ToClient => {
                if let Some(candidate) = candidate {
                    self.note(&candidate, hint, beside);
                }
                let protocol = candidate.map(|candidate| candidate.protocol);
                addresses::trickled_line(self.cx.client_candidates, protocol, renamed.as_deref())
                    .ok_or(Refusal::NoClientCandidate)
            }
        };
        match ours {
            Ok(ours) => {
                let prefix = if line.starts_with("a=") { "a=" } else { "" };
                let edit = Edit::new(0..line.len(), format!("{prefix}{ours}"));
                if edit.text == line { Vec::new() } else { vec![edit] }
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Takes down what a server trickled.
    fn note(&mut self, candidate: &Candidate<'_>, hint: &Hint, beside: Option<&str>) {
        let Some(address) = addresses::dialable(candidate) else {
            return;
        };
        if (self.cx.permits)(address.addr) {
            self.facts.push(Fact::ServerCandidate {
                scope: hint.scope.clone(),
                ufrag: beside.or(candidate.ufrag).map(str::to_owned),
                candidate: address,
            });
        } else {
            self.refusals.push(Refusal::ServerNotAllowed);
        }
    }
}

/// Edits of the rest of a text, as edits of the whole.
fn shifted(mut edits: Vec<Edit>, skipped: usize) -> Vec<Edit> {
    for edit in &mut edits {
        edit.range.start += skipped;
        edit.range.end += skipped;
    }
    edits
}

/// The values of `usernameFragment` and `ufrag` of an object, where there are any.
fn siblings(text: &str, object: &Object) -> Vec<Unescaped> {
    let spans = object.ufrags.iter().flatten();
    spans
        .filter(|span| text[..span.start].ends_with('"'))
        .filter_map(|span| Unescaped::new(text, span.clone()))
        .collect()
}

fn hint(text: &str, document: &Document, found: &Found, outer: &Hint) -> Hint {
    let object = found.object.map(|index| &document.objects[index]);
    let kind = object
        .and_then(|object| object.kind.clone())
        .map(|span| &text[span]);
    let offer = match kind {
        Some("offer") => Some(true),
        Some("answer" | "pranswer") => Some(false),
        _ => None,
    };
    let around = std::iter::successors(object, |object| {
        object.parent.map(|index| &document.objects[index])
    });
    let scope = around.into_iter().find_map(|object| scope(text, object));
    Hint {
        offer: offer.or(outer.offer),
        scope: scope.or_else(|| outer.scope.clone()),
    }
}

/// `session:handle`, where an object has both.
fn scope(text: &str, object: &Object) -> Option<String> {
    let session = object.session.clone()?;
    let handle = object.handles.iter().flatten().next()?.clone();
    (session.len() + handle.len() < MAX_SCOPE).then(|| format!("{}:{}", &text[session], &text[handle]))
}
