//! Entries added, deleted and trimmed away.

use bytes::Bytes;

use super::{
    id,
    ids::{self, Wanted},
};
use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args},
    data::{Keep, Stream, StreamId, Trim},
    reply::Reply,
};

/// So many times the entries that go at once an approximate trimming takes out at most where the
/// client names no LIMIT; as in Redis.
const TRIMMED_TIMES_MAX: usize = 100;

/// What XADD and XTRIM have in common.
struct Options {
    no_make: bool,
    trim: Option<Trim>,
    /// The place of the first word that is none of these.
    end: usize,
}

impl Options {
    /// Reads from place 2 on. XADD stops at the first word that is no option, XTRIM refuses it.
    fn of(words: &[Bytes], adding: bool, at_once: usize) -> Result<Self, CommandError> {
        let (mut no_make, mut keep, mut limit) = (false, None, None);
        let mut approximate = false;
        let mut at = 2;
        while let Some(option) = words.get(at) {
            let more = words.len() - at - 1;
            let maxlen = args::is(option, "MAXLEN");
            if (maxlen || args::is(option, "MINID")) && more >= 1 {
                if keep.is_some() {
                    return Err(CommandError::Other(
                        "ERR syntax error, MAXLEN and MINID options at the same time are not \
                         compatible",
                    ));
                }
                let sign = (more >= 2).then(|| words[at + 1].as_ref());
                approximate = sign == Some(b"~");
                if approximate || sign == Some(b"=") {
                    at += 1;
                }
                let value = &words[at + 1];
                keep = Some(if maxlen {
                    let len = args::integer(value)?;
                    Keep::Latest(usize::try_from(len).map_err(|_| {
                        CommandError::Other("ERR The MAXLEN argument must be >= 0.")
                    })?)
                } else {
                    Keep::From(ids::strict(value, 0)?)
                });
                at += 2;
            } else if args::is(option, "LIMIT") && more >= 1 {
                let number = args::integer(&words[at + 1])?;
                let number = usize::try_from(number)
                    .map_err(|_| CommandError::Other("ERR The LIMIT argument must be >= 0."))?;
                limit = Some(number);
                at += 2;
            } else if adding && args::is(option, "NOMKSTREAM") {
                no_make = true;
                at += 1;
            } else if adding {
                break;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        // XADD's id is read before what is said of trimming is put together.
        if adding && let Some(word) = words.get(at) {
            Wanted::of(word)?;
        }
        let trim = trim(keep, approximate.then_some(at_once), limit)?;
        if !adding && trim.is_none() {
            return Err(CommandError::Other(
                "ERR syntax error, XTRIM must be called with a trimming strategy",
            ));
        }
        Ok(Options {
            no_make,
            trim,
            end: at,
        })
    }
}

fn trim(
    keep: Option<Keep>,
    at_once: Option<usize>,
    limit: Option<usize>,
) -> Result<Option<Trim>, CommandError> {
    if keep.is_none() && limit.is_some_and(|limit| limit > 0) {
        return Err(CommandError::Other(
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ));
    }
    if limit.is_some() && at_once.is_none() {
        return Err(CommandError::Other(
            "ERR syntax error, LIMIT cannot be used without the special ~ option",
        ));
    }
    Ok(keep.map(|keep| Trim {
        keep,
        at_once: at_once.unwrap_or(1),
        // A LIMIT of 0 is none.
        removed_max: at_once
            .map(|at_once| limit.unwrap_or_else(|| at_once.saturating_mul(TRIMMED_TIMES_MAX)))
            .filter(|limit| *limit > 0),
    }))
}

pub(super) fn xadd(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let options = Options::of(words, true, context.packing().trimmed_at_once())?;
    let (Some(word), fields) = (
        words.get(options.end),
        words.get(options.end + 1..).unwrap_or_default(),
    ) else {
        return Err(CommandError::Arity("xadd"));
    };
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(CommandError::Arity("xadd"));
    }
    let wanted = Wanted::of(word)?;
    if wanted == Wanted::Exactly(StreamId::MIN) {
        return Err(CommandError::Other(
            "ERR The ID specified in XADD must be greater than 0-0",
        ));
    }
    let now_ms = context.now_ms();
    let last = match context.get::<Stream>(key)? {
        Some(stream) => stream.last_id(),
        None if options.no_make => return Ok(Reply::Null),
        None => StreamId::MIN,
    };
    if last == StreamId::MAX {
        return Err(CommandError::Other(
            "ERR The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let added = wanted.resolve(last, now_ms).ok_or(CommandError::Other(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
    ))?;
    let stream = context.get_or_add::<Stream>(key)?;
    stream.add(added, fields.iter().collect());
    let trimmed = options.trim.map_or(0, |trim| stream.trim(&trim));
    context.changed(key, EventClass::Stream, "xadd");
    if trimmed > 0 {
        context.event(EventClass::Stream, "xtrim", key);
    }
    Ok(id(added))
}

pub(super) fn xtrim(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let options = Options::of(words, false, context.packing().trimmed_at_once())?;
    let (Some(stream), Some(trim)) = (context.get_mut::<Stream>(key)?, options.trim) else {
        return Ok(Reply::Integer(0));
    };
    let trimmed = stream.trim(&trim);
    if trimmed > 0 {
        context.changed(key, EventClass::Stream, "xtrim");
    }
    Ok(Reply::count(trimmed))
}

pub(super) fn xdel(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    if context.get::<Stream>(key)?.is_none() {
        return Ok(Reply::Integer(0));
    }
    let ids = words[2..].iter().map(|word| ids::strict(word, 0));
    let ids: Vec<StreamId> = ids.collect::<Result<_, _>>()?;
    let Some(stream) = context.get_mut::<Stream>(key)? else {
        return Ok(Reply::Integer(0));
    };
    let deleted = ids.into_iter().filter(|id| stream.remove(*id)).count();
    if deleted > 0 {
        context.changed(key, EventClass::Stream, "xdel");
    }
    Ok(Reply::count(deleted))
}

pub(super) fn xlen(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let stream = context.get::<Stream>(&words[1])?;
    Ok(Reply::count(stream.map_or(0, Stream::len)))
}

pub(super) fn xsetid(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let last = ids::strict(&words[2], 0)?;
    let (mut added, mut deleted) = (None, None);
    let mut options = words[3..].iter();
    while let Some(option) = options.next() {
        let value = options.next().ok_or(CommandError::Syntax)?;
        if args::is(option, "ENTRIESADDED") {
            let number = u64::try_from(args::integer(value)?)
                .map_err(|_| CommandError::Other("ERR entries_added must be positive"))?;
            added = Some(number);
        } else if args::is(option, "MAXDELETEDID") {
            let id = ids::strict(value, 0)?;
            if last < id {
                return Err(CommandError::Other(
                    "ERR The ID specified in XSETID is smaller than the provided \
                     max_deleted_entry_id",
                ));
            }
            // 0-0 leaves it as it is.
            deleted = Some(id).filter(|id| *id != StreamId::MIN);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let stream = context
        .get_mut::<Stream>(key)?
        .ok_or(CommandError::NoSuchKey)?;
    if last < stream.max_deleted_id() {
        return Err(CommandError::Other(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if last < stream.last_entry_id() {
        return Err(CommandError::Other(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if added.is_some_and(|added| added < stream.len() as u64) {
        return Err(CommandError::Other(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    stream.set_counters(last, added, deleted);
    context.changed(key, EventClass::Stream, "xsetid");
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use crate::core::command::testing::story;

    #[test]
    fn entries_are_added_and_deleted() {
        story(
            r#"
            > XADD s * a 1
            "1700000000000-0"
            ! new s, xadd s
            > XADD s * a 2 b 3
            "1700000000000-1"
            ! xadd s
            @ 5
            > XADD s * a 4
            "1700000000005-0"
            > XADD s 1700000000005-* a 5
            "1700000000005-1"
            > XADD s 1700000000007 a 6
            "1700000000007-0"
            > XADD s 1700000000007 a 6
            (error) ERR The ID specified in XADD is equal or smaller than the target stream top item
            > XADD s 5-* a 6
            (error) ERR The ID specified in XADD is equal or smaller than the target stream top item
            > XADD s * a 7
            "1700000000007-1"
            > XADD s 0-0 a 6
            (error) ERR The ID specified in XADD must be greater than 0-0
            > XADD s x a 6
            (error) ERR Invalid stream ID specified as stream command argument
            > XADD s * a
            (error) ERR wrong number of arguments for 'xadd' command
            > XADD s * a 1 b
            (error) ERR wrong number of arguments for 'xadd' command
            > XADD s MAXLEN 5 LIMIT 1
            (error) ERR syntax error, LIMIT cannot be used without the special ~ option
            > XADD none NOMKSTREAM * a 1
            (nil)
            > XLEN s
            (integer) 6
            > XLEN none
            (integer) 0
            > XDEL s 1700000000000-1 5-5
            (integer) 1
            ! xdel s
            > XDEL s 5-5
            (integer) 0
            > XDEL s 1700000000000-0 x
            (error) ERR Invalid stream ID specified as stream command argument
            > XDEL none x
            (integer) 0
            > XADD t 18446744073709551615-18446744073709551615 a 1
            "18446744073709551615-18446744073709551615"
            > XADD t * a 1
            (error) ERR The stream has exhausted the last possible ID, unable to add more items
            > XDEL t 18446744073709551615-18446744073709551615
            (integer) 1
            > XLEN t
            (integer) 0
            > XADD t * a 1
            (error) ERR The stream has exhausted the last possible ID, unable to add more items
            "#,
        );
    }

    #[test]
    fn streams_are_trimmed() {
        let mut told = String::new();
        for seq in 1..=250 {
            let _ = write!(told, "> XADD s 0-{seq} a v\n\"0-{seq}\"\n");
        }
        story(&format!(
            r#"{told}
            > XTRIM s MAXLEN ~ 240
            (integer) 0
            > XTRIM s MAXLEN ~ 100 LIMIT 100
            (integer) 100
            ! xtrim s
            > XTRIM s MAXLEN = 140
            (integer) 10
            > XTRIM s MINID 0-120
            (integer) 9
            > XTRIM s MINID ~ 0-200 LIMIT 0
            (integer) 0
            > XADD s MAXLEN 2 1-* a v
            "1-0"
            ! xadd s, xtrim s
            > XLEN s
            (integer) 2
            > XADD s MINID ~ 5 NOMKSTREAM 2 a v
            "2-0"
            ! xadd s
            > XTRIM s MAXLEN 0
            (integer) 3
            > XTRIM none MAXLEN 0
            (integer) 0
            > XTRIM s MAXLEN -1
            (error) ERR The MAXLEN argument must be >= 0.
            > XTRIM s MAXLEN x
            (error) ERR value is not an integer or out of range
            > XTRIM s MINID x
            (error) ERR Invalid stream ID specified as stream command argument
            > XTRIM s MAXLEN 1 MINID 1
            (error) ERR syntax error, MAXLEN and MINID options at the same time are not compatible
            > XTRIM s MAXLEN 1 LIMIT 1
            (error) ERR syntax error, LIMIT cannot be used without the special ~ option
            > XTRIM s MAXLEN ~ 1 LIMIT -1
            (error) ERR The LIMIT argument must be >= 0.
            > XTRIM s LIMIT
            (error) ERR wrong number of arguments for 'xtrim' command
            > XTRIM s LIMIT 1
            (error) ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
            > XTRIM s LIMIT 0
            (error) ERR syntax error, LIMIT cannot be used without the special ~ option
            > XTRIM s FOO 1
            (error) ERR syntax error
            "#
        ));
    }

    #[test]
    fn the_last_id_is_set() {
        story(
            r#"
            > XSETID s 1-1
            (error) ERR no such key
            > XADD s 5-1 a 1
            "5-1"
            > XSETID s 9-1
            OK
            ! xsetid s
            > XADD s 9-* a 1
            "9-2"
            > XSETID s 9-1
            (error) ERR The ID specified in XSETID is smaller than the target stream top item
            > XSETID s 10-0 ENTRIESADDED 1
            (error) ERR The entries_added specified in XSETID is smaller than the target stream length
            > XSETID s 10-0 ENTRIESADDED -1
            (error) ERR entries_added must be positive
            > XSETID s 10-0 MAXDELETEDID 11
            (error) ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
            > XSETID s 10-0 ENTRIESADDED 7 MAXDELETEDID 9-5
            OK
            > XSETID s 9-4
            (error) ERR The ID specified in XSETID is smaller than current max_deleted_entry_id
            > XSETID s 10-0 FOO 1
            (error) ERR syntax error
            > XSETID s 10-0 ENTRIESADDED
            (error) ERR syntax error
            "#,
        );
    }
}
