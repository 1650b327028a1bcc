//! Nodes on virtual time: simulated disks, simulated links, real shards.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use atoll_base::id::{NodeId, PartitionId, ReplicaId};
use atoll_ring::partition::Partitions;
use atoll_world::{
    clock,
    disk::SimDisk,
    journal::{self, Writer},
    peers::sim::SimNet,
    random,
    task::{self, Group},
};
use bytes::Bytes;

use crate::driver::*;
use crate::{
    api::{Body, Call, Consistency, NoCrossPartition, Refusal, Step, Transaction},
    core::{command, notify::Notified, reply::Reply},
    hub::{Mailbox, Topic},
};

mod memory;

const PARTITIONS: u16 = 8;
const NODES: u64 = 3;
/// The longest time for which nobody answers a client after a node is killed.
const GAP_MAX: Duration = Duration::from_millis(100);

struct Node {
    id: u64,
    boot: u64,
    disk: SimDisk,
    life: Option<(Group, Kv)>,
}

pub(super) struct Cluster {
    net: SimNet,
    layout: Arc<Layout>,
    nodes: Vec<Node>,
}

fn layout() -> Arc<Layout> {
    let partitions = Partitions::new(PARTITIONS).unwrap();
    let nodes = (1..=NODES).map(|id| (ReplicaId(id), NodeId(id))).collect();
    let holders = |partition: PartitionId| {
        let first = u64::from(partition.0) % NODES;
        let places = (0..NODES).map(|at| (first + at) % NODES + 1);
        places.map(ReplicaId).collect()
    };
    Arc::new(Layout::fixed(partitions, nodes, holders))
}

impl Cluster {
    pub(super) fn new(seed: u64) -> Self {
        let mut cluster = Cluster {
            net: SimNet::new(seed),
            layout: layout(),
            nodes: (1..=NODES)
                .map(|id| Node {
                    id,
                    boot: 0,
                    disk: SimDisk::new(seed ^ id),
                    life: None,
                })
                .collect(),
        };
        for at in 0..cluster.nodes.len() {
            cluster.start(at);
        }
        cluster
    }

    pub(super) fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.boot += 1;
        let group = Group::new();
        let peers = self.net.peers(NodeId(node.id));
        for other in 1..=NODES {
            peers.set_address(NodeId(other), String::new());
        }
        let setup = Setup {
            node: NodeId(node.id),
            replica: ReplicaId(node.id),
            boot: node.boot,
            disk: Arc::new(node.disk.clone()),
            dir: PathBuf::from("/kv"),
            journal: journal::Options {
                writer: Writer::task(Duration::from_micros(200)..Duration::from_millis(4)),
                segment_bytes: 16 << 20,
                reserve_bytes: 0,
                ..journal::Options::default()
            },
            snapshots: SnapshotSettings::default(),
            progress: Arc::new(|_| {}),
            peers,
            layout: self.layout.clone(),
            shards: 2,
            memory: MemorySettings::default(),
            request_timeout_ms: 5_000,
            cross_partition: Arc::new(NoCrossPartition),
        };
        let kv = task::scope_sync(group.clone(), || Kv::start(setup)).unwrap();
        node.life = Some((group, kv));
    }

    /// Ends a node as a loss of power does.
    pub(super) async fn crash(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let (group, kv) = node.life.take().unwrap();
        self.net.crash(NodeId(node.id));
        group.kill();
        drop(kv);
        group.ended().await;
        node.disk = node.disk.crash();
    }

    pub(super) fn kv(&self, at: usize) -> &Kv {
        &self.nodes[at].life.as_ref().unwrap().1
    }
}

fn request(text: &str) -> Request {
    let words: Vec<Bytes> = text
        .split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    let command = command::find(&words).unwrap();
    Request {
        consistency: Consistency::Linearizable,
        by: None,
        caller: None,
        body: Body::Call {
            database: 0,
            call: Call { command, words },
        },
    }
}

async fn ask(kv: &Kv, text: &str) -> Answer {
    kv.ask(vec![request(text)]).await.pop().unwrap()
}

