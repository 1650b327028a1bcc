//! Split or not, the answers are the same.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    tests::{PARTITIONS, partition_of, words},
    *,
};
use crate::core::{
    command::{Context, Effects, Flags, Moment, find},
    data::Keyspace,
    reply::Reply,
};

proptest! {
    /// Whatever is split, many partitions answer as one that holds everything.
    #[test]
    fn many_partitions_answer_as_one(lines in vec(lines(), 1..40)) {
        let (mut one, mut many) = (Partitions::new(1), Partitions::new(PARTITIONS));
        for line in &lines {
            prop_assert_eq!(one.run(line), many.run(line), "{}", line);
        }
    }
}

/// Commands over few keys, so that they meet, and that one SCAN finds all: fewer than 10.
fn lines() -> impl Strategy<Value = String> {
    let key = || (0u8..9).prop_map(|key| key.to_string());
    let keys = vec(key(), 1..6).prop_map(|keys| keys.join(" "));
    prop_oneof![
        3 => (key(), 0u8..9).prop_map(|(key, value)| format!("set {key} {value}")),
        4 => (select(vec!["del", "unlink", "exists", "touch", "mget"]), keys)
            .prop_map(|(name, keys)| format!("{name} {keys}")),
        2 => select(vec!["dbsize", "keys *", "keys 1*", "scan 0", "scan x", "scan 0 count 0"])
            .prop_map(str::to_owned),
        1 => select(vec!["flushdb", "flushall"]).prop_map(str::to_owned),
    ]
}

/// Partitions, and who asks them what a plan says.
struct Partitions {
    keyspaces: Vec<Keyspace>,
    calls: u64,
}

impl Partitions {
    fn new(count: u16) -> Self {
        Partitions {
            keyspaces: vec![Keyspace::default(); usize::from(count)],
            calls: 0,
        }
    }

    fn call(&mut self, partition: usize, command: &Command, words: &[Bytes]) -> Reply {
        self.calls += 1;
        let moment = Moment {
            now_ms: 0,
            seed: self.calls,
            version: self.calls,
            reading: command.flags.has(Flags::READONLY),
        };
        let mut effects = Effects::default();
        let keyspace = &mut self.keyspaces[partition];
        let mut context = Context::new(keyspace, 0, moment, &mut effects);
        command
            .run(&mut context, words)
            .unwrap_or_else(|error| Reply::Error(error.to_string().into()))
    }

    /// The whole answer; what has no order is put into one.
    fn run(&mut self, line: &str) -> Reply {
        let words = words(line);
        let command = find(&words).expect("it is in the table");
        let count = u16::try_from(self.keyspaces.len()).unwrap();
        let plan = match plan(command, &words, count, partition_of) {
            Ok(plan) => plan,
            Err(error) => return Reply::Error(error.to_string().into()),
        };
        let mut answer = match plan {
            Plan::One(partition) => self.call(usize::from(partition.0), command, &words),
            Plan::Parts(parts, merge) => {
                let answers = parts
                    .iter()
                    .map(|part| self.call(usize::from(part.partition.0), command, &part.words))
                    .collect();
                merge.of_parts(&parts, answers)
            }
            Plan::Every(merge) => {
                let all = 0..self.keyspaces.len();
                merge.of_all(all.map(|at| self.call(at, command, &words)).collect())
            }
            Plan::Scan(mut scan) => loop {
                let (partition, words) = scan.ask();
                let answer = self.call(usize::from(partition.0), command, &words);
                if let Some(answer) = scan.take(answer) {
                    break answer;
                }
            },
            other => panic!("{line}: {other:?}"),
        };
        if let Reply::Array(items) = &mut answer {
            match (command.name, &mut items[..]) {
                ("keys", items) => sort_replies(items),
                ("scan", [_, Reply::Array(found)]) => sort_replies(found),
                _ => {}
            }
        }
        answer
    }
}

fn sort_replies(replies: &mut [Reply]) {
    replies.sort_by_key(|reply| format!("{reply:?}"));
}
