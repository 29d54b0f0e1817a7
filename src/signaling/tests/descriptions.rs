//! Descriptions as bodies of their own (WHIP, WHEP), both directions and modes.

use super::samples::*;
use super::*;
use crate::ice::ServerCandidate;

fn server_description(outcome: &Outcome) -> (&str, Option<&str>, bool, bool, &[ServerCandidate]) {
    match &outcome.facts[..] {
        [
            Fact::ServerDescription {
                ufrag,
                token,
                server_offers,
                server_lite,
                candidates,
                ..
            },
        ] => (ufrag, token.as_deref(), *server_offers, *server_lite, candidates),
        other => panic!("not one server description: {other:?}"),
    }
}

fn udp(addr: &str) -> ServerCandidate {
    ServerCandidate {
        transport: Transport::Udp,
        addr: addr.parse().expect("an address"),
    }
}

#[test]
fn a_janus_answer_becomes_ours() {
    let mut bench = Bench::new(Mode::Hijack);
    let outcome = bench.run(Direction::ToClient, JANUS_ANSWER.as_bytes());
    let sdp = String::from_utf8(outcome.body.clone().expect("rewritten")).expect("text");
    let token = attribute(&sdp, "ice-ufrag");
    assert_eq!(attribute(&sdp, "ice-pwd"), bench.keys.client_facing_pwd(token));
    assert!(!sdp.contains("10.0.0.") && !sdp.contains("fe80:") && !sdp.contains("hU9sT0kQ"));
    assert_eq!(count(&sdp, "a=ice-lite\r\n"), 1);
    assert!(sdp.contains("a=msid-semantic: WMS *\r\na=ice-lite\r\nm=audio 6443 "));
    assert_eq!(
        count(&sdp, "a=candidate:"),
        3,
        "the rejected section has none: {sdp}"
    );
    assert!(sdp.contains("m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 192.0.2.1\r\n"));
    assert!(sdp.contains("o=- 4611731400430051336 2 IN IP4 192.0.2.1\r\n"));
    assert_eq!(count(&sdp, "a=end-of-candidates"), 1);

    let (ufrag, fact_token, offers, lite, candidates) = server_description(&outcome);
    assert_eq!(
        (ufrag, fact_token, offers, lite),
        ("Ja+0", Some(token), false, false)
    );
    let claims = bench.keys.open(token).expect("our own token");
    assert_eq!(claims.candidates, candidates);
    assert_eq!((claims.route, claims.minted_at), (ROUTE, 1000));
    assert_eq!(
        (&claims.ufrag[..], &claims.pwd[..]),
        ("Ja+0", "hU9sT0kQwErTyUiOpAsDfG")
    );
    let tcp = ServerCandidate {
        transport: Transport::Tcp,
        addr: ([10, 0, 0, 5], 41111).into(),
    };
    assert_eq!(candidates, [udp("10.0.0.5:40811"), udp("10.0.0.6:40811"), tcp]);
}

#[test]
fn icetcp_puts_tcp_first() {
    let mut bench = Bench::new(Mode::Hijack);
    bench.icetcp = true;
    let outcome = bench.run(Direction::ToClient, JANUS_ANSWER.as_bytes());
    let (_, token, _, _, candidates) = server_description(&outcome);
    assert_eq!(candidates[0].transport, Transport::Tcp);
    assert!(bench.keys.open(token.expect("hijack")).expect("ours").icetcp);
}

#[test]
fn a_janus_offer_with_bare_newlines_keeps_them() {
    let mut bench = Bench::new(Mode::Hijack);
    let sdp = bench.text(Direction::ToClient, JANUS_OFFER_LF);
    assert!(!sdp.contains('\r') && !sdp.ends_with('\n'));
    assert!(
        sdp.ends_with("typ host tcptype passive\na=end-of-candidates"),
        "{sdp}"
    );
    let outcome = bench.run(Direction::ToClient, JANUS_OFFER_LF.as_bytes());
    assert!(server_description(&outcome).2, "setup:actpass is an offer");
}

#[test]
fn a_renegotiation_shows_the_same_token_and_a_restart_another() {
    let mut bench = Bench::new(Mode::Hijack);
    let first = bench.text(Direction::ToClient, JANUS_ANSWER);
    bench.now += 600;
    assert_eq!(bench.text(Direction::ToClient, JANUS_ANSWER), first);
    let moved = JANUS_ANSWER.replace("40811", "40999");
    let moved = bench.text(Direction::ToClient, &moved);
    assert_eq!(attribute(&moved, "ice-ufrag"), attribute(&first, "ice-ufrag"));
    let restart = JANUS_ANSWER.replace("Ja+0", "Ja+1");
    let restart = bench.text(Direction::ToClient, &restart);
    assert_ne!(attribute(&restart, "ice-ufrag"), attribute(&first, "ice-ufrag"));
}

