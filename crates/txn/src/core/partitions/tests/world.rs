//! Transfers between accounts in several partitions, while coordinators die, answers are lost,
//! and transactions are taken for left that are not.
//!
//! Partitions are real state machines, each with a log of its own that any question may reach at
//! any moment. What is checked: the sum of all accounts is the same in every look at all of
//! them; what was acknowledged is seen by whoever looks later; what was refused was not done; and
//! in the end nothing is locked.

use std::collections::BTreeMap;

use atoll_base::id::{PartitionId, ReplicaId};
use atoll_kv::{
    api::{self, Answer, AtomicStep},
    core::{
        command,
        machine::{Answered, Call, Machine, Operation, Transact, Transacted, TransactionId},
        partition::{Given, Moment, Read, StateMachine as _},
        paxos::LogIndex,
        reply::Reply,
        sessions::Session,
    },
};
use atoll_ring::partition::Partitions;
use bytes::Bytes;

use crate::core::{
    chance,
    partitions::{Ask, End, Execution, Manner, Outcome, Program},
};

const ACCOUNTS: u64 = 6;
const EACH: i64 = 100;
const CLIENTS: usize = 4;
/// Steps of a run with faults, and of its end without.
const STEPS: usize = 600;

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        chance::next(&mut self.0)
    }

    fn below(&mut self, bound: usize) -> usize {
        let below = chance::below(&mut self.0, bound as u64);
        usize::try_from(below).expect("it is below one")
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// Mistakes that are made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// Reads don't wait for locks.
    ReadsThroughLocks,
    /// Who finds a transaction left aborts it without asking home.
    AbortsByItself,
    /// The client is told before it is decided.
    TellsTooEarly,
}

struct Site {
    machine: Machine,
    index: u64,
}

impl Site {
    fn apply(&mut self, now_ms: u64, seed: u64, operation: &Operation) -> Answered {
        self.index += 1;
        let at = Moment {
            now_ms,
            seed,
            index: LogIndex(self.index),
        };
        self.machine.apply(at, &operation.encode())
    }
}

/// What a client is busy with.
enum Work {
    /// A transfer, with the number that it writes down; then it looks for that.
    Transfer(i64),
    /// A look at all accounts.
    Look,
}

struct Client {
    work: Work,
    execution: Execution,
    asks: Vec<Ask>,
    has_ended: bool,
    program: Program,
    looks: u32,
}

struct World {
    partitions: Partitions,
    sites: BTreeMap<PartitionId, Site>,
    clients: Vec<Option<Client>>,
    /// The rest of transactions that were answered.
    endings: Vec<(Execution, Vec<Ask>)>,
    /// The last number of each client that was acknowledged, and that might have been done.
    acknowledged: Vec<(i64, i64)>,
    chance: Chance,
    next: u64,
    now_ms: u64,
    mistake: Mistake,
    faulty: bool,
    looked: usize,
    done: usize,
}

fn call(text: &str) -> AtomicStep {
    let words = text.split(' ');
    let words: Vec<Bytes> = words
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    let command = command::find(&words).expect("a command");
    AtomicStep::Call {
        database: 0,
        call: api::Call { command, words },
    }
}

impl World {
    fn new(seed: u64, mistake: Mistake) -> World {
        let partitions = Partitions::new(4).expect("some");
        let sites = partitions.ids().map(|id| {
            let machine = Machine::default();
            (id, Site { machine, index: 0 })
        });
        let mut world = World {
            partitions,
            sites: sites.collect(),
            clients: (0..CLIENTS).map(|_| None).collect(),
            endings: Vec::new(),
            acknowledged: vec![(0, 0); CLIENTS],
            chance: Chance(seed),
            next: 0,
            now_ms: 1_000,
            mistake,
            faulty: true,
            looked: 0,
            done: 0,
        };
        for account in 0..ACCOUNTS {
            let words = ["SET", &format!("a{account}"), &EACH.to_string()];
            let words = words.map(|word| Bytes::copy_from_slice(word.as_bytes()));
            let partition = partitions.of_key(&words[1]);
            let words = words.to_vec();
            let set = Operation::Call(Call { database: 0, words });
            let site = world.sites.get_mut(&partition).expect("all are there");
            site.apply(1_000, 1, &set);
        }
        world
    }

    fn id(&mut self) -> TransactionId {
        self.next += 1;
        TransactionId {
            session: Session {
                replica: ReplicaId(1),
                boot: 1,
            },
            number: self.next,
        }
    }

