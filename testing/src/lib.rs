//! The test lab.

pub mod sim;
