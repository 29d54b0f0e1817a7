//! What the lab needs from the machine, checked before anything is started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::{Error, Result};

/// Where `libjs-janus-gateway` and `libjs-webrtc-adapter` put the scripts that the test page loads.
pub(super) const PAGE_SCRIPTS: [&str; 2] = [
    "/usr/share/javascript/janus-gateway/janus.js",
    "/usr/share/javascript/webrtc-adapter/adapter.js",
];
/// The recording that `janus` ships, played on the video mountpoint.
pub(super) const RECORDING: &str = "/usr/share/janus/recordings/rec-sample-video.mjr";

/// Where `janus-demos` puts its pages.
pub(super) const DEMOS: &str = "/usr/share/janus/demos";

const PROGRAMS: [&str; 8] = [
    "ip",
    "nft",
    "tcpdump",
    "janus",
    "chromium",
    "firefox-esr",
    "node",
    "certutil",
];

/// The directory of the browser driver, its npm packages and the test page.
pub(super) fn browser_directory() -> PathBuf {
    // As cargo says it at run time where it does: checkouts that share a target directory share what is
    // compiled in.
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("browser")
}

/// Fails with one line that names everything missing and how to get it.
pub(super) fn check() -> Result<()> {
    let mut missing: Vec<String> = PROGRAMS
        .iter()
        .filter(|name| !on_path(name))
        .map(|&name| name.to_owned())
        .collect();
    missing.extend(
        PAGE_SCRIPTS
            .iter()
            .chain([&RECORDING, &DEMOS])
            .filter(|f| !Path::new(f).exists())
            .map(|&f| f.to_owned()),
    );
    if !browser_directory().join("node_modules").exists() {
        missing.push("testing/browser/node_modules".to_owned());
    }
    if !missing.is_empty() {
        return Err(Error::new(format!(
            "missing: {}; run `testing/setup.sh` as root",
            missing.join(", ")
        )));
    }
    if !may_make_namespaces() {
        return Err(Error::new(
            "making network namespaces needs root: run the tests as root",
        ));
    }
    Ok(())
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // iproute2 and tcpdump live in the sbin directories, which a user's PATH may lack.
    env::split_paths(&path)
        .any(|directory| fs::metadata(directory.join(program)).is_ok_and(|file| file.is_file()))
}

fn may_make_namespaces() -> bool {
    Command::new("unshare")
        .args(["--net", "true"])
        .output()
        .is_ok_and(|output| output.status.success())
}
