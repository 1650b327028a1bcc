//! This node as a Node of the API: what it is, what pods can have of it, and that it is ready.
//!
//! Its name is the one it is called by, if no other node has that; else one with its id behind.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_control::api::ControlApi;
use atoll_world::{clock, machine::Facts};
use ipnet::Ipv4Net;
use serde_json::{Value, json};

use crate::{
    api::Doors,
    core::{
        agent::Node,
        controllers::{load_balancer, world::View as _},
        kinds::{self, Subresource},
        object::{self, Name},
        pod_network,
        quantity::{Format, Quantity},
        status::{Failure, Reason},
        time::format_rfc3339,
    },
    driver::{
        mirror::{Look, Mirror},
        objects::{Objects, Writer},
    },
};

/// The label that carries the id of the Atoll node.
pub(crate) const NODE_ID: &str = "atoll.dev/node-id";
/// So many pods a node takes.
const PODS_MAX: i64 = 250;
/// Says that what a Node runs is simulated.
pub(crate) const SIMULATED: &str = "atoll.dev/simulated";
/// How often it is looked whether the Node is as it should be.
const KEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What is known of this node and its machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The name that it would like to have, and has, once it is registered.
    pub(crate) name: String,
    pub(crate) id: NodeId,
    /// The machine's name: nodes of the same share its ports.
    pub(crate) host: String,
    /// Where it is reached.
    pub(crate) address: String,
    pub(crate) cpu_milli: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) disk_bytes: i64,
    pub(crate) pods: i64,
    /// Labels beside those that every Node has.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) kernel: String,
    pub(crate) os_image: String,
    pub(crate) machine_id: String,
    pub(crate) boot_id: String,
    pub(crate) version: String,
    /// What can't be limited on this machine, and why; empty if everything can.
    pub(crate) shortcoming: String,
    /// Where its gateway listens.
    pub(crate) doors: Doors,
}

/// What pods can have of a simulated node.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedSize {
    /// Processors, in thousandths.
    pub cpu_milli: i64,
    /// Memory.
    pub memory_bytes: i64,
    /// So many pods.
    pub pods: i64,
    /// In so many zones all of them are, evenly.
    pub zones: usize,
}

impl Machine {
    /// A machine; with the program's version, and what can't be limited.
    pub(crate) fn of(
        id: NodeId,
        name: String,
        address: String,
        facts: Facts,
        (version, shortcoming): (String, String),
        doors: Doors,
    ) -> Machine {
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Machine {
            host: facts.host,
            name,
            id,
            address,
            cpu_milli: whole(facts.processors).saturating_mul(1_000),
            memory_bytes: whole(facts.memory_bytes),
            disk_bytes: whole(facts.disk_bytes),
            pods: PODS_MAX,
            labels: BTreeMap::new(),
            kernel: facts.kernel,
            os_image: facts.os,
            machine_id: facts.machine_id,
            boot_id: facts.boot_id,
            version,
            shortcoming,
            doors,
        }
    }

    /// One of the nodes that this one simulates: a machine of its own, as far as anybody can see.
    pub(crate) fn simulated(&self, number: usize, size: &SimulatedSize) -> Machine {
        /// A label's value, which the name is, has 63 bytes at most, also with an id behind.
        const OWN_NAME_MAX: usize = 36;
        let own: String = self.name.chars().take(OWN_NAME_MAX).collect();
        let name = format!("{own}-sim-{number:05}");
        let labels = [
            (SIMULATED, "true".to_owned()),
            (
                "topology.kubernetes.io/zone",
                format!("sim-{}", number % size.zones.max(1)),
            ),
        ];
        Machine {
            host: name.clone(),
            name,
            cpu_milli: size.cpu_milli,
            memory_bytes: size.memory_bytes,
            pods: size.pods,
            labels: labels
                .map(|(label, value)| (label.to_owned(), value))
                .into(),
            shortcoming: String::new(),
            doors: Doors {
                balances: false,
                ..self.doors
            },
            ..self.clone()
        }
    }

    pub(super) fn is_simulated(&self) -> bool {
        self.labels.contains_key(SIMULATED)
    }

