//! What must hold, read from what happened.

use std::collections::{BTreeMap, BTreeSet};

use atoll_services::core::object;
use atoll_world::clock::Instant;
use serde_json::Value;

use super::{
    history::{History, Run, Told},
    workloads::{WEB, has_ended, is_true},
};

/// A Deployment may have pods by what it said so long ago.
const LAG: std::time::Duration = std::time::Duration::from_secs(2);

/// From when until when a rollout was looked at, while nothing was wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calm {
    pub(super) from: i64,
    pub(super) to: i64,
    /// So many pods have to be ready all the time.
    pub(super) floor: usize,
}

/// Everything that must hold at every moment.
pub(super) fn check(history: &History, calms: &[Calm]) -> Vec<String> {
    history.look(|told| {
        let mut violations = told.violations.clone();
        violations.extend(one_place(history, told));
        let walk = Walk::default().through(told, calms);
        violations.extend(walk.violations);
        violations
    })
}

/// How often a node got the taint that drives its pods away.
pub(super) fn given_up(told: &Told) -> usize {
    let mut driving = BTreeMap::new();
    let mut count = 0;
    for ((_, key), written) in &told.written {
        if let Some(node) = key.strip_prefix("core/nodes/") {
            let taints = written.object.as_ref().map(|node| &node["spec"]["taints"]);
            let mut taints = taints.into_iter().flat_map(object::items);
            let drives = taints.any(|taint| taint["effect"] == "NoExecute");
            let drove = driving.insert(node, drives).unwrap_or(false);
            count += usize::from(drives && !drove);
        }
    }
    count
}

/// No pod runs twice at once: neither on two machines, nor as two pods of one name, nor as two
/// attempts of one container.
fn one_place(history: &History, told: &Told) -> Vec<String> {
    let mut by_name: BTreeMap<(&str, &str), Vec<&Run>> = BTreeMap::new();
    for run in &told.runs {
        let key = (run.name(), &*run.container);
        by_name.entry(key).or_default().push(run);
    }
    let mut violations = Vec::new();
    for runs in by_name.values_mut() {
        runs.sort_by_key(|run| run.began);
        for pair in runs.windows(2) {
            let [one, other] = pair else { continue };
            let is_over = |end: Instant| end <= other.began;
            // What is ended and begun at the same moment does not run twice.
            if one.ended.is_some_and(is_over) || other.ended == Some(other.began) {
                continue;
            }
            let tell = |run: &Run| {
                format!(
                    "{} on node {} as attempt {} from {:?} to {:?}",
                    run.uid(),
                    run.at,
                    run.number,
                    history.since(run.began),
                    run.ended.map(|ended| history.since(ended)),
                )
            };
            violations.push(format!(
                "nothing runs twice at once: {} ran {} and {}",
                one.name(),
                tell(one),
                tell(other)
            ));
        }
    }
    violations
}

/// Objects as they were at each revision, one after the other.
#[derive(Default)]
struct Walk {
    pods: BTreeMap<String, std::sync::Arc<Value>>,
    /// Which ReplicaSets the Deployment has, by uid.
    replica_sets: BTreeMap<String, String>,
    /// What the Deployment said, and when: so many pods at the most.
    most: Vec<(Instant, usize)>,
    jobs: BTreeMap<String, Counted>,
    violations: Vec<String>,
}

/// A Job.
#[derive(Default)]
struct Counted {
    succeeded: u64,
    /// Its pods that have succeeded, by uid.
    pods: BTreeSet<String>,
}

impl Walk {
    fn through(mut self, told: &Told, calms: &[Calm]) -> Self {
        for ((revision, key), written) in &told.written {
            let parts: Vec<&str> = key.split('/').collect();
            let (kind, name) = match parts[..] {
                [_, kind, .., name] => (kind, name),
                _ => continue,
            };
            match kind {
                "deployments" if name == WEB => {
                    if let Some(object) = &written.object {
                        self.most.push((written.at, most(object)));
                    }
                }
                "replicasets" => self.replica_set(name, written.object.as_deref()),
                "jobs" => self.job(*revision, name, written.object.as_deref()),
                "pods" => {
                    let was_there = self.pods.contains_key(name);
                    match &written.object {
                        Some(pod) => {
                            self.count(pod);
                            self.pods.insert(name.to_owned(), pod.clone());
                        }
                        None => {
                            self.pods.remove(name);
                        }
                    }
                    if !was_there && written.object.is_some() {
                        self.surplus(*revision, written.at, name);
                    }
                    for calm in calms
                        .iter()
                        .filter(|it| (it.from..=it.to).contains(revision))
                    {
                        self.floor(*revision, calm.floor);
                    }
                }
                _ => {}
            }
        }
        self
    }

