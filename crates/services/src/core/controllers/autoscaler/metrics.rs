//! The metrics of an autoscaler: each is asked how many replicas it wants, and the largest number
//! counts. Resources of pods and of containers are measured; metrics of pods, of other objects
//! and from outside are not served here, and say so, as a cluster without adapters for them.

use serde_json::{Value, json};

use super::{
    behavior::Behavior,
    replicas::{self, Metric, Proposal, Resource, Sample, Target},
};
use crate::core::{
    object,
    quantity::{self, Quantity},
};

/// Why a metric says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    /// As `FailedGetResourceMetric`.
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// The same, as a part of what is told about all metrics.
    whole: String,
}

/// What the metrics want.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    /// So many replicas.
    pub(super) replicas: i64,
    /// The metric that wants the most.
    pub(super) metric: String,
    /// `status.currentMetrics`.
    pub(super) statuses: Vec<Value>,
    /// Those that say nothing.
    pub(super) unknown: Vec<Unknown>,
}

/// What an answer rests on.
pub(super) struct Seen<'a> {
    /// Of all pods that are selected.
    pub(super) samples: &'a [Sample],
    /// So many replicas are asked for now.
    pub(super) current: i64,
    pub(super) behavior: &'a Behavior,
    pub(super) now_ms: u64,
}

/// Asks them all.
///
/// # Errors
/// None says anything, or one does not and the others want fewer than now: those that say
/// nothing, the first first.
pub(super) fn ask(scaler: &Value, seen: &Seen<'_>) -> Result<Wanted, Vec<Unknown>> {
    let mut wanted = Wanted {
        replicas: 0,
        metric: String::new(),
        statuses: Vec::new(),
        unknown: Vec::new(),
    };
    let mut has_answer = false;
    for spec in object::items(&scaler["spec"]["metrics"]) {
        match ask_one(spec, seen) {
            Ok((proposal, metric, status)) => {
                if !has_answer || proposal.replicas > wanted.replicas {
                    (wanted.replicas, wanted.metric) = (proposal.replicas, metric);
                }
                has_answer = true;
                wanted.statuses.push(status);
            }
            Err(unknown) => {
                wanted.statuses.push(json!({"type": spec["type"]}));
                wanted.unknown.push(unknown);
            }
        }
    }
    let is_shaky = !wanted.unknown.is_empty() && wanted.replicas < seen.current;
    match !has_answer || is_shaky {
        true => Err(wanted.unknown),
        false => Ok(wanted),
    }
}

/// What is told about metrics that say nothing.
pub(super) fn told(unknown: &[Unknown], metrics: usize) -> String {
    let first = unknown.first().map(|one| one.whole.as_str());
    format!(
        "invalid metrics ({} invalid out of {metrics}), first error is: {}",
        unknown.len(),
        first.unwrap_or_default()
    )
}

fn ask_one(spec: &Value, seen: &Seen<'_>) -> Result<(Proposal, String, Value), Unknown> {
    match spec["type"].as_str().unwrap_or_default() {
        "Resource" => ask_resource(spec, "resource", seen),
        "ContainerResource" => ask_resource(spec, "containerResource", seen),
        other => Err(not_served(spec, other)),
    }
}

fn ask_resource(
    spec: &Value,
    field: &'static str,
    seen: &Seen<'_>,
) -> Result<(Proposal, String, Value), Unknown> {
    let source = &spec[field];
    let name = source["name"].as_str().unwrap_or_default();
    let container =
        (field == "containerResource").then(|| source["container"].as_str().unwrap_or_default());
    let (reason, of) = match container {
        Some(_) => ("FailedGetContainerResourceMetric", "container resource"),
        None => ("FailedGetResourceMetric", "resource"),
    };
    let unknown = |message: String| Unknown {
        reason,
        whole: format!("failed to get {name} {of} metric value: {message}"),
        message,
    };
    let target = target(&source["target"]).ok_or_else(|| {
        unknown("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set".to_owned())
    })?;
    let (kind, metric) = match target {
        Target::Utilization(_) => (
            "utilization",
            format!("{name} {of} utilization (percentage of request)"),
        ),
        Target::AverageValue(_) => ("usage", format!("{name} {of}")),
    };
    let proposal = match resource(name) {
        Some(resource) => {
            let metric = Metric {
                resource,
                container,
                target,
            };
            replicas::propose(
                &metric,
                seen.samples,
                seen.current,
                seen.behavior,
                seen.now_ms,
            )
        }
        None => Err(format!(
            "unable to get metrics for resource {name}: no metrics returned from resource metrics API"
        )),
    };
    let proposal =
        proposal.map_err(|why| unknown(format!("failed to get {name} {kind}: {why}")))?;
    let mut status = json!({
        "name": name,
        "current": {"averageValue": Quantity::from_milli(proposal.average_milli).to_string()},
    });
    if let Some(utilization) = proposal.utilization {
        status["current"]["averageUtilization"] = json!(utilization);
    }
    if let Some(container) = container {
        status["container"] = json!(container);
    }
    Ok((
        proposal,
        metric,
        json!({"type": spec["type"], field: status}),
    ))
}

fn resource(name: &str) -> Option<Resource> {
    let all = [Resource::Cpu, Resource::Memory];
    all.into_iter().find(|resource| resource.name() == name)
}

fn target(target: &Value) -> Option<Target> {
    let average = quantity::of(&target["averageValue"]).map(|average| average.milli());
    let percent = target["averageUtilization"].as_i64();
    average
        .map(Target::AverageValue)
        .or_else(|| percent.map(Target::Utilization))
}

fn not_served(spec: &Value, kind: &str) -> Unknown {
    let unknown = |reason, whole: String| Unknown {
        reason,
        message: whole.clone(),
        whole,
    };
    let metric = |field: &str| spec[field]["metric"]["name"].as_str().unwrap_or_default();
    let custom =
        "unable to fetch metrics from custom metrics API: no known available metric versions found";
    match kind {
        "Pods" => unknown(
            "FailedGetPodsMetric",
            format!(
                "failed to get pods metric value: unable to get metric {}: {custom}",
                metric("pods")
            ),
        ),
        "Object" => unknown(
            "FailedGetObjectMetric",
            format!(
                "failed to get object metric value: unable to get metric {}: {custom}",
                metric("object")
            ),
        ),
        "External" => unknown(
            "FailedGetExternalMetric",
            format!(
                "failed to get {} external metric value: unable to fetch metrics from external metrics API: the server could not find the requested resource",
                metric("external")
            ),
        ),
        other => unknown(
            "InvalidMetricSourceType",
            format!("unknown metric source type {other:?}"),
        ),
    }
}