    fn annotations(&self) -> Value {
        json!({
            load_balancer::BALANCES: self.doors.balances.to_string(),
            load_balancer::HTTP_PORT: self.doors.http_port.to_string(),
            load_balancer::HTTPS_PORT: self.doors.https_port.to_string(),
        })
    }

    /// As the agent's core wants it.
    pub(super) fn node(&self) -> Node {
        let amount = |value| Quantity::whole(value, Format::Binary);
        let allocatable = BTreeMap::from([
            ("cpu".to_owned(), Quantity::from_milli(self.cpu_milli)),
            ("memory".to_owned(), amount(self.memory_bytes)),
            ("ephemeral-storage".to_owned(), amount(self.disk_bytes)),
        ]);
        Node {
            name: self.name.clone(),
            ips: vec![self.address.clone()],
            allocatable,
        }
    }

    fn labels(&self) -> Value {
        let mut labels = json!({
            "kubernetes.io/hostname": self.host, "kubernetes.io/os": "linux",
            "kubernetes.io/arch": arch(), NODE_ID: self.id.to_string(),
        });
        for (label, value) in &self.labels {
            labels[label] = json!(value);
        }
        labels
    }

    fn resources(&self) -> Value {
        json!({
            "cpu": Quantity::from_milli(self.cpu_milli).to_string(),
            "memory": format!("{}Ki", self.memory_bytes / 1_024),
            "ephemeral-storage": format!("{}Ki", self.disk_bytes / 1_024),
            "pods": self.pods.to_string(),
        })
    }

    /// The status, with the transition times of conditions that have not changed.
    fn status(&self, old: &Value, now: &str) -> Value {
        let limits = match self.shortcoming.as_str() {
            "" => ("False", "LimitsHold", "limits of containers hold"),
            why => ("True", "LimitsMissing", why),
        };
        let wanted = [
            ("Ready", ("True", "AgentReady", "the agent runs pods")),
            ("LimitsMissing", limits),
        ];
        let had = |kind: &str| {
            let conditions = old["conditions"].as_array()?;
            conditions.iter().find(|it| it["type"] == kind)
        };
        let conditions: Vec<Value> = wanted
            .into_iter()
            .map(|(kind, (status, reason, message))| {
                let same = had(kind).filter(|it| it["status"] == status);
                let since = same.map_or(json!(now), |it| it["lastTransitionTime"].clone());
                let beat = same.map_or(json!(now), |it| it["lastHeartbeatTime"].clone());
                json!({
                    "type": kind, "status": status, "reason": reason, "message": message,
                    "lastTransitionTime": since, "lastHeartbeatTime": beat,
                })
            })
            .collect();
        json!({
            "capacity": self.resources(), "allocatable": self.resources(),
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": self.address},
                {"type": "Hostname", "address": self.host},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": {
                "machineID": self.machine_id, "systemUUID": self.machine_id,
                "bootID": self.boot_id, "kernelVersion": self.kernel,
                "osImage": self.os_image, "containerRuntimeVersion": format!("atoll://{}", self.version),
                "kubeletVersion": format!("v{}+atoll", self.version), "kubeProxyVersion": "",
                "operatingSystem": "linux", "architecture": arch(),
            },
        })
    }
}

/// The architecture as Go calls it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn node_name(name: &str) -> Name {
    Name {
        kind: &kinds::NODES,
        namespace: String::new(),
        name: name.to_owned(),
    }
}

/// What a Node is called: as its node would like it to be, or, if another node has that name, with
/// the node's id behind.
fn names(wanted: &str, id: NodeId) -> [String; 2] {
    [wanted.to_owned(), format!("{wanted}-{id}")]
}

/// How the Node of a node of the cluster is found again.
#[derive(Clone, Debug)]
pub(crate) struct OwnNode {
    id: String,
    names: [String; 2],
}

impl OwnNode {
    /// That of the node of that id, which would like to be called so.
    pub(crate) fn new(wanted: &str, id: NodeId) -> OwnNode {
        OwnNode {
            id: id.to_string(),
            names: names(wanted, id),
        }
    }

