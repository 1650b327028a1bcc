//! The pods that a Job has and those that it wants: which are deleted, which are made.
//!
//! There are never more active pods than wanted, and in one plan pods are either deleted or made.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    super::{
        owners, pods,
        world::{self, BURST, Event, Step, View},
    },
    COMPLETION_INDEX, COMPONENT, FINALIZER, backoff,
    end::Verdict,
    is_tracked,
    policy::{self, Action},
    spec::Spec,
    tally::{FAILURES, IGNORED_FAILURES, Tally, annotated, failures_before, is_stopping},
    untracked,
};
use crate::core::{
    kinds::{self, JOBS, PODS},
    object,
    time::parse_rfc3339,
};

/// The variable that tells a program its index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// What to do about pods, and in how many milliseconds there may be more to do.
#[derive(Default)]
pub(super) struct Doing {
    pub(super) steps: Vec<Step>,
    pub(super) again_in_ms: Option<u64>,
}

impl Doing {
    fn again_in(&mut self, ms: u64) {
        let soonest = self.again_in_ms.into_iter().chain([ms]).min();
        self.again_in_ms = soonest;
    }
}

/// What to do about pods.
pub(super) fn steps(
    view: &dyn View,
    spec: &Spec<'_>,
    job: &Value,
    owned: &[Arc<Value>],
    tally: &Tally,
    verdict: Option<&Verdict>,
    now_ms: u64,
) -> Doing {
    let active: Vec<&Arc<Value>> = owned.iter().filter(|pod| pods::is_active(pod)).collect();
    if verdict.is_some() {
        let mut surplus = active;
        // The others are noted first.
        surplus.retain(|pod| !is_tracked(pod) || tally.is_released(pod));
        return delete(job, tally, surplus);
    }
    if object::is_being_deleted(job) {
        return Doing::default();
    }
    let wanted = wanted(spec, tally, active.len() as u64);
    let surplus = surplus(spec, &active, wanted);
    if !surplus.is_empty() {
        return delete(job, tally, surplus);
    }
    let stopping = owned.iter().filter(|pod| is_stopping(pod));
    let in_place = match spec.replaces_ended_only {
        true => active.len() + stopping.count(),
        false => active.len(),
    };
    let missing = wanted.saturating_sub(in_place as u64);
    if missing == 0 || is_namespace_ending(view, job) {
        return Doing::default();
    }
    let count = usize::try_from(missing).unwrap_or(BURST).min(BURST);
    create(view, spec, job, owned, tally, count, now_ms)
}

fn is_namespace_ending(view: &dyn View, job: &Value) -> bool {
    let space = view.get(&kinds::NAMESPACES, "", object::namespace(job));
    space.is_some_and(|space| object::is_being_deleted(&space))
}

/// How many pods are to be active.
fn wanted(spec: &Spec<'_>, tally: &Tally, active: u64) -> u64 {
    let succeeded = tally.succeeded(spec);
    match spec.completions {
        _ if spec.is_suspended => 0,
        Some(completions) => completions.saturating_sub(succeeded).min(spec.parallelism),
        // One has done the work: the others end by themselves.
        None if succeeded > 0 => active.min(spec.parallelism),
        None => spec.parallelism,
    }
}

