//! Two Janus servers in one group, and pages of another origin with the stock janus.js, which omits credentials: in a
//! real browser no call loses its server, preflights are answered by Janus, and when one server is killed its calls end
//! cleanly and new ones go to the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xrtc_testing::lab::{
    Authority, Browser, BrowserKind, Error, Janus, JanusOptions, PORT, PageServer, Result, Stats, Topology,
    WorkDir, Xrtc, report,
};

const PAGES: usize = 4;
/// Of each page.
const SESSIONS: usize = 10;
/// Of each page: sessions that have a video call as well.
const CALLS: usize = 2;
const ROUNDS: u64 = 10;
const FRAMES: u64 = 10;
const FAIL_TIMEOUT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn forty_calls_in_chromium_keep_their_server() {
    WorkDir::scope(|work| forty_calls(BrowserKind::Chromium, work));
}

#[test]
fn forty_calls_in_firefox_keep_their_server() {
    WorkDir::scope(|work| forty_calls(BrowserKind::Firefox, work));
}

/// What a page tells of one of its sessions.
#[derive(Clone, Debug)]
struct Member {
    session: String,
    rounds: u64,
    failure: Option<String>,
    call: Option<Stats>,
}

fn forty_calls(kind: BrowserKind, work: &WorkDir) -> Result<()> {
    let topology = Topology::proxied()?;
    let second = topology.second_server()?;
    let [first_work, second_work] = [WorkDir::new()?, WorkDir::new()?];
    let first_janus = Janus::start(&topology.server, &first_work, JanusOptions::default())?;
    let second_janus = Janus::start(&second, &second_work, JanusOptions::default())?;
    let authority = Authority::new(work, &Topology::PROXY)?;
    let _xrtc = Xrtc::start_with_routes(&topology.proxy, work, &routes(work, &authority))?;
    // The pages come from the browser's own host, the API from the proxy.
    let _pages = PageServer::start(&topology.client, work)?;
    let origin = PageServer::origin(&Topology::CLIENT[0].to_string());
    let mut browser = Browser::launch_trusting(kind, &topology.client, work, &origin, &authority)?;

    for page in 0..PAGES {
        browser.turn_to(page);
        // A URL of its own for each, as `Topology` has no default route: see `e2e_demos.rs`.
        browser.open(&format!("{origin}/crowd.html?{page}"))?;
        join(&mut browser, SESSIONS, CALLS)?;
    }
    let members = progress(&mut browser, |_| true)?;
    let [of_first, of_second] = [first_janus.sessions(), second_janus.sessions()];
    // They take turns, but so do the preflights of the page's first request.
    assert_eq!(of_first.len() + of_second.len(), PAGES * SESSIONS);
    assert!(of_first.len().min(of_second.len()) >= PAGES * SESSIONS / 4);
    let calls: Vec<&Stats> = members.iter().filter_map(|member| member.call.as_ref()).collect();
    assert_eq!(calls.len(), PAGES * CALLS);
    let frames: u64 = calls.iter().map(|call| call.frames_decoded).sum();
    for call in calls {
        let remote = call.remote.as_ref().map(|remote| (remote.address, remote.port));
        assert!(
            remote.is_some_and(|(address, port)| Topology::PROXY.contains(&address) && port == PORT),
            "{call:?}"
        );
    }
    let (requests, preflights) = requests(work, [&of_first, &of_second])?;

    let killed = Instant::now();
    drop(first_janus);
    // New ones come at once, while nobody knows yet.
    browser.turn_to(0);
    let newcomers = join(&mut browser, SESSIONS, 0)?;
    assert!(newcomers < FAIL_TIMEOUT, "{newcomers:?}");
    let ended = ended(&mut browser, of_first.len())?;
    let end = killed.elapsed();
    let survivors = progress(&mut browser, |member| !of_first.contains(&member.session))?;
    let failed: BTreeSet<String> = ended.iter().map(|member| member.session.clone()).collect();
    assert_eq!(failed, of_first, "those of the killed server, and no other");
    assert_eq!(
        second_janus.sessions().len(),
        of_second.len() + SESSIONS,
        "all new ones at the other server"
    );
    let bad_gateways = bad_gateways(work, &of_first)?;
    let reasons: BTreeSet<_> = ended.iter().filter_map(|member| member.failure.clone()).collect();
    report(format_args!(
        "{kind}: {} sessions on two servers, {requests} requests, {preflights} preflights, none astray; {frames} frames \
         in {} calls; one killed: {} of them ended within {end:?} ({bad_gateways} times 502, {reasons:?}), {SESSIONS} \
         new ones took {newcomers:?}, {} went on",
        members.len(),
        PAGES * CALLS,
        ended.len(),
        survivors.len(),
    ));
    Ok(())
}

/// Has the page that is turned to make more sessions, none of which may fail; how long it took.
fn join(browser: &mut Browser, sessions: usize, calls: usize) -> Result<Duration> {
    let server = format!("https://{}:{PORT}/calls", Topology::PROXY[0]);
    let options = json!({"server": server, "sessions": sessions, "calls": calls});
    let took = browser.evaluate(&format!("return await crowd.join({options})"))?;
    let joined = told(browser)?;
    let newest = joined.iter().rev().take(sessions);
    for member in newest {
        if member.failure.is_some() || member.rounds == 0 {
            return Err(Error::new(format!("it did not join: {member:?}")));
        }
    }
    Ok(Duration::from_secs_f64(
        took.as_f64().unwrap_or(f64::MAX) / 1000.0,
    ))
}

