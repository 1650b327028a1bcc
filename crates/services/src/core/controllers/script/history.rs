//! Random histories of one Deployment. Plans are carried out step by step among one another, from
//! views that are behind, by leaders that end in the middle; pods come up, fail and go; sizes and
//! templates change. At each step the bounds of the rollout hold, and in the end all is as wanted.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    cluster::{Cluster, deployment, set_ready},
    flights::Flights,
};
use crate::core::{
    controllers::{
        pods,
        world::{Step, View},
    },
    kinds::{DEPLOYMENTS, PODS, REPLICA_SETS, SERVICES},
    lifecycle::Deletion,
    object::{self, Name},
    time::format_rfc3339,
};

#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A task is planned for, from a view that is so far behind.
    Plan(usize, usize),
    /// The next step of a plan is done.
    Do(usize),
    /// A pod's agent goes on.
    Agent(usize),
    Unready(usize),
    Fail(usize),
    DeletePod(usize),
    DeleteSet(usize),
    Scale(i64),
    Template(usize),
    Pause(bool),
    Time(u64),
    /// The leader ends, and another one begins.
    Lead,
}

/// How the Deployment rolls.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) replicas: i64,
    pub(super) max_surge: i64,
    pub(super) max_unavailable: i64,
    pub(super) min_ready_s: u64,
    pub(super) is_recreate: bool,
}

pub(super) struct History {
    cluster: Cluster,
    shape: Shape,
    flights: Flights,
    /// Something other than a rollout is going on, as at the very beginning, so that its bounds
    /// need not hold.
    is_disturbed: bool,
}

