//! The steps of stories about budgets and autoscalers.
//!
//! - `budget NAME` tells a budget's numbers; `evict POD` asks to evict it; `disrupt NAME POD` writes
//!   down that it was evicted, and no more.
//! - `usage CONTAINER CPU MEMORY POD…` says what the container uses in these pods from now on;
//!   `unmeasured POD…` that nobody knows; `app=web` are the pods with that label. `scaler NAME`
//!   tells what an autoscaler saw and wants; `fail-rescale NAME WHY` tells it that the target could
//!   not be written.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{cluster::place, story::Story};
use crate::core::{
    controllers::{Controller, world::View},
    eviction,
    kinds::{AUTOSCALERS, DISRUPTION_BUDGETS, Kind, PODS, Subresource},
    lifecycle::Deletion,
    object::{self, Name},
    quantity,
    time::format_rfc3339,
    usage::{PodUsage, Usage},
};

/// Over so long usage is measured.
const WINDOW_MS: u64 = 15_000;

impl Story {
    pub(super) fn scaling(&mut self, verb: &str, args: &[&str]) -> Option<String> {
        match (verb, args) {
            ("budget", [name]) => return Some(self.budget(name)),
            ("scaler", [name]) => return Some(self.scaler(name)),
            ("evict", [pod]) => return Some(self.evict(pod)),
            ("disrupt", [name, pod]) => {
                let (pod, now) = (
                    self.names.find(pod).name,
                    format_rfc3339(self.cluster.now_ms),
                );
                self.cluster.change(&DISRUPTION_BUDGETS, name, |budget| {
                    budget["status"]["disruptedPods"][&pod] = json!(now);
                });
            }
            ("usage", [container, cpu, memory, pods @ ..]) => {
                for pod in self.meant(pods) {
                    self.measure(&pod, container, cpu, memory);
                }
            }
            ("fail-rescale", [name, why @ ..]) => {
                let scaler = self.of(&AUTOSCALERS, name);
                let task = (
                    Controller::Autoscaler,
                    place(&Name::of(&AUTOSCALERS, &scaler)),
                );
                self.cluster.queue.insert(task.clone());
                self.cluster.failed.insert(task, why.join(" "));
            }
            ("unmeasured", pods) => {
                for pod in self.meant(pods) {
                    self.cluster.now.usages.remove(object::uid(&pod));
                }
            }
            _ => return None,
        }
        Some(String::new())
    }

    fn pod(&self, short: &str) -> Arc<Value> {
        let name = self.names.find(short);
        let found = self.cluster.get(&PODS, &name.namespace, &name.name);
        found.expect("the pod is there")
    }

    /// Pods by their names, or by a label.
    fn meant(&self, all: &[&str]) -> Vec<Arc<Value>> {
        let meant = all.iter().flat_map(|meant| {
            let Some((key, value)) = meant.split_once('=') else {
                return vec![self.pod(meant)];
            };
            let mut pods = self.cluster.list(&PODS, Some("default"));
            pods.retain(|pod| object::label(pod, key) == Some(value));
            pods
        });
        meant.collect()
    }

    fn of(&self, kind: &'static Kind, name: &str) -> Arc<Value> {
        let found = self.cluster.get(kind, "default", name);
        found.unwrap_or_else(|| panic!("there is no {name}"))
    }

    fn measure(&mut self, pod: &Value, container: &str, cpu: &str, memory: &str) {
        let bytes = quantity::parse(memory).unwrap().value();
        let milli = quantity::parse(cpu).unwrap().milli();
        let usage = Usage {
            cpu_nanocores: u64::try_from(milli).unwrap() * 1_000_000,
            memory_bytes: u64::try_from(bytes).unwrap(),
            at_ms: self.cluster.now_ms,
            window_ms: WINDOW_MS,
        };
        let usages = &mut self.cluster.now.usages;
        let uid = object::uid(pod).to_owned();
        let of_pod = usages.entry(uid.clone()).or_insert_with(|| {
            Arc::new(PodUsage {
                namespace: object::namespace(pod).to_owned(),
                name: object::name(pod).to_owned(),
                uid,
                containers: Default::default(),
            })
        });
        let containers = &mut Arc::make_mut(of_pod).containers;
        containers.insert(container.to_owned(), usage);
    }

    fn budget(&self, name: &str) -> String {
        let budget = self.of(&DISRUPTION_BUDGETS, name);
        let status = &budget["status"];
        let mut told = format!(
            "allowed={} healthy={}/{} of {}",
            status["disruptionsAllowed"],
            status["currentHealthy"],
            status["desiredHealthy"],
            status["expectedPods"]
        );
        let going = status["disruptedPods"].as_object();
        let going: Vec<&str> = going
            .into_iter()
            .flatten()
            .map(|(pod, _)| pod.as_str())
            .collect();
        if !going.is_empty() {
            told += &format!(" going={}", self.names.shorten(&going.join(",")));
        }
        if status["observedGeneration"] != budget["metadata"]["generation"] {
            told += " outdated";
        }
        told
    }

    fn evict(&mut self, pod: &str) -> String {
        let pod = self.pod(pod);
        let budgets = self.cluster.list(&DISRUPTION_BUDGETS, Some("default"));
        let evicted = match eviction::decide(&pod, &budgets, self.cluster.now_ms) {
            Ok(evicted) => evicted,
            Err(failure) => {
                let causes = failure
                    .details
                    .causes
                    .iter()
                    .map(|cause| cause.message.clone());
                let told: Vec<String> = [failure.message.clone()]
                    .into_iter()
                    .chain(causes)
                    .collect();
                return self.names.shorten(&told.join(" "));
            }
        };
        if let Some(budget) = evicted.budget {
            let part = Some(Subresource::Status);
            self.cluster
                .update(&DISRUPTION_BUDGETS, budget, part)
                .unwrap();
        }
        let name = Name::of(&PODS, &pod);
        self.cluster.delete(&name, &Deletion::default()).unwrap();
        String::new()
    }

    fn scaler(&self, name: &str) -> String {
        let scaler = self.of(&AUTOSCALERS, name);
        let status = &scaler["status"];
        let mut told = format!(
            "{}>{}",
            status["currentReplicas"], status["desiredReplicas"]
        );
        for metric in object::items(&status["currentMetrics"]) {
            let kind = ["resource", "containerResource"]
                .into_iter()
                .find(|kind| metric[kind].is_object());
            let metric = &metric[kind.unwrap_or_default()];
            let current = metric["current"].as_object();
            let values = current
                .into_iter()
                .flatten()
                .map(|(field, value)| match field.as_str() {
                    "averageUtilization" => format!("{value}%"),
                    _ => value.as_str().unwrap_or_default().to_owned(),
                });
            let values: Vec<String> = values.collect();
            let name = metric["name"].as_str().unwrap_or("?");
            told += &format!(" {name}={}", values.join("/"));
        }
        let at = status["lastScaleTime"].as_str();
        if let Some(at_ms) = at.and_then(crate::core::time::parse_rfc3339) {
            let age_s = (self.cluster.now_ms - at_ms) / 1_000;
            told += &format!(" scaled {age_s}s ago");
        }
        told
    }
}
