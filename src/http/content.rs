//! Bodies that may hold signalling: collected up to a limit, rewritten, and described anew by their headers.
//! Everything else streams through unread.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRAILER};
use tokio::time::{Instant, timeout_at};

use crate::signaling::{self, Direction};
use crate::upstream::{Body, BoxError};

use super::context::Signalling;
use super::counters::Counters;
use super::encoding::Coding;

/// Nothing longer than this is looked at; signalling is a few kilobytes.
pub(super) const LIMIT: usize = 256 * 1024;
/// A request that is looked at must be whole by then.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// A response that is looked at must be whole by then; servers are near.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Types of bodies that may be signalling, beside everything in JSON that has a name of its own.
const SIGNALLING: [&str; 5] = [
    "application/sdp",
    "application/trickle-ice-sdpfrag",
    "application/json",
    "text/json",
    "text/plain",
];

/// Checksums of the body as it was (RFC 9530, RFC 1864).
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
];

/// Why a body that was to be looked at did not come.
#[derive(Debug)]
pub(super) enum Incomplete {
    Stalled,
    Broken(BoxError),
}

/// A body before it is passed on.
pub(super) enum Gathered {
    /// All of it, since it may hold signalling.
    Whole(Bytes),
    /// What passes unread.
    Stream(Body),
}

/// Collects a body that may hold signalling.
pub(super) async fn gather(
    counters: &Counters,
    direction: Direction,
    headers: &HeaderMap,
    body: Body,
) -> Result<Gathered, Incomplete> {
    if body.is_end_stream() || !may_signal(headers) {
        return Ok(Gathered::Stream(body));
    }
    if Coding::of(headers) == Coding::Other {
        counters.bodies_encoded.add();
        return Ok(Gathered::Stream(body));
    }
    let timeout = match direction {
        Direction::ToServer => REQUEST_TIMEOUT,
        Direction::ToClient => RESPONSE_TIMEOUT,
    };
    collect(counters, body, Instant::now() + timeout).await
}

/// Rewrites what a body holds of signalling, and adapts the headers to what becomes of it.
pub(super) fn rewrite(
    signalling: &Signalling,
    direction: Direction,
    headers: &mut HeaderMap,
    whole: Bytes,
) -> Bytes {
    let coding = Coding::of(headers);
    let rewritten = match coding {
        Coding::Identity => signalling.rewrite(direction, &whole),
        Coding::Gzip | Coding::Deflate | Coding::Brotli | Coding::Zstd | Coding::Other => {
            match coding.decode(&whole, LIMIT) {
                Some(plain) => signalling.rewrite(direction, &plain),
                None => {
                    signalling.shared.counters.bodies_encoded.add();
                    None
                }
            }
        }
    };
    let body = match rewritten {
        Some(body) => {
            headers.remove(CONTENT_ENCODING);
            for digest in DIGESTS {
                headers.remove(digest);
            }
            Bytes::from(body)
        }
        None => whole,
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.remove(TRAILER);
    body
}

/// Whether a body of this type may be signalling. HTML, scripts, images and event streams are not; a missing type
/// may be anything.
fn may_signal(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    let essence = essence.trim();
    let is = |kind: &&str| essence.eq_ignore_ascii_case(kind);
    let (_, suffix) = essence.rsplit_once('+').unwrap_or_default();
    SIGNALLING.iter().any(is) || (suffix.eq_ignore_ascii_case("json") && !is(&"application/stream+json"))
}

async fn collect(counters: &Counters, mut body: Body, deadline: Instant) -> Result<Gathered, Incomplete> {
    let mut read = BytesMut::new();
    if body.size_hint().lower() > LIMIT as u64 {
        counters.bodies_too_large.add();
        return Ok(Gathered::Stream(body));
    }
    loop {
        match timeout_at(deadline, body.frame()).await {
            Ok(None) => return Ok(Gathered::Whole(read.freeze())),
            Ok(Some(Err(error))) => return Err(Incomplete::Broken(error)),
            // Trailers are left out: they describe the body that came.
            Ok(Some(Ok(frame))) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) if signaling::may_concern_ice(&read) => return Err(Incomplete::Stalled),
            // Not at its end in time, and nothing in it of interest so far.
            Err(_) => return Ok(Gathered::Stream(resumed(read, body))),
        }
        if read.len() > LIMIT {
            counters.bodies_too_large.add();
            return Ok(Gathered::Stream(resumed(read, body)));
        }
    }
}

