//! Why a measurement couldn't be taken.

use std::io;

/// One error for the whole program: every one ends it with a message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server refused or broke off a request.
    #[error("{what}: {code:?}: {message}")]
    Refused {
        what: &'static str,
        code: tonic::Code,
        message: String,
    },
    /// No connection.
    #[error("connect to {endpoint}: {source}")]
    Connect {
        endpoint: String,
        source: tonic::transport::Error,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    /// A server process didn't do what it was asked.
    #[error(transparent)]
    Node(#[from] atoll_e2e::node::Error),
    /// The server's answer breaks the protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// A Redis server refused a request.
    #[error("the server refuses: {0}")]
    Answer(String),
    /// A server process ended by itself.
    #[error("{0} ended by itself; it said:\n{1}")]
    Ended(&'static str, String),
    /// Something that was waited for didn't come.
    #[error("no {0} within {1:?}")]
    Late(&'static str, std::time::Duration),
    /// A load generator failed, or its requests did.
    #[error("{0} did not measure what it was to; it said:\n{1}")]
    Tool(&'static str, String),
    /// A lane of the load panicked.
    #[error("a client task failed: {0}")]
    Lane(#[from] tokio::task::JoinError),
    /// The options contradict each other.
    #[error("{0}")]
    Options(String),
    /// The result can't be written as JSON.
    #[error("write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The cluster didn't come back after a kill.
    #[error("no write was acknowledged for {0:?} after a kill")]
    NoRecovery(std::time::Duration),
}

impl Error {
    pub(crate) fn io(what: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let what = what.to_owned();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn refused(what: &'static str) -> impl FnOnce(tonic::Status) -> Self {
        move |status| Self::Refused {
            what,
            code: status.code(),
            message: status.message().to_owned(),
        }
    }
}

/// For every function here.
pub(crate) type Result<T> = std::result::Result<T, Error>;
