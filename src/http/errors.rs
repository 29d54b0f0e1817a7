//! The one place that turns what went wrong into a status, a counter and a short reason for the client.
//!
//! Reasons name no address, no file and no library; the details go to the debug log.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION,
};
use hyper::{Response, StatusCode};

use crate::upstream::{Body, UpstreamError};

use super::counters::Counters;
use super::limiter::Refused;
use super::upload::{UploadStalled, UploadTooLarge};

/// Why a request got no answer from an upstream or a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The client's fault.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Neither a route nor a file.
    #[error("there is nothing here")]
    NotFound,
    /// Files are only read; nothing is tunnelled.
    #[error("this method is not allowed here")]
    MethodNotAllowed,
    /// Extended CONNECT to something other than a WebSocket (RFC 9220 section 3 asks for 501).
    #[error("this protocol is not spoken here")]
    UnknownProtocol,
    /// A transfer coding other than `chunked` (RFC 9112 section 6.1 asks for 501).
    #[error("this transfer coding is not understood here")]
    UnknownCoding,
    /// A WebSocket version other than 13.
    #[error("only version 13 of the WebSocket protocol is spoken here")]
    WebSocketVersion,
    /// A header beyond its limit.
    #[error("the request's header is too large")]
    HeaderTooLarge,
    /// A body beyond its limit.
    #[error("the request's body is too large")]
    BodyTooLarge,
    /// A count is at its limit.
    #[error("{}", limited(*.0))]
    Limited(Refused),
    /// The client's body did not come.
    #[error("the request's body did not come in time")]
    UploadStalled,
    /// The client's body broke off.
    #[error("the request's body broke off")]
    UploadBroken,
    /// The upstream group gave no response.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// An upstream response that cannot be passed on.
    #[error("the upstream server gave no valid response: {0}")]
    BadResponse(&'static str),
    /// The upstream's body did not come.
    #[error("the upstream server's body did not come in time")]
    DownloadStalled,
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::UploadBroken => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownProtocol | Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
            Self::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Limited(Refused::NetworkConnections | Refused::NetworkRate) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Limited(Refused::Connections | Refused::Rate) => StatusCode::SERVICE_UNAVAILABLE,
            Self::UploadStalled => StatusCode::REQUEST_TIMEOUT,
            Self::Upstream(error) => upstream_status(error),
            Self::BadResponse(_) => StatusCode::BAD_GATEWAY,
            Self::DownloadStalled => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn header(&self) -> Option<(HeaderName, &'static str)> {
        match self {
            // Whoever misleads in one request may hide another behind it.
            Self::BadRequest(_) | Self::UnknownCoding => Some((CONNECTION, "close")),
            Self::MethodNotAllowed => Some((ALLOW, "GET, HEAD")),
            Self::WebSocketVersion => Some((SEC_WEBSOCKET_VERSION, "13")),
            Self::Limited(_) => Some((RETRY_AFTER, "1")),
            _ => None,
        }
    }

    /// The answer to the client. Counts what is an upstream's fault.
    pub(super) fn into_response(self, counters: &Counters) -> Response<Body> {
        // A request whose body failed is the client's failure, though the upstream's connection reports it.
        let error = match self {
            Self::Upstream(error) if error.cause::<UploadStalled>().is_some() => Self::UploadStalled,
            Self::Upstream(error) if error.cause::<UploadTooLarge>().is_some() => Self::BodyTooLarge,
            Self::Upstream(UpstreamError::Upload(_)) => Self::UploadBroken,
            other => other,
        };
        error.count(counters);
        tracing::debug!(status = error.status().as_u16(), error = ?error, "request failed");
        let mut response = text(error.status(), &error.to_string());
        if let Some((name, value)) = error.header() {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn count(&self, counters: &Counters) {
        match self {
            Self::Upstream(UpstreamError::NoServer) => counters.upstream_no_server.add(),
            Self::Upstream(UpstreamError::Down) => counters.upstream_down.add(),
            Self::Upstream(UpstreamError::Busy) => counters.upstream_busy.add(),
            Self::Upstream(UpstreamError::Dial(_)) => counters.upstream_dial.add(),
            Self::Upstream(UpstreamError::DialTimeout) => counters.upstream_dial_timeout.add(),
            Self::Upstream(UpstreamError::HeaderTimeout) | Self::DownloadStalled => {
                counters.upstream_header_timeout.add();
            }
            Self::Upstream(UpstreamError::Broken(_)) | Self::BadResponse(_) => counters.upstream_broken.add(),
            Self::HeaderTooLarge => counters.refused_header_bytes.add(),
            Self::BodyTooLarge => counters.refused_body_bytes.add(),
            Self::Limited(Refused::Connections) => counters.refused_connections.add(),
            Self::Limited(Refused::Rate) => counters.refused_rate.add(),
            Self::Limited(Refused::NetworkConnections) => counters.refused_network_connections.add(),
            Self::Limited(Refused::NetworkRate) => counters.refused_network_rate.add(),
            Self::UploadStalled => counters.uploads_stalled.add(),
            Self::BadRequest(_)
            | Self::Upstream(UpstreamError::Upload(_))
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::UnknownProtocol
            | Self::UnknownCoding
            | Self::WebSocketVersion
            | Self::UploadBroken => {}
        }
    }
}

fn limited(refused: Refused) -> &'static str {
    match refused {
        Refused::NetworkConnections => "too many requests of your network are under way",
        Refused::NetworkRate => "too many requests came from your network",
        Refused::Connections => "too many requests are under way",
        Refused::Rate => "too many requests came",
    }
}

fn upstream_status(error: &UpstreamError) -> StatusCode {
    match error {
        UpstreamError::NoServer | UpstreamError::Dial(_) | UpstreamError::Broken(_) => {
            StatusCode::BAD_GATEWAY
        }
        UpstreamError::Busy | UpstreamError::Down => StatusCode::SERVICE_UNAVAILABLE,
        UpstreamError::Upload(_) => StatusCode::BAD_REQUEST,
        UpstreamError::DialTimeout | UpstreamError::HeaderTimeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

pub(super) fn text(status: StatusCode, reason: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{reason}\n")));
    let mut response = Response::new(body.map_err(Into::into).boxed_unsync());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
