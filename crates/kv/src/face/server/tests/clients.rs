//! CLIENT LIST, INFO and KILL.

use super::*;

#[tokio::test(start_paused = true)]
async fn connections_are_listed_as_they_are() {
    let node = Node::new(settings());
    let (mut first, mut second) = (node.connect(), node.connect());
    first.ask("CLIENT SETNAME one", "+OK\r\n").await;
    first
        .ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
        .await;
    clock::sleep(Duration::from_secs(7)).await;
    second.send("SELECT 2\r\n").await;
    second.expect("+OK\r\n").await;
    second.send("CLIENT LIST\r\n").await;
    let list = second.bulk().await;
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2);
    for fact in [
        "id=3 addr=127.0.0.1:1000 laddr=127.0.0.1:6379 ",
        " name=one age=7 idle=7 flags=P ",
        " sub=1 ",
        " cmd=subscribe ",
    ] {
        assert!(lines[0].contains(fact), "{fact} is not in {}", lines[0]);
    }
    for fact in ["id=4 ", " age=7 idle=0 flags=N db=2 ", " cmd=client|list "] {
        assert!(lines[1].contains(fact), "{fact} is not in {}", lines[1]);
    }
    second.send("CLIENT LIST TYPE pubsub\r\n").await;
    assert_eq!(second.bulk().await.lines().count(), 1);
    second.send("CLIENT INFO\r\n").await;
    assert!(second.bulk().await.starts_with("id=4 "));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_connection_is_marked() {
    let node = Node::new(settings());
    let (mut waiter, mut other) = (node.connect(), node.connect());
    waiter.send("BLPOP l 0\r\n").await;
    while node.fake.waiting() == 0 {
        task::yield_now().await;
    }
    other.send("CLIENT LIST ID 3\r\n").await;
    let line = other.bulk().await;
    assert!(
        line.contains(" flags=b ") && line.contains(" cmd=blpop "),
        "{line}"
    );
}

#[tokio::test(start_paused = true)]
async fn killed_connections_end_whatever_they_do() {
    let node = Node::new(settings());
    let (mut idle, mut waiting, mut deaf) = (node.connect(), node.connect(), node.connect());
    let mut killer = node.connect();
    idle.ask("PING", "+PONG\r\n").await;
    waiting.send("BLPOP l 0\r\n").await;
    let value = "v".repeat(50_000);
    deaf.ask(&format!("SET a {value}"), "+OK\r\n").await;
    deaf.send("GET a\r\n").await;
    while node.fake.waiting() == 0 {
        task::yield_now().await;
    }
    killer.ask("CLIENT KILL ID 99", ":0\r\n").await;
    killer
        .ask("CLIENT KILL 1.2.3.4:5", "-ERR No such client\r\n")
        .await;
    killer.ask("CLIENT KILL TYPE normal", ":3\r\n").await;
    // From then on they are gone for everybody else, whenever their connections end.
    killer.ask("CLIENT KILL TYPE normal", ":0\r\n").await;
    killer.send("INFO clients\r\n").await;
    let info = killer.bulk().await;
    assert!(info.contains("connected_clients:1\r\n"), "{info}");
    assert!(matches!(idle.end().await, Err(ConnectionError::Killed)));
    assert!(matches!(waiting.end().await, Err(ConnectionError::Killed)));
    let ended = clock::timeout(PATIENCE, deaf.serving).await.unwrap();
    assert!(matches!(ended.unwrap(), Err(ConnectionError::Killed)));
    // Its own connection is answered first.
    killer.ask("CLIENT KILL SKIPME no ID 6", ":1\r\n").await;
    killer.end().await.unwrap();
}
