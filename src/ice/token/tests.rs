//! Tests of the token: round trips, bounds, damage, rotation.

use proptest::prelude::*;

use super::*;

fn ring() -> KeyRing {
    KeyRing::new([7; 32], &[])
}

fn arb_candidate() -> impl Strategy<Value = ServerCandidate> {
    (any::<bool>(), any::<IpAddr>(), any::<u16>()).prop_map(|(tcp, ip, port)| ServerCandidate {
        transport: if tcp { Transport::Tcp } else { Transport::Udp },
        addr: SocketAddr::new(ip, port),
    })
}

/// Claims as servers make them: RFC 8839 allows 256 characters each, real ones have 4 to 32.
fn arb_claims(max_text: usize, max_candidates: usize) -> impl Strategy<Value = Claims> {
    let text = move || proptest::string::string_regex(&format!("[a-zA-Z0-9+/]{{0,{max_text}}}")).unwrap();
    let candidates = proptest::collection::vec(arb_candidate(), 0..=max_candidates);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (any::<u32>(), any::<u32>(), flags, text(), text(), candidates).prop_map(
        |(route, minted_at, flags, ufrag, pwd, candidates)| Claims {
            route: RouteId(route),
            minted_at,
            server_offers: flags.0,
            server_lite: flags.1,
            icetcp: flags.2,
            ufrag,
            pwd,
            candidates,
        },
    )
}

fn claims() -> Claims {
    Claims {
        route: RouteId(1),
        minted_at: 1_790_000_000,
        server_offers: false,
        server_lite: false,
        icetcp: false,
        ufrag: "abcd".into(),
        pwd: "abcdefghijklmnopqrstuv".into(),
        candidates: vec![ServerCandidate {
            transport: Transport::Udp,
            addr: "10.0.0.1:10000".parse().unwrap(),
        }],
    }
}

proptest! {
    #[test]
    fn what_was_sealed_opens_to_the_same_claims(claims in arb_claims(32, 3)) {
        let token = ring().seal(&claims).unwrap();
        prop_assert_eq!(ring().open(&token).unwrap(), claims);
    }

    #[test]
    fn a_token_is_never_too_long_and_only_candidates_are_left_out(claims in arb_claims(200, 20)) {
        let Ok(token) = ring().seal(&claims) else { return Ok(()) };
        prop_assert!(token.len() <= MAX_TOKEN_LEN);
        prop_assert!(token.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'+' || c == b'/'));
        let opened = ring().open(&token).unwrap();
        let kept = opened.candidates.len();
        prop_assert!(kept <= MAX_CANDIDATES);
        prop_assert_eq!(kept == 0, claims.candidates.is_empty());
        let candidates = claims.candidates[..kept].to_vec();
        prop_assert_eq!(opened, Claims { candidates, ..claims });
    }

    #[test]
    fn no_character_can_be_changed(at: usize, to in "[a-zA-Z0-9+/]") {
        let token = ring().seal(&claims()).unwrap();
        let at = at % token.len();
        let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        prop_assert_eq!(ring().open(&changed).is_ok(), changed == token);
    }

    #[test]
    fn nothing_else_opens(noise in ".{0,300}") {
        prop_assert_eq!(ring().open(&noise), Err(OpenError::Forged));
    }

    #[test]
    fn another_key_opens_nothing(secret: [u8; 32]) {
        prop_assume!(secret != [7; 32]);
        let token = ring().seal(&claims()).unwrap();
        prop_assert!(KeyRing::new(secret, &[]).open(&token).is_err());
    }
}

#[test]
fn no_bit_can_be_flipped_lost_or_added() {
    let token = ring().seal(&claims()).unwrap();
    let raw = STANDARD_NO_PAD.decode(&token).unwrap();
    for bit in 0..raw.len() * 8 {
        let mut raw = raw.clone();
        raw[bit / 8] ^= 1 << (bit % 8);
        assert!(ring().open(&STANDARD_NO_PAD.encode(raw)).is_err(), "bit {bit}");
    }
    for len in 0..token.len() {
        assert!(ring().open(&token[..len]).is_err(), "{len} characters");
    }
    assert!(ring().open(&format!("{token}A")).is_err());
    assert!(ring().open(&format!("{token}=")).is_err());
}

#[test]
fn equal_claims_give_equal_tokens_and_others_give_others() {
    let token = ring().seal(&claims()).unwrap();
    assert_eq!(ring().seal(&claims()).unwrap(), token);
    let changes: [fn(&mut Claims); 6] = [
        |claims| claims.route = RouteId(2),
        |claims| claims.minted_at += 1,
        |claims| claims.server_lite = true,
        |claims| claims.icetcp = true,
        |claims| claims.pwd.push('x'),
        |claims| claims.candidates.clear(),
    ];
    for change in changes {
        let mut other = claims();
        change(&mut other);
        assert_ne!(ring().seal(&other).unwrap(), token);
    }
}

#[test]
fn credentials_that_leave_no_room_for_an_address_are_refused() {
    let mut long = claims();
    // 12 bytes of frame and an IPv4 candidate of 7 beside the credentials.
    long.ufrag = "u".repeat(MAX_PLAINTEXT - 12 - 7 - long.pwd.len());
    assert_eq!(ring().seal(&long).unwrap().len(), MAX_TOKEN_LEN);
    long.ufrag.push('u');
    assert_eq!(ring().seal(&long), Err(SealError::TooLong));
    long.candidates.clear();
    assert!(ring().seal(&long).is_ok());
    long.ufrag = "u".repeat(256);
    assert_eq!(ring().seal(&long), Err(SealError::TooLong));
}

#[test]
fn a_rotated_key_still_opens_what_it_sealed() {
    let token = ring().seal(&claims()).unwrap();
    let rotated = KeyRing::new([8; 32], &[[7; 32]]);
    assert_eq!(rotated.open(&token).unwrap(), claims());
    assert_ne!(rotated.seal(&claims()).unwrap(), token);
    assert!(KeyRing::new([8; 32], &[]).open(&token).is_err());
}

#[test]
fn the_password_is_not_shown() {
    let shown = format!("{:?}", claims());
    assert!(!shown.contains(&claims().pwd) && !shown.contains("pwd"));
}
