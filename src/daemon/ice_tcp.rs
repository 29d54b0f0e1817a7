//! The connections that the TCP ports hand over because they carry ICE.

use std::sync::Arc;

use bytes::Bytes;

use crate::http::{AsyncReadWrite, ConnInfo, IceTcp, Served};
use crate::media::Streams;

/// Passes connections on to the media plane.
#[derive(Debug)]
pub(super) struct ToStreams(pub(super) Arc<Streams>);

impl IceTcp for ToStreams {
    fn accept(&self, io: Box<dyn AsyncReadWrite>, already_read: Bytes, conn: ConnInfo) -> Served {
        let streams = self.0.clone();
        Box::pin(async move { streams.serve_client(io, &already_read, conn.remote).await })
    }
}