async fn told(kv: &Kv, text: &str) -> Reply {
    match ask(kv, text).await {
        Answer::Reply(reply) => reply,
        other => panic!("{}: {other:?}", &text[..text.len().min(60)]),
    }
}

pub(super) fn simulate<F: Future<Output = ()>>(seed: u64, run: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        random::seed_thread(seed);
        run().await;
    });
    random::unseed_thread();
}

#[test]
fn every_node_serves_every_key() {
    simulate(1, || async {
        let cluster = Cluster::new(1);
        for key in 0..50 {
            let (one, other) = (key % 3, (key + 1) % 3);
            let set = told(cluster.kv(one), &format!("SET key{key} {key}")).await;
            assert_eq!(set, Reply::OK);
            let found = told(cluster.kv(other), &format!("GET key{key}")).await;
            assert_eq!(found, Reply::bulk(key.to_string()));
        }
        assert_eq!(told(cluster.kv(2), "DBSIZE").await, Reply::Integer(50));
        let many = "DEL key0 key1 key2 key3 key4 key5 key6 key99";
        assert_eq!(told(cluster.kv(0), many).await, Reply::Integer(7));
        let Reply::Array(found) = told(cluster.kv(1), "MGET key7 key0 key8").await else {
            panic!("not an array");
        };
        assert_eq!(found, [Reply::bulk("7"), Reply::Null, Reply::bulk("8")]);
        assert_eq!(
            ask(cluster.kv(1), "MSET key1 a key2 b key3 c key4 d").await,
            Answer::Refused(Refusal::CrossPartition)
        );
        assert_eq!(
            told(cluster.kv(1), "EXISTS key1 key2").await,
            Reply::Integer(0)
        );
    });
}

#[test]
fn a_killed_node_stalls_nobody_for_long_and_loses_nothing() {
    let mut longest = Duration::ZERO;
    for seed in 1..=20 {
        simulate(seed, || async {
            let mut cluster = Cluster::new(seed);
            // Node 0 owns some partitions, as it was the first to be asked.
            let mut sums = BTreeMap::new();
            for key in 0..40_u64 {
                told(cluster.kv(0), &format!("INCRBY n{key} 1")).await;
                sums.insert(key, 1);
            }
            cluster.crash(0).await;
            for round in 0..3 {
                for key in 0..40_u64 {
                    let survivor = 1 + usize::try_from(key + round).unwrap() % 2;
                    let begin = clock::now();
                    let sum = told(cluster.kv(survivor), &format!("INCRBY n{key} 1")).await;
                    longest = longest.max(begin.elapsed());
                    *sums.get_mut(&key).unwrap() += 1;
                    assert_eq!(sum, Reply::Integer(sums[&key]), "seed {seed}, key {key}");
                }
            }
            // It comes back, and everybody loses power.
            cluster.start(0);
            for key in 0..40_u64 {
                told(cluster.kv(0), &format!("INCRBY n{key} 1")).await;
                *sums.get_mut(&key).unwrap() += 1;
            }
            for at in 0..3 {
                cluster.crash(at).await;
            }
            for at in 0..3 {
                cluster.start(at);
            }
            for key in 0..40_u64 {
                let found = told(cluster.kv(2), &format!("GET n{key}")).await;
                assert_eq!(found, Reply::bulk(sums[&key].to_string()), "seed {seed}");
            }
        });
    }
    assert!(longest <= GAP_MAX, "a call took {longest:?} after a kill");
}

#[test]
fn keys_end_and_waiting_commands_are_served() {
    simulate(3, || async {
        let cluster = Cluster::new(3);
        told(cluster.kv(0), "SET short 1 PX 500").await;
        assert_eq!(told(cluster.kv(1), "EXISTS short").await, Reply::Integer(1));
        clock::sleep(Duration::from_millis(600)).await;
        assert_eq!(told(cluster.kv(1), "DBSIZE").await, Reply::Integer(0));
        let waiter = cluster.kv(1).clone();
        let waiting = task::spawn(async move { told(&waiter, "BLPOP list 0").await });
        clock::sleep(Duration::from_millis(200)).await;
        assert!(!waiting.is_finished());
        told(cluster.kv(2), "RPUSH list x").await;
        let popped = waiting.await.unwrap();
        assert_eq!(
            popped,
            Reply::Array(vec![Reply::bulk("list"), Reply::bulk("x")])
        );
        let begin = clock::now();
        assert_eq!(
            told(cluster.kv(0), "BLPOP list 0.1").await,
            Reply::NullArray
        );
        assert!(begin.elapsed() >= Duration::from_millis(100));
    });
}

