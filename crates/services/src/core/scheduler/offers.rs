//! Offers: schedulers of their own (frameworks) are shown free room and take of it what they
//! like. Who has the least of what it uses most is offered first: dominant resource fairness
//! (Ghodsi et al., NSDI 2011), weighted; two-level scheduling by offers is Mesos' (Hindman et
//! al., NSDI 2011), taking them by an optimistic check is Omega's (Schwarzkopf et al., EuroSys
//! 2013).
//!
//! Invariants: no room is offered to two frameworks at once. An offer keeps nothing from pods: if
//! one of them took the room meanwhile, the offer is not worth it any more, and who accepts it is
//! told. What was accepted is counted as a pod at once, until the pod is there, or for as long as
//! [`CLAIM_MS`]. How much a framework has is the sum over the pods that have its label, so that
//! it is known to whoever comes after.

mod desk;
mod error;
mod fairness;
mod framework;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

pub use self::{
    desk::{Answers, Desk, OfferNews, POLL_MS, Poll, SILENT_MS, TOLD_MAX, Told},
    error::{FRAMEWORKS_MAX, OFFERS_MAX, OfferError, TASKS_MAX, WEIGHT_MAX},
};
use self::{fairness::Fairness, framework::Framework};
use super::{
    Scheduler,
    amounts::Amounts,
    filter::Kept,
    pod::{Key, Pod},
    snapshot::{Slot, Snapshot},
};
use crate::core::tolerations;

/// For so long an offer is open.
pub const OFFER_MS: u64 = 30_000;
/// For so long what was accepted is kept for pods that are not there yet.
pub const CLAIM_MS: u64 = 30_000;
/// For so long what was declined is not offered again at most.
pub const DECLINE_MS_MAX: u64 = 86_400_000;
/// Less is not worth an offer.
const MILLI_CPU_MIN: u64 = 10;
const MEMORY_BYTES_MIN: u64 = 32 << 20;

/// What pods wait for whom others have been asked to go.
type KeptRoom = BTreeMap<Slot, Kept>;

/// Free room on a node, for one framework, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its id, which no other offer has.
    pub id: u64,
    /// Whose it is.
    pub framework: String,
    /// The node's name.
    pub node: String,
    /// What is free there.
    pub room: Amounts,
    /// Until when it is open.
    pub until_ms: u64,
}

/// What happened to offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// These are new.
    pub made: Vec<Offer>,
    /// These are not valid any more.
    pub withdrawn: Vec<Offer>,
}

/// All frameworks and their offers.
#[derive(Debug, Default)]
pub(super) struct Offers {
    frameworks: BTreeMap<String, Framework>,
    open: BTreeMap<u64, Offer>,
    last_id: u64,
    /// What was accepted and is not there yet, and until when it is waited for.
    claims: BTreeMap<Key, u64>,
    /// Where the next round begins.
    next_node: String,
}

impl Offers {
    /// A pod is there or gone, so that nothing is claimed for it.
    pub(super) fn settle(&mut self, key: &Key) {
        self.claims.remove(key);
    }

    /// Whether there is only a claim of this name, and no pod.
    pub(super) fn is_claim(&self, key: &Key) -> bool {
        self.claims.contains_key(key)
    }

    fn framework(&mut self, name: &str) -> Result<&mut Framework, OfferError> {
        let found = self.frameworks.get_mut(name);
        found.ok_or_else(|| OfferError::NoFramework(name.to_owned()))
    }

    fn take(&mut self, framework: &str, id: u64, now_ms: u64) -> Result<Offer, OfferError> {
        let is_valid = |it: &&Offer| it.framework == framework && it.until_ms > now_ms;
        let offer = self.open.get(&id).filter(is_valid).cloned();
        let offer = offer.ok_or(OfferError::NoOffer(id))?;
        self.open.remove(&id);
        Ok(offer)
    }

    /// Takes back what has expired, what is on nodes that take no pods any more, and what is much
    /// less than what is free by now.
    fn withdraw(&mut self, snapshot: &Snapshot, kept: &KeptRoom, now_ms: u64) -> Vec<Offer> {
        let is_over = |_: &u64, it: &mut Offer| {
            let room = room(snapshot, kept, &it.node);
            it.until_ms <= now_ms || room.is_none_or(|room| is_outgrown(&it.room, &room))
        };
        self.open
            .extract_if(.., is_over)
            .map(|(_, offer)| offer)
            .collect()
    }
}

