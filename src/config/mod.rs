//! The configuration: `routes.yml` as written, checked, and turned into types that cannot be wrong.
//!
//! [`model`] is what the rest of the daemon sees.

pub mod model;

pub use model::*;
