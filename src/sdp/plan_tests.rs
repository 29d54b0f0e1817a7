//! Tests of [`super::Plan`].

use super::*;
use crate::sdp::apply;

fn replacement(candidates: &[&str]) -> Replacement {
    Replacement {
        ufrag: Some("NEWU".to_owned()),
        pwd: Some("NEWP".to_owned()),
        candidates: candidates.iter().map(|&line| line.to_owned()).collect(),
        default: ([192, 0, 2, 1], 6443).into(),
    }
}

fn run(text: &str, lite: Lite, end_of_candidates: bool, candidates: &[&str]) -> String {
    let sdp = Description::parse(text).expect("small");
    let hosts = sdp.candidate_sections();
    let sections = (0..sdp.sections.len())
        .map(|index| replacement(if hosts.contains(&index) { candidates } else { &[] }))
        .collect();
    let plan = Plan {
        sections,
        end_of_candidates,
        lite,
        drop_options: &["ice2", "renomination"],
    };
    apply(text, &plan.edits(text, &sdp))
}

#[test]
fn every_address_and_credential_is_replaced_and_nothing_else() {
    let text = "v=0\r\no=- 5 1 IN IP6 2001:db8::9\r\ns=x \r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
        m=audio 40000/2 UDP/TLS/RTP/SAVPF 0\na=rtcp:40001 IN IP4 10.0.0.1\r\na=ice-ufrag:OLDU  \r\na=ice-pwd:OLDP\r\n\
        a=candidate:1 1 udp 1 10.0.0.1 40000 typ host\r\na=candidate:2 1 udp 1 10.0.0.2 40000 typ host\r\n\
        a=remote-candidates:1 10.9.9.9 7\r\na=fingerprint:sha-256 AA\r\nx-unknown";
    let want = "v=0\r\no=- 5 1 IN IP4 192.0.2.1\r\ns=x \r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 6443/2 UDP/TLS/RTP/SAVPF 0\na=rtcp:6443 IN IP4 192.0.2.1\r\na=ice-ufrag:NEWU  \r\na=ice-pwd:NEWP\r\n\
        a=candidate:X\r\na=fingerprint:sha-256 AA\r\nx-unknown";
    assert_eq!(run(text, Lite::Keep, false, &["candidate:X"]), want);
}

#[test]
fn a_missing_last_newline_stays_missing() {
    let text = "v=0\nm=audio 9 RTP/SAVPF 0\na=ice-ufrag:U";
    let want =
        "v=0\na=ice-lite\nm=audio 6443 RTP/SAVPF 0\na=ice-ufrag:NEWU\na=candidate:X\na=end-of-candidates";
    assert_eq!(run(text, Lite::Ensure, true, &["candidate:X"]), want);
    let text = "v=0\nm=audio 9 RTP/SAVPF 0\na=ice-ufrag:U\na=candidate:1\na=candidate:2";
    let want = "v=0\nm=audio 6443 RTP/SAVPF 0\na=ice-ufrag:NEWU\na=candidate:X";
    assert_eq!(run(text, Lite::Keep, false, &["candidate:X"]), want);
}

#[test]
fn candidates_come_before_end_of_candidates_and_blank_lines() {
    let text = "a=end-of-candidates\na=ice-ufrag:U\n";
    let want = "a=candidate:X\na=end-of-candidates\na=ice-ufrag:NEWU\n";
    assert_eq!(run(text, Lite::Keep, true, &["candidate:X"]), want);
    let text = "m=audio 9 RTP/SAVPF 0\na=ice-ufrag:U\n\n";
    let want = "a=ice-lite\nm=audio 6443 RTP/SAVPF 0\na=ice-ufrag:NEWU\na=candidate:X\n\n";
    assert_eq!(run(text, Lite::Ensure, false, &["candidate:X"]), want);
    let text = "a=candidate:1\na=ice-ufrag:U\n";
    let want = "a=ice-lite\na=candidate:X\na=ice-ufrag:NEWU\n";
    assert_eq!(run(text, Lite::Ensure, false, &["candidate:X"]), want);
}

#[test]
fn port_zero_stays_zero_and_a_rejected_section_gets_no_candidates() {
    let text = "v=0\nm=audio 9 RTP/SAVPF 0\na=ice-ufrag:U\n\
        m=video 0 RTP/SAVPF 0\nc=IN IP4 10.0.0.1\na=ice-ufrag:V\na=candidate:1\na=rtcp:0\n";
    let want = "v=0\nm=audio 6443 RTP/SAVPF 0\na=ice-ufrag:NEWU\na=candidate:X\n\
        m=video 0 RTP/SAVPF 0\nc=IN IP4 192.0.2.1\na=ice-ufrag:NEWU\na=rtcp:0\n";
    assert_eq!(run(text, Lite::Keep, false, &["candidate:X"]), want);
}

#[test]
fn lite_is_said_once_or_not_at_all() {
    let text = "v=0\na=ice-lite\nm=audio 9 RTP/SAVPF 0\na=ice-lite\na=ice-ufrag:U\n";
    assert_eq!(
        run(text, Lite::Ensure, false, &["candidate:X"])
            .matches("ice-lite")
            .count(),
        2
    );
    assert!(!run(text, Lite::Remove, false, &["candidate:X"]).contains("ice-lite"));
    let head = "a=ice-lite\na=ice-lite\nv=0\n";
    assert_eq!(run(head, Lite::Remove, false, &[]), "v=0\n");
}

#[test]
fn options_lose_only_what_is_named() {
    let options = |list: &str| run(&format!("v=0\na=ice-options:{list}\n"), Lite::Keep, false, &[]);
    assert_eq!(
        options("trickle ice2 renomination"),
        "v=0\na=ice-options:trickle\n"
    );
    assert_eq!(options("trickle  x"), "v=0\na=ice-options:trickle  x\n");
    assert_eq!(options("ice2"), "v=0\n");
}
