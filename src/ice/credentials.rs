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
