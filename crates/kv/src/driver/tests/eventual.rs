//! Eventual keyspaces: both sides of a cut go on, and come to the same.

use std::collections::BTreeSet;

use atoll_world::{clock, random};

use super::*;
use crate::{
    api::{EventualCall, EventualStatus},
    core::{
        eventual::quorum::Level,
        keyspaces::{KeyspaceNumber, Keyspaces, Wanted},
        paxos::Members,
    },
};

mod lives;
mod space;

const PARTITIONS: u16 = 4;
const KEYSPACE: KeyspaceNumber = KeyspaceNumber(32);

fn small() -> SnapshotSettings {
    SnapshotSettings {
        segments_kept: 1,
        ..SnapshotSettings::default()
    }
}

fn keyspaces() -> Arc<Keyspaces> {
    let mut keyspaces = Keyspaces::default();
    let wanted = Wanted {
        name: "carts".to_owned(),
        eventual: Some((3, Level::One, Level::One)),
    };
    let born = vec![1; usize::from(PARTITIONS)];
    keyspaces.create(&wanted, born, 3).expect("it can be");
    Arc::new(keyspaces)
}

fn eventual(line: &str, level: Level) -> Request {
    let plain = request(line);
    let Body::Call { call, .. } = plain.body else {
        unreachable!("it is a call");
    };
    Request {
        body: Body::Eventual(EventualCall {
            keyspace: KEYSPACE,
            write: level,
            read: level,
            call,
        }),
        ..plain
    }
}

async fn one(kv: &Kv, line: &str) -> Answer {
    ask(kv, eventual(line, Level::One)).await
}

fn bulk(text: &str) -> Answer {
    Answer::Reply(Reply::bulk(text))
}

fn integer(number: i64) -> Answer {
    Answer::Reply(Reply::Integer(number))
}

fn status(kv: &Kv) -> EventualStatus {
    kv.eventual_status()
        .get(&KEYSPACE)
        .copied()
        .unwrap_or_default()
}

struct Story {
    net: SimNet,
    layout: Layout,
    machines: Vec<Machine>,
}

impl Story {
    async fn begin(seed: u64, nodes: &[u64]) -> Story {
        let mut story = Story {
            net: SimNet::new(seed),
            layout: layout(nodes, PARTITIONS),
            machines: nodes
                .iter()
                .map(|node| Machine::new(*node, seed * 10 + node, small()))
                .collect(),
        };
        for at in 0..nodes.len() {
            story.start(at).await;
        }
        story
    }

    async fn start(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let started = machine.start(&self.net, &self.layout).await;
        started.expect("it starts");
        machine.kv().set_keyspaces(&keyspaces());
    }

    fn kv(&self, at: usize) -> Kv {
        self.machines[at].kv()
    }

    /// Asks at every node until all answer this.
    async fn until_all(&self, line: &str, wanted: &Answer) {
        let mut waited_ms = 0;
        for at in 0..self.machines.len() {
            loop {
                let answer = one(&self.kv(at), line).await;
                if answer == *wanted {
                    break;
                }
                assert!(
                    waited_ms < 60_000,
                    "node {at} answers {line} with {answer:?}, not {wanted:?}"
                );
                clock::sleep(Duration::from_millis(50)).await;
                waited_ms += 50;
            }
        }
    }
}

/// Partitions move while it is created, and a node hears of it before it hears of that.
#[test]
fn a_keyspace_may_be_known_before_the_configuration_that_it_was_created_in() {
    simulate(9, async move {
        let story = Story::begin(9, &[1, 2, 3]).await;
        let mut later = (*keyspaces()).clone();
        let wanted = Wanted {
            name: "later".to_owned(),
            eventual: Some((3, Level::One, Level::One)),
        };
        let born = vec![2; usize::from(PARTITIONS)];
        later.create(&wanted, born, 3).expect("it can be");
        let later = Arc::new(later);
        for at in 0..3 {
            story.kv(at).set_keyspaces(&later);
        }
        let mut request = eventual("SET a 1", Level::All);
        if let Body::Eventual(call) = &mut request.body {
            call.keyspace = KeyspaceNumber(33);
        }
        assert_eq!(ask(&story.kv(0), request).await, Answer::Reply(Reply::OK));
    });
}