/// A body of which everything is there.
pub(super) fn full(body: Bytes) -> Body {
    Full::new(body).map_err(Into::into).boxed_unsync()
}

/// A body without content.
pub(super) fn empty() -> Body {
    Empty::new().map_err(Into::into).boxed_unsync()
}

fn resumed(read: BytesMut, rest: Body) -> Body {
    Resumed {
        read: Some(read.freeze()).filter(|read| !read.is_empty()),
        rest,
    }
    .boxed_unsync()
}

/// A body whose beginning has been read already.
struct Resumed {
    read: Option<Bytes>,
    rest: Body,
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.read.take() {
            Some(read) => Poll::Ready(Some(Ok(Frame::data(read)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.as_ref().map_or(0, Bytes::len) as u64;
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint.set_lower(rest.lower().saturating_add(read));
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signalling_types_are_looked_at_and_others_are_not() {
        for (value, expected) in [
            ("application/sdp", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/trickle-ice-sdpfrag", true),
            ("application/problem+json", true),
            ("text/plain;charset=UTF-8", true),
            ("text/event-stream", false),
            ("text/html", false),
            ("image/png", false),
            ("application/octet-stream", false),
            ("application/stream+json", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(may_signal(&headers), expected, "{value}");
        }
        assert!(may_signal(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_comes_back_whole_with_its_length() {
        for len in [LIMIT, LIMIT + 1] {
            let body = resumed(BytesMut::from(&b"x"[..]), full(Bytes::from(vec![b'y'; len - 1])));
            assert_eq!(body.size_hint().exact(), Some(len as u64));
            // Hides the length, as a chunked body does.
            let stream = resumed(BytesMut::new(), unsized_body(body));
            let counters = Counters::default();
            match collect(&counters, stream, Instant::now() + REQUEST_TIMEOUT)
                .await
                .unwrap()
            {
                Gathered::Whole(whole) => assert_eq!((whole.len(), len), (LIMIT, LIMIT)),
                Gathered::Stream(body) => {
                    assert_eq!(body.collect().await.unwrap().to_bytes().len(), LIMIT + 1);
                    assert_eq!(counters.bodies_too_large.get(), 1);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_stream_that_does_not_end_is_passed_on_unless_it_holds_signalling() {
        for (start, passed) in [(&b"tick"[..], true), (b"v=0", false)] {
            let body = resumed(BytesMut::from(start), never_ending());
            match collect(&Counters::default(), body, Instant::now()).await {
                Ok(Gathered::Stream(mut body)) => {
                    assert!(passed);
                    let first = body.frame().await.unwrap().unwrap();
                    assert_eq!(first.into_data().unwrap(), start);
                }
                Err(Incomplete::Stalled) => assert!(!passed),
                Ok(Gathered::Whole(_)) | Err(Incomplete::Broken(_)) => panic!("neither"),
            }
        }
    }

    fn unsized_body(body: Body) -> Body {
        http_body_util::StreamBody::new(body.into_data_stream().map_frames()).boxed_unsync()
    }

    fn never_ending() -> Body {
        http_body_util::StreamBody::new(futures_util::stream::pending()).boxed_unsync()
    }

    trait MapFrames: futures_util::Stream<Item = Result<Bytes, BoxError>> + Sized + Send + 'static {
        fn map_frames(self) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, BoxError>> + Send {
            use futures_util::StreamExt as _;
            self.map(|data| data.map(Frame::data))
        }
    }

    impl<S: futures_util::Stream<Item = Result<Bytes, BoxError>> + Send + 'static> MapFrames for S {}
}
