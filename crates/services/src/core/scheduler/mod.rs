//! The scheduler: pods that have no node get one. Objects that changed come in by
//! [`Scheduler::changed`], [`Decision`]s go out of [`Scheduler::schedule`], and how a binding went
//! comes in by [`Scheduler::bound`]. Filter, score, bind, on one [`Snapshot`] that is kept as
//! objects change ("Kubernetes Scheduler"; "Scheduling Framework").
//!
//! Invariants: a decision is counted in the snapshot at once, so that the next one sees it; what
//! was refused is counted no more. Equal changes in equal order make equal decisions. A turn
//! looks at each node at most twice, and a pod that fits nowhere rests from one to ten seconds
//! between its turns.

mod amounts;
mod budgets;
mod filter;
mod hash;
mod message;
mod node_rule;
mod nominations;
mod offers;
mod pod;
mod preempt;
mod queue;
mod score;
mod snapshot;
mod terms;
#[cfg(test)]
mod tests;
mod turn;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

pub(crate) use self::node_rule::NodeRule;
pub use self::{
    amounts::Amounts,
    offers::{
        Answers, CLAIM_MS, DECLINE_MS_MAX, Desk, FRAMEWORKS_MAX, OFFER_MS, OFFERS_MAX, Offer,
        OfferError, OfferNews, POLL_MS, Poll, Round, SILENT_MS, TASKS_MAX, TOLD_MAX, Told,
        WEIGHT_MAX,
    },
    pod::FRAMEWORK,
    score::Packing,
    snapshot::Snapshot,
};
use self::{
    budgets::Budgets,
    nominations::Nominations,
    offers::Offers,
    pod::{Key, Pod},
    queue::{News, Queue},
};
use crate::core::{controllers::world::View, kinds, object::Name};

/// How to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Which nodes are filled first.
    pub packing: Packing,
    /// Of a hundred nodes, how many that can have a pod are enough to choose from; none: fewer
    /// the more nodes there are, from 50 to 5.
    pub nodes_percent: Option<u8>,
}

/// A pod as it was when it was decided about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub name: Name,
    /// Its uid.
    pub uid: String,
    /// Its `resourceVersion`.
    pub resource_version: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The pod is to get the node. How it went has to be told by [`Scheduler::bound`].
    Bind {
        /// Which pod.
        pod: Target,
        /// The node's name.
        node: String,
    },
    /// There is no node for the pod; to be told by its condition `PodScheduled` (`False`,
    /// `Unschedulable`) and an event `FailedScheduling`.
    Unschedulable {
        /// Which pod.
        pod: Target,
        /// Why.
        message: String,
        /// What `status.nominatedNodeName` is to be.
        nominated: Option<String>,
    },
    /// There would be a node for the pod without some others: they are to be deleted, and the
    /// pod's `status.nominatedNodeName` is to be that node.
    Preempt {
        /// Which pod.
        pod: Target,
        /// The node's name.
        node: String,
        /// Why there is no node without that, for the condition and the event.
        message: String,
        /// Who is to go, but for those who go already.
        victims: Vec<Target>,
    },
}

/// The scheduler.
#[derive(Debug, Default)]
pub struct Scheduler {
    settings: Settings,
    snapshot: Snapshot,
    queue: Queue,
    nominations: Nominations,
    budgets: Budgets,
    /// Pods that were given a node, by uid, until their objects say so; and how often they had
    /// been tried in vain.
    assumed: BTreeMap<String, u32>,
    /// Why pods fit nowhere, by what they have in common, as long as there is no more room.
    hopeless: BTreeMap<String, String>,
    /// Where the next look at the nodes begins.
    next_slot: usize,
    news: News,
    offers: Offers,
}

impl Scheduler {
    /// One that knows nothing yet.
    pub fn new(settings: Settings) -> Scheduler {
        Scheduler {
            settings,
            ..Scheduler::default()
        }
    }

    /// An object was made or changed, or (`None`) is gone.
    pub fn changed(&mut self, name: &Name, new: Option<&Arc<Value>>) {
        match (name.kind.group, name.kind.kind) {
            ("", "Node") => {
                let is_news = self
                    .snapshot
                    .node_changed(&name.name, new.map(|object| &**object));
                self.news.room |= is_news;
                self.news.company |= is_news;
            }
            ("", "Namespace") => {
                let object = new.map(|object| &**object);
                let is_news = self.snapshot.namespace_changed(&name.name, object);
                // Those who are there may mind others than before.
                self.news.room |= is_news;
                self.news.company |= is_news;
            }
            ("policy", "PodDisruptionBudget") => {
                let object = new.map(|object| &**object);
                self.budgets.changed(&name.namespace, &name.name, object);
            }
            ("", "Pod") => {
                let key = Key {
                    namespace: name.namespace.clone(),
                    name: name.name.clone(),
                };
                match new {
                    Some(object) => self.pod_changed(&key, object),
                    None => self.forget(&key),
                }
            }
            _ => {}
        }
    }

    /// Looks at everything anew: after the first look, or when changes were missed.
    pub fn resync(&mut self, view: &dyn View) {
        for kind in [
            &kinds::NAMESPACES,
            &kinds::NODES,
            &kinds::DISRUPTION_BUDGETS,
            &kinds::PODS,
        ] {
            let objects = view.list(kind, None);
            let name = |object: &Value| Name::of(kind, object);
            let there: BTreeSet<(String, String)> = objects
                .iter()
                .map(|object| name(object))
                .map(|name| (name.namespace, name.name))
                .collect();
            for (namespace, gone) in self.known(kind.kind) {
                // What was accepted may come still.
                let key = Key {
                    namespace: namespace.clone(),
                    name: gone.clone(),
                };
                if !self.offers.is_claim(&key)
                    && !there.contains(&(namespace.clone(), gone.clone()))
                {
                    self.changed(
                        &Name {
                            kind,
                            namespace,
                            name: gone,
                        },
                        None,
                    );
                }
            }
            for object in &objects {
                self.changed(&name(object), Some(object));
            }
        }
    }

