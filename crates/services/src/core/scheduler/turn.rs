//! The turn of one pod: a node is found, or others are asked to go, or it has to wait. Of large
//! clusters only a part is looked at, each time from where the last turn ended, until enough
//! nodes were found to choose from ("Scheduler Performance Tuning").

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Decision, Scheduler, Target,
    filter::{Cycle, Refusal},
    message::{self, NEVER, NO_NODES, NO_VICTIMS, NOT_HELPFUL, Reasons},
    nominations::GOING_MS_MAX,
    pod::Pod,
    preempt::{self, Preemption},
    queue::{PARKED_MS_MAX, Waiting},
    score,
    snapshot::Slot,
};

/// So many nodes that can have a pod are enough to choose from.
const FEASIBLE_MIN: usize = 100;
/// At least so many in a hundred are looked for.
const FEASIBLE_PERCENT_MIN: usize = 5;
/// Of few nodes, so many in a hundred are looked for; one less for each [`NODES_PER_PERCENT`].
const FEASIBLE_PERCENT_MAX: usize = 50;
const NODES_PER_PERCENT: usize = 125;
/// So many kinds of pods that fit nowhere are remembered.
const HOPELESS_MAX: usize = 1_000;

impl Scheduler {
    /// Tries one pod, which is in the queue no more.
    pub(super) fn turn(&mut self, waiting: Waiting, now_ms: u64) -> Option<Decision> {
        let pod = waiting.pod.clone();
        if self
            .nominations
            .is_awaiting(&pod.key, &self.snapshot, now_ms)
        {
            self.queue.park_until(waiting, now_ms + GOING_MS_MAX);
            return None;
        }
        if self.snapshot.node_count() == 0 {
            return self.waits(waiting, NO_NODES.to_owned(), now_ms);
        }
        let likeness = match self.hopeless.is_empty() {
            true => None,
            false => self.likeness(&pod),
        };
        let known = likeness
            .as_ref()
            .and_then(|likeness| self.hopeless.get(likeness));
        if let Some(message) = known.cloned() {
            return self.waits(waiting, message, now_ms);
        }
        let kept = self.nominations.kept_from(&pod, &self.snapshot);
        let mut cycle = Cycle::new(&mut self.snapshot, &pod, kept);
        if let Some(slot) = self.find(&mut cycle) {
            return Some(self.binds(waiting, slot));
        }
        let refusals: Vec<(Slot, Refusal)> = (0..self.snapshot.slots_end() as u32)
            .filter_map(|slot| Some((Slot(slot), cycle.refusal(&self.snapshot, Slot(slot))?)))
            .collect();
        let mut reasons = Reasons::default();
        for reason in refusals.iter().flat_map(|(_, refusal)| &refusal.reasons) {
            reasons.add(reason);
        }
        let told = reasons.told(self.snapshot.node_count());
        match self.preempt(&mut cycle, &refusals) {
            Ok(preemption) => {
                Some(self.preempts(waiting, preemption, message::bounded(told), now_ms))
            }
            Err(why) => {
                let message = message::bounded(message::with_preemption(&told, &why));
                // It may have become possible by what was tried just now.
                let likeness = likeness.or_else(|| self.likeness(&pod));
                if let Some(likeness) = likeness.filter(|_| self.hopeless.len() < HOPELESS_MAX) {
                    self.hopeless.insert(likeness, message.clone());
                }
                self.waits(waiting, message, now_ms)
            }
        }
    }

    /// The best node that can have the pod.
    fn find(&mut self, cycle: &mut Cycle) -> Option<Slot> {
        let nominated = self.nominations.node_of(&cycle.pod.key);
        let nominated = nominated.and_then(|node| self.snapshot.slot(node));
        if let Some(slot) = nominated.filter(|slot| cycle.passes(&self.snapshot, *slot)) {
            return Some(slot);
        }
        let pod = cycle.pod.clone();
        if let Some(names) = pod.node_rule.names() {
            let slots = names
                .into_iter()
                .filter_map(|name| self.snapshot.slot(name));
            let mut feasible: Vec<Slot> = slots.collect();
            feasible.retain(|slot| cycle.passes(&self.snapshot, *slot));
            return score::best(&mut self.snapshot, cycle, &feasible, self.settings.packing);
        }
        let end = self.snapshot.slots_end();
        let enough = self.enough(self.snapshot.node_count());
        let mut feasible = Vec::new();
        let mut seen = 0;
        while seen < end && feasible.len() < enough {
            let slot = Slot(((self.next_slot + seen) % end) as u32);
            if cycle.passes(&self.snapshot, slot) {
                feasible.push(slot);
            }
            seen += 1;
        }
        self.next_slot = (self.next_slot + seen) % end.max(1);
        score::best(&mut self.snapshot, cycle, &feasible, self.settings.packing)
    }

    /// How many nodes are enough to choose from.
    fn enough(&self, nodes: usize) -> usize {
        if nodes < FEASIBLE_MIN {
            return nodes;
        }
        let percent = self
            .settings
            .nodes_percent
            .map(usize::from)
            .unwrap_or_else(|| {
                let percent = FEASIBLE_PERCENT_MAX.saturating_sub(nodes / NODES_PER_PERCENT);
                percent.max(FEASIBLE_PERCENT_MIN)
            });
        (nodes * percent.min(100) / 100).max(FEASIBLE_MIN)
    }

