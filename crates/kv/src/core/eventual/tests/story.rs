//! A few partitions whose messages all arrive, unless a test says otherwise.

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::{ConfigurationNumber, ReplicaId};
use bytes::Bytes;

use super::super::{
    Author, Life,
    membership::Members,
    message::Message,
    partition::{Partition, Refused, Settings},
    quorum::Level,
};
use crate::core::reply::Reply;

const BEGIN_MS: u64 = 1_700_000_000_000;

struct Few {
    members: Members,
    all: BTreeMap<ReplicaId, Partition>,
    cut_off: BTreeSet<ReplicaId>,
    now_ms: u64,
    answers: Vec<(u64, Reply)>,
    /// How many messages were sent of each kind that a test counts.
    deltas: usize,
    items_sent: usize,
}

impl Few {
    fn new(count: u64) -> Few {
        let replicas = (1..=count).map(ReplicaId).collect();
        let members = Members {
            number: ConfigurationNumber(1),
            replicas,
        };
        let new = |id: &ReplicaId| {
            (
                *id,
                Partition::new(
                    Author::first(id.0),
                    members.clone(),
                    true,
                    0,
                    Settings::default(),
                ),
            )
        };
        Few {
            all: members.replicas.iter().map(new).collect(),
            members,
            cut_off: BTreeSet::new(),
            now_ms: BEGIN_MS,
            answers: Vec::new(),
            deltas: 0,
            items_sent: 0,
        }
    }

    fn at(&mut self, id: u64) -> &mut Partition {
        self.all.get_mut(&ReplicaId(id)).expect("there")
    }

    fn settle(&mut self) {
        loop {
            let mut letters = Vec::new();
            for (from, partition) in &mut self.all {
                let ready = partition.ready();
                self.answers.extend(ready.answers);
                letters.extend(
                    ready
                        .messages
                        .into_iter()
                        .map(|(to, packet)| (*from, to, packet)),
                );
            }
            if letters.is_empty() {
                return;
            }
            for (from, to, packet) in letters {
                if self.cut_off.contains(&from) != self.cut_off.contains(&to) {
                    continue;
                }
                match &packet.message {
                    Message::Delta { .. } => self.deltas += 1,
                    Message::Exchange { give: items, .. } | Message::Given { delta: items, .. } => {
                        self.items_sent += items.len()
                    }
                    _ => {}
                }
                if let Some(partition) = self.all.get_mut(&to) {
                    partition
                        .step(from, packet, self.now_ms)
                        .expect("one clock");
                }
            }
        }
    }

    fn ask(&mut self, id: u64, call: &str, level: Level) -> Option<Reply> {
        let words = call
            .split(' ')
            .map(|word| Bytes::from(word.to_owned()))
            .collect();
        let now_ms = self.now_ms;
        self.at(id)
            .request(7, words, level, level, now_ms)
            .expect("it is taken");
        self.settle();
        let answers = std::mem::take(&mut self.answers);
        assert!(answers.len() <= 1);
        answers.into_iter().next().map(|(_, reply)| reply)
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now_ms += 100;
            let now_ms = self.now_ms;
            self.all
                .values_mut()
                .for_each(|partition| partition.tick(now_ms));
            self.settle();
        }
    }
}

fn bulk(text: &str) -> Option<Reply> {
    Some(Reply::bulk(text))
}

#[test]
fn both_sides_take_writes_and_say_how_many_have_them() {
    let mut few = Few::new(3);
    assert_eq!(few.ask(1, "SET a x", Level::All), Some(Reply::OK));
    few.cut_off.insert(ReplicaId(3));
    assert_eq!(few.ask(3, "SET a y", Level::One), Some(Reply::OK));
    assert_eq!(few.ask(1, "INCR n", Level::Quorum), Some(Reply::Integer(1)));
    assert_eq!(few.ask(3, "INCR n", Level::Quorum), None, "it waits");
    assert_eq!(few.ask(1, "GET a", Level::All), None, "it waits");
    few.pass(1_000);
    let answers = std::mem::take(&mut few.answers);
    assert_eq!(
        answers,
        [
            (
                7,
                Reply::Error(Bytes::from_static(
                    b"NOREPLICAS 2 of 3 replicas answered the read"
                ))
            ),
            (
                7,
                Reply::Error(Bytes::from_static(
                    b"NOREPLICAS 1 of 2 replicas have the write; it stands there and spreads"
                ))
            ),
        ]
    );
    few.cut_off.clear();
    few.pass(4_000);
    for id in 1..=3 {
        assert_eq!(few.ask(id, "GET a", Level::One), bulk("y"));
        assert_eq!(few.ask(id, "GET n", Level::One), bulk("2"));
        assert_eq!(few.at(id).hints().bytes(), 0, "hints were handed off");
    }
}

#[test]
fn a_read_of_more_than_one_finds_what_this_one_lacks_and_mends_the_others() {
    let mut few = Few::new(3);
    few.cut_off.insert(ReplicaId(3));
    few.ask(1, "SADD s a b", Level::Quorum);
    few.cut_off.clear();
    assert_eq!(
        few.ask(3, "SCARD s", Level::One),
        Some(Reply::Integer(0)),
        "one may be behind"
    );
    assert_eq!(
        few.ask(3, "SCARD s", Level::Quorum),
        Some(Reply::Integer(2))
    );
    few.cut_off.insert(ReplicaId(3));
    few.ask(3, "SADD s c", Level::One);
    few.cut_off.clear();
    few.deltas = 0;
    assert_eq!(few.ask(3, "SCARD s", Level::All), Some(Reply::Integer(3)));
    assert_eq!(few.deltas, 2, "both were behind");
    assert_eq!(few.ask(1, "SCARD s", Level::One), Some(Reply::Integer(3)));
}

