//! How much of each resource: what nodes have, and what pods ask for, in whole numbers of fixed
//! units, computed once per object ("Resource Management for Pods and Containers"; KEP-753 for
//! sidecars; KEP-2837 for resources of whole pods).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::core::quantity::{self, Quantity};

/// No pod asks for more of one resource, and no node has as much, so that sums do not overflow.
const AMOUNT_MAX: u64 = 1 << 50;
/// As many pods a node takes that does not say.
const PODS_DEFAULT: u64 = 110;
/// What a container that asks for no cpu is taken for when nodes are compared, in thousandths.
const MILLI_CPU_ASSUMED: u64 = 100;
/// The same of memory, in bytes.
const MEMORY_BYTES_ASSUMED: u64 = 200 << 20;

/// An amount of each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a core.
    pub milli_cpu: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of `ephemeral-storage`.
    pub storage_bytes: u64,
    /// Pods.
    pub pods: u64,
    /// Every other resource, by name, where it is more than nothing.
    pub others: BTreeMap<String, u64>,
}

impl Amounts {
    /// Reads a list as `requests` and `allocatable` have it.
    pub fn read(list: &Value) -> Amounts {
        let mut amounts = Amounts::default();
        for (name, value) in list.as_object().into_iter().flatten() {
            let Some(quantity) = quantity::of(value) else {
                continue;
            };
            match name.as_str() {
                "cpu" => amounts.milli_cpu = bounded(quantity.milli()),
                "memory" => amounts.memory_bytes = whole(quantity),
                "ephemeral-storage" => amounts.storage_bytes = whole(quantity),
                "pods" => amounts.pods = whole(quantity),
                _ if whole(quantity) == 0 => {}
                other => {
                    amounts.others.insert(other.to_owned(), whole(quantity));
                }
            }
        }
        amounts
    }

    /// So much more.
    pub fn add(&mut self, more: &Amounts) {
        self.each(more, |has, more| has.saturating_add(more));
    }

    /// So much less.
    pub fn subtract(&mut self, less: &Amounts) {
        self.each(less, |has, less| has.saturating_sub(less));
    }

    /// At least so much.
    fn raise(&mut self, floor: &Amounts) {
        self.each(floor, |has, floor| has.max(floor));
    }

    fn each(&mut self, other: &Amounts, combine: impl Fn(u64, u64) -> u64) {
        self.milli_cpu = combine(self.milli_cpu, other.milli_cpu);
        self.memory_bytes = combine(self.memory_bytes, other.memory_bytes);
        self.storage_bytes = combine(self.storage_bytes, other.storage_bytes);
        self.pods = combine(self.pods, other.pods);
        for (name, amount) in &other.others {
            let combined = combine(self.other(name), *amount);
            match combined {
                0 => self.others.remove(name),
                combined => self.others.insert(name.clone(), combined),
            };
        }
    }

    /// How much of a resource that has no field here.
    pub fn other(&self, name: &str) -> u64 {
        self.others.get(name).copied().unwrap_or(0)
    }

    /// Whether there is room for so much more, if so much is used.
    pub fn has_room(&self, used: &Amounts, more: &Amounts) -> bool {
        let is_room =
            |all: u64, used: u64, more: u64| more == 0 || used.saturating_add(more) <= all;
        is_room(self.pods, used.pods, more.pods)
            && is_room(self.milli_cpu, used.milli_cpu, more.milli_cpu)
            && is_room(self.memory_bytes, used.memory_bytes, more.memory_bytes)
            && is_room(self.storage_bytes, used.storage_bytes, more.storage_bytes)
            && (more.others.iter())
                .all(|(name, more)| is_room(self.other(name), used.other(name), *more))
    }

    /// The resources that there is not enough of, by name, if so much is used.
    pub fn lacking<'a>(&self, used: &Amounts, more: &'a Amounts) -> Vec<&'a str> {
        let all = [
            ("pods", self.pods, used.pods, more.pods),
            ("cpu", self.milli_cpu, used.milli_cpu, more.milli_cpu),
            (
                "memory",
                self.memory_bytes,
                used.memory_bytes,
                more.memory_bytes,
            ),
            (
                "ephemeral-storage",
                self.storage_bytes,
                used.storage_bytes,
                more.storage_bytes,
            ),
        ];
        let others = more.others.iter();
        let others =
            others.map(|(name, more)| (name.as_str(), self.other(name), used.other(name), *more));
        let lacking = |(_, all, used, more): &(&str, u64, u64, u64)| {
            *more > 0 && used.saturating_add(*more) > *all
        };
        let names = all.into_iter().chain(others).filter(lacking);
        names.map(|(name, ..)| name).collect()
    }

    /// Whether it is nothing at all.
    pub fn is_nothing(&self) -> bool {
        *self == Amounts::default()
    }
}

