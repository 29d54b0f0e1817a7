//! JSON of all other shapes.

use super::samples::*;
use super::*;

#[test]
fn plain_descriptions_with_their_neighbours_untouched() {
    let mut bench = Bench::new(Mode::Hijack);
    let sdp = bench.text(Direction::ToClient, JANUS_ANSWER);
    for shape in [
        r#"{"code":0,"server":"vid-1","sdp":@,"sessionid":"a:b"}"#,
        r#"{"type":"answer","sdp":@}"#,
        "\t{ \"sdp\" : @ , \"type\" : \"answer\" , \"n\" : [ 1.50 , -0 , null ] }\r\n",
        r#"@"#,
        r#"["6","8","room:1","sdp_answer",{"body":@}]"#,
        r#"42["answer",{"sdp":@},12345678901234567890]"#,
    ] {
        let body = shape.replace('@', &quoted(JANUS_ANSWER));
        assert_eq!(
            bench.text(Direction::ToClient, &body),
            shape.replace('@', &quoted(&sdp)),
            "{shape}"
        );
    }
}

#[test]
fn json_inside_json() {
    let mut bench = Bench::new(Mode::Hijack);
    let outer = |inner: &str| format!(r#"[null,"3","room:1","ice",{{"body":{}}}]"#, quoted(inner));
    let inner = |line: &str, ufrag: &str| {
        let (line, ufrag) = (quoted(line), quoted(ufrag));
        format!(r#"{{"candidate":{line},"sdpMid":"0","sdpMLineIndex":0,"usernameFragment":{ufrag}}}"#)
    };
    let seen = bench.keys.server_facing(ROUTE, "Xs+/", None).ufrag;
    let body = outer(&inner(
        "candidate:1 1 tcp 1 198.51.100.7 9 typ host tcptype active",
        "Xs+/",
    ));
    let want = outer(&inner(
        &format!("candidate:1 1 udp 16777471 {LEG} 50000 typ host"),
        &seen,
    ));
    assert_eq!(bench.text(Direction::ToServer, &body), want);
    let description = |sdp: &str| outer(&format!(r#"{{"type":"offer","sdp":{}}}"#, quoted(sdp)));
    let want = description(&bench.text(Direction::ToServer, CHROME_OFFER));
    assert_eq!(bench.text(Direction::ToServer, &description(CHROME_OFFER)), want);
}

#[test]
fn a_server_candidate_init_names_the_token() {
    let mut bench = Bench::new(Mode::Hijack);
    let sdp = bench.text(Direction::ToClient, JANUS_ANSWER);
    let token = attribute(&sdp, "ice-ufrag");
    let init = |line: &str, ufrag: &str| format!(r#"{{"candidate":"{line}","usernameFragment":"{ufrag}"}}"#);
    let theirs = init(
        "candidate:1 1 udp 1 10.0.0.5 7 typ host generation 0 ufrag Ja+0",
        "Ja+0",
    );
    let ours = init(
        &format!("candidate:1 1 udp 2130706431 192.0.2.1 6443 typ host ufrag {token}"),
        token,
    );
    assert_eq!(bench.text(Direction::ToClient, &theirs), ours);
    assert_eq!(
        bench.text(Direction::ToClient, &init("", "Ja+0")),
        init("", token)
    );
    bench.mode = Mode::Direct;
    assert!(
        bench
            .text(Direction::ToClient, &theirs)
            .ends_with("ufrag Ja+0\",\"usernameFragment\":\"Ja+0\"}")
    );
}

#[test]
fn a_ufrag_with_an_escaped_slash_is_the_same_ufrag() {
    let mut bench = Bench::new(Mode::Hijack);
    let seen = bench.keys.server_facing(ROUTE, "Xs+/", None).ufrag;
    let body = r#"{"candidate":"","usernameFragment":"Xs+\/"}"#;
    let want = format!(r#"{{"candidate":"","usernameFragment":"{seen}"}}"#);
    assert_eq!(bench.text(Direction::ToServer, body), want);
}

#[test]
fn each_candidate_object_is_renamed_once() {
    let mut bench = Bench::new(Mode::Hijack);
    let body =
        r#"{"a":"candidate:1","b":{"candidate":"candidate:2","ufrag":"u1"},"c":"candidate:3","ufrag":"u2"}"#;
    let text = bench.text(Direction::ToServer, body);
    let name = |ufrag| bench.keys.server_facing(ROUTE, ufrag, None).ufrag;
    assert!(
        text.contains(&name("u1")) && text.ends_with(&format!(r#""ufrag":"{}"}}"#, name("u2"))),
        "{text}"
    );
    assert_eq!(count(&text, LEG), 3);
}

#[test]
fn escapes_outside_of_the_edits_stay_as_they_were_written() {
    let mut bench = Bench::new(Mode::Hijack);
    let body = r#"{"sdp":"v=0\u000d\u000as=\u00e9\/\u0022\nm=audio 9 UDP\/TLS\/RTP\/SAVPF 0\na=ice-ufrag:u\/12\na=ice-pwd:p\na=mid:0\n"}"#;
    let text = bench.text(Direction::ToServer, body);
    assert!(text.starts_with(
        r#"{"sdp":"v=0\u000d\u000as=\u00e9\/\u0022\nm=audio 50000 UDP\/TLS\/RTP\/SAVPF 0\na=ice-ufrag:"#
    ));
    let seen = bench.keys.server_facing(ROUTE, "u/12", None).ufrag;
    assert!(text.contains(&seen), "{text}");
    assert!(
        text.ends_with(&format!(
            r#"\na=mid:0\na=candidate:1 1 udp 16777471 {LEG} 50000 typ host\n"}}"#
        )),
        "{text}"
    );
}

#[test]
fn an_encoder_that_escapes_equals_signs_hides_nothing() {
    let mut bench = Bench::new(Mode::Hijack);
    let escaped = |sdp: &str| {
        format!(
            r#"{{"id":"startResponse","sdpAnswer":{}}}"#,
            quoted(sdp).replace('=', "\\u003d")
        )
    };
    let text = bench.text(Direction::ToClient, &escaped(JANUS_ANSWER));
    let plain: serde_json::Value = serde_json::from_str(&text).expect("still JSON");
    assert_eq!(plain["sdpAnswer"], bench.text(Direction::ToClient, JANUS_ANSWER));
    assert!(text.contains(r"s\u003dVideoRoom 1234\r\n"));
}

#[test]
fn surroundings_reach_into_nested_documents() {
    let mut bench = Bench::new(Mode::Hijack);
    let inner = format!(r#"{{"sdp":{}}}"#, quoted(JANUS_ANSWER));
    let body = format!(
        r#"{{"session_id":1,"sender":2,"type":"offer","data":{}}}"#,
        quoted(&inner)
    );
    let outcome = bench.run(Direction::ToClient, body.as_bytes());
    assert!(matches!(
        &outcome.facts[..],
        [Fact::ServerDescription { scope: Some(scope), server_offers: true, .. }] if scope == "1:2"
    ));
}

#[test]
fn the_address_asked_for_is_that_of_the_session_to_come() {
    let mut bench = Bench::new(Mode::Hijack);
    let seen = bench.keys.server_facing(ROUTE, "Xs+/", None).ufrag;
    for body in [
        CHROME_OFFER,
        r#"{"candidate":"candidate:1 1 udp 1 198.51.100.7 9 typ host","usernameFragment":"Xs+/"}"#,
        r#"{"candidate":"candidate:1 1 udp 1 198.51.100.7 9 typ host ufrag Xs+/"}"#,
    ] {
        bench.text(Direction::ToServer, body);
        assert_eq!(bench.asked.take(), [&seen[..]], "{body}");
    }
    bench.text(Direction::ToServer, "candidate:1 1 udp 1 198.51.100.7 9 typ host");
    assert_eq!(bench.asked.take(), [""]);
}

#[test]
fn what_only_looks_like_a_ufrag_is_none() {
    let mut bench = Bench::new(Mode::Hijack);
    for (beside, kept) in [
        ("12", true),
        ("\"\"", true),
        ("null", true),
        ("\"candidate:x\"", false),
    ] {
        let body = |line: &str| format!(r#"{{"candidate":"{line}","ufrag":{beside}}}"#);
        let text = bench.text(Direction::ToServer, &body("candidate:1"));
        let want = body(&format!("candidate:1 1 udp 16777471 {LEG} 50000 typ host"));
        assert_eq!(text == want, kept, "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    }
}
