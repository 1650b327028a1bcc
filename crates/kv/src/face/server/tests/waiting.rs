//! Commands that wait for other clients.

use super::*;

async fn until_waiting(node: &Node, count: usize) {
    while node.fake.waiting() != count {
        task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_before_is_answered_at_once_and_what_came_after_later() {
    let node = Node::new(settings());
    let (mut waiter, mut other) = (node.connect(), node.connect());
    waiter.send("SET a 1\r\nBLPOP l 0\r\nGET a\r\n").await;
    waiter.expect("+OK\r\n").await;
    until_waiting(&node, 1).await;
    waiter.send("SET a 2\r\n").await;
    other.ask("GET a", "$1\r\n1\r\n").await;
    other.ask("RPUSH l x", ":1\r\n").await;
    waiter
        .expect("*2\r\n$1\r\nl\r\n$1\r\nx\r\n$1\r\n1\r\n+OK\r\n")
        .await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_waits_no_longer() {
    let node = Node::new(settings());
    let mut waiter = node.connect();
    waiter.send("BLPOP l 0\r\n").await;
    until_waiting(&node, 1).await;
    waiter.stream.shutdown().await.unwrap();
    waiter.end().await.unwrap();
    until_waiting(&node, 0).await;
    node.connect().ask("RPUSH l x", ":1\r\n").await;
    node.connect().ask("LLEN l", ":1\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn somebody_else_may_end_the_waiting() {
    let node = Node::new(settings());
    let (mut waiter, mut other) = (node.connect(), node.connect());
    waiter.ask("CLIENT ID", ":3\r\n").await;
    other.ask("CLIENT UNBLOCK 3", ":0\r\n").await;
    for (how, reply) in [
        ("", "*-1\r\n"),
        ("TIMEOUT", "*-1\r\n"),
        (
            "ERROR",
            "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
        ),
    ] {
        waiter.send("BLPOP l 0\r\n").await;
        until_waiting(&node, 1).await;
        other
            .ask(&format!("CLIENT UNBLOCK 3 {how}"), ":1\r\n")
            .await;
        waiter.expect(reply).await;
        until_waiting(&node, 0).await;
        waiter.ask("PING", "+PONG\r\n").await;
    }
    other.ask("CLIENT UNBLOCK 99", ":0\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_commands_until_it_is_over() {
    let node = Node::new(settings());
    let (mut client, mut other) = (node.connect(), node.connect());
    other.ask("CLIENT PAUSE 100000 WRITE", "+OK\r\n").await;
    client.ask("GET a", "$-1\r\n").await;
    client.send("SET a 1\r\nGET a\r\n").await;
    let before = clock::now();
    other.ask("GET a", "$-1\r\n").await;
    other.ask("CLIENT UNPAUSE", "+OK\r\n").await;
    client.expect("+OK\r\n$1\r\n1\r\n").await;
    assert_eq!(clock::now(), before);

    other.ask("CLIENT PAUSE 5000", "+OK\r\n").await;
    client.ask("GET a", "$1\r\n1\r\n").await;
    assert_eq!(clock::now() - before, Duration::from_millis(5000));

    // Of a transaction, EXEC waits.
    client.ask("MULTI", "+OK\r\n").await;
    other.ask("CLIENT PAUSE 7000 WRITE", "+OK\r\n").await;
    client.ask("INCR a", "+QUEUED\r\n").await;
    assert_eq!(clock::now() - before, Duration::from_millis(5000));
    client.ask("EXEC", "*1\r\n:2\r\n").await;
    assert_eq!(clock::now() - before, Duration::from_millis(12_000));
}
