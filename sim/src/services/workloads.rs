//! What is wanted of the cluster, as manifests; and whether it is so.

use std::collections::{BTreeMap, BTreeSet};

use atoll_control::driver::control::Control;
use atoll_services::{
    core::{
        kinds::{DAEMON_SETS, DEPLOYMENTS, JOBS, Kind, NODES, PODS, STATEFUL_SETS},
        object::{self, Name},
        status::Failure,
    },
    driver::Client,
};
use serde_json::{Value, json};

use super::{history::Told, machines::Machines};

/// The only namespace.
pub(super) const NAMESPACE: &str = "default";
/// Names of what is there from the beginning.
pub(super) const WEB: &str = "web";
pub(super) const DB: &str = "db";
pub(super) const EACH: &str = "each";

pub(super) fn name(kind: &'static Kind, name: &str) -> Name {
    Name {
        kind,
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
}

/// A template of pods that take so long to stop, with these annotations besides.
fn template(app: &str, stop_ms: u64, others: &[(&str, String)]) -> Value {
    let mut annotations = json!({"atoll.dev/simulated-stop-ms": stop_ms.to_string()});
    for (key, value) in others {
        annotations[*key] = json!(value);
    }
    json!({
        "metadata": {"labels": {"app": app}, "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": [{
                "name": "main", "image": "host", "command": ["run"],
                "resources": {"requests": {"cpu": "50m"}},
            }],
        },
    })
}

fn selector(app: &str) -> Value {
    json!({"matchLabels": {"app": app}})
}

/// How a Deployment is to be rolled out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rollout {
    pub(super) replicas: i64,
    pub(super) surge: i64,
    pub(super) unavailable: i64,
}

pub(super) fn deployment(rollout: Rollout, stop_ms: u64) -> Value {
    json!({
        "metadata": {"name": WEB},
        "spec": {
            "replicas": rollout.replicas, "selector": selector(WEB),
            "strategy": {"rollingUpdate": {
                "maxSurge": rollout.surge, "maxUnavailable": rollout.unavailable,
            }},
            "template": template(WEB, stop_ms, &[]),
        },
    })
}

pub(super) fn stateful_set(replicas: i64, is_parallel: bool, stop_ms: u64) -> Value {
    let policy = if is_parallel {
        "Parallel"
    } else {
        "OrderedReady"
    };
    json!({
        "metadata": {"name": DB},
        "spec": {
            "serviceName": DB, "replicas": replicas, "selector": selector(DB),
            "podManagementPolicy": policy, "template": template(DB, stop_ms, &[]),
        },
    })
}

pub(super) fn daemon_set(stop_ms: u64) -> Value {
    json!({
        "metadata": {"name": EACH},
        "spec": {"selector": selector(EACH), "template": template(EACH, stop_ms, &[])},
    })
}

pub(super) fn job(name: &str, completions: i64, is_indexed: bool, run_ms: u64) -> Value {
    let runs = [("atoll.dev/simulated-run-ms", run_ms.to_string())];
    let mut template = template(name, 0, &runs);
    template["spec"]["restartPolicy"] = json!("Never");
    let mode = if is_indexed { "Indexed" } else { "NonIndexed" };
    json!({
        "metadata": {"name": name},
        "spec": {
            "completions": completions, "parallelism": 2, "completionMode": mode,
            // What is lost with its node counts as failed.
            "backoffLimit": 1_000, "template": template,
        },
    })
}

/// Everything that is looked at, as one node tells it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(BTreeMap<&'static str, Vec<Value>>);

