//! Bytes on the wire: what a packet or a new connection is, STUN messages, and the framing of ICE over TCP.
//!
//! Pure functions over borrowed bytes; depends on nothing else in the crate. Every input may be hostile: nothing here
//! panics on it, allocates in proportion to what it claims rather than to what it sent, or trusts a length field.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod demux;
pub mod frame;
pub mod sniff;
pub mod stun;

pub(crate) mod reader;
