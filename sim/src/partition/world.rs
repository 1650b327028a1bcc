//! The run: events in order of virtual time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use atoll_base::id::ReplicaId;
use atoll_kv::core::{
    partition::{Given, Look, Outcome, Request, Response, Seen},
    paxos::{Ballot, Done, Members, Message, Settings},
};
use atoll_world::random::Stream;

use super::{
    NODES, Planted, REPLICAS, Report, STORM_US,
    control::{Control, Report as OwnerReport},
    history::{Call, History},
    network::{DELAY_US_MAX, Network},
    node::{Node, Snapshots},
    plan::{Fault, Step},
    registers::{KEYS, Op},
};

const CLIENTS: usize = 5;
/// How a run is to be.
#[derive(Clone, Copy)]
pub(super) struct Conditions {
    /// Replicas of the partition in the beginning.
    pub(super) members: [usize; REPLICAS],
    /// For so long clients work.
    pub(super) lasts_us: u64,
    /// How long a client waits for an answer.
    pub(super) deadline_ms: u64,
    /// Between two calls of a client, at the most.
    pub(super) think_us_max: u64,
    /// Whether clients go from node to node.
    pub(super) roams: bool,
    /// The longest way of a message.
    pub(super) delay_us_max: u64,
    /// The longest sync.
    pub(super) sync_us_max: u64,
    /// Whether some nodes hear of the control plane's steps later than others.
    pub(super) hears_late: bool,
}

impl Conditions {
    pub(super) const STORM: Conditions = Conditions {
        members: [0, 1, 2],
        lasts_us: STORM_US,
        deadline_ms: 400,
        think_us_max: 12_000,
        roams: true,
        delay_us_max: DELAY_US_MAX,
        sync_us_max: SYNC_US_MAX,
        hears_late: true,
    };
}

const SYNC_US_MAX: u64 = 2_000;
/// How often the control plane looks.
const CONTROL_US: u64 = 7_000;
/// After the storm everybody has to be answered within so long.
const HEALED_US: u64 = 6_000_000;
/// A run has no more events than this.
const EVENTS_MAX: usize = 2_000_000;

#[derive(Clone, Debug, Hash)]
enum Packet {
    Message(Message),
    Request(Request),
    Response(Response<u64>),
    Look(Look),
    Seen(Seen<u64>),
}

#[derive(Clone, Debug, Hash)]
enum Event {
    Deliver(usize, usize, Packet),
    Synced(usize, u64, u64),
    Tick(usize),
    /// A node looks whether a link is up.
    Link(usize, usize),
    Call(usize),
    Control,
    Fault(usize),
    FaultEnds(usize),
    Start(usize),
    /// The storm is over.
    Heal,
}

struct Client {
    node: usize,
    /// The call that waits.
    call: Option<usize>,
    /// After the storm: the keys still to be read.
    last_reads: Vec<usize>,
}

/// A call that was answered or given up: where it came from, when it was made, and how long it
/// took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) node: usize,
    pub(super) called_us: u64,
    pub(super) took_us: u64,
}

pub(super) struct World {
    now_us: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    /// Events by number; numbers break ties in time.
    bodies: BTreeMap<u64, Event>,
    numbers: u64,
    nodes: Vec<Node>,
    network: Network,
    snapshots: Snapshots,
    control: Control,
    clients: Vec<Client>,
    history: History,
    void: Vec<usize>,
    steps: Vec<Step>,
    settings: Settings,
    random: Stream,
    disks: Stream,
    work: Stream,
    next_value: u64,
    storm: bool,
    ballots: BTreeSet<Ballot>,
    sent_snapshots: usize,
    trace: DefaultHasher,
    conditions: Conditions,
    waits: Vec<Wait>,
    looks: usize,
}

fn id(node: usize) -> ReplicaId {
    ReplicaId(node as u64 + 1)
}

fn place(replica: ReplicaId) -> usize {
    usize::try_from(replica.0 - 1).expect("a node's place")
}

