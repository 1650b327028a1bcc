//! Commands and scripts whose keys are in several partitions: values are brought together, the
//! command or script runs on them, and what it changed goes back.

use std::{collections::BTreeSet, sync::Arc};

use atoll_base::id::PartitionId;
use atoll_kv::{
    api,
    core::{
        command::{self, KeyPlaces},
        machine::{Answered, Call, Extent, Home, Machine, Operation, Script, Surroundings},
        partition::{Moment, StateMachine as _},
        paxos::LogIndex,
        reply::Reply,
    },
};
use bytes::Bytes;

use super::program::Outcome;

/// The place in the log of the copy where values are put before the command runs, and that of
/// the command.
const BROUGHT: LogIndex = LogIndex(1);
const RAN: LogIndex = LogIndex(2);

/// Where the value of a key is told: two replies, one after the other, of a partition.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) database: usize,
    pub(super) key: Bytes,
    pub(super) partition: PartitionId,
    pub(super) place: usize,
}

/// A value that was brought.
#[derive(Clone, Debug)]
pub(super) struct Brought {
    pub(super) source: Source,
    /// What DUMP and PEXPIRETIME told.
    pub(super) value: Reply,
    pub(super) expires_at_ms: Reply,
}

/// Databases and keys that a command touches.
pub(super) fn keys(database: usize, call: &api::Call) -> BTreeSet<(usize, Bytes)> {
    let places = call.command.keys.of(&call.words);
    let words = places.iter().filter_map(|place| call.words.get(*place));
    let mut keys: BTreeSet<_> = words.map(|key| (database, key.clone())).collect();
    if call.command.name == "copy"
        && let Some(other) = other_database(&call.words)
    {
        let target = call.words.get(2);
        keys.extend(target.map(|key| (other, key.clone())));
    }
    if call.command.name == "move"
        && let (Some(key), Some(other)) = (call.words.get(1), call.words.get(2).and_then(index))
    {
        keys.insert((other, key.clone()));
    }
    keys
}

/// The database that COPY copies to, if it names one; of several, the last.
fn other_database(words: &[Bytes]) -> Option<usize> {
    let options = words.get(3..)?;
    let at = options
        .iter()
        .rposition(|word| word.eq_ignore_ascii_case(b"DB"))?;
    options.get(at + 1).and_then(index)
}

fn index(word: &Bytes) -> Option<usize> {
    let index = std::str::from_utf8(word).ok()?.parse().ok()?;
    (index < atoll_kv::core::data::DATABASES).then_some(index)
}

/// Whether a command's keys are all that it touches, wherever they are.
pub(super) fn names_its_keys(call: &api::Call) -> bool {
    !matches!(call.command.keys, KeyPlaces::None)
        && atoll_kv::core::route::reach(call.command, &call.words).is_some()
}

/// What tells the value of a key.
pub(super) fn questions(database: usize, key: &Bytes) -> [Call; 2] {
    [
        words(database, &[b"DUMP", key]),
        words(database, &[b"PEXPIRETIME", key]),
    ]
}

fn words(database: usize, words: &[&[u8]]) -> Call {
    let words = words.iter().map(|word| Bytes::copy_from_slice(word));
    Call {
        database,
        words: words.collect(),
    }
}

/// What is run on values that were brought.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Call(Call),
    Script(Script),
}

/// Something to be run on values that were brought. Of a script nobody knows how long it takes.
#[derive(Clone, Debug)]
pub struct Job {
    pub(super) brought: Vec<Brought>,
    pub(super) work: Work,
    pub(super) now_ms: u64,
    pub(super) seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ran {
    pub(super) outcome: Outcome,
    /// What has to be done where the values came from.
    pub(super) back: Vec<(PartitionId, Call)>,
}

impl Ran {
    fn refused(reply: Reply) -> Ran {
        Ran {
            outcome: Outcome::Reply(reply),
            back: Vec::new(),
        }
    }
}

impl Job {
    /// Whether nobody knows how long it takes.
    pub fn may_be_long(&self) -> bool {
        matches!(self.work, Work::Script(_))
    }

    /// Runs it. What a script may know of the node is told by `surroundings`; without them
    /// nobody ends it.
    ///
    /// # Errors
    /// A script was ended, and with it the transaction: this is its error.
    pub fn run(self, surroundings: Option<Arc<dyn Surroundings>>) -> Result<Ran, Reply> {
        let mut machine = Machine::default();
        let at = |index: LogIndex| Moment {
            now_ms: self.now_ms,
            seed: self.seed,
            index,
        };
        for value in &self.brought {
            if let Reply::Error(_) = value.value {
                // It has grown beyond what can be sent.
                return Ok(Ran::refused(value.value.clone()));
            }
            if let Some(put) = put(&value.source, &value.value, &value.expires_at_ms)
                && let error @ Reply::Error(_) = apply(&mut machine, at(BROUGHT), put)
            {
                return Ok(Ran::refused(error));
            }
        }
        let outcome = match self.work {
            Work::Call(call) => Outcome::Reply(apply(&mut machine, at(RAN), call)),
            Work::Script(script) => {
                let keys = self.brought.iter().map(|value| &value.source);
                let keys = keys.map(|source| (source.database, source.key.clone()));
                if let Some(surroundings) = surroundings {
                    machine.set_home(Home {
                        extent: Extent::Keys(keys.collect()),
                        surroundings,
                    });
                }
                let at = command::Moment {
                    now_ms: self.now_ms,
                    seed: self.seed,
                    version: RAN.0,
                    reading: false,
                };
                Outcome::of_script(machine.run_script(at, script)?)
            }
        };
        let mut back = Vec::new();
        for value in self.brought {
            let Source {
                database, ref key, ..
            } = value.source;
            let entry = machine.keyspace().database(database).get(key);
            let change = match entry {
                Some(entry) if entry.version() == BROUGHT.0 => continue,
                None if value.value == Reply::Null => continue,
                None => words(database, &[b"DEL", key]),
                Some(_) => {
                    let [dump, expires] = questions(database, key)
                        .map(|question| apply(&mut machine, at(RAN), question));
                    match put(&value.source, &dump, &expires) {
                        Some(put) => put,
                        // It ended the moment that it was made.
                        None => words(database, &[b"DEL", key]),
                    }
                }
            };
            back.push((value.source.partition, change));
        }
        Ok(Ran { outcome, back })
    }
}

fn apply(machine: &mut Machine, at: Moment, call: Call) -> Reply {
    match machine.apply(at, &Operation::Call(call).encode()) {
        Answered::Reply(reply) | Answered::Waits { reply, .. } => reply,
        other => unfit(&format!("{other:?}")),
    }
}

/// What puts a value where it came from; none, if there is none.
fn put(source: &Source, value: &Reply, expires_at_ms: &Reply) -> Option<Call> {
    let Reply::Bulk(value) = value else {
        return None;
    };
    let at_ms = match expires_at_ms {
        Reply::Integer(at_ms) if *at_ms >= 0 => at_ms.to_string(),
        _ => "0".to_owned(),
    };
    let words: [&[u8]; 6] = [
        b"RESTORE",
        &source.key,
        at_ms.as_bytes(),
        value,
        b"REPLACE",
        b"ABSTTL",
    ];
    Some(self::words(source.database, &words))
}

fn unfit(told: &str) -> Reply {
    Reply::Error(Bytes::from(format!(
        "ERR a command came to what no command comes to: {told}"
    )))
}
