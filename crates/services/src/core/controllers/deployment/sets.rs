//! The ReplicaSets of a Deployment while a plan is made: as they were found, and as they are to
//! be. What differs in the end becomes steps.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{COMPONENT, numbers::Numbers};
use crate::core::{
    controllers::{
        pods,
        world::{self, Event, Step, View},
    },
    kinds::{PODS, REPLICA_SETS},
    object,
    time::parse_rfc3339,
};

/// Which revision of the Deployment a ReplicaSet is.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Which it was before, separated by commas.
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// How many replicas the Deployment wanted when the ReplicaSet was scaled last.
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// How many pods it might have at once then.
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// A ReplicaSet.
#[derive(Debug)]
pub(super) struct Set {
    /// None: it is to be created.
    was: Option<Arc<Value>>,
    /// As it is to be.
    pub(super) object: Value,
    /// Its pods that count.
    active: i64,
    /// Those of them that are available.
    available: i64,
}

impl Set {
    pub(super) fn found(view: &dyn View, was: Arc<Value>, min_ready_s: u64, now_ms: u64) -> Set {
        let (mut active, mut available) = (0, 0);
        for pod in view.by_owner(&PODS, object::uid(&was)) {
            if pods::is_active(&pod) {
                active += 1;
                available += i64::from(pods::is_available(&pod, min_ready_s, now_ms));
            }
        }
        Set {
            object: (*was).clone(),
            was: Some(was),
            active,
            available,
        }
    }

    pub(super) fn new(object: Value) -> Set {
        Set {
            was: None,
            object,
            active: 0,
            available: 0,
        }
    }

    /// How many pods it is to have.
    pub(super) fn replicas(&self) -> i64 {
        self.object["spec"]["replicas"].as_i64().unwrap_or(1).max(0)
    }

    /// How many pods it has or may make at any moment.
    pub(super) fn held(&self) -> i64 {
        self.replicas().max(self.active)
    }

    /// How many available pods it will surely keep: it deletes the others first.
    pub(super) fn sound(&self) -> i64 {
        self.replicas().min(self.available)
    }

    /// A number of its status.
    pub(super) fn observed(&self, field: &str) -> i64 {
        self.object["status"][field].as_i64().unwrap_or_default()
    }

    /// Whether its controller has seen what it is to be. Then no plan for what it was to be
    /// before is still being carried out, and the pods that are seen are all that there are.
    pub(super) fn is_acknowledged(&self) -> bool {
        let generation = self.object["metadata"]["generation"].as_i64();
        generation.unwrap_or_default() <= self.observed("observedGeneration")
    }

    /// Its revision; 0 if it has none.
    pub(super) fn revision(&self) -> i64 {
        self.number(REVISION).unwrap_or_default()
    }

    /// An annotation that is a number.
    pub(super) fn number(&self, annotation: &str) -> Option<i64> {
        object::annotation(&self.object, annotation)?.parse().ok()
    }

    /// By age; those of one second by their revision.
    pub(super) fn age(&self) -> (u64, i64, String) {
        let created = parse_rfc3339(object::meta(&self.object, "creationTimestamp"));
        // One that is to be created is the newest.
        let created_ms = created.unwrap_or(u64::MAX);
        (
            created_ms,
            self.revision(),
            object::name(&self.object).to_owned(),
        )
    }

    /// Whether it was there, and nothing of it is left.
    pub(super) fn is_removable(&self) -> bool {
        self.was.is_some()
            && !object::is_being_deleted(&self.object)
            && self.replicas() == 0
            && self.held() == 0
            && self.observed("replicas") == 0
            && self.is_acknowledged()
    }

    pub(super) fn annotate(&mut self, key: &str, value: String) {
        let meta = object::meta_mut(&mut self.object);
        let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
        if !annotations.is_object() {
            *annotations = json!({});
        }
        annotations[key] = json!(value);
    }

    /// Notes the size that the Deployment has now.
    pub(super) fn note_size(&mut self, numbers: &Numbers) {
        self.annotate(DESIRED_REPLICAS, numbers.replicas.to_string());
        self.annotate(MAX_REPLICAS, numbers.most().to_string());
    }

    pub(super) fn scale(&mut self, replicas: i64, numbers: &Numbers) {
        self.object["spec"]["replicas"] = json!(replicas);
        self.note_size(numbers);
    }

    /// What makes it so.
    pub(super) fn steps(&self, about: &Value) -> Vec<Step> {
        let object = self.object.clone();
        let kind = &REPLICA_SETS;
        let (step, from) = match &self.was {
            None => (Step::Create { kind, object }, 0),
            Some(was) if **was == object => return Vec::new(),
            Some(was) => (
                Step::Update { kind, object },
                was["spec"]["replicas"].as_i64().unwrap_or(1),
            ),
        };
        let (name, to) = (object::name(&self.object), self.replicas());
        if from == to {
            return vec![step];
        }
        let direction = if from < to { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        let event = Event::normal(COMPONENT, about.clone(), "ScalingReplicaSet", message);
        vec![step, event]
    }

    /// What removes it.
    pub(super) fn removal(&self) -> Step {
        world::delete(&REPLICA_SETS, &self.object)
    }
}
