//! The configuration as a user meets it: texts in, a `Config` or located errors out.

mod door;
mod golden;
mod pair;
mod problems;
mod robust;
mod sample;
mod values;

use std::path::Path;

use super::{Config, Errors, parse};

/// Where relative paths of the tests start.
fn base() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn ok(text: &str) -> Config {
    match parse(text, base()) {
        Ok(config) => config,
        Err(errors) => panic!("refused:\n{errors}"),
    }
}

fn refused(text: &str) -> Errors {
    match parse(text, base()) {
        Ok(config) => panic!("accepted: {config:#?}"),
        Err(errors) => errors,
    }
}

/// Each error as `line:column message`.
fn located(text: &str) -> Vec<String> {
    let line = |error: &super::Error| format!("{}:{} {}", error.mark.line, error.mark.column, error.problem);
    refused(text).iter().map(line).collect()
}
