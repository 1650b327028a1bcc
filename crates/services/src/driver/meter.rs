//! What nodes and pods use: each node measures its own all the time, and tells whoever asks. For
//! autoscalers, the leader asks as often as they look.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_world::{
    clock, machine,
    peers::{Handler, Peers, Reply, Service},
    task,
};
use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    agent::{
        registration::SIMULATED,
        runtime::{Runtime, Used},
    },
    mirror::{Look, Mirror},
};
use crate::{
    api::{Measured, Measuring, Meter},
    core::{
        agent::AttemptId,
        controllers::world::View,
        kinds::{self, Kind},
        object,
        usage::{PodUsage, Usage},
    },
};

/// What a node has measured, between nodes: asked for by a version, answered as JSON.
const SERVICE: Service = Service(59);
/// The version of what is told.
const VERSION: u8 = 1;
/// Over how long it is measured.
const WINDOW: Duration = Duration::from_secs(10);
/// How long a node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How often the leader asks for autoscalers.
const SCALING_INTERVAL: Duration = Duration::from_secs(15);

/// What one node tells.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Told {
    version: u8,
    node: Option<Amount>,
    pods: Vec<OfPod>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OfPod {
    uid: String,
    containers: BTreeMap<String, Amount>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Amount {
    cpu_nanocores: u64,
    memory_bytes: u64,
    at_ms: u64,
    window_ms: u64,
}

impl From<Amount> for Usage {
    fn from(amount: Amount) -> Usage {
        Usage {
            cpu_nanocores: amount.cpu_nanocores,
            memory_bytes: amount.memory_bytes,
            at_ms: amount.at_ms,
            window_ms: amount.window_ms,
        }
    }
}

/// The meter of this node, which asks those of the others.
#[derive(Clone)]
pub(super) struct Meters {
    own: Arc<Mutex<Told>>,
    mirror: Mirror,
    peers: Arc<dyn Peers>,
    node: NodeId,
}

impl Meters {
    /// Begins to measure, and to tell other nodes.
    pub(super) fn start<R: Runtime>(
        runtime: Option<R>,
        mirror: Mirror,
        peers: Arc<dyn Peers>,
        node: NodeId,
    ) -> Meters {
        let own = Arc::new(Mutex::new(Told::default()));
        if let Some(runtime) = runtime {
            task::spawn(measure(runtime, own.clone()));
        }
        peers.serve(SERVICE, Arc::new(Tells(own.clone())));
        Meters {
            own,
            mirror,
            peers,
            node,
        }
    }

    async fn of_node(&self, name: &str) -> Option<Told> {
        let id = self.mirror.node_id(name)?;
        if id == self.node {
            return Some(self.own.lock().clone());
        }
        let call = self.peers.call(id, SERVICE, Bytes::from_static(&[VERSION]));
        let answer = clock::timeout(ANSWER_MAX, call).await.ok()?.ok()?;
        let told: Told = serde_json::from_slice(&answer).ok()?;
        (told.version == VERSION).then_some(told)
    }

    fn named(&self, node: &str, told: Told) -> Measured {
        let all = self.mirror.look().on_node(node);
        let by_uid: BTreeMap<&str, &Arc<Value>> =
            all.iter().map(|pod| (object::uid(pod), pod)).collect();
        let pods = told.pods.into_iter().filter_map(|of| {
            let pod = by_uid.get(&*of.uid)?;
            let containers = of.containers.into_iter();
            Some(Arc::new(PodUsage {
                namespace: object::namespace(pod).to_owned(),
                name: object::name(pod).to_owned(),
                uid: of.uid,
                containers: containers.map(|(name, it)| (name, it.into())).collect(),
            }))
        });
        Measured {
            node: told.node.map(Usage::from),
            pods: pods.collect(),
        }
    }
}

impl Meter for Meters {
    fn measure(&self, node: Option<String>) -> Measuring {
        let meters = self.clone();
        Box::pin(async move {
            let all = meters.mirror.look().list(&kinds::NODES, None);
            let uses = |node: &&Arc<Value>| object::label(node, SIMULATED).is_none();
            let names = all.iter().filter(uses);
            let names = names.map(|node| object::name(node).to_owned());
            let names = names.filter(|name| node.as_ref().is_none_or(|node| node == name));
            let asked = names.map(async |name| {
                let told = meters.of_node(&name).await;
                {
                    let measured = meters.named(&name, told.unwrap_or_default());
                    (name, measured)
                }
            });
            join_all(asked).await.into_iter().collect()
        })
    }
}

struct Tells(Arc<Mutex<Told>>);

impl Handler for Tells {
    fn handle(&self, from: NodeId, payload: Bytes, reply: Reply) {
        if payload[..] != [VERSION] {
            return tracing::debug!(%from, "a question for what is used can't be read");
        }
        let told = serde_json::to_vec(&*self.0.lock()).expect("it is JSON");
        reply.send(told.into());
    }
}

/// Measures as long as the node runs.
async fn measure<R: Runtime>(runtime: R, own: Arc<Mutex<Told>>) {
    let mut before: Option<Sample> = None;
    loop {
        let now = Sample::take(&runtime).await;
        if let Some(before) = before.filter(|before| before.taken < now.taken) {
            *own.lock() = now.since(&before);
        }
        before = Some(now);
        clock::sleep(WINDOW).await;
    }
}

struct Sample {
    taken: clock::Instant,
    at_ms: u64,
    node: machine::Usage,
    used: BTreeMap<AttemptId, Used>,
}

impl Sample {
    async fn take<R: Runtime>(runtime: &R) -> Sample {
        let used = runtime.used().await;
        Sample {
            node: task::blocking(machine::usage).await,
            taken: clock::now(),
            at_ms: clock::wall_ms(),
            used: used.into_iter().collect(),
        }
    }

    /// What was used from the one before to this one. A container that was not there then is
    /// not told yet.
    fn since(&self, before: &Sample) -> Told {
        let window = self.taken.saturating_duration_since(before.taken);
        let amount = |cpu_ns: u64, before_ns: u64, memory_bytes: u64| {
            let used_ns = u128::from(cpu_ns.saturating_sub(before_ns));
            let nanocores = used_ns * 1_000_000_000 / window.as_nanos().max(1);
            Amount {
                cpu_nanocores: u64::try_from(nanocores).unwrap_or(u64::MAX),
                memory_bytes,
                at_ms: self.at_ms,
                window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            }
        };
        let mut pods: BTreeMap<String, BTreeMap<String, Amount>> = BTreeMap::new();
        for (id, used) in &self.used {
            if let Some(was) = before.used.get(id) {
                let of = amount(used.cpu_ns, was.cpu_ns, used.memory_bytes);
                let containers = pods.entry(id.uid.clone()).or_default();
                containers.insert(id.container.clone(), of);
            }
        }
        let (now, was) = (self.node, before.node);
        Told {
            version: VERSION,
            node: Some(amount(now.cpu_ns, was.cpu_ns, now.memory_bytes)),
            pods: pods
                .into_iter()
                .map(|(uid, containers)| OfPod { uid, containers })
                .collect(),
        }
    }
}

/// What pods use, for autoscalers: by uid.
#[derive(Clone, Default)]
pub(super) struct Usages(Arc<RwLock<BTreeMap<String, Arc<PodUsage>>>>);

impl Usages {
    /// Asks as long as this node leads and there are autoscalers.
    pub(super) async fn follow(&self, mirror: &Mirror, meter: &dyn Meter) {
        loop {
            let is_wanted = !mirror.look().list(&kinds::AUTOSCALERS, None).is_empty();
            let measured = match is_wanted {
                true => meter.measure(None).await,
                false => BTreeMap::new(),
            };
            let pods = measured.into_values().flat_map(|node| node.pods);
            *self.0.write() = pods.map(|pod| (pod.uid.clone(), pod)).collect();
            clock::sleep(SCALING_INTERVAL).await;
        }
    }

    /// A look at objects with what pods use.
    pub(super) fn beside<'a>(&'a self, look: &'a Look<'a>) -> Beside<'a> {
        Beside { look, usages: self }
    }
}

