//! Why connections end.

use std::io;

use crate::face::resp::ProtocolError;

/// Why a connection ended, if not because the client was done with it or the node stops.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The way to the client broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// The client sent what is no request.
    #[error("the client does not speak the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// There are too many.
    #[error("there are {connections_max} connections already")]
    Crowded {
        /// So many there may be.
        connections_max: usize,
    },
    /// The client does not read what it is sent.
    #[error("the client left {unsent_bytes} bytes unread")]
    SlowReader {
        /// So many bytes waited for it.
        unsent_bytes: usize,
    },
    /// The client sent nothing for too long.
    #[error("the client sent nothing for {idle_s_max} s")]
    Idle {
        /// So long it may be silent.
        idle_s_max: u64,
    },
    /// Somebody said CLIENT KILL.
    #[error("the connection was killed")]
    Killed,
}