#[test]
fn exchanges_mend_and_send_only_what_differs() {
    let mut few = Few::new(2);
    for at in 0..300 {
        few.ask(1, &format!("SET key{at} x"), Level::All);
    }
    few.pass(5_000);
    few.cut_off.insert(ReplicaId(2));
    few.ask(1, "SET key7 y", Level::One);
    few.ask(2, "SET key8 y", Level::One);
    few.ask(1, "DEL key9", Level::One);
    few.pass(2_000);
    few.items_sent = 0;
    // Long enough for the hints to be dropped.
    few.now_ms += 11 * 60_000;
    few.pass(2_000);
    few.cut_off.clear();
    few.pass(10_000);
    assert_eq!(
        few.ask(2, "MGET key7 key8 key9", Level::One),
        few.ask(1, "MGET key7 key8 key9", Level::One)
    );
    assert_eq!(few.ask(2, "GET key7", Level::One), bulk("y"));
    assert!(
        (1..=12).contains(&few.items_sent),
        "{} items were sent",
        few.items_sent
    );
    let tree = |id| few.all[&ReplicaId(id)].replica().tree();
    assert_eq!(tree(1), tree(2));
    assert_eq!(few.at(1).replica().uncollected(), 0, "the tombstone went");
    let now_ms = few.now_ms;
    assert!(
        few.at(1)
            .behind_ms(ReplicaId(2), now_ms)
            .is_some_and(|behind_ms| behind_ms < 5_000)
    );
    few.cut_off.insert(ReplicaId(2));
    few.pass(20_000);
    let now_ms = few.now_ms;
    assert!(
        few.at(1)
            .behind_ms(ReplicaId(2), now_ms)
            .is_some_and(|behind_ms| behind_ms >= 20_000)
    );
}

#[test]
fn a_large_item_is_told_in_pieces() {
    let mut few = Few::new(2);
    few.cut_off.insert(ReplicaId(2));
    let value = "x".repeat(2_000);
    for at in 0..600 {
        few.ask(1, &format!("HSET h field{at} {value}"), Level::One);
    }
    few.pass(2_000);
    few.now_ms += 11 * 60_000;
    few.pass(2_000);
    few.cut_off.clear();
    few.pass(10_000);
    assert_eq!(few.ask(2, "HLEN h", Level::One), Some(Reply::Integer(600)));
    assert!(few.items_sent > 3);
}

#[test]
fn a_new_member_is_filled_first_and_a_dead_one_holds_tombstones_until_it_is_none() {
    let mut few = Few::new(3);
    few.ask(1, "SADD s a b", Level::All);
    few.cut_off.insert(ReplicaId(3));
    few.ask(1, "SREM s a", Level::One);
    few.pass(20_000);
    assert_eq!(few.at(1).replica().uncollected(), 1, "3 has it not");
    few.all.remove(&ReplicaId(3));
    few.members.number.0 += 1;
    few.members.replicas.remove(&ReplicaId(3));
    few.members.replicas.insert(ReplicaId(4));
    let members = few.members.clone();
    let mut new = Partition::new(
        Author::first(4),
        members.clone(),
        false,
        0,
        Settings::default(),
    );
    let now_ms = few.now_ms;
    let get = vec![Bytes::from_static(b"GET"), Bytes::from_static(b"a")];
    let refused = new.request(1, get, Level::One, Level::One, now_ms);
    assert_eq!(refused, Err(Refused::Filling));
    few.all.insert(ReplicaId(4), new);
    for id in [1, 2] {
        few.at(id).configure(members.clone(), now_ms);
    }
    few.pass(20_000);
    assert_eq!(
        few.ask(4, "SMEMBERS s", Level::One),
        Some(Reply::Set(vec![Reply::bulk("b")]))
    );
    for id in [1, 2, 4] {
        assert_eq!(few.at(id).replica().uncollected(), 0);
    }
}

/// A replica that has left and comes back is filled by one that lacks some of what it told
/// before. What it counts then takes nothing of that away.
#[test]
fn a_replica_that_comes_back_counts_beside_what_it_counted_before() {
    let mut few = Few::new(3);
    assert_eq!(
        few.ask(3, "INCRBY n 3", Level::All),
        Some(Reply::Integer(3))
    );
    few.cut_off.insert(ReplicaId(2));
    assert_eq!(
        few.ask(3, "INCRBY n 20", Level::One),
        Some(Reply::Integer(23))
    );
    few.pass(200);
    few.all.remove(&ReplicaId(3));
    few.members.number.0 += 1;
    few.members.replicas.remove(&ReplicaId(3));
    for id in [1, 2] {
        let (members, now_ms) = (few.members.clone(), few.now_ms);
        few.at(id).configure(members, now_ms);
    }
    few.members.number.0 += 1;
    few.members.replicas.insert(ReplicaId(3));
    let life = Life::FIRST.next().expect("there are more");
    let author = Author::new(ReplicaId(3), life);
    let new = Partition::new(author, few.members.clone(), false, 0, Settings::default());
    few.all.insert(ReplicaId(3), new);
    for id in [1, 2] {
        let (members, now_ms) = (few.members.clone(), few.now_ms);
        few.at(id).configure(members, now_ms);
    }
    few.cut_off = [ReplicaId(1)].into();
    few.pass(20_000);
    assert_eq!(few.ask(3, "INCR n", Level::One), Some(Reply::Integer(4)));
    few.cut_off.clear();
    few.pass(20_000);
    for id in 1..=3 {
        assert_eq!(few.ask(id, "GET n", Level::One), bulk("24"), "{id}");
    }
}
