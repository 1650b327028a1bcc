//! What is wrong with a request.

use bytes::Bytes;

/// The client sent what is no request. The connection ends with it, after
/// [`reply`](Self::reply) if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A line that is no array and does not end.
    #[error("ERR Protocol error: too big inline request")]
    InlineTooLong,
    /// Quotes that are not closed, or go on after they were.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The line that says how many words follow does not end.
    #[error("ERR Protocol error: too big mbulk count string")]
    CountTooLong,
    /// Not a number of words, or too many.
    #[error("ERR Protocol error: invalid multibulk length")]
    Count,
    /// Too many words for somebody unknown.
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    CountUnauthenticated,
    /// The line that says how long a word is does not end.
    #[error("ERR Protocol error: too big bulk count string")]
    LengthTooLong,
    /// Something else where a word should begin.
    #[error("ERR Protocol error: expected '$', got '{}'", char::from(*.0))]
    NoWord(u8),
    /// Not a length of a word, or too long.
    #[error("ERR Protocol error: invalid bulk length")]
    Length,
    /// Too long a word for somebody unknown.
    #[error("ERR Protocol error: unauthenticated bulk length")]
    LengthUnauthenticated,
    /// A request that is larger than `client-query-buffer-limit`.
    #[error("the request is larger than {request_bytes_max} bytes")]
    TooLarge {
        /// The limit.
        request_bytes_max: usize,
    },
    /// A browser that was led here, perhaps with commands in what it posts.
    #[error("this is HTTP")]
    Http,
}

impl ProtocolError {
    /// What the client is told; nothing where Redis tells nothing.
    pub fn reply(&self) -> Option<Bytes> {
        match self {
            ProtocolError::TooLarge { .. } | ProtocolError::Http => None,
            // As it came, whatever it is.
            ProtocolError::NoWord(byte) => {
                let text: &[u8] = b"ERR Protocol error: expected '$', got '";
                Some([text, &[*byte], b"'"].concat().into())
            }
            told => Some(Bytes::from(told.to_string())),
        }
    }
}
