//! Why an upstream gave no response.

use super::connector::DialTimedOut;

/// Why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The group has no server for this purpose.
    #[error("the upstream group has no server for this kind of request")]
    NoServer,
    /// `max_conns` requests are under way, and none ended in time.
    #[error("the upstream server is busy")]
    Busy,
    /// The name does not resolve, nothing listens, or the TLS handshake failed.
    #[error("the upstream server cannot be reached")]
    Dial(#[source] hyper_util::client::legacy::Error),
    /// No connection within `dial_timeout`.
    #[error("the upstream server did not accept a connection in time")]
    DialTimeout,
    /// No response headers within `response_header_timeout` of the request's end.
    #[error("the upstream server did not answer in time")]
    HeaderTimeout,
    /// The connection broke, or what came was no HTTP.
    #[error("the upstream server gave no valid response")]
    Broken(#[source] hyper_util::client::legacy::Error),
}

impl From<hyper_util::client::legacy::Error> for UpstreamError {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        if find::<DialTimedOut>(&error).is_some() {
            Self::DialTimeout
        } else if error.is_connect() {
            Self::Dial(error)
        } else {
            Self::Broken(error)
        }
    }
}

impl UpstreamError {
    /// The error of a request body that made the request fail, if that was the reason.
    #[must_use]
    pub fn cause<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match self {
            Self::Dial(error) | Self::Broken(error) => find(error),
            Self::NoServer | Self::Busy | Self::DialTimeout | Self::HeaderTimeout => None,
        }
    }
}

fn find<'e, E: std::error::Error + 'static>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e E> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}