impl World {
    pub(super) fn new(
        seed: u64,
        settings: Settings,
        steps: &[Step],
        planted: Option<Planted>,
        conditions: Conditions,
    ) -> Self {
        let members = Members::new(conditions.members.map(id).to_vec()).expect("some");
        let leaves_early = planted == Some(Planted::LeavesJointEarly);
        let mut world = World {
            now_us: 0,
            events: BinaryHeap::new(),
            bodies: BTreeMap::new(),
            numbers: 0,
            nodes: (0..NODES)
                .map(|at| Node::new(id(at), conditions.sync_us_max))
                .collect(),
            network: Network::new(Stream::new(seed ^ 0x4e65_7477), conditions.delay_us_max),
            snapshots: Snapshots::default(),
            control: Control::new(members, leaves_early),
            clients: (0..CLIENTS)
                .map(|at| Client {
                    node: at % NODES,
                    call: None,
                    last_reads: (0..KEYS).collect(),
                })
                .collect(),
            history: History::default(),
            void: Vec::new(),
            steps: steps.to_vec(),
            settings,
            random: Stream::new(seed ^ 0x576f_726c),
            disks: Stream::new(seed ^ 0x4469_736b),
            work: Stream::new(seed ^ 0x576f_726b),
            next_value: 1_000_000,
            storm: true,
            ballots: BTreeSet::new(),
            sent_snapshots: 0,
            trace: DefaultHasher::new(),
            conditions,
            waits: Vec::new(),
            looks: 0,
        };
        for at in 0..NODES {
            world.start(at);
        }
        world.place();
        for client in 0..CLIENTS {
            world.after(client as u64 * 500, Event::Call(client));
        }
        for (at, step) in steps.iter().enumerate() {
            world.after(step.at_us, Event::Fault(at));
        }
        world.after(CONTROL_US, Event::Control);
        world.after(conditions.lasts_us, Event::Heal);
        world
    }

    /// One event; none is left, if it says no.
    fn turn(&mut self) -> bool {
        let Some(Reverse((at_us, number))) = self.events.pop() else {
            return false;
        };
        self.now_us = at_us;
        if let Some(event) = self.bodies.remove(&number) {
            (at_us, &event).hash(&mut self.trace);
            self.handle(event);
        }
        true
    }

    /// Goes on up to a moment.
    pub(super) fn run_until(&mut self, until_us: u64) {
        while self.now_us < until_us && self.turn() {}
    }

    /// Who owns the ballot, as one of the replicas thinks that it does.
    pub(super) fn owner(&self) -> Option<usize> {
        let owned = (0..NODES).filter_map(|at| {
            let process = self.nodes[at].process.as_ref()?;
            let ballot = process.partition.as_ref()?.replica().owned()?;
            Some((ballot, at))
        });
        owned.max().map(|(_, at)| at)
    }

    /// The longest time after which a coordinator asks somebody else.
    pub(super) fn hedge_ms(&self) -> u64 {
        let processes = self.nodes.iter().filter_map(|node| node.process.as_ref());
        let hedges = processes.map(|process| process.coordinator.hedge_ms());
        hedges.max().unwrap_or_default()
    }

    /// Has one more thing go wrong, now.
    pub(super) fn strike(&mut self, fault: Fault) {
        self.steps.push(Step {
            at_us: self.now_us,
            fault,
        });
        self.fault(self.steps.len() - 1);
    }

    /// How long calls took that ended so far; those that still wait took until now.
    pub(super) fn waits(&self) -> impl Iterator<Item = Wait> {
        let open = self.clients.iter().filter_map(|client| {
            let called_us = self.history.calls[client.call?].invoked;
            Some(Wait {
                node: client.node,
                called_us,
                took_us: self.now_us - called_us,
            })
        });
        self.waits.iter().copied().chain(open)
    }

    /// Number of finished moves.
    pub(super) fn moves(&self) -> usize {
        self.control.moves
    }

