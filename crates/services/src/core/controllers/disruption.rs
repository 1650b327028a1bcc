//! Disruption budgets: how many of some pods may be taken away now. The pods that a budget is
//! about come in, with the scales of what controls them; its status comes out, from which
//! evictions are decided ([`crate::core::eviction`]).
//!
//! A pod that was evicted does not count from then on, though it may not be seen as going yet:
//! `disruptedPods` keeps it for two minutes. If the numbers can't be found out, nothing may be
//! taken away. (Kubernetes documentation, "Disruptions"; KEP-3017; `pkg/controller/disruption`.)

mod expected;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use self::expected::Expected;
use super::{
    conditions, pods, scale,
    world::{self, Change, Event, Plan, Step, View},
};
use crate::core::{
    eviction,
    kinds::{DISRUPTION_BUDGETS, PODS},
    object::{self, Name},
    selector::LabelSelector,
    time::parse_rfc3339,
};

const COMPONENT: &str = "controllermanager";
/// So long a pod that was evicted may take until it is seen as being deleted.
const DELETION_TIMEOUT_MS: u64 = 120_000;

/// What to do about one budget.
pub(super) fn plan(view: &dyn View, key: &Name, now_ms: u64, _failed: Option<&str>) -> Plan {
    let Some(budget) = view.get(key.kind, &key.namespace, &key.name) else {
        return Plan::default();
    };
    let mut plan = Plan::default();
    let (status, told) = match pods_of(view, &budget) {
        Ok(pods) => {
            let (disrupted, stale) = disrupted(&budget, &pods, now_ms);
            plan.again_in(next_timeout_ms(&disrupted, now_ms));
            let mut told: Vec<Step> = stale.iter().map(|pod| not_deleted(&budget, pod)).collect();
            match expected::count(view, &budget, &pods) {
                Ok(expected) => {
                    told.extend(notes(&budget, &pods, &expected));
                    let status = status(&budget, &pods, &expected, disrupted, now_ms);
                    (status, told)
                }
                Err(why) => {
                    let message = format!("Failed to calculate the number of expected pods: {why}");
                    told.push(warning(&budget, "CalculateExpectedPodCountFailed", message));
                    (failed_status(&budget, &why, now_ms), told)
                }
            }
        }
        Err(why) => {
            let event = warning(&budget, "NoPods", format!("Failed to get pods: {why}"));
            (failed_status(&budget, &why, now_ms), vec![event])
        }
    };
    if budget["status"] != status {
        let mut object = (*budget).clone();
        object["status"] = status;
        plan.steps.push(Step::UpdateStatus {
            kind: key.kind,
            object,
        });
        plan.steps.extend(told);
    }
    plan
}

/// The pods that a budget is about.
fn pods_of(view: &dyn View, budget: &Value) -> Result<Vec<Arc<Value>>, String> {
    let selector = LabelSelector::from_json(&budget["spec"]["selector"])?;
    let mut pods = view.list(&PODS, Some(object::namespace(budget)));
    pods.retain(|pod| super::owners::selects(&selector, pod));
    Ok(pods)
}

/// Until when a pod that was evicted at a time is expected to be seen as being deleted.
fn timeout_ms(at: &Value) -> u64 {
    let at_ms = at.as_str().and_then(parse_rfc3339).unwrap_or_default();
    at_ms.saturating_add(DELETION_TIMEOUT_MS)
}

/// The pods that were evicted and are still to be deleted; and those that should have been.
fn disrupted(
    budget: &Value,
    pods: &[Arc<Value>],
    now_ms: u64,
) -> (Map<String, Value>, Vec<Arc<Value>>) {
    let (mut left, mut stale) = (Map::new(), Vec::new());
    for pod in pods.iter().filter(|pod| !object::is_being_deleted(pod)) {
        let name = object::name(pod);
        match &budget["status"]["disruptedPods"][name] {
            Value::Null => {}
            at if timeout_ms(at) <= now_ms => stale.push(pod.clone()),
            at => {
                left.insert(name.to_owned(), at.clone());
            }
        }
    }
    (left, stale)
}

