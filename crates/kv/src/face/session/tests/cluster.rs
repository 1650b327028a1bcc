//! Redis Cluster's commands, and commands that belong elsewhere.

use std::sync::Arc;

use atoll_base::id::NodeId;
use atoll_ring::slot::Slot;

use super::*;
use crate::api::{ClusterMap, ClusterNode, ClusterView, Redirect, Route, SlotRange};

/// Three nodes; this is the first. Keys `a…` (slot 15495) are its own, it holds a replica of `b`
/// (3300), and nothing of `c` (7365).
struct Three;

fn node(id: u64, is_up: bool) -> ClusterNode {
    ClusterNode {
        id: NodeId(id),
        host: format!("10.0.0.{id}"),
        port: 7379,
        is_up,
        changed_ms: 1000 * id,
    }
}

fn range(first: u16, last: u16, owner: u64, replicas: &[u64], is_covered: bool) -> SlotRange {
    SlotRange {
        first,
        last,
        owner: NodeId(owner),
        replicas: replicas.iter().copied().map(NodeId).collect(),
        is_covered,
    }
}

impl ClusterMap for Three {
    fn view(&self) -> ClusterView {
        ClusterView {
            own: NodeId(1),
            epoch: 5,
            nodes: vec![node(1, true), node(2, true), node(3, false)],
            ranges: vec![
                range(0, 4999, 2, &[1], true),
                range(5000, 7999, 3, &[2], false),
                range(8000, 8000, 2, &[3], true),
                range(8001, 16383, 1, &[2, 3], true),
            ],
        }
    }

    fn route(&self, slot: Slot) -> Route {
        let to = |id| Redirect {
            host: format!("10.0.0.{id}"),
            port: 7379,
        };
        match slot.number() {
            0..5000 => Route::Replica(to(2)),
            5000..8001 => Route::Elsewhere(to(3)),
            _ => Route::Here,
        }
    }
}

fn cluster_story(text: &str) {
    let mut world = World::default();
    let session = Session::new(3, OPEN).in_cluster(Arc::new(Three));
    let mut client = Client::new(3, OPEN);
    client.session = session;
    tell(&mut client, &mut world, text);
}

/// The reply to one request.
fn reply(line: &str) -> String {
    let mut world = World::default();
    let mut client = Client::new(3, OPEN);
    client.session = Session::new(3, OPEN).in_cluster(Arc::new(Three));
    client.send(line, &mut world);
    client.take()
}

fn tell(client: &mut Client, world: &mut World, text: &str) {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        let (_, sent) = request(line).expect("a request");
        client.send(sent, world);
        let expected = lines.next().expect("its answer");
        assert_eq!(client.take(), expected, "{line}");
    }
}

#[test]
fn keys_are_asked_for_where_they_are() {
    cluster_story(
        "> SET a 1
         +OK
         > GET b
         -MOVED 3300 10.0.0.2:7379
         > SET c 1
         -MOVED 7365 10.0.0.3:7379
         > MSET a 1 b 2
         -CROSSSLOT Keys in request don't hash to the same slot
         > DEL a {a}2 b
         -CROSSSLOT Keys in request don't hash to the same slot
         > MGET a {a}2
         *2 $1 1 $-1
         > MGET {b}1 {b}2
         -MOVED 3300 10.0.0.2:7379
         > WATCH b
         -MOVED 3300 10.0.0.2:7379
         > GET
         -ERR wrong number of arguments for 'get' command
         > PING
         +PONG
         > PUBLISH b x
         :1
         > ASKING
         +OK
         > GET b
         -MOVED 3300 10.0.0.2:7379",
    );
}

#[test]
fn a_replica_reads_for_those_who_want_that() {
    cluster_story(
        "> READONLY
         +OK
         > GET b
         $-1
         > SET b 1
         -MOVED 3300 10.0.0.2:7379
         > GET c
         -MOVED 7365 10.0.0.3:7379
         > MULTI
         +OK
         > GET b
         +QUEUED
         > EXEC
         *1 $-1
         > READWRITE
         +OK
         > GET b
         -MOVED 3300 10.0.0.2:7379",
    );
}

#[test]
fn a_transaction_is_in_one_slot_that_is_here() {
    cluster_story(
        "> MULTI
         +OK
         > SET a 1
         +QUEUED
         > GET b
         -MOVED 3300 10.0.0.2:7379
         > EXEC
         -EXECABORT Transaction discarded because of previous errors.
         > MULTI
         +OK
         > SET a 1
         +QUEUED
         > SET d 1
         +QUEUED
         > EXEC
         -CROSSSLOT Keys in request don't hash to the same slot
         > GET a
         $-1
         > EXEC
         -ERR EXEC without MULTI
         > MULTI
         +OK
         > SET {a}x 1
         +QUEUED
         > PING
         +QUEUED
         > GET {a}x
         +QUEUED
         > EXEC
         *3 +OK +PONG $1 1",
    );
}

