//! Bytes to the TCP port that are no request, or half of one.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use xrtc_testing::lab::{Error, Result};

use crate::scene::{PATIENCE, Scene, assert_refused, with_calls};

/// Sends bytes, ends the sending half, and returns what came before the other half ended.
async fn answer_to(scene: &Scene, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(scene.daemon.http).await?;
    // Either may fail when the other side has had enough before all was sent.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer));
    match read.await {
        Ok(_) => Ok(answer),
        Err(_) => Err(Error::new("the connection is kept open")),
    }
}

#[test]
fn what_is_no_request_gets_an_error_or_nothing() {
    with_calls(async |scene, _| {
        let noise: Vec<u8> = (0..4_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80)
            .collect();
        let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'a'; 200_000]].concat();
        let check = scene.callers[0].1.last_check();
        let framed = [&(check.len() as u16).to_be_bytes()[..], &check].concat();
        let streams: [(&str, &[u8], &str); 12] = [
            ("nothing", b"", "front_left"),
            ("noise", &noise, "front_unknown"),
            ("zeroes", &[0; 3000], "front_unknown"),
            ("a check without a frame", &check, "front_unknown"),
            (
                "a captured check, where no ICE is taken",
                &framed,
                "ice_tcp_refused",
            ),
            ("half a frame", &framed[..9], "front_left"),
            (
                "TLS without a certificate",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                "tls_refused",
            ),
            (
                "half a request line",
                b"POST /hijack/x HT",
                "connections_unreadable",
            ),
            (
                "half of the headers",
                b"POST /hijack/x HTTP/1.1\r\nhost: a\r\ncontent-le",
                "connections_unreadable",
            ),
            (
                "another protocol",
                b"SSH-2.0-OpenSSH_9.2\r\n",
                "connections_unreadable",
            ),
            ("headers without end", &endless, "connections_unreadable"),
            (
                "two lengths",
                b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
                "connections_unreadable",
            ),
        ];
        for (what, bytes, counter) in streams {
            let before = scene.daemon.metrics().await?;
            let answer = answer_to(scene, bytes).await?;
            let text = String::from_utf8_lossy(&answer);
            let may_answer = counter == "connections_unreadable" && text.starts_with("HTTP/1.1 4");
            assert!(answer.is_empty() || may_answer, "{what}: {text}");
            // The answer goes out before the end of the connection is counted.
            let expected = before.http(counter) + 1;
            let after = scene
                .metrics_once(|metrics| metrics.http(counter) >= expected)
                .await?;
            assert_eq!(after.http(counter), expected, "{what}: {counter}");
            assert_eq!(after.http("requests"), before.http("requests"), "{what}");
            assert_refused(what, &before, &after, 0, &[]);
        }
        Ok(())
    });
}

#[test]
fn a_request_with_half_a_body_makes_no_call() {
    with_calls(async |scene, _| {
        let before = scene.daemon.metrics().await?;
        let name = scene.new_name();
        let head = format!("POST /hijack/{name} HTTP/1.1\r\nhost: a\r\ncontent-type: application/sdp\r\n");
        let half = format!("{head}content-length: 5000\r\n\r\nv=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n");
        let answer = answer_to(scene, half.as_bytes()).await?;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"));
        assert_eq!(scene.server.offer(&name), None, "half an offer is not passed on");
        let after = scene.daemon.metrics().await?;
        assert_refused("half a body", &before, &after, 0, &[]);
        Ok(())
    });
}
