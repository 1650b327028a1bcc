//! What faces and other crates may ask of hot data.
//!
//! A [`Request`] names no partition: whoever implements [`Api`] finds them
//! ([`route`](crate::core::route)), and hands what has to be done in several at one moment to
//! the [`CrossPartition`] executor.

mod cluster;
mod condition;
mod eventual;

use std::{
    collections::BTreeSet,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
};

use atoll_base::id::PartitionId;
use atoll_ring::{partition::Partitions, slot::Slot};
use bytes::Bytes;

use crate::core::{
    acl::Caller,
    command::{self, Command},
    keyspaces::{Keyspace, Wanted},
    machine::{Answered, BranchId, Operation, Script, Surroundings, TransactionId},
    partition::Given,
    reply::Reply,
    sessions::Session,
};

pub use cluster::{ClusterMap, ClusterNode, ClusterView, Redirect, Route, SlotRange};
pub use condition::{Condition, Hindrance, Unhindered};
pub use eventual::{EventualCall, EventualStatus, KeyspaceError};

/// How new what is read has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// What was acknowledged before the request began is seen.
    #[default]
    Linearizable,
    /// Whatever the nearest replica knows. Requests that write are linearizable all the same.
    Stale,
}

/// A command with its words, the name among them. Their number was checked.
#[derive(Clone, Debug)]
pub struct Call {
    /// What the words call.
    pub command: &'static Command,
    /// The words; views of what a client sent.
    pub words: Vec<Bytes>,
}

/// A message to all who subscribed to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The channel.
    pub channel: Bytes,
    /// The message.
    pub message: Bytes,
    /// Only those who subscribed by SSUBSCRIBE hear it, or only the others.
    pub sharded: bool,
}

/// Where a key stands: the place of its last change or removal in its partition's log, or, for a
/// key that is not there, a later one; 0 where it never was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version(pub u64);

/// A key in one of the logical databases.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DatabaseKey {
    /// The database's index.
    pub database: usize,
    /// The key.
    pub key: Bytes,
}

/// One thing that a transaction does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Runs a command.
    Call {
        /// The database's index.
        database: usize,
        /// The command.
        call: Call,
    },
    /// Publishes, once the transaction is done.
    Publish(Publication),
}

/// Steps that are taken one after the other, with nothing of others between them. Commands that
/// would wait don't.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// What is done, in order. A step that fails does not keep the others from being taken, as
    /// in Redis.
    pub steps: Vec<Step>,
    /// Nothing is done unless these keys still stand where they stood.
    pub watched: Vec<(DatabaseKey, Version)>,
    /// Nothing is done unless there are these names, and no others that begin alike.
    pub names: Vec<Names>,
}

/// All names of keys that begin in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The database's index.
    pub database: usize,
    /// How they begin. One that holds a whole hash tag lies in one partition; any other in all.
    pub prefix: Bytes,
    /// All of them.
    pub keys: BTreeSet<Bytes>,
}

/// A wait until what was acknowledged is held by more than the majority that acknowledged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// So many replicas apart from the owner.
    pub replicas: u64,
    /// Whether they, and the owner, must have it on disk; the owner only, if it is asked for.
    pub on_disk: Option<OwnDisk>,
    /// No longer than this; 0 waits for ever.
    pub timeout_ms: u64,
}

/// Whether WAITAOF waits for the owner's own disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnDisk {
    /// It does.
    Awaited,
    /// It does not.
    Ignored,
}

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The partition that a slot is in.
    Slot(Slot),
    /// The partitions whose owner cluster clients are told that this node is.
    Owned,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Body {
    /// Run a command in a database: [`Answer::Reply`]. Dropping the question of a command that
    /// waits ends its waiting.
    Call {
        /// The database's index.
        database: usize,
        /// The command.
        call: Call,
    },
    /// Run a command in an eventual keyspace: [`Answer::Reply`].
    Eventual(EventualCall),
    /// Run a command that names no keys on a part of a database: [`Answer::Reply`].
    Within {
        /// The part.
        part: Part,
        /// The database's index.
        database: usize,
        /// The command; on several partitions one of DBSIZE, KEYS, RANDOMKEY and SCAN.
        call: Call,
    },
    /// Run a transaction: [`Answer::Executed`] or [`Answer::Discarded`].
    Transaction(Transaction),
    /// Tell where keys stand: [`Answer::Versions`].
    Versions(Vec<DatabaseKey>),
    /// Publish: [`Answer::Reply`], the number of those who heard it on the node that was asked,
    /// as in a Redis Cluster.
    Publish(Publication),
    /// Wait: [`Answer::Reply`], what WAIT or, with disks, WAITAOF answers. It tells the truth of
    /// the partition that fares worst.
    Wait(Wait),
}

