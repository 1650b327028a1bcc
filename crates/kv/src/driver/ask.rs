//! From questions to partitions, and back.

mod many;
mod within;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use atoll_base::id::PartitionId;
use atoll_world::clock;
use bytes::Bytes;
use tokio::sync::{mpsc::error::TrySendError, oneshot};

use super::{
    Door, Kv, eventual, scripts,
    shard::{AskKind, AskOf, Input, Urgent},
};
use crate::{
    api::{
        self, Answer, Atomic, AtomicStep, Body, Call, Consistency, DatabaseKey, EventualCall,
        OwnDisk, Publication, Refusal, Request, Step, Transaction, Version, Wait,
    },
    core::{
        acl::Caller,
        command::{Command, Flags, wait_of},
        eventual::{bundle::RoomId, quorum::Level, replica as eventual_replica},
        machine::{self, Answered, Attempt, Author, OPERATION_BYTES_MAX, Operation, Terms},
        partition::Given,
        reply::Reply,
        route::{self, Plan},
    },
};

pub(super) type Later = api::Later<Answer>;
pub(super) type Receiver = oneshot::Receiver<Given<Answered>>;

/// An answer on its way.
pub(super) enum Pending {
    Ready(Answer),
    /// Is published when all before it is answered: who hears of something finds it.
    Publish(Publication),
    One(Receiver),
    /// Comes of what was dealt.
    Later(Later),
    /// Asks by itself, so it begins when everything before it is answered, and ends before what
    /// follows begins.
    Alone(Later),
}

/// Operations for shards, in order.
pub(super) struct Dealer<'a> {
    kv: &'a Kv,
    /// Who asks, where that is to be known.
    pub(super) author: Option<Author>,
    dealt: Vec<Vec<AskOf>>,
    /// For partitions of eventual keyspaces.
    eventual: Vec<Vec<eventual::Ask>>,
    /// Whether what is dealt, if it reads, may be answered by the replica that is here.
    is_stale: bool,
}

impl Dealer<'_> {
    pub(super) fn new(kv: &Kv) -> Dealer<'_> {
        Dealer {
            dealt: kv.0.shards.iter().map(|_| Vec::new()).collect(),
            eventual: kv.0.shards.iter().map(|_| Vec::new()).collect(),
            author: None,
            kv,
            is_stale: false,
        }
    }

    /// The client of this node that asks, if that is to be known.
    pub(super) fn by(&self) -> Option<u64> {
        self.author.map(|author| author.client)
    }

    /// `operation` is an [`Operation`], encoded.
    pub(super) fn deal(
        &mut self,
        partition: PartitionId,
        kind: AskKind,
        operation: Bytes,
    ) -> Receiver {
        let (given, receiver) = oneshot::channel();
        if operation.len() > OPERATION_BYTES_MAX {
            let text = format!(
                "ERR a request of {} bytes is over the limit of {OPERATION_BYTES_MAX}",
                operation.len()
            );
            let refused = Answered::Reply(Reply::Error(Bytes::from(text)));
            // The receiver is right here.
            let _ = given.send(Given::Reply(refused));
            return receiver;
        }
        let terms = Terms {
            packing: self.kv.hub().packing().filter(|_| !kind.reads()),
            author: self.author.filter(|_| !kind.reads()),
        };
        let operation = Operation::with_terms(operation, &terms);
        self.dealt[self.kv.0.shard_of(partition)].push(AskOf {
            partition,
            kind: match kind {
                AskKind::Read if self.is_stale => AskKind::Stale,
                kind => kind,
            },
            operation,
            given,
        });
        receiver
    }

    /// A command for a partition of an eventual keyspace.
    fn deal_eventual(
        &mut self,
        room: RoomId,
        (write, read): (Level, Level),
        words: Vec<Bytes>,
    ) -> Receiver {
        let (given, receiver) = oneshot::channel();
        let ask = eventual::Ask {
            room,
            write,
            read,
            words,
            given,
        };
        self.eventual[self.kv.0.shard_of(room.partition)].push(ask);
        receiver
    }

    /// Hands everything over; what a shard has no room for is refused.
    pub(super) fn hand_over(&mut self) {
        let shards: &[Door] = &self.kv.0.shards;
        for (door, dealt) in shards.iter().zip(&mut self.eventual) {
            let asks = std::mem::take(dealt);
            if asks.is_empty() {
                continue;
            }
            let refused = match door.inputs.try_send(Input::EventualAsks(asks)) {
                Ok(()) => continue,
                Err(TrySendError::Full(refused) | TrySendError::Closed(refused)) => refused,
            };
            if let Input::EventualAsks(asks) = refused {
                for ask in asks {
                    // Whoever asked may have gone.
                    let _ = ask.given.send(Given::Busy);
                }
            }
        }
        for (door, dealt) in shards.iter().zip(&mut self.dealt) {
            let mut asks = std::mem::take(dealt);
            if asks.is_empty() {
                continue;
            }
            keep_order(&mut asks);
            let refused = match door.inputs.try_send(Input::Asks(asks)) {
                Ok(()) => continue,
                Err(TrySendError::Full(refused) | TrySendError::Closed(refused)) => refused,
            };
            tracing::debug!("a shard has too much to do; requests are refused");
            if let Input::Asks(asks) = refused {
                for ask in asks {
                    // Whoever asked may have gone.
                    let _ = ask.given.send(Given::Busy);
                }
            }
        }
    }
}

