//! How streams are written and refused.

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Executed},
    data::{Pack, StreamId},
    reply::Reply,
};

/// An id.
pub(super) fn id(id: StreamId) -> Reply {
    Reply::bulk(id.to_string())
}

/// Fields and values.
pub(super) fn fields(fields: &Pack) -> Reply {
    Reply::Array(fields.iter().map(Reply::bulk).collect())
}

/// An entry: its id, its fields and values.
pub(super) fn entry(at: StreamId, pack: &Pack) -> Reply {
    Reply::Array(vec![id(at), fields(pack)])
}

/// A key, or a group of it, that is not there.
pub(super) fn no_group(key: &[u8], group: &[u8], rest: &str) -> CommandError {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    CommandError::Text(format!(
        "NOGROUP No such key '{key}' or consumer group '{group}'{rest}"
    ))
}

/// A group that a stream which is there does not have.
pub(super) fn no_group_of(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    CommandError::Text(format!(
        "NOGROUP No such consumer group '{group}' for key name '{key}'"
    ))
}

/// A container called without one of its subcommands.
pub(super) fn unknown_subcommand(container: &str, words: &[Bytes]) -> Executed {
    Err(CommandError::Text(format!(
        "ERR unknown subcommand '{}'. Try {container} HELP.",
        shown(&words[1])
    )))
}

/// A subcommand with words that it doesn't know.
pub(super) fn odd_subcommand(container: &str, words: &[Bytes]) -> CommandError {
    CommandError::Text(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {container} HELP.",
        shown(&words[1])
    ))
}

/// So much of a word as an error tells, in bytes; as in Redis.
const SHOWN_BYTES_MAX: usize = 128;

pub(super) fn shown(word: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&word[..word.len().min(SHOWN_BYTES_MAX)])
}

/// What HELP answers.
pub(super) fn help(container: &'static str, lines: &[&'static str]) -> Reply {
    let lines = [container].into_iter().chain(lines.iter().copied());
    let last = ["HELP", "    Print this help."];
    Reply::Array(lines.chain(last).map(Reply::Status).collect())
}