/// Objects, and what pods use.
pub(super) struct Beside<'a> {
    look: &'a Look<'a>,
    usages: &'a Usages,
}

impl View for Beside<'_> {
    fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.look.get(kind, namespace, name)
    }

    fn list(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.look.list(kind, namespace)
    }

    fn by_owner(&self, kind: &'static Kind, owner_uid: &str) -> Vec<Arc<Value>> {
        self.look.by_owner(kind, owner_uid)
    }

    fn orphans(&self, kind: &'static Kind, namespace: &str) -> Vec<Arc<Value>> {
        self.look.orphans(kind, namespace)
    }

    fn on_node(&self, node: &str) -> Vec<Arc<Value>> {
        self.look.on_node(node)
    }

    fn nodes_in_use(&self) -> Vec<String> {
        self.look.nodes_in_use()
    }

    fn usage(&self, pod_uid: &str) -> Option<Arc<PodUsage>> {
        self.usages.0.read().get(pod_uid).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_used_is_the_difference_over_the_window() {
        let sample = |cpu_ms: u64, containers: &[&str]| Sample {
            taken: clock::now(),
            at_ms: 5,
            node: machine::Usage {
                cpu_ns: 4 * cpu_ms * 1_000_000,
                memory_bytes: 7,
            },
            used: containers
                .iter()
                .map(|name| {
                    let id = AttemptId {
                        uid: "u".to_owned(),
                        container: (*name).to_owned(),
                        number: 0,
                    };
                    let used = Used {
                        cpu_ns: cpu_ms * 1_000_000,
                        memory_bytes: 9,
                    };
                    (id, used)
                })
                .collect(),
        };
        let before = sample(1_000, &["a"]);
        clock::sleep(Duration::from_secs(10)).await;
        let told = sample(3_500, &["a", "new"]).since(&before);
        assert_eq!(told.pods.len(), 1);
        assert_eq!(told.pods[0].containers.len(), 1, "one is new");
        let a = told.pods[0].containers["a"];
        assert_eq!((a.cpu_nanocores, a.memory_bytes), (250_000_000, 9));
        assert_eq!((a.at_ms, a.window_ms), (5, 10_000));
        assert_eq!(told.node.unwrap().cpu_nanocores, 1_000_000_000);
    }
}