    /// The Node; none if it is not there yet.
    pub(crate) fn find(&self, look: &Look<'_>) -> Option<Arc<Value>> {
        let mut nodes = self
            .names
            .iter()
            .filter_map(|name| look.get(&kinds::NODES, "", name));
        nodes.find(|node| object::label(node, NODE_ID) == Some(&self.id))
    }
}

/// Makes or finds this node's Node; this machine, with the name that it has.
///
/// # Errors
/// Those of the cluster.
pub(super) async fn register<C: ControlApi>(
    objects: &Objects<C>,
    machine: &Machine,
) -> Result<Machine, Failure> {
    let names = names(&machine.name, machine.id);
    for name in &names {
        let is_simulated = machine.is_simulated();
        let machine = Machine {
            host: if is_simulated { name } else { &machine.host }.clone(),
            name: name.clone(),
            ..machine.clone()
        };
        if write(objects, &machine, None).await? {
            return Ok(machine);
        }
    }
    let message = format!(
        "the names {:?} and {:?} are other nodes'",
        names[0], names[1]
    );
    Err(Failure::new(Reason::Conflict, message))
}

/// Writes what this node is; whether the Node of that name is its own. One that is made asks for
/// the `range` of addresses that its pods have already.
async fn write<C: ControlApi>(
    objects: &Objects<C>,
    machine: &Machine,
    range: Option<Ipv4Net>,
) -> Result<bool, Failure> {
    let writer = Writer::own("agent");
    let mut spec = json!({});
    if let Some(range) = range {
        spec["podCIDR"] = json!(range.to_string());
    }
    let name = node_name(&machine.name);
    let found = match objects.get(&name).await {
        Err(failure) if failure.reason == Reason::NotFound => {
            let object = json!({
                "metadata": {
                    "name": machine.name, "labels": machine.labels(),
                    "annotations": machine.annotations(),
                },
                "spec": spec,
            });
            match objects.create(&kinds::NODES, "", object, &writer).await {
                Err(failure) if failure.reason == Reason::AlreadyExists => return Ok(false),
                made => made?,
            }
        }
        found => found?,
    };
    if object::label(&found.object, NODE_ID) != Some(&machine.id.to_string()) {
        return Ok(false);
    }
    let told = |old: &Value| {
        let mut new = old.clone();
        let own = [
            ("labels", machine.labels()),
            ("annotations", machine.annotations()),
        ];
        for (field, own) in own {
            let has = object::meta_mut(&mut new)
                .entry(field)
                .or_insert_with(|| json!({}));
            if let (Some(has), Some(own)) = (has.as_object_mut(), own.as_object()) {
                has.extend(own.clone());
            }
        }
        Ok(new)
    };
    objects.update(&name, None, &writer, told).await?;
    let status = |old: &Value| {
        let mut new = old.clone();
        let now = format_rfc3339(clock::wall_ms());
        new["status"] = machine.status(&old["status"], &now);
        if let Some(images) = old["status"].get("images") {
            new["status"]["images"] = images.clone();
        }
        Ok(new)
    };
    let part = Some(Subresource::Status);
    objects.update(&name, part, &writer, status).await?;
    Ok(true)
}

/// Makes Nodes anew if somebody has deleted them.
pub(super) async fn keep<C: ControlApi>(
    mirror: Mirror,
    objects: Objects<C>,
    machines: Vec<Machine>,
) {
    let mut ranges: BTreeMap<&str, Ipv4Net> = BTreeMap::new();
    loop {
        clock::sleep(KEEP_INTERVAL).await;
        for machine in &machines {
            let found = mirror.look().get(&kinds::NODES, "", &machine.name);
            if let Some(node) = found {
                ranges.extend(pod_network::range(&node).map(|range| (&*machine.name, range)));
                continue;
            }
            let range = ranges.get(&*machine.name).copied();
            if let Err(failure) = write(&objects, machine, range).await {
                tracing::debug!(%failure, "this node is not registered for pods anew yet");
                if failure.reason == Reason::Invalid {
                    // Another node has its range by now.
                    ranges.remove(&*machine.name);
                }
            }
        }
    }
}