    pub(super) fn run(mut self) -> Report {
        for _ in 0..EVENTS_MAX {
            if !self.turn() {
                break;
            }
            let done = !self.storm
                && self
                    .clients
                    .iter()
                    .all(|client| client.last_reads.is_empty() && client.call.is_none());
            if done || self.now_us > self.conditions.lasts_us + HEALED_US {
                break;
            }
        }
        for client in 0..CLIENTS {
            if !self.clients[client].last_reads.is_empty() {
                self.history.violate(format!(
                    "everybody is answered after the storm: client {client} was not"
                ));
            }
        }
        for at in std::mem::take(&mut self.void) {
            // Never took effect: as if it had never been called.
            self.history.calls[at].op = Op::Get;
            self.history.calls[at].returned = None;
        }
        let answered = self.history.calls.iter().filter(|it| it.returned.is_some());
        let calls = (self.history.calls.len(), answered.count());
        let entries = self.history.entries();
        let (violations, undecided) = self.history.check();
        Report {
            violations,
            undecided,
            calls,
            entries,
            takeovers: self.ballots.len(),
            moves: self.control.moves,
            looks: self.looks,
            snapshots: self.sent_snapshots,
            trace: self.trace.finish(),
        }
    }

    fn after(&mut self, delay_us: u64, event: Event) {
        self.numbers += 1;
        self.events
            .push(Reverse((self.now_us + delay_us, self.numbers)));
        self.bodies.insert(self.numbers, event);
    }

    fn handle(&mut self, event: Event) {
        // What comes to a frozen node waits for it.
        if let Event::Deliver(_, node, _)
        | Event::Synced(node, ..)
        | Event::Tick(node)
        | Event::Link(node, _) = event
        {
            let frozen_until_us = self.nodes[node].frozen_until_us;
            if frozen_until_us > self.now_us {
                let it = &mut self.nodes[node];
                if matches!(event, Event::Tick(_)) && it.ticks_at_us == Some(self.now_us) {
                    it.ticks_at_us = Some(frozen_until_us);
                }
                self.after(frozen_until_us - self.now_us, event);
                return;
            }
        }
        match event {
            Event::Deliver(from, to, packet) => self.deliver(from, to, packet),
            Event::Synced(node, epoch, number) => self.synced(node, epoch, number),
            Event::Tick(node) => self.tick(node),
            Event::Link(node, peer) => self.link(node, peer),
            Event::Call(client) => self.call(client),
            Event::Control => self.look(),
            Event::Fault(at) => self.fault(at),
            Event::FaultEnds(at) => self.fault_ends(at),
            Event::Start(node) => {
                self.start(node);
                self.pump(node);
            }
            Event::Heal => self.heal(),
        }
    }

    // Nodes.

    fn start(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        let seed = self.random.u64();
        let members = self.control.configuration.voters().iter().collect();
        let hedge_ms = self.settings.hedge_ms;
        self.nodes[node].start(members, hedge_ms, self.settings, seed);
        for other in 0..NODES {
            if other != node {
                self.notice(node, other);
            }
        }
    }

    fn crash(&mut self, node: usize, power: bool, lasts_us: u64) {
        if self.nodes[node].process.take().is_none() {
            return;
        }
        self.nodes[node].frozen_until_us = 0;
        self.nodes[node].ticks_at_us = None;
        let Node { disk, .. } = &mut self.nodes[node];
        disk.crash(power, &mut self.disks, &self.snapshots);
        self.after(lasts_us, Event::Start(node));
        for other in 0..NODES {
            if other != node {
                self.notice(other, node);
            }
        }
        for client in 0..CLIENTS {
            if self.clients[client].node == node && self.clients[client].call.take().is_some() {
                self.call_later(client);
            }
        }
    }

    /// Both ends look at a link soon.
    fn notice(&mut self, one: usize, other: usize) {
        let (first, second) = (self.random.range(100..4_000), self.random.range(100..4_000));
        self.after(first, Event::Link(one, other));
        self.after(second, Event::Link(other, one));
    }

