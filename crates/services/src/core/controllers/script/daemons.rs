//! Random histories of one DaemonSet. Plans are carried out step by step among one another, from
//! views that are behind, by leaders that end in the middle; nodes come, change and go; pods come
//! up, fail and go; templates change. At each step each node has the pods that it may have, an
//! update keeps to its bounds, and in the end all is as wanted ([`bounds`]).

mod bounds;
mod properties;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    cluster::{Cluster, set_ready},
    flights::Flights,
};
use crate::core::{
    controllers::{pods, world::View},
    kinds::{DAEMON_SETS, NODES, PODS},
    lifecycle::Deletion,
    object::{self, Name},
    time::format_rfc3339,
};

/// Which nodes there can be.
const NODES_MAX: usize = 5;

#[derive(Clone, Debug)]
enum Happening {
    /// A task is planned for, from a view that is so far behind.
    Plan(usize, usize),
    /// The next step of a plan is done.
    Do(usize),
    /// A pod's agent goes on.
    Agent(usize),
    Unready(usize),
    Fail(usize),
    DeletePod(usize),
    /// A pod that fits appears on a node.
    Stranger(usize),
    Template(usize),
    /// A node is made, or is gone.
    Node(usize),
    /// A node has a taint of this effect, or none.
    Taint(usize, Option<&'static str>),
    Time(u64),
    /// The leader ends, and another one begins.
    Lead,
    /// Nothing happens until all is done.
    Rest,
}

/// How the DaemonSet rolls.
#[derive(Clone, Debug)]
struct Shape {
    max_surge: usize,
    max_unavailable: usize,
    min_ready_s: u64,
    is_on_delete: bool,
}

struct History {
    cluster: Cluster,
    shape: Shape,
    flights: Flights,
    /// Something other than an update is going on, as at the very beginning, so that its bounds
    /// need not hold.
    is_disturbed: bool,
    /// Pods that others made may be too many.
    has_strangers: bool,
}

fn name(node: usize) -> String {
    format!("n{node}")
}

impl History {
    fn new(shape: Shape) -> History {
        let mut cluster = Cluster::new();
        for node in 0..3 {
            cluster
                .create(&NODES, json!({"metadata": {"name": name(node)}}))
                .unwrap();
        }
        let strategy = match shape.is_on_delete {
            true => json!({"type": "OnDelete"}),
            false => json!({"type": "RollingUpdate", "rollingUpdate": {
                "maxSurge": shape.max_surge, "maxUnavailable": shape.max_unavailable,
            }}),
        };
        let set = json!({
            "metadata": {"name": "logs", "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": {"app": "logs"}},
                "minReadySeconds": shape.min_ready_s,
                "revisionHistoryLimit": 2,
                "updateStrategy": strategy,
                "template": {
                    "metadata": {"labels": {"app": "logs"}},
                    "spec": {"containers": [{"name": "main", "image": "image-0"}]},
                },
            },
        });
        cluster.create(&DAEMON_SETS, set).unwrap();
        History {
            cluster,
            shape,
            flights: Flights::default(),
            is_disturbed: true,
            has_strangers: false,
        }
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Plan(task, lag) => {
                self.flights.plan(&mut self.cluster, task, lag);
            }
            Happening::Do(flight) => self.step(flight),
            Happening::Agent(pod) => {
                if let Some(pod) = self.pod(pod) {
                    self.agent(&pod);
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
            Happening::Stranger(node) => {
                self.is_disturbed = true;
                self.has_strangers = true;
                let pod = json!({
                    "metadata": {
                        "name": format!("stranger-{}", self.cluster.now.revision),
                        "namespace": "default",
                        "labels": {"app": "logs"},
                    },
                    "spec": {
                        "nodeName": name(node),
                        "containers": [{"name": "main", "image": "image-0"}],
                    },
                });
                let _ = self.cluster.create(&PODS, pod);
            }
            Happening::Template(number) => {
                let image = format!("image-{number}");
                self.cluster.change(&DAEMON_SETS, "logs", |set| {
                    set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
                });
            }
            Happening::Node(node) => self.toggle_node(&name(node)),
            Happening::Taint(node, effect) => {
                let name = name(node);
                if self.cluster.get(&NODES, "", &name).is_some() {
                    self.is_disturbed = true;
                    self.cluster.change(&NODES, &name, |node| {
                        node["spec"]["taints"] = match effect {
                            Some(effect) => json!([{"key": "mine", "effect": effect}]),
                            None => Value::Null,
                        };
                    });
                }
            }
            // Plans are carried out in no time.
            Happening::Time(_) if !self.flights.is_empty() => {}
            Happening::Time(seconds) => self.cluster.pass(seconds * 1_000),
            Happening::Lead => {
                self.flights.end();
                self.cluster.past.clear();
                self.cluster.restart();
            }
            Happening::Rest => {
                self.settle();
                self.cluster.assert_at_rest();
            }
        }
    }

    fn toggle_node(&mut self, name: &str) {
        self.is_disturbed = true;
        match self.cluster.get(&NODES, "", name) {
            Some(node) => {
                let name = Name::of(&NODES, &node);
                self.cluster.delete(&name, &Deletion::default()).unwrap();
            }
            None => {
                let node = json!({"metadata": {"name": name}});
                self.cluster.create(&NODES, node).unwrap();
            }
        }
    }

    fn pod(&self, at: usize) -> Option<Arc<Value>> {
        self.cluster.list(&PODS, None).get(at).cloned()
    }

    /// A pod takes a step; one whose node is gone ends.
    fn agent(&mut self, pod: &Value) {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        if !node.is_empty() && self.cluster.get(&NODES, "", node).is_none() {
            let deletion = Deletion {
                grace_s: Some(0),
                ..Deletion::default()
            };
            let _ = self.cluster.delete(&Name::of(&PODS, pod), &deletion);
        } else if !pods::has_ended(pod) {
            self.cluster.agent(pod);
        }
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
        if let Some((_, step)) = self.flights.step(&mut self.cluster, at) {
            self.check(&step);
        }
    }

    /// Everything comes to rest.
    fn settle(&mut self) {
        while !self.flights.is_empty() {
            self.step(0);
        }
        for _ in 0..500 {
            let before = self.cluster.now.revision;
            self.cluster.work();
            for pod in self.cluster.list(&PODS, None) {
                self.agent(&pod);
            }
            if before != self.cluster.now.revision || !self.cluster.queue.is_empty() {
                continue;
            }
            let next_ms = self.cluster.timers.iter().map(|(at, _)| *at).min();
            match next_ms {
                Some(at) => {
                    let ms = at.saturating_sub(self.cluster.now_ms);
                    self.cluster.pass(ms);
                }
                None => return,
            }
        }
        panic!("it never rests");
    }
}