/// Elements that nobody was given may be gone only where whoever asked for them is gone, too.
#[test]
fn a_killed_node_delays_no_waiting_command_and_takes_nothing_with_it() {
    let mut longest = Duration::ZERO;
    for seed in 1..=20 {
        simulate(seed, || async {
            let mut cluster = Cluster::new(seed);
            let popped = Arc::new(Mutex::new(Vec::new()));
            let mut waiting = Vec::new();
            for key in 0..8 {
                // Node 0 owns all of them, as it is the first to be asked.
                told(cluster.kv(0), &format!("RPUSH list{key} x")).await;
                told(cluster.kv(0), &format!("LPOP list{key}")).await;
                for at in 0..6 {
                    let kv = cluster.kv(1 + at % 2).clone();
                    let popped = popped.clone();
                    waiting.push(task::spawn(async move {
                        let reply = told(&kv, &format!("BLPOP list{key} 0")).await;
                        popped.lock().push((clock::now(), reply));
                    }));
                }
            }
            clock::sleep(Duration::from_millis(random::range(1..300))).await;
            for key in 0..8 {
                let push = told(cluster.kv(2), &format!("RPUSH list{key} 0 1")).await;
                assert_eq!(push, Reply::Integer(2), "seed {seed}");
            }
            clock::sleep(Duration::from_micros(random::range(0..8_000))).await;
            cluster.crash(0).await;
            clock::sleep(Duration::from_millis(random::range(0..200))).await;
            let mut pushed = BTreeMap::new();
            for key in 0..8 {
                for number in 2..6 {
                    let push = format!("RPUSH list{key} {number}");
                    let begin = clock::now();
                    told(cluster.kv(1 + key % 2), &push).await;
                    pushed.insert(format!("list{key} {number}"), begin);
                }
            }
            for waiting in waiting {
                waiting.await.unwrap();
            }
            let mut found = Vec::new();
            for (at, reply) in popped.lock().iter() {
                let Reply::Array(words) = reply else {
                    panic!("seed {seed}: {reply:?}");
                };
                let words: Vec<String> = words
                    .iter()
                    .map(|word| match word {
                        Reply::Bulk(text) => String::from_utf8(text.to_vec()).unwrap(),
                        other => panic!("seed {seed}: {other:?}"),
                    })
                    .collect();
                let name = words.join(" ");
                if let Some(begin) = pushed.get(&name) {
                    longest = longest.max(at.duration_since(*begin));
                }
                found.push(name);
            }
            found.sort();
            let all =
                (0..8).flat_map(|key| (0..6).map(move |number| format!("list{key} {number}")));
            let all: Vec<String> = all.collect();
            assert_eq!(found, all, "seed {seed}: each one once");
        });
    }
    assert!(
        longest <= GAP_MAX,
        "a call waited {longest:?} for what was there"
    );
}

