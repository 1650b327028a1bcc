//! What entries of a partition's log make, the same on every replica.

use std::fmt;

use bytes::Bytes;

use super::Batch;
use crate::core::{
    data::Milliseconds,
    paxos::{Entry, LogIndex, Payload, Position},
    sessions::{Known, Origin, Roll, Sessions},
};

/// What entries of the log make: commands in, replies out, the same on every replica.
pub trait StateMachine: Clone {
    /// What a request comes to.
    type Reply: Clone + fmt::Debug + PartialEq;
    /// What requests wait for.
    type Key: Clone + fmt::Debug + Ord;

    /// Applies one request.
    fn apply(&mut self, at: Moment, operation: &Bytes) -> Self::Reply;

    /// Whether an applied request found something to do.
    fn found(&self, _operation: &Bytes, _reply: &Self::Reply) -> Found<Self::Key> {
        Found::Something
    }

    /// What was changed since this was last asked.
    fn take_changed(&mut self) -> Changed<Self::Key> {
        Changed::Keys(Vec::new())
    }

    /// Nobody wants to know what was changed since this was last asked.
    fn forget_changed(&mut self) {
        self.take_changed();
    }

    /// Answers a request that changes nothing. `seed` is for what is drawn.
    fn read(&mut self, now_ms: Milliseconds, seed: u64, operation: &Bytes) -> Read<Self::Reply>;

    /// Whether only the owner can tell what a request comes to: it is then
    /// [decided](Self::decide) before it is logged, once everything before it is applied.
    fn is_decided(&self, _operation: &Bytes) -> bool {
        false
    }

    /// What is logged in the place of such a request. `at` is the very moment that it will be
    /// applied at, and afterwards the machine is what it was before: other owners may come.
    fn decide(&mut self, _at: Moment, operation: &Bytes) -> Bytes {
        operation.clone()
    }

    /// Whether a request has to wait until others let go of what they hold. Only what was held
    /// at this entry of the log counts.
    fn is_held_up(&self, _operation: &Bytes, _as_of: LogIndex) -> bool {
        false
    }

    /// Whether a request takes hold of something, or lets go: it waits for nobody, unless it
    /// [says so](Self::waits_in_line).
    fn takes_hold(&self, _operation: &Bytes) -> bool {
        false
    }

    /// Whether a request that takes hold waits in line as others do.
    fn waits_in_line(&self, _operation: &Bytes) -> bool {
        false
    }

    /// Whether a read waits for nobody, whoever came before it.
    fn passes(&self, _operation: &Bytes) -> bool {
        false
    }

    /// Whether a request would have to wait for what another, which takes hold, will hold.
    fn collides(&self, _operation: &Bytes, _holder: &Bytes) -> bool {
        false
    }

    /// The reply to a request that would take hold of what others wait for.
    fn stands_back(&self) -> Option<Self::Reply> {
        None
    }

    /// The reply to a request that does not wait any more for what others hold, where they hold it
    /// for too long.
    fn waits_no_more(&self, _operation: &Bytes) -> Option<Self::Reply> {
        None
    }

    /// Why the owner does not log a request, if it does not.
    fn refuses(&self, _operation: &Bytes) -> Option<Self::Reply> {
        None
    }

    /// The reply to a read, with the version of everything that it rests on: versions are equal
    /// only where the same changes were made. None, if it can't be told without the log: by
    /// default, and wherever the moment of the read matters.
    fn observe(&mut self, _operation: &Bytes) -> Option<(u64, Self::Reply)> {
        None
    }

    /// Whether a logged request may change what a read rests on; yes, if that is not known.
    fn touches(&self, _logged: &Bytes, _read: &Bytes) -> bool {
        true
    }
}

/// What an applied request found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<K> {
    /// Something to do, or it was done without: its reply is its reply for ever.
    Something,
    /// Nothing, and it would wait: it may be applied again.
    NothingYet(Wish<K>),
    /// Nothing, and it waits no longer.
    Nothing,
}

/// What a request waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish<K> {
    /// When it was asked for; who came earlier comes first.
    pub since_ms: u64,
    /// Any of these has to be changed.
    pub keys: Vec<K>,
    /// What is tried again then.
    pub again: Bytes,
    /// What is tried when its time is over: it finds something, or [`Found::Nothing`].
    pub last: Bytes,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed<K> {
    /// These; one may come more than once.
    Keys(Vec<K>),
    /// Any key may have been.
    Everything,
}

