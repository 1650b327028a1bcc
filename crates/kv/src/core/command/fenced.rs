//! `ATOLL.FENCED fence token command …`: a write that is refused once somebody with a newer token
//! has written.
//!
//! Whoever holds a lock may be paused for longer than the lock lasts, and go on to write as if it
//! still held it. No lock can keep that from happening; the data can, if each write shows the
//! token that came with the lock, and tokens only grow (Kleppmann, "How to do distributed
//! locking", 2016). A fence is a key that holds the newest token that was shown: a plain number,
//! which GET reads. Whoever deletes it forgets who came before.

use bytes::Bytes;

use super::{
    CommandError, Context, EventClass, Executed,
    args::Words,
    table::{Command, Flags, Group, KeyPlaces, find},
};
use crate::core::data::{RedisString, Value};

/// Where the command that is fenced begins among the words.
const INNER: usize = 3;

pub(super) const COMMANDS: &[Command] = &[Command {
    name: "atoll.fenced",
    arity: -5,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
    keys: KeyPlaces::Custom(keys),
    group: Group::Generic,
    since: "7.4.0",
    summary: "Runs a command that writes, unless a newer fencing token was shown before.",
    complexity: "That of the command",
    execute: fenced,
    subcommands: &[],
}];

/// The command that is fenced by these words, which call this command, and its words; none, if
/// they fence nothing that can be fenced.
pub fn fenced_by<'a>(
    command: &Command,
    words: &'a [Bytes],
) -> Option<(&'static Command, &'a [Bytes])> {
    match command.name {
        "atoll.fenced" => inner(words),
        _ => None,
    }
}

/// The command that stands behind fence and token, and its words, if it can be fenced.
fn inner(words: &[Bytes]) -> Option<(&'static Command, &[Bytes])> {
    let inner = words.get(INNER..)?;
    let command = find(inner).filter(|command| may_be_fenced(command))?;
    Some((command, inner))
}

/// Whether a command writes to the keys that it names and to nothing else, at once.
fn may_be_fenced(command: &Command) -> bool {
    let is_narrow = !matches!(command.keys, KeyPlaces::None)
        && !matches!(command.name, "atoll.fenced" | "copy" | "move" | "sort");
    is_narrow
        && command.flags.has(Flags::WRITE)
        && !command.flags.has(Flags::BLOCKING)
        && command.group != Group::Scripting
}

fn keys(words: &[Bytes]) -> Vec<usize> {
    let places = inner(words).map(|(command, inner)| command.keys.of(inner));
    let places = places.into_iter().flatten().map(|place| place + INNER);
    std::iter::once(1).chain(places).collect()
}

fn fenced(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let fence = &words[1];
    let token = Words::from(words, 2).expect_integer()?;
    if token <= 0 {
        return Err(CommandError::Other(
            "ERR a fencing token is a number above 0",
        ));
    }
    let (command, inner) = inner(words).ok_or(CommandError::Other(
        "ERR only commands that write to the keys that they name, and do not wait, can be fenced",
    ))?;
    if command
        .keys
        .of(inner)
        .iter()
        .any(|place| inner[*place] == *fence)
    {
        return Err(CommandError::Other("ERR a fence can't fence itself"));
    }
    let newest = match context.get::<RedisString>(fence)? {
        None => 0,
        Some(string) => string.integer().ok_or(CommandError::NotInteger)?,
    };
    if token < newest {
        return Err(CommandError::Other(
            "FENCED a newer token was shown to this fence; nothing was written. Take the lock \
             again",
        ));
    }
    let reply = command.run(context, inner)?;
    if token > newest {
        context.insert(fence, Value::String(RedisString::Integer(token)), None);
        context.changed(fence, EventClass::String, "set");
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::super::testing::story;

    #[test]
    fn who_comes_late_writes_nothing() {
        story(
            r#"
            > ATOLL.FENCED fence 5 SET data first
            OK
            ! new data, set data, new fence, set fence
            > GET fence
            "5"
            > ATOLL.FENCED fence 5 APPEND data -again
            (integer) 11
            ! append data
            > ATOLL.FENCED fence 7 HSET other f v
            (integer) 1
            > ATOLL.FENCED fence 5 SET data late
            (error) FENCED a newer token was shown to this fence; nothing was written. Take the lock again
            !
            > GET data
            "first-again"
            > ATOLL.FENCED fence 9 LPUSH data x
            (error) WRONGTYPE Operation against a key holding the wrong kind of value
            > GET fence
            "7"
            "#,
        );
    }

    #[test]
    fn what_can_not_be_fenced_is_refused() {
        story(
            r#"
            > ATOLL.FENCED fence 0 SET data 1
            (error) ERR a fencing token is a number above 0
            > ATOLL.FENCED fence x SET data 1
            (error) ERR value is not an integer or out of range
            > ATOLL.FENCED fence 1 GET data
            (error) ERR only commands that write to the keys that they name, and do not wait, can be fenced
            > ATOLL.FENCED fence 1 FLUSHALL SYNC
            (error) ERR only commands that write to the keys that they name, and do not wait, can be fenced
            > ATOLL.FENCED fence 1 BLPOP data 0
            (error) ERR only commands that write to the keys that they name, and do not wait, can be fenced
            > ATOLL.FENCED fence 1 ATOLL.FENCED fence 1 SET data 1
            (error) ERR only commands that write to the keys that they name, and do not wait, can be fenced
            > ATOLL.FENCED fence 1 SET fence 1
            (error) ERR a fence can't fence itself
            > ATOLL.FENCED fence 1 SET data
            (error) ERR wrong number of arguments for 'set' command
            > ATOLL.FENCED fence 1 HSET data field
            (error) ERR wrong number of arguments for 'hset' command
            > SET fence text
            OK
            > ATOLL.FENCED fence 1 SET data 1
            (error) ERR value is not an integer or out of range
            > EXISTS data
            (integer) 0
            "#,
        );
    }
}
