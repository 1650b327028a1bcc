//! DaemonSets: a pod on each node that the template is for. Nodes come in as they are, with the
//! pods that are meant for them; pods are made and deleted node by node, and the status says on
//! how many nodes there is one (Kubernetes documentation, "DaemonSet" and "Perform a Rolling
//! Update on a DaemonSet").
//!
//! Invariants:
//! - A node has no two pods that run or are being stopped, but for a surge: then it has at most
//!   one of the present revision and one of those before, not counting those being stopped.
//! - A rolling update deletes an available pod only where enough others stay available, or where
//!   another one has taken its place.
//!
//! A pod is pinned to its node by a required node affinity, and the scheduler binds it. Templates
//! that there were are kept as ControllerRevisions, and each pod's label says of which it is.

mod numbers;
mod placement;
mod pod;
mod rolling;
mod sites;
mod status;
mod upkeep;
mod work;

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use self::{
    numbers::Numbers,
    placement::{Fit, Placement},
    sites::Site,
    work::Work,
};
use super::{
    owners, pods,
    revisions::{self, History},
    world::{Change, Plan, Step, View},
};
use crate::core::{
    kinds::{DAEMON_SETS, NODES, PODS},
    object::{self, Name},
};

const COMPONENT: &str = "daemonset-controller";

/// A DaemonSet with its nodes while a plan is made.
struct Daemons<'a> {
    view: &'a dyn View,
    set: &'a Value,
    /// What the label of up-to-date pods says.
    hash: &'a str,
    numbers: Numbers,
    /// In order of the nodes' names.
    sites: Vec<Site>,
    /// Pods that wait for a node that is not there.
    strays: Vec<Arc<Value>>,
    now_ms: u64,
}

impl Daemons<'_> {
    fn is_updated(&self, pod: &Value) -> bool {
        object::label(pod, revisions::REVISION_LABEL) == Some(self.hash)
    }

    fn is_available(&self, pod: &Value) -> bool {
        pods::is_available(pod, self.numbers.min_ready_s, self.now_ms)
    }

    /// Whether a node has a pod that serves and goes on doing so.
    fn serves(&self, site: &Site) -> bool {
        site.active().any(|pod| self.is_available(pod))
    }

    /// The nodes that are to have a pod.
    fn wanted(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().filter(|site| site.fit == Fit::Runs)
    }

    /// In how many milliseconds a pod that is ready counts as available.
    fn next_available_ms(&self) -> Option<u64> {
        let pods = self.sites.iter().flat_map(Site::active);
        let waits = pods
            .filter_map(|pod| pods::available_in_ms(pod, self.numbers.min_ready_s, self.now_ms));
        waits.filter(|ms| *ms > 0).min()
    }

    /// What is to be done about pods: an update goes on where there is nothing else to do.
    fn work(&self) -> Work<'_> {
        let upkeep = self.upkeep();
        if !upkeep.is_idle() {
            return upkeep;
        }
        let mut work = self.roll();
        work.again_in(upkeep.again_in_ms);
        work
    }
}

/// What to do about one DaemonSet. `failed`: why the last plan for it could not be carried out.
pub(super) fn plan(view: &dyn View, key: &Name, now_ms: u64, failed: Option<&str>) -> Plan {
    let set = view.get(key.kind, &key.namespace, &key.name);
    // Its pods and revisions go with one that is being deleted, or are let go.
    let Some(set) = set.filter(|set| !object::is_being_deleted(set)) else {
        return Plan::default();
    };
    let Some(selector) = owners::selector(&set) else {
        return Plan::default();
    };
    let claims = owners::claim(view, key.kind, &set, &PODS, &selector);
    let history = revisions::sync(view, key.kind, &set, &selector);
    let hash = revisions::hash_of(history.update());
    let truncation = history.truncation(&set, &in_use(&history, &claims.owned));
    let placement = Placement::of(&set);
    let (sites, strays) = sites::sort(view, &placement, claims.owned);
    let desired = sites.iter().filter(|site| site.fit == Fit::Runs).count();
    let mut daemons = Daemons {
        view,
        set: &set,
        hash,
        numbers: Numbers::of(&set, desired),
        sites,
        strays,
        now_ms,
    };
    daemons.rank();
    let mut plan = Plan::default();
    let status = daemons.status(history.collisions);
    if set["status"] != status {
        let mut object = (*set).clone();
        object["status"] = status;
        plan.steps.push(Step::UpdateStatus {
            kind: key.kind,
            object,
        });
    }
    plan.steps.extend(claims.steps);
    plan.steps.extend(history.steps.iter().cloned());
    let work = daemons.work();
    plan.again_in(daemons.next_available_ms());
    plan.again_in(work.again_in_ms);
    plan.steps.extend(daemons.steps(key, &work, failed));
    plan.steps.extend(truncation);
    plan
}

/// The names of the revisions that there are pods of.
fn in_use<'a>(history: &'a History, owned: &[Arc<Value>]) -> BTreeSet<&'a str> {
    let labels = owned.iter();
    let labels = labels.filter_map(|pod| object::label(pod, revisions::REVISION_LABEL));
    let hashes: BTreeSet<&str> = labels.collect();
    let revisions = history.revisions.iter();
    let live = revisions.filter(|it| hashes.contains(revisions::hash_of(it)));
    live.map(|it| object::name(it)).collect()
}

/// Which DaemonSets a change is about.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let mut keys = revisions::touched(view, &DAEMON_SETS, change);
    if change.kind != &NODES || !matters(change) {
        return keys;
    }
    for set in view.list(&DAEMON_SETS, None) {
        let placement = Placement::of(&set);
        let fit = |node: Option<&Value>| node.map(|node| placement.fit(node));
        if fit(change.old) != fit(change.new) {
            keys.push(Name::of(&DAEMON_SETS, &set));
        }
    }
    keys
}

/// Whether a node's change could make it fit for other pods.
fn matters(change: &Change<'_>) -> bool {
    let (Some(old), Some(new)) = (change.old, change.new) else {
        return true;
    };
    old["metadata"]["labels"] != new["metadata"]["labels"]
        || old["spec"]["taints"] != new["spec"]["taints"]
}
