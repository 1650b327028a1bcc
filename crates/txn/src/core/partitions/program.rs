//! What the commands of a transaction mean, partition by partition.
//!
//! Commands whose keys are in one partition run there, in their order. Where the keys of one are
//! in several, what it needs is asked first and what follows from it is done afterwards, so a
//! transaction may take several rounds ([`Program::proceed`]).

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::PartitionId;
use atoll_kv::{
    api::{self, DatabaseKey, Publication, Refusal, Step, Version},
    core::{
        command::Flags,
        machine::{Call, Locks},
        reply::Reply,
        route::{self, Merge, Part, Plan},
    },
};
use atoll_ring::partition::Partitions;
use bytes::Bytes;

use super::gather::{self, Brought, Source};

/// Commands that go on from partition to partition as they like are no part of a moment.
const WANDERS: &str = "ERR RANDOMKEY and SCAN can't be part of a transaction over several \
                       partitions";

/// A partition's part.
#[derive(Clone, Debug, Default)]
pub(super) struct Site {
    /// Keys that it has to lock, or all.
    keys: BTreeSet<(usize, Bytes)>,
    locks_everything: bool,
    pub(super) watched: Vec<(usize, Bytes, u64)>,
    /// Commands that are to be asked next.
    calls: Vec<Call>,
    /// How many were asked, and these.
    count: usize,
    told: Vec<Reply>,
    now_ms: u64,
}

impl Site {
    pub(super) fn locks(&self) -> Locks {
        match self.locks_everything {
            true => Locks::Everything,
            false => Locks::Keys(self.keys.iter().cloned().collect()),
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &(usize, Bytes)> {
        self.keys.iter()
    }

    pub(super) fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    pub(super) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }
}

/// Where the reply of a step comes from.
#[derive(Clone, Debug)]
enum Slot {
    Told(Reply),
    At(PartitionId, usize),
    /// Of each of these partitions, one.
    Merged(Vec<(PartitionId, usize)>, Vec<Part>, Merge),
    Publish(Publication),
}

/// What a step is waiting for.
#[derive(Clone, Debug)]
enum Waiting {
    /// The values of all its keys.
    Values(Vec<Source>),
    /// How many of its keys there are, by partition.
    Counts(Vec<(PartitionId, usize)>),
}

/// What comes of one step.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Its reply.
    Reply(Reply),
    /// This is to be published; the reply is how many heard it.
    Publish(Publication),
}

/// The commands of a transaction, and how far it has got.
#[derive(Clone, Debug)]
pub struct Program {
    partitions: Partitions,
    steps: Vec<Step>,
    cursor: usize,
    slots: Vec<Slot>,
    waiting: Option<Waiting>,
    sites: BTreeMap<PartitionId, Site>,
    home: PartitionId,
    seed: u64,
    is_watching: bool,
}

impl Program {
    /// `seed` is for what is drawn.
    ///
    /// # Errors
    /// Something of it nobody can do at one moment: why.
    pub fn new(
        steps: Vec<Step>,
        watched: &[(DatabaseKey, Version)],
        partitions: Partitions,
        seed: u64,
    ) -> Result<Program, api::Answer> {
        let mut program = Program {
            partitions,
            steps,
            cursor: 0,
            slots: Vec::new(),
            waiting: None,
            sites: BTreeMap::new(),
            home: PartitionId(0),
            seed,
            is_watching: !watched.is_empty(),
        };
        let mut home = None;
        for (key, version) in watched {
            let partition = partitions.of_key(&key.key);
            let site = program.site(partition);
            site.keys.insert((key.database, key.key.clone()));
            site.watched
                .push((key.database, key.key.clone(), version.0));
            home = home.or(Some(partition));
        }
        for step in std::mem::take(&mut program.steps) {
            if let Step::Call { database, call } = &step {
                let first = program.lock(*database, call)?;
                home = home.or(first);
            }
            program.steps.push(step);
        }
        program.home = home.unwrap_or_default();
        program.site(program.home);
        Ok(program)
    }

    fn site(&mut self, partition: PartitionId) -> &mut Site {
        self.sites.entry(partition).or_default()
    }

