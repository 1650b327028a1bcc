//! How many replicas a metric asks for: as many as bring its average to the target, rounded up
//! (Kubernetes documentation, "Horizontal Pod Autoscaling", "Algorithm details").
//!
//! Pods that are not ready yet, or of which nothing was measured, are first left out; then they
//! are counted so that they dampen the change: as using all that is asked for when the number
//! would sink, nothing when it would grow. If that turns the change around, nothing changes.

use std::sync::Arc;

use serde_json::Value;

use super::behavior::Behavior;
use crate::core::{
    controllers::{conditions, pods},
    object, quantity,
    time::parse_rfc3339,
    usage::{PodUsage, Usage},
};

/// So long after its start a pod's CPU counts only if it is ready: programs that start work hard.
const CPU_INITIALIZATION_MS: u64 = 300_000;
/// A pod that was not ready from its start on, so long, was never ready.
const INITIAL_READINESS_MS: u64 = 30_000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Cpu,
    Memory,
}

impl Resource {
    pub(super) fn name(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
        }
    }
}

/// To what its average is to be brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Percent of what the pods request.
    Utilization(i64),
    /// Thousandths.
    AverageValue(i64),
}

/// A metric of a resource.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric<'a> {
    pub(super) resource: Resource,
    /// Of one container; none: of all of a pod together.
    pub(super) container: Option<&'a str>,
    pub(super) target: Target,
}

/// What a metric asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) replicas: i64,
    /// In percent of what is requested, if that is what counts.
    pub(super) utilization: Option<i64>,
    /// Thousandths.
    pub(super) average_milli: i64,
}

/// A pod, and what it was measured to use.
pub(super) type Sample = (Arc<Value>, Option<Arc<PodUsage>>);

/// How pods count.
#[derive(Default)]
struct Groups {
    ready: Vec<Counted>,
    missing: Vec<Counted>,
    unready: Vec<Counted>,
}

#[derive(Clone, Copy)]
struct Counted {
    milli: i128,
    requested_milli: i128,
}

/// What is, and what is to be.
struct Load {
    is: i128,
    target: i128,
}

impl Load {
    /// Of these pods together.
    fn of(counted: &[Counted], target: Target) -> Result<Load, String> {
        let sum: i128 = counted.iter().map(|one| one.milli).sum();
        match target {
            Target::Utilization(percent) => {
                let requested: i128 = counted.iter().map(|one| one.requested_milli).sum();
                if requested == 0 {
                    return Err("no metrics returned matched known pods".to_owned());
                }
                Ok(Load {
                    is: sum * 100 / requested,
                    target: percent.max(1).into(),
                })
            }
            Target::AverageValue(milli) => Ok(Load {
                is: sum / i128::try_from(counted.len().max(1)).unwrap_or(i128::MAX),
                target: milli.max(1).into(),
            }),
        }
    }

    fn is_within(&self, behavior: &Behavior) -> bool {
        let (up, down) = (
            i128::from(behavior.up.tolerance_milli),
            i128::from(behavior.down.tolerance_milli),
        );
        let is = self.is * 1_000;
        (self.target * (1_000 - down)..=self.target * (1_000 + up)).contains(&is)
    }

    fn direction(&self) -> std::cmp::Ordering {
        self.is.cmp(&self.target)
    }

    /// So many replicas, where there are so many pods.
    fn replicas(&self, pods: usize) -> i64 {
        let all = self.is * i128::try_from(pods).unwrap_or(i128::MAX);
        let wanted = (all + self.target - 1) / self.target;
        i64::try_from(wanted).unwrap_or(i64::MAX)
    }
}

/// What a metric asks for. `samples`: of all pods that are selected.
///
/// # Errors
/// There is nothing to go by, in Kubernetes' words.
pub(super) fn propose(
    metric: &Metric<'_>,
    samples: &[Sample],
    current: i64,
    behavior: &Behavior,
    now_ms: u64,
) -> Result<Proposal, String> {
    let groups = group(metric, samples, now_ms)?;
    let mut counted = groups.ready.clone();
    if counted.is_empty() {
        return Err("did not receive metrics for any ready pods".to_owned());
    }
    let load = Load::of(&counted, metric.target)?;
    let sum: i128 = counted.iter().map(|one| one.milli).sum();
    let average = sum / i128::try_from(counted.len()).unwrap_or(i128::MAX);
    let is_utilization = matches!(metric.target, Target::Utilization(_));
    let proposal = |replicas| Proposal {
        replicas,
        utilization: is_utilization.then(|| i64::try_from(load.is).unwrap_or(i64::MAX)),
        average_milli: i64::try_from(average).unwrap_or(i64::MAX),
    };
    let counts_unready = !groups.unready.is_empty() && load.direction().is_gt();
    if !counts_unready && groups.missing.is_empty() {
        return Ok(proposal(match load.is_within(behavior) {
            true => current,
            false => load.replicas(counted.len()),
        }));
    }
    if load.direction().is_ne() {
        let full = load.direction().is_lt();
        counted.extend(groups.missing.iter().map(|one| Counted {
            milli: if full {
                full_milli(one, metric.target)
            } else {
                0
            },
            ..*one
        }));
    }
    if counts_unready {
        counted.extend(
            groups
                .unready
                .iter()
                .map(|one| Counted { milli: 0, ..*one }),
        );
    }
    let dampened = Load::of(&counted, metric.target)?;
    let replicas = dampened.replicas(counted.len());
    let is_turned = dampened.direction() != load.direction()
        || dampened.direction().is_lt() && replicas > current
        || dampened.direction().is_gt() && replicas < current;
    Ok(proposal(match dampened.is_within(behavior) || is_turned {
        true => current,
        false => replicas,
    }))
}