/// Redis refuses these where there is one database.
#[test]
fn there_is_one_database() {
    cluster_story(
        "> SELECT 0
         +OK
         > SELECT 1
         -ERR SELECT is not allowed in cluster mode
         > SWAPDB 0 1
         -ERR SWAPDB is not allowed in cluster mode
         > MOVE a 1
         -ERR MOVE is not allowed in cluster mode
         > COPY a {a}2 DB 1
         -ERR Copying to another database is not allowed in cluster mode
         > COPY a {a}2 REPLACE DB 0
         :0
         > COPY a b
         -CROSSSLOT Keys in request don't hash to the same slot",
    );
}

/// Clients ask every owner, and put together what they say.
#[test]
fn what_names_no_key_is_told_of_what_is_owned_here() {
    cluster_story(
        r#"> DBSIZE
         -ASKED (Owned, "dbsize")
         > KEYS *
         -ASKED (Owned, "keys")
         > SCAN 0 COUNT 5
         -ASKED (Owned, "scan")
         > RANDOMKEY
         -ASKED (Owned, "randomkey")
         > FLUSHALL
         +OK"#,
    );
}

#[test]
fn short_answers() {
    let me = "000000000000000100000000000000000000000000000000"[8..].to_owned();
    assert_eq!(me.len(), 40);
    let me = format!("0000000000000001{}", "0".repeat(24));
    assert_eq!(reply("CLUSTER MYID"), format!("$40 {me}"));
    let shard = format!("0000000000000001{}1", "0".repeat(23));
    assert_eq!(reply("cluster myshardid"), format!("$40 {shard}"));
    cluster_story(
        "> CLUSTER KEYSLOT {a}b
         :15495
         > CLUSTER KEYSLOT
         -ERR wrong number of arguments for 'cluster|keyslot' command
         > CLUSTER
         -ERR wrong number of arguments for 'cluster' command
         > CLUSTER NOSUCH
         -ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP.
         > SET {a}b x
         +OK
         > CLUSTER COUNTKEYSINSLOT 15495
         :1
         > CLUSTER COUNTKEYSINSLOT 16384
         -ERR Invalid slot
         > CLUSTER GETKEYSINSLOT 15495 5
         *1 $4 {a}b
         > CLUSTER GETKEYSINSLOT 15495 -5
         -ERR Invalid slot or number of keys
         > CLUSTER SAVECONFIG
         +OK
         > CLUSTER COUNT-FAILURE-REPORTS x
         -ERR Unknown node x
         > CLUSTER REPLICAS x
         -ERR Unknown node x",
    );
    assert_eq!(reply(&format!("CLUSTER COUNT-FAILURE-REPORTS {me}")), ":0");
    assert!(reply("CLUSTER HELP").starts_with("*28 +CLUSTER <subcommand>"));
}

/// Redis's operators are told what to do here.
#[test]
fn what_makes_no_sense_here_is_refused_with_a_way_out() {
    for (line, way) in [
        ("CLUSTER MEET 10.0.0.9 7379", "`atoll start --join`"),
        ("CLUSTER FORGET x", "`atoll node remove`"),
        ("CLUSTER RESET HARD", "`atoll node remove`"),
        ("CLUSTER FAILOVER", "`atoll status`"),
        ("CLUSTER REPLICATE x", "`atoll status`"),
        ("CLUSTER ADDSLOTS 1", "`atoll status`"),
        ("CLUSTER ADDSLOTSRANGE 1 2", "`atoll status`"),
        ("CLUSTER DELSLOTS 1", "`atoll status`"),
        ("CLUSTER DELSLOTSRANGE 1 2", "`atoll status`"),
        ("CLUSTER FLUSHSLOTS", "`atoll status`"),
        ("CLUSTER SETSLOT 1 STABLE", "`atoll status`"),
        ("CLUSTER BUMPEPOCH", "`atoll status`"),
        ("CLUSTER SET-CONFIG-EPOCH 1", "`atoll status`"),
    ] {
        let said = reply(line);
        assert!(
            said.starts_with("-ERR ") && said.contains(way),
            "{line}: {said}"
        );
    }
}