/// Waits until every session that counts has gone on for some rounds, and its call for some frames; none may fail.
fn progress(browser: &mut Browser, counts: impl Fn(&Member) -> bool) -> Result<Vec<Member>> {
    let mut all = Vec::new();
    for page in 0..PAGES {
        browser.turn_to(page);
        let frames = |member: &Member| member.call.as_ref().map_or(0, |call| call.frames_decoded);
        let before: BTreeMap<String, Member> = told(browser)?
            .into_iter()
            .map(|member| (member.session.clone(), member))
            .collect();
        let went_on = |member: &Member| {
            let before = &before[&member.session];
            let frames_due = if member.call.is_some() { FRAMES } else { 0 };
            member.rounds >= before.rounds + ROUNDS && frames(member) >= frames(before) + frames_due
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut members = told(browser)?;
            members.retain(&counts);
            if let Some(failed) = members.iter().find(|member| member.failure.is_some()) {
                return Err(Error::new(format!("a call has failed: {failed:?}")));
            }
            if members.iter().all(went_on) {
                all.extend(members);
                break;
            }
            if Instant::now() > deadline {
                return Err(Error::new(format!("not all go on: {members:?}")));
            }
        }
    }
    Ok(all)
}

/// Waits until so many sessions have failed, and returns them.
fn ended(browser: &mut Browser, count: usize) -> Result<Vec<Member>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut failed = Vec::new();
        for page in 0..PAGES {
            browser.turn_to(page);
            failed.extend(told(browser)?);
        }
        failed.retain(|member| member.failure.is_some());
        if failed.len() >= count || Instant::now() > deadline {
            return Ok(failed);
        }
    }
}

fn told(browser: &mut Browser) -> Result<Vec<Member>> {
    let report = browser.evaluate("return await crowd.report()")?;
    let members = report.as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(members
        .map(|member| Member {
            session: text(&member["session"]).unwrap_or_default(),
            rounds: member["rounds"].as_u64().unwrap_or_default(),
            failure: text(&member["failure"]),
            call: (!member["call"].is_null()).then(|| Stats::of(&member["call"])),
        })
        .collect())
}

/// Reads the access log: how many requests there were, how many of them preflights. Each was answered with success, and
/// by the server that has the session.
fn requests(work: &WorkDir, sessions: [&BTreeSet<String>; 2]) -> Result<(usize, usize)> {
    let log = fs::read_to_string(work.join("access.log"))?;
    let (mut requests, mut preflights) = (0, 0);
    let hosts = [Topology::SERVER[0], Topology::SECOND_SERVER].map(|host| format!("http://{host}:8088"));
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line)?;
        let uri = entry["uri"].as_str().unwrap_or_default();
        let path = uri.split('?').next().unwrap_or_default();
        let session = path.split('/').nth(2).unwrap_or_default();
        let of = sessions.iter().position(|known| known.contains(session));
        let (upstream, preflight) = (&entry["upstream"], entry["method"] == "OPTIONS");
        let right = of.map_or(session.is_empty(), |server| *upstream == *hosts[server]);
        if !right || entry["status"] != 200 || entry["protocol"] != "HTTP/2.0" {
            return Err(Error::new(format!("a request went astray: {line}")));
        }
        requests += 1;
        preflights += usize::from(preflight);
    }
    if preflights < sessions.iter().map(|of| of.len()).sum() {
        return Err(Error::new(format!("only {preflights} preflights")));
    }
    Ok((requests, preflights))
}

/// Reads the access log again: nothing but 502 has been refused, and that only to the sessions of the killed server.
fn bad_gateways(work: &WorkDir, sessions: &BTreeSet<String>) -> Result<usize> {
    let log = fs::read_to_string(work.join("access.log"))?;
    let mut count = 0;
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line)?;
        if entry["status"] == 200 {
            continue;
        }
        let path = entry["uri"].as_str().unwrap_or_default();
        let theirs = sessions.iter().any(|session| path.contains(session.as_str()));
        if entry["status"] != 502 || !theirs {
            return Err(Error::new(format!("this was refused: {line}")));
        }
        count += 1;
    }
    Ok(count)
}

fn routes(work: &WorkDir, authority: &Authority) -> String {
    let [ipv4, ipv6] = Topology::PROXY;
    format!(
        r#"state_dir: {state}
services:
  janus:
    proto: upstream
    cookie: false
    servers:
      - {{url: "http://{first}:8088", fail_timeout: 2s}}
      - {{url: "http://{second}:8088", fail_timeout: 2s}}
  media:
    proto: udp
    net: {{addr: ":{PORT}", enable_ice: true, candidate_ips: ["{ipv4}", "{ipv6}"]}}
  front:
    proto: tcp
    net: {{addr: ":{PORT}", tls_crt_file: {crt}, tls_key_file: {key}}}
    enable_http: true
    http:
      access_log: {{path: {log}, format: json}}
      routes:
        calls: {{upstream: "http://janus", paths: [{{/calls: /janus}}]}}
"#,
        state = work.join("state").display(),
        log = work.join("access.log").display(),
        crt = authority.crt.display(),
        key = authority.key.display(),
        first = Topology::SERVER[0],
        second = Topology::SECOND_SERVER,
    )
}
