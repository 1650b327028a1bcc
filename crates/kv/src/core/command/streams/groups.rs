//! XGROUP and XACK.

use bytes::Bytes;

use super::{help as lines, ids, no_group_of, odd_subcommand, unknown_subcommand};
use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args},
    data::{Group, Stream, StreamId},
    reply::Reply,
};

pub(super) fn xgroup(_: &mut Context<'_>, words: &[Bytes]) -> Executed {
    unknown_subcommand("XGROUP", words)
}

pub(super) fn help(_: &mut Context<'_>, _: &[Bytes]) -> Executed {
    Ok(lines(
        "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "CREATE <key> <groupname> <id|$> [option]",
            "    Make a group that begins after an entry. Options are:",
            "    * MKSTREAM",
            "      Make the stream, too, if it is not there.",
            "    * ENTRIESREAD entries_read",
            "      Say how many entries of the stream's life come up to there.",
            "CREATECONSUMER <key> <groupname> <consumer>",
            "    Add a consumer to a group.",
            "DELCONSUMER <key> <groupname> <consumer>",
            "    Remove a consumer and what is pending for it.",
            "DESTROY <key> <groupname>",
            "    Remove a group.",
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Say after which entry a group goes on.",
        ],
    ))
}

/// Options of CREATE and SETID.
#[derive(Default)]
struct Options {
    make: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn of(words: &[Bytes], creating: bool) -> Result<Self, CommandError> {
        let mut read = Options::default();
        let mut options = words[5..].iter();
        while let Some(option) = options.next() {
            if creating && args::is(option, "MKSTREAM") {
                read.make = true;
            } else if args::is(option, "ENTRIESREAD")
                && let Some(number) = options.next()
            {
                read.entries_read = match args::integer(number)? {
                    -1 => None,
                    number => Some(u64::try_from(number).map_err(|_| {
                        CommandError::Other("ERR value for ENTRIESREAD must be positive or -1")
                    })?),
                };
            } else {
                return Err(odd_subcommand("XGROUP", words));
            }
        }
        Ok(read)
    }
}

const NO_STREAM: CommandError = CommandError::Other(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to \
     use the MKSTREAM option to create an empty stream automatically.",
);

pub(super) fn create(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let options = Options::of(words, true)?;
    let (key, name) = (&words[2], &words[3]);
    let stream = context.get::<Stream>(key)?;
    if stream.is_none() && !options.make {
        return Err(NO_STREAM);
    }
    let last = match words[4].as_ref() {
        b"$" => stream.map_or(StreamId::MIN, Stream::last_id),
        word => ids::strict(word, 0)?,
    };
    if stream.is_some_and(|stream| stream.groups().contains_key(name.as_ref())) {
        return Err(CommandError::Other(
            "BUSYGROUP Consumer Group name already exists",
        ));
    }
    let stream = context.get_or_add::<Stream>(key)?;
    stream.add_group(name, Group::new(last, options.entries_read));
    context.changed(key, EventClass::Stream, "xgroup-create");
    Ok(Reply::OK)
}

pub(super) fn setid(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let options = Options::of(words, false)?;
    let key = &words[2];
    let (stream, name) = group(context, words)?;
    let last = match words[4].as_ref() {
        b"$" => stream.last_id(),
        word => ids::any(word, 0)?,
    };
    if let Some(group) = stream.group_mut(name) {
        group.last_id = last;
        group.entries_read = options.entries_read;
    }
    context.changed(key, EventClass::Stream, "xgroup-setid");
    Ok(Reply::OK)
}

/// The stream of a subcommand, and the name of its group, which is there.
fn group<'a, 'w>(
    context: &'a mut Context<'_>,
    words: &'w [Bytes],
) -> Result<(&'a mut Stream, &'w Bytes), CommandError> {
    let (key, name) = (&words[2], &words[3]);
    let stream = context.get_mut::<Stream>(key)?.ok_or(NO_STREAM)?;
    if !stream.groups().contains_key(name.as_ref()) {
        return Err(no_group_of(key, name));
    }
    Ok((stream, name))
}

pub(super) fn destroy(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, name) = (&words[2], &words[3]);
    let stream = context.get_mut::<Stream>(key)?.ok_or(NO_STREAM)?;
    let removed = stream.remove_group(name);
    if removed {
        context.changed(key, EventClass::Stream, "xgroup-destroy");
    }
    Ok(Reply::Integer(removed.into()))
}

