//! Three nodes with coordinators, the log, participants of every kind, clients, and all that is
//! on its way between them. Everything follows from the seed. Nodes and participants crash after
//! any step, with any part of its effects done, until the faults end.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    super::{
        Branch, Coordinator, Kind, Order, Record, Rules, Settings, Termination, TransactionId,
        Version,
        coordinator::{Effect, Input, RequestId, Ticket},
        participant::{Callback, PeerMessage, Prepared, Steps, ThreePhase, Timing},
        types::Place,
    },
    checks::Checks,
    clients::Client,
    keyspace::Keyspace,
};
use crate::core::chance;

pub(super) const NODES: usize = 3;
/// Faults end then.
pub(super) const FAULTS_MS: u64 = 3_000;
/// All must have ended by then.
const END_MS: u64 = 60_000;

/// What a world is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) kind: Kind,
    /// Messages come within a known time: silence means death.
    pub(super) is_synchronous: bool,
    pub(super) rules: Rules,
    pub(super) recovered_only_ask: bool,
    /// Participants lose their votes in a crash: a mistake.
    pub(super) forgets_votes: bool,
    /// Keys are written though the record is not as it was read: a mistake.
    pub(super) writes_keys_unguarded: bool,
    /// A decision is written though keys refuse it, and leaves them as they are: a mistake.
    pub(super) decides_without_keys: bool,
}

