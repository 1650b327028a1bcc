//! A shard: one task that owns some partitions of the node and everything about them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::ControlFlow,
    sync::{Arc, OnceLock},
    time::Duration,
};

use atoll_base::id::{PartitionId, ReplicaId};
use atoll_world::{
    clock,
    journal::{Journal, Position as Place},
    task,
};
use bytes::Bytes;
use foldhash::fast::RandomState;
use tokio::sync::{mpsc, oneshot};

mod comparing;
mod evicting;
mod keeping;
mod leaving;
mod rooms;
mod space;
mod stale;
mod strays;

use self::{
    comparing::Comparing,
    evicting::Evicting,
    keeping::{Keeping, Kept, Saved},
    rooms::{Rooms, Touched},
    space::Space,
    strays::Strays,
};
use super::{
    Setup,
    eventual::{self, Eventual},
    journal::Held,
    layout::{Layout, Place as PlaceOf},
    links::{BUNDLE_BYTES_MAX, Links},
    needs::Needs,
    news::News,
    owners::{Owners, owner_of},
    paxos_settings,
    placement::Progress,
    scripts::{Node, Scripts},
    snapshots::Files,
    transfer::Transfers,
};
use crate::{
    api::Stray,
    core::{
        eventual::bundle::{Parcel, RoomId},
        keyspaces::Keyspaces,
        machine::{Answered, Extent, Home, Machine, Operation, Surroundings},
        partition::{Coordinator, Given, Kind, Limits, Outcome, Partition, Response, State, Task},
        paxos::{Done, Durable, Forgotten, LogIndex, Message},
        sessions::Session,
        wire::{Bundle, Packet},
    },
    memory::Memory,
};

/// Inputs that are handled together.
const TURN_INPUTS_MAX: usize = 512;
/// How often the owner looks for keys that have ended.
const EXPIRE_EVERY_MS: u64 = 100;
/// A learner that lacks no more entries than this may be given a vote: it has the rest in no time.
const CAUGHT_UP_ENTRIES: u64 = 64;
/// What the journal refused is tried again after so long.
const JOURNAL_RETRY_MS: u64 = 10;

/// What comes to a shard.
pub(super) enum Input {
    /// Operations that came together from one connection.
    Asks(Vec<AskOf>),
    /// From another node.
    Packets {
        from: ReplicaId,
        packets: Vec<(PartitionId, Packet)>,
    },
    /// Commands for eventual partitions that came together from one connection.
    EventualAsks(Vec<eventual::Ask>),
    /// From another node, about eventual partitions.
    Parcels {
        from: ReplicaId,
        parcels: Vec<(RoomId, Parcel)>,
    },
}

/// One operation for one partition.
pub(super) struct AskOf {
    pub(super) partition: PartitionId,
    pub(super) kind: AskKind,
    pub(super) operation: Bytes,
    pub(super) given: oneshot::Sender<Given<Answered>>,
}

/// How an operation is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskKind {
    Read,
    /// The replica that is here may answer it, however old its state is.
    Stale,
    Write,
    /// It waits where it finds nothing to do, for so long or for ever, under a number by which
    /// it can be [withdrawn](Urgent::Withdraw).
    Wait {
        timeout_ms: Option<u64>,
        number: u64,
    },
}

impl AskKind {
    pub(super) fn reads(self) -> bool {
        matches!(self, AskKind::Read | AskKind::Stale)
    }

    fn waits(self) -> bool {
        matches!(self, AskKind::Wait { .. })
    }
}