pub(super) fn createconsumer(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let now_ms = context.now_ms();
    let (stream, name) = group(context, words)?;
    let added = stream
        .group_mut(name)
        .is_some_and(|group| group.add_consumer(&words[4], now_ms));
    if added {
        context.changed(&words[2], EventClass::Stream, "xgroup-createconsumer");
    }
    Ok(Reply::Integer(added.into()))
}

pub(super) fn delconsumer(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (stream, name) = group(context, words)?;
    let removed = stream
        .group_mut(name)
        .and_then(|group| group.remove_consumer(&words[4]));
    if removed.is_some() {
        context.changed(&words[2], EventClass::Stream, "xgroup-delconsumer");
    }
    Ok(Reply::count(removed.unwrap_or(0)))
}

pub(super) fn xack(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, name) = (&words[1], &words[2]);
    let stream = context.get::<Stream>(key)?;
    if !stream.is_some_and(|stream| stream.groups().contains_key(name.as_ref())) {
        return Ok(Reply::Integer(0));
    }
    let ids = words[3..].iter().map(|word| ids::strict(word, 0));
    let ids: Vec<StreamId> = ids.collect::<Result<_, _>>()?;
    let Some(group) = context
        .get_mut::<Stream>(key)?
        .and_then(|stream| stream.group_mut(name))
    else {
        return Ok(Reply::Integer(0));
    };
    let acknowledged = ids.into_iter().filter(|id| group.acknowledge(*id)).count();
    if acknowledged > 0 {
        context.touched(key);
    }
    Ok(Reply::count(acknowledged))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn groups_come_and_go() {
        story(
            r#"
            > XGROUP CREATE s g $
            (error) ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
            > XGROUP CREATE s g $ MKSTREAM
            OK
            ! new s, xgroup-create s
            > XGROUP CREATE s g $
            (error) BUSYGROUP Consumer Group name already exists
            > XGROUP CREATE s h x
            (error) ERR Invalid stream ID specified as stream command argument
            > XGROUP CREATE s h 0 ENTRIESREAD -3
            (error) ERR value for ENTRIESREAD must be positive or -1
            > XGROUP CREATE s h 0 ENTRIESREAD
            (error) ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
            > XGROUP CREATE s h 0 ENTRIESREAD 3
            OK
            ! xgroup-create s
            > XGROUP SETID s h 5 ENTRIESREAD -1
            OK
            ! xgroup-setid s
            > XGROUP SETID s h $
            OK
            > XGROUP SETID s h 5 MKSTREAM
            (error) ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.
            > XGROUP SETID s none 5
            (error) NOGROUP No such consumer group 'none' for key name 's'
            > XGROUP CREATECONSUMER s g alice
            (integer) 1
            ! xgroup-createconsumer s
            > XGROUP CREATECONSUMER s g alice
            (integer) 0
            > XGROUP DELCONSUMER s g bob
            (integer) 0
            > XGROUP DELCONSUMER s g alice
            (integer) 0
            ! xgroup-delconsumer s
            > XGROUP DELCONSUMER s none alice
            (error) NOGROUP No such consumer group 'none' for key name 's'
            > XGROUP DESTROY s none
            (integer) 0
            > XGROUP DESTROY s h
            (integer) 1
            ! xgroup-destroy s
            > XGROUP FOO
            (error) ERR unknown subcommand 'FOO'. Try XGROUP HELP.
            > XGROUP CREATE s
            (error) ERR wrong number of arguments for 'xgroup|create' command
            "#,
        );
    }

    #[test]
    fn entries_are_acknowledged() {
        story(
            r#"
            > XGROUP CREATE s g $ MKSTREAM
            OK
            > XADD s 1 f 1
            "1-0"
            > XADD s 2 f 2
            "2-0"
            > XREADGROUP GROUP g c STREAMS s >
            1# "s" => 1) 1) "1-0"
                  2) 1) "f"
                     2) "1"
               2) 1) "2-0"
                  2) 1) "f"
                     2) "2"
            > XACK s g 1 x
            (error) ERR Invalid stream ID specified as stream command argument
            > XACK s g 1 7 1
            (integer) 1
            > XACK s g 1
            (integer) 0
            > XACK s none x
            (integer) 0
            > XACK none g 1
            (integer) 0
            > XGROUP DELCONSUMER s g c
            (integer) 1
            > XPENDING s g
            1) (integer) 0
            2) (nil)
            3) (nil)
            4) (nil)
            "#,
        );
    }
}
