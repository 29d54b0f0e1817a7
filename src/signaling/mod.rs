//! Finds the SDP and the ICE candidates in signalling messages and makes them point at xrtc.
//!
//! Pure functions on bytes. Bodies are recognised by what they hold, never by their content type: raw SDP, an SDP
//! fragment (RFC 8840 section 9), or JSON of any shape. Replacements are spliced in; every byte outside of them stays
//! as it came. This is no SDP or JSON library, and it judges no codec, direction or DTLS line.

mod addresses;
mod context;
mod description;
mod escape;
mod json;
mod kind;
mod outcome;
mod rewriter;

pub use context::{Context, Direction, Memory, ProxyCandidate};
pub use outcome::{Fact, Outcome, Refusal};
use rewriter::Rewriter;

use crate::sdp;

/// Whether a body may hold anything for [`rewrite`]: a cheap scan. `false`: it need not even be parsed.
#[must_use]
pub fn may_concern_ice(body: &[u8]) -> bool {
    [&b"v=0"[..], b"candidate", b"ufrag"]
        .iter()
        .any(|mark| body.windows(mark.len()).any(|window| window == *mark))
}

/// Rewrites one message: an HTTP body or a WebSocket text message.
///
/// Never fails: what is not understood, or must not be served, stays as it is (see [`Refusal`]).
#[must_use]
pub fn rewrite(cx: &mut Context<'_>, direction: Direction, body: &[u8]) -> Outcome {
    if !may_concern_ice(body) {
        return Outcome::default();
    }
    let mut rewriter = Rewriter {
        cx,
        direction,
        facts: Vec::new(),
        refusals: Vec::new(),
    };
    let changed = match std::str::from_utf8(body) {
        Ok(text) => {
            let edits = rewriter.message(text);
            (!edits.is_empty()).then(|| sdp::apply(text, &edits).into_bytes())
        }
        Err(_) => {
            let text = from_latin1(body);
            let edits = rewriter.message(&text);
            (!edits.is_empty()).then(|| to_latin1(&sdp::apply(&text, &edits)))
        }
    };
    Outcome {
        body: changed,
        facts: rewriter.facts,
        refusals: rewriter.refusals,
    }
}

/// Reads each byte as the character of that number, so that text in any other charset (old SDP has session names in
/// Latin-1) survives a rewrite: everything that is written is ASCII.
fn from_latin1(body: &[u8]) -> String {
    body.iter().map(|&byte| char::from(byte)).collect()
}

fn to_latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|char| u8::try_from(char).unwrap_or(b'?'))
        .collect()
}

#[cfg(test)]
mod tests;