fn bounded(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0).min(AMOUNT_MAX)
}

fn whole(quantity: Quantity) -> u64 {
    bounded(quantity.value())
}

/// What a node has for pods.
pub(super) fn allocatable(node: &Value) -> Amounts {
    let status = &node["status"];
    let list = match &status["allocatable"] {
        Value::Null => &status["capacity"],
        list => list,
    };
    let mut amounts = Amounts::read(list);
    if list["pods"].is_null() {
        amounts.pods = PODS_DEFAULT;
    }
    // A pod that asks for the most there can be fits nowhere.
    amounts.each(&amounts.clone(), |has, _| has.min(AMOUNT_MAX - 1));
    amounts
}

/// What a pod asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Requests {
    /// What it is sure to get; one pod among it.
    pub(super) sure: Amounts,
    /// What counts when nodes are compared: a container that asks for nothing uses something.
    pub(super) scored: Scored,
}

/// Cpu and memory, as nodes are compared by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scored {
    pub(super) milli_cpu: u64,
    pub(super) memory_bytes: u64,
}

impl Scored {
    /// So much more.
    pub(super) fn add(&mut self, more: Scored) {
        self.milli_cpu = self.milli_cpu.saturating_add(more.milli_cpu);
        self.memory_bytes = self.memory_bytes.saturating_add(more.memory_bytes);
    }

    /// So much less.
    pub(super) fn subtract(&mut self, less: Scored) {
        self.milli_cpu = self.milli_cpu.saturating_sub(less.milli_cpu);
        self.memory_bytes = self.memory_bytes.saturating_sub(less.memory_bytes);
    }
}

/// What a pod asks for.
pub(super) fn requests(pod: &Value) -> Requests {
    let mut sure = total(&pod["spec"], |container| {
        Amounts::read(&container["resources"]["requests"])
    });
    sure.pods = 1;
    let scored = total(&pod["spec"], |container| {
        let list = &container["resources"]["requests"];
        let mut amounts = Amounts::read(list);
        if list["cpu"].is_null() {
            amounts.milli_cpu = MILLI_CPU_ASSUMED;
        }
        if list["memory"].is_null() {
            amounts.memory_bytes = MEMORY_BYTES_ASSUMED;
        }
        amounts
    });
    let scored = Scored {
        milli_cpu: scored.milli_cpu,
        memory_bytes: scored.memory_bytes,
    };
    Requests { sure, scored }
}