impl Body {
    /// Whether scripts are part of it.
    pub fn runs_scripts(&self) -> bool {
        match self {
            Body::Call { call, .. } => command::runs_scripts(call.command),
            Body::Transaction(transaction) => transaction.steps.iter().any(|step| match step {
                Step::Call { call, .. } => command::runs_scripts(call.command),
                Step::Publish(_) => false,
            }),
            Body::Eventual(_)
            | Body::Within { .. }
            | Body::Versions(_)
            | Body::Publish(_)
            | Body::Wait(_) => false,
        }
    }
}

/// A question.
#[derive(Clone, Debug)]
pub struct Request {
    /// How new what is read has to be.
    pub consistency: Consistency,
    /// The client of this node that is not told of changes of its own, by its number.
    pub by: Option<u64>,
    /// Who asks, if scripts are asked for and the user may not do everything.
    pub caller: Option<Caller>,
    /// What is asked.
    pub body: Body,
}

/// What a [`Request`] comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The command's reply; errors of commands are replies, too.
    Reply(Reply),
    /// One reply for each step.
    Executed(Vec<Reply>),
    /// A watched key had changed; nothing was done.
    Discarded,
    /// One version for each key.
    Versions(Vec<Version>),
    /// It was not done, or nobody knows.
    Refused(Refusal),
    /// What scripts, or a transaction with scripts, came to.
    Ran {
        /// One of the others.
        answer: Box<Answer>,
        /// Whether a script has called something that reads keys.
        has_read: bool,
        /// Whether the answer is an error that was counted when something that the script called
        /// gave it.
        is_counted: bool,
    },
}

impl Answer {
    /// The same, without what else is known of scripts.
    pub fn plain(self) -> Answer {
        match self {
            Answer::Ran { answer, .. } => *answer,
            other => other,
        }
    }

    /// Another answer, with what else is known of scripts.
    pub fn map(self, change: impl FnOnce(Answer) -> Answer) -> Answer {
        match self {
            Answer::Ran {
                answer,
                has_read,
                is_counted,
            } => Answer::Ran {
                answer: Box::new(change(*answer)),
                has_read,
                is_counted,
            },
            other => change(other),
        }
    }
}

/// Why a request was not done. Its text is the error reply, in words that Redis's clients know
/// where there are such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has to happen at one moment in several partitions, and can't be had that way. Nothing
    /// was done. Keys with one hash tag are in one partition.
    #[error(
        "CROSSSLOT Keys in request don't hash to the same partition; \
         this command needs them in one: give them the same {{hash tag}}"
    )]
    CrossPartition,
    /// No majority of a partition's replicas can be reached. Nothing was done.
    #[error("CLUSTERDOWN A majority of the replicas of this key's partition can't be reached")]
    Unavailable,
    /// Too much is waiting. Nothing was done; it may be tried again.
    #[error("TRYAGAIN Too many commands are waiting for this key's partition")]
    Overloaded,
    /// No answer came, so it was done or it was not.
    #[error("ERR No answer in time; the command may have been executed or not")]
    Unknown,
}

/// Hot data, as a node offers it.
pub trait Api: Send + Sync + 'static {
    /// Answers questions, one answer for each, in their order. Handed over together are those
    /// that came together from one connection. They begin in their order, and those that touch
    /// one partition take effect in it; those of different partitions run at the same time.
    fn ask(&self, requests: Vec<Request>) -> impl Future<Output = Vec<Answer>> + Send;

    /// Has the cluster create a keyspace.
    fn create_keyspace(
        &self,
        _wanted: Wanted,
    ) -> impl Future<Output = Result<Keyspace, KeyspaceError>> + Send {
        ready(Err(KeyspaceError::Undecided))
    }

    /// What it can't do at the moment.
    fn condition(&self) -> Arc<dyn Condition> {
        Unhindered::shared()
    }
}

