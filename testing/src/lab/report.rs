//! Lines that a test run shows even when everything passes: measurements, and which cases ran.

use std::fmt::Display;
use std::io::{Write, stderr};

/// Shows `line`. The test runner holds back what is printed; it does not hold back what is written.
pub fn report(line: impl Display) {
    // Without a standard error nobody is there to read it.
    let _ = writeln!(stderr(), "{line}");
}
