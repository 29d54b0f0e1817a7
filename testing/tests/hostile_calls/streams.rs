//! Bytes to the TCP port that are no request, or half of one.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use xrtc_testing::calls::Metrics;
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
        let streams: [(&str, &[u8]); 7] = [
            ("noise", &noise),
            ("zeroes", &[0; 3000]),
            ("half a request line", b"POST /hijack/x HT"),
            (
                "half of the headers",
                b"POST /hijack/x HTTP/1.1\r\nhost: a\r\ncontent-le",
            ),
            ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n"),
            ("headers without end", &endless),
            (
                "two lengths",
                b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            ),
        ];
        for (what, bytes) in streams {
            let before = scene.daemon.metrics().await?;
            let answer = answer_to(scene, bytes).await?;
            let text = String::from_utf8_lossy(&answer);
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
                "{what}: {text}"
            );
            // The answer goes out before the end of the connection is counted.
            let unreadable = |metrics: &Metrics| metrics.http("connections_unreadable");
            let expected = unreadable(&before) + 1;
            let after = scene
                .metrics_once(|metrics| unreadable(metrics) >= expected)
                .await?;
            assert_eq!(unreadable(&after), expected, "{what}");
            assert_refused(what, &before, &after, 0, &[]);
            assert_eq!(after.http("requests"), before.http("requests"), "{what}");
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
