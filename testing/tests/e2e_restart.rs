//! `kill -9` in mid-call and a restart with the same state directory: the calls go on by themselves, at once with the
//! snapshot that the daemon keeps, and with the client's next check if there is nothing but the key.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use xrtc_testing::lab::{
    Browser, BrowserKind, Call, CallKind, CallOptions, Error, Gaps, Janus, JanusOptions, Result, Topology,
    Transport, WorkDir, Xrtc, report,
};

/// What the restarted daemon finds in its state directory.
#[derive(Clone, Copy, Debug)]
enum Left {
    Snapshot,
    KeyOnly,
}

impl Left {
    /// For how long there may be no picture. With the key only the browser decides, which notices
    /// nothing: it waits for its own next check, and its decoder for frames that fell into the gap.
    fn allowance(self, kind: BrowserKind) -> Duration {
        match (self, kind) {
            (Self::Snapshot, BrowserKind::Chromium) => Duration::from_secs(3),
            (Self::Snapshot, BrowserKind::Firefox) => Duration::from_secs(7),
            (Self::KeyOnly, _) => Duration::from_secs(10),
        }
    }
}

/// Pictures that were in a jitter buffer at the kill may still be shown this long after it.
const BUFFERED: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

#[test]
fn calls_that_the_client_offered_survive() {
    WorkDir::scope(|work| calls_survive(CallKind::Echo, work));
}

#[test]
fn calls_that_the_server_offered_survive() {
    WorkDir::scope(|work| calls_survive(CallKind::Stream, work));
}

fn calls_survive(kind: CallKind, work: &WorkDir) -> Result<()> {
    let topology = Topology::proxied()?;
    let _janus = Janus::start(&topology.server, work, JanusOptions::default())?;
    let mut xrtc = Xrtc::start(&topology, work)?;
    let launch = |kind| Browser::launch(kind, &topology.client, work, &Xrtc::origin());
    let (mut chromium, mut firefox) = (launch(BrowserKind::Chromium)?, launch(BrowserKind::Firefox)?);
    let options = CallOptions {
        kind,
        page: Xrtc::page(),
        server: Xrtc::api("hijack", Transport::Rest),
    };
    let mut calls = Vec::new();
    for browser in [&mut chromium, &mut firefox] {
        let kind = browser.kind();
        let mut call = Call::start(browser, &options)?;
        call.prove()?;
        calls.push((kind, call));
    }
    let snapshot = work.join("state").join("calls");
    for left in [Left::Snapshot, Left::KeyOnly] {
        wait_for_news(&snapshot)?;
        restart(&mut xrtc, left, &snapshot, &mut calls)
            .map_err(|error| error.during(&format!("{kind} {left:?}")))?;
    }
    Ok(())
}

fn restart(
    xrtc: &mut Xrtc,
    left: Left,
    snapshot: &Path,
    calls: &mut [(BrowserKind, Call<'_>)],
) -> Result<()> {
    let mut given = Vec::new();
    for (_, call) in calls.iter_mut() {
        given.push(call.stats()?.received.len());
    }
    // The clocks last: the time between them and the kill counts as the proxy's.
    let mut clocks = Vec::new();
    for (_, call) in calls.iter_mut() {
        clocks.push(call.now()?);
    }
    let killed = Instant::now();
    xrtc.kill()?;
    if matches!(left, Left::KeyOnly) {
        fs::remove_file(snapshot)?;
    }
    xrtc.start_again()?;
    report(format_args!(
        "restarted in {:.2} s with {left:?}",
        killed.elapsed().as_secs_f32()
    ));
    for (((browser, call), since), received) in calls.iter_mut().zip(clocks).zip(given) {
        resumed(*browser, call, since, left).map_err(|error| error.during(&browser.to_string()))?;
        assert_eq!(
            call.stats()?.received.len(),
            received,
            "{browser}: there was signalling"
        );
    }
    Ok(())
}

fn resumed(browser: BrowserKind, call: &mut Call<'_>, since: f64, left: Left) -> Result<()> {
    let Gaps { pictures, packets } = wait_for_resumption(call, since)?;
    // The longest gaps are told: where there is hardly any, it is one that any call has now and then.
    let [media, video] = [packets, pictures].map(|gap| {
        let (length, resumed) = (gap.length.as_secs_f32(), gap.resumed.as_secs_f32());
        format!("{resumed:.2} s (gap {length:.2} s)")
    });
    report(format_args!(
        "{browser:8} after kill -9 with {left:?}: media back in {media}, video in {video}"
    ));
    assert!(
        pictures.length <= left.allowance(browser),
        "{browser} {left:?}: {pictures:?}"
    );
    call.prove()?;
    Ok(())
}

/// Waits until the snapshot is younger than this moment: it tells of every call that runs now.
fn wait_for_news(snapshot: &Path) -> Result<()> {
    let (now, started) = (SystemTime::now(), Instant::now());
    while !fs::metadata(snapshot).is_ok_and(|file| file.modified().is_ok_and(|written| written > now)) {
        if started.elapsed() > PATIENCE {
            return Err(Error::new("no snapshot of the calls is written"));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn wait_for_resumption(call: &mut Call<'_>, since: f64) -> Result<Gaps> {
    let started = Instant::now();
    loop {
        let gaps = call.gaps(since)?;
        if gaps.pictures.healthy && started.elapsed() > BUFFERED {
            return Ok(gaps);
        }
        if started.elapsed() > PATIENCE {
            return Err(Error::new(format!(
                "no picture for {:?}: {gaps:?}",
                gaps.pictures.length
            )));
        }
        thread::sleep(POLL);
    }
}
