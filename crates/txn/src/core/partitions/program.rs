//! What the commands of a transaction mean, partition by partition.
//!
//! Commands whose keys are in one partition run there, in their order. Where the keys of one are
//! in several, what it needs is asked first and what follows from it is done afterwards, so a
//! transaction may take several rounds ([`Program::proceed`]).

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::PartitionId;
use atoll_kv::{
    api::{self, AtomicStep, DatabaseKey, Names, Publication, Refusal, Version},
    core::{
        command::{CommandError, Flags},
        machine::{Answered, Call, Facts, Locks, Script},
        reply::Reply,
        route::{self, Merge, Part, Plan},
    },
};
use atoll_ring::{partition::Partitions, slot::hash_tag};
use bytes::Bytes;

use super::gather::{self, Brought, Job, Ran, Source, Work};

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
    Told(Outcome),
    At(PartitionId, usize),
    /// Of each of these partitions, one.
    Merged(Vec<(PartitionId, usize)>, Vec<Part>, Merge),
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
    /// What a script came to.
    Ran {
        /// Its reply.
        reply: Reply,
        /// What it wants published.
        publications: Vec<Publication>,
        /// What else is to be known of it.
        facts: Facts,
    },
}

impl Outcome {
    /// What a machine said of a script.
    pub(super) fn of_script(answered: Answered) -> Outcome {
        let (answered, publications, facts) = match answered {
            Answered::Ran {
                answered,
                publications,
                facts,
            } => (*answered, publications, facts),
            other => (other, Vec::new(), Facts::default()),
        };
        let reply = match answered {
            Answered::Reply(reply) => reply,
            other => Reply::Error(Bytes::from(format!("ERR a script came to {other:?}"))),
        };
        Outcome::Ran {
            reply,
            publications,
            facts,
        }
    }
}

/// What has to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask what is to be asked; the answers say what follows.
    Ask,
    /// Run what is to be run.
    Run,
    /// Ask what is to be asked; nothing follows.
    Last,
    /// There are other names than there were: nothing is to be done.
    Discard,
}

/// The commands of a transaction, and how far it has got.
#[derive(Clone, Debug)]
pub struct Program {
    partitions: Partitions,
    steps: Vec<AtomicStep>,
    cursor: usize,
    slots: Vec<Slot>,
    waiting: Option<Waiting>,
    job: Option<Job>,
    sites: BTreeMap<PartitionId, Site>,
    home: PartitionId,
    seed: u64,
    /// When it was begun; what scripts see that only read.
    begun_ms: u64,
    is_watching: bool,
    names: Vec<Names>,
    /// Where it was asked for each of them which there are, once it was.
    names_at: Option<Vec<Vec<(PartitionId, usize)>>>,
    has_seen_names: bool,
}

impl Program {
    /// `begun_ms` is the time now, since 1970, and `seed` is for what is drawn.
    ///
    /// # Errors
    /// Something of it nobody can do at one moment: why.
    pub fn new(
        steps: Vec<AtomicStep>,
        watched: &[(DatabaseKey, Version)],
        names: Vec<Names>,
        partitions: Partitions,
        begun_ms: u64,
        seed: u64,
    ) -> Result<Program, api::Answer> {
        let mut program = Program {
            partitions,
            steps,
            cursor: 0,
            slots: Vec::new(),
            waiting: None,
            job: None,
            sites: BTreeMap::new(),
            home: PartitionId(0),
            seed,
            begun_ms,
            is_watching: !watched.is_empty() || !names.is_empty(),
            names,
            names_at: None,
            has_seen_names: false,
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
            let first = match &step {
                AtomicStep::Call { database, call } => program.lock(*database, call)?,
                AtomicStep::Script(script) => program.lock_keys(script_keys(script)),
                AtomicStep::Publish(_) | AtomicStep::Told(_) => None,
            };
            home = home.or(first);
            program.steps.push(step);
        }
        for names in program.names.clone() {
            let all = program.partitions_of(&names.prefix);
            for partition in &all {
                program.site(*partition).locks_everything = true;
            }
            home = home.or(all.first().copied());
        }
        program.home = home.unwrap_or_default();
        program.site(program.home);
        Ok(program)
    }

