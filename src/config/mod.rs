//! The configuration: `routes.yml` as written, checked, and turned into types that cannot be wrong.
//!
//! [`model`] is what the rest of the daemon sees. [`parse`] reads the YAML into a tree that knows its lines and
//! columns (`reader`, `tree`), walks it once by hand and collects every mistake on the way (`resolve` and its
//! parts), so that a file is judged whole: either a [`Config`], or [`Errors`] with all that is wrong.
//!
//! Nothing is guessed: an unknown key or an odd value is an error, never a default. The keys are described in
//! `deploy/routes.md`.

mod addresses;
mod certificates;
mod door;
mod errors;
mod hints;
mod keys;
mod limits;
mod listeners;
mod members;
mod nearest;
mod reader;
mod resolve;
mod routes;
mod scalars;
mod section;
mod services;
mod tree;
mod upstreams;
mod validity;

pub mod model;

#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::Path;

pub use certificates::{Certificate, CertificateError, expiry_notice, load_roots};
pub use errors::{Error, Errors, Mark, Problem};
pub use model::*;

/// Larger files are refused unread.
const MAX_BYTES: usize = 1 << 20;

/// What runs where no file is given.
const EMBEDDED: &str = include_str!("embedded.yml");

/// Reads a configuration. Relative paths in it start at `base`.
///
/// Touches the file system only to see whether the named directories exist and the certificates are fit for use.
///
/// # Errors
/// All mistakes of the text, in its order.
pub fn parse(text: &str, base: &Path) -> Result<Config, Errors> {
    parse_named(text, base, "routes.yml")
}

/// Reads the configuration file `path`. Relative paths in it start at its directory.
///
/// # Errors
/// All mistakes of the file, or why it cannot be read.
pub fn load(path: &Path) -> Result<Config, Errors> {
    let name = path.display().to_string();
    let base = path.parent().unwrap_or_else(|| Path::new(""));
    match read(path) {
        Ok(text) => parse_named(&text, base, &name),
        Err(problem) => Err(Errors::of_file(&name, problem)),
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Problem::Unreadable(error.to_string()))?;
    if bytes.len() > MAX_BYTES {
        return Err(Problem::TooLarge { limit: MAX_BYTES });
    }
    String::from_utf8(bytes).map_err(|_| Problem::Unreadable("it is not UTF-8 text".to_owned()))
}

fn parse_named(text: &str, base: &Path, name: &str) -> Result<Config, Errors> {
    if text.len() > MAX_BYTES {
        return Err(Errors::of_file(name, Problem::TooLarge { limit: MAX_BYTES }));
    }
    let mut sink = errors::Sink::default();
    let config = reader::read(text, &mut sink).map(|root| resolve::config(&root, base, &mut sink));
    match config {
        Some(config) if sink.is_empty() => Ok(config),
        _ => Err(sink.into_errors(name, text)),
    }
}

impl Config {
    /// The configuration of a daemon that was given none: the built-in demo behind port 6443.
    #[must_use]
    pub fn embedded(demo_port: u16) -> Self {
        let mut config =
            parse(EMBEDDED, Path::new("")).expect("the embedded text is fixed and a test parses it");
        for server in config.upstreams.iter_mut().flat_map(|group| &mut group.servers) {
            server.port = demo_port;
        }
        config
    }
}