/// What comes to a shard and must not wait behind others.
pub(super) enum Urgent {
    /// An append is as durable as it has to be: records of partitions up to a number each, and
    /// the journal up to a place.
    Synced {
        numbers: Vec<(PartitionId, u64)>,
        append: u64,
        up_to: Arc<OnceLock<Place>>,
    },
    /// Which keyspaces there are.
    Keyspaces(Arc<Keyspaces>),
    /// The state of an eventual partition was written to its file, or could not be.
    EventualSaved(eventual::Saved),
    /// A snapshot was written to its file, or could not be.
    Saved(Saved),
    /// A snapshot came from another replica, and was read.
    Arrived {
        partition: PartitionId,
        from: ReplicaId,
        message: Box<Message>,
        state: Box<State<Machine>>,
    },
    /// The files of a partition that has moved away are gone.
    Emptied(PartitionId),
    /// Another replica can be reached, or not.
    Link { replica: ReplicaId, is_up: bool },
    /// Who holds what.
    Layout(Arc<Layout>),
    /// Nobody wants the answer any more to what waits under this number.
    Withdraw { partition: PartitionId, number: u64 },
    /// Somebody wants to know how partitions that change get on.
    Report(oneshot::Sender<Vec<Progress>>),
    /// The node stops.
    Stop,
    /// It does nothing until it is told, as if it ran a script.
    #[cfg(test)]
    Rest(oneshot::Receiver<()>),
}

/// A partition as this node knows it: held here or not.
struct Room {
    partition: Option<Partition<Machine>>,
    coordinator: Coordinator<Answered>,
    /// When it is looked at again; never later than it has something to do.
    tick_at_ms: Option<u64>,
    /// Whether this node owned the partition when it was looked at last.
    is_owned: bool,
    kept: Kept,
    /// Whether the replica has heard from an owner, or been it, since the node started. Before
    /// that it knows only what its snapshot holds.
    has_followed: bool,
}

impl Room {
    fn wants_tick_at_ms(&self) -> Option<u64> {
        let partition = self.partition.as_ref();
        let wanted = [
            self.coordinator.wants_tick_at_ms(),
            partition.and_then(Partition::wants_tick_at_ms),
        ];
        wanted.into_iter().flatten().min()
    }
}

/// What a shard works with.
pub(super) struct Tools {
    pub(super) number: usize,
    pub(super) journal: Journal,
    pub(super) files: Files,
    pub(super) needs: Needs,
    pub(super) links: Links,
    pub(super) news: News,
    pub(super) owners: Owners,
    pub(super) scripts: Arc<Scripts>,
    pub(super) urgent: mpsc::UnboundedSender<Urgent>,
    pub(super) memory: Memory,
    pub(super) strays: mpsc::UnboundedSender<Stray>,
    pub(super) eventual: Eventual,
}

pub(super) struct Shard {
    replica: ReplicaId,
    boot: u64,
    layout: Arc<Layout>,
    rooms: Rooms,
    journal: Journal,
    links: Links,
    news: News,
    owners: Owners,
    /// What scripts find around them.
    surroundings: Arc<dyn Surroundings>,
    urgent: mpsc::UnboundedSender<Urgent>,
    begin: clock::Instant,
    request_timeout_ms: u64,
    /// Rooms that have something to do.
    touched: Touched,
    ticks: BTreeSet<(u64, PartitionId)>,
    waiting: HashMap<Task, oneshot::Sender<Given<Answered>>, RandomState>,
    next_task: Task,
    /// Tasks that may be withdrawn, by their numbers.
    waits: HashMap<u64, Task>,
    /// Rooms with keys that end.
    expiring: BTreeSet<PartitionId>,
    expire_at_ms: u64,
    comparing: Comparing,
    /// Up to which number of each partition the records go that wait for the journal.
    written: Vec<(PartitionId, u64)>,
    journal_retry_at_ms: Option<u64>,
    keeping: Keeping,
    space: Space,
    strays: Strays,
    evicting: Evicting,
    transfers: Transfers,
    bundles: BTreeMap<ReplicaId, Bundle>,
    eventual: Eventual,
}