    fn link(&mut self, node: usize, peer: usize) {
        let is_up = self.nodes[peer].process.is_some() && self.network.looks_up(node, peer);
        let now_ms = self.nodes[node].now_ms(self.now_us);
        if let Some(process) = &mut self.nodes[node].process {
            process.coordinator.link(id(peer), is_up, now_ms);
            if let Some(partition) = &mut process.partition {
                partition.replica_mut().link(id(peer), is_up, now_ms);
            }
        }
        self.pump(node);
    }

    fn tick(&mut self, node: usize) {
        if self.nodes[node].ticks_at_us != Some(self.now_us) {
            return;
        }
        self.nodes[node].ticks_at_us = None;
        let now_ms = self.nodes[node].now_ms(self.now_us);
        if let Some(process) = &mut self.nodes[node].process {
            process.coordinator.tick(now_ms);
            if let Some(partition) = &mut process.partition {
                partition.tick(now_ms);
            }
        }
        self.pump(node);
    }

    fn deliver(&mut self, from: usize, to: usize, packet: Packet) {
        let now_ms = self.nodes[to].now_ms(self.now_us);
        let Some(process) = &mut self.nodes[to].process else {
            return;
        };
        match (packet, &mut process.partition) {
            (Packet::Response(response), partition) => {
                if response.origin.session.replica == id(to) {
                    process.coordinator.response(id(from), response, now_ms);
                } else if let Some(partition) = partition {
                    partition.response(response);
                }
            }
            (Packet::Message(message), Some(partition)) => {
                partition.step(id(from), message, now_ms);
            }
            (Packet::Request(request), Some(partition)) => {
                partition.request(id(from), request, now_ms);
            }
            // The partition is not here.
            (Packet::Request(request), None) => {
                let response = Response {
                    origin: request.origin,
                    outcome: Outcome::NotOwner(None),
                };
                self.letter(to, id(from), Packet::Response(response));
            }
            (Packet::Look(look), Some(partition)) => {
                let seen = partition.look(&look);
                self.letter(to, id(from), Packet::Seen(seen));
            }
            (Packet::Seen(seen), _) => self.seen(to, id(from), seen),
            (Packet::Message(_) | Packet::Look(_), None) => {}
        }
        self.pump(to);
    }

    /// A coordinator hears what a replica sees.
    fn seen(&mut self, node: usize, from: ReplicaId, seen: Seen<u64>) {
        let now_ms = self.nodes[node].now_ms(self.now_us);
        if let Some(process) = &mut self.nodes[node].process {
            let before = process.coordinator.pending();
            process.coordinator.seen(from, seen, now_ms);
            self.looks += before - process.coordinator.pending();
        }
    }

    fn synced(&mut self, node: usize, epoch: u64, number: u64) {
        let Node { disk, process, .. } = &mut self.nodes[node];
        if disk.epoch != epoch {
            return;
        }
        disk.synced(number, &self.snapshots);
        if let Some(partition) = process.as_mut().and_then(|it| it.partition.as_mut()) {
            partition.advance(Done::Synced(number));
        }
        self.pump(node);
    }

