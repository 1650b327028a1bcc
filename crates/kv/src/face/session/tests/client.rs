//! CLIENT.

use super::*;

#[test]
fn names() {
    story(
        "
        > CLIENT ID
        :3
        b> CLIENT ID
        :4
        > CLIENT SETNAME me
        +OK
        > CLIENT GETNAME
        $2 me
        > CLIENT SETNAME 'a b'
        -ERR Client names cannot contain spaces, newlines or special characters.
        > CLIENT SETNAME ''
        +OK
        > CLIENT GETNAME
        $-1
        > CLIENT SETINFO lib-name redis-py
        +OK
        > CLIENT SETINFO LIB-VER 5.0.1
        +OK
        > CLIENT SETINFO lib-ver 'a b'
        -ERR lib-ver cannot contain spaces, newlines or special characters.
        > CLIENT SETINFO foo bar
        -ERR Unrecognized option 'foo'
        > READONLY
        +OK
        > WATCH a
        +OK
        > MULTI
        +OK
        > GET a
        +QUEUED
        > CLIENT INFO
        +QUEUED
        ",
    );
}

#[test]
fn a_line_tells_everything() {
    story(
        "
        > CLIENT SETINFO lib-name redis-py
        +OK
        > CLIENT NO-TOUCH ON
        +OK
        > CLIENT NO-EVICT on
        +OK
        > SELECT 2
        +OK
        > CLIENT INFO
        $285 id=3 addr=127.0.0.1:1000 laddr=127.0.0.1:6379 fd=-1 name= age=5 idle=0 flags=eT db=2 sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=client|info user=default redir=-1 resp=2 lib-name=redis-py lib-ver=
        > CLIENT NO-TOUCH maybe
        -ERR syntax error
        ",
    );
}

#[test]
fn some_want_no_answers() {
    story(
        "
        > CLIENT REPLY OFF
        > PING
        > foo
        > GET a
        > MULTI
        > SET a 1
        > EXEC
        > SUBSCRIBE c
        *3 $9 subscribe $1 c :1
        > UNSUBSCRIBE
        *3 $11 unsubscribe $1 c :0
        > CLIENT REPLY SKIP
        > PING
        > CLIENT REPLY ON
        +OK
        > GET a
        $1 1
        > CLIENT REPLY SKIP
        > GET a
        > GET a
        $1 1
        > CLIENT REPLY SKIP
        > CLIENT REPLY SKIP
        > GET a
        > PING
        +PONG
        > CLIENT REPLY x
        -ERR syntax error
        ",
    );
}

#[test]
fn the_list_of_connections_is_asked() {
    story(
        r#"
        > CLIENT KILL 127.0.0.1:5
        -ASKED KillAddress(b"127.0.0.1:5")
        > CLIENT KILL ID 5 SKIPME no
        -ASKED Kill(ClientFilter { ids: Some([5]), kind: None, user: None, address: None, local_address: None, age_s_min: None, but: None })
        > CLIENT KILL TYPE pubsub USER a ADDR a LADDR l MAXAGE 9
        -ASKED Kill(ClientFilter { ids: None, kind: Some(PubSub), user: Some(b"a"), address: Some(b"a"), local_address: Some(b"l"), age_s_min: Some(9), but: Some(3) })
        > CLIENT KILL USER nobody
        -ERR No such user 'nobody'
        > CLIENT KILL ID 0
        -ERR client-id should be greater than 0
        > CLIENT KILL TYPE x
        -ERR Unknown client type 'x'
        > CLIENT KILL ID 5 SKIPME
        -ERR syntax error
        > CLIENT KILL MAXAGE x
        -ERR maxage is not an integer or out of range
        > CLIENT LIST
        -ASKED List(ClientFilter { ids: None, kind: None, user: None, address: None, local_address: None, age_s_min: None, but: None })
        > CLIENT LIST ID 1 2
        -ASKED List(ClientFilter { ids: Some([1, 2]), kind: None, user: None, address: None, local_address: None, age_s_min: None, but: None })
        > CLIENT LIST ID x
        -ERR Invalid client ID
        > CLIENT LIST FOO
        -ERR syntax error
        > CLIENT PAUSE 100
        -ASKED Pause { timeout_ms: 100, of: All }
        > CLIENT PAUSE 100 write
        -ASKED Pause { timeout_ms: 100, of: Writes }
        > CLIENT PAUSE -1
        -ERR timeout is negative
        > CLIENT PAUSE 1 x
        -ERR CLIENT PAUSE mode must be WRITE or ALL
        > CLIENT PAUSE 1 ALL ALL
        -ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.
        > CLIENT UNPAUSE
        -ASKED Unpause
        > CLIENT UNBLOCK 9 ERROR
        -ASKED Unblock { id: 9, with_error: true }
        > CLIENT UNBLOCK 9
        -ASKED Unblock { id: 9, with_error: false }
        > CLIENT UNBLOCK 9 x
        -ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR
        > CLIENT UNBLOCK x
        -ERR value is not an integer or out of range
        "#,
    );
}

