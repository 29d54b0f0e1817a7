//! TLS offers that no library makes any more, byte by byte: whole classes of suites, groups and methods at once, each
//! beside the same offer with one thing in it that is served.

use crate::door::{Door, Pki, Setup};
use crate::wire::first_record;

/// RFC 5289 and RFC 7905: ECDHE with AES-GCM or ChaCha20-Poly1305, for ECDSA and for RSA certificates.
const SERVED: [u16; 6] = [0xc02b, 0xc02c, 0xcca9, 0xc02f, 0xc030, 0xcca8];
/// Not suites but signals (RFC 5746, RFC 7507).
const SIGNALS: [u16; 2] = [0x00ff, 0x5600];
/// secp256r1, secp384r1, x25519 (RFC 8422).
const SERVED_GROUPS: [u16; 3] = [23, 24, 29];
const P256: u16 = 23;
const SERVER_HELLO: u8 = 2;
/// Alerts (RFC 8446 section 6).
const HANDSHAKE_FAILURE: u8 = 40;
const HEARTBEAT: u16 = 15;
const HOST: &str = "a.example";

/// A ClientHello of TLS 1.2.
struct Hello {
    suites: Vec<u16>,
    groups: Vec<u16>,
    compression: &'static [u8],
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            suites: SERVED.to_vec(),
            groups: SERVED_GROUPS.to_vec(),
            compression: &[0],
        }
    }
}

impl Hello {
    /// The record that carries it.
    fn record(&self) -> Vec<u8> {
        let numbers = |list: &[u16]| list.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
        // ECDSA and RSA (PKCS#1 and PSS), each with SHA-256.
        let signatures = prefixed(&numbers(&[0x0403, 0x0401, 0x0804]));
        let extensions = [
            extension(0, &prefixed(&[&[0][..], &prefixed(HOST.as_bytes())].concat())),
            extension(10, &prefixed(&numbers(&self.groups))),
            extension(11, &[1, 0]),
            extension(13, &signatures),
            extension(HEARTBEAT, &[1]),
            extension(0xff01, &[0]),
        ]
        .concat();
        let compression_len = u8::try_from(self.compression.len()).unwrap();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &[0],
            &prefixed(&numbers(&self.suites)),
            &[compression_len],
            self.compression,
            &prefixed(&extensions),
        ]
        .concat();
        let message = [&[1, 0][..], &prefixed(&body)].concat();
        [&[22, 3, 1][..], &prefixed(&message)].concat()
    }

    /// The first record that it is answered with: its type and its content.
    async fn answer(&self, door: &Door) -> (u8, Vec<u8>) {
        first_record(door, &self.record()).await
    }

    async fn is_refused(&self, door: &Door) {
        let (kind, content) = self.answer(door).await;
        assert_eq!((kind, content.as_slice()), (21, &[2, HANDSHAKE_FAILURE][..]));
    }

    /// The ServerHello that it is answered with.
    async fn is_taken(&self, door: &Door) -> ServerHello {
        let (kind, content) = self.answer(door).await;
        assert_eq!(
            (kind, content[0]),
            (22, SERVER_HELLO),
            "{}",
            content.escape_ascii()
        );
        ServerHello(content)
    }
}

/// With its length in front, in two bytes.
fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &prefixed(content)].concat()
}

/// RFC 5246 section 7.4.1.3, with the header of the message.
struct ServerHello(Vec<u8>);

impl ServerHello {
    fn random(&self) -> &[u8] {
        &self.0[6..38]
    }

    fn after_session(&self) -> &[u8] {
        &self.0[39 + usize::from(self.0[38])..]
    }

    fn suite(&self) -> u16 {
        u16::from_be_bytes([self.after_session()[0], self.after_session()[1]])
    }

    fn compression(&self) -> u8 {
        self.after_session()[2]
    }

    fn extensions(&self) -> Vec<u16> {
        let len = usize::from(self.0[2]) << 8 | usize::from(self.0[3]);
        let end = 4 + len;
        let mut at = self.0.len() - self.after_session().len() + 5;
        let mut kinds = Vec::new();
        while at + 4 <= end {
            kinds.push(u16::from_be_bytes([self.0[at], self.0[at + 1]]));
            at += 4 + usize::from(u16::from_be_bytes([self.0[at + 2], self.0[at + 3]]));
        }
        kinds
    }
}

async fn serving(pki: &Pki) -> Door {
    let setup = Setup {
        certificates: vec![pki.make_rsa("rsa", HOST).await, pki.make("ecdsa", &[HOST])],
        ..Setup::default()
    };
    setup.start().await
}

/// NULL, EXPORT, RC4, DES, 3DES, CBC, static RSA, static and anonymous DH, PSK, SRP, CCM and what else has a number.
#[tokio::test]
async fn no_suite_but_six_is_served() {
    let pki = Pki::new();
    let door = serving(&pki).await;
    let ranges = [
        0x0000..=0x00ff,
        0xc000..=0xc0ff,
        0xcc00..=0xccff,
        0xd000..=0xd0ff,
        0xfe00..=0xfeff,
    ];
    let others = ranges
        .into_iter()
        .flatten()
        .filter(|suite| !SERVED.contains(suite) && !SIGNALS.contains(suite));
    let others: Vec<u16> = others.collect();
    let offer = |suites| Hello {
        suites,
        ..Hello::default()
    };
    offer(others.clone()).is_refused(&door).await;
    for suite in SERVED {
        let with_one = [others.clone(), vec![suite]].concat();
        assert_eq!(offer(with_one).is_taken(&door).await.suite(), suite);
    }
}

#[tokio::test]
async fn no_weak_group_is_served() {
    let pki = Pki::new();
    let door = serving(&pki).await;
    // All of RFC 4492 and RFC 7919 that are not served: binary and short curves, and finite fields.
    let weak: Vec<u16> = (1..=22).chain(256..=260).collect();
    let offer = |groups| Hello {
        groups,
        ..Hello::default()
    };
    offer(weak.clone()).is_refused(&door).await;
    offer([weak, vec![P256]].concat()).is_taken(&door).await;
}

#[tokio::test]
async fn no_compression_and_no_heartbeat() {
    let pki = Pki::new();
    let door = serving(&pki).await;
    let deflate_first = Hello {
        compression: &[1, 0],
        ..Hello::default()
    };
    let answer = deflate_first.is_taken(&door).await;
    assert_eq!(answer.compression(), 0);
    assert!(
        answer.extensions().contains(&0xff01),
        "secure renegotiation is signalled"
    );
    assert!(!answer.extensions().contains(&HEARTBEAT));
    let deflate_only = Hello {
        compression: &[1],
        ..Hello::default()
    };
    assert_eq!(deflate_only.answer(&door).await.0, 21, "an alert");
}

/// RFC 8446 section 4.1.3: how a client of TLS 1.3 notices that it was talked down. The signal of RFC 7507 was for
/// versions that are not served, and RFC 8996 withdrew it.
#[tokio::test]
async fn a_downgrade_is_told() {
    let pki = Pki::new();
    let door = serving(&pki).await;
    let answer = Hello::default().is_taken(&door).await;
    assert_eq!(answer.random()[24..], *b"DOWNGRD\x01");
}
