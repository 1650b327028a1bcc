//! What comes together is asked together and answered in order.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_handed_over_together() {
    let node = Node::new(settings());
    let mut client = node.connect();
    client
        .send("SET a 1\r\nINCR a\r\nPING\r\nGET a\r\nGET\r\nGET b\r\n")
        .await;
    client
        .expect(
            "+OK\r\n:2\r\n+PONG\r\n$1\r\n2\r\n\
             -ERR wrong number of arguments for 'get' command\r\n$-1\r\n",
        )
        .await;
    assert_eq!(node.fake.handed_over(), [4]);
    client.ask("PING", "+PONG\r\n").await;
    assert_eq!(node.fake.handed_over(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_changes_the_connection_waits_for_its_answer() {
    let node = Node::new(settings());
    let mut client = node.connect();
    client
        .send(
            "SET a 1\r\nWATCH a\r\nSET b 1\r\nMULTI\r\nINCR a\r\nCLIENT GETNAME\r\nINCR b\r\n\
             EXEC\r\nGET a\r\nMULTI\r\nSUBSCRIBE c\r\nPUBLISH c m\r\nEXEC\r\nUNSUBSCRIBE\r\n",
        )
        .await;
    client
        .expect(
            "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n\
             *3\r\n:2\r\n$-1\r\n:2\r\n$1\r\n2\r\n\
             +OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n:0\r\n\
             *3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n",
        )
        .await;
    assert_eq!(node.fake.handed_over(), [2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_request_may_come_in_any_pieces() {
    let node = Node::new(settings());
    let mut client = node.connect();
    let request = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nhe\r\nl\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    for byte in request {
        client.send([*byte]).await;
        task::yield_now().await;
    }
    client.expect("+OK\r\n$5\r\nhe\r\nl\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn who_sends_much_before_reading_anything_is_served() {
    const REQUESTS: usize = 20_000;
    let node = Node::new(settings());
    let mut client = node.connect();
    client.send("PING\r\nECHO abc\r\n".repeat(REQUESTS)).await;
    let replies = "+PONG\r\n$3\r\nabc\r\n".repeat(REQUESTS);
    client.expect(&replies).await;
}

#[tokio::test(start_paused = true)]
async fn large_values_go_both_ways() {
    let node = Node::new(settings());
    let mut client = node.connect();
    let value = "v".repeat(3_000_000);
    client
        .send(format!(
            "*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n{value}\r\n",
            value.len()
        ))
        .await;
    client.expect("+OK\r\n").await;
    let reply = format!("${}\r\n{value}\r\n", value.len());
    client.ask("GET a", &reply).await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_came_before_the_end_are_answered() {
    let node = Node::new(settings());
    let mut client = node.connect();
    client.send("SET a 1\r\nGET a\r\nGET unfinished").await;
    client.stream.shutdown().await.unwrap();
    client.expect("+OK\r\n$1\r\n1\r\n").await;
    client.end().await.unwrap();
    let mut client = node.connect();
    client.send("QUIT\r\nGET a\r\n").await;
    client.expect("+OK\r\n").await;
    client.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_an_answer_is_awaited_is_answered_too() {
    let node = Node::new(settings());
    let mut client = node.connect();
    let held = node.fake.hold_answers().await;
    client.send("SET a 1\r\n").await;
    while node.fake.handed_over().is_empty() {
        task::yield_now().await;
    }
    client.send("GET a\r\nPING\r\n").await;
    // Virtual time passes only when nobody has anything left to do: it was read.
    clock::sleep(Duration::from_millis(1)).await;
    drop(held);
    client.expect("+OK\r\n$1\r\n1\r\n+PONG\r\n").await;
    client.stream.shutdown().await.unwrap();
    client.end().await.unwrap();
}
