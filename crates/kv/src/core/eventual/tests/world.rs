//! A few replicas with their disks, a network that loses, doubles and delays, clocks that are
//! wrong, clients on all sides; all that happens follows from a seed.

mod rest;

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::{ConfigurationNumber, ReplicaId};
use bytes::Bytes;

use super::{
    super::{
        Author, Life,
        clock::Stamp,
        item::{Item, Part},
        membership::Members,
        message::{Message, Packet},
        partition::{Partition, Ready, Record, Settings, SyncTimes},
        quorum::{Level, QuorumLimits},
        replica::Delta,
    },
    client,
    model::{Model, Write},
};
use crate::core::{chance, reply::Reply};

/// An arbitrary day.
const BEGIN_MS: u64 = 1_700_000_000_000;
/// Clocks are wrong by at most so much, in milliseconds: two of them by less than is accepted.
const SKEW_MS_MAX: u64 = 1_000;

/// What may be done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    None,
    /// An increment is a SET of the sum.
    CountersAsStrings,
    /// What is told is added, instead of joined.
    AddsWhatIsTold,
    /// Tombstones go when they are written.
    CollectsEarly,
    /// Messages and answers go out before what they speak for is on disk.
    SpeaksBeforeSync,
    /// A replica that lost its disk comes back under its id.
    ForgetsAndComesBack,
}

struct Node {
    author: Author,
    partition: Partition,
    skew_ms: u64,
    run: u32,
    /// Snapshot and records.
    disk: (Bytes, Vec<Bytes>),
    /// Not synced yet.
    waiting: Vec<Ready>,
    /// What came and was taken, and rests on what is not synced yet.
    taken: Vec<Delta>,
    /// Its newest write.
    newest: Stamp,
    /// Its writes that are not synced yet.
    unsynced: BTreeSet<Stamp>,
    side: usize,
}

struct Letter {
    from: ReplicaId,
    to: ReplicaId,
    bytes: Bytes,
}

pub(super) struct World {
    random: u64,
    now_ms: u64,
    mistake: Mistake,
    /// Whether a replica that was replaced may become a member again.
    comes_back: bool,
    members: Members,
    nodes: BTreeMap<ReplicaId, Node>,
    letters: Vec<Letter>,
    model: Model,
    /// Replicas that were replaced, in the lives that ended with that.
    lost: BTreeSet<Author>,
    /// Requests that need another replica's word: the write's stamp.
    asked: BTreeMap<u64, (Author, Stamp)>,
    last_request: u64,
    error: Option<String>,
}

fn settings() -> Settings {
    Settings {
        quorum: QuorumLimits {
            wait_ms: 300,
            ..QuorumLimits::default()
        },
        sync: SyncTimes { every_ms: 300 },
        ..Settings::default()
    }
}

impl World {
    pub(super) fn new(seed: u64, mistake: Mistake) -> World {
        let mut random = seed;
        let count = 3 + chance::below(&mut random, 3) as u64;
        let members = Members {
            number: ConfigurationNumber(1),
            replicas: (1..=count).map(ReplicaId).collect(),
        };
        let mut world = World {
            random,
            now_ms: BEGIN_MS,
            mistake,
            comes_back: seed % 2 == 1,
            members: members.clone(),
            nodes: BTreeMap::new(),
            letters: Vec::new(),
            model: Model::default(),
            lost: BTreeSet::new(),
            asked: BTreeMap::new(),
            last_request: 0,
            error: None,
        };
        for id in members.replicas {
            world.add(Author::new(id, Life::FIRST), true);
        }
        world
    }

    fn below(&mut self, bound: usize) -> usize {
        chance::below(&mut self.random, bound)
    }

    fn add(&mut self, author: Author, is_filled: bool) {
        let partition = Partition::new(author, self.members.clone(), is_filled, 0, settings());
        let node = Node {
            author,
            disk: (partition.encode(), Vec::new()),
            partition,
            skew_ms: self.below(SKEW_MS_MAX as usize * 2) as u64,
            run: 0,
            waiting: Vec::new(),
            taken: Vec::new(),
            newest: Stamp::ZERO,
            unsynced: BTreeSet::new(),
            side: 0,
        };
        self.nodes.insert(author.replica(), node);
        self.after(author.replica(), 0);
    }

    /// What a node's clock says.
    fn now_ms(&self, id: ReplicaId) -> u64 {
        self.now_ms + self.nodes[&id].skew_ms - SKEW_MS_MAX
    }

    fn any(&mut self) -> ReplicaId {
        let at = self.below(self.nodes.len());
        *self.nodes.keys().nth(at).expect("some")
    }

