//! Finds the SDP and the ICE candidates in signalling messages and makes them point at xrtc.
//!
//! Pure functions on bytes. Bodies are recognised by what they hold, never by their content type: raw SDP, an SDP
//! fragment (RFC 8840 section 9), or JSON of any shape. Replacements are spliced in; every byte outside of them stays
//! as it came. This is no SDP or JSON library, and it judges no codec, direction or DTLS line.

mod context;
mod outcome;

pub use context::{Context, Direction, Memory, ProxyCandidate};
pub use outcome::{Fact, Outcome, Refusal};

/// Whether a body may hold anything for [`rewrite`]: a cheap scan. `false`: it need not even be parsed.
#[must_use]
pub fn may_concern_ice(body: &[u8]) -> bool {
    [&b"v=0"[..], b"candidate", b"ufrag"]
        .iter()
        .any(|mark| body.windows(mark.len()).any(|window| window == *mark))
}

/// Rewrites one message: an HTTP body or a WebSocket text message.
#[must_use]
pub fn rewrite(_cx: &mut Context<'_>, _direction: Direction, _body: &[u8]) -> Outcome {
    Outcome::default()
}
