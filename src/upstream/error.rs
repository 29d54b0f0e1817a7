//! Why an upstream gave no response.

use super::client::BoxError;
use super::connector::DialTimedOut;

/// Why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The group has no server for this purpose.
    #[error("the upstream group has no server for this kind of request")]
    NoServer,
    /// None of the group's servers is up.
    #[error("no server of the upstream group is up")]
    Down,
    /// `max_conns` requests are under way, and none ended in time, or too many wait already.
    #[error("the upstream server is busy")]
    Busy,
    /// The name does not resolve, nothing listens, or the TLS handshake failed.
    #[error("the upstream server cannot be reached")]
    Dial(#[source] BoxError),
    /// No connection within `dial_timeout`.
    #[error("the upstream server did not accept a connection in time")]
    DialTimeout,
    /// No response headers within `response_header_timeout` of the request's end.
    #[error("the upstream server did not answer in time")]
    HeaderTimeout,
    /// The connection broke, or what came was no HTTP.
    #[error("the upstream server gave no valid response")]
    Broken(#[source] BoxError),
    /// The request's body failed: not the server's fault.
    #[error("the request's body broke off")]
    Upload(#[source] BoxError),
}

impl UpstreamError {
    pub(super) fn dial(error: BoxError) -> Self {
        if find::<DialTimedOut>(&*error).is_some() {
            Self::DialTimeout
        } else {
            Self::Dial(error)
        }
    }

    /// Whether the server has seen nothing of the request.
    #[must_use]
    pub fn never_sent(&self) -> bool {
        match self {
            Self::NoServer | Self::Down | Self::Busy | Self::Dial(_) | Self::DialTimeout => true,
            Self::HeaderTimeout | Self::Broken(_) | Self::Upload(_) => false,
        }
    }

    /// Whether it speaks against the server.
    pub(super) fn blames_the_server(&self) -> bool {
        match self {
            Self::Dial(_) | Self::DialTimeout | Self::HeaderTimeout | Self::Broken(_) => true,
            Self::NoServer | Self::Down | Self::Busy | Self::Upload(_) => false,
        }
    }

    /// The error of a request body that made the request fail, if that was the reason.
    #[must_use]
    pub fn cause<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match self {
            Self::Dial(error) | Self::Broken(error) | Self::Upload(error) => find(&**error),
            Self::NoServer | Self::Down | Self::Busy | Self::DialTimeout | Self::HeaderTimeout => None,
        }
    }
}

fn find<'e, E: std::error::Error + 'static>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e E> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}
