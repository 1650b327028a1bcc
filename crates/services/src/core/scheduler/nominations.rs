//! Pods that others make room for: on which node, and for whom it is kept meanwhile. It is kept
//! from pods of lower or the same priority only; whoever is more important may take it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    filter::Kept,
    pod::{Key, Pod},
    snapshot::{Slot, Snapshot},
};

/// After so long it is not waited for any more that the victims begin to go.
pub(super) const GOING_MS_MAX: u64 = 10_000;

#[derive(Debug)]
struct Nomination {
    pod: Arc<Pod>,
    node: String,
    /// Who was asked to go, with the uid.
    victims: Vec<(Key, String)>,
    since_ms: u64,
}

/// All of them, by the pod.
#[derive(Debug, Default)]
pub(super) struct Nominations(BTreeMap<Key, Nomination>);

impl Nominations {
    /// Room is made for a pod. Less important pods that waited for the same room wait no more.
    pub(super) fn put(&mut self, pod: &Arc<Pod>, node: &str, victims: &[Arc<Pod>], now_ms: u64) {
        self.0
            .retain(|_, it| it.node != node || it.pod.priority >= pod.priority);
        self.adopt(pod, node);
        if let Some(it) = self.0.get_mut(&pod.key) {
            it.victims = victims
                .iter()
                .map(|pod| (pod.key.clone(), pod.uid.clone()))
                .collect();
            it.since_ms = now_ms;
        }
    }

    /// Room was made for a pod at some time before.
    pub(super) fn adopt(&mut self, pod: &Arc<Pod>, node: &str) {
        let nomination = Nomination {
            pod: pod.clone(),
            node: node.to_owned(),
            victims: Vec::new(),
            since_ms: 0,
        };
        self.0.insert(pod.key.clone(), nomination);
    }

    /// A pod waits for it no more. Says whether it did.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        self.0.remove(key).is_some()
    }

    /// Where room is made for a pod.
    pub(super) fn node_of(&self, key: &Key) -> Option<&str> {
        self.0.get(key).map(|it| it.node.as_str())
    }

    /// Whether those who were asked to go for a pod have not begun to.
    pub(super) fn is_awaiting(&self, key: &Key, snapshot: &Snapshot, now_ms: u64) -> bool {
        let Some(it) = self.0.get(key) else {
            return false;
        };
        let stays = |(key, uid): &(Key, String)| {
            snapshot
                .pod(key)
                .is_some_and(|(pod, _)| pod.uid == *uid && !pod.is_terminating)
        };
        now_ms < it.since_ms.saturating_add(GOING_MS_MAX) && it.victims.iter().any(stays)
    }

    /// What a pod has to leave to others.
    pub(super) fn kept_from(&self, pod: &Pod, snapshot: &Snapshot) -> BTreeMap<Slot, Kept> {
        self.kept(snapshot, |it| {
            it.key != pod.key && it.priority >= pod.priority
        })
    }

    /// What is kept for some.
    pub(super) fn kept(
        &self,
        snapshot: &Snapshot,
        is_for: impl Fn(&Pod) -> bool,
    ) -> BTreeMap<Slot, Kept> {
        let mut kept: BTreeMap<Slot, Kept> = BTreeMap::new();
        for it in self.0.values().filter(|it| is_for(&it.pod)) {
            if let Some(slot) = snapshot.slot(&it.node) {
                let kept = kept.entry(slot).or_default();
                kept.amounts.add(&it.pod.requests.sure);
                kept.ports.extend(it.pod.ports.iter().cloned());
            }
        }
        kept
    }
}
