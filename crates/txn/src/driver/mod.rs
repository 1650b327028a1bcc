//! Brings what transactions ask to the partitions, and tries again.

mod forgetting;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_kv::{
    api::{Answer, Body, CrossPartition, Later, Participants, Refusal, Request, Step, Stray},
    core::{
        command::wait_of,
        machine::{ABORTED, Answered, Operation, Transact, Transacted, TransactionId},
        partition::Given,
        reply::Reply,
    },
};
use atoll_world::{clock, random, task};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::core::partitions::{Ask, End, Execution, Manner, Outcome, Program};
use forgetting::Forgetting;

/// So often a transaction that only reads tries to do so without locks.
const LOOKS_MAX: u32 = 3;
/// After so many conflicts it waits in line.
const CONFLICTS_MAX: u32 = 3;
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
    fn execute(&self, partitions: Arc<dyn Participants>, request: Request) -> Later<Answer> {
        let executor = self.clone();
        Box::pin(async move { executor.run(partitions, request).await })
    }

    fn settle(&self, partitions: Arc<dyn Participants>, stray: Stray) -> Later<()> {
        let executor = self.clone();
        Box::pin(async move { executor.end(partitions, stray).await })
    }
}

impl Executor {
    async fn run(&self, partitions: Arc<dyn Participants>, request: Request) -> Answer {
        let (steps, watched, is_transaction) = match request.body {
            Body::Call { database, call } => {
                // Nobody is told of changes in several partitions.
                if !matches!(wait_of(call.command, &call.words), Ok(None)) {
                    return Answer::Refused(Refusal::CrossPartition);
                }
                (vec![Step::Call { database, call }], Vec::new(), false)
            }
            Body::Transaction(transaction) => (transaction.steps, transaction.watched, true),
            _ => return Answer::Refused(Refusal::CrossPartition),
        };
        let seed = random::u64();
        let program = Program::new(steps, &watched, partitions.partitions(), seed);
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
            match self.attempt(&partitions, request.by, execution).await {
                End::Done(outcomes) => {
                    return done(&*partitions, outcomes, is_transaction);
                }
                End::Answer(Answer::Reply(Reply::Error(text))) if is_transaction => {
                    return Answer::Reply(aborted(&text));
                }
                End::Answer(answer) => return answer,
                End::Moved => looks += 1,
                End::Conflict => {
                    if clock::now() > deadline {
                        return Answer::Refused(Refusal::Overloaded);
                    }
                    conflicts += 1;
                    let rest_us = random::u64() % (rest_ms * 1_000);
                    clock::sleep(Duration::from_micros(rest_us)).await;
                    rest_ms = (2 * rest_ms).min(REST_MS_MAX);
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
        loop {
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
                Some((number, given)) => execution.answered(number, given),
                // An attempt that asks nothing more has an end.
                None => return End::Answer(Answer::Refused(Refusal::Unknown)),
            }
        }
    }

    fn forget_if_over(&self, partitions: &Arc<dyn Participants>, execution: &Execution) {
        if execution.may_be_forgotten() {
            self.0
                .forgetting
                .add(partitions, execution.home(), execution.id());
        }
    }

    /// Ends what somebody else has begun: home says what is decided, and decides if nobody has.
    async fn end(&self, partitions: Arc<dyn Participants>, stray: Stray) {
        let (id, home, others, commits) = match stray {
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
                (id, home, others.collect::<Vec<_>>(), commits)
            }
            Stray::Decision {
                id,
                home,
                participants,
            } => (id, home, participants, true),
        };
        let mut have_heard = true;
        for partition in others.into_iter().filter(|other| *other != home) {
            let step = Transact::Finish { id, commits };
            have_heard &= step_of(&*partitions, partition, step).await.is_some();
        }
        // Of what was aborted something may come late, as long as its coordinator lives.
        if have_heard && commits {
            step_of(&*partitions, home, Transact::Forget(vec![id])).await;
        }
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
    let replies = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Reply(reply) => reply,
        Outcome::Publish(publication) => Reply::count(partitions.publish(publication)),
    });
    let mut replies: Vec<Reply> = replies.collect();
    match (is_transaction, replies.pop()) {
        (false, Some(reply)) => Answer::Reply(reply),
        (_, last) => {
            replies.extend(last);
            Answer::Executed(replies)
        }
    }
}

/// What EXEC answers where nothing was done.
fn aborted(text: &[u8]) -> Reply {
    Reply::Error(Bytes::from([ABORTED.as_bytes(), text].concat()))
}

#[cfg(test)]
mod tests;
