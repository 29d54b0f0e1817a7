//! Why there are differences: of a field wherever it differs, or of everything else that differs in a case.

/// A field that differs in many cases.
pub(crate) const EVERYWHERE: &[(&str, &str)] = &[
    (
        "request: accept-encoding",
        "xrtc reads answers that may hold signalling, and asks for them plain; assets may come compressed",
    ),
    (
        "request: forwarded",
        "RFC 7239. A client's own is replaced unless it is a trusted proxy; nginx and haproxy pass it on",
    ),
    (
        "request: x-forwarded-for",
        "xrtc replaces what clients claim, unless they are trusted proxies; the others add to it. Where one refused there is none",
    ),
    (
        "request: x-forwarded-host",
        "xrtc tells it, and replaces what clients claim; the others pass claims on",
    ),
    ("request: x-forwarded-port", "only xrtc tells it"),
    (
        "request: x-forwarded-proto",
        "as set in nginx; haproxy is not asked to, and passes claims on",
    ),
    (
        "request: x-real-ip",
        "as set in nginx; haproxy is not asked to, and passes claims on",
    ),
    (
        "request: x-request-id",
        "xrtc names each request in its log, to the upstream and to the client",
    ),
    (
        "response: x-request-id",
        "xrtc names each request in its log, to the upstream and to the client. Not where the bytes are no request",
    ),
    (
        "response: connection",
        "keep-alive is what HTTP/1.1 means unless told otherwise: only nginx says it. Who refused may close",
    ),
    (
        "response: date",
        "RFC 9110 section 6.6.1: a proxy adds one where the upstream gave none; haproxy does not",
    ),
    (
        "response: server",
        "nginx puts its own in place of the upstream's; xrtc and haproxy pass the upstream's on",
    ),
    (
        "response: cache-control",
        "haproxy marks its own pages; these statuses are not cached by default",
    ),
    (
        "response: content-type",
        "xrtc's own messages are one line of plain text, or nothing; the others' are HTML",
    ),
    (
        "response: vary",
        "xrtc may serve a precompressed sibling to others",
    ),
];