/// Has reads go through the log where writes of the same partition came with them: only there
/// each has a place before what follows it and after what it follows.
fn keep_order(asks: &mut [AskOf]) {
    let reads = asks.iter().filter(|ask| ask.kind.reads()).count();
    if reads == 0 || reads == asks.len() {
        return;
    }
    let written: BTreeSet<PartitionId> = asks
        .iter()
        .filter(|ask| !ask.kind.reads())
        .map(|ask| ask.partition)
        .collect();
    for ask in asks {
        if written.contains(&ask.partition) && ask.kind.reads() {
            ask.kind = AskKind::Write;
        }
    }
}

/// Answers questions, one for each, in their order.
pub(super) async fn all(kv: &Kv, requests: Vec<Request>) -> Vec<Answer> {
    let mut dealer = Dealer::new(kv);
    let mut answers = Vec::with_capacity(requests.len());
    let mut pending = Vec::with_capacity(requests.len());
    for request in requests {
        match begin(kv, &mut dealer, request) {
            Pending::Alone(alone) => {
                settle(kv, &mut dealer, &mut pending, &mut answers).await;
                answers.push(alone.await);
            }
            other => pending.push(other),
        }
    }
    settle(kv, &mut dealer, &mut pending, &mut answers).await;
    answers
}

/// Hands over what was dealt, and waits for all answers to it.
async fn settle(
    kv: &Kv,
    dealer: &mut Dealer<'_>,
    pending: &mut Vec<Pending>,
    answers: &mut Vec<Answer>,
) {
    dealer.hand_over();
    for one in pending.drain(..) {
        answers.push(match one {
            Pending::Ready(answer) => answer,
            Pending::Publish(publication) => published(kv, publication),
            Pending::One(receiver) => answer(receiver.await),
            Pending::Later(later) | Pending::Alone(later) => later.await,
        });
    }
}

fn begin(kv: &Kv, dealer: &mut Dealer<'_>, request: Request) -> Pending {
    dealer.is_stale = may_be_stale(&request);
    let node = kv.0.node;
    dealer.author = request.by.map(|client| Author { node, client });
    let caller = request.caller;
    match request.body {
        Body::Call { database, call } if scripts::is_scripting(call.command) => {
            scripts::begin(kv, dealer, database, call, caller)
        }
        Body::Call { database, call } => begin_call(kv, dealer, database, call),
        Body::Eventual(call) => begin_eventual(kv, dealer, call),
        Body::Within {
            part,
            database,
            call,
        } => within::begin_within(kv, dealer, part, database, call),
        Body::Transaction(transaction) => begin_transaction(kv, dealer, transaction, caller),
        Body::Versions(keys) => {
            let kv = kv.clone();
            Pending::Alone(Box::pin(async move { versions(&kv, keys).await }))
        }
        Body::Publish(publication) => Pending::Publish(publication),
        Body::Wait(wait) => {
            let kv = kv.clone();
            Pending::Alone(Box::pin(async move { acknowledged(&kv, wait).await }))
        }
    }
}