impl Scheduler {
    /// A framework wants offers, or another weight.
    ///
    /// # Errors
    /// There are too many, or the weight is out of range.
    pub fn framework_joins(&mut self, name: &str, weight: u32) -> Result<(), OfferError> {
        if weight == 0 || weight > WEIGHT_MAX {
            return Err(OfferError::Weight(weight));
        }
        let frameworks = &mut self.offers.frameworks;
        if !frameworks.contains_key(name) && frameworks.len() >= FRAMEWORKS_MAX {
            return Err(OfferError::TooManyFrameworks);
        }
        frameworks
            .entry(name.to_owned())
            .or_insert_with(|| Framework::new(weight))
            .weight = weight;
        Ok(())
    }

    /// A framework wants no offers any more; its pods stay.
    pub fn framework_leaves(&mut self, name: &str) {
        self.offers.frameworks.remove(name);
        self.offers.open.retain(|_, offer| offer.framework != name);
    }

    /// A framework wants what it declined before.
    ///
    /// # Errors
    /// There is no such framework.
    pub fn revive(&mut self, framework: &str) -> Result<(), OfferError> {
        self.offers.framework(framework)?.revive();
        Ok(())
    }

    /// Offers all room that is free and not offered, each node to the framework that has the
    /// least and wants it. To be called when something changed, and now and then.
    pub fn offer(&mut self, now_ms: u64) -> Round {
        self.expire_claims(now_ms);
        if self.offers.frameworks.is_empty() {
            return Round::default();
        }
        let kept = self.nominations.kept(&self.snapshot, |_| true);
        let withdrawn = self.offers.withdraw(&self.snapshot, &kept, now_ms);
        let made = self.make_offers(&kept, now_ms);
        Round { made, withdrawn }
    }

    fn make_offers(&mut self, kept: &KeptRoom, now_ms: u64) -> Vec<Offer> {
        let mut fairness = self.fairness();
        let offered: BTreeSet<String> = self
            .offers
            .open
            .values()
            .map(|offer| offer.node.clone())
            .collect();
        let mut made = Vec::new();
        for node in self.nodes_in_turn() {
            if self.offers.open.len() >= OFFERS_MAX {
                break;
            }
            let room = room(&self.snapshot, kept, &node).filter(|_| !offered.contains(&node));
            let Some(room) = room else {
                continue;
            };
            let is_little = room.milli_cpu < MILLI_CPU_MIN && room.memory_bytes < MEMORY_BYTES_MIN;
            if is_little || room.pods == 0 {
                continue;
            }
            let wants = |name: &str| self.offers.frameworks[name].wants(&node, &room, now_ms);
            let Some(framework) = fairness.first(wants) else {
                continue;
            };
            fairness.gives(&framework, &room);
            self.offers.last_id += 1;
            let offer = Offer {
                id: self.offers.last_id,
                framework,
                node: node.clone(),
                room,
                until_ms: now_ms + OFFER_MS,
            };
            self.offers.open.insert(offer.id, offer.clone());
            self.offers.next_node = node;
            made.push(offer);
        }
        made
    }

    /// What each framework has by now.
    fn fairness(&self) -> Fairness {
        let mut all = Amounts::default();
        for (_, _, facts) in self.snapshot.all() {
            all.add(&facts.allocatable);
        }
        let mut fairness = Fairness::of(all);
        for (name, framework) in &self.offers.frameworks {
            let has = self.snapshot.share(name).cloned().unwrap_or_default();
            fairness.joins(name, framework.weight, has);
        }
        for offer in self.offers.open.values() {
            fairness.gives(&offer.framework, &offer.room);
        }
        fairness
    }

    /// All nodes by name, beginning after the last that was offered.
    fn nodes_in_turn(&self) -> Vec<String> {
        let all = || self.snapshot.names().map(|(name, _)| name);
        let last = self.offers.next_node.as_str();
        let after = all().filter(|name| *name > last);
        let all = after.chain(all().filter(|name| *name <= last));
        all.map(str::to_owned).collect()
    }

    /// Starts pods in the room of an offer. They are to be created with `spec.nodeName` set to the
    /// node that comes back, and with the label `atoll.dev/framework`; as long as they are not,
    /// their room is kept for [`CLAIM_MS`]. The offer is used up, also if it fails; its rest is
    /// not offered to the framework again for so long.
    ///
    /// # Errors
    /// The offer is not valid any more, the tasks are too many or too large for it, or the room
    /// was taken meanwhile: then nothing is started.
    pub fn accept(
        &mut self,
        framework: &str,
        offer: u64,
        tasks: &[Arc<Value>],
        decline_ms: u64,
        now_ms: u64,
    ) -> Result<String, OfferError> {
        self.offers.framework(framework)?;
        let offer = self.offers.take(framework, offer, now_ms)?;
        if tasks.len() > TASKS_MAX {
            return Err(OfferError::TooManyTasks(tasks.len()));
        }
        let mut rest = offer.room.clone();
        let mut claimed = Vec::new();
        for task in tasks {
            let mut task = Pod::read(task.clone());
            task.framework = Some(framework.to_owned());
            // There is no pod yet that could be preempted.
            task.priority = i32::MAX;
            let key = task.key.clone();
            if let Err(why) = self.claim(task, &offer, &mut rest) {
                self.give_back(&claimed);
                return Err(why);
            }
            self.offers.claims.insert(key.clone(), now_ms + CLAIM_MS);
            claimed.push(key);
        }
        self.offers
            .framework(framework)?
            .decline(&offer, rest, decline_ms, now_ms);
        Ok(offer.node)
    }

