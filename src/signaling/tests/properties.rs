//! What holds for every message.

use proptest::prelude::*;

use super::samples::*;
use super::*;

const MARK: &str = "@SDP@";

fn any_mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![Mode::Hijack, Mode::Direct])
}

fn any_direction() -> impl Strategy<Value = Direction> {
    prop::sample::select(vec![Direction::ToClient, Direction::ToServer])
}

/// JSON text with odd blanks, escapes and numbers, in which some strings are [`MARK`].
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(quoted(MARK)),
        Just("true".to_owned()),
        Just("12345678901234567890".to_owned()),
        Just("-1.50E+07".to_owned()),
        any::<String>().prop_map(|text| quoted(&text)),
        Just(r#""\u0041\/\ud83d\ude00""#.to_owned()),
    ];
    let blank = prop::sample::select(vec!["", " ", "\r\n\t"]);
    leaf.prop_recursive(6, 40, 5, move |inner| {
        let blank = blank.clone();
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..5), blank.clone())
                .prop_map(|(items, blank)| format!("[{blank}{}{blank}]", items.join(&format!("{blank},")))),
            (prop::collection::vec((any::<String>(), inner), 0..5), blank).prop_map(|(members, blank)| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(key, value)| format!("{blank}{}{blank}:{blank}{value}", quoted(key)))
                    .collect();
                format!("{{{}{blank}}}", members.join(","))
            }),
        ]
    })
}

/// Lines as they turn up in descriptions, legal and not, with both line ends. Mostly with credentials somewhere, since
/// a description without is merely refused.
fn any_lines() -> impl Strategy<Value = String> {
    let usual = prop::sample::select(vec![
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        "m=video 0 RTP/SAVPF 96",
        "m=application 9/2 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 10.1.2.3",
        "o=- 1 1 IN IP4 10.1.2.3",
        "a=ice-ufrag:abcd\na=ice-pwd:0123456789",
        "a=ice-lite",
        "a=ice-options:trickle ice2",
        "a=ice-options:renomination",
        "a=candidate:1 1 udp 1 10.1.2.3 9000 typ host",
        "a=candidate:1 1 tcp 1 10.1.2.3 9000 typ host tcptype passive ufrag abcd",
        "a=candidate:1 1 udp 1 10.9.9.9 9001 typ srflx raddr 10.1.2.3 rport 9",
        "a=end-of-candidates",
        "a=rtcp:9 IN IP4 10.1.2.3",
        "a=rtcp:0",
        "a=rtcp-mux",
        "a=bundle-only",
        "a=mid:0",
        "a=mid:1",
        "a=setup:actpass",
        "a=remote-candidates:1 10.1.2.3 9",
        "a=fingerprint:sha-256 AA:BB ",
        "",
        "b=AS:1",
    ]);
    let odd = prop::sample::select(vec![
        "m=",
        "m=audio",
        "c=",
        "o=-",
        "a=rtcp:",
        "a=candidate:",
        "a=ice-ufrag:x",
        "a=ice-pwd:x",
    ]);
    let line = prop_oneof![
        40 => usual.prop_map(str::to_owned),
        1 => odd.prop_map(str::to_owned),
        3 => "[a-z=: é]{0,12}",
    ];
    let head = prop::sample::select(vec![
        "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789\r\na=group:BUNDLE 0 1\r\n",
        "v=0\na=group:BUNDLE 0 1\nm=audio 7 RTP/SAVPF 0\na=mid:0\na=ice-ufrag:abcd\na=ice-pwd:0123456789\r\n",
        "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789\n",
        "v=0\r\n",
        "",
    ]);
    let end = prop::sample::select(vec!["\r\n", "\n"]);
    (head, prop::collection::vec((line, end), 0..25)).prop_map(|(head, lines)| {
        let lines: String = lines.into_iter().map(|(line, end)| line + end).collect();
        format!("{head}{lines}")
    })
}

/// Whether a line may change, come or go.
fn is_ours(line: &str) -> bool {
    let attributes = [
        "ice-",
        "candidate",
        "end-of-candidates",
        "remote-candidates",
        "rtcp:",
    ];
    let attribute = line.strip_prefix("a=");
    ["m=", "c=", "o="].iter().any(|kind| line.starts_with(kind))
        || attribute.is_some_and(|rest| attributes.iter().any(|name| rest.starts_with(name)))
}

