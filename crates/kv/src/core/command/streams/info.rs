//! XINFO.

use bytes::Bytes;

use super::{entry, help as lines, id, no_group_of, odd_subcommand, pending::integer};
use crate::core::{
    command::{CommandError, Context, Executed, args},
    data::{Consumer, Group, Milliseconds, Stream, StreamId},
    reply::Reply,
};

/// XINFO STREAM FULL shows so many entries of each kind where the client doesn't say; as in
/// Redis.
const SHOWN_DEFAULT: usize = 10;

pub(super) fn xinfo(_: &mut Context<'_>, words: &[Bytes]) -> Executed {
    super::unknown_subcommand("XINFO", words)
}

pub(super) fn help(_: &mut Context<'_>, _: &[Bytes]) -> Executed {
    Ok(lines(
        "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "CONSUMERS <key> <groupname>",
            "    Tell of the consumers of a group.",
            "GROUPS <key>",
            "    Tell of the groups of a stream.",
            "STREAM <key> [FULL [COUNT <count>]",
            "    Tell of a stream.",
        ],
    ))
}

fn map<const N: usize>(pairs: [(&str, Reply); N]) -> Vec<(Reply, Reply)> {
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| (Reply::bulk(name), value))
        .collect()
}

fn look<'a>(context: &'a mut Context<'_>, key: &[u8]) -> Result<&'a Stream, CommandError> {
    context.get::<Stream>(key)?.ok_or(CommandError::NoSuchKey)
}

pub(super) fn stream(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let shown_max = match &words[3..] {
        [] => None,
        [full] if args::is(full, "FULL") => Some(SHOWN_DEFAULT),
        [full, count, number] if args::is(full, "FULL") && args::is(count, "COUNT") => {
            Some(match usize::try_from(args::integer(number)?) {
                Ok(0) => usize::MAX,
                Ok(number) => number,
                Err(_) => SHOWN_DEFAULT,
            })
        }
        _ => return Err(odd_subcommand("XINFO", words)),
    };
    let at_once = context.packing().trimmed_at_once();
    let stream = look(context, &words[2])?;
    // What Redis tells of its tree: nodes of about a hundred entries, and what holds them.
    let nodes = stream.len().div_ceil(at_once);
    let mut told = map([
        ("length", Reply::count(stream.len())),
        ("radix-tree-keys", Reply::count(nodes)),
        ("radix-tree-nodes", Reply::count(nodes + 1)),
        ("last-generated-id", id(stream.last_id())),
        ("max-deleted-entry-id", id(stream.max_deleted_id())),
        ("entries-added", integer(stream.entries_added())),
        ("recorded-first-entry-id", id(stream.first_entry_id())),
    ]);
    let mut entries = stream
        .range(StreamId::MIN, StreamId::MAX)
        .map(|(id, fields)| entry(id, fields));
    told.extend(match shown_max {
        None => {
            let first = entries.next();
            let last = entries.next_back().or_else(|| first.clone());
            map([
                ("groups", Reply::count(stream.groups().len())),
                ("first-entry", first.unwrap_or(Reply::Null)),
                ("last-entry", last.unwrap_or(Reply::Null)),
            ])
            .into_iter()
            .collect::<Vec<_>>()
        }
        Some(shown_max) => {
            let groups = stream.groups().iter();
            let groups = groups.map(|(name, group)| full(stream, name, group, shown_max));
            map([
                ("entries", Reply::Array(entries.take(shown_max).collect())),
                ("groups", Reply::Array(groups.collect())),
            ])
        }
    });
    Ok(Reply::Map(told))
}

fn known(number: Option<u64>) -> Reply {
    number.map_or(Reply::Null, integer)
}

/// A group with all its consumers.
fn full(stream: &Stream, name: &[u8], group: &Group, shown_max: usize) -> Reply {
    let pending = group.pending().iter().take(shown_max);
    let pending = pending.map(|(at, pending)| {
        Reply::Array(vec![
            id(*at),
            Reply::bulk(&pending.consumer),
            integer(pending.delivered_at_ms),
            integer(pending.deliveries),
        ])
    });
    let consumers = group.consumers().iter();
    let consumers = consumers.map(|(name, consumer)| whole(group, name, consumer, shown_max));
    Reply::Map(map([
        ("name", Reply::bulk(name)),
        ("last-delivered-id", id(group.last_id)),
        ("entries-read", known(group.entries_read)),
        ("lag", known(stream.lag(group))),
        ("pel-count", Reply::count(group.pending().len())),
        ("pending", Reply::Array(pending.collect())),
        ("consumers", Reply::Array(consumers.collect())),
    ]))
}

fn whole(group: &Group, name: &[u8], consumer: &Consumer, shown_max: usize) -> Reply {
    let pending = consumer.pending().iter().take(shown_max);
    let pending = pending.filter_map(|at| {
        let pending = group.pending().get(at)?;
        Some(Reply::Array(vec![
            id(*at),
            integer(pending.delivered_at_ms),
            integer(pending.deliveries),
        ]))
    });
    Reply::Map(map([
        ("name", Reply::bulk(name)),
        ("seen-time", integer(consumer.seen_at_ms)),
        (
            "active-time",
            consumer.active_at_ms.map_or(Reply::Integer(-1), integer),
        ),
        ("pel-count", Reply::count(consumer.pending().len())),
        ("pending", Reply::Array(pending.collect())),
    ]))
}

