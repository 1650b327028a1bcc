//! Why a command was refused, in Redis's own words, since clients match on them.

use crate::core::data::hyperloglog::HyperLogLogFault;

/// A refusal; its text is the error reply, code first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// The words are not in an order that the command knows.
    #[error("ERR syntax error")]
    Syntax,
    /// Not a whole number of 64 bits.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// Not a floating point number.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// Too few words, or too many.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(&'static str),
    /// A time to live that is zero, negative or beyond what fits.
    #[error("ERR invalid expire time in '{0}' command")]
    ExpireTime(&'static str),
    /// The key has to be there.
    #[error("ERR no such key")]
    NoSuchKey,
    /// The string is no HyperLogLog.
    #[error("{0}")]
    HyperLogLog(#[source] HyperLogLogFault),
    /// Anything else; the whole text.
    #[error("{0}")]
    Other(&'static str),
    /// The same with facts in it; the whole text.
    #[error("{0}")]
    Text(String),
}