#[test]
fn session_level_credentials_and_lite() {
    let mut bench = Bench::new(Mode::Hijack);
    let outcome = bench.run(Direction::ToClient, LITE_ANSWER.as_bytes());
    let (ufrag, token, offers, lite, candidates) = server_description(&outcome);
    assert_eq!((ufrag, offers, lite), ("sess", false, true));
    assert_eq!(candidates, [udp("10.0.0.9:8000")]);
    let sdp = String::from_utf8(outcome.body.clone().expect("rewritten")).expect("text");
    assert_eq!(count(&sdp, "a=ice-lite"), 1);
    assert_eq!(count(&sdp, token.expect("hijack")), 1);
    assert!(
        sdp.contains("m=application 6443 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 192.0.2.1 \r\n"),
        "{sdp}"
    );
    assert!(
        sdp.ends_with("tcptype passive\r\na=end-of-candidates\r\n\r\n"),
        "{sdp}"
    );
}

#[test]
fn direct_mode_keeps_credentials_options_and_says_no_lite() {
    let mut bench = Bench::new(Mode::Direct);
    let outcome = bench.run(Direction::ToClient, JANUS_ANSWER.as_bytes());
    assert_eq!(server_description(&outcome).1, None);
    let sdp = String::from_utf8(outcome.body.expect("rewritten")).expect("text");
    assert_eq!(attribute(&sdp, "ice-ufrag"), "Ja+0");
    assert!(!sdp.contains("ice-lite") && !sdp.contains("10.0.0."));
    let client = bench.text(Direction::ToServer, CHROME_OFFER);
    assert_eq!(attribute(&client, "ice-ufrag"), "Xs+/");
    assert_eq!(count(&client, "renomination"), 2);
}

#[test]
fn a_chrome_offer_shows_the_server_our_side_only() {
    let mut bench = Bench::new(Mode::Hijack);
    let outcome = bench.run(Direction::ToServer, CHROME_OFFER.as_bytes());
    let fact = Fact::ClientDescription {
        scope: None,
        ufrag: "Xs+/".to_owned(),
    };
    assert_eq!(outcome.facts, [fact]);
    let sdp = String::from_utf8(outcome.body.expect("rewritten")).expect("text");
    let ours = bench.keys.server_facing(ROUTE, "Xs+/", None);
    assert_eq!(count(&sdp, &format!("a=ice-ufrag:{}\r\n", ours.ufrag)), 3);
    assert_eq!(count(&sdp, &format!("a=ice-pwd:{}\r\n", ours.pwd)), 3);
    let line = format!("a=candidate:1 1 udp 16777471 {LEG} 50000 typ host\r\n");
    assert_eq!(count(&sdp, &line), 3, "{sdp}");
    assert_eq!(count(&sdp, "a=ice-options:trickle\r\n"), 2);
    assert!(!sdp.contains("end-of-candidates"), "the client trickles on");
    assert!(sdp.contains("m=application 0 UDP/DTLS/SCTP"));
    assert!(sdp.contains("a=ssrc:3735928559 cname:candidate\r\n"));
}

#[test]
fn a_firefox_offer_loses_its_addresses_and_keeps_its_end_of_candidates() {
    let mut bench = Bench::new(Mode::Hijack);
    let sdp = bench.text(Direction::ToServer, FIREFOX_OFFER);
    assert!(!sdp.contains(".local") && !sdp.contains("198.51.100.7") && !sdp.contains("active"));
    assert_eq!(
        (count(&sdp, "a=candidate:"), count(&sdp, "a=end-of-candidates")),
        (1, 1)
    );
    assert!(sdp.contains(&format!("a=rtcp:50000 IN IP4 {LEG}\r\n")));
    assert!(sdp.contains("m=audio 50000 "));
}

#[test]
fn lite_is_never_passed_to_a_server() {
    let mut bench = Bench::new(Mode::Direct);
    assert!(!bench.text(Direction::ToServer, LITE_ANSWER).contains("ice-lite"));
}

#[test]
fn sections_without_bundle_keep_separate_identities() {
    let text = JANUS_ANSWER
        .replace("a=group:BUNDLE 0 1\r\n", "")
        .replace("m=video 0", "m=video 9")
        .replacen("Ja+0", "Vid0", 2)
        .replacen("Vid0", "Ja+0", 1);
    let mut bench = Bench::new(Mode::Hijack);
    let outcome = bench.run(Direction::ToClient, text.as_bytes());
    assert_eq!((outcome.facts.len(), outcome.refusals.len()), (2, 0));
    let sdp = String::from_utf8(outcome.body.expect("rewritten")).expect("text");
    let ufrags: Vec<_> = sdp
        .lines()
        .filter_map(|line| line.strip_prefix("a=ice-ufrag:"))
        .collect();
    let opened: Vec<_> = ufrags
        .iter()
        .map(|token| bench.keys.open(token).expect("ours").ufrag)
        .collect();
    assert_eq!(opened, ["Ja+0", "Vid0"]);
}