/// The reason of what else differs in a case.
const SINGLE: &[(&str, &str)] = &[
    (
        "POST in chunks",
        "xrtc and haproxy stream; nginx collects the body first and then knows its length",
    ),
    (
        "OPTIONS *",
        "no route takes `*`; haproxy passes it to its default backend",
    ),
    ("TRACE", "left to the upstream; nginx refuses it"),
    ("CONNECT", "xrtc and nginx are no forward proxies"),
    (
        "redirect to the upstream",
        "xrtc leaves the path, right whatever stands in front; nginx names itself (`proxy_redirect default`); haproxy gives the upstream away",
    ),
    (
        "fields of the hop",
        "xrtc removes all that RFC 9110 section 7.6.1 tells to, what `Connection` names included, and passes `TE: trailers` on; the others let parts through",
    ),
    (
        "upgrade to h2c",
        "xrtc lets only WebSockets upgrade: an h2c connection would bypass its routes",
    ),
    ("Host with port", "nginx's `$host` loses the port"),
    (
        "absolute form",
        "the target outranks Host (RFC 9112 section 3.2.2); haproxy refuses if they differ",
    ),
    (
        "HTTP/1.0",
        "xrtc and nginx speak HTTP/1.1 to upstreams whatever the client speaks",
    ),
    (
        "HTTP/1.0, chunked answer",
        "a client of HTTP/1.0 knows no chunks: xrtc and nginx end the body with the connection; haproxy passes them on",
    ),
    (
        "HTTP/1.0 without Host",
        "xrtc and nginx speak HTTP/1.1 to upstreams; xrtc then names the server itself, since HTTP/1.1 wants a Host",
    ),
    (
        "HTTP/1.1 without Host",
        "RFC 9112 section 3.2: refused; haproxy passes it on",
    ),
    ("two lengths", "refused by all; xrtc without a page"),
    (
        "length and chunks",
        "xrtc drops the length, as RFC 9112 section 6.3 has it, and sends one of its own; nginx refuses",
    ),
    ("unknown transfer coding", "refused by all; xrtc without a page"),
    ("bad request line", "refused by all; xrtc without a page"),
    ("space in a field name", "refused by all; xrtc without a page"),
    (
        "control character in a value",
        "RFC 9110 section 5.5: invalid, xrtc refuses; the others pass it on",
    ),
    (
        "folded field",
        "RFC 9112 section 5.2: refused; haproxy unfolds it",
    ),
    (
        "HTTP/2.0 in the request line",
        "not the way HTTP/2 begins: refused; haproxy takes it for HTTP/1.1",
    ),
    (
        "target too long",
        "xrtc counts target and fields together, and says 431; nginx 414",
    ),
    (
        "field too long",
        "431 names the reason (RFC 6585 section 5); the others say 400",
    ),
    (
        "100-continue",
        "xrtc and nginx tell the client to go on themselves; haproxy lets the upstream",
    ),
    (
        "103 before the answer",
        "xrtc drops early hints, which is allowed only for those that it asked for: a gap. nginx 1.22 breaks on them",
    ),
    (
        "chunked answer with trailers",
        "xrtc and haproxy pass trailers on; nginx drops them",
    ),
    (
        "answer that ends with the connection",
        "xrtc and nginx give it chunks, so that its end is known; haproxy closes",
    ),
    (
        "answer of HTTP/1.0",
        "xrtc and haproxy close at the end of what had no length; nginx gives it chunks",
    ),
    ("upstream down", "502 as in nginx; haproxy says 503"),
    (
        "upstream sends garbage",
        "502; nginx takes it for an answer of HTTP/0.9 and passes it on",
    ),
    (
        "upstream sends two lengths",
        "RFC 9112 section 6.3: invalid, 502; nginx 1.22 takes the last",
    ),
    (
        "traversal",
        "xrtc refuses dot segments, which mean different things to different servers; nginx resolves them and finds no file; haproxy passes them on",
    ),
    (
        "traversal, encoded",
        "xrtc refuses dot segments, which mean different things to different servers; nginx resolves them and finds no file; haproxy passes them on",
    ),
    (
        "fragment in the target",
        "no target has a fragment: xrtc drops it, nginx passes it on, haproxy refuses",
    ),
    ("WebSocket", "the same option in another case"),
    ("WebSocket refused", "the same option in another case"),
    (
        "WebSocket of another version",
        "RFC 6455 section 4.4: xrtc, which reads WebSockets, says itself which version it takes",
    ),
    (
        "file, range",
        "both say it where they serve whole files; xrtc on parts too",
    ),
    (
        "file, range beyond the end",
        "xrtc says what it is of, without a page",
    ),
    (
        "file, two ranges",
        "xrtc serves one range at a time and the whole file for several, as a server may (RFC 9110 section 14.2)",
    ),
    (
        "file, not modified",
        "RFC 9110 section 13.1.3: not modified since; nginx wants the exact time (`if_modified_since exact`)",
    ),
    ("file, condition that fails", "412 by both, xrtc without a page"),
    (
        "file, POST",
        "405 tells what is allowed (RFC 9110 section 15.5.6)",
    ),
    (
        "directory without its slash",
        "a relative Location is right whatever stands in front; 307 keeps the method",
    ),
    (
        "directory without an index",
        "xrtc does not tell that there is a directory",
    ),
    (
        "file, doubled slash",
        "xrtc does not merge slashes: a redirect to `//name/` would lead to another host",
    ),
    ("h2: redirect to the upstream", "as over HTTP/1.1"),
    (
        "h2: fields of the hop",
        "as over HTTP/1.1; nginx 1.22 sends `Upgrade` on, which clients of HTTP/2 refuse (RFC 9113 section 8.2.2)",
    ),
    (
        "h2: chunked answer with trailers",
        "xrtc and haproxy pass trailers on; nginx drops them",
    ),
    ("h2: upstream down", "502 as in nginx; haproxy says 503"),
    (
        "h2: upstream sends garbage",
        "502; nginx takes it for an answer of HTTP/0.9",
    ),
];

/// What explains a difference: its key, and the words.
pub(crate) fn of(case: &str, field: &str) -> Option<(&'static str, &'static str)> {
    let find =
        |table: &'static [(&str, &str)], key: &str| table.iter().find(|(known, _)| *known == key).copied();
    find(EVERYWHERE, field).or_else(|| find(SINGLE, case))
}

/// The keys of all reasons.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    EVERYWHERE.iter().chain(SINGLE).map(|(key, _)| *key)
}
