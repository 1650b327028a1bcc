//! Replicas that leave partitions, and come back.

use super::*;
use crate::core::paxos::Voters;

impl Story {
    /// Goes on to these voters everywhere, by a step or two that everybody hears of.
    fn move_to(&mut self, ids: &[u64]) {
        let members = Members::new(ids.iter().copied().map(ReplicaId).collect()).expect("some");
        let mut joint = self.layout.clone();
        for place in joint.places.values_mut() {
            let next = place.configuration.joint(members.clone());
            place.configuration = next.expect("it is stable");
            place.is_changing = true;
        }
        self.hear(&joint);
        for place in joint.places.values_mut() {
            place.configuration.number += 1;
            place.configuration.voters = Voters::Stable {
                members: members.clone(),
                proof: None,
            };
            place.is_changing = false;
            place.order = members.iter().collect();
        }
        self.hear(&joint);
        self.layout = joint;
    }

    fn hear(&self, layout: &Layout) {
        let layout = Arc::new(layout.clone());
        for machine in &self.machines {
            machine.kv().set_layout(&layout);
        }
    }

    pub(super) async fn until(
        &self,
        at: usize,
        what: &str,
        passes: impl Fn(EventualStatus) -> bool,
    ) {
        let mut waited_ms = 0;
        while !passes(status(&self.kv(at))) {
            let status = status(&self.kv(at));
            assert!(waited_ms < 60_000, "node {at}: {what}: {status:?}");
            clock::sleep(Duration::from_millis(50)).await;
            waited_ms += 50;
        }
    }

    async fn until_one(&self, at: usize, line: &str, wanted: &Answer) {
        let mut waited_ms = 0;
        while one(&self.kv(at), line).await != *wanted {
            assert!(waited_ms < 60_000, "node {at} answers {line} otherwise");
            clock::sleep(Duration::from_millis(50)).await;
            waited_ms += 50;
        }
    }
}

/// A replica leaves and is a member again, filled by one that lacks some of what it told before.
/// What it counts then is beside that, and nothing is lost.
#[test]
fn a_node_that_leaves_and_comes_back_counts_anew() {
    for seed in 0..4 {
        simulate(seed, async move {
            let mut story = Story::begin(seed, &[1, 2, 3]).await;
            let all = ask(&story.kv(2), eventual("INCRBY n 3", Level::All)).await;
            assert_eq!(all, integer(3));
            story.net.isolate(NodeId(2));
            assert_eq!(one(&story.kv(2), "INCRBY n 20").await, integer(23));
            story.until_one(0, "GET n", &bulk("23")).await;

            let before = story.layout.clone();
            story.move_to(&[1, 2]);
            story.until(2, "it has left", |it| it.partitions == 0).await;
            // A restart, or two; after that it sees the cluster as it was.
            let after = std::mem::replace(&mut story.layout, before);
            for loses in [false, true] {
                let net = story.net.clone();
                story.machines[2].crash(&net, loses).await;
                story.start(2).await;
                clock::sleep(Duration::from_secs(3)).await;
                assert_eq!(status(&story.kv(2)).partitions, 0, "it has left for good");
            }

            story.layout = after;
            story.net.heal();
            story.net.isolate(NodeId(1));
            story.move_to(&[1, 2, 3]);
            let is_filled =
                |it: EventualStatus| it.partitions == u64::from(PARTITIONS) && it.filling == 0;
            story.until(2, "it is filled", is_filled).await;
            assert_eq!(one(&story.kv(2), "GET n").await, bulk("3"));
            assert_eq!(one(&story.kv(2), "INCR n").await, integer(4));
            story.net.heal();
            story.until_all("GET n", &bulk("24")).await;
        });
    }
}

/// A node is down while its replica leaves and becomes a member again. What was removed meanwhile
/// does not come back with what it holds.
#[test]
fn a_node_that_missed_that_it_had_left_begins_anew() {
    for seed in 0..3 {
        simulate(seed, async move {
            let mut story = Story::begin(seed, &[1, 2, 3]).await;
            let all = ask(&story.kv(2), eventual("SADD s a b", Level::All)).await;
            assert_eq!(all, integer(2));
            let net = story.net.clone();
            story.machines[2].crash(&net, seed % 2 == 0).await;
            let away = story.machines.pop().expect("three");

            story.move_to(&[1, 2]);
            assert_eq!(one(&story.kv(0), "SREM s a").await, integer(1));
            for at in 0..2 {
                let is_collected = |it: EventualStatus| it.tombstones == 0 && it.keys > 0;
                story.until_one(at, "SCARD s", &integer(1)).await;
                story.until(at, "it is collected", is_collected).await;
            }
            story.move_to(&[1, 2, 3]);
            story.machines.push(away);
            story.start(2).await;
            let is_filled = |it: EventualStatus| {
                it.partitions == u64::from(PARTITIONS) && it.filling == 0 && it.unknown == 0
            };
            story.until(2, "it is filled", is_filled).await;
            story.until_all("SISMEMBER s a", &integer(0)).await;
            story.until_all("SISMEMBER s b", &integer(1)).await;
        });
    }
}

/// A node is down while its replica leaves, and then sees the cluster as it was before. It hears
/// from the others that this is over, and takes nothing that would go with it.
#[test]
fn a_node_that_missed_that_it_had_left_hears_it_from_others() {
    for seed in 0..3 {
        simulate(seed, async move {
            let mut story = Story::begin(seed, &[1, 2, 3]).await;
            let all = ask(&story.kv(2), eventual("SET a x", Level::All)).await;
            assert_eq!(all, Answer::Reply(Reply::OK));
            let net = story.net.clone();
            story.machines[2].crash(&net, seed % 2 == 0).await;
            let away = story.machines.pop().expect("three");
            let before = story.layout.clone();
            story.move_to(&[1, 2]);
            let after = std::mem::replace(&mut story.layout, before);
            story.machines.push(away);
            story.start(2).await;
            let mut number = 0;
            loop {
                number += 1;
                one(&story.kv(2), &format!("SET a {number}")).await;
                clock::sleep(Duration::from_millis(100)).await;
                if one(&story.kv(0), "GET a").await == bulk(&number.to_string()) {
                    break;
                }
                assert!(number < 100, "node 3 goes on by itself");
            }
            story.hear(&after);
            story.until(2, "it lets go", |it| it.partitions == 0).await;
        });
    }
}
