//! What planners look at and what they want done: a [`View`] of all objects at one revision comes
//! in, a [`Plan`] of steps goes out. An executor, which is not here, carries the steps out.
//!
//! What the executor promises, and the planners build on:
//! - It carries out the steps of a plan in their order, and stops at the first that fails; of
//!   creations that follow one another a few go at the same time, so that some may be done behind
//!   one that fails. If that was a failed compare (`Conflict`, `AlreadyExists`, `NotFound`), it plans again with a
//!   newer view. If it was anything else, it plans again after a while that grows, and hands the
//!   failure's message to the planner; after a plan that went well it hands over none, and plans
//!   once more.
//! - It carries out one plan for a controller's object at a time; plans for others may run beside
//!   it. It plans only from a view that has all that earlier plans for this object did, and, as far
//!   as that can be learned, what a step did of which nobody knows how it ended. A new leader's
//!   first view has all that the leaders before it did. They may do a little more until they know
//!   that they lead no more, from views that are older.
//! - It plans again for what [`super::Controller::touched`] names whenever an object changes, also
//!   for changes that came while it planned, and for everything when it begins: then each object
//!   counts as new.
//! - It refuses new objects in a namespace that is being deleted, by a compare at the time of the
//!   write.
//!
//! Steps can be repeated: names of new objects follow from what is planned for, in the state that
//! the plan saw, so that the second creation meets `AlreadyExists`; updates compare
//! `resourceVersion`, deletions the uid.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use crate::core::{
    kinds::{Kind, PODS},
    lifecycle::Deletion,
    object::{self, Name},
    usage::PodUsage,
};

/// How many objects one plan creates or deletes at most; the rest follows in the plans after it.
pub const BURST: usize = 500;

/// Every object: the state of the store at one revision.
pub trait View {
    /// One object; `namespace` is empty for kinds that have none.
    fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Arc<Value>>;

    /// The objects of a kind, in one namespace or in all, in order of namespace and name.
    fn list(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Arc<Value>>;

    /// The objects of a kind that have an owner of this uid, in order of namespace and name.
    fn by_owner(&self, kind: &'static Kind, owner_uid: &str) -> Vec<Arc<Value>>;

    /// The objects of a kind in a namespace that no owner controls, in order of name.
    fn orphans(&self, kind: &'static Kind, namespace: &str) -> Vec<Arc<Value>> {
        let mut found = self.list(kind, Some(namespace));
        found.retain(|object| object::controller(object).is_none());
        found
    }

    /// The pods that are bound to the Node of this name, in order of namespace and name.
    fn on_node(&self, node: &str) -> Vec<Arc<Value>> {
        let mut found = self.list(&PODS, None);
        found.retain(|pod| pod["spec"]["nodeName"] == *node);
        found
    }

    /// The names of Nodes that pods are bound to, in order: also of those that are gone.
    fn nodes_in_use(&self) -> Vec<String> {
        let pods = self.list(&PODS, None);
        let names = pods
            .iter()
            .filter_map(|pod| pod["spec"]["nodeName"].as_str());
        let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// What a pod uses, if it was measured lately.
    fn usage(&self, _pod_uid: &str) -> Option<Arc<PodUsage>> {
        None
    }
}

/// An object was made, changed, or is gone.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Its kind.
    pub kind: &'static Kind,
    /// Before; none if it was not there, or if it is not known.
    pub old: Option<&'a Value>,
    /// After; none if it is gone.
    pub new: Option<&'a Value>,
}

impl<'a> Change<'a> {
    /// Before and after, as far as they are there.
    pub(super) fn sides(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.old.into_iter().chain(self.new)
    }

    /// What names the object.
    pub(super) fn name(&self) -> Option<Name> {
        Some(Name::of(self.kind, self.new.or(self.old)?))
    }
}

/// A thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Makes an object, if none of its name is there.
    Create {
        /// Its kind.
        kind: &'static Kind,
        /// It; with its name.
        object: Value,
    },
    /// Deletes an object, if it is the one of `deletion.uid`, and still in the state of
    /// `deletion.resource_version` if that is said.
    Delete {
        /// Which.
        name: Name,
        /// How.
        deletion: Deletion,
    },
    /// Writes all but the status, if the object still has this `resourceVersion`.
    Update {
        /// Its kind.
        kind: &'static Kind,
        /// It, whole.
        object: Value,
    },
    /// Writes the status, if the object still has this `resourceVersion`.
    UpdateStatus {
        /// Its kind.
        kind: &'static Kind,
        /// It, whole.
        object: Value,
    },
    /// Writes the finalizers of a namespace, if it still has this `resourceVersion`.
    Finalize {
        /// It, whole.
        namespace: Value,
    },
    /// Tells people what was done. Nothing depends on it: it may be merged with others like it,
    /// or dropped.
    Event(Event),
}

/// What a `v1` Event says.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `involvedObject`.
    pub about: Value,
    /// `source.component`.
    pub component: &'static str,
    /// Whether its type is `Warning`, not `Normal`.
    pub is_warning: bool,
    /// As `SuccessfulCreate`.
    pub reason: Cow<'static, str>,
    /// In words.
    pub message: String,
}

impl Event {
    /// Something went as it should.
    pub(super) fn normal(
        component: &'static str,
        about: Value,
        reason: &'static str,
        message: String,
    ) -> Step {
        Step::Event(Event {
            about,
            component,
            is_warning: false,
            reason: reason.into(),
            message,
        })
    }

    /// Something is wrong.
    pub(super) fn warning(
        component: &'static str,
        about: Value,
        reason: &'static str,
        message: String,
    ) -> Step {
        Step::Event(Event {
            about,
            component,
            is_warning: true,
            reason: reason.into(),
            message,
        })
    }
}

/// What to do now, and when to plan again if nothing changes before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// In how many milliseconds time alone makes a difference.
    pub again_in_ms: Option<u64>,
}

impl Plan {
    pub(super) fn of(steps: Vec<Step>) -> Plan {
        Plan {
            steps,
            again_in_ms: None,
        }
    }

    /// Plans again at the earliest of the times named.
    pub(super) fn again_in(&mut self, ms: Option<u64>) {
        let earliest = self.again_in_ms.into_iter().chain(ms).min();
        self.again_in_ms = earliest;
    }
}

/// `involvedObject` of an Event.
pub(super) fn reference(kind: &'static Kind, object: &Value) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "namespace": object::namespace(object),
        "name": object::name(object),
        "uid": object::uid(object),
        "resourceVersion": object::meta(object, "resourceVersion"),
    })
}

/// Deletes this very object; its dependents go as its finalizers say.
pub(super) fn delete(kind: &'static Kind, object: &Value) -> Step {
    Step::Delete {
        name: Name::of(kind, object),
        deletion: Deletion {
            uid: Some(object::uid(object).to_owned()),
            ..Deletion::default()
        },
    }
}

/// Adds a key unless it is there.
pub(super) fn push_once(keys: &mut Vec<Name>, key: Name) {
    if !keys.contains(&key) {
        keys.push(key);
    }
}
