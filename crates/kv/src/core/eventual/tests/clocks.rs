//! Clocks that are far ahead.

use std::collections::BTreeMap;

use atoll_base::id::{ConfigurationNumber, ReplicaId};
use bytes::Bytes;

use super::super::{
    Author, DRIFT_MS_MAX,
    membership::Members,
    partition::{Partition, Refused, Settings},
    quorum::Level,
};
use crate::core::reply::Reply;

const BEGIN_MS: u64 = 1_700_000_000_000;

/// Partitions whose messages all arrive, each with its own clock.
struct Clocks {
    all: BTreeMap<ReplicaId, Partition>,
    ahead_ms: BTreeMap<ReplicaId, u64>,
    now_ms: u64,
}

impl Clocks {
    fn new(count: u64) -> Clocks {
        let members = Members {
            number: ConfigurationNumber(1),
            replicas: (1..=count).map(ReplicaId).collect(),
        };
        let new = |id| {
            let author = Author::first(id);
            let partition = Partition::new(author, members.clone(), true, 0, Settings::default());
            (ReplicaId(id), partition)
        };
        Clocks {
            all: (1..=count).map(new).collect(),
            ahead_ms: BTreeMap::new(),
            now_ms: BEGIN_MS,
        }
    }

    fn now_ms(&self, id: ReplicaId) -> u64 {
        self.now_ms + self.ahead_ms.get(&id).copied().unwrap_or(0)
    }

    /// Lets time pass, and everything arrive that is taken.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now_ms += 100;
            let mut letters = Vec::new();
            for id in self.all.keys().copied().collect::<Vec<_>>() {
                let now_ms = self.now_ms(id);
                let partition = self.all.get_mut(&id).expect("there");
                partition.tick(now_ms);
                letters.extend(partition.ready().messages.into_iter().map(|it| (id, it)));
            }
            while let Some((from, (to, packet))) = letters.pop() {
                let now_ms = self.now_ms(to);
                let partition = self.all.get_mut(&to).expect("there");
                // What is refused is told to whoever sent it.
                let _ = partition.step(from, packet, now_ms);
                letters.extend(partition.ready().messages.into_iter().map(|it| (to, it)));
            }
        }
    }

    fn ask(&mut self, id: u64, call: &str) -> Result<Vec<Reply>, Refused> {
        let words = call.split(' ').map(|word| Bytes::from(word.to_owned()));
        let now_ms = self.now_ms(ReplicaId(id));
        let partition = self.all.get_mut(&ReplicaId(id)).expect("there");
        partition.request(7, words.collect(), Level::One, Level::One, now_ms)?;
        // What is to be sent goes with the next round.
        let ready = partition.ready();
        for (to, packet) in ready.messages {
            let now_ms = self.now_ms(to);
            let other = self.all.get_mut(&to).expect("there");
            let _ = other.step(ReplicaId(id), packet, now_ms);
        }
        Ok(ready.answers.into_iter().map(|(_, reply)| reply).collect())
    }
}

#[test]
fn who_is_far_ahead_takes_no_writes_until_time_has_caught_up() {
    let mut clocks = Clocks::new(3);
    let ahead_ms = DRIFT_MS_MAX + 4_000;
    clocks.ahead_ms.insert(ReplicaId(3), ahead_ms);
    // Nobody has said anything yet.
    assert_eq!(clocks.ask(3, "INCR n"), Ok(vec![Reply::Integer(1)]));
    clocks.pass(3_000);
    let refused = clocks.ask(3, "INCR n").expect_err("it is ahead");
    assert!(matches!(refused, Refused::Ahead { .. }), "{refused}");
    assert!(refused.to_string().starts_with("CLOCK "), "{refused}");
    let read = clocks.ask(3, "GET n");
    assert_eq!(read, Ok(vec![Reply::bulk("1")]), "reads go on");
    assert_eq!(clocks.ask(1, "INCR n"), Ok(vec![Reply::Integer(1)]));

    // Set right, its stamps are still ahead.
    clocks.ahead_ms.clear();
    let refused = clocks.ask(3, "INCR n").expect_err("it was ahead");
    assert!(matches!(refused, Refused::Ahead { .. }), "{refused}");
    clocks.pass(ahead_ms + 10_000);
    assert_eq!(clocks.ask(3, "INCR n"), Ok(vec![Reply::Integer(3)]));
    clocks.pass(5_000);
    for id in 1..=3 {
        let read = clocks.ask(id, "GET n");
        assert_eq!(read, Ok(vec![Reply::bulk("3")]), "{id}");
    }
}

/// One that is behind complains of all others; they go on.
#[test]
fn one_that_is_behind_keeps_nobody_from_writing() {
    let mut clocks = Clocks::new(3);
    for id in [1, 2] {
        clocks.ahead_ms.insert(ReplicaId(id), DRIFT_MS_MAX + 4_000);
    }
    clocks.pass(10_000);
    for id in [1, 2] {
        assert!(clocks.ask(id, "INCR n").is_ok());
        clocks.pass(1_000);
    }
    assert_eq!(clocks.ask(2, "GET n"), Ok(vec![Reply::bulk("2")]));
    clocks.ahead_ms.clear();
    clocks.pass(30_000);
    assert_eq!(clocks.ask(3, "INCR n"), Ok(vec![Reply::Integer(3)]));
}