    /// Does what a node has to do, until there is nothing left.
    fn pump(&mut self, node: usize) {
        let own = id(node);
        loop {
            let now_ms = self.nodes[node].now_ms(self.now_us);
            let wall_ms = self.nodes[node].wall_ms(self.now_us);
            let Node { process, disk, .. } = &mut self.nodes[node];
            let Some(process) = process else {
                return;
            };
            let mut letters: Vec<(ReplicaId, Packet)> = Vec::new();
            let mut looked = Vec::new();
            for (to, look) in process.coordinator.looks() {
                match &mut process.partition {
                    Some(partition) if to == own => looked.push(partition.look(&look)),
                    _ => letters.push((to, Packet::Look(look))),
                }
            }
            for seen in looked {
                let before = process.coordinator.pending();
                process.coordinator.seen(own, seen, now_ms);
                self.looks += before - process.coordinator.pending();
            }
            let requests = process.coordinator.requests();
            let ended = process.coordinator.ended();
            let mut is_quiet = requests.is_empty() && ended.is_empty();
            for (to, request) in requests {
                match &mut process.partition {
                    Some(partition) if to == own => partition.request(own, request, now_ms),
                    _ => letters.push((to, Packet::Request(request))),
                }
            }
            if let Some(partition) = &mut process.partition {
                let snapshots = &self.snapshots;
                let work = partition.ready(wall_ms, |snapshot| snapshots.load(snapshot));
                if let Some(ballot) = partition.replica().owned() {
                    self.ballots.insert(ballot);
                }
                is_quiet &= work.records.is_empty()
                    && work.messages.is_empty()
                    && work.requests.is_empty()
                    && work.responses.is_empty()
                    && work.snapshots.is_empty()
                    && !work.again;
                disk.write(work.records, work.written);
                for entry in &work.applied {
                    self.history.applied(node, entry);
                }
                self.history.state(node, partition.state());
                for to in work.snapshots {
                    let snapshot = self.snapshots.store(partition.state());
                    self.sent_snapshots += 1;
                    partition.send_snapshot(to, snapshot);
                }
                for (to, message) in work.messages {
                    letters.push((to, Packet::Message(message)));
                }
                for (to, request) in work.requests {
                    letters.push((to, Packet::Request(request)));
                }
                for (to, response) in work.responses {
                    if to == own {
                        process.coordinator.response(own, response, now_ms);
                    } else {
                        letters.push((to, Packet::Response(response)));
                    }
                }
                if let Some(number) = disk.begins_sync() {
                    let took_us = self.disks.range(50..=disk.sync_us_max);
                    let epoch = disk.epoch;
                    self.after(took_us, Event::Synced(node, epoch, number));
                }
            }
            for (to, packet) in letters {
                self.letter(node, to, packet);
            }
            for (call, given) in ended {
                self.ended(usize::try_from(call).expect("a call's place"), given);
            }
            if is_quiet {
                break;
            }
        }
        self.plan_tick(node);
    }

    fn letter(&mut self, from: usize, to: ReplicaId, packet: Packet) {
        for way_us in self.network.ways_us(from, place(to)) {
            self.after(way_us, Event::Deliver(from, place(to), packet.clone()));
        }
    }

    fn plan_tick(&mut self, node: usize) {
        let now_us = self.now_us;
        let it = &mut self.nodes[node];
        let Some(process) = &it.process else {
            return;
        };
        let partition = process.partition.as_ref();
        let wanted_ms = [
            process.coordinator.wants_tick_at_ms(),
            partition.and_then(|partition| partition.wants_tick_at_ms()),
        ];
        let Some(at_ms) = wanted_ms.into_iter().flatten().min() else {
            return;
        };
        let delay_us = at_ms.saturating_sub(it.now_ms(now_us)).max(1) * 1_000;
        let at_us = now_us + delay_us;
        if it
            .ticks_at_us
            .is_none_or(|planned| planned > at_us || planned <= now_us)
        {
            it.ticks_at_us = Some(at_us);
            self.after(delay_us, Event::Tick(node));
        }
    }

    // Clients.

    fn call_later(&mut self, client: usize) {
        let think_us = self.work.range(1..self.conditions.think_us_max);
        self.after(think_us, Event::Call(client));
    }