/// Whether what is read may be old. Where the client waits for a change, or compares with what
/// it saw, old answers would be wrong ones.
fn may_be_stale(request: &Request) -> bool {
    request.consistency == Consistency::Stale
        && match &request.body {
            Body::Call { call, .. } | Body::Within { call, .. } => {
                !call.command.flags.has(Flags::BLOCKING)
            }
            Body::Transaction(transaction) => transaction.watched.is_empty(),
            Body::Eventual(_) | Body::Versions(_) | Body::Publish(_) | Body::Wait(_) => false,
        }
}

/// Leaves what touches several partitions at one moment to whoever can do that.
pub(super) fn execute(kv: &Kv, atomic: Atomic) -> Later {
    let executor = kv.0.cross_partition.clone();
    executor.execute(Arc::new(kv.clone()), atomic)
}

/// Answers WAIT and WAITAOF. What was acknowledged is held by a majority, on disk unless the
/// node was told otherwise; how many more hold it is not counted, so no more is claimed.
async fn acknowledged(kv: &Kv, wait: Wait) -> Answer {
    let others = (kv.acknowledging() - 1) as u64;
    let (own, others) = match wait.on_disk {
        Some(_) if !kv.0.is_durable => (0, 0),
        _ => (1, others),
    };
    let enough = others >= wait.replicas && (own > 0 || wait.on_disk != Some(OwnDisk::Awaited));
    if !enough {
        match wait.timeout_ms {
            0 => std::future::pending().await,
            ms => clock::sleep(Duration::from_millis(ms)).await,
        }
    }
    let others = Reply::Integer(i64::try_from(others).unwrap_or(i64::MAX));
    Answer::Reply(match wait.on_disk {
        Some(_) => Reply::Array(vec![Reply::Integer(own), others]),
        None => others,
    })
}

fn published(kv: &Kv, publication: Publication) -> Answer {
    Answer::Reply(Reply::count(kv.publish(publication)))
}

fn is_read(command: &Command) -> bool {
    !command.flags.has(Flags::WRITE)
}

pub(super) fn kind(reads: bool) -> AskKind {
    if reads { AskKind::Read } else { AskKind::Write }
}

fn operation(database: usize, words: Vec<Bytes>) -> Bytes {
    Operation::Call(machine::Call { database, words }).encode()
}

fn begin_call(kv: &Kv, dealer: &mut Dealer<'_>, database: usize, call: Call) -> Pending {
    let partitions = kv.0.partitions;
    let plan = route::plan(call.command, &call.words, partitions.count(), |key| {
        partitions.of_key(key)
    });
    let kind = kind(is_read(call.command));
    match plan {
        Err(error) => Pending::Ready(error_reply(error.to_string())),
        Ok(Plan::One(_) | Plan::Anywhere) if call.command.flags.has(Flags::BLOCKING) => {
            let partition = match plan {
                Ok(Plan::One(partition)) => partition,
                _ => PartitionId(0),
            };
            let kv = kv.clone();
            let waits = async move { wait(&kv, partition, database, call).await };
            Pending::Alone(Box::pin(waits))
        }
        Ok(Plan::One(partition)) => {
            Pending::One(dealer.deal(partition, kind, operation(database, call.words)))
        }
        Ok(Plan::Anywhere) => {
            Pending::One(dealer.deal(PartitionId(0), kind, operation(database, call.words)))
        }
        Ok(Plan::Parts(parts, merge)) => {
            let receivers: Vec<Receiver> = parts
                .iter()
                .map(|part| {
                    let operation = operation(database, part.words.clone());
                    dealer.deal(part.partition, kind, operation)
                })
                .collect();
            Pending::Later(Box::pin(many::merged(receivers, Some(parts), merge)))
        }
        Ok(Plan::Every(merge)) => {
            many::begin_every(dealer, partitions.ids(), kind, database, call.words, merge)
        }
        Ok(Plan::Search) => {
            many::begin_search(dealer, partitions.ids().collect(), database, call.words)
        }
        Ok(Plan::Scan(scan)) => many::begin_scan(dealer, scan, |_| true, database),
        // Nobody is told of changes in several partitions.
        Ok(Plan::Atomic(_)) if !matches!(wait_of(call.command, &call.words), Ok(None)) => {
            Pending::Ready(Answer::Refused(Refusal::CrossPartition))
        }
        Ok(Plan::Atomic(_)) => {
            let atomic = Atomic {
                by: dealer.by(),
                steps: vec![AtomicStep::Call { database, call }],
                watched: Vec::new(),
                names: Vec::new(),
                is_transaction: false,
            };
            Pending::Alone(execute(kv, atomic))
        }
    }
}

