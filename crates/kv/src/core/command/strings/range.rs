//! Parts of strings, and their ends.

use std::ops::Range;

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args},
    data::{RedisString, STRING_BYTES_MAX, Value},
    reply::Reply,
};

/// A string would be longer than one may be.
const TOO_LONG: CommandError =
    CommandError::Other("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

/// The length of the two together, if a string may be so long.
fn length_of(first: usize, second: usize) -> Result<usize, CommandError> {
    first
        .checked_add(second)
        .filter(|length| *length <= STRING_BYTES_MAX)
        .ok_or(TOO_LONG)
}

/// The part of a string from `start` to `end`, both included and counted from the end where
/// negative (Redis: "GETRANGE"). Negative ones in the wrong order mean nothing.
pub(in crate::core::command) fn part(start: i64, end: i64, length: usize) -> Option<Range<usize>> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    clamped(start, end, length)
}

/// The same, as BITPOS has it: what is before the beginning counts as the beginning, even an
/// end, so -1 to -100 is the first byte of a string of one.
pub(in crate::core::command) fn clamped(
    start: i64,
    end: i64,
    length: usize,
) -> Option<Range<usize>> {
    let place = |index: i64| match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => {
            let back = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
            length.saturating_sub(back)
        }
    };
    let (start, end) = (place(start), place(end).min(length.checked_sub(1)?));
    (start <= end).then(|| start..end + 1)
}

pub(super) fn strlen(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let string = context.get::<RedisString>(&words[1])?;
    Ok(Reply::count(string.map_or(0, RedisString::len)))
}

pub(super) fn append(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, bytes) = (&words[1], &words[2]);
    let before = context.get::<RedisString>(key)?.map(RedisString::len);
    let length = length_of(before.unwrap_or(0), bytes.len())?;
    match context.get_mut::<RedisString>(key)? {
        Some(string) => string.edit().extend_from_slice(bytes),
        None => context.insert(key, Value::String(RedisString::new(bytes)), None),
    }
    context.changed(key, EventClass::String, "append");
    Ok(Reply::count(length))
}

pub(super) fn setrange(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, bytes) = (&words[1], &words[3]);
    let offset = usize::try_from(args::integer(&words[2])?)
        .map_err(|_| CommandError::Other("ERR offset is out of range"))?;
    let before = context.get::<RedisString>(key)?.map_or(0, RedisString::len);
    if bytes.is_empty() {
        return Ok(Reply::count(before));
    }
    let end = length_of(offset, bytes.len())?;
    let string = context.get_or_add::<RedisString>(key)?.edit();
    if string.len() < end {
        string.resize(end, 0);
    }
    string[offset..end].copy_from_slice(bytes);
    let length = string.len();
    context.changed(key, EventClass::String, "setrange");
    Ok(Reply::count(length))
}

pub(super) fn getrange(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (start, end) = (args::integer(&words[2])?, args::integer(&words[3])?);
    let Some(string) = context.get::<RedisString>(&words[1])? else {
        return Ok(Reply::bulk([]));
    };
    let bytes = string.bytes();
    let part = part(start, end, bytes.len()).map_or(&[][..], |range| &bytes[range]);
    Ok(Reply::bulk(part))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn ends_and_parts() {
        story(
            r#"
            > STRLEN a
            (integer) 0
            > APPEND a 12
            (integer) 2
            ! new a, append a
            > OBJECT ENCODING a
            "int"
            > APPEND a 34
            (integer) 4
            ! append a
            > OBJECT ENCODING a
            "raw"
            > STRLEN a
            (integer) 4
            > SET a -12
            OK
            > STRLEN a
            (integer) 3
            > SET a "Hello, world"
            OK
            > GETRANGE a 0 4
            "Hello"
            > GETRANGE a -5 -1
            "world"
            > GETRANGE a -100 100
            "Hello, world"
            > GETRANGE a 5 4
            ""
            > GETRANGE a -1 -5
            ""
            > GETRANGE a 0 -100
            "H"
            > GETRANGE a 100 200
            ""
            > GETRANGE missing 0 -1
            ""
            > SUBSTR a 0 0
            "H"
            > GETRANGE a x 0
            (error) ERR value is not an integer or out of range
            "#,
        );
    }

    #[test]
    fn writing_over() {
        story(
            r#"
            > SETRANGE a 2 ""
            (integer) 0
            > EXISTS a
            (integer) 0
            > SETRANGE a 2 xy
            (integer) 4
            ! new a, setrange a
            > GET a
            "\x00\x00xy"
            > SETRANGE a 0 z
            (integer) 4
            > SETRANGE a 9 ""
            (integer) 4
            > GET a
            "z\x00xy"
            > SETRANGE a -1 x
            (error) ERR offset is out of range
            > SETRANGE a 536870911 xx
            (error) ERR string exceeds maximum allowed size (proto-max-bulk-len)
            > SETRANGE a 9223372036854775807 x
            (error) ERR string exceeds maximum allowed size (proto-max-bulk-len)
            > SET a 1234
            OK
            > SETRANGE a 0 2
            (integer) 4
            > GET a
            "2234"
            "#,
        );
    }
}
