//! The life of nodes: who is silent is doubted, then given up, and its pods are replaced.
//!
//! Agents tell the leader that they are there; nothing is written for that. An agent that gets
//! no answer for as long as its lease stops its pods by itself, so that a pod that is deleted
//! here after [`GIVEN_UP_MS`] runs nowhere any more: lease + drift of clocks + the time it takes
//! to kill. A new leader has heard nobody yet, and gives everybody that time anew; whom the one
//! before has given up stays so until it is heard.
//!
//! Conditions and taints are Kubernetes' (`node.kubernetes.io/unreachable`), so that tolerations
//! work; none is added to pods, which are replaced at once unless they say otherwise.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    controllers::world::{Plan, Step, View},
    eviction::Disruption,
    kinds::{self, Kind},
    lifecycle::Deletion,
    object::{self, Name},
    time::{format_rfc3339, parse_rfc3339},
    tolerations,
};

/// How often an agent says that it is there, in milliseconds.
pub const HEARTBEAT_MS: u64 = 1_000;
/// How long an agent lets its pods run after the last answer that it had, counted from when it
/// asked, in milliseconds of its own clock.
pub const LEASE_MS: u64 = 4_000;
/// The same where there is only one node: nobody can take over from it, so there is time to start
/// it again; but what nobody looks after does not go on for ever.
pub const SOLE_LEASE_MS: u64 = 60_000;
/// How much the clocks of two machines may differ in a lease's time: 5 %.
pub const DRIFT_MS: u64 = 200;
/// How long an agent may take to kill its pods.
pub const KILL_MS: u64 = 1_500;
/// After so long a silence a node gets no new pods.
pub const DOUBTED_MS: u64 = 2_500;
/// After so long a silence none of its pods runs any more.
pub const GIVEN_UP_MS: u64 = LEASE_MS + DRIFT_MS + KILL_MS;
/// A pod whose node nobody has heard of goes no sooner after it was made, as in Kubernetes.
const UNKNOWN_NODE_MS: u64 = 40_000;

/// Set while a node is silent.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Set while somebody wants no new pods on it.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// For how long a node has been silent, in milliseconds.
pub type Silence = BTreeMap<String, u64>;

/// What is to be done about the nodes and the pods on them. Who is not in `silence` has never
/// been heard, as long as `unheard_ms`.
pub fn plan(view: &dyn View, silence: &Silence, unheard_ms: u64, now_ms: u64) -> Plan {
    let mut plan = Plan::default();
    let mut known = BTreeSet::new();
    for node in view.list(&kinds::NODES, None) {
        let name = object::name(&node).to_owned();
        let hearing = Hearing::of(silence.get(&name), unheard_ms);
        let steps = look_at(&node, hearing, now_ms);
        // The next look sees what the first of them has changed.
        plan.steps.extend(steps.into_iter().take(1));
        // What was given up may be there again before it is written.
        let is_given_up = hearing.silent_ms >= GIVEN_UP_MS;
        let taints = hearing.driving(&node["spec"]["taints"]);
        // Of most nodes no pod needs a look.
        if is_given_up || tolerations::drives_away(&taints) {
            for pod in view.on_node(&name) {
                let at_ms = tolerations::evicted_at_ms(&pod, &taints);
                // Who stays although the node is given up answers nobody now.
                if is_given_up && at_ms.is_none_or(|at_ms| at_ms > now_ms) {
                    plan.steps.extend(unready(&pod, now_ms));
                }
                if let Some(at_ms) = at_ms {
                    let why = Disruption::Taint;
                    go(&mut plan, &pod, (at_ms, now_ms), is_given_up, why);
                }
            }
        }
        known.insert(name);
    }
    for name in view.nodes_in_use() {
        if !known.contains(&name) {
            for pod in view.on_node(&name) {
                let at_ms = gone_at_ms(&pod, silence.get(&name), unheard_ms, now_ms);
                go(&mut plan, &pod, (at_ms, now_ms), true, Disruption::NodeGone);
            }
        }
    }
    plan
}

/// What a leader has heard of a node.
#[derive(Clone, Copy)]
struct Hearing {
    silent_ms: u64,
    /// Whether that says enough: it was heard, or would have been if it were there. Until then
    /// what leaders before have found out stands.
    is_known: bool,
}

impl Hearing {
    fn of(silent_ms: Option<&u64>, unheard_ms: u64) -> Hearing {
        Hearing {
            silent_ms: *silent_ms.unwrap_or(&unheard_ms),
            is_known: silent_ms.is_some() || unheard_ms >= GIVEN_UP_MS,
        }
    }

    /// Whether a taint is another leader's, whom this one can't contradict yet.
    fn is_kept(self, taint: &Value) -> bool {
        !self.is_known && taint["key"] == UNREACHABLE
    }

    /// The taints of a node that may drive pods away.
    fn driving(self, taints: &Value) -> Value {
        let taints = object::items(taints).filter(|taint| !self.is_kept(taint));
        taints.cloned().collect()
    }
}

/// When a pod goes whose node is not there: that took its pods along, once its lease has ended.
fn gone_at_ms(pod: &Value, silent_ms: Option<&u64>, unheard_ms: u64, now_ms: u64) -> u64 {
    let left_ms = GIVEN_UP_MS.saturating_sub(*silent_ms.unwrap_or(&unheard_ms));
    let at_ms = now_ms.saturating_add(left_ms);
    let created_ms = parse_rfc3339(object::meta(pod, "creationTimestamp"));
    match (silent_ms, created_ms) {
        // Whoever makes it names a node that may never have been, and makes it again at once.
        (None, Some(created_ms)) => at_ms.max(created_ms.saturating_add(UNKNOWN_NODE_MS)),
        _ => at_ms,
    }
}

