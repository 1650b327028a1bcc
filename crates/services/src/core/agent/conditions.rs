//! The conditions of a pod that the agent tells: `PodReadyToStartContainers`, `Initialized`,
//! `ContainersReady` and `Ready`, each with the time since when it is as it is; and
//! `DisruptionTarget`, if the pod has failed since the node's lease had ended. `PodScheduled` is
//! the scheduler's, readiness gates are others'.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    container::{Container, Role},
    pod::Pod,
};
use crate::core::{
    object,
    time::{format_rfc3339, parse_rfc3339},
};

const READY_TO_START: &str = "PodReadyToStartContainers";
const INITIALIZED: &str = "Initialized";
const READY: &str = "Ready";
const CONTAINERS_READY: &str = "ContainersReady";
const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// What was told of a pod.
pub(super) struct Told {
    /// The agent's part of the status, as it was told last.
    pub(super) status: Option<Value>,
    /// Conditions, and since when they are as they are.
    conditions: BTreeMap<&'static str, (bool, u64)>,
}

impl Told {
    /// Whether it was told that the pod has its volumes and network.
    pub(super) fn has_network(&self) -> bool {
        self.conditions
            .get(READY_TO_START)
            .is_some_and(|told| told.0)
    }

    /// What an earlier agent told.
    pub(super) fn read(status: &Value) -> Told {
        let mut conditions = BTreeMap::new();
        for kind in [
            READY_TO_START,
            INITIALIZED,
            READY,
            CONTAINERS_READY,
            DISRUPTION_TARGET,
        ] {
            if let Some(told) = find(status, kind)
                && let Some(since_ms) = told["lastTransitionTime"].as_str().and_then(parse_rfc3339)
            {
                conditions.insert(kind, (told["status"] == "True", since_ms));
            }
        }
        Told {
            status: None,
            conditions,
        }
    }
}

/// A status's condition of that type.
pub(super) fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    object::items(&status["conditions"]).find(|one| one["type"] == kind)
}

struct Condition {
    kind: &'static str,
    is_true: bool,
    reason: &'static str,
    message: String,
}

impl Condition {
    fn new(kind: &'static str, is_true: bool) -> Condition {
        Condition {
            kind,
            is_true,
            reason: "",
            message: String::new(),
        }
    }

    fn because(mut self, reason: &'static str, message: String) -> Condition {
        (self.reason, self.message) = (reason, message);
        self
    }

    fn to_json(&self, told: &mut Told, generation: &Value, now_ms: u64) -> Value {
        let since = told
            .conditions
            .entry(self.kind)
            .or_insert((self.is_true, now_ms));
        if since.0 != self.is_true {
            *since = (self.is_true, now_ms);
        }
        let mut condition = json!({
            "type": self.kind,
            "status": if self.is_true { "True" } else { "False" },
            "lastTransitionTime": format_rfc3339(since.1),
        });
        for (field, text) in [("reason", self.reason), ("message", &self.message)] {
            if !text.is_empty() {
                condition[field] = json!(text);
            }
        }
        if !generation.is_null() {
            condition["observedGeneration"] = generation.clone();
        }
        condition
    }
}

/// The conditions of a pod, as they are now.
pub(super) fn compute(pod: &mut Pod, phase: &str, now_ms: u64) -> Value {
    let generation = pod.object["metadata"]["generation"].clone();
    let all: Vec<Condition> = conditions(pod, phase).collect();
    let all = all.into_iter();
    all.map(|one| one.to_json(&mut pod.told, &generation, now_ms))
        .collect()
}

fn conditions(pod: &Pod, phase: &str) -> impl Iterator<Item = Condition> {
    let containers_ready = containers_ready(pod, phase);
    [
        Condition::new(READY_TO_START, pod.has_network && !pod.is_over),
        initialized(pod, phase),
        ready(pod, &containers_ready),
        containers_ready,
    ]
    .into_iter()
    .chain(disrupted(pod, phase))
}

/// That it is no fault of its own that it has failed.
fn disrupted(pod: &Pod, phase: &str) -> Option<Condition> {
    let mut ends = pod.containers.iter().filter_map(|one| one.ended.as_ref());
    let is_so = phase == "Failed" && ends.any(|end| end.is_fenced);
    is_so.then(|| {
        let told = "The lease of its node had ended, so it was stopped.".to_owned();
        Condition::new(DISRUPTION_TARGET, true).because("TerminationByKubelet", told)
    })
}

fn names<'a>(all: impl Iterator<Item = &'a Container>) -> String {
    let names: Vec<&str> = all.map(|one| one.name.as_str()).collect();
    names.join(" ")
}

fn initialized(pod: &Pod, phase: &str) -> Condition {
    if phase == "Succeeded" {
        return Condition::new(INITIALIZED, true).because("PodCompleted", String::new());
    }
    let is_incomplete = |one: &&Container| match one.role {
        Role::Init => !one.has_succeeded(),
        Role::Sidecar => !one.is_started(),
        Role::Main => false,
    };
    let incomplete = names(pod.containers.iter().filter(is_incomplete));
    if pod.is_initialized || incomplete.is_empty() {
        return Condition::new(INITIALIZED, true);
    }
    let told = format!("containers with incomplete status: [{incomplete}]");
    Condition::new(INITIALIZED, false).because("ContainersNotInitialized", told)
}

fn containers_ready(pod: &Pod, phase: &str) -> Condition {
    let condition = Condition::new(CONTAINERS_READY, false);
    match phase {
        "Succeeded" => return condition.because("PodCompleted", String::new()),
        "Failed" => return condition.because("PodFailed", String::new()),
        _ => {}
    }
    let is_unready = |one: &&Container| one.role != Role::Init && !one.is_ready();
    match names(pod.containers.iter().filter(is_unready)) {
        none if none.is_empty() => Condition::new(CONTAINERS_READY, true),
        some => {
            let told = format!("containers with unready status: [{some}]");
            condition.because("ContainersNotReady", told)
        }
    }
}

fn ready(pod: &Pod, containers: &Condition) -> Condition {
    if !containers.is_true {
        return Condition::new(READY, false).because(containers.reason, containers.message.clone());
    }
    let mut closed = Vec::new();
    for gate in object::items(&pod.object["spec"]["readinessGates"]) {
        let gate = gate["conditionType"].as_str().unwrap_or_default();
        match find(&pod.object["status"], gate) {
            None => closed.push(format!(
                "corresponding condition of pod readiness gate {gate:?} does not exist."
            )),
            Some(open) if open["status"] == "True" => {}
            Some(other) => closed.push(format!(
                "the status of pod readiness gate {gate:?} is not \"True\", but {}",
                other["status"].as_str().unwrap_or_default()
            )),
        }
    }
    match closed.is_empty() {
        true => Condition::new(READY, true),
        false => Condition::new(READY, false).because("ReadinessGatesNotReady", closed.join(", ")),
    }
}
