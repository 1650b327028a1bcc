//! Brings what transactions ask to the partitions, and tries again.

mod branches;
mod forgetting;
pub mod global;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_kv::{
    api::{Answer, Atomic, CrossPartition, Later, Participants, Refusal, Stray},
    core::{
        machine::{
            ABORTED, Answered, BranchId, Facts, Operation, Transact, Transacted, TransactionId,
        },
        partition::Given,
        reply::Reply,
    },
};
use atoll_world::{clock, random, task};
use bytes::Bytes;
use futures_util::{
    future::{Either, select},
    stream::{FuturesUnordered, StreamExt as _},
};

use parking_lot::Mutex;

use crate::core::partitions::{Ask, End, Execution, Job, Manner, Outcome, Program, Ran};
pub(crate) use branches::{Ending, Holding};
use forgetting::Forgetting;

/// So often a transaction that only reads tries to do so without locks.
const LOOKS_MAX: u32 = 3;
/// After so many conflicts it waits in line.
const CONFLICTS_MAX: u32 = 3;
/// While a script runs, those who hold locks for it hear so often that it does: well within the
/// time after which they take it for left.
const TEND_EVERY: Duration = Duration::from_millis(15);
/// What home aborted after it had refused it is forgotten after so long: nobody waits so long for
/// the answer to what was asked before.
const FORGET_REFUSED_AFTER: Duration = Duration::from_mins(1);
/// After a conflict it is tried again after up to so long; twice as long after each further one.
const REST_MS_MIN: u64 = 2;
/// No longer than this.
const REST_MS_MAX: u64 = 64;

/// Runs transactions over several partitions. Clones are the same.
#[derive(Clone, Default)]
pub struct Executor(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// The number of the last transaction.
    numbers: AtomicU64,
    forgetting: Forgetting,
    /// Branches that are held for long.
    held: Mutex<BTreeSet<BranchId>>,
}

impl Executor {
    fn next_id(&self, partitions: &dyn Participants) -> TransactionId {
        TransactionId {
            session: partitions.session(),
            number: self.0.numbers.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }
}

impl CrossPartition for Executor {
    fn execute(&self, partitions: Arc<dyn Participants>, atomic: Atomic) -> Later<Answer> {
        let executor = self.clone();
        // A client that goes away in the middle leaves nothing to be found by others.
        let run = task::spawn(async move { executor.run(partitions, atomic).await });
        Box::pin(async move { run.await.unwrap_or(Answer::Refused(Refusal::Unknown)) })
    }

    fn settle(&self, partitions: Arc<dyn Participants>, stray: Stray) -> Later<()> {
        let executor = self.clone();
        Box::pin(async move { executor.end(partitions, stray).await })
    }
}

impl Executor {
    async fn run(&self, partitions: Arc<dyn Participants>, atomic: Atomic) -> Answer {
        let Atomic {
            by,
            steps,
            watched,
            names,
            is_transaction,
        } = atomic;
        let (now_ms, seed) = (clock::wall_ms(), random::u64());
        let program = Program::new(
            steps,
            &watched,
            names,
            partitions.partitions(),
            now_ms,
            seed,
        );
        let program = match program {
            Ok(program) => program,
            Err(answer) => return answer,
        };
        let deadline = clock::now() + Duration::from_millis(partitions.timeout_ms());
        let (mut looks, mut conflicts, mut rest_ms) = (0, 0, REST_MS_MIN);
        loop {
            let id = self.next_id(&*partitions);
            let manner = match (looks < LOOKS_MAX, conflicts < CONFLICTS_MAX) {
                (true, true) => Manner::Looking,
                (false, true) => Manner::Locking,
                (_, false) => Manner::Waiting,
            };
            let execution = Execution::new(id, program.clone(), manner);
            match self.attempt(&partitions, by, execution).await {
                End::Done(outcomes) => {
                    return done(&*partitions, outcomes, is_transaction);
                }
                End::Answer(Answer::Reply(Reply::Error(text))) if is_transaction => {
                    return Answer::Reply(aborted(&text));
                }
                End::Answer(answer) => return answer,
                End::Moved => looks += 1,
                // It is no attempt of a branch.
                End::Held | End::Settled(_) | End::Objection(_) => {
                    return Answer::Refused(Refusal::Unknown);
                }
                End::Conflict => {
                    if clock::now() > deadline {
                        return Answer::Refused(Refusal::Overloaded);
                    }
                    conflicts += 1;
                    rest(&mut rest_ms).await;
                }
            }
        }
    }

