//! Two Janus servers in one group, and a page that loses its WebSockets and claims its sessions from new ones, without
//! any cookie: whichever server a new one is sent to first, the session is found.

use serde_json::Value;
use xrtc_testing::lab::{
    Browser, BrowserKind, Janus, JanusOptions, PORT, PageServer, Result, Topology, WorkDir, Xrtc, report,
};

const SESSIONS: usize = 6;
/// Seconds; far longer than the test.
const RECLAIM: u32 = 300;

#[test]
fn sessions_are_claimed_from_new_websockets() {
    WorkDir::scope(claims);
}

fn claims(work: &WorkDir) -> Result<()> {
    let topology = Topology::proxied()?;
    let second = topology.second_server()?;
    let [first_work, second_work] = [WorkDir::new()?, WorkDir::new()?];
    let options = JanusOptions {
        reclaim: RECLAIM,
        ..JanusOptions::default()
    };
    let first_janus = Janus::start(&topology.server, &first_work, options)?;
    let second_janus = Janus::start(&second, &second_work, options)?;
    let _xrtc = Xrtc::start_with_routes(&topology.proxy, work, &routes(work))?;
    let _pages = PageServer::start(&topology.client, work)?;
    let origin = PageServer::origin(&Topology::CLIENT[0].to_string());
    let mut browser = Browser::launch(BrowserKind::Chromium, &topology.client, work, &origin)?;
    browser.open(&format!("{origin}/call.html"))?;

    // The servers take turns. Six sessions, and then their claims in the opposite order: each claim comes to the other
    // server first.
    let told = browser.evaluate(&format!(
        r#"
        const open = () => new Promise((done, failed) => {{
            const socket = new WebSocket("ws://{proxy}:{PORT}/calls", "janus-protocol");
            socket.onopen = () => done(socket);
            socket.onerror = () => failed(new Error("no WebSocket"));
        }});
        const ask = (socket, message) => new Promise((done, failed) => {{
            socket.onmessage = (event) => done(JSON.parse(event.data));
            socket.onclose = () => failed(new Error("the WebSocket has ended"));
            socket.send(JSON.stringify({{ transaction: "t", ...message }}));
        }});
        const leave = (socket) => new Promise((done) => {{ socket.onclose = done; socket.close(); }});
        const sessions = [];
        for (let count = 0; count < {SESSIONS}; count++) {{
            const socket = await open();
            sessions.push((await ask(socket, {{ janus: "create" }})).data.id);
            await leave(socket);
        }}
        const answers = [];
        for (const session_id of sessions.reverse()) {{
            const socket = await open();
            answers.push(await ask(socket, {{ janus: "claim", session_id }}));
            answers.push(await ask(socket, {{ janus: "keepalive", session_id }}));
            await leave(socket);
        }}
        return answers;
        "#,
        proxy = Topology::PROXY[0],
    ))?;
    let answers: Vec<&Value> = told.as_array().into_iter().flatten().collect();
    assert_eq!(answers.len(), 2 * SESSIONS);
    for answer in &answers {
        assert_ne!(answer["janus"], "error", "{answer}");
    }
    let of_each = [first_janus.sessions().len(), second_janus.sessions().len()];
    assert_eq!(of_each, [SESSIONS / 2; 2], "the servers take turns");
    report(format_args!(
        "{SESSIONS} sessions on two servers, claimed from new WebSockets that came to the other server: all found"
    ));
    Ok(())
}

fn routes(work: &WorkDir) -> String {
    format!(
        r#"state_dir: {state}
services:
  janus:
    proto: upstream
    cookie: false
    servers: ["ws://{first}:8188", "ws://{second}:8188"]
  media:
    proto: udp
    net: {{addr: ":{PORT}", enable_ice: true}}
  front:
    proto: tcp
    net: {{addr: ":{PORT}"}}
    enable_http: true
    http:
      routes:
        calls: {{upstream: "http://janus", paths: [{{/calls: /}}]}}
"#,
        state = work.join("state").display(),
        first = Topology::SERVER[0],
        second = Topology::SECOND_SERVER,
    )
}