    /// An offer is not wanted, and nothing of that node for so long, unless there is more.
    ///
    /// # Errors
    /// The offer is not valid any more.
    pub fn decline(
        &mut self,
        framework: &str,
        offer: u64,
        decline_ms: u64,
        now_ms: u64,
    ) -> Result<(), OfferError> {
        self.offers.framework(framework)?;
        let offer = self.offers.take(framework, offer, now_ms)?;
        let room = offer.room.clone();
        self.offers
            .framework(framework)?
            .decline(&offer, room, decline_ms, now_ms);
        Ok(())
    }

    /// Counts a task as a pod, if the rest of the offer is enough and there is room for it still.
    fn claim(&mut self, task: Pod, offer: &Offer, rest: &mut Amounts) -> Result<(), OfferError> {
        let wanted = &task.requests.sure;
        if let Some(resource) = rest.lacking(&Amounts::default(), wanted).first() {
            let (offer, resource) = (offer.id, (*resource).to_owned());
            return Err(OfferError::TooLarge { offer, resource });
        }
        if self.snapshot.pod(&task.key).is_some() || self.queue.get(&task.key).is_some() {
            let Key { namespace, name } = task.key;
            return Err(OfferError::Exists { namespace, name });
        }
        let taken = |resource: &str| OfferError::Taken {
            node: offer.node.clone(),
            resource: resource.to_owned(),
        };
        let slot = self
            .snapshot
            .slot(&offer.node)
            .ok_or_else(|| taken("room"))?;
        let free = free(&self.snapshot, &offer.node).ok_or_else(|| taken("room"))?;
        if let Some(resource) = free.lacking(&Amounts::default(), wanted).first() {
            return Err(taken(resource));
        }
        let machine = self.snapshot.node(slot).machine;
        if !self.snapshot.machines.are_free(machine, &task.ports) {
            return Err(taken("ports"));
        }
        rest.subtract(wanted);
        self.snapshot.place(Arc::new(task), &offer.node);
        self.news.company = true;
        Ok(())
    }

    /// A pod that was accepted is not made: nothing is kept for it any more.
    pub fn unclaim(&mut self, namespace: &str, name: &str) {
        let key = Key {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        if self.offers.is_claim(&key) {
            self.give_back(&[key]);
        }
    }

    /// Takes back what was claimed.
    fn give_back(&mut self, claimed: &[Key]) {
        for key in claimed {
            self.offers.claims.remove(key);
            self.snapshot.remove(key);
            self.news.room = true;
        }
    }

    /// Pods that were accepted and did not come keep no room any more.
    fn expire_claims(&mut self, now_ms: u64) {
        let over = self
            .offers
            .claims
            .extract_if(.., |_, until_ms| *until_ms <= now_ms);
        let over: Vec<Key> = over.map(|(key, _)| key).collect();
        self.give_back(&over);
    }
}

/// What is free on a node and kept for nobody; none if it takes no pods.
fn room(snapshot: &Snapshot, kept: &KeptRoom, node: &str) -> Option<Amounts> {
    let mut room = free(snapshot, node)?;
    if let Some(kept) = kept.get(&snapshot.slot(node)?) {
        room.subtract(&kept.amounts);
    }
    Some(room)
}

/// Whether there is twice as much room by now. Who answers an offer should not find each time
/// that it was withdrawn because a little more is free.
fn is_outgrown(offered: &Amounts, room: &Amounts) -> bool {
    let is_so = |offered: u64, room: u64, min: u64| room >= offered.saturating_mul(2).max(min);
    is_so(offered.milli_cpu, room.milli_cpu, MILLI_CPU_MIN)
        || is_so(offered.memory_bytes, room.memory_bytes, MEMORY_BYTES_MIN)
}

/// What is free on a node; none if it takes no pods.
fn free(snapshot: &Snapshot, node: &str) -> Option<Amounts> {
    let (node, facts) = snapshot.known(snapshot.slot(node)?)?;
    let taints = snapshot.taint_sets.get(facts.taints);
    if facts.is_unschedulable || tolerations::untolerated(&Value::Null, taints).is_some() {
        return None;
    }
    let mut free = facts.allocatable.clone();
    free.subtract(&node.used);
    Some(free)
}
