//! Whole databases.

use bytes::Bytes;

use super::{
    CommandError, Context, Executed, args,
    table::{Command, Flags, Group, KeyPlaces},
};
use crate::core::{
    data::{DATABASES, parse_integer},
    reply::Reply,
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "dbsize",
        arity: 1,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: KeyPlaces::None,
        group: Group::Server,
        since: "1.0.0",
        summary: "Returns the number of keys of the database.",
        complexity: "O(1)",
        execute: dbsize,
        subcommands: &[],
    },
    Command {
        name: "flushall",
        arity: -1,
        flags: Flags::WRITE,
        keys: KeyPlaces::None,
        group: Group::Server,
        since: "1.0.0",
        summary: "Removes the keys of every database.",
        complexity: "O(N) where N is the number of keys",
        execute: flushall,
        subcommands: &[],
    },
    Command {
        name: "flushdb",
        arity: -1,
        flags: Flags::WRITE,
        keys: KeyPlaces::None,
        group: Group::Server,
        since: "1.0.0",
        summary: "Removes the keys of the database.",
        complexity: "O(N) where N is the number of keys",
        execute: flushdb,
        subcommands: &[],
    },
    Command {
        name: "swapdb",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: KeyPlaces::None,
        group: Group::Server,
        since: "4.0.0",
        summary: "Exchanges two databases.",
        complexity: "O(1)",
        execute: swapdb,
        subcommands: &[],
    },
];

/// The index of a database, if it is one.
///
/// # Errors
/// The given one, for what is no number of 32 bits.
pub(super) fn index(argument: &[u8], refused: CommandError) -> Result<i32, CommandError> {
    parse_integer(argument)
        .and_then(|number| i32::try_from(number).ok())
        .ok_or(refused)
}

/// The index, once it is known that there is such a database.
///
/// # Errors
/// There is none.
pub(super) fn existing(index: i32) -> Result<usize, CommandError> {
    usize::try_from(index)
        .ok()
        .filter(|index| *index < DATABASES)
        .ok_or(CommandError::Other("ERR DB index is out of range"))
}

fn dbsize(context: &mut Context<'_>, _words: &[Bytes]) -> Executed {
    Ok(Reply::count(context.database().len()))
}

fn flushdb(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    check_mode(words)?;
    context.flush();
    Ok(Reply::OK)
}

fn flushall(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    check_mode(words)?;
    for database in 0..DATABASES {
        context.in_database(database, Context::flush);
    }
    Ok(Reply::OK)
}

/// Both ways are the same here: all keys are gone when the reply is given.
fn check_mode(words: &[Bytes]) -> Result<(), CommandError> {
    match words {
        [_] => Ok(()),
        [_, mode] if args::is(mode, "SYNC") || args::is(mode, "ASYNC") => Ok(()),
        _ => Err(CommandError::Syntax),
    }
}

fn swapdb(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let refused = CommandError::Other;
    let first = index(&words[1], refused("ERR invalid first DB index"))?;
    let second = index(&words[2], refused("ERR invalid second DB index"))?;
    context.swap_databases(existing(first)?, existing(second)?);
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        command::{Effects, Moment, find, testing::story},
        data::Keyspace,
    };

    #[test]
    fn whole_databases_are_told_as_such() {
        for (call, databases) in [
            ("FLUSHDB", vec![3]),
            ("FLUSHALL", (0..DATABASES).collect()),
            ("SWAPDB 1 2", vec![1, 2]),
            ("SWAPDB 1 1", vec![]),
        ] {
            let words: Vec<Bytes> = call
                .split(' ')
                .map(|word| Bytes::from_static(word.as_bytes()))
                .collect();
            let moment = Moment {
                now_ms: 1,
                seed: 1,
                version: 1,
                reading: false,
            };
            let mut effects = Effects::default();
            let mut keyspace = Keyspace::default();
            let mut context = Context::new(&mut keyspace, 3, moment, &mut effects);
            let command = find(&words).expect("a command");
            assert_eq!(command.run(&mut context, &words), Ok(Reply::OK));
            assert_eq!(effects.databases, databases, "{call}");
        }
    }

    #[test]
    fn emptied_and_exchanged() {
        story(
            r#"
            > SET a 0 EX 10
            OK
            > SELECT 1
            OK
            > SET a 1
            OK
            > SWAPDB 0 1
            OK
            > GET a
            "0"
            > TTL a
            (integer) 10
            > SWAPDB 1 1
            OK
            > FLUSHDB
            OK
            > DBSIZE
            (integer) 0
            > SELECT 0
            OK
            > GET a
            "1"
            > FLUSHALL async
            OK
            > KEYS *
            (empty array)
            > FLUSHDB now
            (error) ERR syntax error
            > FLUSHALL SYNC ASYNC
            (error) ERR syntax error
            > SWAPDB x 0
            (error) ERR invalid first DB index
            > SWAPDB 16 x
            (error) ERR invalid second DB index
            > SWAPDB 0 16
            (error) ERR DB index is out of range
            > SWAPDB 99999999999 0
            (error) ERR invalid first DB index
            "#,
        );
    }
}
