//! Values that go to another key or another database.

use bytes::Bytes;

use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, Words},
        databases,
    },
    data::Entry,
    reply::Reply,
};

const SAME: CommandError = CommandError::Other("ERR source and destination objects are the same");

/// Puts an entry at a key of the chosen database, in the place of whatever was there.
fn place(context: &mut Context<'_>, key: &[u8], entry: Entry) {
    // Not over it: to subscribers it is a new key.
    context.remove(key);
    let expires_at_ms = entry.expires_at_ms();
    context.insert(key, entry.value, expires_at_ms);
}

pub(super) fn rename(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    rename_to(context, &words[1], &words[2], true)?;
    Ok(Reply::OK)
}

pub(super) fn renamenx(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let renamed = rename_to(context, &words[1], &words[2], false)?;
    Ok(Reply::Integer(i64::from(renamed)))
}

fn rename_to(
    context: &mut Context<'_>,
    from: &[u8],
    to: &[u8],
    replace: bool,
) -> Result<bool, CommandError> {
    if !context.exists(from) {
        return Err(CommandError::NoSuchKey);
    }
    // Which may be itself.
    if (context.exists(to) && !replace) || from == to {
        return Ok(false);
    }
    let Some(entry) = context.remove(from) else {
        return Err(CommandError::NoSuchKey);
    };
    place(context, to, entry);
    context.changed(from, EventClass::Generic, "rename_from");
    context.changed(to, EventClass::Generic, "rename_to");
    Ok(true)
}

pub(super) fn copy(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (from, to) = (&words[1], &words[2]);
    let (mut database, mut replace) = (context.database_index(), false);
    let mut options = Words::from(words, 3);
    while let Some(option) = options.next() {
        match () {
            () if args::is(option, "REPLACE") => replace = true,
            () if args::is(option, "DB") => {
                let index = databases::index(options.expect()?, CommandError::NotInteger)?;
                database = databases::existing(index)?;
            }
            () => return Err(CommandError::Syntax),
        }
    }
    if database == context.database_index() && from == to {
        return Err(SAME);
    }
    let Some(entry) = context.entry(from).cloned() else {
        return Ok(Reply::Integer(0));
    };
    Ok(context.in_database(database, |context| {
        if context.exists(to) && !replace {
            return Reply::Integer(0);
        }
        place(context, to, entry);
        context.changed(to, EventClass::Generic, "copy_to");
        Reply::Integer(1)
    }))
}

pub(super) fn move_key(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let index = databases::index(&words[2], CommandError::NotInteger)?;
    let database = databases::existing(index)?;
    if database == context.database_index() {
        return Err(SAME);
    }
    let blocked =
        !context.exists(key) || context.in_database(database, |context| context.exists(key));
    if blocked {
        return Ok(Reply::Integer(0));
    }
    let Some(entry) = context.remove(key) else {
        return Ok(Reply::Integer(0));
    };
    context.changed(key, EventClass::Generic, "move_from");
    context.in_database(database, |context| {
        place(context, key, entry);
        context.changed(key, EventClass::Generic, "move_to");
    });
    Ok(Reply::Integer(1))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn another_name() {
        story(
            r#"
            > RENAME a b
            (error) ERR no such key
            > RENAMENX a a
            (error) ERR no such key
            > SET a 1 EX 10
            OK
            > SET b 2
            OK
            > RENAME a a
            OK
            > RENAMENX a a
            (integer) 0
            > RENAMENX a b
            (integer) 0
            > RENAME a b
            OK
            ! new b, rename_from a, rename_to b
            > GET b
            "1"
            > TTL b
            (integer) 10
            > EXISTS a
            (integer) 0
            > RENAMENX b c
            (integer) 1
            > KEYS *
            1) "c"
            @ 10001
            > RENAME c d
            (error) ERR no such key
            "#,
        );
    }

    #[test]
    fn copies() {
        story(
            r#"
            > COPY a b
            (integer) 0
            > SET a 1 EX 10
            OK
            > COPY a b
            (integer) 1
            ! new b, copy_to b
            > TTL b
            (integer) 10
            > SET a 2
            OK
            > COPY a b
            (integer) 0
            > COPY a b REPLACE
            (integer) 1
            > GET b
            "2"
            > TTL b
            (integer) -1
            > COPY a a
            (error) ERR source and destination objects are the same
            > COPY a a DB 0
            (error) ERR source and destination objects are the same
            > COPY a a DB 3
            (integer) 1
            > COPY a b DB 16
            (error) ERR DB index is out of range
            > COPY a b DB x
            (error) ERR value is not an integer or out of range
            > COPY a b DB
            (error) ERR syntax error
            > COPY a b OVER
            (error) ERR syntax error
            > SELECT 3
            OK
            > GET a
            "2"
            "#,
        );
    }

    #[test]
    fn other_databases() {
        story(
            r#"
            > SET a 1 EX 10
            OK
            > MOVE a 1
            (integer) 1
            ! move_from a, new a, move_to a
            > MOVE a 1
            (integer) 0
            > SET a 2
            OK
            > MOVE a 1
            (integer) 0
            > MOVE a 0
            (error) ERR source and destination objects are the same
            > MOVE a -1
            (error) ERR DB index is out of range
            > MOVE a x
            (error) ERR value is not an integer or out of range
            > SELECT 1
            OK
            > TTL a
            (integer) 10
            "#,
        );
    }
}
