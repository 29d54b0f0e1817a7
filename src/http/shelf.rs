//! Small static files that were asked for before, kept in memory as the responses that they made.
//!
//! Nothing stale is served: before each use the files that went into a response are looked at, with a `stat` each. That
//! is done on the spot, as a thread of its own would cost many times as much; it waits only where the system does not
//! have the directory in memory.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, RANGE,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use crate::upstream::Body;

use super::content::full;

/// Longer files are not kept.
const MAX_FILE: usize = 64 * 1024;
/// What is kept in all; beyond that all of it is let go.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// A response's headers and its place in the table.
const OVERHEAD: usize = 1024;
/// Longer paths and codings are not kept: a client chooses them.
const MAX_KEY: usize = 256;
/// A file that changed just now may change again within what its times can tell.
const SETTLED: Duration = Duration::from_secs(2);
/// Endings of precompressed siblings.
const SIBLINGS: [&str; 4] = ["", ".br", ".zst", ".gz"];
/// A request with one of these may be answered with something else than the whole file.
const SPECIAL: [HeaderName; 5] = [
    RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
];

/// The kept files below one directory.
#[derive(Debug)]
pub(super) struct Shelf {
    root: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    responses: HashMap<Key, Whole>,
    bytes: usize,
}

/// What a response depends on beside the files: the path, and the codings that the client takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    path: String,
    codings: Option<Vec<u8>>,
}

/// A response with all of its body.
#[derive(Clone, Debug)]
struct Whole {
    files: Files,
    headers: HeaderMap,
    body: Bytes,
}

/// A file and its siblings as they were found.
type Files = [Option<Stamp>; SIBLINGS.len()];

/// Tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds, of the content and of the rest.
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The place for a response that may be kept.
pub(super) struct Place {
    key: Key,
    files: Files,
}

impl Shelf {
    /// An empty one for the files below `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            kept: Mutex::default(),
        }
    }

    /// The response to a request, if it is kept and still right; else where to keep it, if it may be kept.
    pub(super) fn find(&self, request: &Parts) -> Result<Response<Body>, Option<Box<Place>>> {
        let key = Key::of(request).ok_or(None)?;
        let files = self.look(&key);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.responses.get(&key) {
            Some(whole) if whole.files == files => Ok(whole.clone().into_response()),
            Some(_) => {
                kept.remove(&key);
                Err(Some(Box::new(Place { key, files })))
            }
            None => Err(Some(Box::new(Place { key, files }))),
        }
    }

    /// Keeps a response, if it is small, and the files are as they were before it was made.
    pub(super) async fn keep(&self, place: Box<Place>, response: Response<Body>) -> Response<Body> {
        // The body itself does not know.
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let small = length.is_some_and(|length: usize| length <= MAX_FILE);
        if response.status() != StatusCode::OK || !small || !are_settled(&place.files) {
            return response;
        }
        let (parts, body) = response.into_parts();
        let body = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) => {
                // What is missing at the end shows as it would have without us.
                tracing::debug!(%error, "a file could not be read");
                let broken = http_body_util::StreamBody::new(futures_util::stream::iter([Err(error)]));
                return Response::from_parts(parts, broken.boxed_unsync());
            }
        };
        if self.look(&place.key) == place.files {
            let whole = Whole {
                files: place.files,
                headers: parts.headers.clone(),
                body: body.clone(),
            };
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.insert(place.key, whole);
        }
        Response::from_parts(parts, full(body))
    }

    /// The files that a response is made of, as they are now. Siblings count only for those who take some coding.
    fn look(&self, key: &Key) -> Files {
        let mut files = [None; SIBLINGS.len()];
        let count = if key.codings.is_some() { SIBLINGS.len() } else { 1 };
        for (stamp, ending) in files.iter_mut().zip(SIBLINGS).take(count) {
            let below = key.path.trim_start_matches('/');
            *stamp = Stamp::of(&self.root.join(format!("{below}{ending}")));
        }
        files
    }
}

impl Kept {
    fn insert(&mut self, key: Key, whole: Whole) {
        self.remove(&key);
        if self.bytes + whole.cost() > MAX_BYTES {
            *self = Self::default();
        }
        self.bytes += whole.cost();
        self.responses.insert(key, whole);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(whole) = self.responses.remove(key) {
            self.bytes -= whole.cost();
        }
    }
}

