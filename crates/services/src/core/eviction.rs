//! Evictions: a client wants a pod away, as far as its disruption budget allows. The pod and the
//! budgets of its namespace go in; what is to be written comes out, or a refusal in Kubernetes'
//! words, which `kubectl drain` waits on (Kubernetes documentation, "API-initiated Eviction" and
//! "Specifying a Disruption Budget").
//!
//! Invariants:
//! - A pod that counts for its budget is evicted only together with a write of that budget, which
//!   takes one disruption away and names the pod: so two evictions never share one disruption.
//! - Who does no harm by going (it has ended, never ran, or goes already) asks no budget.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    object,
    selector::LabelSelector,
    status::{Cause, Failure, Reason},
    time::format_rfc3339,
};

/// A budget with more pods on their way refuses: its controller has not seen them go.
const DISRUPTED_MAX: usize = 2_000;
/// When it is worth a new try after a refusal that will pass by itself.
const RETRY_AFTER_S: u32 = 10;

/// The condition of a budget that says whether a pod may go.
const ALLOWED: &str = "DisruptionAllowed";
/// Its reason when the controller could not tell.
const SYNC_FAILED: &str = "SyncFailed";
/// The condition of a pod that is to go.
pub(super) const TARGET: &str = "DisruptionTarget";

/// Why a pod has to go for no fault of its own, as its condition `DisruptionTarget` says: rules
/// for failures of Jobs go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disruption {
    /// Somebody wants it away, as far as budgets allow.
    Eviction,
    /// A taint of its node drives it away, as of one that is silent.
    Taint,
    /// Its node is not there any more.
    NodeGone,
    /// A pod of a higher priority needs its room.
    Preemption,
}

impl Disruption {
    /// Reason and message.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Disruption::Eviction => ("EvictionByEvictionAPI", "Eviction API: evicting"),
            Disruption::Taint => (
                "DeletionByTaintManager",
                "Taint manager: deleting due to NoExecute taint",
            ),
            Disruption::NodeGone => ("DeletionByPodGC", "PodGC: node no longer exists"),
            Disruption::Preemption => (
                "PreemptionByScheduler",
                "default-scheduler: preempting to accommodate a higher priority pod",
            ),
        }
    }
}

/// What has to be written for an eviction, all at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Eviction {
    /// The pod, with a condition that says why it goes; it is to be deleted from this state.
    pub pod: Value,
    /// The budget with its new status, if that has to be written; nothing else may have been
    /// written to it before.
    pub budget: Option<Value>,
    /// Whether the pod has to be as it was when this was decided: it does not count for its
    /// budget as long as it does not become ready.
    pub needs_same_pod: bool,
}