/// Each owner comes first, alone with a slot of its own: redis-py takes a node for what it was
/// the first time. Nobody is sent to a replica that can't be reached.
#[test]
fn slots() {
    let id = |id: u64| format!("$40 {id:016x}{}", "0".repeat(24));
    let at = |node: u64| format!("*4 $8 10.0.0.{node} :7379 {} *0", id(node));
    let expected = [
        "*6".to_owned(),
        format!("*3 :0 :0 {}", at(2)),
        format!("*3 :5000 :5000 {}", at(3)),
        format!("*3 :8001 :8001 {}", at(1)),
        format!("*4 :1 :4999 {} {}", at(2), at(1)),
        format!("*4 :5001 :7999 {} {}", at(3), at(2)),
        format!("*3 :8000 :8000 {}", at(2)),
    ];
    // The last range of the first node follows.
    let last = format!("*4 :8002 :16383 {} {}", at(1), at(2));
    let said = reply("CLUSTER SLOTS");
    let wanted = [&expected[..], &[last]].concat().join(" ");
    assert_eq!(said, wanted.replacen("*6", "*7", 1));
}

#[test]
fn shards() {
    let said = reply("CLUSTER SHARDS");
    let node = |id: u64, role: &str, health: &str| {
        format!(
            "*14 $2 id $40 {id:016x}{} $4 port :7379 $2 ip $8 10.0.0.{id} $8 endpoint $8 \
             10.0.0.{id} $4 role ${} {role} $18 replication-offset :0 $6 health ${} {health}",
            "0".repeat(24),
            role.len(),
            health.len()
        )
    };
    let wanted = [
        "*4".to_owned(),
        "*4 $5 slots *2 :8001 :16383 $5 nodes *3".to_owned(),
        node(1, "master", "online"),
        node(2, "replica", "online"),
        node(3, "replica", "fail"),
        "*4 $5 slots *2 :0 :4999 $5 nodes *2".to_owned(),
        node(2, "master", "online"),
        node(1, "replica", "online"),
        "*4 $5 slots *2 :8000 :8000 $5 nodes *2".to_owned(),
        node(2, "master", "online"),
        node(3, "replica", "fail"),
        "*4 $5 slots *2 :5000 :7999 $5 nodes *2".to_owned(),
        node(3, "master", "fail"),
        node(2, "replica", "online"),
    ];
    assert_eq!(said, wanted.join(" "));
}

#[test]
fn nodes_info_and_links() {
    let id = |id: u64| format!("{id:016x}{}", "0".repeat(24));
    let lines = [
        format!(
            "{} 10.0.0.1:7379@0 myself,master - 0 0 5 connected 8001-16383\n",
            id(1)
        ),
        format!(
            "{} 10.0.0.2:7379@0 master - 0 2000 5 connected 0-4999 8000\n",
            id(2)
        ),
        format!(
            "{} 10.0.0.3:7379@0 master,fail - 3000 0 5 disconnected 5000-7999\n",
            id(3)
        ),
    ];
    let text = lines.concat();
    assert_eq!(
        reply("CLUSTER NODES"),
        format!("${} {}", text.len(), text.trim_end())
    );
    let replica = format!(
        "{} 10.0.0.1:7379@0 myself,slave {} 0 0 5 connected",
        id(1),
        id(2)
    );
    let said = reply(&format!("CLUSTER REPLICAS {}", id(2)));
    assert!(
        said.starts_with(&format!("*2 ${} {replica} ", replica.len())),
        "{said}"
    );

    let info = reply("CLUSTER INFO");
    for line in [
        "cluster_state:fail ",
        "cluster_slots_assigned:16384 ",
        "cluster_slots_ok:13384 ",
        "cluster_slots_fail:3000 ",
        "cluster_known_nodes:3 ",
        "cluster_size:3 ",
        "cluster_current_epoch:5 ",
    ] {
        assert!(info.contains(line), "{line} in {info}");
    }
    let links = reply("CLUSTER LINKS");
    assert!(
        links.starts_with("*2 *12 $9 direction $2 to $4 node $40 "),
        "{links}"
    );
    assert!(
        !links.contains(&id(3)),
        "a node that can't be reached has no link"
    );
}

/// On the plain listener any node serves everything, and there is no cluster to ask about.
#[test]
fn the_plain_listener_knows_of_no_cluster() {
    story(
        "> CLUSTER SLOTS
         -ERR This instance has cluster support disabled
         > CLUSTER KEYSLOT a
         -ERR This instance has cluster support disabled
         > READONLY
         +OK
         > READWRITE
         +OK
         > MSET a 1 b 2
         +OK",
    );
}