/// A command in an eventual keyspace. Those that eventual keyspaces have go to one partition, or
/// key by key to some.
fn begin_eventual(kv: &Kv, dealer: &mut Dealer<'_>, asked: EventualCall) -> Pending {
    let EventualCall {
        keyspace,
        write,
        read,
        call,
    } = asked;
    if let Err(error) = eventual_replica::check(&call.words) {
        return Pending::Ready(error_reply(error.to_string()));
    }
    let partitions = kv.0.partitions;
    let plan = route::plan(call.command, &call.words, partitions.count(), |key| {
        partitions.of_key(key)
    });
    let room = |partition| RoomId {
        keyspace,
        partition,
    };
    match plan {
        Err(error) => Pending::Ready(error_reply(error.to_string())),
        Ok(Plan::One(partition)) => {
            Pending::One(dealer.deal_eventual(room(partition), (write, read), call.words))
        }
        Ok(Plan::Parts(parts, merge)) => {
            let receivers = parts.iter().map(|part| {
                let words = part.words.clone();
                dealer.deal_eventual(room(part.partition), (write, read), words)
            });
            let receivers = receivers.collect();
            Pending::Later(Box::pin(many::merged(receivers, Some(parts), merge)))
        }
        Ok(_) => Pending::Ready(error_reply(format!(
            "ERR {} is not available in an eventual keyspace",
            call.command.name
        ))),
    }
}

fn begin_transaction(
    kv: &Kv,
    dealer: &mut Dealer<'_>,
    transaction: Transaction,
    caller: Option<Caller>,
) -> Pending {
    let partitions = kv.0.partitions;
    let calls = transaction.steps.iter().filter_map(|step| match step {
        Step::Call { call, .. } => Some((call.command, &call.words[..])),
        Step::Publish(_) => None,
    });
    let watched = transaction.watched.iter().map(|(key, _)| &key.key[..]);
    let plan = route::plan_transaction(calls, watched, partitions.count(), |key| {
        partitions.of_key(key)
    });
    let partition = match plan {
        Err(error) => return Pending::Ready(error_reply(error.to_string())),
        Ok(plan) if scripts::holds_scripts(&transaction) => {
            return scripts::begin_transaction(kv, dealer.by(), transaction, &plan, caller);
        }
        Ok(Plan::One(partition)) if transaction.names.is_empty() => partition,
        Ok(Plan::Anywhere) if transaction.names.is_empty() => PartitionId(0),
        Ok(_) => {
            let steps = transaction.steps.into_iter().map(|step| match step {
                Step::Call { database, call } => AtomicStep::Call { database, call },
                Step::Publish(publication) => AtomicStep::Publish(publication),
            });
            let atomic = Atomic {
                by: dealer.by(),
                steps: steps.collect(),
                watched: transaction.watched,
                names: transaction.names,
                is_transaction: true,
            };
            return Pending::Alone(execute(kv, atomic));
        }
    };
    let reads = transaction.steps.iter().all(|step| match step {
        Step::Call { call, .. } => is_read(call.command),
        Step::Publish(_) => true,
    });
    // What is published is nobody's key: its place among the replies is kept.
    let mut published = Vec::new();
    let mut calls = Vec::new();
    for (place, step) in transaction.steps.into_iter().enumerate() {
        match step {
            Step::Call { database, call } => calls.push(machine::Call {
                database,
                words: call.words,
            }),
            Step::Publish(publication) => published.push((place, publication)),
        }
    }
    let watched = transaction
        .watched
        .into_iter()
        .map(|(key, version)| (key.database, key.key, version.0))
        .collect();
    let operation = Operation::Transaction { calls, watched };
    let receiver = dealer.deal(partition, kind(reads), operation.encode());
    let kv = kv.clone();
    Pending::Later(Box::pin(async move {
        match answer(receiver.await) {
            Answer::Executed(mut replies) => {
                for (place, publication) in published {
                    let told = Reply::count(kv.publish(publication));
                    replies.insert(place.min(replies.len()), told);
                }
                Answer::Executed(replies)
            }
            other => other,
        }
    }))
}

