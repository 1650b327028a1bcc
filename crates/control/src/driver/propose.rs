//! Proposals: from any node into the log, and back as an answer.
//!
//! A command is numbered by its node (boot, sequence) and handed to the leader, wherever that
//! is. The answer is found when this node's own replica applies the command. When the leader
//! changes, everything unanswered is handed to the new one; the replicated table of applied
//! sequences makes sure that it is applied once (Raft dissertation, section 6.3). So a client
//! on a surviving node sees a pause when a leader dies, not an error.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_world::{clock, peers::Peers, task};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{Notify, oneshot};

use super::{replica::Replicated, services::PROPOSE, system_identity};
use crate::{
    api::Applied,
    core::{error::Error, guard::any_op, level::needed_by},
    log::Log,
    proto::{
        etcdserverpb::request_op::Request,
        internal::{Command, Identity, Origin, command::Op, identity},
        raft as pb,
    },
};

/// Batches of this node that may be on their way into the log at a time. Few, so that what
/// arrives meanwhile is gathered into the next one.
const BATCHES_IN_FLIGHT_MAX: usize = 3;

/// Commands in one batch.
const BATCH_COMMANDS_MAX: usize = 512;

/// Bytes in one batch; a single larger command still travels, alone.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Commands of this node that may wait for their answer.
const WAITING_MAX: usize = 16 * 1024;

/// How long a batch that was refused rests before it is offered again, where no change of
/// leader comes first.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// How long the leader may take to apply a forwarded batch before it is offered again.
const FORWARD_TIMEOUT: Duration = Duration::from_millis(2_000);

type Answer = Result<Applied, Error>;

/// The commands of this node that have no answer yet.
pub(crate) struct Waiters {
    node: NodeId,
    boot: u64,
    state: Mutex<WaitersState>,
    /// There is something to offer.
    fresh: Notify,
}

#[derive(Default)]
struct WaitersState {
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
    /// Sequences not yet offered to the present leader, from here on.
    offered_below: u64,
}

struct Waiter {
    command: Bytes,
    /// Only this node may put it into the log, and has been asked to.
    is_bound: bool,
    answer: oneshot::Sender<Answer>,
}

impl Waiters {
    pub(crate) fn new(node: NodeId, boot: u64) -> Self {
        let state = WaitersState {
            next: 1,
            offered_below: 1,
            ..WaitersState::default()
        };
        Waiters {
            node,
            boot,
            state: Mutex::new(state),
            fresh: Notify::new(),
        }
    }

    /// Numbers a command and lets it wait.
    fn enter(
        &self,
        identity: Identity,
        op: Op,
        is_bound: bool,
    ) -> Result<(u64, oneshot::Receiver<Answer>), Error> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if state.waiting.len() >= WAITING_MAX {
            return Err(Error::RequestTooManyRequests);
        }
        let sequence = state.next;
        state.next += 1;
        let answered_below = state.waiting.keys().next().copied().unwrap_or(sequence);
        let origin = self.origin(sequence, answered_below);
        let command = Command {
            origin: Some(origin),
            identity: Some(identity),
            op: Some(op),
        };
        state.waiting.insert(
            sequence,
            Waiter {
                command: command.encode_to_vec().into(),
                is_bound,
                answer,
            },
        );
        drop(state);
        self.fresh.notify_one();
        Ok((sequence, receiver))
    }

    fn origin(&self, sequence: u64, answered_below: u64) -> Origin {
        Origin {
            node: self.node.0,
            boot: self.boot,
            sequence,
            answered_below,
        }
    }

    /// A command that waits.
    fn command(&self, sequence: u64) -> Option<Bytes> {
        let state = self.state.lock();
        let waiter = state.waiting.get(&sequence);
        waiter.map(|waiter| waiter.command.clone())
    }

    /// Commands that have no answer yet.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    fn leave(&self, sequence: u64) {
        self.state.lock().waiting.remove(&sequence);
    }

    /// The replica applied a command; tells whoever waits for it here.
    pub(crate) fn applied(&self, origin: &Origin, answer: Answer) {
        if origin.node != self.node.0 || origin.boot != self.boot {
            return;
        }
        let waiter = self.state.lock().waiting.remove(&origin.sequence);
        if let Some(waiter) = waiter {
            // The client may have gone.
            let _ = waiter.answer.send(answer);
        }
    }

    /// The state was replaced by a snapshot: answers those whose command is in it, with what
    /// is known of them.
    pub(crate) fn replaced(&self, is_applied: impl Fn(&Origin) -> bool) {
        let mut state = self.state.lock();
        let gone: Vec<u64> = state
            .waiting
            .keys()
            .copied()
            .filter(|sequence| is_applied(&self.origin(*sequence, 0)))
            .collect();
        for sequence in gone {
            if let Some(waiter) = state.waiting.remove(&sequence) {
                let _ = waiter.answer.send(Err(Error::OutcomeUnknown));
            }
        }
    }

    /// Everything unanswered is to be offered (again).
    fn offer_all(&self) {
        self.state.lock().offered_below = 0;
    }

    fn offer_from(&self, sequence: u64) {
        let mut state = self.state.lock();
        state.offered_below = state.offered_below.min(sequence);
    }

    /// The next commands to offer, oldest first.
    fn take(&self) -> Option<Offer> {
        let mut state = self.state.lock();
        let mut commands = Vec::new();
        let mut bytes = 0;
        let mut first = None;
        let mut below = state.offered_below;
        let unbound = |(_, waiter): &(&u64, &Waiter)| !waiter.is_bound;
        for (sequence, waiter) in state.waiting.range(below..).filter(unbound) {
            let full = commands.len() == BATCH_COMMANDS_MAX
                || bytes + waiter.command.len() > BATCH_BYTES_MAX;
            if full && !commands.is_empty() {
                break;
            }
            bytes += waiter.command.len();
            commands.push(waiter.command.clone());
            first.get_or_insert(*sequence);
            below = sequence + 1;
        }
        state.offered_below = below;
        first.map(|first| Offer { first, commands })
    }
}

