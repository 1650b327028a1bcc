//! A pod as the scheduler sees it: read once from its object, and read again only when something
//! changed that matters here.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value};

use super::{
    amounts::{self, Requests},
    node_rule::NodeRule,
    terms::Terms,
};
use crate::core::{
    image, kinds,
    object::{self, Name},
    ports,
    time::parse_rfc3339,
};

/// Whose pods these are.
const SCHEDULER: &str = "default-scheduler";
/// Which framework a pod is a task of; it counts for the framework's share.
pub const FRAMEWORK: &str = "atoll.dev/framework";
/// All addresses of a machine.
pub(super) const ANY_ADDRESS: &str = "0.0.0.0";

/// A port of a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    pub(super) protocol: String,
    pub(super) number: u16,
    pub(super) address: String,
}

/// What names a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A pod.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) object: Arc<Value>,
    pub(super) key: Key,
    pub(super) uid: String,
    /// Where it is; empty if nowhere.
    pub(super) node_name: String,
    /// Where it waits for room that others were asked to leave; empty if nowhere.
    pub(super) nominated: String,
    pub(super) priority: i32,
    /// Whether it may drive others away.
    pub(super) can_preempt: bool,
    pub(super) created_ms: u64,
    /// When it started; when it was made if it did not.
    pub(super) started_ms: u64,
    pub(super) is_terminating: bool,
    /// Whether it will never run again.
    pub(super) has_ended: bool,
    /// Whether it is for this scheduler, now.
    pub(super) is_ours: bool,
    pub(super) requests: Requests,
    pub(super) ports: BTreeSet<Port>,
    pub(super) node_rule: NodeRule,
    /// None: it asks for nothing of others.
    pub(super) terms: Option<Box<Terms>>,
    /// The uid of what controls it; with its like it is spread.
    pub(super) owner_uid: Option<String>,
    /// The framework that it is a task of.
    pub(super) framework: Option<String>,
}

impl Pod {
    /// Reads it.
    pub(super) fn read(object: Arc<Value>) -> Pod {
        let spec = &object["spec"];
        let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
        let key = Key {
            namespace: object::namespace(&object).to_owned(),
            name: object::name(&object).to_owned(),
        };
        let terms = Terms::read(spec, &key.namespace, labels_of(&object));
        let created_ms = parse_rfc3339(object::meta(&object, "creationTimestamp")).unwrap_or(0);
        let started = object["status"]["startTime"]
            .as_str()
            .and_then(parse_rfc3339);
        let is_terminating = object::is_being_deleted(&object);
        let has_ended = has_ended(&object);
        let is_gated = spec["schedulingGates"]
            .as_array()
            .is_some_and(|gates| !gates.is_empty());
        let scheduler = spec["schedulerName"].as_str().unwrap_or_default();
        let node_name = text(&spec["nodeName"]);
        let owner = object::controller(&object).and_then(|owner| owner["uid"].as_str());
        let priority = spec["priority"].as_i64().unwrap_or(0);
        let is_for_us = scheduler.is_empty() || scheduler == SCHEDULER;
        Pod {
            uid: object::uid(&object).to_owned(),
            nominated: text(&object["status"]["nominatedNodeName"]),
            priority: i32::try_from(priority).unwrap_or(0),
            can_preempt: spec["preemptionPolicy"] != "Never",
            created_ms,
            started_ms: started.unwrap_or(created_ms),
            is_terminating,
            has_ended,
            is_ours: is_for_us
                && node_name.is_empty()
                && !is_terminating
                && !has_ended
                && !is_gated,
            requests: amounts::requests(&object),
            ports: ports(&object),
            node_rule: NodeRule::read(spec),
            terms: (!terms.is_empty()).then(|| Box::new(terms)),
            owner_uid: owner.map(str::to_owned),
            framework: object::label(&object, FRAMEWORK).map(str::to_owned),
            node_name,
            key,
            object,
        }
    }

    /// The same pod with a newer object, if nothing changed that was read.
    pub(super) fn with_object(&self, object: &Arc<Value>) -> Option<Pod> {
        let metadata = |field: &str| self.object["metadata"][field] == object["metadata"][field];
        let fields = [
            "uid",
            "labels",
            "annotations",
            "ownerReferences",
            "deletionTimestamp",
        ];
        let status = |field: &str| self.object["status"][field] == object["status"][field];
        let is_same = fields.into_iter().all(metadata)
            && self.object["spec"] == object["spec"]
            && self.has_ended == has_ended(object)
            && status("nominatedNodeName")
            && status("startTime");
        is_same.then(|| Pod {
            object: object.clone(),
            key: self.key.clone(),
            uid: self.uid.clone(),
            node_name: self.node_name.clone(),
            nominated: self.nominated.clone(),
            requests: self.requests.clone(),
            ports: self.ports.clone(),
            node_rule: self.node_rule.clone(),
            terms: self.terms.clone(),
            owner_uid: self.owner_uid.clone(),
            framework: self.framework.clone(),
            ..*self
        })
    }

    /// Whether it makes no difference to anybody which of the two is on a node.
    pub(super) fn counts_like(&self, other: &Pod) -> bool {
        let same = |field: &str| self.object["spec"][field] == other.object["spec"][field];
        self.uid == other.uid
            && self.key == other.key
            && self.is_terminating == other.is_terminating
            && self.priority == other.priority
            && self.requests == other.requests
            && self.ports == other.ports
            && self.owner_uid == other.owner_uid
            && self.framework == other.framework
            && self.labels() == other.labels()
            && same("affinity")
            && same("topologySpreadConstraints")
    }