impl Key {
    /// `None`: the response would be another than the whole file, or which file that is takes more than a look.
    fn of(request: &Parts) -> Option<Self> {
        let path = request.uri.path();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
        let codings = request.headers.get(ACCEPT_ENCODING);
        let fit = request.method == Method::GET
            && path.len() <= MAX_KEY
            && path.bytes().all(is_plain)
            && !path.ends_with('/')
            && codings.is_none_or(|codings| codings.len() <= MAX_KEY)
            && request.headers.get_all(ACCEPT_ENCODING).iter().count() <= 1
            && !request.headers.keys().any(|name| SPECIAL.contains(name));
        fit.then(|| Self {
            path: path.to_owned(),
            codings: codings.map(|codings| codings.as_bytes().to_vec()),
        })
    }
}

impl Whole {
    fn cost(&self) -> usize {
        self.body.len() + OVERHEAD
    }

    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(full(self.body));
        *response.headers_mut() = self.headers;
        response
    }
}

impl Stamp {
    /// `None`: there is no such file.
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        metadata.is_file().then(|| Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Whether files last changed so long ago that another change would show.
fn are_settled(files: &Files) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let settled = now.saturating_sub(SETTLED).as_secs();
    files
        .iter()
        .flatten()
        .all(|stamp| u64::try_from(stamp.changed.0).is_ok_and(|changed| changed < settled))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hyper::Request;

    use super::*;

    fn request(path: &str, headers: &[(HeaderName, &str)]) -> Parts {
        let mut builder = Request::builder().uri(path);
        for (name, value) in headers {
            builder = builder.header(name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn place(shelf: &Shelf, request: &Parts) -> Option<Box<Place>> {
        shelf.find(request).err().flatten()
    }

    #[test]
    fn only_whole_files_of_plain_names_are_kept() {
        let shelf = Shelf::new(Path::new("/"));
        for path in ["/a.js", "/b/c-d_e.html"] {
            assert!(place(&shelf, &request(path, &[])).is_some(), "{path}");
        }
        for path in ["/", "/a/", "/%61", "/a;b"] {
            assert!(place(&shelf, &request(path, &[])).is_none(), "{path}");
        }
        for name in SPECIAL {
            assert!(place(&shelf, &request("/a", &[(name, "x")])).is_none());
        }
    }

    #[tokio::test]
    async fn a_kept_response_is_used_until_a_file_changes_and_codings_are_kept_apart() {
        let root = std::env::temp_dir().join(format!("xrtc-shelf-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("a"), "one").unwrap();
        let shelf = Shelf::new(&root);
        let asked = request("/a", &[]);
        let mut found = place(&shelf, &asked).unwrap();
        let fresh = Response::new(full(Bytes::from_static(b"one")));
        drop(shelf.keep(found, fresh).await);
        assert!(place(&shelf, &asked).is_some(), "it may still change unseen");

        // As if it had been there for a while, which a file's ctime cannot be made to say.
        found = place(&shelf, &asked).unwrap();
        let whole = Whole {
            files: found.files,
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"one"),
        };
        shelf.kept.lock().unwrap().insert(found.key, whole);
        let kept = shelf.find(&asked).ok().unwrap().into_body();
        assert_eq!(kept.collect().await.unwrap().to_bytes(), "one");
        assert!(place(&shelf, &request("/a", &[(ACCEPT_ENCODING, "gzip")])).is_some());

        fs::write(root.join("a"), "other").unwrap();
        assert!(place(&shelf, &asked).is_some());
        assert_eq!(shelf.kept.lock().unwrap().bytes, 0);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::default();
        for number in 0..2 * MAX_BYTES / MAX_FILE {
            let key = Key {
                path: number.to_string(),
                codings: None,
            };
            let whole = Whole {
                files: Files::default(),
                headers: HeaderMap::new(),
                body: Bytes::from(vec![0; MAX_FILE]),
            };
            kept.insert(key, whole);
            assert!(kept.bytes <= MAX_BYTES);
        }
        assert!(!kept.responses.is_empty());
    }
}
