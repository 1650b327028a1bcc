//! A shard: one task that owns some partitions of the node and everything about them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use atoll_base::id::{self as base, PartitionId, ReplicaId};
use atoll_world::{
    clock,
    journal::{Journal, JournalError},
};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::placement::Progress;
use super::{
    Setup,
    layout::Layout,
    links::{BUNDLE_BYTES_MAX, Links},
    news::News,
    paxos_settings,
};
use crate::core::{
    machine::{Answered, Machine},
    partition::{Coordinator, Given, Limits, Outcome, Partition, Response, State, Task},
    paxos::{Ballot, Done, Durable, LogIndex, Record, Voters},
    sessions::Session,
    wire::{self, Bundle, Packet},
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
}

/// One operation for one partition.
pub(super) struct AskOf {
    pub(super) partition: PartitionId,
    pub(super) reads: bool,
    pub(super) operation: Bytes,
    pub(super) given: oneshot::Sender<Given<Answered>>,
}

/// What comes to a shard and must not wait behind others.
pub(super) enum Urgent {
    /// Records of partitions up to a number each are as durable as they have to be.
    Synced(Vec<(PartitionId, u64)>),
    /// Another replica can be reached, or not.
    Link { replica: ReplicaId, is_up: bool },
    /// Who holds what.
    Layout(Arc<Layout>),
    /// Somebody wants to know how partitions that change get on.
    Report(oneshot::Sender<Vec<Progress>>),
    /// The node stops.
    Stop,
}

/// A partition as this node knows it: held here or not.
struct Room {
    partition: Option<Partition<Machine>>,
    coordinator: Coordinator<Answered>,
    tick_at_ms: Option<u64>,
}

pub(super) struct Shard {
    replica: ReplicaId,
    boot: u64,
    layout: Arc<Layout>,
    rooms: BTreeMap<PartitionId, Room>,
    journal: Journal,
    links: Links,
    news: News,
    urgent: mpsc::UnboundedSender<Urgent>,
    begin: clock::Instant,
    request_timeout_ms: u64,
    /// Rooms that have something to do.
    touched: BTreeSet<PartitionId>,
    ticks: BTreeSet<(u64, PartitionId)>,
    waiting: HashMap<Task, oneshot::Sender<Given<Answered>>>,
    next_task: Task,
    /// Rooms with keys that end.
    expiring: BTreeSet<PartitionId>,
    expire_at_ms: u64,
    /// Records for the journal, and up to which number of each partition they go.
    records: Vec<Bytes>,
    written: BTreeMap<PartitionId, u64>,
    journal_retry_at_ms: Option<u64>,
    bundles: BTreeMap<ReplicaId, Bundle>,
}

impl Shard {
    pub(super) fn new(
        setup: &Setup,
        partitions: Vec<PartitionId>,
        held: BTreeMap<PartitionId, Durable>,
        journal: Journal,
        links: Links,
        news: News,
        urgent: mpsc::UnboundedSender<Urgent>,
    ) -> Self {
        let mut shard = Shard {
            replica: setup.replica,
            boot: setup.boot,
            layout: setup.layout.clone(),
            rooms: BTreeMap::new(),
            journal,
            links,
            news,
            urgent,
            begin: clock::now(),
            request_timeout_ms: setup.request_timeout_ms,
            touched: BTreeSet::new(),
            ticks: BTreeSet::new(),
            waiting: HashMap::new(),
            next_task: 0,
            expiring: BTreeSet::new(),
            expire_at_ms: EXPIRE_EVERY_MS,
            records: Vec::new(),
            written: BTreeMap::new(),
            journal_retry_at_ms: None,
            bundles: BTreeMap::new(),
        };
        let session = Session {
            replica: shard.replica,
            boot: shard.boot,
        };
        let hedge_ms = paxos_settings().hedge_ms;
        for partition in partitions {
            let room = Room {
                partition: None,
                coordinator: Coordinator::new(session, Vec::new(), hedge_ms),
                tick_at_ms: None,
            };
            shard.rooms.insert(partition, room);
        }
        for (partition, durable) in held {
            let state = State::new(Machine::default());
            shard.open(partition, durable, state);
        }
        shard.place_all();
        shard
    }

