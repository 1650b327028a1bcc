//! What a command answers, in words of both protocol versions.

use bytes::Bytes;

/// An answer. The face writes it as RESP2 or RESP3; where the two differ, the variant says what
/// is meant and the writer chooses the words (Redis: "RESP protocol spec").
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A short status: `+OK`.
    Status(&'static str),
    /// The same, as a script made it up.
    Simple(Bytes),
    /// An error's whole text, its code first: `ERR syntax error`.
    Error(Bytes),
    /// A whole number.
    Integer(i64),
    /// A string of bytes.
    Bulk(Bytes),
    /// Nothing, where a string could be: `$-1` in RESP2.
    Null,
    /// Nothing, where an array could be: `*-1` in RESP2.
    NullArray,
    /// An array.
    Array(Vec<Reply>),
    /// Pairs; in RESP2 a flat array.
    Map(Vec<(Reply, Reply)>),
    /// Pairs in an array: each an array of two in RESP3, in RESP2 one flat array.
    Pairs(Vec<(Reply, Reply)>),
    /// Pairs that are a map in RESP3; in RESP2 each is an array of two.
    PairsOrMap(Vec<(Reply, Reply)>),
    /// Members without order; in RESP2 an array.
    Set(Vec<Reply>),
    /// A floating point number; in RESP2 a string.
    Double(f64),
    /// Yes or no; in RESP2 the numbers 1 and 0.
    Boolean(bool),
    /// Digits of a number of any size; in RESP2 a string.
    BigNumber(Bytes),
    /// Text to be shown to a person; in RESP2 a string.
    Verbatim(Bytes),
}

impl Reply {
    /// `+OK`
    pub const OK: Reply = Reply::Status("OK");

    /// A string.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// A count.
    pub fn count(count: usize) -> Reply {
        Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// A string, or nothing.
    pub fn optional(bytes: Option<impl AsRef<[u8]>>) -> Reply {
        bytes.map_or(Reply::Null, Reply::bulk)
    }
}