impl Options {
    pub(super) fn of(kind: Kind) -> Self {
        Options {
            kind,
            is_synchronous: kind == Kind::ThreePhase(Termination::ByPeers),
            rules: Rules::default(),
            recovered_only_ask: true,
            forgets_votes: false,
            writes_keys_unguarded: false,
            decides_without_keys: false,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A client's request, a participant's report: at any start of the node.
    Node {
        to: usize,
        input: Input,
    },
    /// The log's answer: at this start of it only.
    Log {
        to: usize,
        start: u64,
        input: Input,
    },
    Write {
        from: usize,
        start: u64,
        effect: Effect,
    },
    Load {
        from: usize,
        start: u64,
        id: TransactionId,
    },
    /// The driver has waited long enough.
    Unclear {
        to: usize,
        start: u64,
        ticket: Ticket,
    },
    Tick {
        to: usize,
    },
    Scan {
        node: usize,
    },
    Start {
        node: usize,
    },
    /// All nodes are gone until the faults end.
    Dark,
    Participant {
        to: usize,
        from: Option<usize>,
        branch: Branch,
        order: Order,
    },
    Peer {
        to: usize,
        branch: Branch,
        from: Place,
        message: PeerMessage,
    },
    ParticipantTick {
        to: usize,
    },
    ParticipantStart {
        to: usize,
    },
    List {
        participant: usize,
    },
    Client {
        number: usize,
    },
    /// A client begins: whoever hears it draws an id.
    Begin {
        to: usize,
        request: RequestId,
    },
}

pub(super) struct Node {
    pub(super) coordinator: Option<Coordinator>,
    pub(super) start: u64,
    pub(super) open: BTreeSet<Ticket>,
}

pub(super) enum Core {
    Prepared(Prepared),
    Callback(Callback),
    ThreePhase(ThreePhase),
    Steps(Steps),
}

pub(super) struct Participant {
    pub(super) core: Core,
    pub(super) is_up: bool,
}

pub(super) struct World {
    pub(super) options: Options,
    pub(super) settings: Settings,
    pub(super) random: u64,
    pub(super) now_ms: u64,
    events: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub(super) nodes: Vec<Node>,
    pub(super) is_dark: bool,
    /// The first two participants and the nodes can't be reached from the others, nor reach them.
    pub(super) is_cut: bool,
    pub(super) revision: u64,
    pub(super) log: BTreeMap<TransactionId, (Version, Bytes)>,
    pub(super) keyspace: Keyspace,
    pub(super) participants: Vec<Participant>,
    pub(super) clients: Vec<Client>,
    /// Whose transactions these are.
    pub(super) begun: BTreeMap<TransactionId, usize>,
    pub(super) checks: Checks,
}

impl World {
    pub(super) fn new(seed: u64, options: Options) -> World {
        let mut random = seed;
        let settings = Settings {
            vote_ms: 1_500,
            pre_commit_ms: 800,
            yes_ms: 400,
            retry_ms_min: 50,
            retry_ms_max: 400,
            keep_ms: [300, 5_000][usize::from(chance::below(&mut random, 2) == 1)],
            rules: options.rules,
            ..Settings::default()
        };
        let mut world = World {
            options,
            settings,
            random,
            now_ms: 1_000_000,
            events: 0,
            queue: BTreeMap::new(),
            nodes: Vec::new(),
            is_dark: false,
            is_cut: false,
            revision: 0,
            log: BTreeMap::new(),
            keyspace: Keyspace::default(),
            participants: Vec::new(),
            clients: Vec::new(),
            begun: BTreeMap::new(),
            checks: Checks::default(),
        };
        world.now_ms = 0;
        for node in 0..NODES {
            let start = 0;
            world.nodes.push(Node {
                coordinator: None,
                start,
                open: BTreeSet::new(),
            });
            world.after(0, Event::Start { node });
            world.after(500 + node as u64, Event::Scan { node });
        }
        for participant in 0..4 {
            let core = world.core(participant);
            world.participants.push(Participant { core, is_up: true });
            world.after(700 + participant as u64, Event::List { participant });
        }
        if options.is_synchronous && world.chance(30) {
            let at_ms = chance::below(&mut world.random, 1_500);
            world.after(at_ms, Event::Dark);
        }
        for number in 0..3 {
            let client = Client::new(&mut world.random, options.kind);
            let at_ms = chance::below(&mut world.random, 1_000);
            world.after(at_ms, Event::Client { number });
            world.clients.push(client);
        }
        world
    }

    fn core(&self, participant: usize) -> Core {
        let timing = Timing {
            silence_ms: 600,
            rank_ms: 150,
            answer_ms: 60,
            recovered_only_ask: self.options.recovered_only_ask,
        };
        match self.options.kind {
            Kind::TwoPhase if participant.is_multiple_of(2) => Core::Prepared(Prepared::default()),
            Kind::TwoPhase => Core::Callback(Callback::default()),
            Kind::ThreePhase(by) => Core::ThreePhase(ThreePhase::new(by, timing)),
            Kind::Saga => Core::Steps(Steps::default()),
        }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// What must not be.
    pub(super) fn run(mut self) -> Result<Checks, String> {
        while let Some(((at_ms, _), event)) = self.queue.pop_first() {
            self.now_ms = at_ms;
            let is_scan = matches!(event, Event::Scan { .. });
            self.happen(event);
            self.checks.violation()?;
            if is_scan && self.now_ms > FAULTS_MS && self.is_quiet() {
                return self.checks.at_end().map(|()| self.checks);
            }
            if self.now_ms > END_MS {
                return Err(format!("not all has ended: {}", self.describe_open()));
            }
        }
        Err("nothing happens any more".to_owned())
    }

    pub(super) fn are_faults(&self) -> bool {
        self.now_ms < FAULTS_MS
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        chance::below(&mut self.random, 100) < percent
    }

    pub(super) fn after(&mut self, delay_ms: u64, event: Event) {
        self.events += 1;
        self.queue
            .insert((self.now_ms + delay_ms, self.events), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Node { to, input } => self.step(to, input),
            Event::Log { to, start, input } => {
                if self.nodes[to].start == start {
                    if let Input::Written { ticket, .. }
                    | Input::Conflict { ticket }
                    | Input::Refused { ticket, .. } = &input
                        && !self.nodes[to].open.remove(ticket)
                    {
                        return;
                    }
                    self.step(to, input);
                }
            }
            Event::Unclear { to, start, ticket } => {
                if self.nodes[to].start == start && self.nodes[to].open.remove(&ticket) {
                    self.step(to, Input::Unclear { ticket });
                }
            }
            Event::Write {
                from,
                start,
                effect,
            } => self.write(from, start, effect),
            Event::Load { from, start, id } => {
                let found = self.log.get(&id).cloned();
                let found = found.map(|(version, bytes)| (version, decode(bytes)));
                let delay_ms = self.delay_of_log();
                let input = Input::Found { id, found };
                self.after(
                    delay_ms,
                    Event::Log {
                        to: from,
                        start,
                        input,
                    },
                );
            }
            Event::Tick { to } => {
                let due = |it: &Coordinator| it.due_at_ms().is_some_and(|it| it <= self.now_ms);
                if self.nodes[to].coordinator.as_ref().is_some_and(due) {
                    self.step(to, Input::Tick);
                }
            }
            Event::Scan { node } => self.scan(node),
            Event::Start { node } => self.start(node),
            Event::Dark => self.darken(),
            Event::Participant {
                to,
                from,
                branch,
                order,
            } => {
                self.order(to, from, branch, &order);
            }
            Event::Peer {
                to,
                branch,
                from,
                message,
            } => {
                let now_ms = self.now_ms;
                if self.participants[to].is_up
                    && let Core::ThreePhase(core) = &mut self.participants[to].core
                {
                    core.hear(now_ms, branch, from, message);
                    self.act(to);
                }
            }
            Event::ParticipantTick { to } => {
                let now_ms = self.now_ms;
                if self.participants[to].is_up
                    && let Core::ThreePhase(core) = &mut self.participants[to].core
                    && core.due_at_ms().is_some_and(|it| it <= now_ms)
                {
                    core.tick(now_ms);
                    self.act(to);
                }
            }
            Event::ParticipantStart { to } => {
                let now_ms = self.now_ms;
                self.participants[to].is_up = true;
                if let Core::ThreePhase(core) = &mut self.participants[to].core {
                    core.restart(now_ms);
                    self.act(to);
                }
            }
            Event::List { participant } => self.list(participant),
            Event::Client { number } => self.client(number),
            Event::Begin { to, request } => self.begin(to, request),
        }
    }
}

pub(super) fn decode(bytes: Bytes) -> Record {
    Record::decode(bytes).expect("it was written by us")
}