/// An answer that is on its way.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The partitions of a node's hot data, asked one by one: what whoever does something in several
/// of them at one moment works with.
pub trait Participants: Send + Sync + 'static {
    /// Where keys are.
    fn partitions(&self) -> Partitions;

    /// Names this start of this node; no other ever has this name.
    fn session(&self) -> Session;

    /// How long a client waits for what it asked for, in milliseconds.
    fn timeout_ms(&self) -> u64;

    /// Asks a partition; `reads` says that nothing is changed, and `by` which client of this node
    /// asks, if it is not to be told of changes of its own.
    fn ask(
        &self,
        by: Option<u64>,
        partition: PartitionId,
        reads: bool,
        operation: &Operation,
    ) -> Later<Given<Answered>>;

    /// Publishes on all nodes; counts those on this one who hear it.
    fn publish(&self, publication: Publication) -> usize;

    /// This node, for scripts that run in none of its partitions.
    fn surroundings(&self) -> Arc<dyn Surroundings>;
}

/// One step of what has to happen in several partitions at one moment.
#[derive(Clone, Debug)]
pub enum AtomicStep {
    /// Run a command.
    Call {
        /// The database's index.
        database: usize,
        /// The command.
        call: Call,
    },
    /// Run a script. It sees the keys that it declares, and no others.
    Script(Script),
    /// Publish, once all is done.
    Publish(Publication),
    /// Do nothing; the reply is this one.
    Told(Reply),
}

/// What has to happen in several partitions at one moment, or not at all.
#[derive(Clone, Debug)]
pub struct Atomic {
    /// The client of this node that is not told of changes of its own, by its number.
    pub by: Option<u64>,
    /// What is done, in order.
    pub steps: Vec<AtomicStep>,
    /// Nothing is done unless these keys still stand where they stood.
    pub watched: Vec<(DatabaseKey, Version)>,
    /// Nothing is done unless there are these names, and no others that begin alike.
    pub names: Vec<Names>,
    /// Whether it is answered as EXEC is; otherwise as its one step is.
    pub is_transaction: bool,
}

/// A transaction over several partitions that has not been ended in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stray {
    /// It holds locks.
    Locks {
        /// Which transaction.
        id: TransactionId,
        /// Where it holds them.
        partition: PartitionId,
        /// Who knows what is decided.
        home: PartitionId,
    },
    /// What was decided is still remembered.
    Decision {
        /// Which transaction.
        id: TransactionId,
        /// Whether it was committed.
        commits: bool,
        /// Who remembers.
        home: PartitionId,
        /// Who took part.
        participants: Vec<PartitionId>,
    },
    /// A branch is held for long: whoever decides it outside is to be asked.
    Held(BranchId),
    /// How a branch has ended is still remembered.
    Branch {
        /// Which branch.
        id: BranchId,
        /// Who remembers.
        home: PartitionId,
    },
}

/// Does in several partitions at one moment, or not at all, what Redis does at one moment: MSET,
/// RENAME, SUNIONSTORE, EVAL, and MULTI over any keys. The binary brings one.
pub trait CrossPartition: Send + Sync + 'static {
    /// Does it.
    fn execute(&self, partitions: Arc<dyn Participants>, atomic: Atomic) -> Later<Answer>;

    /// Ends what somebody else has begun.
    fn settle(&self, partitions: Arc<dyn Participants>, stray: Stray) -> Later<()>;
}

/// Where no executor was brought: refuses, and has done nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCrossPartition;

impl CrossPartition for NoCrossPartition {
    fn execute(&self, _: Arc<dyn Participants>, _: Atomic) -> Later<Answer> {
        Box::pin(ready(Answer::Refused(Refusal::CrossPartition)))
    }

    fn settle(&self, _: Arc<dyn Participants>, _: Stray) -> Later<()> {
        Box::pin(ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_several_partitions_are_refused_in_words_that_say_what_to_do() {
        let text = Refusal::CrossPartition.to_string();
        assert!(text.starts_with("CROSSSLOT Keys in request don't hash to the same"));
        assert!(text.ends_with("{hash tag}"));
    }
}
