//! Whole databases.

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, Executed, args},
    data::DATABASES,
    reply::Reply,
};

pub(super) fn flushdb(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    check_mode(words)?;
    context.flush();
    Ok(Reply::OK)
}

pub(super) fn flushall(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
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

pub(super) fn swapdb(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let first = args::database(&words[1], CommandError::Other("ERR invalid first DB index"));
    let second = args::database(
        &words[2],
        CommandError::Other("ERR invalid second DB index"),
    );
    // Of two mistakes, one that is no number is told first.
    let out_of_range = matches!(first, Err(args::NO_SUCH_DATABASE));
    let (first, second) = if out_of_range {
        let second = second?;
        (first?, second)
    } else {
        (first?, second?)
    };
    context.swap_databases(first, second);
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

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