/// Whether a pod may be evicted now. `budgets`: those of its namespace.
///
/// # Errors
/// Its budget does not allow it now, or it has more than one.
pub fn decide(pod: &Value, budgets: &[Arc<Value>], now_ms: u64) -> Result<Eviction, Failure> {
    let evicted = |budget, needs_same_pod| Eviction {
        pod: with_target(pod, Disruption::Eviction, now_ms),
        budget,
        needs_same_pod,
    };
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed") || object::is_being_deleted(pod) {
        return Ok(evicted(None, false));
    }
    if phase == "Pending" {
        return Ok(evicted(None, true));
    }
    let mut meant = budgets.iter().filter(|budget| covers(budget, pod));
    let Some(budget) = meant.next() else {
        return Ok(evicted(None, false));
    };
    if meant.next().is_some() {
        return Err(Failure::internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    if !is_ready(pod) && spares_unready(budget) {
        return Ok(evicted(None, true));
    }
    allows(budget)?;
    Ok(evicted(Some(with_pod(budget, pod, now_ms)), false))
}

/// What to answer if a pod that had to stay as it was did not.
pub fn outrun(budgets: &[Arc<Value>], pod: &Value) -> Failure {
    let meant = budgets.iter().find(|budget| covers(budget, pod));
    let name = meant.map(|budget| object::name(budget)).unwrap_or_default();
    in_progress(name)
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = object::items(&pod["status"]["conditions"]);
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// Whether a budget is about a pod of its namespace. One without a selector is about none, one
/// with an empty selector about all.
pub fn covers(budget: &Value, pod: &Value) -> bool {
    let selector = LabelSelector::from_json(&budget["spec"]["selector"]);
    object::namespace(budget) == object::namespace(pod)
        && selector.is_ok_and(|selector| selector.matches(pod["metadata"]["labels"].as_object()))
}

/// Whether a pod that is not ready may go without counting.
fn spares_unready(budget: &Value) -> bool {
    let (healthy, desired) = (
        count(budget, "currentHealthy"),
        count(budget, "desiredHealthy"),
    );
    let is_healthy = healthy >= desired && desired > 0;
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" || is_healthy
}

fn count(budget: &Value, field: &str) -> i64 {
    budget["status"][field].as_i64().unwrap_or_default()
}

fn allows(budget: &Value) -> Result<(), Failure> {
    let name = object::name(budget);
    let generation = budget["metadata"]["generation"]
        .as_i64()
        .unwrap_or_default();
    if count(budget, "observedGeneration") < generation {
        return Err(in_progress(name));
    }
    let allowed = count(budget, "disruptionsAllowed");
    let on_their_way = budget["status"]["disruptedPods"]
        .as_object()
        .map_or(0, Map::len);
    let forbidden = |why| Failure::forbidden("policy", "poddisruptionbudget", name, why);
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    if on_their_way > DISRUPTED_MAX {
        return Err(forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    match allowed {
        0 => Err(refusal(why_not(budget), 0)),
        _ => Ok(()),
    }
}

/// Why a budget allows nothing.
fn why_not(budget: &Value) -> String {
    let name = object::name(budget);
    let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let (healthy, desired) = (
        count(budget, "currentHealthy"),
        count(budget, "desiredHealthy"),
    );
    let told = object::items(&budget["status"]["conditions"])
        .find(|one| one["type"] == ALLOWED && one["status"] == "False")
        .map(|one| (text(&one["reason"]), text(&one["message"])))
        .filter(|(_, message)| !message.is_empty());
    match told {
        Some((reason, message)) if reason == SYNC_FAILED => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
        ),
        _ if healthy <= desired => format!(
            "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        ),
        Some((reason, message)) => format!(
            "The disruption budget {name} does not allow evicting pods currently ({reason}): {message}"
        ),
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

fn in_progress(name: &str) -> Failure {
    let why = format!("The disruption budget {name} is still being processed by the server.");
    refusal(why, RETRY_AFTER_S)
}

fn refusal(why: String, retry_after_s: u32) -> Failure {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut failure = Failure::new(Reason::TooManyRequests, message).retry_after(retry_after_s);
    failure.details.causes.push(Cause {
        reason: "DisruptionBudget",
        message: why,
        field: String::new(),
    });
    failure
}

/// The budget with one disruption less, for this pod.
fn with_pod(budget: &Value, pod: &Value, now_ms: u64) -> Value {
    let mut budget = budget.clone();
    let allowed = count(&budget, "disruptionsAllowed") - 1;
    let now = format_rfc3339(now_ms);
    let status = &mut budget["status"];
    status["disruptionsAllowed"] = json!(allowed);
    object::child_mut(status, "disruptedPods").insert(object::name(pod).to_owned(), json!(now));
    if allowed == 0 {
        tell_allowed(status, now_ms);
    }
    budget
}

/// Says in a budget's status whether a pod may go, as its numbers have it.
pub(crate) fn tell_allowed(status: &mut Value, now_ms: u64) {
    let (is_allowed, reason) = match status["disruptionsAllowed"].as_i64() {
        Some(1..) => ("True", "SufficientPods"),
        _ => ("False", "InsufficientPods"),
    };
    tell(status, is_allowed, reason, "", now_ms);
}

/// Says in a budget's status that its numbers could not be found out.
pub(crate) fn tell_failed(status: &mut Value, why: &str, now_ms: u64) {
    tell(status, "False", SYNC_FAILED, why, now_ms);
}

fn tell(status: &mut Value, is_allowed: &str, reason: &str, message: &str, now_ms: u64) {
    let generation = status["observedGeneration"].as_i64().unwrap_or_default();
    let mut condition = json!({
        "type": ALLOWED, "status": is_allowed, "reason": reason, "message": message,
        "lastTransitionTime": format_rfc3339(now_ms),
    });
    if generation != 0 {
        condition["observedGeneration"] = json!(generation);
    }
    put(status, condition);
}

/// A pod that says why it is to go.
pub(super) fn with_target(pod: &Value, why: Disruption, now_ms: u64) -> Value {
    let (reason, message) = why.words();
    let mut pod = pod.clone();
    let condition = json!({
        "type": TARGET, "status": "True", "reason": reason, "message": message,
        "lastProbeTime": null, "lastTransitionTime": format_rfc3339(now_ms),
    });
    object::child_mut(&mut pod, "status");
    put(&mut pod["status"], condition);
    pod
}

/// Puts a condition in its place; the time of its last transition stays if its status does.
fn put(status: &mut Value, mut condition: Value) {
    let fields = status.as_object_mut().expect("a status is an object");
    let all = fields.entry("conditions").or_insert_with(|| json!([]));
    let Some(all) = all.as_array_mut() else {
        return;
    };
    match all.iter_mut().find(|old| old["type"] == condition["type"]) {
        Some(old) => {
            if old["status"] == condition["status"] {
                condition["lastTransitionTime"] = old["lastTransitionTime"].take();
            }
            *old = condition;
        }
        None => all.push(condition),
    }
}

#[cfg(test)]
mod tests;