#[test]
fn filters_mean_connections() {
    let session = Session::new(5, OPEN);
    let info = session.info(Traffic {
        address: "127.0.0.1:5".to_owned(),
        age_s: 10,
        ..Traffic::default()
    });
    let filter = ClientFilter::default;
    for (filter, meant) in [
        (filter(), true),
        (
            ClientFilter {
                ids: Some(vec![4, 5]),
                kind: Some(ClientKind::Normal),
                user: Some("default".into()),
                address: Some("127.0.0.1:5".into()),
                age_s_min: Some(10),
                but: Some(4),
                ..filter()
            },
            true,
        ),
        (
            ClientFilter {
                ids: Some(vec![4]),
                ..filter()
            },
            false,
        ),
        (
            ClientFilter {
                kind: Some(ClientKind::PubSub),
                ..filter()
            },
            false,
        ),
        (
            ClientFilter {
                user: Some("a".into()),
                ..filter()
            },
            false,
        ),
        (
            ClientFilter {
                address: Some("a".into()),
                ..filter()
            },
            false,
        ),
        (
            ClientFilter {
                local_address: Some("a".into()),
                ..filter()
            },
            false,
        ),
        (
            ClientFilter {
                age_s_min: Some(11),
                ..filter()
            },
            false,
        ),
        (
            ClientFilter {
                but: Some(5),
                ..filter()
            },
            false,
        ),
    ] {
        assert_eq!(filter.matches(&info), meant, "{filter:?}");
    }
}

#[test]
fn tracking() {
    story(
        "
        > CLIENT TRACKINGINFO
        *6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0
        > CLIENT GETREDIR
        :-1
        > CLIENT CACHING YES
        -ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled
        > CLIENT TRACKING ON OPTIN NOLOOP
        +OK
        > CLIENT CACHING NO
        -ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.
        > CLIENT CACHING YES
        +OK
        > CLIENT TRACKINGINFO
        *6 $5 flags *4 $2 on $5 optin $11 caching-yes $6 noloop $8 redirect :0 $8 prefixes *0
        > CLIENT TRACKING ON OPTOUT
        -ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.
        > CLIENT TRACKING ON BCAST
        -ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.
        > CLIENT TRACKING OFF
        +OK
        > CLIENT GETREDIR
        :-1
        > CLIENT TRACKING ON PREFIX a
        -ERR PREFIX option requires BCAST mode to be enabled
        > CLIENT TRACKING ON BCAST OPTIN
        -ERR OPTIN and OPTOUT are not compatible with BCAST
        > CLIENT TRACKING ON OPTOUT OPTIN
        -ERR You can't specify both OPTIN mode and OPTOUT mode
        > CLIENT TRACKING ON BCAST PREFIX a PREFIX b
        +OK
        > CLIENT TRACKING ON BCAST PREFIX ab
        -ERR Prefix 'ab' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap.
        > CLIENT TRACKING ON BCAST PREFIX a
        -ERR Prefix 'a' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap.
        > CLIENT TRACKING ON BCAST PREFIX c PREFIX c
        -ERR Prefix 'c' overlaps with another provided prefix 'c'. Prefixes for a single client must not overlap.
        > CLIENT TRACKING ON BCAST PREFIX c
        +OK
        > CLIENT TRACKINGINFO
        *6 $5 flags *2 $2 on $5 bcast $8 redirect :0 $8 prefixes *3 $1 a $1 b $1 c
        > CLIENT TRACKING OFF
        +OK
        > CLIENT TRACKING ON BCAST
        +OK
        > CLIENT TRACKINGINFO
        *6 $5 flags *2 $2 on $5 bcast $8 redirect :0 $8 prefixes *1 $0
        > CLIENT TRACKING OFF
        +OK
        > CLIENT TRACKING ON REDIRECT 6
        -ERR The client ID you want redirect to does not exist
        > CLIENT TRACKING ON REDIRECT 7
        +OK
        > CLIENT GETREDIR
        :7
        > CLIENT TRACKING ON REDIRECT 7 REDIRECT 8
        -ERR A client can only redirect to a single other client
        > CLIENT TRACKING ON REDIRECT
        -ERR syntax error
        > CLIENT TRACKING maybe
        -ERR syntax error
        > RESET
        +RESET
        > CLIENT GETREDIR
        :-1
        ",
    );
}

#[test]
fn a_waiting_command_can_be_ended() {
    let mut session = Session::new(3, OPEN);
    for (with_error, told) in [
        (false, ":0\r\n"),
        (true, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
    ] {
        let mut out = BytesMut::new();
        let words = ["WAIT", "1", "0"].map(Bytes::from).to_vec();
        let Step::Ask(_, ticket) = session.handle(words, &mut out) else {
            panic!("it waits");
        };
        session.unblock(ticket, with_error, &mut out);
        assert_eq!(out, told);
    }
}
