//! SDP (RFC 8866) as lines of text: what xrtc must know of a description, and edits that leave all else byte-identical.
//!
//! Pure and lossless: mixed line ends, trailing blanks, unknown lines and a missing last newline stay as they came.
//! It understands the lines that carry ICE credentials, candidates and addresses (RFC 8839, 8840, 6544, 9143) and
//! nothing of codecs, directions or DTLS.

pub mod candidate;
pub mod description;
pub mod edit;
pub mod line;
pub mod plan;

pub use candidate::{Candidate, Protocol};
pub use description::{Description, IceCredentials, Oversize, Section};
pub use edit::{Edit, apply};
pub use plan::{Lite, Plan, Replacement};