fn untouchable(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').filter(|line| !is_ours(line)).collect()
}

fn rewritten(bench: &mut Bench, direction: Direction, body: &str) -> String {
    let body = bench
        .run(direction, body.as_bytes())
        .body
        .unwrap_or_else(|| body.as_bytes().to_vec());
    String::from_utf8(body).expect("text stays text")
}

proptest! {
    #[test]
    fn json_around_descriptions_is_byte_identical(
        shape in any_json(), mode in any_mode(), direction in any_direction(),
    ) {
        let mut bench = Bench::new(mode);
        let sdp = bench.text(direction, JANUS_ANSWER);
        let fill = |sdp: &str| shape.replace(&quoted(MARK), &quoted(sdp));
        prop_assert_eq!(rewritten(&mut bench, direction, &fill(JANUS_ANSWER)), fill(&sdp));
    }

    #[test]
    fn lines_of_others_keep_their_bytes_and_order(
        text in any_lines(), mode in any_mode(), direction in any_direction(),
    ) {
        let out = rewritten(&mut Bench::new(mode), direction, &text);
        prop_assert_eq!(untouchable(&out), untouchable(&text));
    }

    #[test]
    fn ports_neither_open_nor_close(text in any_lines(), mode in any_mode(), direction in any_direction()) {
        let out = rewritten(&mut Bench::new(mode), direction, &text);
        let closed = |text: &str| -> Vec<bool> {
            let media = text.lines().filter(|line| line.starts_with("m="));
            media.map(|line| line.split(' ').nth(1) == Some("0")).collect()
        };
        prop_assert_eq!(closed(&out), closed(&text));
    }

    #[test]
    fn no_address_of_a_server_reaches_a_client(text in any_lines(), mode in any_mode()) {
        let outcome = Bench::new(mode).run(Direction::ToClient, text.as_bytes());
        if let Some(body) = outcome.body {
            let body = String::from_utf8(body).expect("text stays text");
            prop_assert!(!body.contains("10.1.2.3"), "{}", body);
            prop_assert!(mode == Mode::Direct || !body.contains("abcd") && !body.contains("0123456789"), "{}", body);
        }
    }

    #[test]
    fn a_second_rewrite_towards_the_same_side_changes_nothing(text in any_lines(), direction in any_direction()) {
        let mut bench = Bench::new(Mode::Direct);
        bench.permits = |_| true;
        let once = rewritten(&mut bench, direction, &text);
        prop_assert_eq!(rewritten(&mut bench, direction, &once), once);
    }

    #[test]
    fn the_same_message_is_always_rewritten_alike(text in any_lines(), direction in any_direction()) {
        let mut bench = Bench::new(Mode::Hijack);
        let first = rewritten(&mut bench, direction, &text);
        bench.now += 1;
        prop_assert_eq!(rewritten(&mut bench, direction, &text), first);
    }

    #[test]
    fn no_bytes_are_too_strange(body in prop::collection::vec(any::<u8>(), 0..200), direction in any_direction()) {
        let outcome = Bench::new(Mode::Hijack).run(direction, &body);
        prop_assert!(may_concern_ice(&body) || outcome == Outcome::default());
    }

    #[test]
    fn no_shape_is_too_strange(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\\"", "\\u00", "\\ud83d", "\"candidate\":", "\"candidate:1 1 udp\"",
            "\"usernameFragment\":\"candidate:x\"", "\"ufrag\":", "\"type\":\"offer\"", "\"session_id\":1", "\"sender\":\"\"",
            "v=0\\r\\n", "v=0\r\n", "a=ice-ufrag:x\\n", "a=candidate:", "m=audio 9\n", "\"\"", "0", "é", " ", "{\\\"sdp\\\":\\\"v=0 \\\"}",
        ]), 0..40),
        direction in any_direction(), mode in any_mode(),
    ) {
        let body = pieces.concat();
        let out = rewritten(&mut Bench::new(mode), direction, &body);
        let before: Result<serde_json::Value, _> = serde_json::from_str(&body);
        let after: Result<serde_json::Value, _> = serde_json::from_str(&out);
        prop_assert!(before.is_err() || after.is_ok(), "{} became {}", body, out);
    }
}