    fn call(&mut self, client: usize) {
        if self.clients[client].call.is_some() {
            return;
        }
        let key = if self.storm {
            self.work.range(0..KEYS)
        } else if let Some(key) = self.clients[client].last_reads.last() {
            *key
        } else {
            return;
        };
        if self.conditions.roams && self.work.chance(0.3) {
            self.clients[client].node = self.work.range(0..NODES);
        }
        let node = self.clients[client].node;
        let now_ms = self.nodes[node].now_ms(self.now_us);
        let frozen = self.nodes[node].frozen_until_us > self.now_us;
        let Some(process) = self.nodes[node].process.as_mut().filter(|_| !frozen) else {
            self.clients[client].node = (node + 1) % NODES;
            self.call_later(client);
            return;
        };
        self.next_value += 1;
        let value = self.next_value;
        let op = match self.work.range(0..10) {
            _ if !self.storm => Op::Get,
            0..=3 => Op::Get,
            4..=5 => Op::Set(value * 1_000),
            6..=8 => Op::Add(1),
            _ => Op::Swap(self.work.range(0..value) * 1_000, value * 1_000),
        };
        let at = self.history.calls.len();
        self.history.calls.push(Call {
            client,
            key,
            op,
            invoked: self.now_us,
            returned: None,
        });
        self.clients[client].call = Some(at);
        process.coordinator.submit(
            at as u64,
            op.reads(),
            op.encode(key),
            now_ms,
            now_ms + self.conditions.deadline_ms,
        );
        self.pump(node);
    }

    fn ended(&mut self, call: usize, given: Given<u64>) {
        let client = self.history.calls[call].client;
        if self.clients[client].call != Some(call) {
            return;
        }
        self.clients[client].call = None;
        let called_us = self.history.calls[call].invoked;
        self.waits.push(Wait {
            node: self.clients[client].node,
            called_us,
            took_us: self.now_us - called_us,
        });
        match given {
            Given::Reply(reply) => {
                // Two events never share a moment, so an answer is after whatever caused it.
                self.history.calls[call].returned = Some((self.now_us, reply));
                if !self.storm && self.history.calls[call].op == Op::Get {
                    self.clients[client].last_reads.pop();
                }
            }
            Given::Refused => self.void.push(call),
            Given::Unknown => {}
        }
        self.call_later(client);
    }

    // The control plane.

    fn look(&mut self) {
        for node in 0..NODES {
            let Some(process) = &mut self.nodes[node].process else {
                continue;
            };
            let members = self.control.configuration.voters().iter().collect();
            process.coordinator.set_members(members);
            let Some(partition) = &mut process.partition else {
                continue;
            };
            let replica = partition.replica_mut();
            let Some(ballot) = replica.owned() else {
                continue;
            };
            replica.set_learners(self.control.learners());
            let report = OwnerReport {
                configuration: ballot.configuration,
                commit: replica.commit(),
                matched: (0..NODES)
                    .filter_map(|at| Some((id(at), replica.matched(id(at))?)))
                    .collect(),
                proof: replica.joint_proof(),
            };
            self.control.step(&report);
            self.pump(node);
        }
        self.place();
        self.after(CONTROL_US, Event::Control);
    }

    /// Tells every node what is decided, and has it hold the partition or not.
    fn place(&mut self) {
        let holders = self.control.holders();
        let configuration = self.control.configuration.clone();
        for node in 0..NODES {
            // Some hear of it later than others.
            if self.conditions.hears_late && self.storm && self.random.chance(0.3) {
                continue;
            }
            let seed = self.random.u64();
            let now_ms = self.nodes[node].now_ms(self.now_us);
            let it = &mut self.nodes[node];
            let Some(process) = &mut it.process else {
                continue;
            };
            if !holders.contains(&id(node)) {
                let closed = process.partition.take();
                it.disk.forget();
                let told = closed.map(|partition| partition.close());
                for (to, response) in told.into_iter().flatten() {
                    self.closed(node, to, response);
                }
                continue;
            }
            it.place(&configuration, self.settings, seed);
            if let Some(partition) = it.process.as_mut().and_then(|it| it.partition.as_mut()) {
                partition
                    .replica_mut()
                    .configure(configuration.clone(), now_ms);
            }
            self.pump(node);
        }
    }

    /// The partition at a node is closed: somebody waited there.
    fn closed(&mut self, node: usize, to: ReplicaId, response: Response<u64>) {
        let now_ms = self.nodes[node].now_ms(self.now_us);
        if to != id(node) {
            self.letter(node, to, Packet::Response(response));
        } else if let Some(process) = &mut self.nodes[node].process {
            process.coordinator.response(to, response, now_ms);
            self.pump(node);
        }
    }

