//! What xrtc does with no configuration at all: a page whose call goes to the built-in echo server.

use std::thread;
use std::time::{Duration, Instant};

use xrtc_testing::lab::{Browser, BrowserKind, Error, PORT, Result, Topology, WorkDir, Xrtc};

const CALL: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(200);
const FRAMES: u64 = 10;

#[test]
fn both_browsers_complete_an_echo_call_on_the_second_start() {
    WorkDir::scope(echo_calls);
}

fn echo_calls(work: &WorkDir) -> Result<()> {
    let topology = Topology::proxied()?;
    let mut xrtc = Xrtc::start_embedded(&topology.proxy, work)?;
    // `make run` twice in a row: nothing of the first one may be in the way of the second.
    xrtc.kill()?;
    xrtc.start_again()?;
    for kind in BrowserKind::ALL {
        let mut browser = Browser::launch(kind, &topology.client, work, &Xrtc::origin())?;
        echo_call(&mut browser).map_err(|error| error.during(&format!("{kind} on the embedded default")))?;
    }
    Ok(())
}

fn echo_call(browser: &mut Browser) -> Result<()> {
    browser.open(&format!("{}/?autostart=1&source=pattern", Xrtc::origin()))?;
    let deadline = Instant::now() + CALL;
    loop {
        let stats = browser.evaluate("return await window.xrtcDemo.stats()")?;
        let number = |key: &str| stats[key].as_u64().unwrap_or_default();
        if number("framesDecoded") >= FRAMES && number("dataEchoes") > 0 {
            let remote = &stats["remoteCandidate"];
            let address = remote["address"].as_str().and_then(|text| text.parse().ok());
            assert!(
                address.is_some_and(|address| Topology::PROXY.contains(&address)),
                "{remote}"
            );
            assert_eq!(remote["port"], PORT, "{remote}");
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::new(format!(
                "no picture and data within {CALL:?}: {stats}"
            )));
        }
        thread::sleep(POLL);
    }
}
