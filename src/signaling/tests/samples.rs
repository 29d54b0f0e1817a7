//! Descriptions in the style of the agents that xrtc meets, with addresses from documentation and private ranges.

/// Chrome, trickling: BUNDLE, one active section of each kind, no candidates yet.
pub(super) const CHROME_OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
a=group:BUNDLE 0 1 2\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS 4f2a\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:Xs+/\r\n\
a=ice-pwd:h6Wq3VJ0bTzYdGk1mN5pRsUx\r\na=ice-options:trickle renomination\r\n\
a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51\r\na=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=ssrc:3735928559 cname:candidate\r\n\
m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:Xs+/\r\n\
a=ice-pwd:h6Wq3VJ0bTzYdGk1mN5pRsUx\r\na=ice-options:trickle renomination\r\n\
a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51\r\na=setup:actpass\r\na=mid:1\r\na=sendrecv\r\na=rtcp-mux\r\n\
a=rtpmap:96 VP8/90000\r\n\
m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:Xs+/\r\n\
a=ice-pwd:h6Wq3VJ0bTzYdGk1mN5pRsUx\r\na=bundle-only\r\na=setup:actpass\r\na=mid:2\r\na=sctp-port:5000\r\n";

/// Firefox, gathered: mDNS, server reflexive and TCP active candidates, session-level fingerprint.
pub(super) const FIREFOX_OFFER: &str = "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 5158518 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
a=fingerprint:sha-256 31:5A:C1:00\r\na=group:BUNDLE 0\r\na=ice-options:trickle\r\na=msid-semantic:WMS *\r\n\
m=audio 55122 UDP/TLS/RTP/SAVPF 109\r\nc=IN IP4 198.51.100.7\r\n\
a=candidate:0 1 UDP 2122252543 3d9c2f1e-9a11-4f5c-b0f1-1c2d3e4f5a6b.local 55122 typ host\r\n\
a=candidate:1 1 UDP 1686052863 198.51.100.7 55122 typ srflx raddr 0.0.0.0 rport 0\r\n\
a=candidate:2 1 TCP 2105524479 3d9c2f1e-9a11-4f5c-b0f1-1c2d3e4f5a6b.local 9 typ host tcptype active\r\n\
a=sendrecv\r\na=end-of-candidates\r\na=ice-pwd:5a8b1c0d9e7f6a5b4c3d2e1f0a9b8c7d\r\na=ice-ufrag:12ab34cd\r\n\
a=mid:0\r\na=rtcp:9 IN IP4 198.51.100.7\r\na=rtcp-mux\r\na=setup:actpass\r\na=ssrc:1 cname:{c}\r\n";

/// Janus answering, half trickle: real addresses everywhere, one candidate list per section.
pub(super) const JANUS_ANSWER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 10.0.0.5\r\ns=VideoRoom 1234\r\nt=0 0\r\n\
a=group:BUNDLE 0 1\r\na=ice-options:trickle\r\na=fingerprint:sha-256 D2:B9:31:8F\r\na=extmap-allow-mixed\r\n\
a=msid-semantic: WMS *\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 10.0.0.5\r\na=recvonly\r\na=mid:0\r\na=rtcp-mux\r\na=ice-ufrag:Ja+0\r\n\
a=ice-pwd:hU9sT0kQwErTyUiOpAsDfG\r\na=ice-options:trickle\r\na=setup:active\r\na=rtpmap:111 opus/48000/2\r\n\
a=candidate:1 1 udp 2015363327 10.0.0.5 40811 typ host\r\n\
a=candidate:2 1 udp 2015363583 fe80::5054:ff:fe12:3456 37093 typ host\r\n\
a=candidate:3 1 tcp 1015021823 10.0.0.5 41111 typ host tcptype passive\r\n\
a=candidate:4 1 udp 1679819007 10.0.0.6 40811 typ srflx raddr 10.0.0.5 rport 40811\r\na=end-of-candidates\r\n\
m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 10.0.0.5\r\na=inactive\r\na=mid:1\r\na=ice-ufrag:Ja+0\r\n\
a=ice-pwd:hU9sT0kQwErTyUiOpAsDfG\r\na=candidate:1 1 udp 2015363327 10.0.0.5 40811 typ host\r\n";

/// Janus offering (streaming), LF only, no last newline.
pub(super) const JANUS_OFFER_LF: &str = "v=0\no=- 1700000000 1 IN IP4 10.0.0.5\ns=Mountpoint 2\nt=0 0\na=group:BUNDLE v\n\
m=video 9 UDP/TLS/RTP/SAVPF 100\nc=IN IP4 10.0.0.5\na=mid:v\na=sendonly\na=rtcp-mux\na=ice-ufrag:q1w2\n\
a=ice-pwd:zxcvbnmasdfghjklqwerty\na=setup:actpass\na=candidate:1 1 udp 2015363327 10.0.0.5 40900 typ host";

/// A data channel alone, ICE lite, credentials at session level, lines of both kinds.
pub(super) const LITE_ANSWER: &str = "v=0\r\no=srv 1 1 IN IP4 10.0.0.9\ns=-\r\nt=0 0\r\na=ice-lite\r\na=ice-ufrag:sess\r\n\
a=ice-pwd:sessionlevelpassword00\r\nm=application 8000 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 10.0.0.9 \r\n\
a=setup:passive\r\na=mid:data\r\na=sctp-port:5000\r\na=candidate:1 1 UDP 2130706431 10.0.0.9 8000 typ host\r\n\r\n";

/// A WHIP client restarting ICE.
pub(super) const RESTART_FRAGMENT: &str = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
a=mid:0\r\na=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n\
a=candidate:1387637174 1 udp 2122260223 198.51.100.7 61764 typ host generation 0 ufrag ysXw network-id 1\r\n\
a=end-of-candidates\r\n";

/// The server's reply to it.
pub(super) const RESTART_REPLY: &str = "a=ice-lite\r\na=ice-options:trickle ice2\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
a=ice-ufrag:289b\r\na=ice-pwd:AnotherServerPassword00\r\na=candidate:1 1 udp 2130706431 10.0.0.5 7000 typ host\r\n";
