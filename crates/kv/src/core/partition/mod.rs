//! One partition at one replica: the log, the state that it makes, and who waits for answers.
//!
//! A request comes from a coordinator ([`Coordinator`]), on this node or another. The owner puts
//! what arrives together into one entry and answers when that was applied. A replica that is not
//! the owner says who is; asked to see to it that there is one, it takes over, or relays where
//! it can reach the owner and the coordinator can't.

mod answers;
mod batch;
mod coordinator;
mod entries;
mod hedge;
mod held_up;
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
use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::{
    data::Milliseconds,
    numbered::Numbered,
    paxos::{
        Done, Durable, Entry, LogIndex, Message, Position, ReadId, Record, Replica, Settings,
        Snapshot, TakeOver,
    },
    sessions::{Known, Origin, Roll, Session, Sessions},
};

use answers::refusal;
pub use batch::Batch;
use coordinator::HELD_MS_MAX;
pub use coordinator::{Coordinator, Given, Kind, Task};
use held_up::{HeldUp, Holding};
pub use look::{Look, Seen};
pub use request::{Outcome, Request, Response};
pub use state::{Applied, AppliedBy, Changed, Found, Moment, Read, State, StateMachine, Wish};
use waiters::Waiters;

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
    waiting: IndexMap<Name, (Origin, Vec<ReplicaId>), RandomState>,
    /// Requests that found nothing to do.
    waiters: Waiters<M::Key>,
    /// Writes that wait until others let go, in order.
    held_up: VecDeque<HeldUp>,
    /// What takes hold when it is applied.
    holding: Holding,
    /// Where the log ends with those of them that are tried again. Reads wait for that: whoever
    /// was told of a change sees what came of it.
    woken_up_to: LogIndex,
    has_woken: bool,
    /// Where the log ended when the ballot was last held. Until it is clear who the next owner
    /// is, requests that were logged go on waiting: it may be this replica again.
    owned_up_to: Option<Position>,
    /// Reads that wait for a confirmed moment, by number.
    reads: Numbered<Waiting>,
    next_read: ReadId,
    /// Reads that wait for the state to get there.
    due: VecDeque<(LogIndex, Waiting)>,
    /// Requests that wait until it is clear who the owner is, and since when.
    held: BTreeMap<Name, (Waiting, u64)>,
    /// The last moment that it was told.
    now_ms: u64,
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
            waiting: IndexMap::default(),
            waiters: Waiters::new(),
            held_up: VecDeque::new(),
            holding: Holding::default(),
            woken_up_to: LogIndex::default(),
            has_woken: false,
            owned_up_to: None,
            reads: Numbered::default(),
            next_read: 0,
            due: VecDeque::new(),
            held: BTreeMap::new(),
            now_ms: 0,
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
        self.now_ms = self.now_ms.max(now_ms);
        let asked = self.waiting.len() + self.reads.len() + self.due.len() + self.held.len();
        if asked + self.waiters.len() + self.held_up.len() >= self.limits.waiting_max {
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
        let held = (waiting, self.now_ms);
        self.held.insert(name(&held.0.request.origin), held);
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
            // What was applied before is answered, not refused: a client would take it for not done.
            if !self.waiting.contains_key(&name) && self.state.sessions.look(&origin) == Known::New
            {
                let (machine, operation) = (&self.state.machine, &waiting.request.operation);
                let refusal = machine.refuses(operation);
                let refusal = refusal.or_else(|| machine.waits_no_more(operation));
                // It may be in the log already, by an owner before this one.
                if let Some(reply) = refusal.filter(|_| !self.has_inherited()) {
                    self.respond(waiting.from, origin, Outcome::Done(reply));
                    return;
                }
                if self.holds_up(&waiting) {
                    return;
                }
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

    /// Whether something is yet to be applied that an owner before this one has logged.
    pub(super) fn has_inherited(&self) -> bool {
        let next = self.state.applied.index.next();
        let next = self.replica.durable().log.position(next);
        next.is_some_and(|next| Some(next.birth) != self.replica.owned())
    }

    /// Whether this request, asked again, only waits on. Something else under its name ends its
    /// waiting.
    fn waits_already(&mut self, name: &Name, waiting: &Waiting) -> bool {
        let Some(waiter) = self.waiters.get_mut(name) else {
            return false;
        };
        if waiter.again != waiting.request.operation {
            if let Some(reply) = self.state.machine.refuses(&waiting.request.operation) {
                self.waiters.remove(name);
                self.respond(waiting.from, waiting.request.origin, Outcome::Done(reply));
            } else if let Some(waiter) = self.waiters.remove(name) {
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

    /// Takes a message of another replica.
    pub fn step(&mut self, from: ReplicaId, message: Message, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.replica.step(from, message, now_ms);
    }

    /// Takes the time.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
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
                self.holding.clear();
            }
        }
        for entry in &ready.committed {
            for (origin, applied) in self.state.apply(entry) {
                self.holding.remove(&name(&origin));
                self.answer(&origin, applied);
            }
            if self.waiters.len() == 0 {
                self.state.machine.forget_changed();
            } else {
                let changed = self.state.machine.take_changed();
                self.wake(changed);
            }
        }
        if !ready.committed.is_empty() {
            self.let_go_on();
        }
        for (id, index) in ready.reads {
            if let Some(waiting) = self.reads.remove(id) {
                self.due.push_back((index.max(self.woken_up_to), waiting));
            }
        }
        for id in ready.failed_reads {
            if let Some(waiting) = self.reads.remove(id) {
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
        while let Some((_, (waiting, since_ms))) = self.held.pop_first() {
            if since_ms + HELD_MS_MAX < self.now_ms {
                // Whoever asked may have told a client that nobody knows what becomes of it.
                let outcome = Outcome::NotOwner(self.replica.owner());
                self.respond(waiting.from, waiting.request.origin, outcome);
            } else if self.replica.owned().is_some() {
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
}
