//! One attempt to have a transaction done: which partition is asked what, and when it is over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use atoll_base::id::PartitionId;
use atoll_kv::{
    api::{Answer, Refusal},
    core::{
        machine::{Answered, Operation, Prepare, Transact, Transacted, TransactionId},
        partition::Given,
        reply::Reply,
    },
};
use bytes::Bytes;

pub use super::program::Outcome;
use super::program::Program;

/// So often a decision of which nothing was heard is asked about.
const LEARN_MAX: u32 = 3;

/// What a partition is to be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Names the question.
    pub number: u64,
    /// Who is asked.
    pub partition: PartitionId,
    /// Whether it changes nothing.
    pub reads: bool,
    /// What.
    pub operation: Operation,
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// It was done: what each step came to.
    Done(Vec<Outcome>),
    /// It was not done, or nobody knows, and that is what is answered.
    Answer(Answer),
    /// Nothing was done, since another held what it wants, or somebody ended it. It may be tried
    /// again, later and under another number.
    Conflict,
    /// Nothing was read, since something was changed meanwhile. It may be tried again at once.
    Moved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Where do the keys stand?
    Looking,
    /// What is there, if they still stand there?
    Reading,
    /// Locks are taken, and commands brought.
    Preparing,
    /// Home is asked to commit.
    Deciding,
    /// It did not answer: what is decided?
    Learning(u32),
    /// Everybody is told.
    Ending,
}

/// How an attempt goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// What only reads looks, and locks nothing; everything else locks.
    Looking,
    /// It locks everything at once, and gives up where something is locked.
    Locking,
    /// It locks partition by partition, and waits in line.
    Waiting,
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct Execution {
    id: TransactionId,
    program: Program,
    manner: Manner,
    phase: Phase,
    /// Whether rounds follow the one that is asked.
    has_more: bool,
    /// Where keys stand, by partition, while it only reads.
    stand: BTreeMap<PartitionId, Vec<u64>>,
    /// Questions without an answer.
    open: BTreeMap<u64, PartitionId>,
    next: u64,
    asks: Vec<Ask>,
    /// In the first round: steps that are asked one after the other.
    in_line: VecDeque<(PartitionId, Transact)>,
    /// Partitions that may hold locks.
    holders: BTreeSet<PartitionId>,
    /// Why it can't be done, as far as is known.
    trouble: Option<End>,
    end: Option<End>,
    /// Whether something that was asked may be done yet, since no answer came.
    has_loose_ends: bool,
    /// Whether home remembers how it ended.
    is_remembered: bool,
}

impl Execution {
    /// Begins.
    pub fn new(id: TransactionId, mut program: Program, manner: Manner) -> Execution {
        program.reset();
        let looks = manner == Manner::Looking && program.only_reads();
        let mut execution = Execution {
            id,
            program,
            manner,
            phase: Phase::Preparing,
            has_more: true,
            stand: BTreeMap::new(),
            open: BTreeMap::new(),
            next: 0,
            asks: Vec::new(),
            in_line: VecDeque::new(),
            holders: BTreeSet::new(),
            trouble: None,
            end: None,
            has_loose_ends: false,
            is_remembered: false,
        };
        match looks {
            true => execution.look(),
            false => execution.prepare(true),
        }
        execution
    }

    /// Which transaction.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// The partition that decides.
    pub fn home(&self) -> PartitionId {
        self.program.home()
    }

    /// Questions to be asked.
    pub fn asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    /// What it came to, once: the client can be answered. There may be more to ask.
    pub fn take_end(&mut self) -> Option<End> {
        self.end.take()
    }

    /// Whether nothing is left to be asked or heard.
    pub fn is_over(&self) -> bool {
        self.open.is_empty() && self.asks.is_empty()
    }

    /// Whether home remembers a decision that nobody will ask for any more.
    pub fn may_be_forgotten(&self) -> bool {
        self.is_over() && self.is_remembered && !self.has_loose_ends
    }

    fn ask(&mut self, partition: PartitionId, reads: bool, operation: Operation) {
        let number = self.next;
        self.next += 1;
        self.open.insert(number, partition);
        self.asks.push(Ask {
            number,
            partition,
            reads,
            operation,
        });
    }

