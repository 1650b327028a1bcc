//! What holds after each step, and in the end.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{History, NODES_MAX};
use crate::core::{
    controllers::{
        pods,
        world::{Step, View},
    },
    kinds::{CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS},
    object,
};

impl History {
    /// What each node has: its pods that run or are being stopped.
    fn nodes(&self) -> BTreeMap<String, Vec<Arc<Value>>> {
        let nodes = self.cluster.list(&NODES, None);
        let names = nodes.iter().map(|node| object::name(node).to_owned());
        let mut all: BTreeMap<String, Vec<Arc<Value>>> =
            names.map(|name| (name, Vec::new())).collect();
        for pod in self.cluster.list(&PODS, None) {
            let required = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
            let pinned = pod.pointer(required).and_then(Value::as_str);
            let node = pod["spec"]["nodeName"].as_str().or(pinned);
            if let Some(there) = node.and_then(|node| all.get_mut(node))
                && !pods::has_ended(&pod)
            {
                there.push(pod);
            }
        }
        all
    }

    fn serves(&self, pod: &Value) -> bool {
        pods::is_active(pod) && pods::is_available(pod, self.shape.min_ready_s, self.cluster.now_ms)
    }

    /// No step leads out of the bounds.
    pub(super) fn check(&mut self, step: &Step) {
        let nodes = self.nodes();
        for (node, there) in &nodes {
            self.check_node(node, there, step);
        }
        let serving = |there: &Vec<Arc<Value>>| there.iter().any(|pod| self.serves(pod));
        let out = nodes.values().filter(|there| !serving(there)).count();
        if self.is_disturbed {
            self.is_disturbed = !(out == 0
                && self.flights.is_empty()
                && self.cluster.queue.is_empty()
                && nodes.values().all(|there| there.len() == 1));
            return;
        }
        let bound = match self.shape.is_on_delete {
            true => 0,
            false => self.shape.max_unavailable,
        };
        assert!(out <= bound, "{out} nodes are out by {step:?}");
        let active =
            |there: &Vec<Arc<Value>>| there.iter().filter(|pod| pods::is_active(pod)).count();
        let surging = nodes.values().filter(|there| active(there) > 1).count();
        assert!(
            surging <= self.shape.max_surge,
            "{surging} surge by {step:?}"
        );
    }

    fn check_node(&self, node: &str, there: &[Arc<Value>], step: &Step) {
        if self.has_strangers {
            return;
        }
        if self.shape.max_surge == 0 {
            assert!(there.len() <= 1, "two on {node} by {step:?}");
        }
        let mut images: Vec<String> = { there.iter() }
            .filter(|pod| pods::is_active(pod))
            .map(|pod| pod["spec"]["containers"][0]["image"].to_string())
            .collect();
        let active = images.len();
        assert!(active <= 2, "many on {node} by {step:?}");
        images.sort();
        images.dedup();
        assert_eq!(images.len(), active, "the same twice on {node} by {step:?}");
    }

    /// In the end all is as it is wanted, and stays so.
    pub(super) fn finish(mut self) {
        self.settle();
        self.cluster.assert_at_rest();
        let set = self.cluster.get(&DAEMON_SETS, "default", "logs").unwrap();
        let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
        let mut wanted = 0;
        for (name, there) in self.nodes() {
            let node = self.cluster.get(&NODES, "", &name).unwrap();
            let effect = node["spec"]["taints"][0]["effect"].as_str();
            let most = usize::from(effect != Some("NoExecute"));
            assert!(there.len() <= most, "{name}: {there:?}");
            if effect.is_some() {
                continue;
            }
            wanted += 1;
            let [pod] = &there[..] else {
                panic!("{name}: {there:?}");
            };
            assert!(self.serves(pod));
            if !self.shape.is_on_delete {
                assert_eq!(pod["spec"]["containers"][0]["image"], *image);
            }
        }
        self.assert_told(&set, wanted);
        let revisions = self.cluster.list(&CONTROLLER_REVISIONS, None);
        let live = if self.shape.is_on_delete {
            NODES_MAX
        } else {
            0
        };
        assert!((1..=3 + live).contains(&revisions.len()), "{revisions:?}");
    }

    fn assert_told(&self, set: &Value, wanted: i64) {
        let status = &set["status"];
        let number = |field: &str| status[field].as_i64().unwrap_or_default();
        for field in [
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "numberReady",
            "numberAvailable",
        ] {
            assert_eq!(number(field), wanted, "{field} of {status}");
        }
        if !self.shape.is_on_delete {
            assert_eq!(number("updatedNumberScheduled"), wanted, "{status}");
        }
        let generation = &set["metadata"]["generation"];
        assert_eq!(status["observedGeneration"], *generation);
    }
}