    /// Takes what a node wants done, and notes its own writes; `added` is the sum of increments.
    fn after(&mut self, id: ReplicaId, added: i128) {
        let node = self.nodes.get_mut(&id).expect("there");
        if self.mistake == Mistake::CollectsEarly {
            node.partition.collects_early();
        }
        let ready = node.partition.ready();
        let author = node.author;
        for record in &ready.records {
            let Record::Joined { delta, .. } = record else {
                continue;
            };
            for (key, item) in delta {
                let stamp = item.newest();
                if stamp.author() == author && stamp > node.newest {
                    node.unsynced.insert(stamp);
                    let (by, key, mut item) = (author, key.clone(), item.clone());
                    if self.mistake == Mistake::CountersAsStrings && added != 0 {
                        // What the client asked for, whatever became of it.
                        item = Item::default();
                        let (since, total) = (stamp, added);
                        item.count(
                            author,
                            Part {
                                since,
                                stamp,
                                total,
                            },
                        );
                    }
                    self.model.writes.push(Write {
                        by,
                        stamp,
                        key,
                        item,
                        added,
                        is_told: false,
                    });
                }
            }
            let own = delta
                .iter()
                .map(|(_, item)| item.newest())
                .filter(|stamp| stamp.author() == author);
            node.newest = own.fold(node.newest, Stamp::max);
        }
        if ready != Ready::default() {
            node.waiting.push(ready);
        }
        if self.mistake == Mistake::SpeaksBeforeSync {
            self.speak(id);
        }
    }

    /// Sends and answers.
    fn speak(&mut self, id: ReplicaId) {
        let node = self.nodes.get_mut(&id).expect("there");
        for ready in &mut node.waiting {
            for (to, packet) in std::mem::take(&mut ready.messages) {
                let bytes = packet.encode();
                self.letters.push(Letter {
                    from: id,
                    to,
                    bytes,
                });
            }
            for (request, reply) in std::mem::take(&mut ready.answers) {
                let Some((by, stamp)) = self.asked.remove(&request) else {
                    continue;
                };
                let is_taken = !matches!(reply, Reply::Error(_));
                let write = self
                    .model
                    .writes
                    .iter()
                    .find(|write| write.by == by && write.stamp == stamp);
                if is_taken && !write.is_some_and(|write| write.is_told) {
                    self.error = Some(format!("{stamp} was answered, and no other replica has it"));
                }
            }
        }
    }

    /// Syncs a node's disk, sends and answers.
    fn sync(&mut self, id: ReplicaId) {
        let node = self.nodes.get_mut(&id).expect("there");
        for ready in &node.waiting {
            for record in &ready.records {
                node.disk.1.push(record.encode());
                if let Record::Joined { delta, .. } = record {
                    self.model.synced(node.author, delta);
                }
            }
        }
        for delta in std::mem::take(&mut node.taken) {
            self.model.synced(node.author, &delta);
        }
        self.speak(id);
        let node = self.nodes.get_mut(&id).expect("there");
        node.waiting.clear();
        node.unsynced.clear();
    }

    fn snapshot(&mut self, id: ReplicaId) {
        self.sync(id);
        let node = self.nodes.get_mut(&id).expect("there");
        node.disk = (node.partition.encode(), Vec::new());
    }

    /// Loses what was not synced, and starts again.
    fn crash(&mut self, id: ReplicaId) {
        let node = self.nodes.get_mut(&id).expect("there");
        node.waiting.clear();
        node.taken.clear();
        let stamps = std::mem::take(&mut node.unsynced);
        node.run += 1;
        let records = node
            .disk
            .1
            .iter()
            .map(|bytes| Record::decode(bytes.clone()).expect("a record"));
        let restored = Partition::restore(node.disk.0.clone(), records, node.run, settings());
        node.partition = restored.expect("a snapshot");
        let author = node.author;
        self.model.lose(author, &stamps);
        // What nobody has heard of may be stamped again.
        let writes = self.model.writes.iter().filter(|write| write.by == author);
        let newest = writes.map(|write| write.stamp).max();
        self.nodes.get_mut(&id).expect("there").newest = newest.unwrap_or_default();
        self.after(id, 0);
    }

    /// A replica's place is taken by a new one. It may go on for a while, on its own.
    fn replace(&mut self, id: ReplicaId) {
        if !self.lost.is_empty() {
            return;
        }
        let new = ReplicaId(self.members.replicas.iter().max().expect("some").0 + 1);
        if self.mistake == Mistake::ForgetsAndComesBack {
            let node = self.nodes.get_mut(&id).expect("there");
            let author = node.author;
            let partition = Partition::new(author, self.members.clone(), true, 1, settings());
            node.waiting.clear();
            node.taken.clear();
            node.unsynced.clear();
            // What nobody else has is lost in any case.
            let writes = &mut self.model.writes;
            writes.retain(|write| write.by != author || write.is_told);
            node.disk = (partition.encode(), Vec::new());
            node.partition = partition;
            self.after(id, 0);
            return;
        }
        self.lost.insert(self.nodes[&id].author);
        self.members.number.0 += 1;
        self.members.replicas.remove(&id);
        self.members.replicas.insert(new);
        if self.below(2) == 0 {
            self.nodes.remove(&id);
        }
        self.add(Author::new(new, Life::FIRST), false);
    }

    /// The replica that was replaced becomes a member beside the others: with nothing, whatever
    /// it held before.
    fn come_back(&mut self) {
        let gone = *self.lost.first().expect("one was replaced");
        let id = gone.replica();
        if self.members.replicas.contains(&id) {
            return;
        }
        self.members.number.0 += 1;
        self.members.replicas.insert(id);
        self.nodes.remove(&id);
        let life = gone.life().next().expect("there are more");
        self.add(Author::new(id, life), false);
    }

