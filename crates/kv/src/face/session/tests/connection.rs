//! PING, HELLO, AUTH, SELECT and what is refused.

use super::*;

#[test]
fn commands_and_what_is_none() {
    story(
        r#"
        > PING
        +PONG
        > ping "a b"
        $3 a b
        > PING a b
        -ERR wrong number of arguments for 'ping' command
        > ECHO a
        $1 a
        > ECHO
        -ERR wrong number of arguments for 'echo' command
        > foo
        -ERR unknown command 'foo', with args beginning with:
        > foo a b
        -ERR unknown command 'foo', with args beginning with: 'a' 'b'
        > client foo
        -ERR unknown subcommand 'foo'. Try CLIENT HELP.
        > client
        -ERR wrong number of arguments for 'client' command
        > client getname x
        -ERR wrong number of arguments for 'client|getname' command
        > SET a 1
        +OK
        > SET a
        -ERR wrong number of arguments for 'set' command
        > QUIT
        +OK (closed)
        "#,
    );
}

#[test]
fn long_nonsense_is_told_in_part() {
    let mut client = Client::new(3, OPEN);
    let long = "x".repeat(1000);
    client.send(&format!("{long} {long} {long}"), &mut World::default());
    let cut = "x".repeat(128);
    assert_eq!(
        client.take(),
        format!("-ERR unknown command '{cut}', with args beginning with: '{cut}'")
    );
}

#[test]
fn databases_are_apart() {
    story(
        "
        > SET a 1
        +OK
        > SELECT 15
        +OK
        > GET a
        $-1
        > SELECT 0
        +OK
        > GET a
        $1 1
        > SELECT 16
        -ERR DB index is out of range
        > SELECT -1
        -ERR DB index is out of range
        > SELECT a
        -ERR value is not an integer or out of range
        ",
    );
    let cluster = Settings {
        cluster: true,
        ..OPEN
    };
    story_with(
        cluster,
        "
        > SELECT 0
        +OK
        > SELECT 1
        -ERR SELECT is not allowed in cluster mode
        ",
    );
}

#[test]
fn hello_chooses_the_protocol() {
    story(
        "
        > HELLO
        *14 $6 server $5 redis $7 version $5 7.4.0 $5 proto :2 $2 id :3 $4 mode $10 standalone $4 role $6 master $7 modules *0
        > GET a
        $-1
        > HELLO 3 SETNAME me
        %7 $6 server $5 redis $7 version $5 7.4.0 $5 proto :3 $2 id :3 $4 mode $10 standalone $4 role $6 master $7 modules *0
        > GET a
        _
        > CLIENT GETNAME
        $2 me
        > HELLO 4
        -NOPROTO unsupported protocol version
        > HELLO a
        -ERR Protocol version is not an integer or out of range
        > HELLO 2 SETNAME
        -ERR Syntax error in HELLO option 'SETNAME'
        > HELLO 2 AUTH a
        -ERR Syntax error in HELLO option 'AUTH'
        > HELLO 2 SETNAME 'a b'
        -ERR Client names cannot contain spaces, newlines or special characters.
        > GET a
        _
        > RESET
        +RESET
        > GET a
        $-1
        > CLIENT GETNAME
        $-1
        > AUTH secret
        -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
        ",
    );
}

#[test]
fn nobody_may_do_nothing() {
    story_with(
        LOCKED,
        "
        > PING
        -NOAUTH Authentication required.
        > GET a
        -NOAUTH Authentication required.
        > HELLO 3
        -NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time
        > AUTH wrong
        -WRONGPASS invalid username-password pair or user is disabled.
        > AUTH a b c
        -ERR syntax error
        > HELLO 3 AUTH default wrong SETNAME me
        -WRONGPASS invalid username-password pair or user is disabled.
        > AUTH secret
        +OK
        > GET a
        $-1
        > RESET
        +RESET
        > GET a
        -NOAUTH Authentication required.
        > HELLO 3 AUTH somebody secret SETNAME me
        %7 $6 server $5 redis $7 version $5 7.4.0 $5 proto :3 $2 id :3 $4 mode $10 standalone $4 role $6 master $7 modules *0
        > GET a
        _
        > CLIENT GETNAME
        $2 me
        > QUIT
        +OK (closed)
        b> QUIT
        +OK (closed)
        ",
    );
}

#[test]
fn passwords_are_not_shown() {
    let mut session = super::session(3, LOCKED);
    let mut out = BytesMut::new();
    let words = ["AUTH", "a", "secret"].map(Bytes::from).to_vec();
    let step = session.handle(words.clone(), &mut out);
    assert!(matches!(step, Step::Ask(Ask::Identity(_), _)));
    assert!(!format!("{step:?} {session:?}").contains("secret"));
    let mut session = super::session(3, OPEN);
    session.handle(vec![Bytes::from("MULTI")], &mut out);
    session.handle(words, &mut out);
    let step = session.handle(vec![Bytes::from("EXEC")], &mut out);
    assert!(matches!(step, Step::Ask(..)));
    assert!(!format!("{step:?} {session:?}").contains("secret"));
}

#[test]
fn consistency_and_waiting_are_asked_for() {
    let mut session = super::session(3, OPEN);
    let mut out = BytesMut::new();
    let mut asked = |line: &str| {
        let words = line
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()));
        match session.handle(words.collect(), &mut out) {
            Step::Ask(Ask::Api(request), ticket) => Some((request.consistency, ticket.waits())),
            _ => None,
        }
    };
    assert_eq!(asked("GET a"), Some((Consistency::Linearizable, false)));
    assert_eq!(asked("READONLY"), None);
    assert_eq!(asked("GET a"), Some((Consistency::Stale, false)));
    assert_eq!(asked("READWRITE"), None);
    assert_eq!(asked("WATCH a"), Some((Consistency::Linearizable, true)));
    assert_eq!(asked("WAIT 1 0"), Some((Consistency::Linearizable, true)));
    story(
        "
        > ASKING
        +OK
        > WAIT 2 100
        -ASKED Wait { replicas: 2, on_disk: None, timeout_ms: 100 }
        > WAITAOF 1 2 0
        -ASKED Wait { replicas: 2, on_disk: Some(Awaited), timeout_ms: 0 }
        > WAIT -1 0
        -ASKED Wait { replicas: 0, on_disk: None, timeout_ms: 0 }
        > WAITAOF 0 -1 0
        -ERR value is out of range, must be positive
        > WAIT 1 -1
        -ERR timeout is negative
        > WAIT 1 a
        -ERR timeout is not an integer or out of range
        > WAITAOF 2 0 0
        -ERR value is out of range, value must between 0 and 1
        ",
    );
}

#[test]
fn refusals_and_misfits_are_errors() {
    let mut session = super::session(3, OPEN);
    let mut out = BytesMut::new();
    for (heard, text) in [
        (
            Heard::Api(Answer::Refused(crate::api::Refusal::Overloaded)),
            "-TRYAGAIN ",
        ),
        (Heard::Api(Answer::Discarded), "-ERR internal error"),
        (Heard::Identity(true), "-ERR internal error"),
    ] {
        let Step::Ask(_, ticket) = session.handle(vec!["GET".into(), "a".into()], &mut out) else {
            panic!("it is asked for");
        };
        session.finish(ticket, heard, &mut out);
        let sent = String::from_utf8(out.split().to_vec()).unwrap();
        assert!(sent.starts_with(text), "{sent}");
    }
}