    /// Its labels.
    pub(super) fn labels(&self) -> Option<&Map<String, Value>> {
        labels_of(&self.object)
    }

    /// What others name it by.
    pub(super) fn name(&self) -> Name {
        Name {
            kind: &kinds::PODS,
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
        }
    }

    /// Whether it uses room where it is.
    pub(super) fn is_placed(&self) -> bool {
        !self.node_name.is_empty() && !self.has_ended
    }
}

pub(super) fn labels_of(object: &Value) -> Option<&Map<String, Value>> {
    object["metadata"]["labels"].as_object()
}

fn has_ended(object: &Value) -> bool {
    matches!(
        object["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    )
}

/// The ports of its machine that it needs for itself: those that it says, and those of
/// containers that share the machine's network.
fn ports(object: &Value) -> BTreeSet<Port> {
    let spec = &object["spec"];
    let list = |field: &str| spec[field].as_array().into_iter().flatten();
    let bears_others = object::annotation(object, ports::FREE) == Some("true");
    let sidecars = list("initContainers").filter(|it| it["restartPolicy"] == "Always");
    let mut ports = BTreeSet::new();
    for container in list("containers").chain(sidecars) {
        let is_process = image::of_container(container).is_none();
        let is_shared = is_process && !bears_others || spec["hostNetwork"] == true;
        for port in container["ports"].as_array().into_iter().flatten() {
            let number = |field: &str| {
                let number = port[field]
                    .as_u64()
                    .and_then(|number| u16::try_from(number).ok());
                number.filter(|number| *number > 0)
            };
            let own = number("containerPort").filter(|_| is_shared);
            let Some(number) = number("hostPort").or(own) else {
                continue;
            };
            let text = |field: &str, absent: &str| {
                let text = port[field].as_str().filter(|text| !text.is_empty());
                text.unwrap_or(absent).to_owned()
            };
            ports.insert(Port {
                protocol: text("protocol", "TCP"),
                number,
                address: match text("hostIP", ANY_ADDRESS).as_str() {
                    "::" => ANY_ADDRESS.to_owned(),
                    address => address.to_owned(),
                },
            });
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_that_wait_for_this_scheduler() {
        let table = [
            (json!({"spec": {}}), true),
            (
                json!({"spec": {"schedulerName": "default-scheduler"}}),
                true,
            ),
            (json!({"spec": {"schedulerName": "other"}}), false),
            (json!({"spec": {"nodeName": "n1"}}), false),
            (json!({"spec": {"schedulingGates": [{"name": "g"}]}}), false),
            (json!({"spec": {"schedulingGates": []}}), true),
            (
                json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                false,
            ),
            (json!({"status": {"phase": "Failed"}}), false),
            (json!({"status": {"phase": "Pending"}}), true),
        ];
        for (object, expected) in table {
            assert_eq!(
                Pod::read(Arc::new(object.clone())).is_ours,
                expected,
                "{object}"
            );
        }
    }

    #[test]
    fn processes_and_host_ports_take_ports_of_their_machine() {
        let of = |object: Value| {
            let ports = Pod::read(Arc::new(object)).ports;
            let text = |port: Port| format!("{}/{}/{}", port.address, port.protocol, port.number);
            ports.into_iter().map(text).collect::<Vec<_>>()
        };
        let pod = |image: &str, port: Value| json!({"spec": {"containers": [{"image": image, "ports": [port]}]}});
        let port = json!({"containerPort": 80});
        assert_eq!(of(pod("", port.clone())), ["0.0.0.0/TCP/80"]);
        assert_eq!(of(pod("host", port.clone())), ["0.0.0.0/TCP/80"]);
        assert!(of(pod("nginx", port.clone())).is_empty());
        let udp =
            json!({"containerPort": 80, "hostPort": 53, "protocol": "UDP", "hostIP": "10.0.0.1"});
        assert_eq!(of(pod("nginx", udp.clone())), ["10.0.0.1/UDP/53"]);
        assert!(of(pod("", json!({"containerPort": 0, "hostPort": 70_000}))).is_empty());
        let mut networked = pod("nginx", port.clone());
        networked["spec"]["hostNetwork"] = json!(true);
        assert_eq!(of(networked), ["0.0.0.0/TCP/80"]);
        // Who bears others' ports still has the host ports that it asks for.
        for (port, expected) in [(port, vec![]), (udp, vec!["10.0.0.1/UDP/53"])] {
            let mut free = pod("", port);
            free["metadata"] = json!({"annotations": {ports::FREE: "true"}});
            assert_eq!(of(free), expected);
        }
    }

    #[test]
    fn a_status_that_does_not_matter_is_no_change() {
        let object = json!({
            "metadata": {"name": "a", "uid": "u", "labels": {"a": "b"}, "resourceVersion": "1"},
            "spec": {"containers": [{}]}, "status": {"phase": "Pending"},
        });
        let pod = Pod::read(Arc::new(object.clone()));
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut object = object.clone();
            change(&mut object);
            pod.with_object(&Arc::new(object)).is_none()
        };
        assert!(!changed(
            &|it| it["metadata"]["resourceVersion"] = json!("2")
        ));
        assert!(!changed(&|it| it["status"]["phase"] = json!("Running")));
        assert!(changed(&|it| it["status"]["phase"] = json!("Failed")));
        assert!(changed(&|it| it["metadata"]["labels"]["a"] = json!("c")));
        assert!(changed(&|it| it["metadata"]["uid"] = json!("v")));
        assert!(changed(&|it| it["spec"]["nodeName"] = json!("n")));
        assert!(changed(&|it| it["status"]["nominatedNodeName"] = json!("n")));
    }
}
