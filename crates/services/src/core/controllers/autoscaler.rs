//! Autoscalers: as many replicas as bring what pods use to a target. An autoscaler, its target
//! and what the target's pods were measured to use come in; a new number for the target comes
//! out, and what was seen.
//!
//! Every 15 seconds it is planned again, since nothing but time leads to new measurements. What
//! it has to remember stands in an annotation ([`history`]), which is written before the target
//! is: so a plan that breaks off in between goes on where it was, and no scaling is forgotten.
//!
//! Kinds with a `scale` subresource can be targets. Metrics other than those of resources are not
//! served. (Kubernetes documentation, "Horizontal Pod Autoscaling"; KEP-853 behavior, KEP-1610
//! container resources, KEP-4951 tolerances.)

mod behavior;
mod history;
mod metrics;
mod replicas;
mod status;

use std::sync::Arc;

use serde_json::{Value, json};

use self::{
    behavior::Behavior,
    history::{History, Scaling},
    metrics::Seen,
    replicas::Sample,
    status::{ABLE, ACTIVE, COMPONENT, Findings, LIMITED},
};
use super::{
    owners, scale,
    world::{self, Change, Event, Plan, Step, View},
};
use crate::core::{
    kinds::{AUTOSCALERS, Kind, PODS},
    object::{self, Name},
    selector::LabelSelector,
    status::Failure,
};

/// How often the number is looked at.
const PERIOD_MS: u64 = 15_000;

/// What is scaled.
struct Target {
    kind: &'static Kind,
    object: Arc<Value>,
    /// So many replicas are asked for now.
    current: i64,
}

/// What to do about one autoscaler. `failed`: why its target could not be changed.
pub(super) fn plan(view: &dyn View, key: &Name, now_ms: u64, failed: Option<&str>) -> Plan {
    let Some(scaler) = view.get(key.kind, &key.namespace, &key.name) else {
        return Plan::default();
    };
    let mut plan = Plan {
        steps: Vec::new(),
        again_in_ms: Some(PERIOD_MS),
    };
    if object::is_being_deleted(&scaler) {
        return plan;
    }
    let mut findings = Findings::default();
    let target = match target(view, &scaler) {
        Ok(target) => target,
        Err(why) => {
            let told =
                format!("the HPA controller was unable to get the target's current scale: {why}");
            findings.tell(ABLE, false, "FailedGetScale", &told);
            findings.warn("FailedGetScale", why);
            plan.steps = status::tell(&scaler, None, &findings, now_ms);
            return plan;
        }
    };
    findings.tell(
        ABLE,
        true,
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale",
    );
    let behavior = Behavior::of(&scaler);
    let mut history = History::of(&scaler, target.current);
    decide(
        view,
        &scaler,
        &target,
        &behavior,
        &mut history,
        &mut findings,
        now_ms,
    );
    let desired = findings.desired.unwrap_or(target.current);
    if desired != target.current {
        let scaling = Scaling {
            at_ms: now_ms,
            from: target.current,
            to: desired,
        };
        history.scale(scaling, behavior.period_ms());
    }
    let scaling = rescale(&scaler, &target, desired, &findings.why);
    if let Some(object) = history.write(&scaler) {
        plan.steps.push(Step::Update {
            kind: key.kind,
            object,
        });
        plan.steps.extend(scaling);
        return plan;
    }
    status::tell_outcome(&mut findings, &target, &history, failed, now_ms);
    plan.steps = status::tell(&scaler, Some((&target, &history)), &findings, now_ms);
    plan.steps.extend(scaling);
    plan
}

/// What an autoscaler scales.
fn target(view: &dyn View, scaler: &Value) -> Result<Target, String> {
    let reference = &scaler["spec"]["scaleTargetRef"];
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let kind = scale::kind_of(reference).ok_or_else(|| {
        let group = text("apiVersion")
            .split_once('/')
            .map_or("", |(group, _)| group);
        format!("no matches for kind {:?} in group {group:?}", text("kind"))
    })?;
    let object = view.get(kind, object::namespace(scaler), text("name"));
    let object =
        object.ok_or_else(|| Failure::not_found(kind.group, kind.plural, text("name")).message)?;
    Ok(Target {
        kind,
        current: scale::replicas(&object),
        object,
    })
}

