//! Commands that wait for a key to be filled.
//!
//! Such a command looks, and if there is nothing, says so by
//! [`Context::block`](super::Context::block). The waiting is its caller's: it keeps the words
//! with what [`wait_of`] tells of them, runs them again whenever one of the keys was changed, in
//! the order in which they came, and gives up at the end of the time.

use bytes::Bytes;

use super::{
    CommandError, args, streams,
    table::{Command, Group, find},
};
use crate::core::{
    data::{Milliseconds, parse_integer},
    reply::Reply,
};

/// For what a command waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// For how long; for ever, if none.
    pub timeout_ms: Option<Milliseconds>,
    /// The places of the keys among the words, in order. A destination is not waited for.
    pub keys: Vec<usize>,
}

/// For what these words, that call this command, would wait. None if they never do.
///
/// # Errors
/// [`CommandError`] where the timeout is none; running the command gives the same one.
pub fn wait_of(command: &Command, words: &[Bytes]) -> Result<Option<Wait>, CommandError> {
    let place = match command.name {
        "blpop" | "brpop" | "bzpopmin" | "bzpopmax" => words.len().saturating_sub(1),
        "blmove" => 5,
        "brpoplpush" => 3,
        "blmpop" | "bzmpop" => 1,
        "xread" | "xreadgroup" => {
            let timeout_ms = streams::timeout_of(command.name, words)?;
            return Ok(timeout_ms.map(|ms| Wait {
                timeout_ms: Some(ms).filter(|ms| *ms > 0),
                keys: command.keys.of(words),
            }));
        }
        _ => return Ok(None),
    };
    let word = words.get(place).ok_or(CommandError::Arity(command.name))?;
    let mut keys = command.keys.of(words);
    if ["blmove", "brpoplpush"].contains(&command.name) {
        keys.truncate(1);
    }
    Ok(Some(Wait {
        timeout_ms: Some(timeout(word)?).filter(|ms| *ms > 0),
        keys,
    }))
}

/// The keys that these words wait for.
pub fn awaited_keys(words: &[Bytes]) -> impl Iterator<Item = &Bytes> {
    let wait = find(words).and_then(|command| wait_of(command, words).ok().flatten());
    let places = wait.map(|wait| wait.keys).unwrap_or_default();
    places.into_iter().filter_map(|place| words.get(place))
}

/// The type that these words, which wait, hope to find, where they wait on while there is another
/// (TYPE's name of it), as in Redis. A consumer of a group is told.
pub fn awaited_type(words: &[Bytes]) -> Option<&'static str> {
    let command = find(words).filter(|command| command.name != "xreadgroup")?;
    match command.group {
        Group::List => Some("list"),
        Group::SortedSet => Some("zset"),
        Group::Stream => Some("stream"),
        _ => None,
    }
}

/// What a command of this name answers when it waited for nothing.
pub fn found_nothing(name: &str) -> Reply {
    match name {
        "blmove" | "brpoplpush" => Reply::Null,
        _ => Reply::NullArray,
    }
}

/// A number of seconds, with a fraction, as milliseconds; 0 is for ever.
///
/// # Errors
/// [`CommandError`] where it is no number, negative, or beyond what fits.
pub(super) fn timeout(word: &[u8]) -> Result<Milliseconds, CommandError> {
    let seconds = seconds(word).ok_or(CommandError::Other(
        "ERR timeout is not a float or out of range",
    ))?;
    let ms = (seconds * 1_000.0).ceil();
    if ms < 0.0 {
        return Err(CommandError::Other("ERR timeout is negative"));
    }
    // The moment has to fit as well, and the clock is far below half of what does.
    if ms >= (i64::MAX / 2) as f64 {
        return Err(CommandError::Other("ERR timeout is out of range"));
    }
    // Whole and in range, so the cast changes nothing.
    Ok(ms as Milliseconds)
}

/// A number of milliseconds; 0 is for ever.
///
/// # Errors
/// [`CommandError`] where it is no number, or negative.
pub(super) fn timeout_ms(word: &[u8]) -> Result<Milliseconds, CommandError> {
    let ms = parse_integer(word).ok_or(CommandError::Other(
        "ERR timeout is not an integer or out of range",
    ))?;
    Milliseconds::try_from(ms).map_err(|_| CommandError::Other("ERR timeout is negative"))
}

/// A number; Redis reads hexadecimal ones here, too.
fn seconds(word: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(word).ok()?;
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16)
            .ok()
            .map(|number| number as f64),
        None => args::float(word).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::find;

    fn wait(call: &str) -> Result<Option<Wait>, CommandError> {
        let words: Vec<Bytes> = call
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        wait_of(find(&words).expect("a command"), &words)
    }

    #[test]
    fn waits_are_for_sources() {
        for (call, timeout_ms, keys) in [
            ("BLPOP a b 0", None, vec![1, 2]),
            ("BRPOP a 1.5", Some(1_500), vec![1]),
            ("BLMOVE a b LEFT RIGHT 0.0001", Some(1), vec![1]),
            ("BRPOPLPUSH a b 10", Some(10_000), vec![1]),
            ("BLMPOP 2 2 a b LEFT", Some(2_000), vec![3, 4]),
            ("XREAD COUNT 2 BLOCK 0 STREAMS a b 1 2", None, vec![6, 7]),
            (
                "XREADGROUP GROUP STREAMS c BLOCK 7 STREAMS a >",
                Some(7),
                vec![7],
            ),
        ] {
            assert_eq!(wait(call), Ok(Some(Wait { timeout_ms, keys })), "{call}");
        }
        assert_eq!(wait("LPOP a"), Ok(None));
        assert_eq!(wait("XREAD STREAMS a 0"), Ok(None));
        assert!(wait("BLPOP a x").is_err());
    }

    #[test]
    fn timeouts() {
        for (word, expected) in [
            ("0", "0"),
            ("1.5", "1500"),
            // A part of a millisecond is a whole one, else waiting shortly would be for ever.
            ("0.0001", "1"),
            ("0x10", "16000"),
            ("1e3", "1000000"),
            ("-1", "ERR timeout is negative"),
            ("-inf", "ERR timeout is negative"),
            ("1e18", "ERR timeout is out of range"),
            ("x", "ERR timeout is not a float or out of range"),
            ("nan", "ERR timeout is not a float or out of range"),
            ("inf", "ERR timeout is out of range"),
            ("0x7FFFFFFFFFFFFF", "ERR timeout is out of range"),
            ("9223372036854775807", "ERR timeout is out of range"),
        ] {
            let read = match timeout(word.as_bytes()) {
                Ok(ms) => ms.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(read, expected, "{word}");
        }
    }
}
