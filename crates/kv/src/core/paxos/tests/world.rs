//! A few replicas, what their disks hold, and all letters that are on their way: one state of a
//! search, with what may happen next.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{
    super::{
        Ballot, Configuration, Done, Durable, Entry, Forgotten, LogIndex, Message, Position, Proof,
        Record, Replica, Settings, Voters,
    },
    batch, members, replica,
};

/// What may happen, and how often.
#[derive(Clone, Debug, Hash)]
pub(super) struct Bounds {
    /// The first configuration.
    pub(super) members: &'static [u64],
    /// Where the partition moves, if it does.
    pub(super) moves_to: Option<&'static [u64]>,
    /// Whether the move is finished without the proof of a commit: a mistake.
    pub(super) leaves_early: bool,
    /// Attempts to take over, and who makes them.
    pub(super) takeovers: u32,
    pub(super) takers: &'static [u64],
    pub(super) proposals: usize,
    /// How often the first replica's machine loses power: with it goes what was not synced. The
    /// others sync at once.
    pub(super) crashes: u32,
    /// Whether replicas but the first are let go once they have no part in what was decided last.
    pub(super) forgets: bool,
    /// Whether they then come back into the first configuration, as their node may see it after
    /// a start: a mistake.
    pub(super) comes_back: bool,
}

#[derive(Clone)]
struct Letter {
    print: u64,
    from: usize,
    to: usize,
    message: Message,
}

/// A state.
#[derive(Clone)]
pub(super) struct World {
    bounds: Bounds,
    settings: Settings,
    replicas: Vec<(u64, Arc<Replica>)>,
    /// What stays of those that were let go.
    forgotten: BTreeMap<usize, Forgotten>,
    /// The first replica's.
    disk: Durable,
    unsynced: Vec<Record>,
    written: u64,
    letters: Vec<Arc<Letter>>,
    /// What the control plane has decided last.
    decided: Configuration,
    /// Every entry that was handed out.
    committed: BTreeMap<LogIndex, Entry>,
    owned: BTreeSet<Ballot>,
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Deliver(usize),
    Sync,
    /// So many records of those that were not synced are on disk all the same.
    Crash(usize),
    TakeOver(usize),
    Propose(usize),
    DecideJoint,
    DecideNew,
    /// A replica hears of what was decided.
    Hear(usize),
    /// A replica is let go.
    Forget(usize),
    /// It begins anew under the first configuration.
    ComeBack(usize),
}