impl Shard {
    pub(super) fn new(
        setup: &Setup,
        partitions: Vec<PartitionId>,
        held: BTreeMap<PartitionId, Held>,
        forgotten: BTreeMap<PartitionId, (Forgotten, Place)>,
        tools: Tools,
    ) -> Self {
        let keeping = Keeping::new(setup, tools.number, tools.files, tools.needs);
        let mut shard = Shard {
            replica: setup.replica,
            boot: setup.boot,
            layout: setup.layout.clone(),
            rooms: Rooms::default(),
            journal: tools.journal,
            links: tools.links,
            surroundings: Arc::new(Node {
                scripts: tools.scripts,
                shard: Some(tools.number),
                hub: tools.news.hub().clone(),
            }),
            news: tools.news,
            owners: tools.owners,
            urgent: tools.urgent,
            begin: clock::now(),
            request_timeout_ms: setup.request_timeout_ms,
            touched: Touched::default(),
            ticks: BTreeSet::new(),
            waiting: HashMap::default(),
            next_task: 0,
            waits: HashMap::new(),
            expiring: BTreeSet::new(),
            expire_at_ms: EXPIRE_EVERY_MS,
            comparing: Comparing::default(),
            written: Vec::new(),
            journal_retry_at_ms: None,
            keeping,
            space: Space::new(&setup.journal),
            strays: Strays::new(tools.strays),
            evicting: Evicting::new(tools.memory, setup.shards.max(1), setup.boot),
            transfers: Transfers::default(),
            bundles: BTreeMap::new(),
            eventual: tools.eventual,
        };
        let session = Session {
            replica: shard.replica,
            boot: shard.boot,
        };
        let hedge_ms = paxos_settings().hedge_ms;
        for partition in partitions {
            let room = Room {
                partition: None,
                coordinator: Coordinator::new(session, Vec::new(), hedge_ms).looks_first(),
                tick_at_ms: None,
                is_owned: false,
                kept: Kept::default(),
                has_followed: false,
            };
            shard.rooms.put(partition, Box::new(room));
        }
        for (partition, held) in held {
            shard.keep_recovered(partition, &held);
            shard.open(partition, held.durable, held.state);
        }
        for (partition, (forgotten, place)) in forgotten {
            shard.keep_forgotten(partition, forgotten, place);
        }
        shard.place_all();
        shard
    }

    fn now_ms(&self) -> u64 {
        let passed = clock::now().duration_since(self.begin);
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }

    /// Where the machine of a partition is.
    fn home(&self, partition: PartitionId) -> Home {
        Home {
            extent: Extent::Partition {
                id: partition,
                partitions: self.layout.partitions,
            },
            surroundings: self.surroundings.clone(),
        }
    }

    /// Begins to hold a partition.
    fn open(&mut self, id: PartitionId, durable: Durable, mut state: State<Machine>) {
        state.machine.set_home(self.home(id));
        let seed = atoll_world::random::u64();
        self.introduce(&mut state.machine);
        self.evicting.count(id, state.machine.keyspace());
        if state.machine.has_expiring() {
            self.expiring.insert(id);
        }
        self.strays.note(id, state.machine.transactions());
        let partition = Partition::new(
            self.replica,
            durable,
            state,
            paxos_settings(),
            Limits::default(),
            seed,
        );
        if let Some(room) = self.rooms.get_mut(id) {
            room.partition = Some(partition);
        }
    }

