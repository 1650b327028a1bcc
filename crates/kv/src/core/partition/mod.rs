//! One partition at one replica: the log, the state that it makes, and who waits for answers.
//!
//! A request comes from a coordinator ([`Coordinator`]), on this node or another. The owner puts
//! what arrives together into one entry and answers when that was applied. A replica that is not
//! the owner says who is; asked to see to it that there is one, it takes over, or relays where
//! it can reach the owner and the coordinator can't.

mod batch;
mod coordinator;
mod hedge;
mod look;
mod request;
mod state;
#[cfg(test)]
mod tests;
mod waiters;
mod waiting;

use std::collections::{BTreeMap, VecDeque};

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::{
    chance,
    data::Milliseconds,
    paxos::{
        Done, Durable, Entry, LogIndex, Message, Payload, Position, ReadId, Record, Refused,
        Replica, Settings, Snapshot, TakeOver,
    },
    sessions::{Known, Origin, Roll, Session, Sessions},
};

pub use batch::Batch;
pub use coordinator::{Coordinator, Given, Kind, Task};
pub use look::{Look, Seen};
pub use request::{Outcome, Request, Response};
pub use state::{Applied, AppliedBy, Changed, Found, Moment, Read, State, StateMachine, Wish};
use waiters::{Waiter, Waiters};

/// A look at more entries than this is not worth it: something of them will matter.
const PENDING_MAX: u64 = 64;

/// One replica of one partition.
#[derive(Clone, Debug)]
pub struct Partition<M: StateMachine> {
    replica: Replica,
    state: State<M>,
    limits: Limits,
    /// Requests for the next entry.
    queue: Vec<(Origin, Bytes)>,
    /// Who waits for requests that are in the queue or logged.
    waiting: BTreeMap<Name, (Origin, Vec<ReplicaId>)>,
    /// Requests that found nothing to do.
    waiters: Waiters<M::Key>,
    /// Where the log ends with those of them that are tried again. Reads wait for that: whoever
    /// was told of a change sees what came of it.
    woken_up_to: LogIndex,
    has_woken: bool,
    /// Where the log ended when the ballot was last held. Until it is clear who the next owner
    /// is, requests that were logged go on waiting: it may be this replica again.
    owned_up_to: Option<Position>,
    /// Reads that wait for a confirmed moment, by number.
    reads: BTreeMap<ReadId, Waiting>,
    next_read: ReadId,
    /// Reads that wait for the state to get there.
    due: VecDeque<(LogIndex, Waiting)>,
    /// Requests that wait until it is clear who the owner is.
    held: BTreeMap<Name, Waiting>,
    /// Whom relayed requests are for.
    relayed: BTreeMap<Name, ReplicaId>,
    requests: Vec<(ReplicaId, Request)>,
    responses: Vec<(ReplicaId, Response<M::Reply>)>,
    chance: u64,
}

/// Names a request, however often it is sent.
type Name = (Session, u64);

fn name(origin: &Origin) -> Name {
    (origin.session, origin.sequence)
}

#[derive(Clone, Debug)]
struct Waiting {
    from: ReplicaId,
    request: Request,
}

/// Bounds of what waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that wait at one replica of a partition, whatever for.
    pub waiting_max: usize,
    /// Bytes of requests in one entry; one request may be larger.
    pub batch_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            waiting_max: 65_536,
            batch_bytes_max: 1 << 20,
        }
    }
}

/// What has to be done: the log's part, and answers.
#[derive(Debug)]
pub struct Work<M: StateMachine> {
    /// To be written; then [`Partition::advance`].
    pub records: Vec<Record>,
    /// The number of the last record ever handed out.
    pub written: u64,
    /// To other replicas of the partition.
    pub messages: Vec<(ReplicaId, Message)>,
    /// Relayed requests, to the owner.
    pub requests: Vec<(ReplicaId, Request)>,
    /// Answers.
    pub responses: Vec<(ReplicaId, Response<M::Reply>)>,
    /// What was applied.
    pub applied: Vec<Entry>,
    /// Replicas that need the state: [`Partition::send_snapshot`].
    pub snapshots: Vec<ReplicaId>,
    /// Whether there is more to do already.
    pub again: bool,
}

