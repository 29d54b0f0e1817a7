//! PROXY protocol headers, and who may send them.

use crate::door::{Door, Setup};
use crate::wire::{GET, ICE, exchange};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

async fn trusting(networks: &[&'static str]) -> Door {
    let setup = Setup {
        trusted_proxies: networks.to_vec(),
        ..Setup::default()
    };
    setup.start().await
}

/// What the upstream is told after this header.
async fn told(door: &Door, header: &[u8]) -> String {
    String::from_utf8(exchange(door, &[header, GET].concat()).await).unwrap()
}

fn v2(fixed: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [SIGNATURE, &fixed, &len, payload].concat()
}

#[tokio::test]
async fn every_form_of_a_trusted_header() {
    let door = trusting(&["127.0.0.0/8"]).await;
    let v6 = told(&door, b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 8443\r\n").await;
    assert!(
        v6.contains("x-real-ip: 2001:db8::7\n") && v6.contains("x-forwarded-port: 8443\n"),
        "{v6}"
    );
    let pair = [
        &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7].repeat(2)[..],
        &[19, 136, 1, 187],
    ]
    .concat();
    let v6 = told(&door, &v2([0x21, 0x21], &pair)).await;
    assert!(
        v6.contains("x-real-ip: 2001:db8::7\n") && v6.contains("x-forwarded-port: 443\n"),
        "{v6}"
    );
    for own in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
        v2([0x20, 0x00], b""),
        v2([0x20, 0x11], b"whatever"),
        v2([0x21, 0x00], b"whatever"),
        v2([0x21, 0x31], &[0; 216]),
    ] {
        let text = told(&door, &own).await;
        assert!(
            text.contains("x-real-ip: 127.0.0.1\n"),
            "{}: {text}",
            own.escape_ascii()
        );
    }
}

#[tokio::test]
async fn tls_that_ended_at_the_proxy_is_https() {
    let door = trusting(&["127.0.0.1/32"]).await;
    let mut payload = vec![192, 0, 2, 7, 192, 0, 2, 1, 19, 136, 1, 187];
    payload.extend(b"\x01\x00\x02h2\x20\x00\x05\x01\0\0\0\0");
    let text = told(&door, &v2([0x21, 0x11], &payload)).await;
    assert!(text.contains("x-forwarded-proto: https\n"), "{text}");
    payload[20] = 0;
    let text = told(&door, &v2([0x21, 0x11], &payload)).await;
    assert!(text.contains("x-forwarded-proto: http\n"), "{text}");
}

#[tokio::test]
async fn a_header_is_not_needed() {
    let door = trusting(&["127.0.0.0/8"]).await;
    assert!(told(&door, b"").await.contains("x-real-ip: 127.0.0.1\n"));
}

#[tokio::test]
async fn nobody_else_is_believed() {
    for networks in [&[][..], &["192.0.2.0/24", "::/0"]] {
        let door = trusting(networks).await;
        for header in [
            b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n".to_vec(),
            v2([0x20, 0x00], b""),
        ] {
            let before = door.count("proxy_untrusted");
            assert_eq!(exchange(&door, &[&header, GET].concat()).await, b"");
            assert_eq!(exchange(&door, &[&header, ICE].concat()).await, b"");
            door.counted("proxy_untrusted", before + 2).await;
        }
        assert_eq!(door.count("requests") + door.count("ice_tcp_connections"), 0);
    }
}

#[tokio::test]
async fn malformed_headers_end_the_connection() {
    let door = trusting(&["127.0.0.0/8"]).await;
    let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
    let malformed: Vec<Vec<u8>> = vec![
        long,
        b"PROXY TCP4 192.0.2.7 192.0.2.1 5000\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 65536\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.1 +5000 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.1 05000 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7  192.0.2.1 5000 443\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::1 192.0.2.1 5000 443\r\n".to_vec(),
        b"PROXY TCP6 192.0.2.7 192.0.2.1 5000 443\r\n".to_vec(),
        b"PROXY UDP4 192.0.2.7 192.0.2.1 5000 443\r\n".to_vec(),
        b"PROXY \xff\xff\r\n".to_vec(),
        v2([0x11, 0x11], &[0; 12]),
        v2([0x22, 0x11], &[0; 12]),
        v2([0x21, 0x12], &[0; 12]),
        v2([0x21, 0x11], &[0; 11]),
        v2([0x21, 0x21], &[0; 35]),
        v2([0x21, 0x31], &[0; 215]),
        v2([0x21, 0x11], &[0; 14]),
        v2([0x21, 0x11], &[&[0; 12][..], b"\x04\x00\x09x"].concat()),
        v2([0x21, 0x11], &vec![0; 5000]),
    ];
    for (count, header) in malformed.iter().enumerate() {
        assert_eq!(exchange(&door, header).await, b"", "{}", header.escape_ascii());
        door.counted("proxy_malformed", count as u64 + 1).await;
    }
}

#[tokio::test]
async fn one_header_is_enough() {
    let door = trusting(&["127.0.0.0/8"]).await;
    let twice = b"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n";
    assert_eq!(exchange(&door, twice).await, b"");
    door.counted("front_unknown", 1).await;
}