#[test]
fn fragments_go_both_ways() {
    let mut bench = Bench::new(Mode::Hijack);
    let up = bench.text(Direction::ToServer, RESTART_FRAGMENT);
    let ours = bench.keys.server_facing(ROUTE, "ysXw", None);
    assert_eq!(attribute(&up, "ice-ufrag"), ours.ufrag);
    assert!(
        up.starts_with("a=ice-options:trickle\r\na=group:BUNDLE 0 1\r\nm=audio 50000 "),
        "{up}"
    );
    assert!(
        up.ends_with(&format!("{LEG} 50000 typ host\r\na=end-of-candidates\r\n")),
        "{up}"
    );

    let down = bench.text(Direction::ToClient, RESTART_REPLY);
    let claims = bench.keys.open(attribute(&down, "ice-ufrag")).expect("ours");
    assert_eq!((&claims.ufrag[..], claims.server_lite), ("289b", true));
    assert_eq!(count(&down, "a=ice-lite"), 1);
    let full = RESTART_REPLY.replace("a=ice-lite\r\n", "");
    assert!(
        bench
            .text(Direction::ToClient, &full)
            .starts_with("a=ice-lite\r\n")
    );
}

#[test]
fn a_fragment_that_only_trickles_says_no_more_than_that() {
    let mut bench = Bench::new(Mode::Hijack);
    let text = "a=mid:0\r\na=candidate:1 1 udp 1 10.0.0.5 7000 typ host\r\n";
    let outcome = bench.run(Direction::ToClient, text.as_bytes());
    assert!(matches!(
        &outcome.facts[..],
        [Fact::ServerCandidate { ufrag: None, .. }]
    ));
    let text = String::from_utf8(outcome.body.expect("rewritten")).expect("text");
    assert!(!text.contains("end-of-candidates") && !text.contains("ice-lite") && !text.contains("10.0.0.5"));
}

#[test]
fn a_full_trickle_description_is_served_without_candidates() {
    let text: String = JANUS_ANSWER
        .split_inclusive('\n')
        .filter(|line| !line.contains("candidate"))
        .collect();
    let mut bench = Bench::new(Mode::Hijack);
    let outcome = bench.run(Direction::ToClient, text.as_bytes());
    assert_eq!(server_description(&outcome).4, []);
    let sdp = String::from_utf8(outcome.body.expect("rewritten")).expect("text");
    assert_eq!(
        (count(&sdp, "a=candidate:"), count(&sdp, "a=end-of-candidates")),
        (3, 1)
    );
}

#[test]
fn other_charsets_survive() {
    let mut body = b"\n ".to_vec();
    body.extend(
        JANUS_ANSWER
            .bytes()
            .map(|byte| if byte == b'V' { 0xe9 } else { byte }),
    );
    let mut bench = Bench::new(Mode::Hijack);
    let rewritten = bench.run(Direction::ToClient, &body).body.expect("rewritten");
    assert!(rewritten.starts_with(b"\n v=0\r\n"));
    assert!(rewritten.windows(9).any(|window| window == b"s=\xe9ideoRo"));
    assert!(!rewritten.windows(7).any(|window| window == b"10.0.0."));
}

#[test]
fn a_byte_order_mark_is_no_obstacle() {
    let mut bench = Bench::new(Mode::Hijack);
    let plain = bench.text(Direction::ToClient, JANUS_ANSWER);
    let marked = bench.text(Direction::ToClient, &format!("\u{feff}{JANUS_ANSWER}"));
    assert_eq!(marked, format!("\u{feff}{plain}"));
    let json = format!("\u{feff}[{}]", quoted(JANUS_ANSWER));
    assert_eq!(
        bench.text(Direction::ToClient, &json),
        format!("\u{feff}[{}]", quoted(&plain))
    );
}

#[test]
fn an_address_counts_once_and_a_rejected_section_not_at_all() {
    let text = JANUS_ANSWER.replace("m=video 0", "m=video 9");
    let mut bench = Bench::new(Mode::Hijack);
    assert_eq!(
        server_description(&bench.run(Direction::ToClient, text.as_bytes()))
            .4
            .len(),
        3
    );
    let head = JANUS_ANSWER.find("m=video").expect("a second section");
    let text = JANUS_ANSWER[..head].to_owned()
        + &JANUS_ANSWER[head..]
            .replace("Ja+0", "gone")
            .replace("10.0.0.5", "10.0.0.66");
    let outcome = bench.run(Direction::ToClient, text.as_bytes());
    let (ufrag, .., candidates) = server_description(&outcome);
    assert_eq!((ufrag, candidates.len()), ("Ja+0", 3));
    let sdp = String::from_utf8(outcome.body.expect("rewritten")).expect("text");
    assert!(!sdp.contains("gone"));
}