    /// The same, decided by a partition that may have no key of it.
    #[must_use]
    pub fn with_home(mut self, home: PartitionId) -> Program {
        self.home = home;
        self.site(home);
        self
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
        self.lock_keys(gather::keys(database, call));
        if route::reach(call.command, &call.words).is_none()
            && let Some(partition) = first
        {
            // It looks at more than it names, but all of it is there.
            self.site(partition).locks_everything = true;
        }
        Ok(first)
    }

    /// Notes that keys are to be locked; tells the partition of the first.
    fn lock_keys(&mut self, keys: impl IntoIterator<Item = (usize, Bytes)>) -> Option<PartitionId> {
        let mut first = None;
        for (database, key) in keys {
            let partition = self.partitions.of_key(&key);
            first = first.or(Some(partition));
            self.site(partition).keys.insert((database, key));
        }
        first
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
            AtomicStep::Call { call, .. } => !call.command.flags.has(Flags::WRITE),
            AtomicStep::Script(script) => script.reads,
            AtomicStep::Publish(_) | AtomicStep::Told(_) => true,
        });
        let names_keys = self.sites.values().all(|site| !site.locks_everything);
        reads && names_keys && !self.is_watching
    }

    /// Where all keys are that begin so.
    fn partitions_of(&self, prefix: &[u8]) -> Vec<PartitionId> {
        match hash_tag(prefix) == prefix {
            // What follows may bring a tag of its own.
            true => self.partitions.ids().collect(),
            false => vec![self.partitions.of_key(prefix)],
        }
    }

    /// Asks which names there are.
    fn ask_for_names(&mut self) {
        let mut all = Vec::new();
        for names in self.names.clone() {
            let words = [Bytes::from_static(b"KEYS"), pattern(&names.prefix)];
            let places = self.partitions_of(&names.prefix).into_iter();
            let places =
                places.map(|partition| (partition, self.ask(partition, names.database, &words)));
            all.push(places.collect());
        }
        self.names_at = Some(all);
    }

    /// Whether there are the names that there were, and no others.
    fn finds_names(&self, asked: &[Vec<(PartitionId, usize)>]) -> bool {
        self.names.iter().zip(asked).all(|(names, places)| {
            let mut found = BTreeSet::new();
            for (partition, place) in places {
                let Reply::Array(keys) = self.reply(*partition, *place) else {
                    return false;
                };
                found.extend(keys.into_iter().filter_map(|key| match key {
                    Reply::Bulk(key) => Some(key),
                    _ => None,
                }));
            }
            found == names.keys
        })
    }

    /// Says what has to be done next, as far as that is known.
    pub(super) fn proceed(&mut self) -> Next {
        if !self.has_seen_names && !self.names.is_empty() {
            match self.names_at.take() {
                None => {
                    self.ask_for_names();
                    return Next::Ask;
                }
                Some(asked) if self.finds_names(&asked) => self.has_seen_names = true,
                Some(_) => return Next::Discard,
            }
        }
        if let Some(waiting) = self.waiting.take() {
            if self.conclude(waiting) {
                return Next::Run;
            }
            self.cursor += 1;
        }
        while let Some(step) = self.steps.get(self.cursor).cloned() {
            match step {
                AtomicStep::Publish(publication) => {
                    self.slots.push(Slot::Told(Outcome::Publish(publication)));
                }
                AtomicStep::Told(reply) => self.slots.push(Slot::Told(Outcome::Reply(reply))),
                AtomicStep::Script(script) => {
                    self.bring(script_keys(&script));
                    return Next::Ask;
                }
                AtomicStep::Call { database, call } => {
                    if self.begin(database, &call) {
                        return Next::Ask;
                    }
                }
            }
            self.cursor += 1;
        }
        Next::Last
    }

    /// What is to be run, once.
    pub(super) fn take_job(&mut self) -> Option<Job> {
        self.job.take()
    }

    /// Takes what came of what was run; [`proceed`](Self::proceed) goes on from there.
    pub(super) fn ran(&mut self, ran: Ran) {
        for (partition, change) in ran.back {
            self.ask(partition, change.database, &change.words);
        }
        self.slots.push(Slot::Told(ran.outcome));
        self.cursor += 1;
    }

    /// Asks for the values of keys.
    fn bring(&mut self, keys: BTreeSet<(usize, Bytes)>) {
        let sources = keys.into_iter().map(|(database, key)| {
            let partition = self.partitions.of_key(&key);
            let [dump, expires] = gather::questions(database, &key);
            let place = self.ask(partition, database, &dump.words);
            self.ask(partition, database, &expires.words);
            Source {
                database,
                key,
                partition,
                place,
            }
        });
        self.waiting = Some(Waiting::Values(sources.collect()));
    }

    /// Begins a step; true, if it has to know something first.
    fn begin(&mut self, database: usize, call: &api::Call) -> bool {
        let slot = match self.plan(call) {
            Err(answer) => match answer {
                api::Answer::Reply(reply) => Slot::Told(Outcome::Reply(reply)),
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
                // A key without its value: nothing is set.
                name @ ("mset" | "msetnx") if call.words.len().is_multiple_of(2) => {
                    let error = CommandError::Arity(name).to_string();
                    Slot::Told(Outcome::Reply(Reply::Error(Bytes::from(error))))
                }
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
                    self.bring(gather::keys(database, call));
                    return true;
                }
            },
            // They were refused when the program was made.
            Ok(Plan::Search | Plan::Scan(_)) => {
                let refused = Reply::Error(Bytes::from_static(WANDERS.as_bytes()));
                Slot::Told(Outcome::Reply(refused))
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

    /// Does what a step waited to do; true, if there is something to be run first.
    fn conclude(&mut self, waiting: Waiting) -> bool {
        let work = match (self.steps.get(self.cursor).cloned(), &waiting) {
            (Some(AtomicStep::Call { database, call }), Waiting::Counts(counts)) => {
                let is_none = |(partition, place): &(PartitionId, usize)| {
                    self.reply(*partition, *place) == Reply::Integer(0)
                };
                let is_free = counts.iter().all(is_none);
                if is_free {
                    let parts = self.pairs(&call.words);
                    self.spread(database, parts, Merge::Status);
                }
                let told = Outcome::Reply(Reply::Integer(is_free.into()));
                self.slots.push(Slot::Told(told));
                return false;
            }
            (Some(AtomicStep::Call { database, call }), Waiting::Values(_)) => Work::Call(Call {
                database,
                words: call.words,
            }),
            (Some(AtomicStep::Script(script)), _) => Work::Script(script),
            // Nothing else waits.
            _ => return false,
        };
        let Waiting::Values(sources) = waiting else {
            return false;
        };
        let brought = sources.into_iter().map(|source| Brought {
            value: self.reply(source.partition, source.place),
            expires_at_ms: self.reply(source.partition, source.place + 1),
            source,
        });
        // Reads don't tell their time.
        let told_ms = self.sites.values().map(|site| site.now_ms).max();
        let now_ms = told_ms.filter(|now_ms| *now_ms > 0);
        self.job = Some(Job {
            brought: brought.collect(),
            work,
            now_ms: now_ms.unwrap_or(self.begun_ms),
            seed: self.seed.wrapping_add(self.cursor as u64),
        });
        true
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
        self.job = None;
        self.names_at = None;
        self.has_seen_names = false;
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
                Slot::Told(outcome) => outcome.clone(),
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

/// Databases and keys that a script declares.
fn script_keys(script: &Script) -> BTreeSet<(usize, Bytes)> {
    let keys = script.keys.iter();
    keys.map(|key| (script.database, key.clone())).collect()
}

/// The pattern of names that begin so (Redis: "KEYS").
pub fn pattern(prefix: &[u8]) -> Bytes {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for byte in prefix {
        if b"*?[]^-\\".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    Bytes::from(pattern)
}
