//! Brings global transactions to their ends: owns a node's coordinator, and moves bytes between
//! it, the cluster's log of decisions and the participants outside.
//!
//! One task, the [`actor`], has the coordinator; everything that waits (a write to the log, a
//! call of a participant) waits in a task of its own and comes back as an event. Each write is a
//! compare-and-set in the control plane, so that whoever else brings the same transaction to its
//! end is noticed. Every node may take any request.
//!
//! **Who goes on when a node dies.** Each record names its owner. The control plane's leader asks
//! the owners of what has not ended whether they are there ([`care`]); what belongs to one that is
//! not it adopts, within a second or two. An open transaction, of which nobody knows whether its
//! client wanted to commit it, it leaves open for a little longer, so that the client can ask
//! another node to commit it; then it is given up. A node that starts again does the same with
//! its own. While nothing is under way, nobody is asked anything.

mod actor;
mod care;
mod cluster;
mod control;
mod index;
mod outside;
mod stats;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_control::proto::internal::Part;
use atoll_world::{clock, random, task};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};

use self::actor::{Actor, Event};
pub use self::{
    cluster::{Cluster, Unclear, Written},
    control::Decisions,
    index::{Index, Summary},
    outside::{Call, Later, Outside, Unfit},
    stats::{Load, Stats},
};
use crate::core::global::{
    Branch, Kind, Record, Settings, TransactionId,
    coordinator::{Answer, Refusal, Request},
    keys,
};

/// So many requests and events may wait for the coordinator; further ones are refused.
const EVENTS_MAX: usize = 4_096;

/// What a coordinator's driver is made of.
pub struct Setup<C> {
    /// The node.
    pub node: NodeId,
    /// The log of decisions, and who is there.
    pub cluster: C,
    /// Those who may take part.
    pub outside: Arc<dyn Outside>,
    /// Limits and times of the core.
    pub settings: Settings,
    /// Limits and times around it.
    pub bounds: Bounds,
}

/// Limits and times of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// So many transactions the cluster keeps, those included that have ended lately; then none
    /// can be begun.
    pub records_max: usize,
    /// So many participants are told at the same time; the others are told later.
    pub calls_max: usize,
    /// How often a node looks for what nobody brings to its end.
    pub look_ms: u64,
    /// An open transaction whose owner is gone is left open for so long.
    pub orphan_ms: u64,
    /// An owner that has not answered for so long is gone, if it was asked twice.
    pub alive_ms: u64,
    /// How often participants are asked what they hold prepared.
    pub held_ms: u64,
    /// How long a client waits for an answer.
    pub answer_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            records_max: 100_000,
            calls_max: 512,
            look_ms: 250,
            orphan_ms: 5_000,
            alive_ms: 500,
            held_ms: 5_000,
            answer_ms: 30_000,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobalError {
    /// The coordinator says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody can't take part.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Too much waits for this node's coordinator. Nothing was done.
    #[error("too many requests wait for this node's coordinator; try again")]
    Overloaded,
    /// It takes longer than clients may wait. Asking again, at any node, does no harm.
    #[error("no answer within {waited_ms} ms; it goes on, ask again what came of it")]
    Slow {
        /// So long was waited.
        waited_ms: u64,
    },
    /// The log can't be read now.
    #[error(transparent)]
    Unclear(#[from] Unclear),
    /// The node stops.
    #[error("this node is stopping; ask another one")]
    Stopped,
}

/// A node's coordinator. Clones are the same.
pub struct Global<C> {
    shared: Arc<Shared<C>>,
}

impl<C> Clone for Global<C> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        Global { shared }
    }
}

struct Shared<C> {
    cluster: C,
    outside: Arc<dyn Outside>,
    index: Arc<Index>,
    stats: Arc<Stats>,
    bounds: Bounds,
    timeout_ms_max: u64,
    events: mpsc::Sender<Event>,
}

impl<C: Cluster> Global<C> {
    /// Begins to work. It ends with the last clone, and what is under way then is gone on with by
    /// another node.
    pub fn start(setup: Setup<C>) -> Self {
        let (events, incoming) = mpsc::channel(EVENTS_MAX);
        let shared = Arc::new(Shared {
            cluster: setup.cluster.clone(),
            outside: setup.outside.clone(),
            index: Arc::default(),
            stats: Arc::default(),
            bounds: setup.bounds,
            timeout_ms_max: setup.settings.timeout_ms_max,
            events: events.clone(),
        });
        let (index, stats) = (shared.index.clone(), shared.stats.clone());
        let follower = setup.cluster.clone();
        let followed = index.clone();
        let following = task::spawn(async move { follower.follow(followed).await });
        let actor = Actor::new(setup, index, stats, events.downgrade());
        task::spawn(async move {
            actor.run(incoming).await;
            following.abort();
        });
        Global { shared }
    }

