//! One attempt to have a transaction done: which partition is asked what, and when it is over.

mod holding;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

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
use super::{
    branch::{Objection, Purpose},
    gather::{Job, Ran},
    program::{Next, Program},
};

/// Numbers questions whose answers say nothing.
const TENDING: u64 = u64::MAX;
/// An attempt that is not decided after so long is given up. Home remembers for much longer what it
/// aborts, so nothing comes to it that it has forgotten.
pub(crate) const ATTEMPT_MAX: Duration = Duration::from_mins(5);
/// What home refused was not done, as long as it would remember what it has done.
const REFUSAL_STANDS: Duration = Duration::from_secs(20);
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
    /// Its branch is held, by this attempt or by one before it.
    Held,
    /// Its branch has ended before: whether it was committed.
    Settled(bool),
    /// All is locked and could be done, but must not be.
    Objection(Objection),
}

impl End {
    /// What is known of the branch comes before everything else, and what stays as it is before
    /// what may be tried again.
    fn rank(&self) -> u8 {
        match self {
            End::Conflict | End::Moved => 0,
            End::Done(_) | End::Answer(_) | End::Objection(_) => 1,
            End::Held | End::Settled(_) => 2,
        }
    }
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
    /// What it is an attempt of, if that is decided outside.
    purpose: Option<Purpose>,
    phase: Phase,
    /// What follows the round that is asked.
    next_is: Next,
    /// Where keys stand, by partition, while it only reads.
    stand: BTreeMap<PartitionId, Vec<u64>>,
    /// Questions without an answer.
    open: BTreeMap<u64, PartitionId>,
    next: u64,
    asks: Vec<Ask>,
    /// In the first round: steps that are asked one after the other.
    in_line: VecDeque<(PartitionId, Transact)>,
    /// What home is to do and decide in one, once everybody else has prepared.
    at_home: Option<Prepare>,
    /// Whether what home's commands come to is known, or nothing will be asked of it.
    has_home_told: bool,
    /// What home refused with, whose part was to be done and decided in one.
    refused: Option<End>,
    /// Partitions that may hold locks.
    holders: BTreeSet<PartitionId>,
    /// Why it can't be done, as far as is known.
    trouble: Option<End>,
    end: Option<End>,
    /// Whether something that was asked may be done yet, since no answer came.
    has_loose_ends: bool,
    /// Whether home remembers how it ended.
    is_remembered: bool,
    /// Whether it remembers an abort of what it had refused before.
    is_remembered_in_vain: bool,
}

impl Execution {
    /// Begins.
    pub fn new(id: TransactionId, program: Program, manner: Manner) -> Execution {
        Execution::begun(id, program, manner, None)
    }

    /// Begins an attempt to have a branch held, by the home of the program. It locks what it only
    /// reads, too.
    pub fn of_branch(
        id: TransactionId,
        program: Program,
        manner: Manner,
        purpose: Purpose,
    ) -> Execution {
        Execution::begun(id, program, manner, Some(purpose))
    }