    /// Notes what a command needs locked; tells the partition of its first key.
    fn lock(
        &mut self,
        database: usize,
        call: &api::Call,
    ) -> Result<Option<PartitionId>, api::Answer> {
        let all = match self.plan(call)? {
            Plan::Anywhere => return Ok(None),
            Plan::Every(_) => true,
            Plan::Search | Plan::Scan(_) => {
                let refused = Reply::Error(Bytes::from_static(WANDERS.as_bytes()));
                return Err(api::Answer::Reply(refused));
            }
            Plan::Atomic(_) if call.command.name == "swapdb" => true,
            // What looks anywhere would have to be brought from everywhere.
            Plan::Atomic(_) if !gather::names_its_keys(call) => {
                return Err(api::Answer::Refused(Refusal::CrossPartition));
            }
            Plan::One(_) | Plan::Parts(..) | Plan::Atomic(_) => false,
        };
        if all {
            for partition in self.partitions.ids() {
                self.site(partition).locks_everything = true;
            }
            return Ok(self.partitions.ids().next());
        }
        let mut first = None;
        for place in call.command.keys.of(&call.words) {
            let key = call.words.get(place);
            first = first.or(key.map(|key| self.partitions.of_key(key)));
        }
        for (database, key) in gather::keys(database, call) {
            let partition = self.partitions.of_key(&key);
            self.site(partition).keys.insert((database, key));
        }
        if route::reach(call.command, &call.words).is_none()
            && let Some(partition) = first
        {
            // It looks at more than it names, but all of it is there.
            self.site(partition).locks_everything = true;
        }
        Ok(first)
    }

    fn plan(&self, call: &api::Call) -> Result<Plan, api::Answer> {
        let (count, partitions) = (self.partitions.count(), self.partitions);
        route::plan(call.command, &call.words, count, |key| {
            partitions.of_key(key)
        })
        .map_err(|error| api::Answer::Reply(Reply::Error(Bytes::from(error.to_string()))))
    }

    /// The partition that decides: that of the first key.
    pub(super) fn home(&self) -> PartitionId {
        self.home
    }

    /// All partitions that take part, in order.
    pub(super) fn sites(&mut self) -> impl Iterator<Item = (PartitionId, &mut Site)> {
        self.sites.iter_mut().map(|(id, site)| (*id, site))
    }

    /// Who takes part; home is the first.
    pub(super) fn participants(&self) -> Vec<PartitionId> {
        let others = self.sites.keys().filter(|id| **id != self.home);
        std::iter::once(self.home).chain(others.copied()).collect()
    }

    /// Whether it changes nothing, and no key is watched or locked with all others.
    pub(super) fn only_reads(&self) -> bool {
        let reads = self.steps.iter().all(|step| match step {
            Step::Call { call, .. } => !call.command.flags.has(Flags::WRITE),
            Step::Publish(_) => true,
        });
        let names_keys = self.sites.values().all(|site| !site.locks_everything);
        reads && names_keys && !self.is_watching
    }

    /// Says what has to be asked next, as far as that is known; false, once nothing is left to
    /// be asked after these.
    pub(super) fn proceed(&mut self) -> bool {
        if let Some(waiting) = self.waiting.take() {
            self.conclude(waiting);
            self.cursor += 1;
        }
        while let Some(step) = self.steps.get(self.cursor).cloned() {
            match step {
                Step::Publish(publication) => self.slots.push(Slot::Publish(publication)),
                Step::Call { database, call } => {
                    if self.begin(database, &call) {
                        return true;
                    }
                }
            }
            self.cursor += 1;
        }
        false
    }

    /// Begins a step; true, if it has to know something first.
    fn begin(&mut self, database: usize, call: &api::Call) -> bool {
        let slot = match self.plan(call) {
            Err(answer) => match answer {
                api::Answer::Reply(reply) => Slot::Told(reply),
                _ => unreachable!("plans are replies or errors"),
            },
            Ok(Plan::One(partition)) => {
                Slot::At(partition, self.ask(partition, database, &call.words))
            }
            Ok(Plan::Anywhere) => {
                let home = self.home;
                Slot::At(home, self.ask(home, database, &call.words))
            }
            Ok(Plan::Parts(parts, merge)) => self.spread(database, parts, merge),
            Ok(Plan::Every(merge)) => self.everywhere(database, call, merge),
            Ok(Plan::Atomic(_)) if call.command.name == "swapdb" => {
                self.everywhere(database, call, Merge::Status)
            }
            Ok(Plan::Atomic(_)) => match call.command.name {
                "mset" => {
                    let parts = self.pairs(&call.words);
                    self.spread(database, parts, Merge::Status)
                }
                "msetnx" => {
                    let parts = self.pairs(&call.words);
                    let counts = parts.iter().map(|part| {
                        let keys = part.words[1..].iter().step_by(2).cloned();
                        let words: Vec<Bytes> =
                            std::iter::once(Bytes::from("EXISTS")).chain(keys).collect();
                        (part.partition, words)
                    });
                    let counts: Vec<_> = counts.collect();
                    let counts = counts.into_iter().map(|(partition, words)| {
                        (partition, self.ask(partition, database, &words))
                    });
                    self.waiting = Some(Waiting::Counts(counts.collect()));
                    return true;
                }
                _ => {
                    let mut sources = Vec::new();
                    for (database, key) in gather::keys(database, call) {
                        let partition = self.partitions.of_key(&key);
                        let [dump, expires] = gather::questions(database, &key);
                        let place = self.ask(partition, database, &dump.words);
                        self.ask(partition, database, &expires.words);
                        sources.push(Source {
                            database,
                            key,
                            partition,
                            place,
                        });
                    }
                    self.waiting = Some(Waiting::Values(sources));
                    return true;
                }
            },
            // They were refused when the program was made.
            Ok(Plan::Search | Plan::Scan(_)) => {
                Slot::Told(Reply::Error(Bytes::from_static(WANDERS.as_bytes())))
            }
        };
        self.slots.push(slot);
        false
    }

