//! Static files for what no route takes: GET and HEAD, ranges and conditions, `index.html` for directories, no
//! listings, nothing outside of the root (paths that try were refused before; the file service refuses them once more
//! after decoding).
//!
//! Small files are kept in memory ([`Shelf`]).
//!
//! A sibling with `.br`, `.zst` or `.gz` behind its name is served in place of a file to those who take that coding.

use std::path::Path;

use http_body_util::{BodyExt as _, Empty};
use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue, RANGE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri};
use tower_http::services::ServeDir;
use tower_service::Service as _;

use crate::upstream::Body;

use super::errors::Error;
use super::shelf::Shelf;

/// What the usual tables lack, or have otherwise than players of HLS (RFC 8216 section 4) and DASH want it.
const TYPES: [(&str, &str); 7] = [
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("mpd", "application/dash+xml"),
    ("m4s", "video/iso.segment"),
    ("cmfv", "video/mp4"),
    ("cmfa", "audio/mp4"),
    ("m4a", "audio/mp4"),
    ("ts", "video/mp2t"),
];

/// The files below one directory.
#[derive(Debug)]
pub(super) struct Files {
    shelf: Shelf,
    /// Files as they are, and their precompressed siblings.
    either: ServeDir,
    /// Files as they are: a range is of the plain file, whatever codings the client takes.
    plain: ServeDir,
    /// What stands in for a file that is not there.
    fallback: Option<Uri>,
}

impl Files {
    /// The files below `root`; `fallback` is the path of one of them.
    pub(super) fn new(root: &Path, fallback: Option<&str>) -> Self {
        let plain = ServeDir::new(root);
        Self {
            shelf: Shelf::new(root),
            either: plain
                .clone()
                .precompressed_br()
                .precompressed_zstd()
                .precompressed_gzip(),
            plain,
            fallback: fallback.and_then(|path| Uri::try_from(path).ok()),
        }
    }

    pub(super) async fn serve<B>(&self, request: Request<B>) -> Result<Response<Body>, Error> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Error::MethodNotAllowed);
        }
        // A redirect to `//name/` would lead to another host.
        if request.uri().path().starts_with("//") {
            return Err(Error::NotFound);
        }
        let (mut head, _) = request.into_parts();
        let Some(fallback) = &self.fallback else {
            return self.read(head).await;
        };
        match self.read(head.clone()).await {
            Err(Error::NotFound) => {
                head.uri = fallback.clone();
                self.read(head).await
            }
            done => done,
        }
    }

    async fn read(&self, head: Parts) -> Result<Response<Body>, Error> {
        let place = match self.shelf.find(&head) {
            Ok(kept) => return Ok(kept),
            Err(place) => place,
        };
        let response = Box::pin(self.read_from_disk(head)).await?;
        match place {
            Some(place) => Ok(self.shelf.keep(place, response).await),
            None => Ok(response),
        }
    }

    async fn read_from_disk(&self, mut head: Parts) -> Result<Response<Body>, Error> {
        let kind = type_of(head.uri.path());
        // Several ranges at once are not served, and a server may ignore them (RFC 9110 section 14.2).
        if head
            .headers
            .get(RANGE)
            .is_some_and(|range| range.as_bytes().contains(&b','))
        {
            head.headers.remove(RANGE);
        }
        let ranged = head.headers.contains_key(RANGE);
        if ranged {
            head.headers.remove(ACCEPT_ENCODING);
        }
        let mut files = if ranged {
            self.plain.clone()
        } else {
            self.either.clone()
        };
        let Ok(mut response) = files
            .call(Request::from_parts(head, Empty::<bytes::Bytes>::new()))
            .await;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(Error::NotFound);
        }
        if let Some(kind) = kind.filter(|_| response.headers().contains_key(CONTENT_TYPE)) {
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
    }
}

fn type_of(path: &str) -> Option<&'static str> {
    let (_, ending) = path.rsplit_once('.')?;
    TYPES
        .iter()
        .find(|(known, _)| ending.eq_ignore_ascii_case(known))
        .map(|(_, kind)| *kind)
}
