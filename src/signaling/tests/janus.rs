//! Janus: REST, long polls with `maxev`, WebSocket, trickles.

use super::samples::*;
use super::*;

fn event(session: u64, sender: &str, sdp: &str, kind: &str) -> String {
    format!(
        "{{\n   \"janus\": \"event\",\n   \"session_id\": {session},\n   \"sender\": {sender},\n   \
         \"plugindata\": {{ \"plugin\": \"janus.plugin.echotest\", \"data\": {{\"big\": 18446744073709551615, \
         \"f\": 1.0e+5}} }},\n   \"jsep\": {{\n      \"type\": \"{kind}\",\n      \"sdp\": {}\n   }}\n}}\n",
        quoted(sdp)
    )
}

fn scopes(outcome: &Outcome) -> Vec<Option<&str>> {
    outcome
        .facts
        .iter()
        .map(|fact| match fact {
            Fact::ServerDescription { scope, .. }
            | Fact::ServerCandidate { scope, .. }
            | Fact::ClientDescription { scope, .. } => scope.as_deref(),
        })
        .collect()
}

#[test]
fn a_single_event() {
    let mut bench = Bench::new(Mode::Hijack);
    let body = event(6_310_274_910_345_121, "42", JANUS_ANSWER, "answer");
    let outcome = bench.run(Direction::ToClient, body.as_bytes());
    assert_eq!(scopes(&outcome), [Some("6310274910345121:42")]);
    let sdp = bench.text(Direction::ToClient, JANUS_ANSWER);
    let want = event(6_310_274_910_345_121, "42", &sdp, "answer");
    assert_eq!(
        String::from_utf8(outcome.body.expect("rewritten")).expect("text"),
        want
    );
}

#[test]
fn an_array_of_events_keeps_calls_apart() {
    let mut bench = Bench::new(Mode::Hijack);
    let ack = r#"{"janus":"ack","session_id":1}"#;
    let body = format!(
        "[{ack},{},{}]",
        event(1, "2", JANUS_ANSWER, "answer"),
        event(1, "\"three\"", JANUS_OFFER_LF, "offer")
    );
    let outcome = bench.run(Direction::ToClient, body.as_bytes());
    assert_eq!(scopes(&outcome), [Some("1:2"), Some("1:three")]);
    let offers: Vec<_> = outcome
        .facts
        .iter()
        .map(|fact| {
            matches!(
                fact,
                Fact::ServerDescription {
                    server_offers: true,
                    ..
                }
            )
        })
        .collect();
    assert_eq!(offers, [false, true]);
    let body = String::from_utf8(outcome.body.expect("rewritten")).expect("text");
    assert!(body.starts_with(&format!("[{ack},{{\n")) && !body.contains("10.0.0."));
}

#[test]
fn the_type_beside_a_description_decides_what_it_is() {
    let mut bench = Bench::new(Mode::Hijack);
    for (kind, offers) in [("offer", true), ("answer", false), ("pranswer", false)] {
        let body = event(1, "2", JANUS_OFFER_LF, kind);
        let outcome = bench.run(Direction::ToClient, body.as_bytes());
        assert!(
            matches!(&outcome.facts[..], [Fact::ServerDescription { server_offers, .. }] if *server_offers == offers),
            "{kind}"
        );
    }
}

#[test]
fn a_websocket_request() {
    let mut bench = Bench::new(Mode::Hijack);
    let message = |sdp: &str| {
        format!(
            r#"{{"janus":"message","body":{{"audio":true}},"transaction":"Qz1","jsep":{{"type":"offer","sdp":{}}},"session_id":9,"handle_id":8}}"#,
            quoted(sdp)
        )
    };
    let outcome = bench.run(Direction::ToServer, message(CHROME_OFFER).as_bytes());
    assert_eq!(scopes(&outcome), [Some("9:8")]);
    let want = message(&bench.text(Direction::ToServer, CHROME_OFFER));
    assert_eq!(outcome.body.expect("rewritten"), want.into_bytes());
}

#[test]
fn client_trickles_become_our_candidate() {
    let mut bench = Bench::new(Mode::Hijack);
    let seen = bench.keys.server_facing(ROUTE, "Xs+/", None).ufrag;
    let host =
        "candidate:9 1 udp 2113937151 f3a1.local 50123 typ host generation 0 ufrag Xs+/ network-cost 999";
    let ours = format!("candidate:1 1 udp 16777471 {LEG} 50000 typ host ufrag {seen}");
    let single = |line: &str| {
        format!(
            r#"{{"janus":"trickle","candidate":{{"candidate":"{line}","sdpMid":"0","sdpMLineIndex":0}},"transaction":"t"}}"#
        )
    };
    assert_eq!(bench.text(Direction::ToServer, &single(host)), single(&ours));
    let array = |line: &str| {
        format!(
            r#"{{"janus":"trickle","candidates":[{{"candidate":"{line}"}},{{"candidate":"{line}"}},{{"completed":true}}]}}"#
        )
    };
    assert_eq!(bench.text(Direction::ToServer, &array(host)), array(&ours));
    let completed = r#"{"janus":"trickle","candidate":{"completed":true}}"#;
    assert_eq!(
        bench.run(Direction::ToServer, completed.as_bytes()),
        Outcome::default()
    );
}

#[test]
fn server_trickles_are_learnt_and_replaced() {
    let mut bench = Bench::new(Mode::Hijack);
    let trickle = |line: &str| {
        format!(
            r#"{{"janus":"trickle","session_id":1,"sender":2,"candidate":{{"sdpMid":"0","sdpMLineIndex":0,"candidate":"{line}"}}}}"#
        )
    };
    let body = trickle("candidate:3 1 tcp 1015021823 10.0.0.5 41111 typ host tcptype passive");
    let outcome = bench.run(Direction::ToClient, body.as_bytes());
    assert_eq!(scopes(&outcome), [Some("1:2")]);
    let want = trickle("candidate:3 1 tcp 1526726143 192.0.2.1 6443 typ host tcptype passive");
    assert_eq!(outcome.body.expect("replaced"), want.into_bytes());
    for unusable in [
        "candidate:1 1 tcp 1015021823 10.0.0.5 9 typ host tcptype active",
        "candidate:1 2 udp 1015021823 10.0.0.5 9 typ host",
        "candidate:1 1 udp 1015021823 abc.local 9 typ host",
        "candidate:nonsense",
    ] {
        let outcome = bench.run(Direction::ToClient, trickle(unusable).as_bytes());
        assert_eq!(
            (outcome.facts.len(), outcome.refusals.len()),
            (0, 0),
            "{unusable}"
        );
        let body = String::from_utf8(outcome.body.expect("replaced")).expect("text");
        assert!(
            body.contains("udp 2130706431 192.0.2.1 6443 typ host\""),
            "{body}"
        );
    }
}
