//! What is left alone, and under which name.

use super::samples::*;
use super::*;

fn refused(bench: &mut Bench, direction: Direction, body: &str) -> Vec<Refusal> {
    let outcome = bench.run(direction, body.as_bytes());
    assert_eq!(outcome.body, None, "a refused description passes unchanged");
    assert_eq!(outcome.facts, []);
    outcome.refusals
}

#[test]
fn servers_outside_of_the_allow_list() {
    let mut bench = Bench::new(Mode::Hijack);
    bench.permits = |_| false;
    assert_eq!(
        refused(&mut bench, Direction::ToClient, JANUS_ANSWER),
        [Refusal::ServerNotAllowed]
    );
    assert!(
        bench.tokens.by_ufrag.is_empty(),
        "no token without a permitted server"
    );
    let names = JANUS_OFFER_LF.replace("udp 2015363327 10.0.0.5", "udp 2015363327 janus.example");
    let mut bench = Bench::new(Mode::Hijack);
    assert_eq!(
        refused(&mut bench, Direction::ToClient, &names),
        [Refusal::ServerNotAllowed]
    );
}

#[test]
fn a_reflected_client_description_is_not_served() {
    let mut bench = Bench::new(Mode::Hijack);
    bench.permits = |addr| addr.port() != 50000;
    let reflected = bench.text(Direction::ToServer, FIREFOX_OFFER);
    assert_eq!(
        refused(&mut bench, Direction::ToClient, &reflected),
        [Refusal::ServerNotAllowed]
    );
}

#[test]
fn missing_credentials() {
    for line in ["a=ice-ufrag:q1w2\n", "a=ice-pwd:zxcvbnmasdfghjklqwerty\n"] {
        let text = JANUS_OFFER_LF.replace(line, "");
        for direction in [Direction::ToClient, Direction::ToServer] {
            let refusals = refused(&mut Bench::new(Mode::Hijack), direction, &text);
            assert_eq!(refusals, [Refusal::CredentialsMissing]);
        }
    }
}

#[test]
fn credentials_too_long_for_a_token() {
    let text = JANUS_OFFER_LF.replace("q1w2", &"q".repeat(200));
    let mut bench = Bench::new(Mode::Hijack);
    assert_eq!(
        refused(&mut bench, Direction::ToClient, &text),
        [Refusal::TooLong]
    );
}

#[test]
fn nothing_of_ours_to_show() {
    let mut bench = Bench::new(Mode::Hijack);
    bench.shown.clear();
    bench.server_leg = None;
    let trickle = "candidate:1 1 udp 1 10.0.0.5 7 typ host";
    for (direction, refusal) in [
        (Direction::ToClient, Refusal::NoClientCandidate),
        (Direction::ToServer, Refusal::NoServerLeg),
    ] {
        assert_eq!(refused(&mut bench, direction, JANUS_OFFER_LF), [refusal]);
        assert_eq!(bench.run(direction, trickle.as_bytes()).refusals, [refusal]);
    }
}

#[test]
fn sections_that_one_port_cannot_tell_apart() {
    let mut bench = Bench::new(Mode::Hijack);
    let apart = JANUS_ANSWER
        .replace("a=group:BUNDLE 0 1\r\n", "")
        .replace("m=video 0", "m=video 9");
    assert_eq!(
        refused(&mut bench, Direction::ToClient, &apart),
        [Refusal::NoBundle]
    );
    let rtcp = JANUS_OFFER_LF.replace("a=rtcp-mux\n", "").replace(
        "a=candidate:1 1",
        "a=candidate:1 2 udp 1 10.0.0.5 40901 typ host\na=candidate:1 1",
    );
    assert_eq!(
        refused(&mut bench, Direction::ToClient, &rtcp),
        [Refusal::NoRtcpMux]
    );
}