impl<M: StateMachine> Partition<M> {
    /// A partition as it comes out of its journal; `state` is that of the log's base.
    pub fn new(
        id: ReplicaId,
        durable: Durable,
        state: State<M>,
        settings: Settings,
        limits: Limits,
        seed: u64,
    ) -> Self {
        assert_eq!(state.applied, durable.log.base(), "not the base's state");
        Partition {
            replica: Replica::new(id, durable, settings, seed),
            state,
            limits,
            queue: Vec::new(),
            waiting: BTreeMap::new(),
            waiters: Waiters::new(),
            woken_up_to: LogIndex::default(),
            has_woken: false,
            owned_up_to: None,
            reads: BTreeMap::new(),
            next_read: 0,
            due: VecDeque::new(),
            held: BTreeMap::new(),
            relayed: BTreeMap::new(),
            requests: Vec::new(),
            responses: Vec::new(),
            chance: seed,
        }
    }

    /// The log's part.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The log's part, to tell it of configurations, links, learners and snapshots.
    pub fn replica_mut(&mut self) -> &mut Replica {
        &mut self.replica
    }

    /// The state.
    pub fn state(&self) -> &State<M> {
        &self.state
    }

    /// The machine, to take out of it what is not part of its state.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.state.machine
    }

    /// Takes a request.
    pub fn request(&mut self, from: ReplicaId, request: Request, now_ms: u64) {
        let asked = self.waiting.len() + self.reads.len() + self.due.len() + self.held.len();
        if asked + self.waiters.len() >= self.limits.waiting_max {
            self.respond(from, request.origin, Outcome::Busy);
            return;
        }
        let waiting = Waiting { from, request };
        if self.replica.owned().is_some() {
            self.serve(waiting);
            return;
        }
        if !waiting.request.takes_over {
            let owner = self.replica.owner();
            if self.replica.is_taking_over() {
                self.hold(waiting);
            } else {
                self.respond(from, waiting.request.origin, Outcome::NotOwner(owner));
            }
            return;
        }
        match self.replica.take_over(now_ms) {
            TakeOver::Owner | TakeOver::Begun => self.hold(waiting),
            TakeOver::Forward(owner) => {
                let outcome = Outcome::NotOwner(Some(owner));
                self.respond(from, waiting.request.origin, outcome);
            }
            TakeOver::NoVoter => {
                let owner = self.replica.owner();
                self.respond(from, waiting.request.origin, Outcome::NotOwner(owner));
            }
        }
    }

    /// Keeps a request until it is clear who the owner is; once, however often it is asked.
    fn hold(&mut self, waiting: Waiting) {
        self.held.insert(name(&waiting.request.origin), waiting);
    }

    /// Takes the answer to a relayed request.
    pub fn response(&mut self, response: Response<M::Reply>) {
        if let Some(from) = self.relayed.remove(&name(&response.origin)) {
            self.responses.push((from, response));
        }
    }

    /// Does what the owner does with a request.
    fn serve(&mut self, waiting: Waiting) {
        let origin = waiting.request.origin;
        if waiting.request.reads {
            self.next_read += 1;
            match self.replica.read(self.next_read) {
                Ok(()) => {
                    self.reads.insert(self.next_read, waiting);
                }
                Err(refused) => self.respond(waiting.from, origin, refusal(refused)),
            }
        } else {
            let name = name(&origin);
            if self.waits_already(&name, &waiting) {
                return;
            }
            if !self.waiting.contains_key(&name)
                && let Some(reply) = self.state.machine.refuses(&waiting.request.operation)
            {
                self.respond(waiting.from, origin, Outcome::Done(reply));
                return;
            }
            // Asked again before it is committed: it is in the log, or soon will be.
            let waits = self.waiting.entry(name);
            let (_, waits) = waits.or_insert_with(|| (origin, Vec::new()));
            if waits.is_empty() {
                self.queue.push((origin, waiting.request.operation));
            }
            if !waits.contains(&waiting.from) {
                waits.push(waiting.from);
            }
        }
    }

    /// Whether this request, asked again, only waits on. Something else under its name ends its
    /// waiting.
    fn waits_already(&mut self, name: &Name, waiting: &Waiting) -> bool {
        let Some(waiter) = self.waiters.get_mut(name) else {
            return false;
        };
        if waiter.again != waiting.request.operation {
            if let Some(waiter) = self.waiters.remove(name) {
                self.queue
                    .push((waiter.origin, waiting.request.operation.clone()));
                self.waiting
                    .insert(*name, (waiter.origin, vec![waiting.from]));
            }
            return true;
        }
        if !waiter.from.contains(&waiting.from) {
            waiter.from.push(waiting.from);
        }
        let outcome = Outcome::Waits {
            again: waiter.again.clone(),
            last: waiter.last.clone(),
        };
        self.respond(waiting.from, waiting.request.origin, outcome);
        true
    }

    /// Tells what a read sees here, whoever owns the ballot.
    pub fn look(&mut self, look: &Look) -> Seen<M::Reply> {
        let configuration = self.replica.configuration().clone();
        let is_pending =
            self.is_pending(&look.operation) && self.replica.settings().rules.heeds_pending;
        let view = (!is_pending).then(|| self.state.machine.observe(&look.operation));
        Seen {
            origin: look.origin,
            configuration,
            view: view.flatten(),
        }
    }

    /// Whether the log holds anything that is not applied and may change what is read.
    fn is_pending(&self, read: &Bytes) -> bool {
        let log = &self.replica.durable().log;
        let mut index = self.state.applied.index.next();
        if log.base() > self.state.applied {
            // A snapshot is about to take the place of this state.
            return true;
        }
        if log.last().index.0 >= index.0 + PENDING_MAX {
            return true;
        }
        while let Some(entry) = log.entry(index) {
            if let Payload::Batch(bytes) = &entry.payload {
                let machine = &self.state.machine;
                let touches = Batch::decode(bytes.clone()).map_or(true, |batch| {
                    let mut requests = batch.requests.iter();
                    requests.any(|(_, logged)| machine.touches(logged, read))
                });
                if touches {
                    return true;
                }
            }
            index = index.next();
        }
        false
    }

    /// Takes a message of another replica.
    pub fn step(&mut self, from: ReplicaId, message: Message, now_ms: u64) {
        self.replica.step(from, message, now_ms);
    }

    /// Takes the time.
    pub fn tick(&mut self, now_ms: u64) {
        self.replica.tick(now_ms);
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn wants_tick_at_ms(&self) -> Option<u64> {
        self.replica.wants_tick_at_ms()
    }

    /// Hears what was done.
    pub fn advance(&mut self, done: Done) {
        self.replica.advance(done);
    }

    /// Gives a state to a replica that asked for one.
    pub fn send_snapshot(&mut self, to: ReplicaId, snapshot: Snapshot) {
        self.replica.send_snapshot(to, snapshot);
    }

    /// What has to be done now. `wall_ms` is the wall clock, `restore` makes a state of a
    /// snapshot's bytes.
    pub fn ready(
        &mut self,
        wall_ms: Milliseconds,
        restore: impl Fn(&Snapshot) -> State<M>,
    ) -> Work<M> {
        self.settle_held();
        self.log_queue(wall_ms);
        let mut ready = self.replica.ready();
        if self.replica.owned().is_some() && !self.held.is_empty() {
            // The ballot was just won: what waited for that goes with its first entry.
            self.settle_held();
            self.log_queue(wall_ms);
            ready.append(self.replica.ready());
        }
        for record in &ready.records {
            if let Record::Install(snapshot) = record {
                self.state = restore(snapshot);
                assert_eq!(
                    self.state.applied, snapshot.base,
                    "not the snapshot's state"
                );
            }
        }
        for entry in &ready.committed {
            let applied = self.state.apply(entry);
            let changed = self.state.machine.take_changed();
            for (origin, applied) in applied {
                self.answer(&origin, applied);
            }
            self.wake(changed);
        }
        for (id, index) in ready.reads {
            if let Some(waiting) = self.reads.remove(&id) {
                self.due.push_back((index.max(self.woken_up_to), waiting));
            }
        }
        for id in ready.failed_reads {
            if let Some(waiting) = self.reads.remove(&id) {
                let outcome = Outcome::NotOwner(self.replica.owner());
                self.respond(waiting.from, waiting.request.origin, outcome);
            }
        }
        self.answer_reads(wall_ms);
        if self.replica.relay().is_none() {
            self.relayed.clear();
        }
        if self.replica.owned().is_some() {
            self.owned_up_to = Some(self.replica.durable().log.last());
        } else {
            if !self.replica.is_taking_over() {
                self.send_away();
            }
            if !self.replica.settings().rules.replicates_sessions {
                self.state.sessions = Sessions::default();
            }
        }
        Work {
            records: ready.records,
            written: ready.written,
            messages: ready.messages,
            requests: std::mem::take(&mut self.requests),
            responses: std::mem::take(&mut self.responses),
            applied: ready.committed,
            snapshots: ready.snapshots,
            again: self.may_log(),
        }
    }

    /// Has the owner log something of its own, which nobody waits for. Elsewhere nothing comes of
    /// it.
    pub fn propose(&mut self, operation: Bytes) {
        if self.replica.owned().is_some() {
            let origin = Origin::own(self.replica.id());
            self.queue.push((origin, operation));
        }
    }

    /// Has the owner log which coordinators there still are, if one is remembered that is gone.
    pub fn call_roll(&mut self, roll: &Roll) -> bool {
        let is_needed = self.replica.owned().is_some() && self.state.sessions.remembers_gone(roll);
        if is_needed {
            let origin = Origin::roll(self.replica.id());
            self.queue.push((origin, roll.encode()));
        }
        is_needed
    }

    /// Once it is clear who the owner is, requests that waited for that go on.
    fn settle_held(&mut self) {
        if self.replica.is_taking_over() {
            return;
        }
        if self.replica.owned().is_some() {
            let log = &self.replica.durable().log;
            let was_cut = |end: Position| log.position(end.index) != Some(end);
            if self.owned_up_to.is_some_and(was_cut) {
                self.send_away();
            }
        }
        while let Some((_, waiting)) = self.held.pop_first() {
            if self.replica.owned().is_some() {
                self.serve(waiting);
            } else if let (Some(_), Some(owner)) = (self.replica.relay(), self.replica.owner()) {
                self.relay(owner, waiting);
            } else {
                let outcome = Outcome::NotOwner(self.replica.owner());
                self.respond(waiting.from, waiting.request.origin, outcome);
            }
        }
    }

    /// Passes a request on to the owner, or to whoever reaches it.
    fn relay(&mut self, owner: ReplicaId, waiting: Waiting) {
        let via = self.replica.relay().unwrap_or(owner);
        self.relayed
            .insert(name(&waiting.request.origin), waiting.from);
        while self.relayed.len() > self.limits.waiting_max {
            self.relayed.pop_first();
        }
        let request = Request {
            takes_over: via != owner,
            ..waiting.request
        };
        self.requests.push((via, request));
    }

    /// Makes entries of what waits.
    fn log_queue(&mut self, wall_ms: Milliseconds) {
        while self.may_log() {
            let batch = self.next_batch(wall_ms);
            let origins: Vec<Origin> = batch.requests.iter().map(|(origin, _)| *origin).collect();
            if let Err(refused) = self.replica.propose(Payload::Batch(batch.encode())) {
                for origin in origins {
                    self.refuse(&origin, refused);
                }
            }
        }
        if std::mem::take(&mut self.has_woken) {
            self.woken_up_to = self.replica.durable().log.last().index;
        }
    }

    /// Whether the next entry can be made: what has to be decided first waits until everything
    /// is applied. Whoever is not the owner has nothing to decide, and refuses.
    fn may_log(&self) -> bool {
        let is_decided = |operation| self.state.machine.is_decided(operation);
        self.queue.first().is_some_and(|(_, operation)| {
            !is_decided(operation) || self.replica.owned().is_none() || self.has_applied_all()
        })
    }

    fn has_applied_all(&self) -> bool {
        self.state.applied == self.replica.durable().log.last()
    }

    /// Takes what goes into the next entry. What is decided comes first in its entry, since what
    /// it comes to rests on the state before.
    fn next_batch(&mut self, wall_ms: Milliseconds) -> Batch {
        let mut bytes = 0;
        let mut count = 0;
        let machine = &self.state.machine;
        for (_, operation) in &self.queue {
            bytes += operation.len();
            let fits = bytes <= self.limits.batch_bytes_max && !machine.is_decided(operation);
            if count > 0 && !fits {
                break;
            }
            count += 1;
        }
        let mut batch = Batch {
            now_ms: wall_ms,
            seed: chance::next(&mut self.chance),
            requests: self.queue.drain(..count).collect(),
        };
        if let Some((origin, operation)) = batch.requests.first_mut()
            && machine.is_decided(operation)
            && self.replica.owned().is_some()
            && self.state.sessions.look(origin) == Known::New
        {
            batch.now_ms = self.state.now_ms.max(wall_ms);
            let at = Moment {
                now_ms: batch.now_ms,
                seed: batch.seed,
                index: self.state.applied.index.next(),
            };
            *operation = self.state.machine.decide(at, operation);
        }
        batch
    }

    fn answer_reads(&mut self, wall_ms: Milliseconds) {
        let applied = self.state.applied.index;
        let now_ms = self.state.now_ms.max(wall_ms);
        for (index, waiting) in std::mem::take(&mut self.due) {
            if index > applied {
                self.due.push_back((index, waiting));
                continue;
            }
            let seed = chance::next(&mut self.chance);
            let operation = &waiting.request.operation;
            match self.state.machine.read(now_ms, seed, operation) {
                Read::Reply(reply) => {
                    let outcome = Outcome::Done(reply);
                    self.respond(waiting.from, waiting.request.origin, outcome);
                }
                Read::After(first) if self.replica.owned().is_some() => {
                    let last = self.replica.durable().log.last().index;
                    self.propose(first);
                    self.due.push_back((last.next(), waiting));
                }
                Read::After(_) => {
                    let outcome = Outcome::NotOwner(self.replica.owner());
                    self.respond(waiting.from, waiting.request.origin, outcome);
                }
            }
        }
    }

    /// What waits here for somebody who is not the owner any more is sent on; if it was logged,
    /// the next owner knows its reply.
    fn send_away(&mut self) {
        self.owned_up_to = None;
        let owner = self.replica.owner();
        for (_, (origin, waits)) in std::mem::take(&mut self.waiting) {
            for from in waits {
                self.respond(from, origin, Outcome::NotOwner(owner));
            }
        }
        for waiter in self.waiters.take() {
            for from in waiter.from {
                self.respond(from, waiter.origin, Outcome::NotOwner(owner));
            }
        }
        for (_, read) in std::mem::take(&mut self.due) {
            self.respond(read.from, read.request.origin, Outcome::NotOwner(owner));
        }
    }

    /// The partition is to be held here no longer: tells everybody who waits.
    pub fn close(mut self) -> Vec<(ReplicaId, Response<M::Reply>)> {
        self.send_away();
        let held = std::mem::take(&mut self.held).into_values();
        let reads = std::mem::take(&mut self.reads).into_values();
        for waiting in held.chain(reads) {
            let outcome = Outcome::NotOwner(None);
            self.respond(waiting.from, waiting.request.origin, outcome);
        }
        self.responses
    }

    /// Answers everybody who waits for a request.
    fn answer(&mut self, origin: &Origin, applied: AppliedBy<M>) {
        let outcome = match applied {
            Applied::Waits(wish) => return self.have_wait(origin, wish),
            Applied::Done(reply) => Outcome::Done(reply),
            Applied::Nothing(reply) => Outcome::Nothing(reply),
            Applied::Stale => Outcome::Stale,
        };
        if let Some(waiter) = self.end_waiting(origin, &outcome) {
            // It did not take everything, perhaps.
            self.wake(Changed::Keys(waiter.keys));
        }
    }

    /// Puts a request that found nothing to do into the line, unless it is there.
    fn have_wait(&mut self, origin: &Origin, wish: Wish<M::Key>) {
        let Some((origin, from)) = self.waiting.remove(&name(origin)) else {
            return;
        };
        let is_owner = self.replica.owned().is_some();
        for to in &from {
            let outcome = match is_owner {
                true => Outcome::Waits {
                    again: wish.again.clone(),
                    last: wish.last.clone(),
                },
                false => Outcome::NotOwner(self.replica.owner()),
            };
            self.respond(*to, origin, outcome);
        }
        if is_owner {
            self.waiters.insert(Waiter {
                origin,
                from,
                again: wish.again,
                last: wish.last,
                since_ms: wish.since_ms,
                keys: wish.keys,
            });
        }
    }

    /// Has those tried again who wait for what was changed.
    fn wake(&mut self, changed: Changed<M::Key>) {
        if self.waiters.len() == 0 {
            return;
        }
        let woken = match changed {
            Changed::Keys(keys) => self.waiters.of_keys(&keys),
            Changed::Everything => self.waiters.of_all_keys(),
        };
        self.has_woken |= !woken.is_empty();
        self.queue.extend(woken);
    }

    /// Tells everybody who waits for a request what came of it; gives back its place in the line.
    fn end_waiting(
        &mut self,
        origin: &Origin,
        outcome: &Outcome<M::Reply>,
    ) -> Option<Waiter<M::Key>> {
        let name = name(origin);
        let asked = self.waiting.remove(&name);
        let waiter = self.waiters.remove(&name);
        let waits = waiter.iter().map(|waiter| (waiter.origin, &waiter.from));
        let waits = asked
            .iter()
            .map(|(origin, from)| (*origin, from))
            .chain(waits);
        for (origin, from) in waits {
            let told = from.iter().map(|to| (*to, outcome.clone()));
            let told = told.map(|(to, outcome)| (to, Response { origin, outcome }));
            self.responses.extend(told);
        }
        waiter
    }

    /// Says that a request was not logged. One that waits is asked for again: it was not refused
    /// before.
    fn refuse(&mut self, origin: &Origin, refused: Refused) {
        let outcome = match refused {
            Refused::Busy if self.waiters.get_mut(&name(origin)).is_some() => {
                Outcome::NotOwner(None)
            }
            refused => refusal(refused),
        };
        self.end_waiting(origin, &outcome);
    }

    /// Says whether a node can be reached.
    pub fn link(&mut self, replica: ReplicaId, is_up: bool, now_ms: u64) {
        self.replica.link(replica, is_up, now_ms);
        if !is_up {
            self.waiters.forget(replica);
        }
    }

    fn respond(&mut self, to: ReplicaId, origin: Origin, outcome: Outcome<M::Reply>) {
        self.responses.push((to, Response { origin, outcome }));
    }
}

fn refusal<R>(refused: Refused) -> Outcome<R> {
    match refused {
        Refused::NotOwner(owner) => Outcome::NotOwner(owner),
        Refused::Busy => Outcome::Busy,
    }
}