impl Seen {
    /// Reads it.
    ///
    /// # Errors
    /// Those of the cluster.
    pub(super) async fn read(client: Client<Control>) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        for kind in [
            &DEPLOYMENTS,
            &STATEFUL_SETS,
            &DAEMON_SETS,
            &JOBS,
            &NODES,
            &PODS,
        ] {
            let list = client.list(kind, None).await?;
            seen.0.insert(kind.plural, list.objects);
        }
        Ok(seen)
    }

    pub(super) fn of(&self, kind: &Kind) -> &[Value] {
        self.0.get(kind.plural).map_or(&[], |all| all)
    }

    /// What is not as it is wanted; `away`: machines that are not there.
    pub(super) fn lacks(&self, machines: &Machines, away: &[usize]) -> Vec<String> {
        let mut lacks = Vec::new();
        let kinds = [
            (
                &DEPLOYMENTS,
                &[
                    "replicas",
                    "readyReplicas",
                    "updatedReplicas",
                    "availableReplicas",
                ][..],
            ),
            (
                &STATEFUL_SETS,
                &["replicas", "readyReplicas", "updatedReplicas"],
            ),
            (
                &DAEMON_SETS,
                &[
                    "desiredNumberScheduled",
                    "numberReady",
                    "updatedNumberScheduled",
                ],
            ),
        ];
        for (kind, fields) in kinds {
            for one in self.of(kind) {
                // A DaemonSet's pod bears it that its machine is away.
                if kind == &DAEMON_SETS && !away.is_empty() {
                    continue;
                }
                let status = &one["status"];
                let nodes = machines.all.len() as i64;
                let wanted = one["spec"]["replicas"].as_i64().unwrap_or(nodes);
                let is_so = |field: &&str| status[*field].as_i64().unwrap_or(0) == wanted;
                let is_seen = status["observedGeneration"] == one["metadata"]["generation"];
                if !is_seen || !fields.iter().all(is_so) {
                    lacks.push(format!(
                        "{} {}: {wanted} wanted, {status}",
                        kind.kind,
                        object::name(one)
                    ));
                }
            }
        }
        for job in self.of(&JOBS) {
            let conditions = object::items(&job["status"]["conditions"]);
            let is_complete = |it: &Value| it["type"] == "Complete" && it["status"] == "True";
            if !conditions.into_iter().any(is_complete) {
                lacks.push(format!("Job {}: {}", object::name(job), job["status"]));
            }
        }
        for (at, machine) in machines.all.iter().enumerate() {
            let name = machine.name();
            let node = self
                .of(&NODES)
                .iter()
                .find(|node| object::name(node) == name);
            let is_ready = node.is_some_and(|node| is_true(node, "Ready"));
            if !is_ready && !away.contains(&at) {
                lacks.push(format!("Node {name} is not ready"));
            }
        }
        let away: Vec<String> = away.iter().map(|at| machines.all[*at].name()).collect();
        lacks.extend(self.pods(&away).filter_map(|pod| {
            let is_well = is_true(pod, "Ready") && !object::is_being_deleted(pod);
            (!is_well).then(|| format!("Pod {}: {}", object::name(pod), pod["status"]))
        }));
        machines
            .history
            .look(|told| lacks.extend(self.does_not_run(machines, told, &away)));
        lacks
    }

    /// Pods that are to run, but for those of the DaemonSet on machines that are away.
    fn pods(&self, away: &[String]) -> impl Iterator<Item = &Value> {
        self.of(&PODS).iter().filter(|pod| {
            let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
            let is_away = away.iter().any(|name| name == node);
            let of_set = pod["metadata"]["labels"]["app"] == EACH;
            let bears_it = is_away && of_set;
            !has_ended(pod) && !bears_it
        })
    }

    /// What runs and should not, and what should and does not.
    fn does_not_run(&self, machines: &Machines, told: &Told, away: &[String]) -> Vec<String> {
        let open = told.runs.iter().filter(|run| run.ended.is_none());
        let runs: BTreeSet<(String, &str, &str)> = open
            .map(|run| (machines.all[run.at].name(), run.name(), run.uid()))
            .collect();
        let wanted: BTreeSet<(String, &str, &str)> = self
            .pods(away)
            .map(|pod| {
                let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
                (node.to_owned(), object::name(pod), object::uid(pod))
            })
            .collect();
        let orphans = runs
            .difference(&wanted)
            .map(|it| format!("nobody wants {it:?}, which runs"));
        let missing = wanted
            .difference(&runs)
            .map(|it| format!("{it:?} does not run"));
        orphans.chain(missing).collect()
    }
}

/// Whether a condition is true.
pub(super) fn is_true(object: &Value, condition: &str) -> bool {
    let mut conditions = object::items(&object["status"]["conditions"]);
    conditions.any(|it| it["type"] == condition && it["status"] == "True")
}

/// Whether nothing of a pod runs any more, or ever will.
pub(super) fn has_ended(pod: &Value) -> bool {
    let phase = &pod["status"]["phase"];
    phase == "Succeeded" || phase == "Failed"
}