/// What a pod that nothing is known of is taken to use when the number would sink.
fn full_milli(pod: &Counted, target: Target) -> i128 {
    match target {
        Target::Utilization(percent) => pod.requested_milli * i128::from(percent.max(100)) / 100,
        Target::AverageValue(milli) => milli.into(),
    }
}

fn group(metric: &Metric<'_>, samples: &[Sample], now_ms: u64) -> Result<Groups, String> {
    let name = metric.resource.name();
    let unable = |why: String| format!("unable to get metrics for resource {name}: {why}");
    let measured: Result<Vec<Option<i128>>, String> = samples
        .iter()
        .map(|(pod, usage)| match usage {
            Some(usage) => measured(metric, pod, usage),
            None => Ok(None),
        })
        .collect();
    let measured = measured.map_err(unable)?;
    if measured.iter().all(Option::is_none) {
        return Err(unable(
            "no metrics returned from resource metrics API".to_owned(),
        ));
    }
    let mut groups = Groups::default();
    for ((pod, usage), milli) in samples.iter().zip(measured) {
        let requested_milli = match metric.target {
            Target::Utilization(_) => requested(metric, pod)?,
            Target::AverageValue(_) => 0,
        };
        let counted = Counted {
            milli: milli.unwrap_or_default(),
            requested_milli,
        };
        match pods::phase(pod) {
            _ if object::is_being_deleted(pod) => {}
            "Failed" => {}
            "Pending" => groups.unready.push(counted),
            _ => match usage.as_ref().filter(|_| milli.is_some()) {
                None => groups.missing.push(counted),
                Some(usage) if metric.resource == Resource::Cpu && !counts(pod, usage, now_ms) => {
                    groups.unready.push(counted);
                }
                Some(_) => groups.ready.push(counted),
            },
        }
    }
    Ok(groups)
}

/// Whether what a pod was measured to use of CPUs says what it will use.
fn counts(pod: &Value, usage: &PodUsage, now_ms: u64) -> bool {
    let started = pod["status"]["startTime"].as_str().and_then(parse_rfc3339);
    let ready = conditions::find(&pod["status"], "Ready");
    let (Some(started_ms), Some(ready)) = (started, ready) else {
        return false;
    };
    let since = ready["lastTransitionTime"].as_str().and_then(parse_rfc3339);
    let since_ms = since.unwrap_or_default();
    let is_unready = ready["status"] == "False";
    if started_ms.saturating_add(CPU_INITIALIZATION_MS) > now_ms {
        let measured = usage.earliest().unwrap_or_default();
        // A whole window since it became ready.
        return !is_unready && measured.at_ms >= since_ms.saturating_add(measured.window_ms);
    }
    !is_unready || started_ms.saturating_add(INITIAL_READINESS_MS) <= since_ms
}

/// What was measured of a pod; none if not what is asked about.
///
/// # Errors
/// There is no such container in it.
fn measured(metric: &Metric<'_>, pod: &Value, usage: &PodUsage) -> Result<Option<i128>, String> {
    let milli = |usage: &Usage| match metric.resource {
        // Kubernetes counts thousandths, rounded up.
        Resource::Cpu => i128::from(usage.cpu_nanocores.div_ceil(1_000_000)),
        Resource::Memory => i128::from(usage.memory_bytes) * 1_000,
    };
    let Some(container) = metric.container else {
        return Ok(Some(usage.containers.values().map(milli).sum()));
    };
    let lists = ["containers", "initContainers"].map(|list| &pod["spec"][list]);
    let mut containers = lists.into_iter().flat_map(object::items);
    let found = usage.containers.get(container);
    if found.is_none() && !containers.any(|one| one["name"] == container) {
        return Err(format!(
            "failed to get container metrics: container {container} not present in metrics for pod {}/{}",
            usage.namespace, usage.name
        ));
    }
    Ok(found.map(milli))
}

/// What a pod requests of the resource, in thousandths.
fn requested(metric: &Metric<'_>, pod: &Value) -> Result<i128, String> {
    let spec = &pod["spec"];
    let name = metric.resource.name();
    let of = |requests: &Value| quantity::of(&requests["requests"][name]);
    if let (None, Some(of_pod)) = (metric.container, of(&spec["resources"])) {
        return Ok(of_pod.milli().into());
    }
    let sidecars = object::items(&spec["initContainers"]);
    let sidecars = sidecars.filter(|container| container["restartPolicy"] == "Always");
    let mut sum = 0;
    for container in object::items(&spec["containers"]).chain(sidecars) {
        let own = container["name"].as_str().unwrap_or_default();
        if metric.container.is_none_or(|meant| meant == own) {
            let requested = of(&container["resources"]).ok_or_else(|| {
                let pod = object::name(pod);
                format!("missing request for {name} in container {own} of Pod {pod}")
            })?;
            sum += i128::from(requested.milli());
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
