//! What is asked, and what the upstream says to it.

use crate::origin::Answer::{self, Closes, Gzip, Sends, Silent};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// Bytes as they are.
    Raw,
    /// Bytes that end in `Expect: 100-continue`, then this body when told to.
    Continues(&'static str),
    /// A WebSocket, which says `hello` when it is open.
    WebSocket,
    /// HTTP/2: the same request, whose first line and fields are taken apart.
    Http2,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) client: Client,
    /// `PORT` is the proxy's own.
    pub(crate) request: &'static str,
    pub(crate) answer: Answer,
    /// haproxy has no files.
    pub(crate) is_file: bool,
}

const fn case(name: &'static str, request: &'static str, answer: Answer) -> Case {
    Case {
        name,
        client: Client::Raw,
        request,
        answer,
        is_file: false,
    }
}

const fn file(name: &'static str, request: &'static str) -> Case {
    Case {
        is_file: true,
        ..case(name, request, OK)
    }
}

const fn http2(name: &'static str, request: &'static str, answer: Answer) -> Case {
    Case {
        client: Client::Http2,
        ..case(name, request, answer)
    }
}

const OK: Answer =
    Sends("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nServer: origin\r\n\r\nok");
const COOKIES: Answer = Sends(
    "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; HttpOnly\r\nContent-Length: 0\r\n\r\n",
);
const REDIRECT: Answer =
    Sends("HTTP/1.1 302 Found\r\nLocation: http://UPSTREAM/api/next?x=1\r\nContent-Length: 0\r\n\r\n");
const HOPS: Answer = Sends(
    "HTTP/1.1 200 OK\r\nConnection: close, x-private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n\
     Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
);