    fn binds(&mut self, waiting: Waiting, slot: Slot) -> Decision {
        let pod = &waiting.pod;
        let node = self.snapshot.node(slot).name.clone();
        self.snapshot.place(pod.clone(), &node);
        // What was kept for it is free for others, if it went elsewhere.
        self.news.room |= self.nominations.remove(&pod.key);
        self.assumed.insert(pod.uid.clone(), waiting.tries());
        self.news.company = true;
        Decision::Bind {
            pod: target(pod),
            node,
        }
    }

    /// Whether others are to go, and who; else why not.
    fn preempt(
        &mut self,
        cycle: &mut Cycle,
        refusals: &[(Slot, Refusal)],
    ) -> Result<Preemption, String> {
        let pod = cycle.pod.clone();
        if !pod.can_preempt {
            return Err(NEVER.to_owned());
        }
        if self.is_room_coming(&pod, refusals) {
            return Err(message::TERMINATING.to_owned());
        }
        let nodes = self.snapshot.node_count();
        let failed = match self.snapshot.has_lower(pod.priority) {
            true => preempt::preempt(&mut self.snapshot, &self.budgets, cycle, refusals),
            false => {
                let mut reasons = Reasons::default();
                for (_, refusal) in refusals {
                    reasons.add(if refusal.is_hopeless {
                        NOT_HELPFUL
                    } else {
                        NO_VICTIMS
                    });
                }
                Err(reasons)
            }
        };
        failed.map_err(|reasons| {
            if self.nominations.remove(&pod.key) {
                self.news.room = true;
            }
            reasons.told(nodes)
        })
    }

    /// Whether somebody less important goes from the node where room is made for a pod.
    fn is_room_coming(&self, pod: &Pod, refusals: &[(Slot, Refusal)]) -> bool {
        let node = self.nominations.node_of(&pod.key);
        let Some(slot) = node.and_then(|node| self.snapshot.slot(node)) else {
            return false;
        };
        let is_hopeless = refusals
            .iter()
            .any(|(it, refusal)| *it == slot && refusal.is_hopeless);
        let goes = |it: &Arc<Pod>| it.is_terminating && it.priority < pod.priority;
        !is_hopeless && self.snapshot.node(slot).pods.iter().any(goes)
    }

    fn preempts(
        &mut self,
        waiting: Waiting,
        preemption: Preemption,
        message: String,
        now_ms: u64,
    ) -> Decision {
        let pod = waiting.pod.clone();
        let node = self.snapshot.node(preemption.slot).name.clone();
        self.nominations
            .put(&pod, &node, &preemption.victims, now_ms);
        // Perhaps they can't be made to go.
        self.queue.park(waiting, now_ms, now_ms + GOING_MS_MAX);
        let going = preemption
            .victims
            .iter()
            .filter(|victim| !victim.is_terminating);
        Decision::Preempt {
            pod: target(&pod),
            node,
            message,
            victims: going.map(|victim| target(victim)).collect(),
        }
    }

    /// It waits; told unless its object says so already.
    fn waits(&mut self, waiting: Waiting, message: String, now_ms: u64) -> Option<Decision> {
        let pod = waiting.pod.clone();
        self.queue.park(waiting, now_ms, now_ms + PARKED_MS_MAX);
        let nominated = self.nominations.node_of(&pod.key).map(str::to_owned);
        let is_told = told(&pod.object) == Some(&message)
            && pod.nominated == nominated.as_deref().unwrap_or_default();
        (!is_told).then(|| Decision::Unschedulable {
            pod: target(&pod),
            message,
            nominated,
        })
    }

    /// What all pods have in common that fit nowhere for the same reasons, as long as there is no
    /// more room; none where that depends on more.
    fn likeness(&self, pod: &Pod) -> Option<String> {
        // Whom it could drive away who came meanwhile is only where there was no room before.
        if pod.terms.is_some() || self.nominations.node_of(&pod.key).is_some() {
            return None;
        }
        let (spec, metadata) = (&pod.object["spec"], &pod.object["metadata"]);
        let affinity = &spec["affinity"]["nodeAffinity"];
        let others: Vec<(&String, &u64)> = pod.requests.sure.others.iter().collect();
        let amounts = &pod.requests.sure;
        let ports: Vec<Value> = pod
            .ports
            .iter()
            .map(|it| json!([it.protocol, it.number, it.address]))
            .collect();
        let all = json!([
            pod.priority,
            pod.can_preempt,
            pod.key.namespace,
            metadata["labels"],
            spec["nodeSelector"],
            affinity,
            spec["tolerations"],
            ports,
            others,
            amounts.milli_cpu,
            amounts.memory_bytes,
            amounts.storage_bytes,
        ]);
        Some(all.to_string())
    }
}

/// What a pod's object says of why it waits.
fn told(object: &Value) -> Option<&String> {
    let conditions = object["status"]["conditions"].as_array()?;
    let scheduled = conditions.iter().find(|it| it["type"] == "PodScheduled")?;
    match &scheduled["message"] {
        Value::String(message) if scheduled["reason"] == "Unschedulable" => Some(message),
        _ => None,
    }
}

fn target(pod: &Pod) -> Target {
    Target {
        name: pod.name(),
        uid: pod.uid.clone(),
        resource_version: crate::core::object::meta(&pod.object, "resourceVersion").to_owned(),
    }
}
