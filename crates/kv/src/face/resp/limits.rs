//! What a client may send; Redis's numbers, except where a comment says why not.

/// The longest inline request, and the longest line that says a count or a length.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;

/// So many words a request may have. Redis had this limit up to 6.2 and takes two thousand
/// million since; a word costs us more than the six bytes that a client needs to send one.
pub(super) const WORDS_MAX: usize = 1024 * 1024;

/// So many, before the client has said who it is.
pub(super) const WORDS_MAX_UNAUTHENTICATED: usize = 10;

/// The longest word before the client has said who it is.
pub(super) const WORD_BYTES_MAX_UNAUTHENTICATED: usize = 16 * 1024;

/// What an operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest word: `proto-max-bulk-len`.
    pub word_bytes_max: usize,
    /// So many bytes may wait for the end of a request: `client-query-buffer-limit`.
    pub request_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            word_bytes_max: 512 * 1024 * 1024,
            request_bytes_max: 1024 * 1024 * 1024,
        }
    }
}