/// The active pods that are too many: those that nobody would count, those of no index or of one
/// that has a better pod, and then those that have done the least.
fn surplus<'a>(spec: &Spec<'_>, active: &[&'a Arc<Value>], wanted: u64) -> Vec<&'a Arc<Value>> {
    let mut kept: Vec<&Arc<Value>> = active.to_vec();
    kept.sort_by_cached_key(|pod| rank(pod));
    let mut surplus = Vec::new();
    let mut indexes = BTreeSet::new();
    // The best first.
    for pod in std::mem::take(&mut kept).into_iter().rev() {
        let is_double = spec.is_indexed
            && spec
                .index_of(pod)
                .is_none_or(|index| indexes.contains(&index));
        let is_full = kept.len() as u64 >= wanted;
        if !is_tracked(pod) || is_double || is_full {
            surplus.push(pod);
            continue;
        }
        indexes.extend(spec.index_of(pod));
        kept.push(pod);
    }
    surplus.reverse();
    surplus
}

/// The more a pod has done, the higher.
fn rank(pod: &Value) -> impl Ord + use<> {
    let is_assigned = pod["spec"]["nodeName"]
        .as_str()
        .is_some_and(|it| !it.is_empty());
    let created_ms = parse_rfc3339(object::meta(pod, "creationTimestamp"));
    (
        is_assigned,
        pods::phase(pod) == "Running",
        pods::is_ready(pod),
        // Who waited for longer has done more.
        std::cmp::Reverse(pods::ready_since_ms(pod)),
        std::cmp::Reverse(created_ms),
        object::name(pod).to_owned(),
    )
}

/// Deletes pods that count no more: they lose the finalizer first, if they have not.
fn delete(job: &Value, tally: &Tally, surplus: Vec<&Arc<Value>>) -> Doing {
    let about = world::reference(&JOBS, job);
    let steps = surplus.into_iter().take(BURST).flat_map(|pod| {
        let is_held = is_tracked(pod) && !tally.is_released(pod);
        let message = format!("Deleted pod: {}", object::name(pod));
        let event = Event::normal(COMPONENT, about.clone(), "SuccessfulDelete", message);
        let released = is_held.then(|| untracked(pod));
        released
            .into_iter()
            .chain([world::delete(&PODS, pod), event])
    });
    Doing {
        steps: steps.collect(),
        again_in_ms: None,
    }
}

fn create(
    view: &dyn View,
    spec: &Spec<'_>,
    job: &Value,
    owned: &[Arc<Value>],
    tally: &Tally,
    count: usize,
    now_ms: u64,
) -> Doing {
    if spec.backoff_limit_per_index.is_none()
        && let Some(wait_ms) = backoff::of_job(spec, owned, now_ms)
    {
        return Doing {
            steps: Vec::new(),
            again_in_ms: Some(wait_ms),
        };
    }
    let mut doing = Doing::default();
    let mut new: Vec<Value> = Vec::new();
    if spec.is_indexed {
        for index in pending(spec, owned, tally) {
            let failed = tally.to_replace.get(&index);
            match failed.and_then(|pod| wait_ms(pod, now_ms)) {
                _ if new.len() == count => break,
                Some(ms) => doing.again_in(ms),
                None => new.push(new_pod_of_index(view, spec, job, index, failed)),
            }
        }
    } else {
        let names = owners::free_names(job, |name| is_taken(view, job, name));
        new.extend(names.take(count).map(|name| new_pod(job, &name)));
    }
    let about = world::reference(&JOBS, job);
    doing.steps = new
        .into_iter()
        .flat_map(|object| {
            let message = format!("Created pod: {}", object::name(&object));
            let event = Event::normal(COMPONENT, about.clone(), "SuccessfulCreate", message);
            let kind = &PODS;
            [Step::Create { kind, object }, event]
        })
        .collect();
    doing
}

fn is_taken(view: &dyn View, job: &Value, name: &str) -> bool {
    view.get(&PODS, object::namespace(job), name).is_some()
}

/// How long an index whose pod has failed waits for the next one.
fn wait_ms(failed: &Value, now_ms: u64) -> Option<u64> {
    let failures = failures_before(failed).saturating_add(1);
    backoff::wait_ms(failures, backoff::ended_ms(failed), now_ms)
}

/// The indexes that need a pod, in order.
fn pending(
    spec: &Spec<'_>,
    owned: &[Arc<Value>],
    tally: &Tally,
) -> impl Iterator<Item = u32> + use<> {
    let is_in_place =
        |pod: &&Arc<Value>| pods::is_active(pod) || spec.replaces_ended_only && is_stopping(pod);
    let in_place = owned.iter().filter(is_in_place);
    let mut over = tally
        .completed
        .with(in_place.filter_map(|pod| spec.index_of(pod)));
    if let Some(failed) = &tally.failed_indexes {
        over = over.union(failed);
    }
    let missing: Vec<u32> = over.missing(spec.indexes()).take(BURST).collect();
    missing.into_iter()
}

/// A pod of the template.
fn new_pod(job: &Value, name: &str) -> Value {
    let template = &job["spec"]["template"];
    let mut pod = json!({
        "apiVersion": PODS.api_version(),
        "kind": PODS.kind,
        "metadata": {
            "name": name,
            "generateName": owners::base_name(job),
            "namespace": object::namespace(job),
            "ownerReferences": [owners::controller_reference(&JOBS, job)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations"] {
        if let Some(value) = template["metadata"].get(field) {
            pod["metadata"][field] = value.clone();
        }
    }
    let others = object::finalizers(template).filter(|one| *one != FINALIZER);
    let finalizers: Vec<&str> = others.chain([FINALIZER]).collect();
    pod["metadata"]["finalizers"] = json!(finalizers);
    pod
}

/// A pod for an index: it knows which in its name, its host name, a label, an annotation and a
/// variable.
fn new_pod_of_index(
    view: &dyn View,
    spec: &Spec<'_>,
    job: &Value,
    index: u32,
    failed: Option<&Arc<Value>>,
) -> Value {
    let namesake = namesake(job, index);
    let name = owners::free_names(&namesake, |name| is_taken(view, job, name)).next();
    let mut pod = new_pod(job, &name.expect("there are more names than pods"));
    pod["metadata"]["generateName"] = json!(owners::base_name(&namesake));
    mark(&mut pod, "labels", COMPLETION_INDEX, u64::from(index));
    mark(&mut pod, "annotations", COMPLETION_INDEX, u64::from(index));
    if spec.backoff_limit_per_index.is_some() {
        let (failures, ignored) = failures_with(spec, failed);
        mark(&mut pod, "annotations", FAILURES, failures);
        if ignored > 0 {
            mark(&mut pod, "annotations", IGNORED_FAILURES, ignored);
        }
    }
    pod["spec"]["hostname"] = json!(format!("{}-{index}", object::name(job)));
    for list in ["initContainers", "containers"] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(tell_index);
    }
    pod
}

/// What the names of an index's pods follow from: however long the Job's name is, they have the
/// index in them.
fn namesake(job: &Value, index: u32) -> Value {
    /// As much as goes before what is put behind it.
    const NAME_LENGTH_MAX: usize = 57;
    let (name, ending) = (object::name(job), format!("-{index}"));
    let end = name.floor_char_boundary(NAME_LENGTH_MAX - ending.len());
    let uid = format!("{}/{index}", object::uid(job));
    let name = format!("{}{ending}", &name[..end]);
    json!({"metadata": {"name": name, "uid": uid, "resourceVersion": owners::revision(job)}})
}

fn mark(pod: &mut Value, field: &str, key: &str, number: u64) {
    pod["metadata"][field][key] = json!(number.to_string());
}

/// How often pods of an index have failed, with the last one: those that count, and others.
fn failures_with(spec: &Spec<'_>, failed: Option<&Arc<Value>>) -> (u64, u64) {
    let Some(failed) = failed else {
        return (0, 0);
    };
    let (count, ignored) = (
        annotated(failed, FAILURES),
        annotated(failed, IGNORED_FAILURES),
    );
    match policy::of_failure(spec, failed) {
        Action::Ignore => (count, ignored.saturating_add(1)),
        _ => (count.saturating_add(1), ignored),
    }
}

/// A container learns its index from the label, unless it has such a variable already.
fn tell_index(container: &mut Value) {
    if object::items(&container["env"]).any(|variable| variable["name"] == INDEX_VARIABLE) {
        return;
    }
    let path = format!("metadata.labels['{COMPLETION_INDEX}']");
    let variable = json!({
        "name": INDEX_VARIABLE,
        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}},
    });
    match container["env"].as_array_mut() {
        Some(env) => env.push(variable),
        None => container["env"] = json!([variable]),
    }
}