    fn step(&mut self, partition: PartitionId, step: Transact) {
        self.ask(partition, false, Operation::Transact(step));
    }

    /// Takes the answer to a question.
    pub fn answered(&mut self, number: u64, given: Given<Answered>) {
        let Some(partition) = self.open.remove(&number) else {
            return;
        };
        match self.phase {
            Phase::Looking => self.looked(partition, given),
            Phase::Reading => self.read_it(partition, given),
            Phase::Preparing => self.prepared(partition, given),
            Phase::Deciding | Phase::Learning(_) => return self.decided(given),
            Phase::Ending => {
                self.has_loose_ends |= !matches!(given, Given::Reply(_));
                return;
            }
        }
        if self.open.is_empty() {
            self.go_on();
        }
    }

    /// Everybody has answered.
    fn go_on(&mut self) {
        if let Some(trouble) = self.trouble.take() {
            return match self.phase {
                Phase::Looking | Phase::Reading => self.end = Some(trouble),
                _ => self.finish(false, trouble),
            };
        }
        match self.phase {
            Phase::Looking => self.read(),
            Phase::Reading if self.has_more => self.read(),
            Phase::Reading => self.end = Some(End::Done(self.program.outcomes())),
            Phase::Preparing => self.go_on_in_line(),
            Phase::Deciding | Phase::Learning(_) | Phase::Ending => {}
        }
    }

    fn look(&mut self) {
        self.phase = Phase::Looking;
        let sites = self.program.sites();
        let asks: Vec<_> = sites
            .map(|(partition, site)| (partition, site.keys().cloned().collect()))
            .collect();
        for (partition, keys) in asks {
            self.ask(partition, true, Operation::Versions(keys));
        }
    }

    fn looked(&mut self, partition: PartitionId, given: Given<Answered>) {
        match given {
            Given::Reply(Answered::Versions(versions)) => {
                self.stand.insert(partition, versions);
            }
            other => self.trouble = Some(refused(other)),
        }
    }

    fn read(&mut self) {
        self.phase = Phase::Reading;
        self.has_more = self.program.proceed();
        let stand = &self.stand;
        let sites = self.program.sites();
        let asks = sites.filter(|(_, site)| site.has_calls());
        let asks = asks.map(|(partition, site)| {
            let versions = stand.get(&partition).into_iter().flatten();
            let watched = site.keys().zip(versions);
            let watched =
                watched.map(|((database, key), version)| (*database, key.clone(), *version));
            let watched = watched.collect();
            let calls = site.take_calls();
            (partition, Operation::Transaction { calls, watched })
        });
        let asks: Vec<_> = asks.collect();
        for (partition, operation) in asks {
            self.ask(partition, true, operation);
        }
        if self.open.is_empty() {
            self.go_on();
        }
    }

    fn read_it(&mut self, partition: PartitionId, given: Given<Answered>) {
        match given {
            Given::Reply(Answered::Executed(replies)) => self.program.told(partition, 0, replies),
            Given::Reply(Answered::Discarded) => self.trouble = Some(End::Moved),
            other => self.trouble = Some(refused(other)),
        }
    }

    /// The first round may ask one after the other; others follow it.
    fn go_on_in_line(&mut self) {
        match self.in_line.pop_front() {
            Some((partition, step)) => {
                self.holders.insert(partition);
                self.step(partition, step);
            }
            None => self.prepare(false),
        }
    }

