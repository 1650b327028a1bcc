//! Listening and publishing.

use super::*;
use crate::hub::Topic;

#[test]
fn a_listener_of_resp2_does_nothing_else() {
    story(
        "
        > SUBSCRIBE a b a
        *3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2 *3 $9 subscribe $1 a :2
        > PSUBSCRIBE h?llo
        *3 $10 psubscribe $5 h?llo :3
        > SSUBSCRIBE s
        *3 $10 ssubscribe $1 s :1
        > PING
        *2 $4 pong $0
        > PING x
        *2 $4 pong $1 x
        > GET a
        -ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context
        > CLIENT ID
        -ERR Can't execute 'client|id': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context
        > UNSUBSCRIBE b
        *3 $11 unsubscribe $1 b :2
        > UNSUBSCRIBE
        *3 $11 unsubscribe $1 a :1
        > UNSUBSCRIBE
        *3 $11 unsubscribe $-1 :1
        > PUNSUBSCRIBE
        *3 $12 punsubscribe $5 h?llo :0
        > SUNSUBSCRIBE x
        *3 $12 sunsubscribe $1 x :1
        > SUNSUBSCRIBE
        *3 $12 sunsubscribe $1 s :0
        > GET a
        $-1
        > SUBSCRIBE a
        *3 $9 subscribe $1 a :1
        > RESET
        +RESET
        > GET a
        $-1
        ",
    );
}

#[test]
fn a_listener_of_resp3_goes_on() {
    story(
        "
        > HELLO 3
        %7 $6 server $5 redis $7 version $5 7.4.0 $5 proto :3 $2 id :3 $4 mode $10 standalone $4 role $6 master $7 modules *0
        > SUBSCRIBE a
        >3 $9 subscribe $1 a :1
        > PING
        +PONG
        > PUBLISH a m
        :1
        > SPUBLISH a m
        :0
        > UNSUBSCRIBE
        >3 $11 unsubscribe $1 a :0
        > UNSUBSCRIBE
        >3 $11 unsubscribe _ :0
        ",
    );
}

#[test]
fn the_list_of_connections_is_asked_about_channels() {
    story(
        r#"
        > PUBSUB CHANNELS
        -ASKED Channels { of: Plain, pattern: None }
        > PUBSUB SHARDCHANNELS a*
        -ASKED Channels { of: Sharded, pattern: Some(b"a*") }
        > PUBSUB NUMSUB a b
        -ASKED Listeners { of: Plain, channels: [b"a", b"b"] }
        > PUBSUB SHARDNUMSUB
        -ASKED Listeners { of: Sharded, channels: [] }
        > PUBSUB NUMPAT
        -ASKED Patterns
        > PUBSUB CHANNELS a b
        -ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.
        "#,
    );
}

#[test]
fn messages_look_as_the_connection_speaks() {
    let (channel, pattern, message) = (&"c".into(), &"c*".into(), &"m".into());
    let keys = [Bytes::from("k")];
    let messages = [
        Message::Channel { channel, message },
        Message::Pattern {
            pattern,
            channel,
            message,
        },
        Message::Shard { channel, message },
        Message::Invalidated {
            keys: Some(&keys),
            redirected: false,
        },
        Message::Invalidated {
            keys: None,
            redirected: true,
        },
    ];
    let mut client = Client::new(3, OPEN);
    let mut world = World::default();
    assert_eq!(
        messages.map(|message| client.hear(&message)),
        [
            "*3 $7 message $1 c $1 m",
            "*4 $8 pmessage $2 c* $1 c $1 m",
            "*3 $8 smessage $1 c $1 m",
            "",
            "",
        ]
    );
    client.send("SUBSCRIBE __redis__:invalidate", &mut world);
    client.take();
    assert_eq!(
        client.hear(&messages[4]),
        "*3 $7 message $20 __redis__:invalidate *-1"
    );
    client.send("HELLO 3", &mut world);
    client.send("RESET", &mut world);
    client.send("HELLO 3", &mut world);
    client.take();
    assert_eq!(
        messages.map(|message| client.hear(&message)),
        [
            ">3 $7 message $1 c $1 m",
            ">4 $8 pmessage $2 c* $1 c $1 m",
            ">3 $8 smessage $1 c $1 m",
            ">2 $10 invalidate *1 $1 k",
            ">2 $10 invalidate _",
        ]
    );
}

#[test]
fn changes_of_subscriptions_are_told_once() {
    let mut client = Client::new(3, OPEN);
    let mut world = World::default();
    let change = |name: &'static str, kind, begun| SubscriptionChange {
        kind,
        name: Bytes::from(name),
        begun,
    };
    client.send("SUBSCRIBE a a b", &mut world);
    client.send("UNSUBSCRIBE b c", &mut world);
    client.send("PSUBSCRIBE p", &mut world);
    assert_eq!(
        client.session.take_subscription_changes(),
        [
            change("a", Topic::Channel, true),
            change("b", Topic::Channel, true),
            change("b", Topic::Channel, false),
            change("p", Topic::Pattern, true),
        ]
    );
    client.send("RESET", &mut world);
    assert_eq!(
        client.session.take_subscription_changes(),
        [
            change("a", Topic::Channel, false),
            change("p", Topic::Pattern, false),
        ]
    );
    assert_eq!(client.session.take_subscription_changes(), []);
}

#[test]
fn subscriptions_are_bounded() {
    let mut client = Client::new(3, OPEN);
    // Views of the same bytes, so that the test needs none of the memory that it speaks of.
    let mut words = vec![Bytes::from(vec![b'a'; 1024 * 1024]); 258];
    words[0] = Bytes::from("SUBSCRIBE");
    client.session.handle(words, &mut client.sent);
    assert_eq!(
        client.take(),
        "-ERR a connection can have 1048576 subscriptions and 268435456 bytes of their names"
    );
}
