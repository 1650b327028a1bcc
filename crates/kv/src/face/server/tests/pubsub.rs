//! Channels between the connections of a node.

use super::*;
use crate::hub::{MAILBOX_BYTES_MAX, Topic};

#[tokio::test(start_paused = true)]
async fn who_listens_hears_and_is_counted() {
    let node = Node::new(settings());
    let (mut listener, mut new, mut other) = (node.connect(), node.connect(), node.connect());
    listener
        .ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
        .await;
    listener
        .ask(
            "PSUBSCRIBE c*",
            "*3\r\n$10\r\npsubscribe\r\n$2\r\nc*\r\n:2\r\n",
        )
        .await;
    new.send("HELLO 3\r\n").await;
    while new.line().await != "*0" {}
    new.ask(
        "SSUBSCRIBE c",
        ">3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1\r\n",
    )
    .await;
    other.ask("PUBLISH c m", ":2\r\n").await;
    other.ask("SPUBLISH c s", ":1\r\n").await;
    other.ask("PUBLISH d m", ":0\r\n").await;
    listener
        .expect(
            "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n\
             *4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$1\r\nc\r\n$1\r\nm\r\n",
        )
        .await;
    new.expect(">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\ns\r\n")
        .await;
    new.ask("PUBSUB NUMSUB c", "*2\r\n$1\r\nc\r\n:1\r\n").await;
    new.ask(
        "PUBSUB SHARDNUMSUB c x",
        "*4\r\n$1\r\nc\r\n:1\r\n$1\r\nx\r\n:0\r\n",
    )
    .await;
    new.ask("PUBSUB CHANNELS", "*1\r\n$1\r\nc\r\n").await;
    new.ask("PUBSUB NUMPAT", ":1\r\n").await;
    drop(listener);
    while node.hub.count(Topic::Pattern) > 0 {
        task::yield_now().await;
    }
    other.ask("PUBLISH c m", ":0\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn messages_come_between_replies_and_while_a_command_waits() {
    let node = Node::new(settings());
    let (mut listener, mut other) = (node.connect(), node.connect());
    listener.send("HELLO 3\r\n").await;
    while listener.line().await != "*0" {}
    listener
        .send("SUBSCRIBE c\r\nPUBLISH c own\r\nBLPOP l 0\r\n")
        .await;
    listener
        .expect(">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n:1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\nown\r\n")
        .await;
    while node.fake.waiting() == 0 {
        task::yield_now().await;
    }
    other.ask("PUBLISH c m", ":1\r\n").await;
    listener
        .expect(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n")
        .await;
    other.ask("RPUSH l x", ":1\r\n").await;
    listener.expect("*2\r\n$1\r\nl\r\n$1\r\nx\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_messages_is_let_go_and_holds_nobody_up() {
    let node = Node::new(settings());
    let (mut listener, mut other) = (node.connect(), node.connect());
    listener
        .ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
        .await;
    let message = "m".repeat(1_000_000);
    let request = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$1000000\r\n{message}\r\n");
    for _ in 0..=MAILBOX_BYTES_MAX / message.len() {
        other.send(&request).await;
        assert_eq!(other.line().await, ":1");
    }
    // The pipe and the buffer hold some, too.
    other.send(&request).await;
    other.line().await;
    other.send(&request).await;
    other.line().await;
    let ended = clock::timeout(PATIENCE, listener.serving).await.unwrap();
    assert!(matches!(
        ended.unwrap(),
        Err(ConnectionError::SlowReader { .. })
    ));
    other.ask("PUBLISH c m", ":0\r\n").await;
}