    fn begun(
        id: TransactionId,
        mut program: Program,
        manner: Manner,
        purpose: Option<Purpose>,
    ) -> Execution {
        program.reset();
        let looks = manner == Manner::Looking && program.only_reads() && purpose.is_none();
        let mut execution = Execution {
            id,
            program,
            manner,
            purpose,
            phase: Phase::Preparing,
            next_is: Next::Ask,
            stand: BTreeMap::new(),
            open: BTreeMap::new(),
            next: 0,
            asks: Vec::new(),
            in_line: VecDeque::new(),
            at_home: None,
            has_home_told: true,
            refused: None,
            holders: BTreeSet::new(),
            trouble: None,
            end: None,
            has_loose_ends: false,
            is_remembered: false,
            is_remembered_in_vain: false,
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

    /// Something to be run before anything more is asked, once; then [`ran`](Self::ran).
    pub fn take_job(&mut self) -> Option<Job> {
        self.program.take_job()
    }

    /// What came of it; if a script was ended, its error.
    pub fn ran(&mut self, ran: Result<Ran, Reply>) {
        match ran {
            Ok(ran) => self.program.ran(ran),
            Err(error) => self.trouble = Some(End::Answer(Answer::Reply(error))),
        }
        self.next_is = Next::Ask;
        self.go_on();
    }

    /// So long it has taken until now.
    pub fn has_taken(&mut self, time: Duration) {
        if time > REFUSAL_STANDS {
            // What was refused may have been done before, and that may be forgotten by now.
            self.refused = None;
        }
        if time > ATTEMPT_MAX && self.phase == Phase::Preparing && self.trouble.is_none() {
            self.trouble = Some(End::Answer(Answer::Refused(Refusal::Unavailable)));
        }
    }

    /// Says that it is not left: to whoever may hold locks for it.
    pub fn tend(&mut self) {
        let id = self.id;
        for partition in self.holders.clone() {
            self.asks.push(Ask {
                number: TENDING,
                partition,
                reads: true,
                operation: Operation::Tend(id),
            });
        }
    }

    /// What it came to, once: the client can be answered. There may be more to ask.
    pub fn take_end(&mut self) -> Option<End> {
        self.end.take()
    }

    /// Whether nothing is left to be asked or heard.
    pub fn is_over(&self) -> bool {
        self.open.is_empty() && self.asks.is_empty()
    }

    /// Whether home remembers an abort only because it was asked for it after it had refused. Some
    /// of what was asked before may be under way yet.
    pub fn may_be_forgotten_soon(&self) -> bool {
        self.is_over() && self.is_remembered_in_vain && !self.has_loose_ends
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
            Phase::Reading if self.next_is == Next::Ask => self.read(),
            Phase::Reading => self.end = Some(End::Done(self.program.outcomes())),
            Phase::Preparing => self.go_on_in_line(),
            Phase::Deciding | Phase::Learning(_) | Phase::Ending => {}
        }
    }

    /// Has the program say what is to be asked next, if anything is.
    fn proceeds(&mut self) -> bool {
        self.next_is = self.program.proceed();
        match self.next_is {
            Next::Run => false,
            Next::Discard => {
                self.trouble = Some(End::Answer(Answer::Discarded));
                self.go_on();
                false
            }
            Next::Ask | Next::Last => true,
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
        if !self.proceeds() {
            return;
        }
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
        if self.next_is == Next::Last {
            return self.decide();
        }
        if !self.proceeds() {
            return;
        }
        let (id, home) = (self.id, self.program.home());
        let branch = self.purpose.as_ref().map(|purpose| purpose.branch);
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
                branch,
            };
            (partition, Transact::Prepare(prepare))
        });
        let asks: VecDeque<_> = asks.collect();
        if waits {
            self.in_line = asks;
            return self.go_on_in_line();
        }
        let is_all = is_first && self.next_is == Next::Last && branch.is_none();
        for (partition, step) in asks {
            match step {
                // Nothing follows, so home need not hold anything until then.
                Transact::Prepare(prepare) if is_all && partition == home => {
                    self.at_home = Some(prepare);
                    self.has_home_told = false;
                }
                step => {
                    self.holders.insert(partition);
                    self.step(partition, step);
                }
            }
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
            // Another attempt of the same came before this one, or its end did.
            Given::Reply(Answered::Transacted(Transacted::Held(_))) => End::Held,
            Given::Reply(Answered::Transacted(Transacted::Settled { commits, .. })) => {
                End::Settled(commits)
            }
            Given::Reply(Answered::Transacted(Transacted::Changed)) => {
                self.holders.remove(&partition);
                End::Answer(Answer::Discarded)
            }
            other => refused(other),
        };
        let known = self.trouble.as_ref().map_or(0, End::rank);
        if trouble.rank() >= known {
            self.trouble = Some(trouble);
        }
    }

    fn decide(&mut self) {
        self.phase = Phase::Deciding;
        let (id, commits) = (self.id, true);
        if let Some(prepare) = self.at_home.take() {
            return self.step(self.program.home(), Transact::Commit(prepare));
        }
        let Some(purpose) = &self.purpose else {
            return self.step(self.program.home(), Transact::Decide { id, commits });
        };
        match purpose.objection(&self.program.outcomes()) {
            Some(objection) => self.finish(false, End::Objection(objection)),
            None => self.hold(),
        }
    }

    fn decided(&mut self, given: Given<Answered>) {
        if self.purpose.is_some() {
            return self.held(given);
        }
        match given {
            Given::Reply(Answered::Transacted(Transacted::Decided {
                commits: false,
                participants,
            })) if participants.is_empty() && matches!(self.phase, Phase::Learning(_)) => {
                if let Some(refused) = self.refused.take() {
                    self.is_remembered_in_vain = true;
                    return self.finish(false, refused);
                }
                // Home was told who takes part, and tells it of what it remembers: somebody else
                // has ended this, one way or the other, and that is forgotten.
                self.leave();
            }
            Given::Reply(Answered::Transacted(Transacted::Decided { commits, .. })) => {
                let home = self.program.home();
                self.holders.remove(&home);
                self.is_remembered = true;
                let end = match commits {
                    true if self.has_home_told => End::Done(self.program.outcomes()),
                    // It is done, and what home told of it is lost.
                    true => End::Answer(Answer::Refused(Refusal::Unknown)),
                    false => End::Conflict,
                };
                self.finish(commits, end);
            }
            Given::Reply(Answered::Transacted(Transacted::Committed { now_ms, replies })) => {
                self.program.told(self.program.home(), now_ms, replies);
                self.has_home_told = true;
                self.is_remembered = true;
                self.finish(true, End::Done(self.program.outcomes()));
            }
            Given::Reply(Answered::Transacted(Transacted::Conflict(_))) => {
                self.finish(false, End::Conflict);
            }
            Given::Reply(Answered::Transacted(Transacted::Changed)) => {
                self.finish(false, End::Answer(Answer::Discarded));
            }
            // It is not in home's log, and does not come there any more.
            Given::Busy | Given::Refused if self.commits_at_once() => {
                self.finish(false, refused(given));
            }
            // It may have been decided. So it is where home refused by an answer: it may not know
            // yet what it has in its log from the owner before.
            other => {
                if self.commits_at_once() && other != Given::Unknown {
                    self.refused = Some(refused(other));
                }
                self.learn();
            }
        }
    }

    /// Whether home was asked, for the first time, to do its part and decide.
    fn commits_at_once(&self) -> bool {
        self.phase == Phase::Deciding && !self.has_home_told
    }

    /// Asks home to abort, which says what was decided.
    fn learn(&mut self) {
        match self.learns_again() {
            true => {
                let (id, commits) = (self.id, false);
                self.step(self.program.home(), Transact::Decide { id, commits });
            }
            false => self.leave(),
        }
    }

    /// Whether home, which did not answer, is to be asked once more.
    fn learns_again(&mut self) -> bool {
        let times = match self.phase {
            Phase::Learning(times) => times + 1,
            _ => 0,
        };
        self.phase = Phase::Learning(times);
        times < LEARN_MAX
    }

    /// Gives up without knowing: those who hold locks for it will ask home themselves.
    fn leave(&mut self) {
        self.phase = Phase::Ending;
        self.has_loose_ends = true;
        self.end = Some(End::Answer(Answer::Refused(Refusal::Unknown)));
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
