//! COMMAND, and that the table and the session know of each other.

use super::*;
use crate::core::command::all;

#[test]
fn commands_are_described() {
    story(
        "
        > COMMAND INFO get foo
        *2 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 *6 $5 flags *2 +RO +access $12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 $9 find_keys *4 $4 type $5 range $4 spec *6 $7 lastkey :0 $7 keystep :1 $5 limit :0 *0 $-1
        > COMMAND INFO sunsubscribe spublish
        *2 *10 $12 sunsubscribe :-1 *4 +pubsub +noscript +loading +stale :1 :-1 :1 *2 +@pubsub +@slow *0 *0 *0 *10 $8 spublish :3 *4 +pubsub +loading +stale +fast :1 :1 :1 *2 +@pubsub +@fast *0 *0 *0
        > COMMAND INFO client|id
        *1 *10 $9 client|id :2 *3 +noscript +loading +stale :0 :0 :0 *2 +@slow +@connection *0 *0 *0
        > COMMAND INFO dbsize
        *1 *10 $6 dbsize :1 *2 +readonly +fast :0 :0 :0 *3 +@keyspace +@read +@fast *2 $25 request_policy:all_shards $23 response_policy:agg_sum *0 *0
        > COMMAND DOCS echo foo
        *2 $4 echo *8 $7 summary $25 Returns the given string. $5 since $5 1.0.0 $5 group $10 connection $10 complexity $4 O(1)
        > COMMAND LIST FILTERBY PATTERN multi|watch
        *0
        > COMMAND LIST FILTERBY PATTERN CLIENT|I*
        *2 $9 client|id $11 client|info
        > COMMAND LIST FILTERBY ACLCAT transaction
        *5 $5 multi $4 exec $7 discard $5 watch $7 unwatch
        > COMMAND LIST FILTERBY MODULE x
        *0
        > COMMAND LIST FILTERBY x y
        -ERR syntax error
        > COMMAND GETKEYS set a 1
        *1 $1 a
        > COMMAND GETKEYS watch a b
        *2 $1 a $1 b
        > COMMAND GETKEYS ping a
        -ERR The command has no key arguments
        > COMMAND GETKEYS foo a
        -ERR Invalid command specified
        > COMMAND GETKEYS get a b
        -ERR Invalid number of arguments specified for command
        > COMMAND GETKEYSANDFLAGS get a
        *1 *2 $1 a *2 +RO +access
        > COMMAND GETKEYSANDFLAGS copy a b
        *2 *2 $1 a *2 +RO +access *2 $1 b *2 +OW +update
        > COMMAND GETKEYSANDFLAGS set a v get
        *1 *2 $1 a *3 +RW +access +update
        > COMMAND GETKEYSANDFLAGS exists a
        *1 *2 $1 a *1 +RO
        > COMMAND foo
        -ERR unknown subcommand 'foo'. Try COMMAND HELP.
        ",
    );
}

/// Cluster clients find a command's node by its first key.
#[test]
fn the_first_key_is_told_where_later_ones_move() {
    let mut client = Client::new(3, OPEN);
    for name in [
        "sort",
        "sort_ro",
        "georadius",
        "georadiusbymember",
        "zunionstore",
    ] {
        client.send(&format!("COMMAND INFO {name}"), &mut World::default());
        assert!(client.take().contains(" :1 :1 :1 "), "{name}");
    }
}

#[test]
fn what_is_not_done_at_one_moment_says_so() {
    let mut client = Client::new(3, OPEN);
    for (name, says) in [
        ("exists", true),
        ("dbsize", true),
        ("scan", true),
        ("mset", false),
    ] {
        client.send(&format!("COMMAND DOCS {name}"), &mut World::default());
        assert_eq!(client.take().contains(" partitions "), says, "{name}");
    }
}

#[test]
fn all_commands_are_told() {
    let mut client = Client::new(3, OPEN);
    let mut world = World::default();
    client.send("COMMAND COUNT", &mut world);
    let count: usize = client.take().trim_start_matches(':').parse().unwrap();
    assert_eq!(count, all().count());
    for line in ["COMMAND", "COMMAND INFO"] {
        client.send(line, &mut world);
        assert!(
            client.take().starts_with(&format!("*{count} *10 ")),
            "{line}"
        );
    }
    client.send("COMMAND DOCS", &mut world);
    assert!(client.take().starts_with(&format!("*{} ", 2 * count)));
    client.send("COMMAND LIST", &mut world);
    let listed = client.take();
    assert!(listed.contains(" get ") && listed.contains(" client|list "));
    for container in ["COMMAND", "CLIENT", "PUBSUB"] {
        client.send(&format!("{container} HELP"), &mut world);
        assert!(
            client
                .take()
                .contains(&format!("+{container} <subcommand>"))
        );
    }
}

/// Whatever is in the table as the connection's is known here.
#[test]
fn the_table_and_the_session_agree() {
    let here = all()
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .filter(|command| command.flags.has(Flags::SESSION));
    let mut seen = 0;
    for command in here {
        if !command.subcommands.is_empty() && command.name != "command" {
            continue;
        }
        seen += 1;
        let most = if command.subcommands.is_empty() { 3 } else { 1 };
        for more in 0..most {
            let mut client = Client::new(3, OPEN);
            let mut line = command.name.replace('|', " ");
            let words = line.split(' ').count();
            let arity = command.arity.unsigned_abs() as usize;
            line.push_str(&" 1".repeat(arity - words + more));
            client.send(&line, &mut World::default());
            let told = client.take();
            assert!(!told.contains("not supported"), "{line}: {told}");
            assert!(!told.contains("unknown command"), "{line}: {told}");
            assert!(!told.contains("unknown subcommand '"), "{line}: {told}");
            if command.arity > 0 && more > 0 {
                assert!(
                    told.contains("wrong number of arguments for"),
                    "{line}: {told}"
                );
            }
        }
    }
    assert!(seen > 50);
}