#[test]
fn who_waits_is_served_in_turn_and_leaves_nothing_behind() {
    simulate(4, || async {
        let cluster = Cluster::new(4);
        let mut waiting = Vec::new();
        for place in 0..6_usize {
            let kv = cluster.kv(place % 3).clone();
            waiting.push(task::spawn(
                async move { told(&kv, "BZPOPMIN queue 0").await },
            ));
            clock::sleep(Duration::from_millis(20)).await;
        }
        // The third has enough of it; what it waited for is for the others.
        let third = waiting.remove(2);
        third.abort();
        assert!(third.await.is_err());
        let changed = "ZADD queue 1 a 2 b 3 c 4 d 5 e 6 f";
        assert_eq!(told(cluster.kv(1), changed).await, Reply::Integer(6));
        for (place, member) in ["a", "b", "c", "d", "e"].iter().enumerate() {
            let Reply::Array(words) = waiting.remove(0).await.unwrap() else {
                panic!("not an array");
            };
            assert_eq!(words[1], Reply::bulk(*member), "place {place}");
        }
        assert_eq!(told(cluster.kv(0), "ZCARD queue").await, Reply::Integer(1));
        // Another type is not what it waits for.
        let kv = cluster.kv(0).clone();
        let waits = task::spawn(async move { told(&kv, "BLPOP other 1").await });
        clock::sleep(Duration::from_millis(20)).await;
        told(cluster.kv(1), "SET other text").await;
        assert_eq!(waits.await.unwrap(), Reply::NullArray);
        // A reader of a stream is served without taking anything, with all that came together.
        let kv = cluster.kv(0).clone();
        let reads = task::spawn(async move { told(&kv, "XREAD BLOCK 0 STREAMS s $").await });
        clock::sleep(Duration::from_millis(20)).await;
        told(cluster.kv(1), "XADD s 1-1 f v").await;
        assert!(matches!(reads.await.unwrap(), Reply::PairsOrMap(_)));
        assert_eq!(told(cluster.kv(2), "XLEN s").await, Reply::Integer(1));
    });
}

/// The owner is gone, and nobody has to take over to read what rests.
#[test]
fn what_rests_is_read_without_an_owner() {
    simulate(5, || async {
        let mut cluster = Cluster::new(5);
        for key in 0..20 {
            told(cluster.kv(0), &format!("SET key{key} {key}")).await;
        }
        // Its followers hear that all of it is committed.
        clock::sleep(Duration::from_millis(50)).await;
        cluster.crash(0).await;
        let written = cluster.nodes[1].disk.syncs() + cluster.nodes[2].disk.syncs();
        for key in 0..20 {
            let found = told(cluster.kv(1 + key % 2), &format!("GET key{key}")).await;
            assert_eq!(found, Reply::bulk(key.to_string()));
        }
        let after = cluster.nodes[1].disk.syncs() + cluster.nodes[2].disk.syncs();
        // A takeover syncs at least twice on both, and all eight partitions were read; a follower
        // that was not told of the last commit needs one.
        assert!(after - written <= 8, "{} syncs to read", after - written);
        told(cluster.kv(1), "SET key0 new").await;
        assert_eq!(told(cluster.kv(2), "GET key0").await, Reply::bulk("new"));
    });
}

/// What was written is compared once, and then nobody has anything to say.
#[test]
fn replicas_compare_what_changed_and_rest() {
    simulate(6, || async {
        let cluster = Cluster::new(6);
        for key in 0..40 {
            told(cluster.kv(key % 3), &format!("HSET key{key} f {key}")).await;
        }
        let syncs = || -> u64 { cluster.nodes.iter().map(|node| node.disk.syncs()).sum() };
        let written = syncs();
        clock::sleep(Duration::from_secs(60)).await;
        let compared = syncs();
        assert!(compared > written, "nobody compared anything");
        clock::sleep(Duration::from_secs(60)).await;
        assert_eq!(syncs(), compared);
    });
}

