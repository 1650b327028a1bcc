//! A cluster for tests: objects, the scheduler that is told of them, and somebody who does what
//! it decides.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::super::{Decision, Scheduler, Settings, Target};
use crate::core::{
    controllers::world::View,
    kinds::{self, Kind},
    object::{self, Name},
};

/// A cluster.
pub(super) struct Town {
    pub(super) scheduler: Scheduler,
    pub(super) now_ms: u64,
    pub(super) objects: BTreeMap<(&'static str, String, String), Arc<Value>>,
    version: u64,
}

/// A node with 4 cores, 8 GiB and room for 110 pods, and what else is said.
pub(super) fn node(name: &str, more: Value) -> Value {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    });
    merge(&mut node, more);
    node
}

/// A pod of an image in the namespace `default` that asks for nothing, and what else is said of
/// its `spec`.
pub(super) fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
        "status": {"phase": "Pending"},
    });
    merge(&mut pod["spec"], spec);
    pod
}

/// What a pod asks for.
pub(super) fn asks(cpu: &str, memory: &str) -> Value {
    json!({"containers": [{"name": "c", "image": "nginx",
        "resources": {"requests": {"cpu": cpu, "memory": memory}}}]})
}

/// The same pod with labels.
pub(super) fn labelled(mut pod: Value, labels: Value) -> Value {
    pod["metadata"]["labels"] = labels;
    pod
}

pub(super) fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn kind(name: &str) -> &'static Kind {
    let kinds = [
        &kinds::NODES,
        &kinds::PODS,
        &kinds::NAMESPACES,
        &kinds::DISRUPTION_BUDGETS,
    ];
    let mut kinds = kinds.into_iter();
    kinds
        .find(|kind| kind.kind == name)
        .expect("a kind of these tests")
}

/// Where an object of a kind is, if it is not said.
fn namespace_of(of: &str) -> &'static str {
    if kind(of).is_namespaced {
        "default"
    } else {
        ""
    }
}

impl Town {
    pub(super) fn new() -> Town {
        Town::with(Settings::default())
    }

    pub(super) fn with(settings: Settings) -> Town {
        Town {
            scheduler: Scheduler::new(settings),
            now_ms: 1_000_000,
            objects: BTreeMap::new(),
            version: 0,
        }
    }

    /// One with nodes of these names.
    pub(super) fn of_nodes(names: &[&str]) -> Town {
        let mut town = Town::new();
        for name in names {
            town.set("Node", node(name, json!({})));
        }
        town
    }

    pub(super) fn set(&mut self, of: &'static str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let name = name_of(of, &object);
        let object = Arc::new(object);
        self.scheduler.changed(&name, Some(&object));
        self.objects.insert((of, name.namespace, name.name), object);
    }

    pub(super) fn pod(&mut self, pod: Value) {
        self.set("Pod", pod);
    }

    /// A pod that is on a node already.
    pub(super) fn placed(&mut self, mut pod: Value, node: &str) {
        pod["spec"]["nodeName"] = json!(node);
        self.pod(pod);
    }

    pub(super) fn gone(&mut self, of: &'static str, name: &str) {
        let name = Name {
            kind: kind(of),
            namespace: namespace_of(of).to_owned(),
            name: name.to_owned(),
        };
        self.scheduler.changed(&name, None);
        self.objects.remove(&(of, name.namespace, name.name));
    }

    pub(super) fn edit(&mut self, of: &'static str, name: &str, edit: impl FnOnce(&mut Value)) {
        let object = &self.objects[&(of, namespace_of(of).to_owned(), name.to_owned())];
        let mut object = (**object).clone();
        edit(&mut object);
        self.set(of, object);
    }

    pub(super) fn decide(&mut self) -> Vec<Decision> {
        self.scheduler.schedule(10_000, self.now_ms)
    }

    /// What is decided now, in words, and done.
    pub(super) fn turn(&mut self) -> Vec<String> {
        let decisions = self.decide();
        decisions
            .into_iter()
            .map(|decision| self.carry_out(decision))
            .collect()
    }

    /// The same so much later.
    pub(super) fn later(&mut self, ms: u64) -> Vec<String> {
        self.now_ms += ms;
        self.turn()
    }

    fn carry_out(&mut self, decision: Decision) -> String {
        match decision {
            Decision::Bind { pod, node } => {
                self.scheduler.bound(&pod, true, self.now_ms);
                self.edit_target(&pod, |object| object["spec"]["nodeName"] = json!(node));
                format!("{} on {node}", pod.name.name)
            }
            Decision::Unschedulable {
                pod,
                message,
                nominated,
            } => {
                self.edit_target(&pod, |object| tell(object, &message, nominated.as_deref()));
                format!("{}: {message}", pod.name.name)
            }
            Decision::Preempt {
                pod,
                node,
                message,
                victims,
            } => {
                self.edit_target(&pod, |object| tell(object, &message, Some(&node)));
                let names: Vec<&str> = victims.iter().map(|it| it.name.name.as_str()).collect();
                let names = if names.is_empty() {
                    "nobody".to_owned()
                } else {
                    names.join(" ")
                };
                let told = format!("{} preempts {names} on {node}: {message}", pod.name.name);
                for victim in &victims {
                    self.edit_target(victim, |object| {
                        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:01Z");
                    });
                }
                told
            }
        }
    }

    fn edit_target(&mut self, target: &Target, edit: impl FnOnce(&mut Value)) {
        let key = (
            "Pod",
            target.name.namespace.clone(),
            target.name.name.clone(),
        );
        let mut object = (*self.objects[&key]).clone();
        assert_eq!(
            object::meta(&object, "resourceVersion"),
            target.resource_version
        );
        edit(&mut object);
        self.set("Pod", object);
    }
}

fn name_of(of: &str, object: &Value) -> Name {
    Name {
        kind: kind(of),
        namespace: object::namespace(object).to_owned(),
        name: object::name(object).to_owned(),
    }
}

fn tell(object: &mut Value, message: &str, nominated: Option<&str>) {
    object["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": message}]);
    object["status"]["nominatedNodeName"] = json!(nominated);
}

impl View for Town {
    fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let key = (kind.kind, namespace.to_owned(), name.to_owned());
        self.objects.get(&key).cloned()
    }

    fn list(&self, kind: &'static Kind, _: Option<&str>) -> Vec<Arc<Value>> {
        let of_kind = self.objects.iter().filter(|((of, ..), _)| *of == kind.kind);
        of_kind.map(|(_, object)| object.clone()).collect()
    }

    fn by_owner(&self, _: &'static Kind, _: &str) -> Vec<Arc<Value>> {
        Vec::new()
    }
}