    fn begin(&mut self, client: usize) {
        let (work, steps) = if self.chance.one_in(3) {
            let gets = (0..ACCOUNTS).map(|account| call(&format!("GET a{account}")));
            let own = call(&format!("GET n{client}"));
            (Work::Look, gets.chain([own]).collect())
        } else {
            let from = self.chance.below(6);
            let to = self.chance.below(6);
            let amount = self.chance.below(20);
            let number = self.acknowledged[client].1 + 1;
            self.acknowledged[client].1 = number;
            let steps = vec![
                call(&format!("DECRBY a{from} {amount}")),
                call(&format!("SET n{client} {number}")),
                call(&format!("INCRBY a{to} {amount}")),
            ];
            (Work::Transfer(number), steps)
        };
        let program = Program::new(
            steps,
            &[],
            Vec::new(),
            self.partitions,
            5_000,
            self.chance.next(),
        );
        let program = program.expect("all of it can be done");
        let manner = [Manner::Looking, Manner::Locking, Manner::Waiting];
        let manner = manner[self.chance.below(3)];
        let execution = Execution::new(self.id(), program.clone(), manner);
        self.clients[client] = Some(Client {
            work,
            execution,
            asks: Vec::new(),
            has_ended: false,
            program,
            looks: 0,
        });
    }

    /// What a partition answers; none, while it has to wait.
    fn answer(&mut self, ask: &Ask) -> Option<Given<Answered>> {
        self.now_ms += 1;
        let lost = self.faulty && self.chance.one_in(40);
        if lost && self.chance.one_in(2) {
            return Some(match ask.reads {
                true => Given::Refused,
                false => Given::Unknown,
            });
        }
        let (now_ms, seed) = (self.now_ms, self.chance.next());
        let site = self.sites.get_mut(&ask.partition).expect("all are there");
        let operation = ask.operation.encode();
        if ask.reads {
            let as_of = LogIndex(site.index);
            let waits = site.machine.is_held_up(&operation, as_of);
            if waits && self.mistake != Mistake::ReadsThroughLocks {
                return None;
            }
            return match site.machine.read(now_ms, seed, &operation) {
                Read::Reply(reply) => Some(Given::Reply(reply)),
                Read::After(_) => panic!("nothing ends here"),
            };
        }
        if site.machine.is_held_up(&operation, LogIndex(site.index)) {
            return None;
        }
        let answered = site.apply(now_ms, seed, &ask.operation);
        Some(match lost {
            true => Given::Unknown,
            false => Given::Reply(answered),
        })
    }

    /// One thing happens.
    fn step(&mut self) {
        if self.faulty && self.chance.one_in(25) {
            return self.settle_one();
        }
        let at = self.chance.below(CLIENTS + 1);
        if at == CLIENTS {
            return self.end_one();
        }
        if self.clients[at].is_none() {
            if self.faulty {
                self.begin(at);
            }
            return;
        }
        if self.faulty && self.chance.one_in(120) {
            // It is gone, with everything it knew.
            self.clients[at] = None;
            return;
        }
        let Some(mut client) = self.clients[at].take() else {
            return;
        };
        client.asks.extend(client.execution.asks());
        if !client.asks.is_empty() {
            let ask = self.chance.below(client.asks.len());
            let ask = client.asks.swap_remove(ask);
            match self.answer(&ask) {
                Some(given) => client.execution.answered(ask.number, given),
                None => client.asks.push(ask),
            }
        }
        client.asks.extend(client.execution.asks());
        let is_told_early = self.mistake == Mistake::TellsTooEarly
            && !client.has_ended
            && client.asks.iter().any(|ask| {
                matches!(
                    &ask.operation,
                    Operation::Transact(Transact::Decide { commits: true, .. })
                )
            });
        if is_told_early && let Work::Transfer(number) = client.work {
            self.acknowledged[at].0 = number;
        }
        match client.execution.take_end() {
            Some(end) => self.ended(at, client, end),
            None => self.clients[at] = Some(client),
        }
    }

    fn ended(&mut self, at: usize, mut client: Client, end: End) {
        match end {
            End::Done(outcomes) => {
                match client.work {
                    Work::Transfer(number) => {
                        self.acknowledged[at].0 = number;
                        self.done += 1;
                    }
                    Work::Look => self.check(at, &outcomes),
                }
                self.endings.push((client.execution, client.asks));
            }
            End::Answer(Answer::Refused(_)) => {
                self.endings.push((client.execution, client.asks));
            }
            End::Answer(other) => panic!("a transfer came to {other:?}"),
            End::Held | End::Settled(_) | End::Objection(_) => panic!("it is of no branch"),
            End::Conflict | End::Moved => {
                let moved = u32::from(matches!(end, End::Moved));
                client.looks += moved;
                let id = self.id();
                let manner = match client.looks < 3 {
                    true => Manner::Looking,
                    false => Manner::Locking,
                };
                let next = Execution::new(id, client.program.clone(), manner);
                let before = std::mem::replace(&mut client.execution, next);
                let asks = std::mem::take(&mut client.asks);
                self.endings.push((before, asks));
                self.clients[at] = Some(client);
            }
        }
    }