pub(super) async fn given(
    kv: &Kv,
    partition: PartitionId,
    kind: AskKind,
    operation: Bytes,
) -> Result<Given<Answered>, oneshot::error::RecvError> {
    let mut dealer = Dealer::new(kv);
    let receiver = dealer.deal(partition, kind, operation);
    dealer.hand_over();
    receiver.await
}

pub(super) fn answer(given: Result<Given<Answered>, oneshot::error::RecvError>) -> Answer {
    match given {
        Ok(Given::Reply(Answered::Reply(reply) | Answered::Waits { reply, .. })) => {
            Answer::Reply(reply)
        }
        Ok(Given::Reply(Answered::Executed(replies))) => Answer::Executed(replies),
        Ok(Given::Reply(Answered::Discarded)) => Answer::Discarded,
        Ok(Given::Reply(Answered::Versions(versions))) => {
            Answer::Versions(versions.into_iter().map(Version).collect())
        }
        // Whoever asked for a script publishes.
        Ok(Given::Reply(Answered::Ran { answered, .. })) => answer(Ok(Given::Reply(*answered))),
        // Those who take such steps read what comes of them.
        Ok(Given::Reply(Answered::Transacted(_))) => Answer::Refused(Refusal::Unknown),
        Ok(Given::Refused) => Answer::Refused(Refusal::Unavailable),
        Ok(Given::Busy) => Answer::Refused(Refusal::Overloaded),
        // The shard ended while it had the request.
        Ok(Given::Unknown) | Err(_) => Answer::Refused(Refusal::Unknown),
    }
}

pub(super) fn error_reply(text: String) -> Answer {
    Answer::Reply(Reply::Error(Bytes::from(text)))
}

/// Where keys of any partitions stand.
async fn versions(kv: &Kv, keys: Vec<DatabaseKey>) -> Answer {
    let mut dealer = Dealer::new(kv);
    let receivers: Vec<Receiver> = keys
        .into_iter()
        .map(|key| {
            let partition = kv.0.partitions.of_key(&key.key);
            let operation = Operation::Versions(vec![(key.database, key.key)]);
            dealer.deal(partition, AskKind::Read, operation.encode())
        })
        .collect();
    dealer.hand_over();
    let mut all = Vec::with_capacity(receivers.len());
    for receiver in receivers {
        match answer(receiver.await) {
            Answer::Versions(mut versions) => all.append(&mut versions),
            refused => return refused,
        }
    }
    Answer::Versions(all)
}

/// Has what waits withdrawn when nobody wants its answer any more.
struct Withdrawal<'a> {
    kv: &'a Kv,
    partition: PartitionId,
    number: u64,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        let withdrawal = Urgent::Withdraw {
            partition: self.partition,
            number: self.number,
        };
        // Where the shard has ended, nobody waits.
        let _ = self.kv.0.door(self.partition).urgent.send(withdrawal);
    }
}

/// Runs a command that may wait: at the partition's owner, in the order in which they came.
async fn wait(kv: &Kv, partition: PartitionId, database: usize, call: Call) -> Answer {
    let wait = match wait_of(call.command, &call.words) {
        Ok(Some(wait)) => wait,
        Ok(None) => {
            let kind = kind(is_read(call.command));
            let operation = operation(database, call.words);
            return answer(given(kv, partition, kind, operation).await);
        }
        Err(error) => return error_reply(error.to_string()),
    };
    let mut words = call.words;
    if is_read(call.command) {
        // What is there already is read without the log.
        let operation = operation(database, words.clone());
        let found = given(kv, partition, AskKind::Read, operation).await;
        let Ok(Given::Reply(Answered::Waits { words: fixed, .. })) = found else {
            return answer(found);
        };
        words = fixed.unwrap_or(words);
    }
    let operation = Operation::Wait {
        since_ms: clock::wall_ms(),
        attempt: Attempt::First,
        call: machine::Call { database, words },
    };
    let number = kv.0.next_wait.fetch_add(1, Ordering::Relaxed);
    let kind = AskKind::Wait {
        timeout_ms: wait.timeout_ms,
        number,
    };
    let _withdrawal = Withdrawal {
        kv,
        partition,
        number,
    };
    answer(given(kv, partition, kind, operation.encode()).await)
}
