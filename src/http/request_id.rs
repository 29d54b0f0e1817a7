//! Request ids: one for each request, in logs on both sides and in the response.

use std::cell::RefCell;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// Names a request in logs on both sides.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 128;
const ID_BYTES: usize = 16;

/// The client's own request id if it is one that cannot hurt a log, else a new one of 128 random bits.
pub(super) fn of(headers: &HeaderMap) -> HeaderValue {
    headers
        .get(REQUEST_ID)
        .filter(|id| is_sane(id.as_bytes()))
        .cloned()
        .unwrap_or_else(new_request_id)
}

fn is_sane(id: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

fn new_request_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Vec::with_capacity(2 * ID_BYTES);
    for byte in entropy() {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
    HeaderValue::try_from(text).expect("hexadecimal digits make a header value")
}

/// Bytes for one id, of which each thread keeps a store: the system is not asked for every request.
fn entropy() -> [u8; ID_BYTES] {
    const IDS: usize = 64;
    thread_local! {
        static STORE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    STORE.with_borrow_mut(|store| {
        if store.is_empty() {
            store.resize(IDS * ID_BYTES, 0);
            // Without entropy ids are all zero: useless, but no reason to refuse requests.
            let _ = getrandom::fill(store);
        }
        let mut id = [0; ID_BYTES];
        for byte in &mut id {
            *byte = store.pop().unwrap_or_default();
        }
        id
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(id: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(id))])
    }

    #[test]
    fn request_ids_are_kept_when_sane_and_made_otherwise() {
        assert_eq!(of(&sent("abc-1.2")), "abc-1.2");
        for insane in ["", "a b", "<script>"] {
            let id = of(&sent(insane));
            assert_eq!(id.len(), 32, "{insane:?}");
            assert!(id.as_bytes().iter().all(u8::is_ascii_hexdigit));
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