    /// Begins a transaction under a new id.
    ///
    /// # Errors
    /// It did not begin, or nobody knows: begin another one then.
    pub async fn begin(&self, kind: Kind, timeout_ms: u64) -> Result<TransactionId, GlobalError> {
        let (found, max) = (self.shared.index.len(), self.shared.bounds.records_max);
        if found >= max {
            let what = "transactions in the cluster's log";
            return Err(Refusal::Limit { what, found, max }.into());
        }
        let id = TransactionId(u128::from(random::u64()) << 64 | u128::from(random::u64()));
        let asked = self.ask(id, Request::Begin { kind, timeout_ms });
        asked.await.map(|_| id)
    }

    /// Has somebody take part; the place that it has.
    ///
    /// # Errors
    /// It does not, or nobody knows: asking again does no harm.
    pub async fn enlist(
        &self,
        id: TransactionId,
        name: String,
        payload: Bytes,
        compensation: Bytes,
    ) -> Result<Answer, GlobalError> {
        let kind = match self.shared.index.get(id) {
            Some(summary) => summary.kind,
            None => match self.shared.cluster.read(id).await? {
                Some((_, record)) => record.kind,
                None => return Err(Refusal::Unknown.into()),
            },
        };
        // Keys are written with the rights that their part names, so nobody else makes one up.
        if keys::is_keys(&name) {
            return Err(Unfit::Refused(format!("{name} is no service or database")).into());
        }
        self.shared.outside.check(kind, &name, &payload)?;
        let what = Request::Enlist {
            name,
            payload,
            compensation,
        };
        self.ask(id, what).await
    }

    /// Has keys of the control plane take part: one of each label; the place that they have. What
    /// is to be done has whoever asks for it been allowed ([`ControlApi::part`]).
    ///
    /// [`ControlApi::part`]: atoll_control::api::ControlApi::part
    ///
    /// # Errors
    /// As [`Global::enlist`].
    pub async fn enlist_keys(
        &self,
        id: TransactionId,
        label: &str,
        part: &Part,
    ) -> Result<Answer, GlobalError> {
        let name = match label {
            "" => keys::NAME.to_owned(),
            label => format!("{}:{label}", keys::NAME),
        };
        let what = Request::Enlist {
            name,
            payload: part.encode_to_vec().into(),
            compensation: Bytes::new(),
        };
        self.ask(id, what).await
    }

    /// Asks for anything else.
    ///
    /// # Errors
    /// It was refused, or there is no answer. All but a begin may be asked again, at any node.
    pub async fn ask(&self, id: TransactionId, what: Request) -> Result<Answer, GlobalError> {
        let (answer, answered) = oneshot::channel();
        let event = Event::Asked { id, what, answer };
        self.send(event)?;
        let waited_ms = self.shared.bounds.answer_ms;
        match clock::timeout(Duration::from_millis(waited_ms), answered).await {
            Ok(Ok(Answer::Refused(refusal))) => Err(refusal.into()),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(GlobalError::Stopped),
            Err(_) => Err(GlobalError::Slow { waited_ms }),
        }
    }

    /// A participant asks how something ends that it holds prepared. It is told, if that is
    /// decided or nothing is known of the transaction (any more).
    ///
    /// # Errors
    /// It may not be told, or there is too much to do.
    pub fn inquire(&self, branch: Branch, name: String) -> Result<(), GlobalError> {
        self.shared.outside.reaches(&name)?;
        self.send(Event::Inquired { branch, name })
    }

    /// What the log holds of a transaction.
    ///
    /// # Errors
    /// It can't be read now.
    pub async fn show(&self, id: TransactionId) -> Result<Option<Record>, GlobalError> {
        let found = self.shared.cluster.read(id).await?;
        Ok(found.map(|(_, record)| record))
    }

    /// All transactions of the cluster, as this node knows them.
    pub fn index(&self) -> &Index {
        &self.shared.index
    }

    /// The longest time that a transaction may have, in milliseconds.
    pub fn timeout_ms_max(&self) -> u64 {
        self.shared.timeout_ms_max
    }

    /// What was done on this node, and what is under way here.
    pub fn load(&self) -> Load {
        self.shared.stats.load()
    }

    fn send(&self, event: Event) -> Result<(), GlobalError> {
        self.shared
            .events
            .try_send(event)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => GlobalError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => GlobalError::Stopped,
            })
    }
}
