//! Ids as clients write them.

use crate::core::{command::CommandError, data::StreamId};

const INVALID: CommandError =
    CommandError::Other("ERR Invalid stream ID specified as stream command argument");

/// An id is not longer than this, in bytes; as in Redis.
const ID_BYTES_MAX: usize = 127;

fn number(digits: &str) -> Result<u64, CommandError> {
    // The standard parser takes a plus sign; Redis doesn't.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(INVALID);
    }
    digits.parse().map_err(|_| INVALID)
}

/// `ms` or `ms-seq`; without a number within the millisecond, this one.
pub(super) fn strict(word: &[u8], seq: u64) -> Result<StreamId, CommandError> {
    if word.len() > ID_BYTES_MAX {
        return Err(INVALID);
    }
    let text = std::str::from_utf8(word).map_err(|_| INVALID)?;
    match text.split_once('-') {
        None => Ok(StreamId {
            ms: number(text)?,
            seq,
        }),
        Some((ms, seq)) => Ok(StreamId {
            ms: number(ms)?,
            seq: number(seq)?,
        }),
    }
}

/// The same, or `-` for the lowest and `+` for the highest one.
pub(super) fn any(word: &[u8], seq: u64) -> Result<StreamId, CommandError> {
    match word {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => strict(word, seq),
    }
}

/// Where a range begins; after the id, if it is written behind a parenthesis.
pub(super) fn from(word: &[u8]) -> Result<StreamId, CommandError> {
    match word.strip_prefix(b"(") {
        None => any(word, 0),
        Some(word) => strict(word, 0)?
            .next()
            .ok_or(CommandError::Other("ERR invalid start ID for the interval")),
    }
}

/// Where a range ends; before the id, if it is written behind a parenthesis.
pub(super) fn to(word: &[u8]) -> Result<StreamId, CommandError> {
    match word.strip_prefix(b"(") {
        None => any(word, u64::MAX),
        Some(word) => strict(word, u64::MAX)?
            .previous()
            .ok_or(CommandError::Other("ERR invalid end ID for the interval")),
    }
}

/// The id that XADD is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `*`: the stream chooses.
    Any,
    /// `ms-*`: the stream chooses the number within the millisecond.
    Within(u64),
    /// This one.
    Exactly(StreamId),
}

impl Wanted {
    pub(super) fn of(word: &[u8]) -> Result<Self, CommandError> {
        if word == b"*" {
            return Ok(Wanted::Any);
        }
        match word.strip_suffix(b"-*") {
            Some(ms) if ms.len() <= ID_BYTES_MAX => {
                let ms = std::str::from_utf8(ms).map_err(|_| INVALID)?;
                number(ms).map(Wanted::Within)
            }
            _ => strict(word, 0).map(Wanted::Exactly),
        }
    }

    /// The id itself, after the stream's last one; none if there is no such id.
    pub(super) fn resolve(self, last: StreamId, now_ms: u64) -> Option<StreamId> {
        let chosen = match self {
            Wanted::Any if now_ms > last.ms => StreamId { ms: now_ms, seq: 0 },
            Wanted::Any => last.next()?,
            Wanted::Within(ms) if ms == last.ms => StreamId {
                ms,
                seq: last.seq.checked_add(1)?,
            },
            Wanted::Within(ms) => StreamId { ms, seq: 0 },
            Wanted::Exactly(id) => id,
        };
        (chosen > last).then_some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    #[test]
    fn ids_are_read() {
        assert_eq!(strict(b"5", 7), Ok(id(5, 7)));
        assert_eq!(strict(b"5-6", 7), Ok(id(5, 6)));
        for word in [
            "",
            "-",
            "+",
            "5-",
            "-5",
            "5-6-7",
            "+5",
            "x",
            "5-*",
            "18446744073709551616",
        ] {
            assert_eq!(strict(word.as_bytes(), 0), Err(INVALID), "{word}");
        }
        assert_eq!(strict(&[b'0'; ID_BYTES_MAX + 1], 0), Err(INVALID));
        assert_eq!(any(b"-", 0), Ok(StreamId::MIN));
        assert_eq!(any(b"+", 0), Ok(StreamId::MAX));
        assert_eq!(from(b"(5"), Ok(id(5, 1)));
        assert_eq!(to(b"5"), Ok(id(5, u64::MAX)));
        assert_eq!(to(b"(5-0"), Ok(id(4, u64::MAX)));
        for word in ["(-", "(+", "(18446744073709551615-18446744073709551615"] {
            assert!(from(word.as_bytes()).is_err(), "{word}");
        }
        for word in ["(-", "(+", "(0-0"] {
            assert!(to(word.as_bytes()).is_err(), "{word}");
        }
    }

    #[test]
    fn ids_are_chosen_after_the_last() {
        let resolve = |word: &str, last| Wanted::of(word.as_bytes()).map(|id| id.resolve(last, 9));
        assert_eq!(resolve("*", id(8, 3)), Ok(Some(id(9, 0))));
        assert_eq!(resolve("*", id(9, 3)), Ok(Some(id(9, 4))));
        assert_eq!(resolve("*", id(10, 3)), Ok(Some(id(10, 4))));
        assert_eq!(resolve("7-*", id(7, 3)), Ok(Some(id(7, 4))));
        assert_eq!(resolve("7-*", id(6, 3)), Ok(Some(id(7, 0))));
        assert_eq!(resolve("7-*", id(8, 3)), Ok(None));
        assert_eq!(resolve("7-*", id(7, u64::MAX)), Ok(None));
        assert_eq!(resolve("0-*", StreamId::MIN), Ok(Some(id(0, 1))));
        assert_eq!(resolve("7-3", id(7, 3)), Ok(None));
        assert_eq!(resolve("7-4", id(7, 3)), Ok(Some(id(7, 4))));
        assert_eq!(resolve("*", StreamId::MAX), Ok(None));
        for word in ["x", "x-*", "-*", "**", "5-**"] {
            assert_eq!(resolve(word, StreamId::MIN), Err(INVALID), "{word}");
        }
    }
}
