//! Two Janus servers in one group, and REST clients on pages of another origin, which send no cookies: each call keeps
//! its server, and when one server is killed, its calls end cleanly and new ones go to the other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use xrtc_testing::lab::{
    Error, Janus, JanusOptions, PORT, Process, Result, Topology, WorkDir, Xrtc, report, rest_clients,
};

const CALLS: usize = 40;
const FAIL_TIMEOUT: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(60);

#[test]
fn forty_calls_without_cookies_keep_their_server_and_survive_the_others_death() -> Result<()> {
    let topology = Topology::proxied()?;
    let second = topology.second_server()?;
    let [work, first_work, second_work] = [WorkDir::new()?, WorkDir::new()?, WorkDir::new()?];
    let first_janus = Janus::start(&topology.server, &first_work, JanusOptions::default())?;
    let second_janus = Janus::start(&second, &second_work, JanusOptions::default())?;
    let _xrtc = Xrtc::start_with_routes(&topology.proxy, &work, &routes(&work))?;

    let mut clients = rest_clients(&topology.client, &work, "first", &base(), CALLS)?;
    clients.wait_for_line("ready", SOON)?;
    clients.wait_for_line("round 10", SOON)?;
    let of_first = first_janus.sessions();
    let of_second = second_janus.sessions();
    let all = told(&clients, "session ");
    assert_eq!(all.len(), CALLS);
    assert_eq!(
        told(&clients, "failure "),
        BTreeSet::new(),
        "none loses its server"
    );
    assert_eq!(
        (of_first.len(), of_second.len()),
        (CALLS / 2, CALLS / 2),
        "they take turns"
    );

    let killed = Instant::now();
    drop(first_janus);
    // The new ones come at once, while nobody knows yet.
    let mut newcomers = rest_clients(&topology.client, &work, "second", &base(), CALLS / 2)?;
    newcomers.wait_for_line("ready", SOON)?;
    let ready = killed.elapsed();
    newcomers.wait_for_line("round 5", SOON)?;
    assert_eq!(told(&newcomers, "failure "), BTreeSet::new());
    let served: BTreeSet<_> = second_janus.sessions();
    assert!(
        told(&newcomers, "session ").is_subset(&served),
        "all at the other server"
    );

    clients.wait_for_line("round 30", SOON)?;
    let failed = failures(&clients)?;
    let ended: BTreeSet<_> = failed.iter().map(|failure| failure.session.clone()).collect();
    assert_eq!(ended, of_first, "those of the killed server, and no other");
    let slowest = failed
        .iter()
        .map(|failure| failure.took)
        .max()
        .unwrap_or_default();
    for failure in &failed {
        assert_eq!(failure.reason, "status 502", "{failure:?}");
    }
    assert!(slowest < FAIL_TIMEOUT, "the slowest took {slowest:?}");
    // Starting node takes the most of it.
    assert!(ready < FAIL_TIMEOUT * 2, "new calls were ready after {ready:?}");
    report(format_args!(
        "{CALLS} calls on two servers, none lost; one killed: its {} calls ended within {slowest:?} of asking, {} new \
         ones were ready {ready:?} after the kill",
        failed.len(),
        CALLS / 2,
    ));
    Ok(())
}

/// A daemon that starts again has forgotten whose the calls are. They are found.
#[test]
fn calls_keep_their_server_when_the_proxy_is_killed_and_started_again() -> Result<()> {
    let topology = Topology::proxied()?;
    let second = topology.second_server()?;
    let [work, first_work, second_work] = [WorkDir::new()?, WorkDir::new()?, WorkDir::new()?];
    let first_janus = Janus::start(&topology.server, &first_work, JanusOptions::default())?;
    let second_janus = Janus::start(&second, &second_work, JanusOptions::default())?;
    let mut xrtc = Xrtc::start_with_routes(&topology.proxy, &work, &routes(&work))?;
    let mut clients = rest_clients(&topology.client, &work, "patient", &base(), CALLS)?;
    clients.wait_for_line("round 5", SOON)?;
    assert_eq!(first_janus.sessions().len(), CALLS / 2);
    assert_eq!(second_janus.sessions().len(), CALLS / 2);
    xrtc.kill()?;
    xrtc.start_again()?;
    clients.wait_for_line("round 20", SOON)?;
    assert_eq!(told(&clients, "failure "), BTreeSet::new());
    Ok(())
}

fn base() -> String {
    format!("http://{}:{PORT}/calls", Topology::PROXY[0])
}

fn routes(work: &WorkDir) -> String {
    format!(
        r#"state_dir: {state}
services:
  janus:
    proto: upstream
    servers:
      - {{url: "http://{first}:8088", fail_timeout: 2s}}
      - {{url: "http://{second}:8088", fail_timeout: 2s}}
  front:
    proto: http
    net: {{addr: ":{PORT}"}}
    http:
      routes:
        calls:
          upstream: http://janus
          paths:
            - /calls: /janus
"#,
        state = work.join("state").display(),
        first = Topology::SERVER[0],
        second = Topology::SECOND_SERVER,
    )
}

/// The first words after `what` on the lines of a log that begin with it.
fn told(clients: &Process, what: &str) -> BTreeSet<String> {
    let log = clients.log();
    let lines = log.lines().filter_map(|line| line.strip_prefix(what));
    lines
        .filter_map(|rest| rest.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[derive(Debug)]
struct Failure {
    session: String,
    took: Duration,
    reason: String,
}

fn failures(clients: &Process) -> Result<Vec<Failure>> {
    let log = clients.log();
    let lines = log.lines().filter_map(|line| line.strip_prefix("failure "));
    lines
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default().to_owned();
            let (session, took, reason) = (word(), word(), word());
            let took = took
                .parse()
                .map_err(|_| Error::new(format!("not a failure: {line}")))?;
            Ok(Failure {
                session,
                took: Duration::from_millis(took),
                reason,
            })
        })
        .collect()
}
