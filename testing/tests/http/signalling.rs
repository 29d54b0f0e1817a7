//! Signalling that passes through: found in bodies and messages, rewritten, and described anew.