    // Faults.

    fn fault(&mut self, at: usize) {
        let fault = self.steps[at].fault.clone();
        let lasts_us = match fault {
            Fault::Crash {
                node,
                power,
                lasts_us,
            } => {
                self.crash(node, power, lasts_us);
                return;
            }
            Fault::CrashAll { power, lasts_us } => {
                for node in 0..NODES {
                    self.crash(node, power, lasts_us);
                }
                return;
            }
            Fault::Freeze { node, lasts_us } => {
                self.nodes[node].frozen_until_us = self.now_us + lasts_us;
                return;
            }
            Fault::Skew {
                node,
                wall_ms,
                drift_ppm,
            } => {
                self.nodes[node].wall_ms = wall_ms;
                self.nodes[node].drift_ppm = drift_ppm;
                return;
            }
            Fault::Suspect { node } => {
                let now_ms = self.nodes[node].now_ms(self.now_us);
                let process = self.nodes[node].process.as_mut();
                if let Some(partition) = process.and_then(|it| it.partition.as_mut()) {
                    partition.replica_mut().take_over(now_ms);
                }
                self.pump(node);
                return;
            }
            Fault::Move { to } => {
                let members = Members::new(to.map(id).to_vec()).expect("some");
                self.control.wish(members);
                return;
            }
            Fault::Compact { node } => {
                self.compact(node);
                return;
            }
            Fault::Cut {
                from,
                to,
                told,
                lasts_us,
            } => {
                self.network.cut(from, to, told);
                self.notice(from, to);
                lasts_us
            }
            Fault::Isolate {
                node,
                told,
                lasts_us,
            } => {
                for other in (0..NODES).filter(|other| *other != node) {
                    self.network.cut(node, other, told);
                    self.network.cut(other, node, told);
                    self.notice(node, other);
                }
                lasts_us
            }
            Fault::BadNetwork {
                loss_percent,
                double_percent,
                delay_us_max,
                lasts_us,
            } => {
                self.network.loss_percent = loss_percent;
                self.network.double_percent = double_percent;
                self.network.delay_us_max = delay_us_max;
                lasts_us
            }
            Fault::SlowDisk {
                node,
                sync_us_max,
                lasts_us,
            } => {
                self.nodes[node].disk.sync_us_max = sync_us_max;
                lasts_us
            }
        };
        self.after(lasts_us, Event::FaultEnds(at));
    }

    fn fault_ends(&mut self, at: usize) {
        match self.steps[at].fault.clone() {
            Fault::Cut { from, to, told, .. } => {
                self.network.join(from, to, told);
                self.notice(from, to);
            }
            Fault::Isolate { node, told, .. } => {
                for other in (0..NODES).filter(|other| *other != node) {
                    self.network.join(node, other, told);
                    self.network.join(other, node, told);
                    self.notice(node, other);
                }
            }
            Fault::BadNetwork { .. } => {
                self.network.loss_percent = 0;
                self.network.double_percent = 0;
                self.network.delay_us_max = self.conditions.delay_us_max;
            }
            Fault::SlowDisk { node, .. } => {
                self.nodes[node].disk.sync_us_max = self.conditions.sync_us_max;
            }
            _ => {}
        }
    }

    fn compact(&mut self, node: usize) {
        let Node { process, disk, .. } = &mut self.nodes[node];
        if let Some(partition) = process.as_mut().and_then(|it| it.partition.as_mut()) {
            let state = partition.state().clone();
            let base = state.applied;
            if base.index > partition.replica().durable().log.base().index {
                disk.save(state);
                partition.advance(Done::Snapshot(base));
            }
        }
        self.pump(node);
    }

    /// Whatever began before goes on to its end; from then on nothing goes wrong any more.
    fn heal(&mut self) {
        self.storm = false;
        for client in 0..CLIENTS {
            self.call_later(client);
        }
    }
}