fn decide(
    view: &dyn View,
    scaler: &Value,
    target: &Target,
    behavior: &Behavior,
    history: &mut History,
    findings: &mut Findings,
    now_ms: u64,
) {
    let current = target.current;
    let least = scaler["spec"]["minReplicas"].as_i64().unwrap_or(1).max(0);
    let most = scaler["spec"]["maxReplicas"]
        .as_i64()
        .unwrap_or(current)
        .max(least);
    if current == 0 && least != 0 {
        let why = "scaling is disabled since the replica count of the target is zero";
        findings.tell(ACTIVE, false, "ScalingDisabled", why);
        findings.metrics = Some(Vec::new());
        findings.desired = Some(current);
    } else if current > most {
        "Current number of replicas above Spec.MaxReplicas".clone_into(&mut findings.why);
        findings.desired = Some(most);
    } else if current < least {
        "Current number of replicas below Spec.MinReplicas".clone_into(&mut findings.why);
        findings.desired = Some(least);
    } else if let Some(wanted) = ask(view, scaler, target, behavior, findings, now_ms) {
        history.recommend(wanted, current, behavior.window_ms(), now_ms);
        let stable = behavior.stabilize(wanted, current, history, now_ms);
        findings.tell(ABLE, true, stable.reason, stable.message);
        let bounds = (least, most);
        let limited = behavior.limit(stable.replicas, current, bounds, history, now_ms);
        let is_limited = limited.replicas != stable.replicas;
        findings.tell(LIMITED, is_limited, limited.reason, limited.message);
        findings.desired = Some(limited.replicas);
    }
}

/// How many replicas the metrics want.
fn ask(
    view: &dyn View,
    scaler: &Value,
    target: &Target,
    behavior: &Behavior,
    findings: &mut Findings,
    now_ms: u64,
) -> Option<i64> {
    let selector = match selector(view, scaler, target) {
        Ok(selector) => selector,
        Err((reason, why)) => {
            findings.tell(ACTIVE, false, reason, &why);
            findings.warn(reason, why);
            return None;
        }
    };
    let samples = samples(view, object::namespace(scaler), &selector);
    let seen = Seen {
        samples: &samples,
        current: target.current,
        behavior,
        now_ms,
    };
    match metrics::ask(scaler, &seen) {
        Ok(wanted) => {
            let told = format!(
                "the HPA was able to successfully calculate a replica count from {}",
                wanted.metric
            );
            findings.tell(ACTIVE, true, "ValidMetricFound", &told);
            findings.metrics = Some(wanted.statuses);
            for unknown in wanted.unknown {
                findings.warn(unknown.reason, unknown.message);
            }
            findings.why = match wanted.replicas > target.current {
                true => format!("{} above target", wanted.metric),
                false => "All metrics below target".to_owned(),
            };
            Some(wanted.replicas)
        }
        Err(unknown) => {
            let count = object::items(&scaler["spec"]["metrics"]).count();
            let whole = metrics::told(&unknown, count);
            if let Some(first) = unknown.first() {
                let told = format!(
                    "the HPA was unable to compute the replica count: {}",
                    first.message
                );
                findings.tell(ACTIVE, false, first.reason, &told);
            }
            for unknown in unknown {
                findings.warn(unknown.reason, unknown.message);
            }
            findings.warn("FailedComputeMetricsReplicas", whole);
            None
        }
    }
}

/// The target's pods, if no other autoscaler scales it, too.
fn selector(
    view: &dyn View,
    scaler: &Value,
    target: &Target,
) -> Result<LabelSelector, (&'static str, String)> {
    let selector = scale::selector(target.kind, &target.object).map_err(|why| {
        let told = format!(
            "couldn't convert selector into a corresponding internal selector object: {why}"
        );
        ("InvalidSelector", told)
    })?;
    let namespace = object::namespace(scaler);
    let mut rivals = view.list(&AUTOSCALERS, Some(namespace));
    rivals.retain(|rival| {
        let reference = &rival["spec"]["scaleTargetRef"];
        reference["name"] == object::name(&target.object)
            && scale::kind_of(reference) == Some(target.kind)
    });
    if rivals.len() > 1 {
        let names = rivals
            .iter()
            .map(|rival| format!("{namespace}/{}", object::name(rival)));
        let names: Vec<String> = names.collect();
        let told = format!(
            "pods by selector {selector} are controlled by multiple HPAs: [{}]",
            names.join(" ")
        );
        return Err(("AmbiguousSelector", told));
    }
    Ok(selector)
}

fn samples(view: &dyn View, namespace: &str, selector: &LabelSelector) -> Vec<Sample> {
    let pods = view.list(&PODS, Some(namespace)).into_iter();
    let selected = pods.filter(|pod| owners::selects(selector, pod));
    selected
        .map(|pod| {
            let usage = view.usage(object::uid(&pod));
            (pod, usage.filter(|usage| !usage.containers.is_empty()))
        })
        .collect()
}

/// Changes the target.
fn rescale(scaler: &Value, target: &Target, desired: i64, why: &str) -> Vec<Step> {
    if desired == target.current {
        return Vec::new();
    }
    let mut object = (*target.object).clone();
    object::child_mut(&mut object, "spec").insert("replicas".to_owned(), json!(desired));
    let about = world::reference(&AUTOSCALERS, scaler);
    let message = format!("New size: {desired}; reason: {why}");
    let kind = target.kind;
    vec![
        Step::Update { kind, object },
        Event::normal(COMPONENT, about, "SuccessfulRescale", message),
    ]
}

/// An autoscaler is planned for when it changes; everything else it sees in time.
pub(super) fn touched(_view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    match change.kind == &AUTOSCALERS {
        true => change.name().into_iter().collect(),
        false => Vec::new(),
    }
}
