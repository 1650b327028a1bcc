//! What a node tells of itself.

use super::*;

#[tokio::test(start_paused = true)]
async fn settings_are_told_and_changed_all_or_none() {
    let node = Node::new(settings());
    let mut client = node.connect();
    client
        .ask(
            "CONFIG GET maxcl* TIMEOUT databases",
            "*6\r\n$9\r\ndatabases\r\n$2\r\n16\r\n$10\r\nmaxclients\r\n$5\r\n10000\r\n\
             $7\r\ntimeout\r\n$1\r\n0\r\n",
        )
        .await;
    let failed = "-ERR CONFIG SET failed (possibly related to argument";
    for (words, reply) in [
        (
            "timeout 5 foo 1",
            "-ERR Unknown option or number of arguments for CONFIG SET - 'foo'".to_owned(),
        ),
        (
            "timeout 5 databases 3",
            format!("{failed} 'databases') - can't set immutable config"),
        ),
        (
            "timeout 5 TIMEOUT 6",
            format!("{failed} 'TIMEOUT') - duplicate parameter"),
        ),
        (
            "timeout 5 maxclients 0",
            format!("{failed} 'maxclients') - argument must be between 1 and 4294967296 inclusive"),
        ),
        (
            "maxclients x",
            format!("{failed} 'maxclients') - argument couldn't be parsed into an integer"),
        ),
        (
            "proto-max-bulk-len 1x",
            format!("{failed} 'proto-max-bulk-len') - argument must be a memory value"),
        ),
        (
            "notify-keyspace-events KQ",
            format!(
                "{failed} 'notify-keyspace-events') - Invalid event class character. \
                 Use 'Ag$lshzxeKEtmdn'."
            ),
        ),
        (
            "timeout 5 maxclients",
            "-ERR wrong number of arguments for 'config|set' command".to_owned(),
        ),
    ] {
        client
            .ask(&format!("CONFIG SET {words}"), &format!("{reply}\r\n"))
            .await;
    }
    client
        .ask("CONFIG GET timeout", "*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n")
        .await;
    client
        .ask(
            "CONFIG SET maxclients 1 notify-keyspace-events KEA proto-max-bulk-len 2mb",
            "+OK\r\n",
        )
        .await;
    assert_eq!(node.hub.notified().to_string(), "AKE");
    client
        .ask(
            "CONFIG GET proto-*",
            "*2\r\n$18\r\nproto-max-bulk-len\r\n$7\r\n2097152\r\n",
        )
        .await;
    node.connect()
        .expect("-ERR max number of clients reached\r\n")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_limit_of_silence_is_for_those_who_are_silent_already() {
    let node = Node::new(settings());
    let (mut silent, mut other) = (node.connect(), node.connect());
    silent.ask("PING", "+PONG\r\n").await;
    clock::sleep(Duration::from_secs(30)).await;
    other.ask("CONFIG SET timeout 10", "+OK\r\n").await;
    assert!(matches!(
        silent.end().await,
        Err(ConnectionError::Idle { idle_s_max: 10 })
    ));
    other.ask("PING", "+PONG\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_told_was_counted() {
    let node = Node::new(settings());
    let (mut client, mut waiter) = (node.connect(), node.connect());
    client.ask("SET a 1", "+OK\r\n").await;
    client.ask("SELECT 3", "+OK\r\n").await;
    client.ask("SET b 1", "+OK\r\n").await;
    waiter.send("BLPOP l 0\r\n").await;
    while node.fake.waiting() == 0 {
        task::yield_now().await;
    }
    clock::sleep(Duration::from_secs(60)).await;
    client.send("INFO\r\n").await;
    let info = client.bulk().await;
    for line in [
        "# Server",
        "redis_version:7.4.0",
        "tcp_port:6379",
        "uptime_in_seconds:60",
        "# Clients",
        "connected_clients:2",
        "blocked_clients:1",
        "# Stats",
        "total_connections_received:2",
        "total_commands_processed:5",
        "role:master",
        "cluster_enabled:0",
        "db0:keys=1,expires=0,avg_ttl=0",
        "db3:keys=1,expires=0,avg_ttl=0",
    ] {
        assert!(info.lines().any(|it| it == line), "{line} is not in {info}");
    }
    client.send("INFO CPU nothing keyspace\r\n").await;
    let info = client.bulk().await;
    let sections: Vec<&str> = info.lines().filter(|it| it.starts_with('#')).collect();
    assert_eq!(sections, ["# CPU", "# Keyspace"]);

    client.ask("CONFIG RESETSTAT", "+OK\r\n").await;
    client.send("INFO stats\r\n").await;
    let info = client.bulk().await;
    assert!(info.contains("total_connections_received:0\r\n"), "{info}");
}

#[tokio::test(start_paused = true)]
async fn slow_commands_are_kept_the_last_ones_first() {
    let node = Node::new(settings());
    let mut client = node.connect();
    client.ask("SET a 1", "+OK\r\n").await;
    client.ask("SLOWLOG LEN", ":0\r\n").await;
    client
        .ask(
            "CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 2",
            "+OK\r\n",
        )
        .await;
    client.ask("CLIENT SETNAME me", "+OK\r\n").await;
    for key in ["a", "b", "c"] {
        client.ask(&format!("SET {key} 1"), "+OK\r\n").await;
    }
    // Nobody knows how long each of these took.
    client.send("GET a\r\nGET a\r\n").await;
    client.expect("$1\r\n1\r\n$1\r\n1\r\n").await;
    client.ask("SLOWLOG LEN", ":2\r\n").await;
    client.send("SLOWLOG GET 2\r\n").await;
    client.expect("*2\r\n*6\r\n:5\r\n:").await;
    client.line().await;
    let me = "$14\r\n127.0.0.1:1000\r\n$2\r\nme\r\n";
    let len = format!(":0\r\n*2\r\n$7\r\nSLOWLOG\r\n$3\r\nLEN\r\n{me}*6\r\n:4\r\n:");
    client.expect(&len).await;
    client.line().await;
    let set = format!(":0\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n1\r\n{me}");
    client.expect(&set).await;
    client
        .ask(
            "SLOWLOG GET -2",
            "-ERR count should be greater than or equal to -1\r\n",
        )
        .await;
    let off = "CONFIG SET slowlog-log-slower-than -1";
    client.ask(off, "+OK\r\n").await;
    client.ask("SLOWLOG RESET", "+OK\r\n").await;
    client.ask("SLOWLOG GET -1", "*0\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn commands_are_counted_as_they_end() {
    let node = Node::new(settings());
    let mut client = node.connect();
    client.ask("SET a 1", "+OK\r\n").await;
    client
        .ask(
            "LPUSH a 1",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        )
        .await;
    client
        .ask(
            "GET",
            "-ERR wrong number of arguments for 'get' command\r\n",
        )
        .await;
    client.ask("MULTI", "+OK\r\n").await;
    client.ask("GET a", "+QUEUED\r\n").await;
    client.ask("PING", "+QUEUED\r\n").await;
    client.ask("EXEC", "*2\r\n$1\r\n1\r\n+PONG\r\n").await;
    client.send("INFO commandstats errorstats\r\n").await;
    let info = client.bulk().await;
    let counted: Vec<String> = info
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_"))
        .map(|line| {
            let fields: Vec<&str> = line.split([':', ',']).collect();
            [fields[0], fields[1], fields[4], fields[5]].join(" ")
        })
        .collect();
    assert_eq!(
        counted,
        [
            "exec calls=1 rejected_calls=0 failed_calls=0",
            "get calls=1 rejected_calls=1 failed_calls=0",
            "lpush calls=1 rejected_calls=0 failed_calls=1",
            "multi calls=1 rejected_calls=0 failed_calls=0",
            "ping calls=1 rejected_calls=0 failed_calls=0",
            "set calls=1 rejected_calls=0 failed_calls=0",
        ]
    );
    assert!(info.contains("errorstat_ERR:count=1\r\nerrorstat_WRONGTYPE:count=1\r\n"));
    client
        .ask("CONFIG SET latency-tracking no", "+OK\r\n")
        .await;
    client.ask("CONFIG RESETSTAT", "+OK\r\n").await;
    client.ask("LATENCY HISTOGRAM", "*0\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn what_can_be_said_of_the_rest_is_said() {
    let node = Node::new(settings());
    let mut client = node.connect();
    client
        .ask("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")
        .await;
    client.ask("SAVE", "+OK\r\n").await;
    client.ask("BGSAVE now", "-ERR syntax error\r\n").await;
    client
        .ask(
            "SHUTDOWN",
            "-ERR SHUTDOWN is refused: a node is stopped by whoever runs it\r\n",
        )
        .await;
    client.ask("LATENCY LATEST", "*0\r\n").await;
    let before = clock::now();
    client.ask("DEBUG SLEEP 1.5", "+OK\r\n").await;
    assert_eq!(clock::now() - before, Duration::from_millis(1500));
    client
        .ask(
            "DEBUG SLEEP 1e9",
            "-ERR DEBUG SLEEP takes from 0 to 60 seconds\r\n",
        )
        .await;
    client
        .ask(
            "CONFIG foo",
            "-ERR unknown subcommand 'foo'. Try CONFIG HELP.\r\n",
        )
        .await;
    client.send("MULTI\r\nSET a 1\r\nROLE\r\nEXEC\r\n").await;
    client
        .expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")
        .await;
}

#[tokio::test(start_paused = true)]
async fn memory_is_set_and_told() {
    let node = Node::new(settings());
    let mut client = node.connect();
    client
        .ask(
            "CONFIG SET maxmemory 2kb maxmemory-policy AllKeys-LFU maxmemory-samples 7",
            "+OK\r\n",
        )
        .await;
    client
        .ask(
            "CONFIG GET maxmemory*",
            "*6\r\n$9\r\nmaxmemory\r\n$4\r\n2048\r\n$16\r\nmaxmemory-policy\r\n\
             $11\r\nallkeys-lfu\r\n$17\r\nmaxmemory-samples\r\n$1\r\n7\r\n",
        )
        .await;
    client
        .ask("CONFIG SET lfu-decay-time 0 lfu-log-factor 3", "+OK\r\n")
        .await;
    for (call, reason) in [
        ("maxmemory -1", "argument must be a memory value"),
        (
            "maxmemory-samples 0",
            "argument must be between 1 and 64 inclusive",
        ),
        (
            "maxmemory-samples 65",
            "argument must be between 1 and 64 inclusive",
        ),
        (
            "lfu-log-factor x",
            "argument couldn't be parsed into an integer",
        ),
        (
            "maxmemory-policy lru",
            "argument(s) must be one of the following: volatile-lru, volatile-lfu, \
             volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction",
        ),
    ] {
        let name = call.split(' ').next().unwrap_or_default();
        let refused = format!(
            "-ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}\r\n"
        );
        client.ask(&format!("CONFIG SET {call}"), &refused).await;
    }
    node.memory.grew(3_000, 3);
    node.memory.evicted(4);
    client.send("INFO\r\n").await;
    let info = client.bulk().await;
    for line in [
        "used_memory:3000",
        "used_memory_human:2.93K",
        "used_memory_peak:3000",
        "maxmemory:2048",
        "maxmemory_human:2.00K",
        "maxmemory_policy:allkeys-lfu",
        "evicted_keys:4",
    ] {
        assert!(info.lines().any(|it| it == line), "{line} is not in {info}");
    }
    client.ask("CONFIG RESETSTAT", "+OK\r\n").await;
    assert_eq!(node.memory.evicted_keys(), 0);
    client.send("MEMORY DOCTOR\r\n").await;
    let told = client.bulk().await;
    assert!(told.contains("keys are evicted"), "{told}");
    client.ask("MEMORY PURGE", "+OK\r\n").await;
    client
        .ask("MEMORY STATS", "*18\r\n$14\r\npeak.allocated\r\n:3000\r\n")
        .await;
    let mut client = node.connect();
    client.ask("SET a 1", "+OK\r\n").await;
    client.ask("MEMORY USAGE a", ":79\r\n").await;
    client
        .ask(
            "MEMORY foo",
            "-ERR unknown subcommand 'foo'. Try MEMORY HELP.\r\n",
        )
        .await;
}