    fn now_ms(&self) -> u64 {
        let passed = clock::now().duration_since(self.begin);
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }

    /// Begins to hold a partition.
    fn open(&mut self, id: PartitionId, durable: Durable, state: State<Machine>) {
        let seed = atoll_world::random::u64();
        let partition = Partition::new(
            self.replica,
            durable,
            state,
            paxos_settings(),
            Limits::default(),
            seed,
        );
        if let Some(room) = self.rooms.get_mut(&id) {
            room.partition = Some(partition);
        }
    }

    pub(super) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut urgent: mpsc::UnboundedReceiver<Urgent>,
    ) {
        let mut turn = Vec::with_capacity(TURN_INPUTS_MAX);
        self.work();
        loop {
            let wake_at_ms = self.wake_at_ms();
            let now_ms = self.now_ms();
            let wake = Duration::from_millis(wake_at_ms.saturating_sub(now_ms).max(1));
            tokio::select! {
                biased;
                first = urgent.recv() => {
                    let mut next = first;
                    while let Some(one) = next {
                        if let Urgent::Stop = one {
                            return;
                        }
                        self.hear(one);
                        next = urgent.try_recv().ok();
                    }
                }
                count = inputs.recv_many(&mut turn, TURN_INPUTS_MAX) => {
                    if count == 0 {
                        return;
                    }
                    for input in turn.drain(..) {
                        self.take(input);
                    }
                }
                () = clock::sleep(wake) => {}
            }
            self.tick();
            self.work();
        }
    }

    fn wake_at_ms(&self) -> u64 {
        let tick = self.ticks.first().map(|(at_ms, _)| *at_ms);
        let expire = (!self.expiring.is_empty()).then_some(self.expire_at_ms);
        let wanted = [tick, expire, self.journal_retry_at_ms];
        wanted.into_iter().flatten().min().unwrap_or(u64::MAX / 2)
    }

    fn take(&mut self, input: Input) {
        let now_ms = self.now_ms();
        match input {
            Input::Asks(asks) => {
                for ask in asks {
                    let Some(room) = self.rooms.get_mut(&ask.partition) else {
                        continue;
                    };
                    let task = self.next_task;
                    self.next_task += 1;
                    self.waiting.insert(task, ask.given);
                    let deadline_ms = now_ms + self.request_timeout_ms;
                    room.coordinator
                        .submit(task, ask.reads, ask.operation, now_ms, deadline_ms);
                    self.touched.insert(ask.partition);
                }
            }
            Input::Packets { from, packets } => {
                for (partition, packet) in packets {
                    self.packet(from, partition, packet, now_ms);
                }
            }
        }
    }

    fn packet(&mut self, from: ReplicaId, id: PartitionId, packet: Packet, now_ms: u64) {
        let Some(room) = self.rooms.get_mut(&id) else {
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
            (Packet::Message(message), Some(partition)) => partition.step(from, message, now_ms),
            (Packet::Request(request), Some(partition)) => {
                partition.request(from, request, now_ms);
            }
            // Not here, or not yet: whoever asked asks elsewhere.
            (Packet::Request(request), None) => {
                let response = Response {
                    origin: request.origin,
                    outcome: Outcome::NotOwner(None),
                };
                self.send(from, id, &Packet::Response(response));
            }
            (Packet::Message(_), None) => return,
        }
        self.touched.insert(id);
    }

    fn hear(&mut self, urgent: Urgent) {
        let now_ms = self.now_ms();
        match urgent {
            Urgent::Synced(numbers) => {
                for (id, number) in numbers {
                    let room = self.rooms.get_mut(&id);
                    if let Some(partition) = room.and_then(|room| room.partition.as_mut()) {
                        partition.advance(Done::Synced(number));
                        self.touched.insert(id);
                    }
                }
            }
            Urgent::Link { replica, is_up } => {
                for (id, room) in &mut self.rooms {
                    room.coordinator.link(replica, is_up, now_ms);
                    if let Some(partition) = &mut room.partition {
                        partition.replica_mut().link(replica, is_up, now_ms);
                    }
                    self.touched.insert(*id);
                }
            }
            Urgent::Layout(layout) => {
                self.layout = layout.clone();
                self.news.set_layout(&layout);
                self.links.set_layout(layout);
                self.place_all();
            }
            Urgent::Report(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.report());
            }
            Urgent::Stop => {}
        }
    }

    /// How partitions that change get on, where this node owns them. Where nobody does, this
    /// node sees to it if it is the one to be asked first.
    fn report(&mut self) -> Vec<Progress> {
        let now_ms = self.now_ms();
        let layout = self.layout.clone();
        let mut all = Vec::new();
        for (id, place) in &layout.places {
            let is_joint = matches!(place.configuration.voters, Voters::Joint { .. });
            if place.learners.is_empty() && !is_joint {
                continue;
            }
            let room = self.rooms.get_mut(id);
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
            let committed = replica.joint_proof().map(|proof| {
                let index = proof.committed.index;
                let holders = place.order.iter().copied();
                let holders = holders.filter(|it| has(it, index)).collect();
                (base::LogIndex(index.0), holders)
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

    /// Holds what this node is to hold, and lets go of the rest.
    fn place_all(&mut self) {
        let now_ms = self.now_ms();
        let layout = self.layout.clone();
        for (id, place) in &layout.places {
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            room.coordinator.set_members(place.order.clone());
            self.touched.insert(*id);
            if !layout.holds(self.replica, *id) {
                continue;
            }
            if room.partition.is_none() {
                // The first records of a partition: a restart begins with them.
                let durable = Durable::new(place.configuration.clone());
                let records = [
                    Record::Configure(place.configuration.clone()),
                    Record::Promise(Ballot {
                        configuration: place.configuration.number,
                        ..Ballot::default()
                    }),
                ];
                let encoded = records
                    .iter()
                    .map(|record| wire::encode_record(*id, record));
                self.records.extend(encoded);
                self.open(*id, durable, State::new(Machine::default()));
            }
            let room = self.rooms.get_mut(id);
            if let Some(partition) = room.and_then(|room| room.partition.as_mut()) {
                let replica = partition.replica_mut();
                replica.configure(place.configuration.clone(), now_ms);
                replica.set_learners(place.learners.clone());
            }
        }
    }

    fn tick(&mut self) {
        let now_ms = self.now_ms();
        while let Some((at_ms, id)) = self.ticks.first().copied()
            && at_ms <= now_ms
        {
            self.ticks.pop_first();
            if let Some(room) = self.rooms.get_mut(&id) {
                room.tick_at_ms = None;
                room.coordinator.tick(now_ms);
                if let Some(partition) = &mut room.partition {
                    partition.tick(now_ms);
                }
                self.touched.insert(id);
            }
        }
        if now_ms >= self.expire_at_ms {
            self.expire_at_ms = now_ms + EXPIRE_EVERY_MS;
            let wall_ms = clock::wall_ms();
            for id in &self.expiring {
                let room = self.rooms.get_mut(id);
                let Some(partition) = room.and_then(|room| room.partition.as_mut()) else {
                    continue;
                };
                let removal = partition.state().machine.expire(wall_ms);
                if let Some(removal) = removal
                    && partition.replica().owned().is_some()
                {
                    partition.propose(removal);
                    self.touched.insert(*id);
                }
            }
        }
    }

    /// Does what there is to do in every room that was touched.
    fn work(&mut self) {
        while let Some(id) = self.touched.pop_first() {
            self.work_in(id);
        }
        self.write();
        for (to, bundle) in std::mem::take(&mut self.bundles) {
            self.links.send(to, bundle);
        }
    }

    fn work_in(&mut self, id: PartitionId) {
        let Some(mut room) = self.rooms.remove(&id) else {
            return;
        };
        loop {
            let now_ms = self.now_ms();
            let mut is_quiet = true;
            for (to, request) in room.coordinator.requests() {
                is_quiet = false;
                match &mut room.partition {
                    Some(partition) if to == self.replica => {
                        partition.request(to, request, now_ms);
                    }
                    _ => self.send(to, id, &Packet::Request(request)),
                }
            }
            if let Some(partition) = &mut room.partition {
                is_quiet &= !self.work_on(id, partition, &mut room.coordinator, now_ms);
            }
            for (task, given) in room.coordinator.ended() {
                if let Some(waiting) = self.waiting.remove(&task) {
                    // Whoever asked may have gone.
                    let _ = waiting.send(given);
                }
            }
            if is_quiet {
                break;
            }
        }
        self.plan_tick(id, &mut room);
        self.rooms.insert(id, room);
    }

    /// Does what the replica has to do; says whether that may lead to more.
    fn work_on(
        &mut self,
        id: PartitionId,
        partition: &mut Partition<Machine>,
        coordinator: &mut Coordinator<Answered>,
        now_ms: u64,
    ) -> bool {
        let wall_ms = clock::wall_ms();
        let work = partition.ready(wall_ms, |_| unreachable!("no snapshot is ever sent"));
        if !work.records.is_empty() {
            let encoded = work.records.iter().map(|it| wire::encode_record(id, it));
            self.records.extend(encoded);
            self.written.insert(id, work.written);
        }
        for (to, message) in work.messages {
            self.send(to, id, &Packet::Message(message));
        }
        for (to, request) in work.requests {
            self.send(to, id, &Packet::Request(request));
        }
        let mut leads_on = work.again;
        for (to, response) in work.responses {
            if to == self.replica {
                coordinator.response(to, response, now_ms);
                leads_on = true;
            } else {
                self.send(to, id, &Packet::Response(response));
            }
        }
        if !work.applied.is_empty() {
            // On every replica, or they pile up.
            let effects = partition.machine_mut().take_effects();
            if partition.replica().owned().is_some() {
                self.news.tell(&effects.events);
            }
            let machine = &partition.state().machine;
            if machine.has_expiring() {
                self.expiring.insert(id);
            } else {
                self.expiring.remove(&id);
            }
        }
        leads_on
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
        let partition = room.partition.as_ref();
        let wanted = [
            room.coordinator.wants_tick_at_ms(),
            partition.and_then(Partition::wants_tick_at_ms),
        ];
        let wanted = wanted.into_iter().flatten().min();
        if wanted != room.tick_at_ms {
            if let Some(planned) = room.tick_at_ms {
                self.ticks.remove(&(planned, id));
            }
            room.tick_at_ms = wanted;
            self.ticks.extend(wanted.map(|at_ms| (at_ms, id)));
        }
    }

    /// Hands records to the journal, all of them or none.
    fn write(&mut self) {
        if self.records.is_empty() {
            return;
        }
        let now_ms = self.now_ms();
        if self.journal_retry_at_ms.is_some_and(|at_ms| now_ms < at_ms) {
            return;
        }
        self.journal_retry_at_ms = None;
        let numbers: Vec<(PartitionId, u64)> = self
            .written
            .iter()
            .map(|(id, number)| (*id, *number))
            .collect();
        let urgent = self.urgent.clone();
        let done = move |result: Result<(), JournalError>| {
            // A failed sync ends the process; see the journal's options.
            if result.is_ok() {
                let _ = urgent.send(Urgent::Synced(numbers));
            }
        };
        match self.journal.append(self.records.clone(), done) {
            Ok(_) => {
                self.records.clear();
                self.written.clear();
            }
            Err(error) => {
                tracing::warn!(%error, "hot data waits for its journal");
                self.journal_retry_at_ms = Some(now_ms + JOURNAL_RETRY_MS);
            }
        }
    }
}
