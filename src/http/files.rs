//! Static files for what no route takes: GET and HEAD, `index.html` for directories, no listings, nothing outside of
//! the root (paths that try were refused before; the file service refuses them once more after decoding).

use std::path::Path;

use http_body_util::BodyExt as _;
use hyper::{Method, Request, Response, StatusCode};
use tower_http::services::ServeDir;
use tower_service::Service as _;

use crate::upstream::Body;

use super::errors::Error;

/// The files below one directory.
#[derive(Clone, Debug)]
pub(super) struct Files(ServeDir);

impl Files {
    pub(super) fn new(root: &Path) -> Self {
        Self(ServeDir::new(root))
    }

    pub(super) async fn serve<B: Send + 'static>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Body>, Error> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Error::MethodNotAllowed);
        }
        // A redirect to `//name/` would lead to another host.
        if request.uri().path().starts_with("//") {
            return Err(Error::NotFound);
        }
        let mut files = self.0.clone();
        let Ok(response) = files
            .call(request.map(|_| http_body_util::Empty::<bytes::Bytes>::new()))
            .await;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(Error::NotFound);
        }
        Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
    }
}