/// Whoever listens hears of each change once, wherever the key's owner is.
#[test]
fn what_happens_is_told_on_all_nodes() {
    simulate(11, || async {
        let cluster = Cluster::new(11);
        let mailboxes: Vec<Arc<Mailbox>> = (0..3).map(|_| Arc::default()).collect();
        for (at, mailbox) in mailboxes.iter().enumerate() {
            let hub = cluster.kv(at).hub();
            hub.subscribe(Topic::Pattern, "*".into(), 0, mailbox);
            hub.set_notified(Notified::parse(b"K$").unwrap());
        }
        let publish = |channel: &'static str| Publication {
            channel: channel.into(),
            message: "m".into(),
            sharded: false,
        };
        let words: Vec<Bytes> = ["SET", "a", "1"].map(Bytes::from).into();
        let call = Call {
            command: command::find(&words).unwrap(),
            words,
        };
        let bodies = [
            Body::Call {
                database: 0,
                call: call.clone(),
            },
            Body::Publish(publish("after")),
            Body::Transaction(Transaction {
                steps: vec![
                    Step::Publish(publish("first")),
                    Step::Call { database: 0, call },
                    Step::Publish(publish("last")),
                ],
                watched: Vec::new(),
                names: Vec::new(),
            }),
        ];
        let requests = bodies.map(|body| Request {
            consistency: Consistency::Linearizable,
            by: None,
            caller: None,
            body,
        });
        let told = Reply::Integer(1);
        assert_eq!(
            cluster.kv(0).ask(requests.into()).await,
            [
                Answer::Reply(Reply::OK),
                Answer::Reply(told.clone()),
                Answer::Executed(vec![told.clone(), Reply::OK, told]),
            ]
        );
        for mailbox in mailboxes {
            let mut heard = Vec::new();
            while heard.len() < 5 {
                while let Some(mail) = mailbox.take() {
                    heard.push(mail.channel);
                }
                clock::sleep(Duration::from_millis(1)).await;
            }
            heard.sort();
            let event = "__keyspace@0__:a";
            assert_eq!(heard, [event, event, "after", "first", "last"]);
        }
    });
}

#[test]
fn what_is_too_large_is_refused_and_harms_nobody() {
    simulate(4, || async {
        let cluster = Cluster::new(4);
        let large = "x".repeat(5 << 20);
        assert_eq!(
            told(cluster.kv(0), &format!("SET large {large}")).await,
            Reply::OK
        );
        let larger = "x".repeat(7 << 20);
        for node in 0..3 {
            let Reply::Error(text) = told(cluster.kv(node), &format!("SET large {larger}")).await
            else {
                panic!("it was taken");
            };
            assert!(text.starts_with(b"ERR a request of 7"), "{text:?}");
        }
        // Several at once, for one partition: more than fits a record or a frame together.
        let sets = (0..4).map(|at| format!("SET {{large}}{at} {large}"));
        let asked = sets.map(|set| {
            let kv = cluster.kv(1).clone();
            task::spawn(async move { told(&kv, &set).await })
        });
        for one in asked.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), Reply::OK);
        }
        // An answer that is larger than what nodes pass on, from a node that has to pass it on.
        told(cluster.kv(0), &format!("APPEND large {large}")).await;
        let mut refused = 0;
        for node in 0..3 {
            match told(cluster.kv(node), "GET large").await {
                Reply::Error(text) => {
                    assert!(text.starts_with(b"ERR the reply is larger"), "{text:?}");
                    refused += 1;
                }
                Reply::Bulk(bytes) => assert_eq!(bytes.len(), 2 * large.len()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(refused, 2, "the owner answers its own clients");
        assert_eq!(told(cluster.kv(2), "SET small 1").await, Reply::OK);
    });
}

#[test]
fn a_pipeline_keeps_its_order() {
    simulate(5, || async {
        let cluster = Cluster::new(5);
        for round in 0..50 {
            let lines = [
                format!("SET k {round}"),
                "GET k".to_owned(),
                "APPEND k x".to_owned(),
                "GET k".to_owned(),
                "SCAN 0 COUNT 1000".to_owned(),
                "DEL k".to_owned(),
                "EXISTS k".to_owned(),
            ];
            let requests = lines.iter().map(|line| request(line)).collect();
            let answers = cluster.kv(round % 3).ask(requests).await;
            let found = |answer: &Answer| match answer {
                Answer::Reply(reply) => reply.clone(),
                other => panic!("{other:?}"),
            };
            let replies: Vec<Reply> = answers.iter().map(found).collect();
            assert_eq!(replies[1], Reply::bulk(round.to_string()));
            assert_eq!(replies[3], Reply::bulk(format!("{round}x")));
            assert!(
                format!("{:?}", replies[4]).contains("b\"k\""),
                "{:?}",
                replies[4]
            );
            assert_eq!(replies[5..], [Reply::Integer(1), Reply::Integer(0)]);
        }
    });
}