    fn check(&mut self, at: usize, outcomes: &[Outcome]) {
        self.looked += 1;
        let number = |outcome: &Outcome| match outcome {
            Outcome::Reply(Reply::Bulk(text)) => {
                let text = std::str::from_utf8(text).expect("a number");
                text.parse::<i64>().expect("a number")
            }
            Outcome::Reply(Reply::Null) => 0,
            other => panic!("a look came to {other:?}"),
        };
        let accounts = outcomes.len() - 1;
        let sum: i64 = outcomes[..accounts].iter().map(number).sum();
        let all = EACH * i64::try_from(ACCOUNTS).expect("few");
        assert_eq!(sum, all, "half a transfer was seen");
        let own = number(&outcomes[accounts]);
        let (acknowledged, last) = self.acknowledged[at];
        assert!(
            (acknowledged..=last).contains(&own),
            "{own} was seen after {acknowledged} was acknowledged"
        );
    }

    /// The rest of what was answered goes on.
    fn end_one(&mut self) {
        if self.endings.is_empty() {
            return;
        }
        let at = self.chance.below(self.endings.len());
        let (mut execution, mut asks) = self.endings.swap_remove(at);
        if self.faulty && self.chance.one_in(60) {
            return;
        }
        asks.extend(execution.asks());
        if let Some(ask) = asks.pop() {
            match self.answer(&ask) {
                Some(given) => execution.answered(ask.number, given),
                None => asks.push(ask),
            }
            asks.extend(execution.asks());
            self.endings.push((execution, asks));
        }
    }

    /// Somebody takes a transaction for left, be it so or not.
    fn settle_one(&mut self) {
        let held: Vec<_> = self
            .sites
            .iter()
            .flat_map(|(partition, site)| {
                let prepared = site.machine.transactions().prepared();
                prepared.map(|(id, prepared)| (*partition, id, prepared.home))
            })
            .collect();
        if held.is_empty() {
            return;
        }
        let (partition, id, home) = held[self.chance.below(held.len())];
        let commits = match self.mistake {
            Mistake::AbortsByItself if partition != home => false,
            _ => {
                let decide = Operation::Transact(Transact::Decide { id, commits: false });
                let (now_ms, seed) = (self.now_ms, self.chance.next());
                let site = self.sites.get_mut(&home).expect("all are there");
                match site.apply(now_ms, seed, &decide) {
                    Answered::Transacted(Transacted::Decided { commits, .. }) => commits,
                    other => panic!("a decision came to {other:?}"),
                }
            }
        };
        let finish = Operation::Transact(Transact::Finish { id, commits });
        let (now_ms, seed) = (self.now_ms, self.chance.next());
        let site = self.sites.get_mut(&partition).expect("all are there");
        site.apply(now_ms, seed, &finish);
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.faulty = false;
        // Whoever lives goes on to the end; what is left then is settled.
        for _ in 0..4 * STEPS {
            self.step();
        }
        for _ in 0..STEPS {
            self.settle_one();
        }
        for site in self.sites.values() {
            let locks = site.machine.transactions().prepared().len();
            assert_eq!(locks, 0, "something is locked for ever");
        }
        for client in 0..CLIENTS {
            let steps = (0..ACCOUNTS)
                .map(|account| call(&format!("GET a{account}")))
                .chain([call(&format!("GET n{client}"))]);
            let program = Program::new(steps.collect(), &[], Vec::new(), self.partitions, 5_000, 1);
            let mut execution = Execution::new(self.id(), program.expect("reads"), Manner::Looking);
            loop {
                if let Some(end) = execution.take_end() {
                    let End::Done(outcomes) = end else {
                        panic!("nothing moves any more, but {end:?}");
                    };
                    self.check(client, &outcomes);
                    break;
                }
                for ask in execution.asks() {
                    let given = self.answer(&ask).expect("nothing is locked");
                    execution.answered(ask.number, given);
                }
            }
        }
    }
}

#[test]
fn nothing_is_half_done_whoever_dies() {
    let (mut looked, mut done) = (0, 0);
    for seed in 0..200 {
        let mut world = World::new(seed, Mistake::None);
        world.run();
        looked += world.looked;
        done += world.done;
    }
    assert!(looked > 1_000 && done > 1_000, "{looked}, {done}");
}

#[test]
fn mistakes_are_found() {
    let mistakes = [
        Mistake::ReadsThroughLocks,
        Mistake::AbortsByItself,
        Mistake::TellsTooEarly,
    ];
    for mistake in mistakes {
        let is_found = (0..1_000)
            .any(|seed| std::panic::catch_unwind(|| World::new(seed, mistake).run()).is_err());
        assert!(is_found, "{mistake:?} is not found");
    }
}