fn next_timeout_ms(disrupted: &Map<String, Value>, now_ms: u64) -> Option<u64> {
    let next = disrupted.values().map(timeout_ms).min()?;
    Some(next.saturating_sub(now_ms))
}

fn status(
    budget: &Value,
    pods: &[Arc<Value>],
    expected: &Expected,
    disrupted: Map<String, Value>,
    now_ms: u64,
) -> Value {
    let is_healthy = |pod: &&Arc<Value>| {
        pods::is_ready(pod)
            && !object::is_being_deleted(pod)
            && !disrupted.contains_key(object::name(pod))
    };
    let healthy = i64::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i64::MAX);
    let allowed = match expected.pods {
        // Nobody knows yet how many there are to be.
        ..=0 => 0,
        _ => (healthy - expected.healthy).max(0),
    };
    let mut status = json!({
        "expectedPods": expected.pods,
        "currentHealthy": healthy,
        "desiredHealthy": expected.healthy,
        "disruptionsAllowed": allowed,
        "conditions": conditions::status_of(budget)["conditions"],
    });
    let generation = budget["metadata"]["generation"]
        .as_i64()
        .unwrap_or_default();
    conditions::set_count(&mut status, "observedGeneration", generation);
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    if !disrupted.is_empty() {
        status["disruptedPods"] = Value::Object(disrupted);
    }
    eviction::tell_allowed(&mut status, now_ms);
    status
}

/// Nothing may go until the numbers are known again; the others are told as they were.
fn failed_status(budget: &Value, why: &str, now_ms: u64) -> Value {
    let mut status = conditions::status_of(budget);
    for field in ["currentHealthy", "desiredHealthy", "expectedPods"] {
        if status[field].is_null() {
            status[field] = json!(0);
        }
    }
    status["disruptionsAllowed"] = json!(0);
    eviction::tell_failed(&mut status, why, now_ms);
    status
}

fn warning(budget: &Value, reason: &'static str, message: String) -> Step {
    let about = world::reference(&DISRUPTION_BUDGETS, budget);
    Event::warning(COMPONENT, about, reason, message)
}

fn not_deleted(budget: &Value, pod: &Value) -> Step {
    let (namespace, name) = (object::namespace(budget), object::name(budget));
    let message = format!("Pod was expected by PDB {namespace}/{name} to be deleted but it wasn't");
    Event::warning(
        COMPONENT,
        world::reference(&PODS, pod),
        "NotDeleted",
        message,
    )
}

/// What people should know about the pods of a budget.
fn notes(budget: &Value, pods: &[Arc<Value>], expected: &Expected) -> Option<Step> {
    if pods.is_empty() {
        let about = world::reference(&DISRUPTION_BUDGETS, budget);
        let message = "No matching pods found".to_owned();
        return Some(Event::normal(COMPONENT, about, "NoPods", message));
    }
    expected.has_unmanaged.then(|| {
        let selector = &budget["spec"]["selector"];
        let message = format!(
            "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value."
        );
        warning(budget, "UnmanagedPods", message)
    })
}

/// Which budgets a change is about.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    if change.kind == &DISRUPTION_BUDGETS {
        return change.name().into_iter().collect();
    }
    let is_scale = expected::KINDS.contains(&change.kind) && changes_scale(change);
    if change.kind != &PODS && !is_scale {
        return Vec::new();
    }
    let sides: Vec<&Value> = change.sides().collect();
    let Some(namespace) = sides.first().map(|side| object::namespace(side)) else {
        return Vec::new();
    };
    let mut budgets = view.list(&DISRUPTION_BUDGETS, Some(namespace));
    budgets.retain(|budget| is_scale || sides.iter().any(|pod| eviction::covers(budget, pod)));
    let names = budgets
        .iter()
        .map(|budget| Name::of(&DISRUPTION_BUDGETS, budget));
    names.collect()
}

/// Whether it can make a difference to the pods that are expected.
fn changes_scale(change: &Change<'_>) -> bool {
    let (Some(old), Some(new)) = (change.old, change.new) else {
        return true;
    };
    let owners = |object: &Value| object["metadata"]["ownerReferences"].clone();
    scale::replicas(old) != scale::replicas(new)
        || object::uid(old) != object::uid(new)
        || owners(old) != owners(new)
}