    /// Asks what an attempt wants asked, until its end is known; the rest is asked meanwhile.
    async fn attempt(
        &self,
        partitions: &Arc<dyn Participants>,
        by: Option<u64>,
        mut execution: Execution,
    ) -> End {
        let mut asked = FuturesUnordered::new();
        let began = Began::now();
        loop {
            while let Some(job) = execution.take_job() {
                let ran = self.run_job(&**partitions, by, job, &mut execution).await;
                execution.has_taken(began.elapsed());
                execution.ran(ran);
            }
            for ask in execution.asks() {
                asked.push(question(&**partitions, by, &ask));
            }
            if let Some(end) = execution.take_end() {
                if !execution.is_over() {
                    let (executor, partitions) = (self.clone(), partitions.clone());
                    let rest = async move {
                        while let Some((number, given)) = asked.next().await {
                            execution.answered(number, given);
                            for ask in execution.asks() {
                                asked.push(question(&*partitions, by, &ask));
                            }
                        }
                        executor.forget_if_over(&partitions, &execution);
                    };
                    task::spawn(rest);
                } else {
                    self.forget_if_over(partitions, &execution);
                }
                return end;
            }
            match asked.next().await {
                Some((number, given)) => {
                    execution.has_taken(began.elapsed());
                    execution.answered(number, given);
                }
                // An attempt that asks nothing more has an end.
                None => return End::Answer(Answer::Refused(Refusal::Unknown)),
            }
        }
    }

    /// Runs a command or a script. Whoever holds locks for it hears meanwhile that it is at work:
    /// a script may take as long as scripts may.
    async fn run_job(
        &self,
        partitions: &dyn Participants,
        by: Option<u64>,
        job: Job,
        execution: &mut Execution,
    ) -> Result<Ran, Reply> {
        if !job.may_be_long() {
            return job.run(None);
        }
        let surroundings = partitions.surroundings();
        let running = task::blocking(move || job.run(Some(surroundings)));
        let mut running = Box::pin(running);
        loop {
            let rest = Box::pin(clock::sleep(TEND_EVERY));
            match select(running, rest).await {
                Either::Left((ran, _)) => return ran,
                Either::Right(((), still)) => running = still,
            }
            execution.tend();
            for ask in execution.asks() {
                // Whoever does not hear of it asks home, and the transaction is tried again.
                task::spawn(question(partitions, by, &ask));
            }
        }
    }

    fn forget_if_over(&self, partitions: &Arc<dyn Participants>, execution: &Execution) {
        if execution.may_be_forgotten() {
            self.0
                .forgetting
                .add(partitions, execution.home(), execution.id());
        }
        if execution.may_be_forgotten_soon() {
            let (executor, partitions) = (self.clone(), partitions.clone());
            let (home, id) = (execution.home(), execution.id());
            task::spawn(async move {
                clock::sleep(FORGET_REFUSED_AFTER).await;
                executor.0.forgetting.add(&partitions, home, id);
            });
        }
    }