/// What a read comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Read<R> {
    /// The reply.
    Reply(R),
    /// This has to be applied first: what the read would tell rests on the owner's clock.
    After(Bytes),
}

/// When a request is applied, and by which chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The partition's time.
    pub now_ms: Milliseconds,
    /// Where random numbers come from.
    pub seed: u64,
    /// The entry's place in the log.
    pub index: LogIndex,
}

/// Everything that entries of the log make, with what is needed to apply each request once.
#[derive(Clone, Debug, PartialEq)]
pub struct State<M: StateMachine> {
    /// What commands work on.
    pub machine: M,
    /// Which requests were applied.
    pub sessions: Sessions<M::Reply>,
    /// The partition's time: the highest that an owner gave an entry.
    pub now_ms: Milliseconds,
    /// The last entry that was applied.
    pub applied: Position,
}

impl<M: StateMachine> State<M> {
    /// Before the first entry.
    pub fn new(machine: M) -> Self {
        State {
            machine,
            sessions: Sessions::default(),
            now_ms: 0,
            applied: Position::default(),
        }
    }

    /// Applies an entry; tells what each of its requests came to. What waits is not kept among
    /// the sessions' replies: nothing was done.
    ///
    /// # Panics
    /// The entry is not the next one, or holds no batch. Owners make sure of both before they
    /// log anything, and a replica that goes on with something else would diverge.
    pub fn apply(&mut self, entry: &Entry) -> Vec<(Origin, AppliedBy<M>)> {
        assert_eq!(entry.index(), self.applied.index.next(), "out of order");
        self.applied = entry.position;
        let Payload::Batch(bytes) = &entry.payload else {
            return Vec::new();
        };
        let batch = match Batch::decode(bytes.clone()) {
            Ok(batch) => batch,
            Err(error) => panic!("entry {} holds no batch: {error}", entry.index()),
        };
        self.now_ms = self.now_ms.max(batch.now_ms);
        let mut done = Vec::with_capacity(batch.requests.len());
        for (at, (origin, operation)) in batch.requests.iter().enumerate() {
            if origin.is_roll() {
                match Roll::decode(operation.clone()) {
                    Ok(roll) => self.sessions.call(&roll),
                    Err(error) => panic!("entry {} holds no roll: {error}", entry.index()),
                }
                continue;
            }
            let known = match origin.is_own() {
                true => Known::New,
                false => self.sessions.look(origin),
            };
            let applied = match known {
                Known::Applied(reply) => Applied::before(&self.machine, operation, reply),
                Known::Stale => Applied::Stale,
                Known::New => {
                    let moment = Moment {
                        now_ms: self.now_ms,
                        seed: batch.seed.wrapping_add(at as u64),
                        index: entry.index(),
                    };
                    let reply = self.machine.apply(moment, operation);
                    let applied = Applied::now(&self.machine, operation, reply);
                    if let Some(reply) = applied.reply()
                        && !origin.is_own()
                    {
                        self.sessions.keep(origin, reply.clone());
                    }
                    applied
                }
            };
            done.push((*origin, applied));
        }
        done
    }
}

/// What applying a request to a machine came to.
pub type AppliedBy<M> = Applied<<M as StateMachine>::Reply, <M as StateMachine>::Key>;

/// What applying a request came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied<R, K> {
    /// Its reply.
    Done(R),
    /// The reply of one that found nothing, and waits no longer.
    Nothing(R),
    /// It waits.
    Waits(Wish<K>),
    /// Nobody waits for it any more: it was not applied.
    Stale,
}

impl<R, K> Applied<R, K> {
    /// Of a request that was just applied.
    fn now<M: StateMachine<Reply = R, Key = K>>(machine: &M, operation: &Bytes, reply: R) -> Self {
        match machine.found(operation, &reply) {
            Found::Something => Applied::Done(reply),
            Found::Nothing => Applied::Nothing(reply),
            Found::NothingYet(wish) => Applied::Waits(wish),
        }
    }

    /// Of a request that was applied before: what was kept is for ever.
    fn before<M: StateMachine<Reply = R, Key = K>>(
        machine: &M,
        operation: &Bytes,
        reply: R,
    ) -> Self {
        match machine.found(operation, &reply) {
            Found::Something => Applied::Done(reply),
            Found::Nothing | Found::NothingYet(_) => Applied::Nothing(reply),
        }
    }

    /// The reply that stands for ever.
    fn reply(&self) -> Option<&R> {
        match self {
            Applied::Done(reply) | Applied::Nothing(reply) => Some(reply),
            Applied::Waits(_) | Applied::Stale => None,
        }
    }
}
