//! The same requests through xrtc, nginx and haproxy, compared field by field: what the client gets, and what the
//! upstream sees. Every difference is explained in [`reasons`], and all of them are told in `testing/reports/comparison.md`.
//!
//! It fails on a difference without a reason, on a reason without a difference, and if the document says otherwise
//! than what was seen. With `XRTC_WRITE_COMPARISON` set it writes the document.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod cases;
mod client;
mod document;
mod fields;
mod message;
mod origin;
mod proxies;
mod reasons;

use std::path::PathBuf;
use std::{env, fs};

use document::Difference;
use fields::Fields;
use proxies::Proxy;
use xrtc_testing::lab::WorkDir;

#[test]
fn every_difference_from_nginx_and_haproxy_is_known_and_has_a_reason() {
    let work = WorkDir::new().unwrap();
    let proxies = proxies::start(&work);
    let mut differences = Vec::new();
    for case in cases::ALL {
        let made: Vec<Option<Fields>> = proxies
            .iter()
            .map(|proxy| (!case.is_file || proxy.name != "haproxy").then(|| exchange(proxy, case)))
            .collect();
        differences.extend(Difference::between(case.name, &made));
    }
    let (document, problems) = document::write(&differences, cases::ALL.len());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("reports/comparison.md");
    if env::var_os("XRTC_WRITE_COMPARISON").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &document).unwrap();
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let told = fs::read_to_string(&path).unwrap_or_default();
    let news: Vec<&str> = document
        .lines()
        .filter(|line| !told.lines().any(|known| known == *line))
        .collect();
    let gone: Vec<&str> = told
        .lines()
        .filter(|line| !document.lines().any(|seen| seen == *line))
        .collect();
    assert!(
        news.is_empty() && gone.is_empty(),
        "testing/reports/comparison.md says otherwise.\nNew:\n{}\nGone:\n{}",
        news.join("\n"),
        gone.join("\n")
    );
}

fn exchange(proxy: &Proxy, case: &cases::Case) -> Fields {
    proxy.origin.prepare(case.answer);
    let got = client::ask(case, proxy.ports);
    fields::of(proxy, &got, &proxy.origin.seen())
}