    /// Ends what somebody else has begun: home says what is decided, and decides if nobody has.
    async fn end(&self, partitions: Arc<dyn Participants>, stray: Stray) {
        let (id, home, others, commits, is_over) = match stray {
            Stray::Locks {
                id,
                partition,
                home,
            } => {
                let step = Transact::Decide { id, commits: false };
                let decided = step_of(&*partitions, home, step).await;
                let Some(Transacted::Decided {
                    commits,
                    participants,
                }) = decided
                else {
                    // Whoever found it looks again.
                    return;
                };
                let others = participants.into_iter().chain([partition]);
                // Its coordinator may ask yet.
                (id, home, others.collect::<Vec<_>>(), commits, false)
            }
            Stray::Held(branch) => return self.note_held(branch),
            Stray::Branch { id, home } => {
                let step = Transact::ForgetBranches(vec![id]);
                // Whoever found it looks again.
                step_of(&*partitions, home, step).await;
                return;
            }
            Stray::Decision {
                id,
                commits,
                home,
                participants,
            } => (id, home, participants, commits, true),
        };
        let mut have_heard = true;
        for partition in others.into_iter().filter(|other| *other != home) {
            let step = Transact::Finish { id, commits };
            have_heard &= step_of(&*partitions, partition, step).await.is_some();
        }
        if have_heard && is_over {
            step_of(&*partitions, home, Transact::Forget(vec![id])).await;
        }
    }
}

/// Rests after a conflict, up to so long; it may be longer after the next one.
async fn rest(rest_ms: &mut u64) {
    let rest_us = random::u64() % (*rest_ms * 1_000);
    clock::sleep(Duration::from_micros(rest_us)).await;
    *rest_ms = (2 * *rest_ms).min(REST_MS_MAX);
}

/// When an attempt began. A machine that sleeps does not count that time on its monotonic clock,
/// and may set the other one back.
struct Began {
    at: clock::Instant,
    wall_ms: u64,
}

impl Began {
    fn now() -> Began {
        Began {
            at: clock::now(),
            wall_ms: clock::wall_ms(),
        }
    }

    fn elapsed(&self) -> Duration {
        let by_wall = clock::wall_ms().saturating_sub(self.wall_ms);
        self.at.elapsed().max(Duration::from_millis(by_wall))
    }
}

fn question(
    partitions: &dyn Participants,
    by: Option<u64>,
    ask: &Ask,
) -> Later<(u64, Given<Answered>)> {
    let number = ask.number;
    let given = partitions.ask(by, ask.partition, ask.reads, &ask.operation);
    Box::pin(async move { (number, given.await) })
}

async fn step_of(
    partitions: &dyn Participants,
    partition: atoll_base::id::PartitionId,
    step: Transact,
) -> Option<Transacted> {
    let operation = Operation::Transact(step);
    match partitions.ask(None, partition, false, &operation).await {
        Given::Reply(Answered::Transacted(transacted)) => Some(transacted),
        _ => None,
    }
}

fn done(partitions: &dyn Participants, outcomes: Vec<Outcome>, is_transaction: bool) -> Answer {
    let mut all = Facts::default();
    let mut has_scripts = false;
    let replies = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Reply(reply) => reply,
        Outcome::Publish(publication) => Reply::count(partitions.publish(publication)),
        Outcome::Ran {
            reply,
            publications,
            facts,
        } => {
            for publication in publications {
                partitions.publish(publication);
            }
            has_scripts = true;
            all.has_read |= facts.has_read;
            all.is_counted |= facts.is_counted;
            reply
        }
    });
    let mut replies: Vec<Reply> = replies.collect();
    let answer = match (is_transaction, replies.pop()) {
        (false, Some(reply)) => Answer::Reply(reply),
        (_, last) => {
            replies.extend(last);
            Answer::Executed(replies)
        }
    };
    match has_scripts {
        true => Answer::Ran {
            answer: Box::new(answer),
            has_read: all.has_read,
            is_counted: all.is_counted,
        },
        false => answer,
    }
}

/// What EXEC answers where nothing was done.
fn aborted(text: &[u8]) -> Reply {
    Reply::Error(Bytes::from([ABORTED.as_bytes(), text].concat()))
}

#[cfg(test)]
mod tests;
