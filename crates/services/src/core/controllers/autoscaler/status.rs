//! What an autoscaler says: its conditions, the metrics it saw, and the numbers.

use serde_json::{Value, json};

use super::{
    PERIOD_MS, Target,
    history::{History, Scaling},
};
use crate::core::{
    controllers::{
        conditions::{self, Condition, Times},
        world::{self, Event, Step},
    },
    kinds::AUTOSCALERS,
    time::{format_rfc3339, parse_rfc3339},
};

pub(super) const COMPONENT: &str = "horizontal-pod-autoscaler";

pub(super) const ABLE: &str = "AbleToScale";
pub(super) const ACTIVE: &str = "ScalingActive";
pub(super) const LIMITED: &str = "ScalingLimited";

/// What was found out about an autoscaler, in the order in which it is.
#[derive(Default)]
pub(super) struct Findings {
    /// Type, status, reason, message.
    conditions: Vec<(&'static str, bool, String, String)>,
    /// `status.currentMetrics`; none: they stay as they were.
    pub(super) metrics: Option<Vec<Value>>,
    /// Warnings: reason and message.
    warnings: Vec<(&'static str, String)>,
    /// How many replicas there are to be; none: nobody knows.
    pub(super) desired: Option<i64>,
    /// Why there are to be others than now.
    pub(super) why: String,
}

impl Findings {
    pub(super) fn tell(&mut self, name: &'static str, holds: bool, reason: &str, message: &str) {
        self.conditions.retain(|(known, ..)| *known != name);
        self.conditions
            .push((name, holds, reason.to_owned(), message.to_owned()));
    }

    pub(super) fn warn(&mut self, reason: &'static str, message: String) {
        self.warnings.push((reason, message));
    }
}

/// What became of the last change.
pub(super) fn tell_outcome(
    findings: &mut Findings,
    target: &Target,
    history: &History,
    failed: Option<&str>,
    now_ms: u64,
) {
    let desired = findings.desired.unwrap_or(target.current);
    if let (Some(why), true) = (failed, desired != target.current) {
        let told = format!("the HPA controller was unable to update the target scale: {why}");
        findings.tell(ABLE, false, "FailedUpdateScale", &told);
        let told = format!(
            "New size: {desired}; reason: {}; error: {why}",
            findings.why
        );
        findings.warn("FailedRescale", told);
        return;
    }
    let last = history.last_scaling();
    let is_new =
        |last: &Scaling| last.to == target.current && last.at_ms.saturating_add(PERIOD_MS) > now_ms;
    if let (Some(last), true) = (last.filter(is_new), desired == target.current) {
        let told = format!(
            "the HPA controller was able to update the target scale to {}",
            last.to
        );
        findings.tell(ABLE, true, "SucceededRescale", &told);
    }
}

/// Writes the status, if it changed, and tells people of what is wrong.
pub(super) fn tell(
    scaler: &Value,
    known: Option<(&Target, &History)>,
    findings: &Findings,
    now_ms: u64,
) -> Vec<Step> {
    let status = status(scaler, known, findings, now_ms);
    if scaler["status"] == status {
        return Vec::new();
    }
    let mut object = scaler.clone();
    object["status"] = status;
    let write = Step::UpdateStatus {
        kind: &AUTOSCALERS,
        object,
    };
    let warnings = findings.warnings.iter().map(|(reason, message)| {
        let about = world::reference(&AUTOSCALERS, scaler);
        Event::warning(COMPONENT, about, reason, message.clone())
    });
    [write].into_iter().chain(warnings).collect()
}

fn status(
    scaler: &Value,
    known: Option<(&Target, &History)>,
    findings: &Findings,
    now_ms: u64,
) -> Value {
    let mut status = conditions::status_of(scaler);
    let generation = scaler["metadata"]["generation"]
        .as_i64()
        .unwrap_or_default();
    conditions::set_count(&mut status, "observedGeneration", generation);
    if let Some((target, history)) = known {
        conditions::set_count(&mut status, "currentReplicas", target.current);
        let before = status["lastScaleTime"].as_str().and_then(parse_rfc3339);
        let last = history.last_scaling().map(|last| last.at_ms);
        if let Some(at_ms) = last.max(before) {
            status["lastScaleTime"] = json!(format_rfc3339(at_ms));
        }
    }
    if let Some(desired) = findings.desired {
        status["desiredReplicas"] = json!(desired);
    }
    if let Some(metrics) = &findings.metrics {
        status["currentMetrics"] = json!(metrics);
    }
    for (field, default) in [("desiredReplicas", json!(0)), ("currentMetrics", json!([]))] {
        if status[field].is_null() {
            status[field] = default;
        }
    }
    let now = format_rfc3339(now_ms);
    for (name, holds, reason, message) in &findings.conditions {
        let condition = Condition {
            name,
            status: if *holds { "True" } else { "False" },
            reason,
            message,
        };
        conditions::put(&mut status, &condition, &now, Times::Transition);
    }
    status
}
