//! The run: events in order of virtual time.

mod clients;
mod faults;
mod nodes;
mod placement;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use atoll_base::id::ReplicaId;
use atoll_kv::core::{
    partition::{Look, Request, Response, Seen},
    paxos::{Ballot, Members, Message, Settings},
};
use atoll_world::random::Stream;

use super::{
    NODES, Planted, REPLICAS, Report, STORM_US,
    control::Control,
    history::History,
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
    /// Whether some calls wait for something to do.
    pub(super) takes: bool,
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
        takes: true,
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
    /// A client goes away while a call waits.
    Leave(usize, usize),
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
    patience: Stream,
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
            patience: Stream::new(seed ^ 0x5061_7469),
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
            Event::Leave(client, call) => self.leave(client, call),
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
}
