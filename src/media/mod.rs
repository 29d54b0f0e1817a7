//! The media plane: the calls, the shards that carry their packets, and the handle by which others reach them.

pub mod direct;
pub mod mux;
pub mod shared;
