//! SDP as lines of text: what xrtc must know of a description, and edits that leave all else byte-identical.