    fn replica_set(&mut self, name: &str, object: Option<&Value>) {
        let Some(object) = object else { return };
        let owner = object::controller(object);
        if owner.is_some_and(|owner| owner["kind"] == "Deployment" && owner["name"] == WEB) {
            let uid = object::uid(object).to_owned();
            self.replica_sets.insert(uid, name.to_owned());
        }
    }

    /// The Deployment's pods that are not on their way out.
    fn of_deployment(&self) -> impl Iterator<Item = &Value> {
        let pods = self.pods.values().map(|pod| &**pod);
        pods.filter(|pod| {
            let uid = object::controller(pod).and_then(|owner| owner["uid"].as_str());
            let is_its = uid.is_some_and(|uid| self.replica_sets.contains_key(uid));
            is_its && !object::is_being_deleted(pod) && !has_ended(pod)
        })
    }

    /// A pod was made.
    fn surplus(&mut self, revision: i64, at: Instant, name: &str) {
        let count = self.of_deployment().count();
        let lately = self.most.iter().rev();
        // What was said before counts until what came after it is older than that.
        let mut most = 0;
        for (said, pods) in lately {
            most = most.max(*pods);
            if *said + LAG < at {
                break;
            }
        }
        let is_its = self.of_deployment().any(|pod| object::name(pod) == name);
        if is_its && count > most {
            self.violations.push(format!(
                "a Deployment has no more pods than it may: {count} with {name} at revision {revision}, {most} allowed"
            ));
        }
    }

    fn floor(&mut self, revision: i64, floor: usize) {
        let ready = self
            .of_deployment()
            .filter(|pod| is_true(pod, "Ready"))
            .count();
        if ready < floor {
            self.violations.push(format!(
                "a rollout keeps pods ready: {ready} at revision {revision}, {floor} wanted"
            ));
        }
    }

    /// Notes of which Job a pod has succeeded.
    fn count(&mut self, pod: &Value) {
        let owner = object::controller(pod).filter(|owner| owner["kind"] == "Job");
        let Some(name) = owner.and_then(|owner| owner["name"].as_str()) else {
            return;
        };
        if pod["status"]["phase"] == "Succeeded" {
            let job = self.jobs.entry(name.to_owned()).or_default();
            job.pods.insert(object::uid(pod).to_owned());
        }
    }

    fn job(&mut self, revision: i64, name: &str, object: Option<&Value>) {
        let Some(object) = object else { return };
        let wanted = object["spec"]["completions"].as_u64().unwrap_or(0);
        let status = &object["status"];
        let uncounted = &status["uncountedTerminatedPods"]["succeeded"];
        let counted = status["succeeded"].as_u64().unwrap_or(0);
        let all = counted + object::items(uncounted).count() as u64;
        let job = self.jobs.entry(name.to_owned()).or_default();
        let (before, pods) = (job.succeeded, job.pods.len() as u64);
        job.succeeded = counted;
        if counted < before || all > pods || counted > wanted {
            self.violations.push(format!(
                "a Job counts each pod once: {name} has {counted} of {wanted} at revision {revision}, {before} before; {pods} pods have succeeded, with {uncounted} to be counted"
            ));
        }
    }
}

/// How many pods a Deployment may have at the most.
fn most(deployment: &Value) -> usize {
    let spec = &deployment["spec"];
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let surge = number(&spec["strategy"]["rollingUpdate"]["maxSurge"]);
    usize::try_from(number(&spec["replicas"]) + surge).unwrap_or(usize::MAX)
}