impl History {
    pub(super) fn new(shape: Shape) -> History {
        let mut cluster = Cluster::new();
        let strategy = match shape.is_recreate {
            true => json!({"type": "Recreate"}),
            false => json!({"type": "RollingUpdate", "rollingUpdate": {
                "maxSurge": shape.max_surge, "maxUnavailable": shape.max_unavailable,
            }}),
        };
        let spec = [
            ("strategy", strategy),
            ("minReadySeconds", json!(shape.min_ready_s)),
        ];
        let web = deployment("web", "image-0", shape.replicas, &spec);
        cluster.create(&DEPLOYMENTS, web).unwrap();
        let service = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        });
        cluster.create(&SERVICES, service).unwrap();
        History {
            cluster,
            shape,
            flights: Flights::default(),
            is_disturbed: true,
        }
    }

    pub(super) fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Plan(task, lag) => {
                self.flights.plan(&mut self.cluster, task, lag);
            }
            Happening::Do(flight) => self.step(flight),
            Happening::Agent(pod) => {
                if let Some(pod) = self.pod(pod) {
                    self.cluster.agent(&pod);
                }
            }
            Happening::Unready(pod) => self.disturb(pod, |pod, now| set_ready(pod, false, now)),
            Happening::Fail(pod) => self.disturb(pod, |pod, _| {
                pod["status"]["phase"] = json!("Failed");
            }),
            Happening::DeletePod(pod) => {
                if let Some(pod) = self.pod(pod) {
                    self.is_disturbed = true;
                    let name = Name::of(&PODS, &pod);
                    self.cluster.delete(&name, &Deletion::default()).unwrap();
                }
            }
            Happening::DeleteSet(set) => {
                let sets = self.cluster.list(&REPLICA_SETS, None);
                if let Some(set) = sets.get(set) {
                    self.is_disturbed = true;
                    let name = Name::of(&REPLICA_SETS, set);
                    self.cluster.delete(&name, &Deletion::default()).unwrap();
                }
            }
            Happening::Scale(replicas) => {
                self.is_disturbed = true;
                self.shape.replicas = replicas;
                self.set("replicas", json!(replicas));
            }
            Happening::Template(number) => {
                let image = format!("image-{number}");
                self.cluster.change(&DEPLOYMENTS, "web", |web| {
                    web["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
                });
            }
            Happening::Pause(is_paused) => self.set("paused", json!(is_paused)),
            // Plans are carried out in no time.
            Happening::Time(_) if !self.flights.is_empty() => {}
            Happening::Time(seconds) => self.cluster.pass(seconds * 1_000),
            Happening::Lead => {
                self.flights.end();
                self.cluster.past.clear();
                self.cluster.restart();
            }
        }
    }

    fn set(&mut self, field: &str, value: Value) {
        let change = |web: &mut Value| web["spec"][field] = value;
        self.cluster.change(&DEPLOYMENTS, "web", change);
    }

    fn pod(&self, at: usize) -> Option<Arc<Value>> {
        self.cluster.list(&PODS, None).get(at).cloned()
    }

    fn disturb(&mut self, at: usize, change: impl FnOnce(&mut Value, &str)) {
        let Some(pod) = self.pod(at) else {
            return;
        };
        self.is_disturbed = true;
        let now = format_rfc3339(self.cluster.now_ms);
        let change = |pod: &mut Value| change(pod, &now);
        self.cluster.change(&PODS, object::name(&pod), change);
    }

    fn step(&mut self, at: usize) {
        let before = Counts::of(&self.cluster, &self.shape);
        if let Some((_, step)) = self.flights.step(&mut self.cluster, at) {
            self.check(&before, &step);
        }
    }

    /// No step leads out of the bounds.
    fn check(&mut self, before: &Counts, step: &Step) {
        let after = Counts::of(&self.cluster, &self.shape);
        if self.is_disturbed {
            self.is_disturbed = !self.is_calm(&after);
            return;
        }
        let shape = &self.shape;
        if shape.is_recreate {
            assert!(
                after.templates <= before.templates.max(1),
                "two at once: {step:?}"
            );
            return;
        }
        let most = shape.replicas + shape.max_surge;
        assert!(
            after.active <= most,
            "too many: {before:?} {after:?} {step:?}"
        );
        let unavailable = shape.max_unavailable.min(shape.replicas);
        let least = shape.replicas - unavailable;
        assert!(
            after.available >= least,
            "too few: {before:?} {after:?} {step:?}"
        );
    }

    /// Whether all that disturbed is over.
    fn is_calm(&self, counts: &Counts) -> bool {
        let web = self.cluster.get(&DEPLOYMENTS, "default", "web").unwrap();
        let sets = self.cluster.list(&REPLICA_SETS, None);
        let wanted: i64 = sets
            .iter()
            .filter_map(|set| set["spec"]["replicas"].as_i64())
            .sum();
        self.flights.is_empty()
            && self.cluster.queue.is_empty()
            && counts.available == self.shape.replicas
            && counts.active == wanted
            && wanted == self.shape.replicas
            && web["status"]["updatedReplicas"]
                .as_i64()
                .unwrap_or_default()
                == wanted
    }

    /// Everything comes to rest.
    pub(super) fn settle(&mut self) {
        while !self.flights.is_empty() {
            self.step(0);
        }
        for _ in 0..200 {
            let before = self.cluster.now.revision;
            self.cluster.work();
            for pod in self.cluster.list(&PODS, None) {
                if !pods::has_ended(&pod) {
                    self.cluster.agent(&pod);
                }
            }
            self.cluster.pass(6_000);
            if before == self.cluster.now.revision && self.cluster.queue.is_empty() {
                break;
            }
        }
        self.is_disturbed = false;
    }

    /// In the end all is as it is wanted, and stays so.
    pub(super) fn finish(mut self) {
        self.set("paused", json!(false));
        self.settle();
        self.cluster.pass(1_000_000);
        self.cluster.work();
        self.cluster.assert_at_rest();
        self.assert_wanted();
    }

    fn assert_wanted(&self) {
        let web = self.cluster.get(&DEPLOYMENTS, "default", "web").unwrap();
        let image = &web["spec"]["template"]["spec"]["containers"][0]["image"];
        let pods = self.cluster.list(&PODS, None);
        let active: Vec<_> = pods.iter().filter(|pod| pods::is_active(pod)).collect();
        assert_eq!(active.len() as i64, self.shape.replicas);
        for pod in &active {
            assert!(pods::is_ready(pod));
            assert_eq!(pod["spec"]["containers"][0]["image"], *image);
        }
        let number = |field: &str| web["status"][field].as_i64().unwrap_or_default();
        for field in [
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
        ] {
            assert_eq!(number(field), self.shape.replicas, "{field} of {web}");
        }
        assert_eq!(
            web["status"]["observedGeneration"],
            web["metadata"]["generation"]
        );
        let conditions = web["status"]["conditions"].as_array().unwrap();
        let progressing = conditions.iter().find(|one| one["type"] == "Progressing");
        assert_eq!(progressing.unwrap()["reason"], "NewReplicaSetAvailable");
    }
}

#[derive(Debug)]
struct Counts {
    active: i64,
    available: i64,
    /// Of how many templates pods may run.
    templates: usize,
}

impl Counts {
    fn of(cluster: &Cluster, shape: &Shape) -> Counts {
        let mut counts = Counts {
            active: 0,
            available: 0,
            templates: 0,
        };
        let mut images = BTreeSet::new();
        for pod in cluster.list(&PODS, None) {
            if pods::is_active(&pod) {
                let is_available = pods::is_available(&pod, shape.min_ready_s, cluster.now_ms);
                counts.active += 1;
                counts.available += i64::from(is_available);
            }
            if !pods::has_ended(&pod) {
                images.insert(pod["spec"]["containers"][0]["image"].to_string());
            }
        }
        counts.templates = images.len();
        counts
    }
}