/// A pod goes at a time, whatever it would like if it `is_forced`.
fn go(plan: &mut Plan, pod: &Value, (at_ms, now_ms): (u64, u64), is_forced: bool, why: Disruption) {
    if at_ms > now_ms {
        let left_ms = at_ms - now_ms;
        let earliest = plan.again_in_ms.map_or(left_ms, |ms| ms.min(left_ms));
        plan.again_in_ms = Some(earliest);
    } else if is_forced || !object::is_being_deleted(pod) {
        plan.steps.push(evict(pod, is_forced, why));
    }
}

/// Says that a pod is not ready, if it says that it is.
fn unready(pod: &Value, now_ms: u64) -> Option<Step> {
    let mut object = pod.clone();
    let conditions = object["status"]["conditions"].as_array_mut()?;
    let is_ready = |one: &&mut Value| one["type"] == "Ready" && one["status"] == "True";
    let ready = conditions.iter_mut().find(is_ready)?;
    ready["status"] = json!("False");
    ready["reason"] = json!("NodeUnreachable");
    ready["lastTransitionTime"] = json!(format_rfc3339(now_ms));
    Some(Step::UpdateStatus {
        kind: &kinds::PODS,
        object,
    })
}

fn evict(pod: &Value, is_forced: bool, why: Disruption) -> Step {
    Step::Delete {
        name: Name::of(&kinds::PODS, pod),
        deletion: Deletion {
            uid: Some(object::uid(pod).to_owned()),
            grace_s: is_forced.then_some(0),
            disruption: Some(why),
            ..Deletion::default()
        },
    }
}

/// What is to be written of a node, the most urgent first.
fn look_at(node: &Value, hearing: Hearing, now_ms: u64) -> Vec<Step> {
    let kind: &'static Kind = &kinds::NODES;
    let mut steps = Vec::new();
    let wanted = taints(node, hearing, now_ms);
    let has = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if wanted != has {
        let mut object = node.clone();
        let spec = object::child_mut(&mut object, "spec");
        match wanted.is_empty() {
            true => spec.remove("taints"),
            false => spec.insert("taints".to_owned(), Value::Array(wanted)),
        };
        steps.push(Step::Update { kind, object });
    }
    let ready = condition(node);
    let is_unknown = ready.is_some_and(|ready| ready["status"] == "Unknown");
    let is_silent = hearing.silent_ms >= DOUBTED_MS;
    let is_told = is_silent || hearing.is_known;
    if ready.is_some() && is_silent != is_unknown && is_told {
        let told = match is_silent {
            true => (
                "Unknown",
                "NodeStatusUnknown",
                "The agent has stopped saying that it is there.",
            ),
            false => ("True", "AgentReady", "The agent says that it is there."),
        };
        let object = with_condition(node, told, now_ms);
        steps.push(Step::UpdateStatus { kind, object });
    }
    steps
}

/// The taints that a node is to have: its own, and those that follow from its state.
fn taints(node: &Value, hearing: Hearing, now_ms: u64) -> Vec<Value> {
    let has = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut wanted = Vec::new();
    if hearing.silent_ms >= DOUBTED_MS {
        wanted.push((UNREACHABLE, "NoSchedule"));
    }
    if hearing.silent_ms >= GIVEN_UP_MS {
        wanted.push((UNREACHABLE, "NoExecute"));
    }
    if node["spec"]["unschedulable"] == true {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let is = |taint: &Value, (key, effect): (&str, &str)| {
        taint["key"] == key && taint["effect"] == effect
    };
    let is_ours = |taint: &Value| taint["key"] == UNREACHABLE || taint["key"] == UNSCHEDULABLE;
    let mut taints: Vec<Value> = has
        .iter()
        .filter(|taint| {
            !is_ours(taint) || hearing.is_kept(taint) || wanted.iter().any(|it| is(taint, *it))
        })
        .cloned()
        .collect();
    for it @ (key, effect) in wanted {
        if !has.iter().any(|taint| is(taint, it)) {
            let at = format_rfc3339(now_ms);
            taints.push(json!({"key": key, "effect": effect, "timeAdded": at}));
        }
    }
    taints
}

/// The condition `Ready`.
fn condition(node: &Value) -> Option<&Value> {
    let conditions = node["status"]["conditions"].as_array()?;
    conditions.iter().find(|it| it["type"] == "Ready")
}

fn with_condition(node: &Value, told: (&str, &str, &str), now_ms: u64) -> Value {
    let (status, reason, message) = told;
    let mut node = node.clone();
    let now = json!(format_rfc3339(now_ms));
    let conditions = node["status"]["conditions"].as_array_mut();
    for condition in conditions.into_iter().flatten() {
        // What is told of a silent node is not known any more.
        let is_ready = condition["type"] == "Ready";
        if let Some(fields) = condition.as_object_mut()
            && is_ready
        {
            fields.insert("status".to_owned(), json!(status));
            fields.insert("reason".to_owned(), json!(reason));
            fields.insert("message".to_owned(), json!(message));
            fields.insert("lastTransitionTime".to_owned(), now.clone());
        }
    }
    node
}

/// When a taint was added, milliseconds since the epoch.
pub(crate) fn added_ms(taint: &Value) -> Option<u64> {
    parse_rfc3339(taint["timeAdded"].as_str()?)
}

#[cfg(test)]
mod tests;