#[test]
fn both_sides_of_a_cut_go_on_and_come_to_the_same() {
    for seed in 0..6 {
        simulate(seed, async move {
            let story = Story::begin(seed, &[1, 2, 3]).await;
            let ok = Answer::Reply(Reply::OK);
            let all = ask(&story.kv(0), eventual("SET a before", Level::All)).await;
            assert_eq!(all, ok);
            assert_eq!(one(&story.kv(2), "GET a").await, bulk("before"));
            let knows = |it: EventualStatus| it.partitions > 0 && it.unknown == 0;
            while !(0..3).all(|at| knows(status(&story.kv(at)))) {
                clock::sleep(Duration::from_millis(50)).await;
            }
            story.net.isolate(NodeId(3));
            let mut added = [0; 3];
            for round in 0..30 {
                for (at, added) in added.iter_mut().enumerate() {
                    let by: i64 = random::range(0..100);
                    *added += by;
                    let kv = story.kv(at);
                    let reply = one(&kv, &format!("INCRBY n{} {by}", round % 3)).await;
                    assert!(
                        matches!(reply, Answer::Reply(Reply::Integer(_))),
                        "{reply:?}"
                    );
                    let reply = one(&kv, &format!("SADD s{round} {at}")).await;
                    assert_eq!(reply, integer(1), "nobody else puts this in");
                }
            }
            assert_eq!(one(&story.kv(0), "SET a majority").await, ok);
            clock::sleep(Duration::from_millis(20)).await;
            assert_eq!(one(&story.kv(2), "SET a minority").await, ok);
            // What wants more than there is says so.
            let quorum = ask(&story.kv(2), eventual("SET b x", Level::Quorum)).await;
            let Answer::Reply(Reply::Error(text)) = quorum else {
                panic!("{quorum:?}");
            };
            assert!(text.starts_with(b"NOREPLICAS 1 of 2"), "{text:?}");
            let kept = ask(&story.kv(1), eventual("SET c x", Level::Quorum)).await;
            assert_eq!(kept, ok);
            clock::sleep(Duration::from_secs(5)).await;
            // It is told once a second.
            let cut_off = status(&story.kv(2));
            assert!(cut_off.behind_ms >= 4_000, "seed {seed}: {cut_off:?}");
            story.net.heal();
            story.until_all("GET a", &bulk("minority")).await;
            story.until_all("GET b", &bulk("x")).await;
            let sum: i64 = added.iter().sum();
            let mut found = 0;
            for name in 0..3 {
                let line = format!("GET n{name}");
                // Equal everywhere once all have all.
                let mut waited = 0;
                loop {
                    let mut replies = Vec::new();
                    for at in 0..3 {
                        replies.push(format!("{:?}", one(&story.kv(at), &line).await));
                    }
                    let different: BTreeSet<&String> = replies.iter().collect();
                    if different.len() == 1 && waited > 20 {
                        break;
                    }
                    assert!(waited < 600, "{replies:?}");
                    waited += 1;
                    clock::sleep(Duration::from_millis(100)).await;
                }
                let Answer::Reply(Reply::Bulk(text)) = one(&story.kv(0), &line).await else {
                    panic!("a counter");
                };
                let text = std::str::from_utf8(&text).expect("a number");
                found += text.parse::<i64>().expect("a number");
            }
            assert_eq!(found, sum, "every increment counts once");
            for round in 0..30 {
                story
                    .until_all(&format!("SCARD s{round}"), &integer(3))
                    .await;
            }
            clock::sleep(Duration::from_secs(5)).await;
            for at in 0..3 {
                let status = status(&story.kv(at));
                assert_eq!(
                    (status.partitions, status.filling),
                    (u64::from(PARTITIONS), 0)
                );
                assert!(status.behind_ms < 4_000, "{status:?}");
            }
        });
    }
}

/// What was acknowledged by one is there again after it crashed, however often, and the journal
/// does not grow with every write.
#[test]
fn what_one_replica_acknowledged_survives_its_crashes() {
    for seed in 0..4 {
        simulate(seed, async move {
            let mut story = Story::begin(seed, &[1]).await;
            let mut acknowledged = [0_i64; 7];
            let mut used_bytes = 0;
            let padding = "x".repeat(2_000);
            for life in 0..5 {
                for (name, known) in acknowledged.iter().enumerate() {
                    let line = format!("GET n{name}");
                    let wanted = match known {
                        0 => Answer::Reply(Reply::Null),
                        known => bulk(&known.to_string()),
                    };
                    assert_eq!(one(&story.kv(0), &line).await, wanted);
                }
                for round in 0..150 {
                    let name = random::range(0..acknowledged.len());
                    let reply = one(&story.kv(0), &format!("INCR n{name}")).await;
                    acknowledged[name] += 1;
                    assert_eq!(reply, integer(acknowledged[name]));
                    // Large enough in one partition for a file.
                    let line = format!("HSET h{{tag}} field{} {padding}", round % 180);
                    one(&story.kv(0), &line).await;
                    used_bytes = used_bytes.max(story.machines[0].used_bytes());
                }
                let net = story.net.clone();
                story.machines[0].crash(&net, life % 2 == 0).await;
                story.start(0).await;
            }
            let reply = one(&story.kv(0), "HLEN h{tag}").await;
            assert_eq!(reply, integer(150));
            assert!(
                !story.machines[0].files("snapshots").is_empty(),
                "a large state has a file"
            );
            let written = 5 * 150 * 2_000;
            assert!(
                used_bytes < written,
                "{used_bytes} bytes on disk for {written}"
            );
        });
    }
}