    /// Has a partition run a command; tells the place of its reply.
    fn ask(&mut self, partition: PartitionId, database: usize, words: &[Bytes]) -> usize {
        let site = self.site(partition);
        site.calls.push(Call {
            database,
            words: words.to_vec(),
        });
        site.count += 1;
        site.count - 1
    }

    fn spread(&mut self, database: usize, parts: Vec<Part>, merge: Merge) -> Slot {
        let places = parts.iter();
        let places = places.map(|part| {
            let place = self.ask(part.partition, database, &part.words);
            (part.partition, place)
        });
        Slot::Merged(places.collect(), parts, merge)
    }

    fn everywhere(&mut self, database: usize, call: &api::Call, merge: Merge) -> Slot {
        let parts = self.partitions.ids().map(|partition| Part {
            partition,
            words: call.words.clone(),
            keys: Vec::new(),
        });
        let parts = parts.collect();
        self.spread(database, parts, merge)
    }

    /// Keys and values by their partitions, each with MSET before it.
    fn pairs(&self, words: &[Bytes]) -> Vec<Part> {
        let mut parts: BTreeMap<PartitionId, Part> = BTreeMap::new();
        for (number, pair) in words[1..].chunks_exact(2).enumerate() {
            let partition = self.partitions.of_key(&pair[0]);
            let part = parts.entry(partition).or_insert_with(|| Part {
                partition,
                words: vec![Bytes::from("MSET")],
                keys: Vec::new(),
            });
            part.words.extend_from_slice(pair);
            part.keys.push(number);
        }
        parts.into_values().collect()
    }

    /// Does what a step waited to do.
    fn conclude(&mut self, waiting: Waiting) {
        let Some(Step::Call { database, call }) = self.steps.get(self.cursor).cloned() else {
            return;
        };
        let reply = match waiting {
            Waiting::Counts(counts) => {
                let is_none = |(partition, place): &(PartitionId, usize)| {
                    self.reply(*partition, *place) == Reply::Integer(0)
                };
                let is_free = counts.iter().all(is_none);
                if is_free {
                    let parts = self.pairs(&call.words);
                    self.spread(database, parts, Merge::Status);
                }
                Reply::Integer(is_free.into())
            }
            Waiting::Values(sources) => {
                let now_ms = self.sites.values().map(|site| site.now_ms).max();
                let brought = sources.into_iter().map(|source| Brought {
                    value: self.reply(source.partition, source.place),
                    expires_at_ms: self.reply(source.partition, source.place + 1),
                    source,
                });
                let words = call.words;
                let (reply, back) = gather::run(
                    brought.collect(),
                    Call { database, words },
                    now_ms.unwrap_or_default(),
                    self.seed.wrapping_add(self.cursor as u64),
                );
                for (partition, change) in back {
                    self.ask(partition, change.database, &change.words);
                }
                reply
            }
        };
        self.slots.push(Slot::Told(reply));
    }

    fn reply(&self, partition: PartitionId, place: usize) -> Reply {
        let told = self.sites.get(&partition);
        let told = told.and_then(|site| site.told.get(place));
        told.cloned().unwrap_or_else(|| {
            let text = "ERR a partition answered less than it was asked";
            Reply::Error(Bytes::from_static(text.as_bytes()))
        })
    }

    /// Takes what the commands of a partition that were asked last came to.
    pub(super) fn told(&mut self, partition: PartitionId, now_ms: u64, replies: Vec<Reply>) {
        let site = self.site(partition);
        site.told.extend(replies);
        site.now_ms = site.now_ms.max(now_ms);
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.cursor = 0;
        self.slots.clear();
        self.waiting = None;
        for site in self.sites.values_mut() {
            site.calls.clear();
            site.told.clear();
            site.count = 0;
        }
    }

    /// What each step came to.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let slots = self.slots.iter();
        slots
            .map(|slot| match slot {
                Slot::Publish(publication) => Outcome::Publish(publication.clone()),
                Slot::Told(reply) => Outcome::Reply(reply.clone()),
                Slot::At(partition, place) => Outcome::Reply(self.reply(*partition, *place)),
                Slot::Merged(places, parts, merge) => {
                    let replies = places.iter();
                    let replies = replies.map(|(partition, place)| self.reply(*partition, *place));
                    Outcome::Reply(merge.of_parts(parts, replies.collect()))
                }
            })
            .collect()
    }
}
