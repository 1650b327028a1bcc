//! StatefulSets: pods that each have a number, and with it a name, volumes and a place of their
//! own, which stay when the pod is made anew (Kubernetes documentation, "StatefulSets").
//!
//! Never are there two pods of one ordinal: a pod's name follows from its ordinal, names are
//! unique in the store, and the next pod is made only once the object of the one before is gone,
//! which its agent lets go when nothing of it runs any more.
//!
//! # Volumes on local disks
//!
//! Each entry of `volumeClaimTemplates` becomes a volume of the pod that names a claim,
//! `<template>-<set>-<ordinal>`, as it does in Kubernetes. There are no objects for claims: the
//! agent of the node where the pod runs has a folder for each, by namespace and name of the claim.
//! So the pod has to come back to that node. The set notes the node of each ordinal whose pod was
//! bound in its annotation `atoll.dev/places`, `{"0":"node-a"}`, in a step before those that
//! delete pods; the next pod of the ordinal requires this node, beside what the template requires,
//! and says so in its annotation `atoll.dev/place`.
//!
//! - A place lasts as long as the node's object: a node that is silent may come back with the
//!   data, and the pod waits for it. When the object is deleted and not made anew in a minute,
//!   which the annotation `atoll.dev/places-gone` counts, `{"node-a":"2026-01-01T00:00:00Z"}`, the
//!   place is forgotten, which an event tells, and the pod begins with empty volumes elsewhere.
//! - When the set shrinks, places stay, unless `persistentVolumeClaimRetentionPolicy.whenScaled`
//!   is `Delete`.
//! - Places go with the set's object, and when a client takes the annotation away they are those
//!   of the pods that are there.
//! - A pod that is bound and gone again before the next plan, since a client or an eviction deleted
//!   it at once, leaves no place.
//! - They fit into an annotation, which bounds them to some thousands of ordinals; where the next
//!   one does not fit, nothing goes on, and the set's condition `ReplicaFailure` says why.
//!
//! # Updates
//!
//! Each template is a revision ([`super::revisions`]). Old pods are replaced from the highest
//! ordinal down, only as many at a time as may be unavailable. Other than in Kubernetes, a pod
//! that never became ready and is of another revision than it is to have does not stop the set:
//! it is replaced, so a template that does not work can be mended or rolled back.

mod identity;
mod moves;
mod numbers;
mod places;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use self::{
    moves::{Move, Scene},
    numbers::Numbers,
    places::{Places, Review},
    status::{Facts, REPLICA_FAILURE},
};
use super::{
    conditions, owners, pods,
    revisions::{self, History},
    world::{self, Change, Event, Plan, Step, View},
};
use crate::core::{
    kinds::{NAMESPACES, NODES, PODS, STATEFUL_SETS},
    lifecycle::Deletion,
    object::{self, Name},
    selector::LabelSelector,
};

const COMPONENT: &str = "statefulset-controller";
/// The annotation of a StatefulSet that says where the volumes of its pods are.
pub(super) const PLACES: &str = "atoll.dev/places";
/// The one that says since when nodes with places are gone.
pub(super) const PLACES_GONE: &str = "atoll.dev/places-gone";

/// What to do about one StatefulSet. `failed`: why the last plan for it could not be carried out.
pub(super) fn plan(view: &dyn View, key: &Name, now_ms: u64, failed: Option<&str>) -> Plan {
    let Some(set) = view.get(key.kind, &key.namespace, &key.name) else {
        return Plan::default();
    };
    let Some(selector) = owners::selector(&set) else {
        return Plan::default();
    };
    let (members, claims) = members(view, &set, &selector);
    if !claims.is_empty() {
        return Plan::of(claims);
    }
    let numbers = Numbers::of(&set);
    let mut plan = Plan::default();
    let waits = members.values();
    let waits = waits.filter_map(|pod| pods::available_in_ms(pod, numbers.min_ready_s, now_ms));
    plan.again_in(waits.filter(|ms| *ms > 0).min());
    let work = Work {
        view,
        set: &set,
        numbers: &numbers,
        members: &members,
        now_ms,
        failed,
    };
    plan.steps = match object::is_being_deleted(&set) {
        true => work.farewell(),
        false => {
            let review = places::review(view, &set, &numbers, &members, now_ms);
            plan.again_in(review.again_in_ms);
            work.steps(&revisions::sync(view, key.kind, &set, &selector), review)
        }
    };
    plan
}

