//! Watches: who is told about which revision.

use crate::{core::error::Error, proto::etcdserverpb as pb};

/// One client's stream of watches.
pub struct WatchStream {}

impl WatchStream {
    /// Handles one request of the client. Answers come out of [`WatchStream::next`].
    ///
    /// # Errors
    /// `LimitExceeded` when the stream has too many watches.
    pub async fn request(&mut self, _request: pb::WatchRequest) -> Result<(), Error> {
        todo!()
    }

    /// The next response for the client (headers filled except cluster and member id and term).
    /// Cancel-safe.
    pub async fn next(&mut self) -> pb::WatchResponse {
        todo!()
    }
}