    /// The namespaces and names of all objects of a kind.
    fn known(&self, kind: &str) -> Vec<(String, String)> {
        let apart = |name: &str| (String::new(), name.to_owned());
        let both = |key: &Key| (key.namespace.clone(), key.name.clone());
        match kind {
            "Namespace" => self
                .snapshot
                .namespace_names()
                .map(|name| apart(name))
                .collect(),
            "Node" => self.snapshot.names().map(|(name, _)| apart(name)).collect(),
            "PodDisruptionBudget" => self.budgets.keys().map(|key| both(&key)).collect(),
            _ => self
                .snapshot
                .keys()
                .chain(self.queue.keys())
                .map(both)
                .collect(),
        }
    }

    fn pod_changed(&mut self, key: &Key, object: &Arc<Value>) {
        if let Some(newer) = self
            .snapshot
            .pod(key)
            .and_then(|(pod, _)| pod.with_object(object))
        {
            return self.snapshot.refresh(Arc::new(newer));
        }
        let waiting = self.queue.get(key).cloned();
        if let Some(newer) = waiting.as_ref().and_then(|pod| pod.with_object(object)) {
            return self.queue.put(Arc::new(newer), false);
        }
        let pod = Arc::new(Pod::read(object.clone()));
        if pod.is_placed() {
            let node = pod.node_name.clone();
            self.is_on(pod, &node);
        } else if pod.is_ours {
            self.waits_for_a_node(pod, waiting.as_deref());
        } else {
            self.forget(key);
        }
    }

    /// A pod says that it is on a node.
    fn is_on(&mut self, pod: Arc<Pod>, node: &str) {
        self.queue.remove(&pod.key);
        self.assumed.remove(&pod.uid);
        self.offers.settle(&pod.key);
        self.news.room |= self.nominations.remove(&pod.key);
        let known = self.snapshot.pod(&pod.key);
        let known = known.map(|(known, slot)| (known, &self.snapshot.node(slot).name));
        if known.is_some_and(|(known, at)| at == node && known.counts_like(&pod)) {
            return self.snapshot.refresh(pod);
        }
        // It may need less than before, or be less in the way.
        self.news.room |= known.is_some();
        self.news.company = true;
        self.snapshot.place(pod, node);
    }

    fn waits_for_a_node(&mut self, pod: Arc<Pod>, known: Option<&Pod>) {
        let placed = self.snapshot.pod(&pod.key);
        if let Some((placed, slot)) = placed {
            if placed.uid == pod.uid && self.assumed.contains_key(&pod.uid) {
                // What it says was said before it was given a node.
                let node = self.snapshot.node(slot).name.clone();
                return self.snapshot.place(pod, &node);
            }
            self.forget(&pod.key);
        }
        let is_same = |known: &Pod| {
            let label = |of: &Pod| of.object["metadata"]["labels"].clone();
            known.uid == pod.uid
                && known.object["spec"] == pod.object["spec"]
                && label(known) == label(&pod)
        };
        let is_known = known.is_some_and(is_same);
        if !is_known && !pod.nominated.is_empty() {
            self.nominations.adopt(&pod, &pod.nominated);
        }
        self.queue.put(pod, !is_known);
    }

    /// A pod is gone, or not ours any more.
    fn forget(&mut self, key: &Key) {
        self.queue.remove(key);
        self.offers.settle(key);
        self.news.room |= self.nominations.remove(key);
        if let Some((pod, _)) = self.snapshot.remove(key) {
            self.assumed.remove(&pod.uid);
            self.news.room = true;
        }
    }

    /// Gives at most so many pods their turn. `now_ms` never goes back.
    pub fn schedule(&mut self, turns_max: usize, now_ms: u64) -> Vec<Decision> {
        let news = std::mem::take(&mut self.news);
        if news.room {
            self.hopeless.clear();
        }
        self.queue.wake(news, now_ms);
        let mut decisions = Vec::new();
        for _ in 0..turns_max {
            let Some(waiting) = self.queue.pop() else {
                break;
            };
            decisions.extend(self.turn(waiting, now_ms));
        }
        decisions
    }

    /// When there is something to schedule if nothing changes, in milliseconds of the same clock:
    /// in the past if there is now; none if nobody waits.
    pub fn next_ms(&self) -> Option<u64> {
        if self.queue.minds(self.news) {
            return Some(0);
        }
        self.queue.next_ms()
    }

    /// How a [`Decision::Bind`] went: whether it was written. Until that is known its room stays
    /// taken.
    pub fn bound(&mut self, pod: &Target, is_written: bool, now_ms: u64) {
        let Some(tries) = self.assumed.get(&pod.uid).copied().filter(|_| !is_written) else {
            return;
        };
        let key = Key {
            namespace: pod.name.namespace.clone(),
            name: pod.name.name.clone(),
        };
        self.assumed.remove(&pod.uid);
        if let Some((pod, _)) = self.snapshot.remove(&key) {
            self.news.room = true;
            self.queue.put_resting(pod, tries, now_ms);
        }
    }

    /// The nodes, and what is used of them.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// How many pods wait for a node, and how many of them may be tried now.
    pub fn waiting(&self) -> (usize, usize) {
        self.queue.lengths()
    }
}