/// A node that holds nothing has others answer.
#[test]
fn any_node_answers() {
    simulate(5, async {
        let mut story = Story::begin(5, &[1, 2, 3, 4]).await;
        let three: Vec<ReplicaId> = [1, 2, 3].map(ReplicaId).into();
        let nodes = story.layout.nodes.clone();
        let partitions = story.layout.partitions;
        story.layout = Layout::fixed(partitions, nodes, |_| three.clone());
        for at in 0..4 {
            let machine = &mut story.machines[at];
            let net = story.net.clone();
            machine.crash(&net, false).await;
            *machine = Machine::new(machine.node.0, 100 + machine.node.0, small());
            story.start(at).await;
        }
        let ok = Answer::Reply(Reply::OK);
        assert_eq!(one(&story.kv(3), "SET a x").await, ok);
        assert_eq!(
            ask(&story.kv(3), eventual("GET a", Level::All)).await,
            bulk("x")
        );
        assert_eq!(status(&story.kv(3)).partitions, 0);
        assert_eq!(one(&story.kv(3), "DEL a b c d").await, integer(1));
        assert_eq!(one(&story.kv(3), "INCR n").await, integer(1));
    });
}

/// The owner tells that a step may be finished only when one that stays has what the leaving
/// replica took while nobody else could hear of it.
#[test]
fn nobody_leaves_with_what_nobody_else_has() {
    for seed in 0..12 {
        simulate(seed, async move {
            let mut story = Story::begin(seed, &[1, 2, 3, 4]).await;
            let members = |ids: [u64; 3]| Members::new(ids.map(ReplicaId).into()).expect("some");
            let nodes = story.layout.nodes.clone();
            let partitions = Partitions::new(1).expect("one");
            let three: Vec<ReplicaId> = [1, 2, 3].map(ReplicaId).into();
            story.layout = Layout::fixed(partitions, nodes, |_| three.clone());
            for at in 0..4 {
                let net = story.net.clone();
                story.machines[at].crash(&net, false).await;
                let node = story.machines[at].node.0;
                story.machines[at] = Machine::new(node, 200 + node, small());
                story.start(at).await;
            }
            let ok = Answer::Reply(Reply::OK);
            assert_eq!(ask(&story.kv(0), eventual("SET a x", Level::All)).await, ok);
            story.net.isolate(NodeId(3));
            assert_eq!(one(&story.kv(2), "SET a mine").await, ok);
            // Longer than connections bear: nothing of it is still on its way.
            clock::sleep(Duration::from_millis(random::range(60_000..62_000))).await;
            story.net.heal();
            // Who can't be reached would be left behind with what it has.
            for at in [0, 1] {
                let look = || eventual("GET other", Level::All);
                while ask(&story.kv(at), look()).await != Answer::Reply(Reply::Null) {
                    clock::sleep(Duration::from_millis(1)).await;
                }
            }

            let mut joint = story.layout.clone();
            for place in joint.places.values_mut() {
                let next = place.configuration.joint(members([1, 2, 4]));
                place.configuration = next.expect("it is stable");
                place.is_changing = true;
                place.order.push(ReplicaId(4));
            }
            let joint = Arc::new(joint);
            for at in 0..4 {
                story.kv(at).set_layout(&joint);
            }
            let mut waited_ms = 0;
            loop {
                let mut may_finish = false;
                for at in 0..4 {
                    let told = story.kv(at).progress().await;
                    may_finish |= told.iter().any(|it| it.committed.is_some());
                }
                if may_finish {
                    break;
                }
                assert!(waited_ms < 30_000, "it may be finished");
                clock::sleep(Duration::from_millis(1)).await;
                waited_ms += 1;
            }
            story.net.isolate(NodeId(3));
            let mut found = Vec::new();
            for at in [0, 1, 3] {
                found.push(one(&story.kv(at), "GET a").await);
            }
            assert!(found.contains(&bulk("mine")), "seed {seed}: {found:?}");
        });
    }
}