    fn hear(&mut self, id: ReplicaId) {
        // Whoever is no member is not told.
        if self.members.replicas.contains(&id) {
            let (members, now_ms) = (self.members.clone(), self.now_ms(id));
            self.nodes
                .get_mut(&id)
                .expect("there")
                .partition
                .configure(members, now_ms);
            self.after(id, 0);
        }
    }

    fn deliver(&mut self, at: usize, again: bool) {
        let letter = match again {
            true => {
                let Letter { from, to, bytes } = &self.letters[at];
                Letter {
                    from: *from,
                    to: *to,
                    bytes: bytes.clone(),
                }
            }
            false => self.letters.swap_remove(at),
        };
        let side = |id: ReplicaId| self.nodes.get(&id).map(|node| node.side);
        // A letter of one that is gone may still arrive.
        if side(letter.to).is_none()
            || side(letter.from).is_some_and(|from| Some(from) != side(letter.to))
        {
            return;
        }
        let packet = Packet::decode(letter.bytes).expect("a packet");
        let now_ms = self.now_ms(letter.to);
        if self.mistake == Mistake::AddsWhatIsTold
            && let Message::Delta { delta, .. } = &packet.message
            && let Some(part) = delta
                .iter()
                .find_map(|(_, item)| item.parts().next().copied())
        {
            let words =
                ["INCRBY", "n0", &part.total.to_string()].map(|word| Bytes::from(word.to_owned()));
            let node = self.nodes.get_mut(&letter.to).expect("there");
            let _ = node
                .partition
                .request(0, words.to_vec(), Level::One, Level::One, now_ms);
            self.after(letter.to, 0);
            return;
        }
        let node = self.nodes.get_mut(&letter.to).expect("there");
        let told = match &packet.message {
            Message::Delta { delta, .. } => Some(delta.clone()),
            _ => None,
        };
        if let Err(ahead) = node.partition.step(letter.from, packet, now_ms) {
            self.error = Some(ahead.to_string());
        }
        let waiting = node.waiting.len();
        self.after(letter.to, 0);
        let node = self.nodes.get_mut(&letter.to).expect("there");
        let mut said = node.waiting[waiting..].iter().flat_map(|it| &it.messages);
        if said.any(|(_, packet)| matches!(packet.message, Message::Ack { .. })) {
            // What is newer may have been here already, and then nothing is written.
            node.taken.extend(told);
        }
    }

    fn tick(&mut self, id: ReplicaId) {
        let now_ms = self.now_ms(id);
        self.nodes
            .get_mut(&id)
            .expect("there")
            .partition
            .tick(now_ms);
        self.after(id, 0);
    }

    fn client(&mut self, id: ReplicaId) {
        let (mut call, added) = client::call(&mut self.random);
        let now_ms = self.now_ms(id);
        let node = self.nodes.get_mut(&id).expect("there");
        if self.mistake == Mistake::CountersAsStrings && added != 0 {
            let key = call.split(' ').nth(1).expect("a key").to_owned();
            let sum = node
                .partition
                .replica()
                .live(key.as_bytes(), now_ms)
                .sum()
                .unwrap_or(0)
                + added;
            call = format!("SET {key} {sum}");
        }
        let levels = [Level::One, Level::One, Level::Quorum, Level::All];
        let (write, read) = (
            levels[chance::below(&mut self.random, 4)],
            levels[chance::below(&mut self.random, 4)],
        );
        let words = call
            .split(' ')
            .map(|word| Bytes::from(word.to_owned()))
            .collect();
        self.last_request += 1;
        let request = self.last_request;
        let before = self.model.writes.len();
        if node
            .partition
            .request(request, words, write, read, now_ms)
            .is_err()
        {
            return;
        }
        self.after(id, added);
        let needs_others = write != Level::One && self.members.replicas.len() > 2;
        if needs_others && let Some(write) = self.model.writes.get(before) {
            self.asked.insert(request, (write.by, write.stamp));
        }
    }

    fn happen(&mut self) {
        self.now_ms += self.below(60) as u64;
        let id = self.any();
        if self.comes_back && !self.lost.is_empty() && self.below(10) == 0 {
            self.come_back();
        }
        match self.below(100) {
            0..25 => self.client(id),
            25..60 if !self.letters.is_empty() => {
                let at = self.below(self.letters.len());
                match self.below(12) {
                    0 => drop(self.letters.swap_remove(at)),
                    1 => self.deliver(at, true),
                    _ => self.deliver(at, false),
                }
            }
            60..80 => self.sync(id),
            80..92 => self.tick(id),
            92 => self.snapshot(id),
            93 => self.crash(id),
            94 if self.below(4) == 0 => self.replace(id),
            95..97 => self.hear(id),
            97 => {
                for node in self.nodes.values_mut() {
                    node.side = chance::below(&mut self.random, 2);
                }
            }
            98 => self.nodes.values_mut().for_each(|node| node.side = 0),
            _ => self.now_ms += self.below(2_000) as u64,
        }
    }
}