#[test]
fn unknown_ufrags_of_servers() {
    let mut bench = Bench::new(Mode::Hijack);
    let fragment = "a=ice-ufrag:who0\r\nm=audio 9 RTP/SAVPF 0\r\na=mid:0\r\n";
    assert_eq!(
        refused(&mut bench, Direction::ToClient, fragment),
        [Refusal::UnknownUfrag]
    );
    let trickle = r#"{"candidate":"candidate:1 1 udp 1 10.0.0.5 7 typ host","usernameFragment":"who0"}"#;
    let outcome = bench.run(Direction::ToClient, trickle.as_bytes());
    assert_eq!(outcome.refusals, [Refusal::UnknownUfrag]);
    assert!(outcome.body.is_some(), "the address goes all the same");
}

#[test]
fn a_trickled_address_outside_of_the_allow_list_is_hidden_and_not_believed() {
    let mut bench = Bench::new(Mode::Direct);
    let trickle = r#"{"candidate":"candidate:1 1 udp 1 169.254.169.254 80 typ host"}"#;
    let outcome = bench.run(Direction::ToClient, trickle.as_bytes());
    assert_eq!(
        (outcome.facts.len(), outcome.refusals),
        (0, vec![Refusal::ServerNotAllowed])
    );
    let body = String::from_utf8(outcome.body.expect("replaced")).expect("text");
    assert_eq!(
        body,
        r#"{"candidate":"candidate:1 1 udp 2130706431 192.0.2.1 6443 typ host"}"#
    );
}

#[test]
fn depth_and_size_are_bounded() {
    let mut bench = Bench::new(Mode::Hijack);
    let deep = format!("{}\"candidate:\"{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(
        refused(&mut bench, Direction::ToClient, &deep),
        [Refusal::TooDeep]
    );
    let nest = |times| (0..times).fold(quoted(JANUS_ANSWER), |inner, _| format!("[{}]", quoted(&inner)));
    assert_eq!(
        refused(&mut bench, Direction::ToClient, &nest(6)),
        [Refusal::TooDeep]
    );
    assert_eq!(bench.run(Direction::ToClient, nest(3).as_bytes()).facts.len(), 1);
    let many = format!("[{}0]", "\"candidate:\",".repeat(1000));
    assert_eq!(
        refused(&mut bench, Direction::ToClient, &many),
        [Refusal::TooMany]
    );
    let sections = format!("v=0\r\n{}a=ice-ufrag:x\r\n", "m=\r\n".repeat(10_000));
    assert_eq!(
        refused(&mut bench, Direction::ToClient, &sections),
        [Refusal::TooMany]
    );
}

#[test]
fn what_does_not_speak_of_ice_is_not_touched() {
    let mut bench = Bench::new(Mode::Hijack);
    for body in [
        "",
        "<html>candidate</html>",
        "v=0\r\no=- 1 1 IN IP4 10.0.0.5\r\ns=-\r\nc=IN IP4 10.0.0.5\r\nm=audio 4000 RTP/AVP 0\r\n",
        r#"{"janus":"ack","session_id":1,"transaction":"candidate"}"#,
        r#"{"candidate":{"completed":true}}"#,
        r#"{"iceParameters":{"usernameFragment":"abcd","password":"x"}}"#,
        "{\"sdp\":\"v=0\\r\\na=ice-ufrag:x\\r\\n\"",
        "{\"ufrag\":\"\\q\",\"candidate\":\"candidate:\\q\"}",
    ] {
        for direction in [Direction::ToClient, Direction::ToServer] {
            let outcome = bench.run(direction, body.as_bytes());
            assert_eq!(outcome, Outcome::default(), "{body}");
        }
    }
}

#[test]
fn every_refusal_is_listed_in_its_place_under_a_name_of_its_own() {
    let names: std::collections::HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.as_str()).collect();
    assert_eq!(names.len(), Refusal::ALL.len());
    for (place, refusal) in Refusal::ALL.iter().enumerate() {
        assert_eq!(*refusal as usize, place);
    }
}