    pub(super) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut urgent: mpsc::UnboundedReceiver<Urgent>,
    ) {
        self.look_at_space();
        self.work();
        loop {
            let wake_at_ms = self.wake_at_ms();
            let now_ms = self.now_ms();
            let wake = Duration::from_millis(wake_at_ms.saturating_sub(now_ms).max(1));
            tokio::select! {
                biased;
                first = urgent.recv() => match first {
                    None => return,
                    Some(one) => if self.listen(one).await.is_break() {
                        return;
                    },
                },
                first = inputs.recv() => match first {
                    None => return,
                    Some(input) => self.take(input),
                },
                () = clock::sleep(wake) => {}
            }
            // Others who have something to say are heard first: a turn costs about the same for
            // one request and for a hundred.
            task::yield_now().await;
            while let Ok(one) = urgent.try_recv() {
                if self.listen(one).await.is_break() {
                    return;
                }
            }
            for _ in 0..TURN_INPUTS_MAX {
                match inputs.try_recv() {
                    Ok(input) => self.take(input),
                    Err(_) => break,
                }
            }
            self.look_at_space();
            self.tick();
            self.keep_house();
            self.look_for_strays(self.now_ms());
            self.evict();
            self.work();
        }
    }

    /// Hears what must not wait; breaks when the node stops.
    #[cfg_attr(
        not(test),
        expect(clippy::unused_async, reason = "a test may have it wait")
    )]
    async fn listen(&mut self, urgent: Urgent) -> ControlFlow<()> {
        match urgent {
            Urgent::Stop => return ControlFlow::Break(()),
            #[cfg(test)]
            Urgent::Rest(until) => drop(until.await),
            urgent => self.hear(urgent),
        }
        ControlFlow::Continue(())
    }

    fn wake_at_ms(&self) -> u64 {
        let tick = self.ticks.first().map(|(at_ms, _)| *at_ms);
        let expire = (!self.expiring.is_empty()).then_some(self.expire_at_ms);
        let house = Some(self.house_wakes_at_ms());
        let strays = self.strays.wants_tick_at_ms();
        let eventual = self.eventual.wakes_at_ms();
        let retry = self.journal_retry_at_ms;
        let wanted = [tick, expire, retry, house, strays, eventual];
        wanted.into_iter().flatten().min().unwrap_or(u64::MAX / 2)
    }

    fn take(&mut self, input: Input) {
        let now_ms = self.now_ms();
        match input {
            Input::Asks(asks) => {
                for ask in asks {
                    let Some(ask) = self.answer_stale(ask) else {
                        continue;
                    };
                    let Some(room) = self.rooms.get_mut(ask.partition) else {
                        continue;
                    };
                    if ask.kind.waits() && ask.given.is_closed() {
                        // It was withdrawn before it came.
                        continue;
                    }
                    let task = self.next_task;
                    self.next_task += 1;
                    self.waiting.insert(task, ask.given);
                    let deadline_ms = now_ms + self.request_timeout_ms;
                    let kind = match ask.kind {
                        AskKind::Read | AskKind::Stale => Kind::Read,
                        AskKind::Write => Kind::Write,
                        AskKind::Wait { timeout_ms, number } => {
                            self.waits.insert(number, task);
                            let until_ms = timeout_ms.map(|ms| now_ms.saturating_add(ms));
                            Kind::Wait { until_ms }
                        }
                    };
                    room.coordinator
                        .submit(task, kind, ask.operation, now_ms, deadline_ms);
                    self.touched.insert(ask.partition);
                }
            }
            Input::Packets { from, packets } => {
                for (partition, packet) in packets {
                    self.packet(from, partition, packet, now_ms);
                }
            }
            Input::EventualAsks(asks) => self.eventual.ask(asks, now_ms),
            Input::Parcels { from, parcels } => self.eventual.take(from, parcels, now_ms),
        }
    }

    fn packet(&mut self, from: ReplicaId, id: PartitionId, packet: Packet, now_ms: u64) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        match (packet, &mut room.partition) {
            (Packet::Response(response), partition) => {
                if response.origin.session.replica == self.replica {
                    room.coordinator.response(from, response, now_ms);
                } else if let Some(partition) = partition {
                    partition.response(response);
                }
            }
            // Snapshots come in pieces.
            (Packet::Message(Message::Snapshot { .. }), _) => return,
            (Packet::Piece(piece), Some(_)) => {
                let (answer, complete) = self.transfers.piece(id, from, piece, now_ms);
                if let Some(answer) = answer {
                    self.send(from, id, &Packet::Arrived(answer));
                }
                if let Some(complete) = complete {
                    self.read_snapshot(id, from, complete);
                }
                return;
            }
            (Packet::Arrived(arrived), Some(_)) => {
                for piece in self.transfers.arrived(id, from, arrived, now_ms) {
                    self.send(from, id, &piece);
                }
                return;
            }
            (Packet::Message(message), Some(partition)) => partition.step(from, message, now_ms),
            (Packet::Request(request), Some(partition)) => {
                partition.request(from, request, now_ms);
            }
            (Packet::Look(look), Some(partition)) => {
                let seen = partition.look(&look);
                self.send(from, id, &Packet::Seen(seen));
                return;
            }
            (Packet::Seen(seen), _) => room.coordinator.seen(from, seen, now_ms),
            // Not here, or not yet: whoever asked asks elsewhere.
            (Packet::Request(request), None) => {
                let response = Response {
                    origin: request.origin,
                    outcome: Outcome::NotOwner(None),
                };
                self.send(from, id, &Packet::Response(response));
            }
            (
                Packet::Message(_) | Packet::Piece(_) | Packet::Arrived(_) | Packet::Look(_),
                None,
            ) => return,
        }
        self.touched.insert(id);
    }

    fn hear(&mut self, urgent: Urgent) {
        let now_ms = self.now_ms();
        match urgent {
            Urgent::Synced {
                numbers,
                append,
                up_to,
            } => {
                self.settle(&up_to);
                self.eventual.synced(append);
                for (id, number) in numbers {
                    let room = self.rooms.get_mut(id);
                    if let Some(partition) = room.and_then(|room| room.partition.as_mut()) {
                        partition.advance(Done::Synced(number));
                        self.touched.insert(id);
                    } else {
                        self.left(id, number);
                    }
                }
            }
            Urgent::Emptied(id) => self.emptied(id),
            Urgent::Saved(saved) => self.saved(saved, now_ms),
            Urgent::Arrived {
                partition: id,
                from,
                message,
                mut state,
            } => {
                state.machine.set_home(self.home(id));
                if let Some(room) = self.rooms.get_mut(id)
                    && let Some(partition) = &mut room.partition
                {
                    room.kept.restored.insert(state.applied.index, *state);
                    partition.step(from, *message, now_ms);
                    self.touched.insert(id);
                }
            }
            Urgent::Keyspaces(keyspaces) => self.eventual.set_keyspaces(keyspaces),
            Urgent::EventualSaved(saved) => self.eventual.saved(saved, now_ms),
            Urgent::Link { replica, is_up } => {
                self.strays.link(replica, is_up);
                self.eventual.link(replica, is_up);
                for (id, room) in self.rooms.iter_mut() {
                    room.coordinator.link(replica, is_up, now_ms);
                    if let Some(partition) = &mut room.partition {
                        partition.link(replica, is_up, now_ms);
                    }
                    self.touched.insert(id);
                }
            }
            Urgent::Layout(layout) => {
                self.layout = layout.clone();
                self.place_all();
                self.eventual.set_layout(layout);
            }
            Urgent::Withdraw { partition, number } => {
                if let Some(task) = self.waits.remove(&number)
                    && self.waiting.remove(&task).is_some()
                    && let Some(room) = self.rooms.get_mut(partition)
                {
                    let nothing = Operation::nothing().encode();
                    room.coordinator.withdraw(task, nothing, now_ms);
                    self.touched.insert(partition);
                }
            }
            Urgent::Report(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.report());
            }
            Urgent::Stop => {}
            #[cfg(test)]
            Urgent::Rest(_) => {}
        }
    }

    /// How partitions that change get on, where this node owns them. Where nobody does, this
    /// node sees to it if it is the one to be asked first.
    fn report(&mut self) -> Vec<Progress> {
        let now_ms = self.now_ms();
        let layout = self.layout.clone();
        let mut all = Vec::new();
        for (id, place) in &layout.places {
            if !place.is_changing {
                continue;
            }
            let room = self.rooms.get_mut(*id);
            let Some(partition) = room.and_then(|room| room.partition.as_mut()) else {
                continue;
            };
            let replica = partition.replica_mut();
            let Some(ballot) = replica.owned() else {
                let has_owner = replica.owner().is_some_and(|it| replica.reaches(it));
                let first = place.order.iter().find(|it| replica.reaches(**it));
                if !has_owner && first == Some(&self.replica) {
                    replica.take_over(now_ms);
                    self.touched.insert(*id);
                }
                continue;
            };
            replica.set_learners(place.learners.clone());
            self.touched.insert(*id);
            let commit = replica.commit();
            let has = |it: &ReplicaId, index: LogIndex| {
                replica.matched(*it).is_some_and(|matched| matched >= index)
            };
            let nearly = LogIndex(commit.0.saturating_sub(CAUGHT_UP_ENTRIES));
            // Nobody leaves who has what nobody else has.
            let proof = replica.joint_proof();
            let proof = proof.filter(|_| self.eventual.may_shrink(*id, place));
            let committed = proof.map(|proof| {
                let index = proof.committed.index;
                let holders = place.order.iter().copied();
                let holders = holders.filter(|it| has(it, index)).collect();
                (index, holders)
            });
            let learners = place.learners.iter().copied();
            all.push(Progress {
                partition: *id,
                configuration: ballot.configuration,
                caught_up: learners.filter(|it| has(it, nearly)).collect(),
                committed,
            });
        }
        all
    }

    /// Holds what this node is to hold, and lets go of what moved away.
    fn place_all(&mut self) {
        let layout = self.layout.clone();
        for (id, place) in &layout.places {
            self.place(*id, place);
        }
    }

    fn place(&mut self, id: PartitionId, place: &PlaceOf) {
        let now_ms = self.now_ms();
        let is_holder = place.has_part(self.replica);
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        room.coordinator.set_members(place.order.clone());
        self.touched.insert(id);
        if !is_holder {
            self.let_go(id, place.configuration.number);
            return;
        }
        if room.partition.is_none() {
            if !room.kept.begins_in(&place.configuration) {
                return;
            }
            // The first record of a partition: a restart begins with it.
            let durable = Durable::new(place.configuration.clone());
            self.write_checkpoint(id, &durable);
            self.open(id, durable, State::new(Machine::default()));
        }
        let room = self.rooms.get_mut(id);
        if let Some(partition) = room.and_then(|room| room.partition.as_mut()) {
            let replica = partition.replica_mut();
            replica.configure(place.configuration.clone(), now_ms);
            replica.set_learners(place.learners.clone());
        }
    }

    fn tick(&mut self) {
        let now_ms = self.now_ms();
        self.eventual.tick(now_ms);
        while let Some((at_ms, id)) = self.ticks.first().copied()
            && at_ms <= now_ms
        {
            self.ticks.pop_first();
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            room.tick_at_ms = None;
            let wanted = room.wants_tick_at_ms();
            if wanted.is_none_or(|at_ms| at_ms > now_ms) {
                // It was planned for something that has come about since.
                room.tick_at_ms = wanted;
                self.ticks.extend(wanted.map(|at_ms| (at_ms, id)));
                continue;
            }
            room.coordinator.tick(now_ms);
            if let Some(partition) = &mut room.partition {
                partition.tick(now_ms);
            }
            self.touched.insert(id);
        }
        // What nobody asked for would only pile up where there is no room for it.
        if self.space.is_short() {
            return;
        }
        if now_ms >= self.expire_at_ms {
            self.expire_at_ms = now_ms + EXPIRE_EVERY_MS;
            let wall_ms = clock::wall_ms();
            for id in &self.expiring {
                let room = self.rooms.get_mut(*id);
                let Some(partition) = room.and_then(|room| room.partition.as_mut()) else {
                    continue;
                };
                // Elsewhere nothing would come of it.
                if partition.replica().owned().is_some()
                    && let Some(removal) = partition.state().machine.expire(wall_ms)
                {
                    partition.propose(removal);
                    self.touched.insert(*id);
                }
            }
        }
        self.compare(now_ms);
    }

    /// Does what there is to do in every room that was touched.
    fn work(&mut self) {
        while let Some(id) = self.touched.pop() {
            self.work_in(id);
        }
        self.eventual.work();
        self.carry();
        self.put_eventual();
        self.write();
        for (to, bundle) in std::mem::take(&mut self.bundles) {
            self.links.send(to, bundle);
        }
        self.eventual.flush();
    }

    fn work_in(&mut self, id: PartitionId) {
        let Some(mut room) = self.rooms.take(id) else {
            return;
        };
        loop {
            let now_ms = self.now_ms();
            for (to, request) in room.coordinator.requests() {
                match &mut room.partition {
                    Some(partition) if to == self.replica => {
                        partition.request(to, request, now_ms);
                    }
                    _ => self.send(to, id, &Packet::Request(request)),
                }
            }
            for (to, look) in room.coordinator.looks() {
                match &mut room.partition {
                    Some(partition) if to == self.replica => {
                        let seen = partition.look(&look);
                        room.coordinator.seen(to, seen, now_ms);
                    }
                    _ => self.send(to, id, &Packet::Look(look)),
                }
            }
            let mut leads_on = false;
            if let Some(partition) = &mut room.partition {
                let (coordinator, kept) = (&mut room.coordinator, &mut room.kept);
                leads_on = self.work_on(id, partition, coordinator, kept, now_ms);
            }
            for (task, given) in room.coordinator.ended() {
                if let Some(waiting) = self.waiting.remove(&task) {
                    // Whoever asked may have gone.
                    let _ = waiting.send(given);
                }
            }
            if !leads_on && !room.coordinator.has_questions() {
                break;
            }
        }
        let partition = room.partition.as_ref();
        let is_owned = partition.is_some_and(|it| it.replica().owned().is_some());
        if is_owned && !room.is_owned {
            self.news.invalidations().tell_of_new_owner();
        }
        room.is_owned = is_owned;
        self.plan_tick(id, &mut room);
        self.note_owner(id, &mut room);
        self.rooms.put(id, room);
    }

    /// Does what the replica has to do; says whether that may lead to more.
    fn work_on(
        &mut self,
        id: PartitionId,
        partition: &mut Partition<Machine>,
        coordinator: &mut Coordinator<Answered>,
        kept: &mut Kept,
        now_ms: u64,
    ) -> bool {
        let wall_ms = clock::wall_ms();
        let wanted = self.news.invalidations().are_wanted();
        let machine = partition.machine_mut();
        machine.keep_changes(wanted);
        machine.keep_events(self.news.hub().notified().is_any());
        let restored = RefCell::new(std::mem::take(&mut kept.restored));
        let work = partition.ready(wall_ms, |snapshot| {
            match restored.borrow_mut().remove(&snapshot.base.index) {
                Some(state) => state,
                None => unreachable!("a snapshot is read before the replica hears of it"),
            }
        });
        let installs = kept.installs(&work.records);
        self.put_records(id, kept, work.records, work.written);
        for to in work.snapshots {
            self.transfers.ask(id, to);
        }
        for (to, message) in work.messages {
            self.send_message(to, id, message, now_ms);
        }
        for (to, request) in work.requests {
            self.send(to, id, &Packet::Request(request));
        }
        for (to, response) in work.responses {
            if to == self.replica {
                coordinator.response(to, response, now_ms);
            } else {
                self.send(to, id, &Packet::Response(response));
            }
        }
        if !work.applied.is_empty() {
            // On every replica, or they pile up.
            let machine = partition.machine_mut();
            let (events, changes) = (machine.take_events(), machine.take_changes());
            if partition.replica().owned().is_some() {
                self.evicting.hear(&events);
                self.news.tell(&events);
                self.news.invalidations().tell(&changes);
            }
        }
        if installs || !work.applied.is_empty() {
            if installs {
                self.introduce(partition.machine_mut());
            }
            let keyspace = partition.state().machine.keyspace();
            self.evicting.count(id, keyspace);
            self.evicting.applied(id, partition, now_ms);
            let machine = &partition.state().machine;
            if machine.has_expiring() {
                self.expiring.insert(id);
            } else {
                self.expiring.remove(&id);
            }
            self.strays.note(id, machine.transactions());
            self.weigh(id, partition, kept);
            Self::forget(partition, kept);
        }
        work.again
    }

    fn send(&mut self, to: ReplicaId, id: PartitionId, packet: &Packet) {
        let links = &self.links;
        let bundle = self.bundles.entry(to).or_insert_with(|| links.bundle());
        bundle.add(id, packet);
        if bundle.bytes() >= BUNDLE_BYTES_MAX
            && let Some(bundle) = self.bundles.remove(&to)
        {
            self.links.send(to, bundle);
        }
    }

    fn plan_tick(&mut self, id: PartitionId, room: &mut Room) {
        let Some(wanted) = room.wants_tick_at_ms() else {
            return;
        };
        // One that is planned too early finds nothing to do, and plans the next.
        if room.tick_at_ms.is_some_and(|planned| planned <= wanted) {
            return;
        }
        if let Some(planned) = room.tick_at_ms.replace(wanted) {
            self.ticks.remove(&(planned, id));
        }
        self.ticks.insert((wanted, id));
    }
}