/// The set's pods by ordinal, or, first of all, what makes them its own.
fn members(
    view: &dyn View,
    set: &Value,
    selector: &LabelSelector,
) -> (BTreeMap<i64, Arc<Value>>, Vec<Step>) {
    let mut claims = owners::claim(view, &STATEFUL_SETS, set, &PODS, selector);
    // A pod whose name is not of the set can't be one of its pods.
    claims.steps.retain(|step| match step {
        Step::Update { object, .. } => {
            !owners::is_controlled_by(object, object::uid(set))
                || identity::ordinal(set, object).is_some()
        }
        _ => true,
    });
    let members = claims.owned.into_iter();
    let members = members.filter_map(|pod| Some((identity::ordinal(set, &pod)?, pod)));
    (members.collect(), claims.steps)
}

/// What a plan is made from.
struct Work<'a> {
    view: &'a dyn View,
    set: &'a Value,
    numbers: &'a Numbers,
    members: &'a BTreeMap<i64, Arc<Value>>,
    now_ms: u64,
    failed: Option<&'a str>,
}

impl Work<'_> {
    /// A set that is being deleted only says what is left of it.
    fn farewell(&self) -> Vec<Step> {
        let revision = |field: &str| self.set["status"][field].as_str().unwrap_or_default();
        let (current, update) = (revision("currentRevision"), revision("updateRevision"));
        let collisions = self.set["status"]["collisionCount"].as_i64();
        self.tell((current, update), collisions.unwrap_or_default(), None)
    }

    fn steps(&self, history: &History, review: Review) -> Vec<Step> {
        let update = object::name(history.update());
        // The one that was, if it is still known.
        let told = self.set["status"]["currentRevision"].as_str();
        let current = told.filter(|name| history.named(name).is_some());
        let current = current.unwrap_or(update);
        let (places, of_places) = (review.places, review.steps);
        let scene = Scene {
            numbers: self.numbers,
            members: self.members,
            places: &places,
            current,
            update,
            is_taken: &|ordinal| self.is_taken(ordinal),
            now_ms: self.now_ms,
        };
        let status = self.tell((current, update), history.collisions, self.obstacle());
        // Both write the set itself, so that the other one has to wait for the next plan.
        let has_trouble = self.failed.is_some() && !status.is_empty();
        let own = match of_places.is_empty() || has_trouble {
            true => status,
            false => of_places.clone(),
        };
        let mut steps = match self.failed {
            // What fails again must not keep the status from being written.
            Some(_) => [own, history.steps.clone()].concat(),
            None => [history.steps.clone(), own].concat(),
        };
        if of_places.is_empty() || !has_trouble {
            steps.extend(self.carry_out(&scene, history));
        }
        steps.extend(self.truncation(history, [current, update]));
        steps
    }

    fn is_taken(&self, ordinal: i64) -> bool {
        let name = identity::pod_name(self.set, ordinal);
        let namespace = object::namespace(self.set);
        self.view.get(&PODS, namespace, &name).is_some()
    }

    /// Something else that has the name of a pod that is missing.
    fn obstacle(&self) -> Option<String> {
        let mut missing = self.numbers.ordinals.clone();
        let found = missing.find(|it| !self.members.contains_key(it) && self.is_taken(*it))?;
        let name = identity::pod_name(self.set, found);
        Some(format!("there is a pod {name:?} that is not of this set"))
    }

    /// Writes the status, if it is another one; what goes wrong is also told as an event.
    fn tell(
        &self,
        (current, update): (&str, &str),
        collisions: i64,
        obstacle: Option<String>,
    ) -> Vec<Step> {
        let facts = Facts {
            set: self.set,
            numbers: self.numbers,
            members: self.members,
            current,
            update,
            collisions,
            trouble: self.failed.map(str::to_owned).or(obstacle),
            now_ms: self.now_ms,
        };
        let status = facts.status();
        if self.set["status"] == status {
            return Vec::new();
        }
        let is_new = conditions::find(&self.set["status"], REPLICA_FAILURE).is_none();
        let event = facts.trouble.filter(|_| is_new).map(|why| {
            let about = world::reference(&STATEFUL_SETS, self.set);
            Event::warning(COMPONENT, about, "FailedCreate", why)
        });
        let mut object = self.set.clone();
        object["status"] = status;
        let step = Step::UpdateStatus {
            kind: &STATEFUL_SETS,
            object,
        };
        [step].into_iter().chain(event).collect()
    }

    fn carry_out(&self, scene: &Scene<'_>, history: &History) -> Vec<Step> {
        let mut steps = self.relabel();
        let namespace = self.view.get(&NAMESPACES, "", object::namespace(self.set));
        let is_ending = namespace.is_some_and(|it| object::is_being_deleted(&it));
        for one in scene.moves() {
            match one {
                Move::Create(_) if is_ending => {}
                Move::Create(ordinal) => {
                    steps.extend(self.create(
                        ordinal,
                        scene.revision(ordinal),
                        scene.places,
                        history,
                    ));
                }
                Move::Delete(pod) => steps.extend(self.delete(&pod)),
            }
        }
        steps
    }

    /// Gives pods the labels of their ordinal back.
    fn relabel(&self) -> Vec<Step> {
        let living = self.members.iter();
        let living = living.filter(|(_, pod)| pods::is_active(pod));
        let mended = living.filter_map(|(ordinal, pod)| {
            let object = identity::relabelled(self.set, *ordinal, pod)?;
            Some(Step::Update {
                kind: &PODS,
                object,
            })
        });
        mended.collect()
    }

    fn create(
        &self,
        ordinal: i64,
        revision: &str,
        places: &Places,
        history: &History,
    ) -> [Step; 2] {
        let set = self.set;
        let is_present = revision == object::name(history.update());
        let old = history.named(revision).filter(|_| !is_present);
        let template = old.map_or_else(|| set["spec"]["template"].clone(), revisions::template);
        let place = places.get(&ordinal).map(String::as_str);
        let object = identity::new_pod(set, ordinal, (revision, &template), place);
        let message = format!(
            "create Pod {} in StatefulSet {} successful",
            object::name(&object),
            object::name(set)
        );
        let about = world::reference(&STATEFUL_SETS, set);
        let event = Event::normal(COMPONENT, about, "SuccessfulCreate", message);
        [
            Step::Create {
                kind: &PODS,
                object,
            },
            event,
        ]
    }

    /// A pod that goes because it does no work must not be one that others count on now, or that
    /// has got a place of which nothing is noted yet.
    fn delete(&self, pod: &Value) -> [Step; 2] {
        let version = object::meta(pod, "resourceVersion").to_owned();
        let is_idle = !moves::is_ready(pod);
        let step = Step::Delete {
            name: Name::of(&PODS, pod),
            deletion: Deletion {
                uid: Some(object::uid(pod).to_owned()),
                resource_version: is_idle.then_some(version),
                ..Deletion::default()
            },
        };
        let (name, set) = (object::name(pod), object::name(self.set));
        let about = world::reference(&STATEFUL_SETS, self.set);
        let event = match pods::phase(pod) {
            "Failed" => {
                let message = format!("StatefulSet {set} is recreating failed Pod {name}");
                Event::warning(COMPONENT, about, "RecreatingFailedPod", message)
            }
            _ => {
                let message = format!("delete Pod {name} in StatefulSet {set} successful");
                Event::normal(COMPONENT, about, "SuccessfulDelete", message)
            }
        };
        [step, event]
    }

    fn truncation(&self, history: &History, named: [&str; 2]) -> Vec<Step> {
        let of_pods = self.members.values().map(|pod| identity::revision(pod));
        let live: BTreeSet<&str> = of_pods.chain(named).collect();
        history.truncation(self.set, &live)
    }
}

/// Which StatefulSets a change is about.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let mut keys = revisions::touched(view, &STATEFUL_SETS, change);
    if change.kind == &PODS {
        // Whosever it is, it has a name that a set's pod may wait for.
        for pod in change.sides() {
            let parts = identity::parts(object::name(pod));
            let set =
                parts.and_then(|(set, _)| view.get(&STATEFUL_SETS, object::namespace(pod), set));
            if let Some(set) = set {
                world::push_once(&mut keys, Name::of(&STATEFUL_SETS, &set));
            }
        }
    }
    // One that is gone, or there again.
    if let (true, (Some(node), None) | (None, Some(node))) =
        (change.kind == &NODES, (change.old, change.new))
    {
        let is_on = |set: &Arc<Value>| {
            let mut places = places::read(set).into_values();
            places.any(|place| place == object::name(node))
        };
        let sets = view.list(&STATEFUL_SETS, None);
        keys.extend(
            sets.iter()
                .filter(|set| is_on(set))
                .map(|set| Name::of(&STATEFUL_SETS, set)),
        );
    }
    keys
}