/// Every case, in the order of the table.
pub(crate) const ALL: &[Case] = &[
    case(
        "GET",
        "GET /api/x?a=1&b=%20%7C|' HTTP/1.1\r\nHost: site.example\r\nUser-Agent: test\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nCookie: a=1\r\nAuthorization: Basic eA==\r\n\r\n",
        OK,
    ),
    case(
        "HEAD",
        "HEAD /api HTTP/1.1\r\nHost: site.example\r\n\r\n",
        Sends("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n"),
    ),
    case(
        "POST",
        "POST /api HTTP/1.1\r\nHost: site.example\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nbody",
        OK,
    ),
    case(
        "POST of JSON",
        "POST /api HTTP/1.1\r\nHost: site.example\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"a\": 1 }",
        Sends("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"b\": 2 }"),
    ),
    case(
        "POST in chunks",
        "POST /api HTTP/1.1\r\nHost: site.example\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
        OK,
    ),
    case(
        "PUT",
        "PUT /api/x HTTP/1.1\r\nHost: site.example\r\nContent-Length: 1\r\n\r\nx",
        Sends("HTTP/1.1 201 Created\r\nLocation: /api/x\r\nContent-Length: 0\r\n\r\n"),
    ),
    case(
        "preflight",
        "OPTIONS /api HTTP/1.1\r\nHost: site.example\r\nOrigin: http://a.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
        Sends("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n"),
    ),
    case(
        "OPTIONS *",
        "OPTIONS * HTTP/1.1\r\nHost: site.example\r\n\r\n",
        OK,
    ),
    case("TRACE", "TRACE /api HTTP/1.1\r\nHost: site.example\r\n\r\n", OK),
    case(
        "CONNECT",
        "CONNECT site.example:80 HTTP/1.1\r\nHost: site.example:80\r\n\r\n",
        OK,
    ),
    case(
        "unknown method",
        "BREW /api HTTP/1.1\r\nHost: site.example\r\n\r\n",
        OK,
    ),
    case(
        "204",
        "GET /api HTTP/1.1\r\nHost: site.example\r\n\r\n",
        Sends("HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
    ),
    case(
        "304",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nIf-None-Match: \"e\"\r\n\r\n",
        Sends("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n"),
    ),
    case(
        "range",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nRange: bytes=0-0\r\n\r\n",
        Sends("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/2\r\nContent-Length: 1\r\n\r\no"),
    ),
    case(
        "redirect to the upstream",
        "GET /api HTTP/1.1\r\nHost: site.example\r\n\r\n",
        REDIRECT,
    ),
    case(
        "two cookies",
        "GET /api HTTP/1.1\r\nHost: site.example\r\n\r\n",
        COOKIES,
    ),
    case(
        "fields of the hop",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nConnection: keep-alive, x-foo\r\nX-Foo: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers, deflate\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nX-Bar: 2\r\n\r\n",
        HOPS,
    ),
    case(
        "upgrade to h2c",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        OK,
    ),
    case(
        "forwarding claims",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nX-Real-IP: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n\r\n",
        OK,
    ),
    case(
        "Host with port",
        "GET /api HTTP/1.1\r\nHost: Site.example:PORT\r\n\r\n",
        OK,
    ),
    case(
        "absolute form",
        "GET http://other.example/api?q HTTP/1.1\r\nHost: site.example\r\n\r\n",
        OK,
    ),
    case("HTTP/1.0", "GET /api HTTP/1.0\r\nHost: site.example\r\n\r\n", OK),
    case(
        "HTTP/1.0, chunked answer",
        "GET /api HTTP/1.0\r\nHost: site.example\r\n\r\n",
        Sends(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
    ),
    case("HTTP/1.0 without Host", "GET /api HTTP/1.0\r\n\r\n", OK),
    case("HTTP/1.1 without Host", "GET /api HTTP/1.1\r\n\r\n", OK),
    case(
        "two Hosts",
        "GET /api HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        OK,
    ),
    case(
        "two lengths",
        "POST /api HTTP/1.1\r\nHost: site.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        OK,
    ),
    case(
        "length and chunks",
        "POST /api HTTP/1.1\r\nHost: site.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK,
    ),
    case(
        "unknown transfer coding",
        "POST /api HTTP/1.1\r\nHost: site.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        OK,
    ),
    case(
        "broken chunk",
        "POST /api HTTP/1.1\r\nHost: site.example\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        OK,
    ),
    case("bad request line", "GET\r\n\r\n", OK),
    case(
        "space in a field name",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nX Y: 1\r\n\r\n",
        OK,
    ),
    case(
        "control character in a value",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nX-A: a\x01b\r\n\r\n",
        OK,
    ),
    case(
        "folded field",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nX-A: a\r\n b\r\n\r\n",
        OK,
    ),
    case(
        "HTTP/2.0 in the request line",
        "GET /api HTTP/2.0\r\nHost: site.example\r\n\r\n",
        OK,
    ),
    case(
        "target too long",
        "GET /api/{100000} HTTP/1.1\r\nHost: site.example\r\n\r\n",
        OK,
    ),
    case(
        "field too long",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nX-A: {100000}\r\n\r\n",
        OK,
    ),
    Case {
        client: Client::Continues("body"),
        ..case(
            "100-continue",
            "POST /api HTTP/1.1\r\nHost: site.example\r\nContent-Type: text/html\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
            OK,
        )
    },
    case(
        "103 before the answer",
        "GET /api HTTP/1.1\r\nHost: site.example\r\n\r\n",
        Sends(
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
    ),
    case(
        "chunked answer with trailers",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nTE: trailers\r\n\r\n",
        Sends(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
        ),
    ),
    case(
        "answer that ends with the connection",
        "GET /api HTTP/1.1\r\nHost: site.example\r\n\r\n",
        Closes("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nok"),
    ),
    case(
        "answer of HTTP/1.0",
        "GET /api HTTP/1.1\r\nHost: site.example\r\n\r\n",
        Closes("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\nok"),
    ),
    case(
        "answer in gzip",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nAccept-Encoding: gzip\r\n\r\n",
        Gzip,
    ),
    case(
        "upstream down",
        "GET /down HTTP/1.1\r\nHost: site.example\r\n\r\n",
        OK,
    ),
    case(
        "upstream silent",
        "GET /api HTTP/1.1\r\nHost: site.example\r\n\r\n",
        Silent,
    ),
    case(
        "upstream sends garbage",
        "POST /api HTTP/1.1\r\nHost: site.example\r\nContent-Length: 0\r\n\r\n",
        Closes("garbage\r\n\r\n"),
    ),
    case(
        "upstream closes at once",
        "POST /api HTTP/1.1\r\nHost: site.example\r\nContent-Length: 0\r\n\r\n",
        Closes(""),
    ),
    case(
        "upstream closes in its body",
        "GET /api HTTP/1.1\r\nHost: site.example\r\n\r\n",
        Closes("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 10\r\n\r\nok"),
    ),
    case(
        "upstream sends two lengths",
        "POST /api HTTP/1.1\r\nHost: site.example\r\nContent-Length: 0\r\n\r\n",
        Closes(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        ),
    ),
    case(
        "traversal",
        "GET /api/../x HTTP/1.1\r\nHost: site.example\r\n\r\n",
        OK,
    ),
    case(
        "traversal, encoded",
        "GET /api/%2e%2e/x HTTP/1.1\r\nHost: site.example\r\n\r\n",
        OK,
    ),
    case(
        "encoded, doubled and odd characters",
        "GET /api//a%2Fb;c=1/%41 HTTP/1.1\r\nHost: site.example\r\n\r\n",
        OK,
    ),
    case(
        "fragment in the target",
        "GET /api?a#b HTTP/1.1\r\nHost: site.example\r\n\r\n",
        OK,
    ),
    Case {
        client: Client::WebSocket,
        ..case(
            "WebSocket",
            "GET /api HTTP/1.1\r\nHost: site.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            Answer::WebSocket,
        )
    },
    case(
        "WebSocket refused",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        Sends("HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno"),
    ),
    case(
        "WebSocket of another version",
        "GET /api HTTP/1.1\r\nHost: site.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        Sends("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"),
    ),
    file("file", "GET /file.txt HTTP/1.1\r\nHost: site.example\r\n\r\n"),
    file(
        "file, HEAD",
        "HEAD /file.txt HTTP/1.1\r\nHost: site.example\r\n\r\n",
    ),
    file(
        "file, range",
        "GET /file.txt HTTP/1.1\r\nHost: site.example\r\nRange: bytes=1-2\r\n\r\n",
    ),
    file(
        "file, range beyond the end",
        "GET /file.txt HTTP/1.1\r\nHost: site.example\r\nRange: bytes=100-\r\n\r\n",
    ),
    file(
        "file, two ranges",
        "GET /file.txt HTTP/1.1\r\nHost: site.example\r\nRange: bytes=0-0,2-2\r\n\r\n",
    ),
    file(
        "file, not modified",
        "GET /file.txt HTTP/1.1\r\nHost: site.example\r\nIf-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT\r\n\r\n",
    ),
    file(
        "file, condition that fails",
        "GET /file.txt HTTP/1.1\r\nHost: site.example\r\nIf-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
    ),
    file(
        "file, POST",
        "POST /file.txt HTTP/1.1\r\nHost: site.example\r\nContent-Length: 0\r\n\r\n",
    ),
    file("no such file", "GET /none HTTP/1.1\r\nHost: site.example\r\n\r\n"),
    file("directory", "GET /sub/ HTTP/1.1\r\nHost: site.example\r\n\r\n"),
    file(
        "directory without its slash",
        "GET /sub?q=1 HTTP/1.1\r\nHost: site.example\r\n\r\n",
    ),
    file(
        "directory without an index",
        "GET /empty/ HTTP/1.1\r\nHost: site.example\r\n\r\n",
    ),
    file(
        "file, doubled slash",
        "GET //file.txt HTTP/1.1\r\nHost: site.example\r\n\r\n",
    ),
    file(
        "file, traversal",
        "GET /../file.txt HTTP/1.1\r\nHost: site.example\r\n\r\n",
    ),
    file(
        "file, encoded",
        "GET /%66ile.txt HTTP/1.1\r\nHost: site.example\r\n\r\n",
    ),
    http2(
        "h2: GET",
        "GET /api/x?a=1 HTTP/2\r\nhost: site.example\r\nuser-agent: test\r\ncookie: a=1\r\ncookie: b=2\r\n\r\n",
        OK,
    ),
    http2(
        "h2: HEAD",
        "HEAD /api HTTP/2\r\nhost: site.example\r\n\r\n",
        Sends("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n"),
    ),
    http2(
        "h2: POST",
        "POST /api HTTP/2\r\nhost: site.example\r\ncontent-type: text/html\r\n\r\nbody",
        OK,
    ),
    http2(
        "h2: 204",
        "GET /api HTTP/2\r\nhost: site.example\r\n\r\n",
        Sends("HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
    ),
    http2(
        "h2: redirect to the upstream",
        "GET /api HTTP/2\r\nhost: site.example\r\n\r\n",
        REDIRECT,
    ),
    http2(
        "h2: two cookies",
        "GET /api HTTP/2\r\nhost: site.example\r\n\r\n",
        COOKIES,
    ),
    http2(
        "h2: fields of the hop",
        "GET /api HTTP/2\r\nhost: site.example\r\nte: trailers\r\n\r\n",
        HOPS,
    ),
    http2(
        "h2: forwarding claims",
        "GET /api HTTP/2\r\nhost: site.example\r\nx-forwarded-for: 192.0.2.1\r\nforwarded: for=192.0.2.1\r\n\r\n",
        OK,
    ),
    http2(
        "h2: chunked answer with trailers",
        "GET /api HTTP/2\r\nhost: site.example\r\nte: trailers\r\n\r\n",
        Sends(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
        ),
    ),
    http2(
        "h2: upstream down",
        "GET /down HTTP/2\r\nhost: site.example\r\n\r\n",
        OK,
    ),
    http2(
        "h2: upstream sends garbage",
        "POST /api HTTP/2\r\nhost: site.example\r\n\r\n",
        Closes("garbage\r\n\r\n"),
    ),
    http2(
        "h2: no such method",
        "BREW /api HTTP/2\r\nhost: site.example\r\n\r\n",
        OK,
    ),
];
