//! Clients that misbehave.

use super::*;
use crate::face::resp::ProtocolError;

#[tokio::test(start_paused = true)]
async fn what_is_no_request_ends_the_connection_after_what_was_asked() {
    let node = Node::new(settings());
    let mut client = node.connect();
    client
        .send("SET a 1\r\nGET a\r\n*1\r\n!\r\nGET a\r\n")
        .await;
    client
        .expect("+OK\r\n$1\r\n1\r\n-ERR Protocol error: expected '$', got '!'\r\n")
        .await;
    let ended = client.end().await;
    assert!(matches!(
        ended,
        Err(ConnectionError::Protocol(ProtocolError::NoWord(b'!')))
    ));

    let mut browser = node.connect();
    browser.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let ended = browser.end().await;
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn who_never_reads_is_let_go() {
    let node = Node::new(ServerSettings {
        unsent_bytes_max: 100_000,
        ..settings()
    });
    let mut client = node.connect();
    let value = "v".repeat(50_000);
    client.ask(&format!("SET a {value}"), "+OK\r\n").await;
    client.send("GET a\r\nGET a\r\nGET a\r\n").await;
    let serving = client.serving;
    let ended = clock::timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert!(
        matches!(ended, Err(ConnectionError::SlowReader { unsent_bytes }) if unsent_bytes > 100_000),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many_and_again_when_one_goes() {
    let node = Node::new(ServerSettings {
        connections_max: 1,
        ..settings()
    });
    let mut first = node.connect();
    first.ask("PING", "+PONG\r\n").await;
    let mut second = node.connect();
    second
        .expect("-ERR max number of clients reached\r\n")
        .await;
    assert!(matches!(
        second.end().await,
        Err(ConnectionError::Crowded { connections_max: 1 })
    ));
    first.ask("QUIT", "+OK\r\n").await;
    first.end().await.unwrap();
    node.connect().ask("PING", "+PONG\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_for_too_long_is_let_go() {
    let node = Node::new(ServerSettings {
        idle_s_max: 10,
        ..settings()
    });
    let mut listener = node.connect();
    listener
        .ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
        .await;
    let mut client = node.connect();
    for _ in 0..3 {
        clock::sleep(Duration::from_secs(9)).await;
        client.ask("PING", "+PONG\r\n").await;
    }
    assert!(matches!(
        client.end().await,
        Err(ConnectionError::Idle { idle_s_max: 10 })
    ));
    listener.ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_answers_what_was_asked() {
    let node = Node::new(settings());
    let (mut idle, mut waiting) = (node.connect(), node.connect());
    idle.ask("PING", "+PONG\r\n").await;
    waiting.send("SET a 1\r\nBLPOP l 0\r\n").await;
    waiting.expect("+OK\r\n").await;
    while node.fake.waiting() == 0 {
        task::yield_now().await;
    }
    node.stop.send_replace(true);
    idle.end().await.unwrap();
    // What it would hear at the end of its time would not be true.
    waiting.end().await.unwrap();
    assert_eq!(node.fake.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn passwords_are_not_asked_for_where_there_are_none() {
    let node = Node::new(settings());
    let mut client = node.connect();
    client.ask("AUTH default any", "+OK\r\n").await;
    client
        .ask(
            "AUTH somebody any",
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        )
        .await;
}