/// What all containers together need at the time when they need most: sidecars run beside the
/// init containers after them and beside the containers.
fn total(spec: &Value, of: impl Fn(&Value) -> Amounts) -> Amounts {
    let list = |name: &str| spec[name].as_array().into_iter().flatten();
    let mut sum = Amounts::default();
    for container in list("containers") {
        sum.add(&of(container));
    }
    let (mut sidecars, mut start) = (Amounts::default(), Amounts::default());
    for container in list("initContainers") {
        let amounts = of(container);
        let mut beside = sidecars.clone();
        beside.add(&amounts);
        start.raise(&beside);
        if container["restartPolicy"] == "Always" {
            sum.add(&amounts);
            sidecars.add(&amounts);
        }
    }
    sum.raise(&start);
    let whole_pod = &spec["resources"]["requests"];
    let replaced = Amounts::read(whole_pod);
    if !whole_pod["cpu"].is_null() {
        sum.milli_cpu = replaced.milli_cpu;
    }
    if !whole_pod["memory"].is_null() {
        sum.memory_bytes = replaced.memory_bytes;
    }
    sum.add(&Amounts::read(&spec["overhead"]));
    sum.each(&sum.clone(), |has, _| has.min(AMOUNT_MAX));
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn a_pod_asks_for_the_most_that_it_needs_at_one_time() {
        let sidecar = |cpu: &str| {
            let mut it = container(cpu, "0");
            it["restartPolicy"] = json!("Always");
            it
        };
        let table = [
            // Containers add up.
            (
                json!({"containers": [container("100m", "1Mi"), container("1", "1Ki")]}),
                1_100,
                1_049_600,
            ),
            // An init container runs alone.
            (
                json!({"containers": [container("1", "1")], "initContainers": [container("3", "1"), container("2", "5")]}),
                3_000,
                5,
            ),
            // A sidecar runs beside the init containers after it and the containers.
            (
                json!({"containers": [container("1", "1")], "initContainers": [sidecar("1"), container("3", "0")]}),
                4_000,
                1,
            ),
            (
                json!({"containers": [container("1", "1")], "initContainers": [container("3", "0"), sidecar("1")]}),
                3_000,
                1,
            ),
            (
                json!({"containers": [container("3", "1")], "initContainers": [sidecar("1"), container("2", "0")]}),
                4_000,
                1,
            ),
            (
                json!({"containers": [container("1", "1")], "overhead": {"cpu": "10m", "memory": "9"}}),
                1_010,
                10,
            ),
            (
                json!({"containers": [container("1", "1")], "resources": {"requests": {"cpu": "5"}}}),
                5_000,
                1,
            ),
            (json!({"containers": [{}]}), 0, 0),
        ];
        for (spec, milli_cpu, memory_bytes) in table {
            let sure = requests(&json!({"spec": spec})).sure;
            assert_eq!(
                (sure.milli_cpu, sure.memory_bytes, sure.pods),
                (milli_cpu, memory_bytes, 1),
                "{spec}"
            );
        }
    }

    #[test]
    fn a_container_that_asks_for_nothing_counts_for_something() {
        let pod = json!({"spec": {"containers": [{}, container("0", "1Mi")]}});
        let scored = requests(&pod).scored;
        assert_eq!((scored.milli_cpu, scored.memory_bytes), (100, 201 << 20));
    }

    #[test]
    fn nodes_that_do_not_say_take_110_pods() {
        let node = json!({"status": {"capacity": {"cpu": "2"}}});
        assert_eq!(
            (allocatable(&node).pods, allocatable(&node).milli_cpu),
            (110, 2_000)
        );
        let node =
            json!({"status": {"capacity": {"cpu": "2", "pods": 7}, "allocatable": {"pods": "3"}}});
        assert_eq!(
            (allocatable(&node).pods, allocatable(&node).milli_cpu),
            (3, 0)
        );
    }

    #[test]
    fn what_is_lacking_is_told_by_name() {
        let node = json!({"cpu": "1", "memory": "1Gi", "pods": 1, "a.b/gpu": 2});
        let node = Amounts::read(&node);
        let used = Amounts::read(&json!({"cpu": "500m", "a.b/gpu": 1}));
        let table = [
            (json!({"cpu": "500m", "a.b/gpu": 1, "pods": 1}), vec![]),
            (json!({"cpu": "501m", "pods": 2}), vec!["pods", "cpu"]),
            (
                json!({"memory": "2Gi", "ephemeral-storage": 1}),
                vec!["memory", "ephemeral-storage"],
            ),
            (
                json!({"a.b/gpu": 2, "c.d/none": 1}),
                vec!["a.b/gpu", "c.d/none"],
            ),
            (json!({"c.d/none": 0}), vec![]),
        ];
        for (more, lacking) in table {
            let more = Amounts::read(&more);
            assert_eq!(node.lacking(&used, &more), lacking);
            assert_eq!(node.has_room(&used, &more), lacking.is_empty());
        }
    }

    #[test]
    fn amounts_that_are_too_large_fit_nowhere() {
        let huge = json!({"cpu": "8E", "memory": "8E", "x.y/z": "8E"});
        let mut pod = container("8E", "8E");
        pod["resources"]["requests"]["x.y/z"] = json!("8E");
        let pod = requests(&json!({"spec": {"containers": [pod.clone(), pod]}})).sure;
        let node = allocatable(&json!({"status": {"allocatable": huge}}));
        assert_eq!(
            node.lacking(&Amounts::default(), &pod),
            ["cpu", "memory", "x.y/z"]
        );
        let mut used = Amounts::default();
        for _ in 0..1_000 {
            used.add(&pod);
        }
        used.subtract(&pod);
        assert_eq!(used.milli_cpu, 999 * pod.milli_cpu);
    }
}