struct Offer {
    first: u64,
    commands: Vec<Bytes>,
}

/// Joins encoded commands to an encoded `Batch`: field 1, length-delimited, repeated.
pub(crate) fn batch_of(commands: &[Bytes]) -> Bytes {
    const FIELD_1_LENGTH_DELIMITED: u8 = 0x0a;
    let length = commands.iter().map(|command| command.len() + 11).sum();
    let mut batch = BytesMut::with_capacity(length);
    for command in commands {
        batch.put_u8(FIELD_1_LENGTH_DELIMITED);
        prost::encoding::encode_varint(command.len() as u64, &mut batch);
        batch.put_slice(command);
    }
    batch.freeze()
}

/// Puts proposals in and waits for their answers.
#[derive(Clone)]
pub(crate) struct Proposer {
    waiters: Arc<Waiters>,
    log: Log,
    replica: Arc<Replicated>,
    timeout: Duration,
    /// This node's disk has no room for what clients want to add.
    full: Arc<AtomicBool>,
}

/// Takes a command out of the waiting ones when its client goes away.
struct Leave<'a>(&'a Waiters, u64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

impl Proposer {
    /// Starts handing the commands of `waiters` to the leader.
    pub(crate) fn start(
        waiters: Arc<Waiters>,
        log: Log,
        peers: Arc<dyn Peers>,
        replica: Arc<Replicated>,
        timeout: Duration,
    ) -> Self {
        task::spawn(offer(waiters.clone(), log.clone(), peers));
        Proposer {
            waiters,
            log,
            replica,
            timeout,
            full: Arc::default(),
        }
    }

    /// Commands of this node that have no answer yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// From now on refuses what makes the state larger, or doesn't any more. The cluster's own
    /// commands, and those that take something away, always go on.
    pub(crate) fn refuse_growth(&self, refuse: bool) {
        self.full.store(refuse, Ordering::Relaxed);
    }

    /// Proposes and waits.
    pub(crate) async fn propose(&self, identity: Identity, op: Op) -> Answer {
        // Members of the present level might not know it.
        if self.replica.feature_level() < needed_by(&op) {
            return Err(Error::NotCapable);
        }
        let is_system = matches!(identity.who, Some(identity::Who::System(_)));
        if self.full.load(Ordering::Relaxed) && !is_system && adds(&op) {
            return Err(Error::NoSpace);
        }
        let (sequence, answer) = self.waiters.enter(identity, op, false)?;
        let _leave = Leave(&self.waiters, sequence);
        match clock::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::Stopped),
            Err(_) => Err(Error::Timeout),
        }
    }

    /// Proposes what follows from leading in a term: this node puts it into the log in that term,
    /// or nobody ever does. What a leader has concluded must not be carried out by the next one,
    /// which may have promised something else meanwhile.
    ///
    /// After an error nobody knows whether it is done, as with [`Proposer::propose`]; but if it
    /// is, that comes before everything that the next leader does.
    pub(crate) async fn propose_in(&self, term: u64, op: Op) -> Answer {
        if self.replica.feature_level() < needed_by(&op) {
            return Err(Error::NotCapable);
        }
        let (sequence, answer) = self.waiters.enter(system_identity(), op, true)?;
        let _leave = Leave(&self.waiters, sequence);
        let command = self.waiters.command(sequence).ok_or(Error::Stopped)?;
        let applied = async {
            let written = self.log.propose(batch_of(&[command]), Some(term)).await;
            let written = written.map_err(|_| Error::Stopped)?;
            written.await.map_err(|_| Error::NotLeader)?;
            answer.await.map_err(|_| Error::Stopped)?
        };
        match clock::timeout(self.timeout, applied).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout),
        }
    }
}