fn print(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

const PROPOSALS: [&str; 4] = ["first", "second", "third", "fourth"];

impl World {
    /// The first replica owns a ballot that everybody knows of.
    pub(super) fn new(bounds: Bounds, settings: Settings) -> World {
        let decided = Configuration::first(members(bounds.members));
        let mut all: Vec<u64> = bounds.members.to_vec();
        all.extend(bounds.moves_to.unwrap_or_default());
        all.sort_unstable();
        all.dedup();
        let replicas = all.iter().map(|id| {
            let replica = replica(*id, &decided, settings);
            (0, Arc::new(replica))
        });
        let mut world = World {
            disk: Durable::new(decided.clone()),
            replicas: replicas.collect(),
            forgotten: BTreeMap::new(),
            bounds,
            settings,
            unsynced: Vec::new(),
            written: 0,
            letters: Vec::new(),
            decided,
            committed: BTreeMap::new(),
            owned: BTreeSet::new(),
        };
        world.change(0, |replica| replica.stand(0));
        loop {
            let next = if !world.unsynced.is_empty() {
                Event::Sync
            } else if !world.letters.is_empty() {
                Event::Deliver(0)
            } else {
                break;
            };
            world.happen(next);
        }
        world
    }

    /// Names the state.
    pub(super) fn print(&self) -> u64 {
        let replicas: Vec<u64> = self.replicas.iter().map(|(print, _)| *print).collect();
        let letters: Vec<u64> = self.letters.iter().map(|letter| letter.print).collect();
        print(&(
            (replicas, letters, &self.disk, &self.unsynced),
            (&self.bounds, &self.decided, &self.committed, &self.owned),
            &self.forgotten,
        ))
    }

    /// All that may happen.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events: Vec<Event> = (0..self.letters.len()).map(Event::Deliver).collect();
        if !self.unsynced.is_empty() {
            events.push(Event::Sync);
        }
        if self.bounds.crashes > 0 {
            events.extend((0..=self.unsynced.len()).map(Event::Crash));
        }
        let mut proof = None;
        for (at, (_, replica)) in self.replicas.iter().enumerate() {
            if let Some(forgotten) = self.forgotten.get(&at) {
                let first = Configuration::first(members(self.bounds.members));
                let may = forgotten.lets_begin_in(&first) || self.bounds.comes_back;
                events.extend((may && first.is_voter(replica.id())).then_some(Event::ComeBack(at)));
                continue;
            }
            if self.may_forget(at) {
                events.push(Event::Forget(at));
            }
            let is_owner = replica.owned().is_some();
            let may_take = self.bounds.takers.contains(&replica.id().0)
                && replica.configuration().is_voter(replica.id());
            if self.bounds.takeovers > 0 && may_take && !is_owner {
                events.push(Event::TakeOver(at));
            }
            if self.bounds.proposals > 0 && is_owner {
                events.push(Event::Propose(at));
            }
            if replica.configuration().number < self.decided.number {
                events.push(Event::Hear(at));
            }
            proof = proof.or(self.proof_of(replica));
        }
        match &self.decided.voters {
            Voters::Stable { .. } if self.bounds.moves_to.is_some() => {
                events.push(Event::DecideJoint);
            }
            Voters::Joint { .. } if proof.is_some() || self.bounds.leaves_early => {
                events.push(Event::DecideNew);
            }
            _ => {}
        }
        events
    }

    /// Whether a replica has no part in what was decided, and knows of nothing newer.
    fn may_forget(&self, at: usize) -> bool {
        let replica = &self.replicas[at].1;
        let is_stable = matches!(self.decided.voters, Voters::Stable { .. });
        let has_part = self.decided.is_voter(replica.id()) || self.bounds.moves_to.is_some();
        let forgotten = Forgotten::of(replica.durable(), self.decided.number);
        self.bounds.forgets && at != 0 && is_stable && !has_part && forgotten.is_some()
    }

    fn proof_of(&self, replica: &Replica) -> Option<Proof> {
        let proof = replica.joint_proof()?;
        (proof.committed.birth.configuration == self.decided.number).then_some(proof)
    }

    /// The state after an event.
    ///
    /// # Errors
    /// What must not be.
    pub(super) fn after(&self, event: Event) -> Result<World, String> {
        let mut world = self.clone();
        world.happen(event);
        world.check()?;
        Ok(world)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver(at) => {
                let letter = self.letters.remove(at);
                let from = self.replicas[letter.from].1.id();
                let message = letter.message.clone();
                self.change(letter.to, |replica| replica.step(from, message, 0));
            }
            Event::Sync => {
                for record in std::mem::take(&mut self.unsynced) {
                    self.disk.apply(record);
                }
                let written = self.written;
                self.change(0, |replica| replica.advance(Done::Synced(written)));
            }
            Event::Crash(kept) => {
                self.bounds.crashes -= 1;
                for record in std::mem::take(&mut self.unsynced).into_iter().take(kept) {
                    self.disk.apply(record);
                }
                self.written = 0;
                let id = self.replicas[0].1.id();
                let restarted = Replica::new(id, self.disk.clone(), self.settings, id.0);
                self.change(0, |replica| *replica = restarted);
            }
            Event::TakeOver(at) => {
                self.bounds.takeovers -= 1;
                self.change(at, |replica| replica.stand(0));
            }
            Event::Propose(at) => {
                self.bounds.proposals -= 1;
                let payload = batch(PROPOSALS[self.bounds.proposals]);
                self.change(at, |replica| {
                    replica.propose(payload).expect("it owns the ballot");
                });
            }
            Event::DecideJoint => {
                let new = members(self.bounds.moves_to.take().expect("it moves"));
                self.decided = self.decided.joint(new).expect("it was stable");
            }
            Event::DecideNew => {
                let proof = self.replicas.iter().find_map(|(_, it)| self.proof_of(it));
                let early = Proof {
                    committed: Position {
                        birth: Ballot {
                            configuration: self.decided.number,
                            ..Ballot::default()
                        },
                        index: LogIndex(1),
                    },
                };
                let new = self.decided.finish(proof.unwrap_or(early));
                self.decided = new.expect("it was joint");
            }
            Event::Hear(at) => {
                let decided = self.decided.clone();
                self.change(at, |replica| replica.configure(decided, 0));
            }
            Event::Forget(at) => {
                let configuration = self.decided.number;
                self.forgotten.insert(at, Forgotten { configuration });
                // Nothing of it is left.
                let first = Configuration::first(members(self.bounds.members));
                let id = self.replicas[at].1.id();
                let empty = replica(id.0, &first, self.settings);
                self.change(at, |replica| *replica = empty);
            }
            Event::ComeBack(at) => {
                self.forgotten.remove(&at);
                self.bounds.forgets = false;
            }
        }
        self.forget_useless();
    }

    /// Changes a replica, and does what it then wants done.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Replica)) {
        let replica = Arc::make_mut(&mut self.replicas[at].1);
        let owned = replica.owned();
        change(replica);
        loop {
            let ready = replica.ready();
            if ready.is_empty() {
                break;
            }
            if at == 0 {
                self.unsynced.extend(ready.records);
                self.written = ready.written;
            } else {
                replica.advance(Done::Synced(ready.written));
            }
            for entry in ready.committed {
                let first = self.committed.entry(entry.index());
                let first = first.or_insert_with(|| entry.clone());
                assert_eq!(*first, entry, "replicas hand out different entries");
            }
            for (to, message) in ready.messages {
                let to = usize::try_from(to.0 - 1).expect("few");
                let letter = Letter {
                    print: print(&(at, to, &message)),
                    from: at,
                    to,
                    message,
                };
                self.letters.push(Arc::new(letter));
            }
        }
        if let Some(ballot) = replica.owned().filter(|now| Some(*now) != owned) {
            assert!(
                self.owned.insert(ballot),
                "{ballot} is owned for the second time"
            );
        }
        let it = &mut self.replicas[at];
        it.0 = print(&it.1);
        // The order in which they were sent says nothing.
        self.letters.sort_unstable_by_key(|letter| letter.print);
        self.letters.dedup_by_key(|letter| letter.print);
    }

    /// Takes out answers to who does not listen any more: delivered now or ever, they change
    /// nothing.
    fn forget_useless(&mut self) {
        let replicas = &self.replicas;
        let sound = self.settings.rules.is_sound();
        let forgotten = &self.forgotten;
        self.letters.retain(|letter| {
            if forgotten.contains_key(&letter.to) {
                return false;
            }
            let to = &replicas[letter.to].1;
            match &letter.message {
                Message::Promise { ballot, .. }
                | Message::Tail { ballot, .. }
                | Message::Ack { ballot, .. }
                | Message::Need { ballot, .. } => {
                    to.owned() == Some(*ballot)
                        || (to.is_taking_over() && to.durable().promised == *ballot)
                }
                // A refusal makes nothing safer or less safe; its configuration is heard of
                // otherwise.
                Message::Nack { .. } => false,
                // Would be refused. The first replica may forget its promise, though.
                Message::Prepare { ballot, .. }
                | Message::Accept { ballot, .. }
                | Message::Commit { ballot, .. }
                    if sound && letter.to != 0 =>
                {
                    *ballot >= to.durable().promised
                }
                Message::Confirm { .. } | Message::Confirmed { .. } => false,
                _ => true,
            }
        });
    }

    /// What was handed out stays in the log of whoever handed it out.
    fn check(&self) -> Result<(), String> {
        for (_, replica) in &self.replicas {
            for (index, entry) in self.committed.range(..=replica.commit()) {
                if replica.durable().log.entry(*index) != Some(entry) {
                    return Err(format!("{} lost entry {index}", replica.id()));
                }
            }
        }
        Ok(())
    }
}