    /// Asks for the next round. Only the first locks, and may wait in line for that.
    fn prepare(&mut self, is_first: bool) {
        let waits = is_first && self.manner == Manner::Waiting;
        self.phase = Phase::Preparing;
        if !self.has_more {
            return self.decide();
        }
        self.has_more = self.program.proceed();
        let (id, home) = (self.id, self.program.home());
        let participants = self.program.participants();
        let sites = self.program.sites();
        let asks = sites.filter(|(_, site)| is_first || site.has_calls());
        let asks = asks.map(|(partition, site)| {
            let prepare = Prepare {
                id,
                home,
                participants: match is_first && partition == home {
                    true => participants.clone(),
                    false => Vec::new(),
                },
                locks: match is_first {
                    true => site.locks(),
                    false => atoll_kv::core::machine::Locks::Keys(Vec::new()),
                },
                watched: match is_first {
                    true => site.watched.clone(),
                    false => Vec::new(),
                },
                calls: site.take_calls(),
                waits,
            };
            (partition, Transact::Prepare(prepare))
        });
        let asks: VecDeque<_> = asks.collect();
        if waits {
            self.in_line = asks;
            return self.go_on_in_line();
        }
        for (partition, step) in asks {
            self.holders.insert(partition);
            self.step(partition, step);
        }
        if self.open.is_empty() {
            self.go_on();
        }
    }

    fn prepared(&mut self, partition: PartitionId, given: Given<Answered>) {
        self.has_loose_ends |= !matches!(given, Given::Reply(_));
        let trouble = match given {
            Given::Reply(Answered::Transacted(Transacted::Prepared { now_ms, replies })) => {
                return self.program.told(partition, now_ms, replies);
            }
            // The first round locks everything, so only there it can fail, and holds nothing then.
            Given::Reply(Answered::Transacted(Transacted::Conflict(_))) => {
                self.holders.remove(&partition);
                End::Conflict
            }
            // Somebody took the coordinator for dead.
            Given::Reply(Answered::Transacted(Transacted::Decided { .. } | Transacted::Done)) => {
                self.holders.remove(&partition);
                self.is_remembered = true;
                End::Conflict
            }
            Given::Reply(Answered::Transacted(Transacted::Changed)) => {
                self.holders.remove(&partition);
                End::Answer(Answer::Discarded)
            }
            other => refused(other),
        };
        // What was decided for good comes before what may be tried again.
        match (&self.trouble, &trouble) {
            (Some(End::Answer(_)), End::Conflict) => {}
            _ => self.trouble = Some(trouble),
        }
    }

    fn decide(&mut self) {
        self.phase = Phase::Deciding;
        let (id, commits) = (self.id, true);
        self.step(self.program.home(), Transact::Decide { id, commits });
    }

    fn decided(&mut self, given: Given<Answered>) {
        match given {
            Given::Reply(Answered::Transacted(Transacted::Decided { commits, .. })) => {
                let home = self.program.home();
                self.holders.remove(&home);
                self.is_remembered = true;
                let end = match commits {
                    true => End::Done(self.program.outcomes()),
                    false => End::Conflict,
                };
                self.finish(commits, end);
            }
            // It may have been decided: asked to abort, home says what was.
            _ => {
                let times = match self.phase {
                    Phase::Learning(times) => times + 1,
                    _ => 0,
                };
                if times < LEARN_MAX {
                    self.phase = Phase::Learning(times);
                    let (id, commits) = (self.id, false);
                    self.step(self.program.home(), Transact::Decide { id, commits });
                } else {
                    // Those who hold locks for it will ask home themselves.
                    self.phase = Phase::Ending;
                    self.has_loose_ends = true;
                    self.end = Some(End::Answer(Answer::Refused(Refusal::Unknown)));
                }
            }
        }
    }

    /// Tells everybody, and the client.
    fn finish(&mut self, commits: bool, end: End) {
        self.phase = Phase::Ending;
        let id = self.id;
        for partition in std::mem::take(&mut self.holders) {
            self.step(partition, Transact::Finish { id, commits });
        }
        self.end = Some(end);
    }
}

/// What is answered where a partition did not do its part. Nothing was done.
fn refused(given: Given<Answered>) -> End {
    End::Answer(match given {
        Given::Reply(Answered::Reply(error @ Reply::Error(_))) => Answer::Reply(error),
        Given::Reply(other) => {
            let text = format!("ERR a partition answered what it was not asked: {other:?}");
            Answer::Reply(Reply::Error(Bytes::from(text)))
        }
        Given::Busy => Answer::Refused(Refusal::Overloaded),
        Given::Refused | Given::Unknown => Answer::Refused(Refusal::Unavailable),
    })
}