pub(super) fn groups(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let stream = look(context, &words[2])?;
    let groups = stream.groups().iter().map(|(name, group)| {
        Reply::Map(map([
            ("name", Reply::bulk(name)),
            ("consumers", Reply::count(group.consumers().len())),
            ("pending", Reply::count(group.pending().len())),
            ("last-delivered-id", id(group.last_id)),
            ("entries-read", known(group.entries_read)),
            ("lag", known(stream.lag(group))),
        ]))
    });
    Ok(Reply::Array(groups.collect()))
}

pub(super) fn consumers(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, name) = (&words[2], &words[3]);
    let now_ms = context.now_ms();
    let stream = look(context, key)?;
    let group = stream
        .groups()
        .get(name.as_ref())
        .ok_or_else(|| no_group_of(key, name))?;
    let since = |at_ms: Milliseconds| integer(now_ms.saturating_sub(at_ms));
    let consumers = group.consumers().iter().map(|(name, consumer)| {
        Reply::Map(map([
            ("name", Reply::bulk(name)),
            ("pending", Reply::count(consumer.pending().len())),
            ("idle", since(consumer.seen_at_ms)),
            (
                "inactive",
                consumer.active_at_ms.map_or(Reply::Integer(-1), since),
            ),
        ]))
    });
    Ok(Reply::Array(consumers.collect()))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn streams_tell_of_themselves() {
        story(
            r#"
            > XINFO STREAM s
            (error) ERR no such key
            > XGROUP CREATE s g $ MKSTREAM
            OK
            > XINFO STREAM s
            1# "length" => (integer) 0
            2# "radix-tree-keys" => (integer) 0
            3# "radix-tree-nodes" => (integer) 1
            4# "last-generated-id" => "0-0"
            5# "max-deleted-entry-id" => "0-0"
            6# "entries-added" => (integer) 0
            7# "recorded-first-entry-id" => "0-0"
            8# "groups" => (integer) 1
            9# "first-entry" => (nil)
            10# "last-entry" => (nil)
            > XADD s 1 f 1
            "1-0"
            > XINFO STREAM s
            1# "length" => (integer) 1
            2# "radix-tree-keys" => (integer) 1
            3# "radix-tree-nodes" => (integer) 2
            4# "last-generated-id" => "1-0"
            5# "max-deleted-entry-id" => "0-0"
            6# "entries-added" => (integer) 1
            7# "recorded-first-entry-id" => "1-0"
            8# "groups" => (integer) 1
            9# "first-entry" => 1) "1-0"
               2) 1) "f"
                  2) "1"
            10# "last-entry" => 1) "1-0"
               2) 1) "f"
                  2) "1"
            > XGROUP CREATECONSUMER s g idle
            (integer) 1
            @ 5
            > XREADGROUP GROUP g c STREAMS s >
            1# "s" => 1) 1) "1-0"
                  2) 1) "f"
                     2) "1"
            @ 7
            > XINFO STREAM s FULL
            1# "length" => (integer) 1
            2# "radix-tree-keys" => (integer) 1
            3# "radix-tree-nodes" => (integer) 2
            4# "last-generated-id" => "1-0"
            5# "max-deleted-entry-id" => "0-0"
            6# "entries-added" => (integer) 1
            7# "recorded-first-entry-id" => "1-0"
            8# "entries" => 1) 1) "1-0"
                  2) 1) "f"
                     2) "1"
            9# "groups" => 1) 1# "name" => "g"
                  2# "last-delivered-id" => "1-0"
                  3# "entries-read" => (integer) 1
                  4# "lag" => (integer) 0
                  5# "pel-count" => (integer) 1
                  6# "pending" => 1) 1) "1-0"
                        2) "c"
                        3) (integer) 1700000000005
                        4) (integer) 1
                  7# "consumers" => 1) 1# "name" => "c"
                        2# "seen-time" => (integer) 1700000000005
                        3# "active-time" => (integer) 1700000000005
                        4# "pel-count" => (integer) 1
                        5# "pending" => 1) 1) "1-0"
                              2) (integer) 1700000000005
                              3) (integer) 1
                     2) 1# "name" => "idle"
                        2# "seen-time" => (integer) 1700000000000
                        3# "active-time" => (integer) -1
                        4# "pel-count" => (integer) 0
                        5# "pending" => (empty array)
            > XINFO GROUPS s
            1) 1# "name" => "g"
               2# "consumers" => (integer) 2
               3# "pending" => (integer) 1
               4# "last-delivered-id" => "1-0"
               5# "entries-read" => (integer) 1
               6# "lag" => (integer) 0
            > XINFO CONSUMERS s g
            1) 1# "name" => "c"
               2# "pending" => (integer) 1
               3# "idle" => (integer) 2
               4# "inactive" => (integer) 2
            2) 1# "name" => "idle"
               2# "pending" => (integer) 0
               3# "idle" => (integer) 7
               4# "inactive" => (integer) -1
            > XINFO CONSUMERS s none
            (error) NOGROUP No such consumer group 'none' for key name 's'
            > XINFO STREAM s FOO
            (error) ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
            > XINFO STREAM s FULL COUNT x
            (error) ERR value is not an integer or out of range
            > XINFO FOO
            (error) ERR unknown subcommand 'FOO'. Try XINFO HELP.
            "#,
        );
    }

    #[test]
    fn help_is_given() {
        story(
            r#"
            > XINFO HELP
            1) XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
            2) CONSUMERS <key> <groupname>
            3)     Tell of the consumers of a group.
            4) GROUPS <key>
            5)     Tell of the groups of a stream.
            6) STREAM <key> [FULL [COUNT <count>]
            7)     Tell of a stream.
            8) HELP
            9)     Print this help.
            "#,
        );
    }
}
