//! The credentials that xrtc makes up, each a function of the key and of what the packets or the SDP show anyway, so
//! that nothing has to be remembered.
//!
//! Towards clients the ufrag is the token and the password comes from it; towards servers both come from the route
//! and the client's own ufrag. RFC 8445 section 5.3 asks for 24 random bits of ufrag and 128 of password; these have
//! 72 and 192 bits of PRF output.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::keys::{Key, KeyRing};
use super::policy::RouteId;

const UFRAG_BYTES: usize = 9;
const PWD_BYTES: usize = 24;

/// An ICE username fragment and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `a=ice-ufrag`
    pub ufrag: String,
    /// `a=ice-pwd`
    pub pwd: String,
}

impl std::fmt::Debug for Credentials {
    /// Leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    /// The password that goes with a token towards clients: `a=ice-pwd` of the rewritten server SDP, and the key of
    /// the client's checks. Uses the key that sealed the token (by its id), so that it survives a rotation.
    #[must_use]
    pub fn client_facing_pwd(&self, token: &str) -> String {
        let key = self.sealing_key(token);
        STANDARD_NO_PAD.encode(&key.prf("client pwd", &[token.as_bytes()])[..PWD_BYTES])
    }

    /// The credentials that the server sees in place of the client's: `a=ice-ufrag` and `a=ice-pwd` of the rewritten
    /// client SDP. `token` is the server's token where it is known (it names the key), else the current key is used.
    #[must_use]
    pub fn server_facing(&self, route: RouteId, client_ufrag: &str, token: Option<&str>) -> Credentials {
        let key = token.map_or_else(|| self.current(), |token| self.sealing_key(token));
        let parts = [&route.0.to_be_bytes()[..], client_ufrag.as_bytes()];
        Credentials {
            ufrag: STANDARD_NO_PAD.encode(&key.prf("server ufrag", &parts)[..UFRAG_BYTES]),
            pwd: STANDARD_NO_PAD.encode(&key.prf("server pwd", &parts)[..PWD_BYTES]),
        }
    }

    fn sealing_key(&self, token: &str) -> &Key {
        let id = token
            .as_bytes()
            .first_chunk::<4>()
            .and_then(|head| STANDARD_NO_PAD.decode(head).ok());
        let mut named = id.into_iter().flat_map(|head| self.with_id(head[0]));
        match (named.next(), named.next()) {
            (None, _) => self.current(),
            (Some(only), None) => only,
            // Two keys of the same id, once in 256 rotations: only the token itself can tell.
            (Some(_), Some(_)) => self.sealed_with(token).unwrap_or_else(|| self.current()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::Claims;
    use super::*;

    const OLD: [u8; 32] = [7; 32];

    fn token(ring: &KeyRing) -> String {
        let claims = Claims {
            route: RouteId(1),
            minted_at: 1,
            server_offers: false,
            server_lite: false,
            icetcp: false,
            ufrag: "abcd".into(),
            pwd: "abcdefghijklmnopqrstuv".into(),
            candidates: Vec::new(),
        };
        ring.seal(&claims).unwrap()
    }

    /// Another secret whose one-byte id is that of `secret`.
    fn namesake(secret: [u8; 32]) -> [u8; 32] {
        let id = KeyRing::new(secret, &[]).current().id;
        (0..=u16::MAX)
            .map(|n| {
                let mut other = [9; 32];
                other[..2].copy_from_slice(&n.to_be_bytes());
                other
            })
            .find(|&other| KeyRing::new(other, &[]).current().id == id)
            .unwrap()
    }

    #[test]
    fn they_have_the_characters_and_the_lengths_of_rfc_8839() {
        let ring = KeyRing::new(OLD, &[]);
        let facing = ring.server_facing(RouteId(1), "abcd", None);
        let pwd = ring.client_facing_pwd(&token(&ring));
        assert_eq!((facing.ufrag.len(), facing.pwd.len(), pwd.len()), (12, 32, 32));
        for text in [&facing.ufrag, &facing.pwd, &pwd] {
            assert!(
                text.bytes()
                    .all(|c| c.is_ascii_alphanumeric() || c == b'+' || c == b'/')
            );
        }
    }

    #[test]
    fn every_input_matters() {
        let ring = KeyRing::new(OLD, &[]);
        let one = ring.server_facing(RouteId(1), "abcd", None);
        assert_eq!(ring.server_facing(RouteId(1), "abcd", None), one);
        for other in [
            ring.server_facing(RouteId(2), "abcd", None),
            ring.server_facing(RouteId(1), "abce", None),
            KeyRing::new([8; 32], &[]).server_facing(RouteId(1), "abcd", None),
        ] {
            assert!(other.ufrag != one.ufrag && other.pwd != one.pwd);
        }
        assert_ne!(ring.client_facing_pwd("one"), ring.client_facing_pwd("two"));
    }

    #[test]
    fn they_survive_a_rotation_of_the_key() {
        let before = KeyRing::new(OLD, &[]);
        let token = token(&before);
        for newer in [[8; 32], namesake(OLD)] {
            let after = KeyRing::new(newer, &[OLD]);
            assert_eq!(after.client_facing_pwd(&token), before.client_facing_pwd(&token));
            assert_eq!(
                after.server_facing(RouteId(1), "abcd", Some(&token)),
                before.server_facing(RouteId(1), "abcd", None),
            );
            let without = after.server_facing(RouteId(1), "abcd", None);
            assert_ne!(without, before.server_facing(RouteId(1), "abcd", None));
        }
    }

    #[test]
    fn what_is_no_token_has_a_password_all_the_same() {
        let ring = KeyRing::new(OLD, &[]);
        for text in ["", "a", "abc", "ab cd", "\u{e9}\u{e9}\u{e9}"] {
            assert_eq!(ring.client_facing_pwd(text).len(), 32);
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let ring = KeyRing::new(OLD, &[]);
        let facing = ring.server_facing(RouteId(1), "abcd", None);
        assert!(!format!("{facing:?}").contains(&facing.pwd));
        assert!(!format!("{ring:?}").contains("7, 7"));
    }
}