/// Whether an operation is one of those that the state machine refuses for want of space.
fn adds(op: &Op) -> bool {
    match op {
        Op::Put(_) | Op::LeaseGrant(_) => true,
        Op::Txn(txn) => any_op(txn, &|op| matches!(op, Request::RequestPut(_))),
        _ => false,
    }
}

/// The end of one offer: where it began, and whether the leader took it.
type Offered = (u64, bool);

async fn offer(waiters: Arc<Waiters>, log: Log, peers: Arc<dyn Peers>) {
    let mut leadership = log.leadership();
    let mut target = None;
    let mut in_flight: FuturesUnordered<BoxFuture<'static, Offered>> = FuturesUnordered::new();
    let mut rest = false;
    loop {
        let now = *leadership.borrow_and_update();
        let now = now.leader.map(|leader| (now.term, leader));
        if now != target {
            target = now;
            rest = false;
            waiters.offer_all();
        }
        if let Some((_, leader)) = target.filter(|_| !rest) {
            while in_flight.len() < BATCHES_IN_FLIGHT_MAX {
                let Some(offer) = waiters.take() else { break };
                in_flight.push(hand_over(offer, leader, log.clone(), peers.clone()));
            }
        }
        tokio::select! {
            biased;
            changed = leadership.changed() => if changed.is_err() { return },
            Some((first, taken)) = in_flight.next() => if !taken {
                waiters.offer_from(first);
                rest = true;
            },
            () = clock::sleep(RETRY_INTERVAL), if rest => rest = false,
            () = waiters.fresh.notified() => {}
        }
    }
}

fn hand_over(
    offer: Offer,
    leader: NodeId,
    log: Log,
    peers: Arc<dyn Peers>,
) -> BoxFuture<'static, Offered> {
    let Offer { first, commands } = offer;
    if leader == log.node() {
        return Box::pin(async move {
            let taken = match log.propose(batch_of(&commands), None).await {
                Ok(applied) => applied.await.is_ok(),
                Err(error) => {
                    tracing::warn!(%error, "a batch was not proposed");
                    false
                }
            };
            (first, taken)
        });
    }
    // Called now, so that batches leave in order.
    let request = pb::ProposeRequest { commands };
    let answer = peers.call(leader, PROPOSE, request.encode_to_vec().into());
    Box::pin(async move {
        let taken = match clock::timeout(FORWARD_TIMEOUT, answer).await {
            Ok(Ok(bytes)) => {
                pb::ProposeResponse::decode(bytes).is_ok_and(|response| response.accepted)
            }
            Ok(Err(error)) => {
                tracing::debug!(%leader, %error, "a batch was not forwarded");
                false
            }
            Err(_) => false,
        };
        (first, taken)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::internal::Batch;

    #[test]
    fn joined_commands_decode_as_a_batch() {
        let commands: Vec<Command> = (0..3)
            .map(|sequence| Command {
                origin: Some(Origin {
                    node: 1,
                    boot: 2,
                    sequence,
                    answered_below: 0,
                }),
                ..Command::default()
            })
            .collect();
        let encoded: Vec<Bytes> = commands
            .iter()
            .map(|command| command.encode_to_vec().into())
            .collect();
        let batch = Batch::decode(batch_of(&encoded)).expect("a batch");
        assert_eq!(batch.commands, commands);
    }

    #[test]
    fn what_was_not_taken_is_offered_again_in_order() {
        let waiters = Waiters::new(NodeId(1), 1);
        let answers: Vec<_> = (0..3)
            .map(|_| {
                waiters
                    .enter(
                        Identity::default(),
                        Op::AuthEnable(Default::default()),
                        false,
                    )
                    .expect("room")
            })
            .collect();
        let offer = waiters.take().expect("three commands");
        assert_eq!((offer.first, offer.commands.len()), (1, 3));
        assert!(waiters.take().is_none());
        waiters.offer_from(offer.first);
        waiters.leave(answers[1].0);
        let again = waiters.take().expect("two commands");
        assert_eq!((again.first, again.commands.len()), (1, 2));
    }
}
