//! The demo pages that Debian packages beside Janus (`janus-demos`), deployed as its README says: the pages and
//! scripts are the package's own files, by links, and only `settings.js` is the deployer's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Error, Result, Transport, WorkDir, prerequisites};

const SETTINGS: &str = "settings.js";

/// Two deployments of the pages below one root: `/rest/` and `/wss/`.
#[derive(Debug)]
pub struct Demos {
    /// What is to be served.
    pub root: PathBuf,
}

impl Demos {
    /// Makes them. The pages will talk to `/janus` of their own origin, or by WebSocket to its `/`.
    pub fn deploy(work: &WorkDir) -> Result<Self> {
        let root = work.join("demos");
        for transport in [Transport::Rest, Transport::WebSocket] {
            let directory = root.join(name(transport));
            fs::create_dir_all(&directory)?;
            for entry in fs::read_dir(prerequisites::DEMOS)? {
                let entry = entry?;
                if entry.file_name() != SETTINGS {
                    symlink(entry.path(), directory.join(entry.file_name()))?;
                }
            }
            fs::write(directory.join(SETTINGS), settings(transport)?)?;
        }
        // Browsers look for it there, whatever the page.
        symlink(
            Path::new(prerequisites::DEMOS).join("favicon.ico"),
            root.join("favicon.ico"),
        )?;
        Ok(Self { root })
    }

    /// The path of a page.
    #[must_use]
    pub fn path(transport: Transport, page: &str) -> String {
        format!("/{}/{page}.html", name(transport))
    }
}

fn name(transport: Transport) -> &'static str {
    match transport {
        Transport::Rest => "rest",
        Transport::WebSocket => "wss",
    }
}

/// The package's settings with another server, and with what they leave undefined though the pages use it.
fn settings(transport: Transport) -> Result<String> {
    const CHOICE: &str = "if(window.location.protocol === 'http:')";
    let text = fs::read_to_string(Path::new(prerequisites::DEMOS).join(SETTINGS))?;
    let server = match transport {
        Transport::Rest => r#""/janus""#,
        Transport::WebSocket => r#""wss://" + window.location.host + "/""#,
    };
    let (before, after) = text
        .split_once(CHOICE)
        .and_then(|(before, rest)| Some((before, rest.split_once("/janus\";\nelse")?.1)))
        .and_then(|(before, rest)| Some((before, rest.split_once("/janus\";\n")?.1)))
        .ok_or_else(|| Error::new("the package's settings.js is another one than is known here"))?;
    Ok(format!(
        "{before}server = {server};\nvar token = null, apisecret = null;\n{after}"
    ))
}
