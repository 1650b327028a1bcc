//! MULTI, EXEC, WATCH.

use super::*;

#[test]
fn a_transaction() {
    story(
        "
        > MULTI
        +OK
        > SET a 1
        +QUEUED
        > INCRBY a 41
        +QUEUED
        > GET a
        +QUEUED
        > INCRBY a x
        +QUEUED
        b> GET a
        $-1
        > EXEC
        *4 +OK :42 $2 42 -ERR value is not an integer or out of range
        > EXEC
        -ERR EXEC without MULTI
        > MULTI
        +OK
        > EXEC
        *0
        > DISCARD
        -ERR DISCARD without MULTI
        > MULTI
        +OK
        > SET a 0
        +QUEUED
        > MULTI
        -ERR MULTI calls can not be nested
        > WATCH a
        -ERR WATCH inside MULTI is not allowed
        > DISCARD
        +OK
        > GET a
        $2 42
        ",
    );
}

#[test]
fn an_error_while_queueing_spoils_it() {
    story(
        "
        > MULTI
        +OK
        > SET a 1
        +QUEUED
        > foo
        -ERR unknown command 'foo', with args beginning with:
        > SET a 2
        +QUEUED
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > GET a
        $-1
        > MULTI
        +OK
        > SET a
        -ERR wrong number of arguments for 'set' command
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > MULTI
        +OK
        > EXEC a
        -EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command
        > EXEC
        -ERR EXEC without MULTI
        > EXEC a
        -EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command
        ",
    );
}

#[test]
fn watched_keys() {
    story(
        "
        > WATCH a b
        +OK
        > MULTI
        +OK
        > SET c 1
        +QUEUED
        b> SET a 1
        +OK
        > EXEC
        *-1
        > GET c
        $-1
        > MULTI
        +OK
        > SET c 1
        +QUEUED
        > EXEC
        *1 +OK
        > WATCH a
        +OK
        b> SET a 2
        +OK
        > WATCH a a
        +OK
        > HELLO 3
        %7 $6 server $5 redis $7 version $5 7.4.0 $5 proto :3 $2 id :3 $4 mode $10 standalone $4 role $6 master $7 modules *0
        > MULTI
        +OK
        > EXEC
        _
        > WATCH a
        +OK
        b> SET a 3
        +OK
        > UNWATCH
        +OK
        > MULTI
        +OK
        > EXEC
        *0
        > WATCH a
        +OK
        > SELECT 1
        +OK
        b> SET a 4
        +OK
        > MULTI
        +OK
        > DISCARD
        +OK
        > MULTI
        +OK
        > PING
        +QUEUED
        > EXEC
        *1 +PONG
        ",
    );
}

#[test]
fn a_watched_key_is_of_its_database() {
    story(
        "
        > WATCH a
        +OK
        > SELECT 1
        +OK
        > MULTI
        +OK
        b> SELECT 1
        +OK
        b> SET a 1
        +OK
        > GET a
        +QUEUED
        > EXEC
        *1 $1 1
        ",
    );
}

#[test]
fn what_is_about_the_connection_runs_in_its_place() {
    story(
        "
        > MULTI
        +OK
        > SET a 0
        +QUEUED
        > SELECT 1
        +QUEUED
        > SET a 1
        +QUEUED
        > SELECT 99
        +QUEUED
        > HELLO 3 SETNAME me
        +QUEUED
        > CLIENT GETNAME
        +QUEUED
        > GET b
        +QUEUED
        > PUBLISH c m
        +QUEUED
        > PUBSUB NUMPAT
        +QUEUED
        > GET a
        +QUEUED
        > AUTH x secret
        +QUEUED
        > ECHO z
        +QUEUED
        > EXEC
        *12 +OK +OK +OK -ERR DB index is out of range %7 $6 server $5 redis $7 version $5 7.4.0 $5 proto :3 $2 id :3 $4 mode $10 standalone $4 role $6 master $7 modules *0 $2 me _ :1 -ASKED Patterns $1 1 +OK $1 z
        > GET a
        $1 1
        > SELECT 0
        +OK
        > GET a
        $1 0
        ",
    );
}

#[test]
fn nothing_about_the_connection_changes_where_nothing_is_done() {
    story(
        "
        > WATCH a
        +OK
        b> SET a 1
        +OK
        > MULTI
        +OK
        > SELECT 1
        +QUEUED
        > CLIENT SETNAME me
        +QUEUED
        > EXEC
        *-1
        > CLIENT GETNAME
        $-1
        > GET a
        $1 1
        ",
    );
}

#[test]
fn quit_and_reset_do_not_wait() {
    story(
        "
        > MULTI
        +OK
        > RESET
        +RESET
        > EXEC
        -ERR EXEC without MULTI
        > MULTI
        +OK
        > QUIT
        +OK (closed)
        ",
    );
}

#[test]
fn a_transaction_is_bounded() {
    let mut client = Client::new(3, OPEN);
    let mut world = World::default();
    client.send("MULTI", &mut world);
    client.take();
    // Views of the same bytes, so that the test needs none of the memory that it speaks of.
    let word = Bytes::from(vec![b'a'; 1024 * 1024]);
    let mut queued = 0;
    let refused = loop {
        let words = vec![Bytes::from("ECHO"), word.clone()];
        client.session.handle(words, &mut client.sent);
        let told = client.take();
        if told != "+QUEUED" {
            break told;
        }
        queued += 1;
    };
    assert_eq!(queued, 511);
    assert_eq!(
        refused,
        "-ERR a transaction has at most 1048576 commands and 536870912 bytes"
    );
    client.send("EXEC", &mut world);
    assert!(client.take().starts_with("-EXECABORT"));
}
