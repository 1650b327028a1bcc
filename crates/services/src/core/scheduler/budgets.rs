//! Budgets of disruption as preemption heeds them: pods that no budget wants to keep go first,
//! and a node is chosen where the fewest go against a budget; but a pod of higher priority gets
//! its room in any case ("Pod Priority and Preemption", "PodDisruptionBudget is supported, but
//! not guaranteed").

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::pod::{Key, Pod, labels_of};
use crate::core::selector::LabelSelector;

/// What one budget says of the pods of its namespace.
#[derive(Debug)]
struct Budget {
    selector: LabelSelector,
    /// So many of them may go now.
    allowed: i64,
    /// The names of those that go already and are taken off `allowed`.
    going: BTreeSet<String>,
}

/// All budgets, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Budgets(BTreeMap<String, BTreeMap<String, Budget>>);

impl Budgets {
    /// A budget was made or changed, or (`None`) is gone.
    pub(super) fn changed(&mut self, namespace: &str, name: &str, object: Option<&Value>) {
        let Some(object) = object else {
            if let Some(all) = self.0.get_mut(namespace) {
                all.remove(name);
                if all.is_empty() {
                    self.0.remove(namespace);
                }
            }
            return;
        };
        let selector = LabelSelector::from_json(&object["spec"]["selector"]);
        let status = &object["status"];
        let going = status["disruptedPods"].as_object();
        let budget = Budget {
            selector: selector.unwrap_or_else(|_| LabelSelector::nothing()),
            allowed: status["disruptionsAllowed"].as_i64().unwrap_or_default(),
            going: going
                .into_iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .collect(),
        };
        let all = self.0.entry(namespace.to_owned()).or_default();
        all.insert(name.to_owned(), budget);
    }

    /// The namespaces and names of all.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.0.iter().flat_map(|(namespace, all)| {
            all.keys().map(|name| Key {
                namespace: namespace.clone(),
                name: name.clone(),
            })
        })
    }

    /// Parts pods into those whose going would be against a budget, if all before them went as
    /// well, and the others.
    pub(super) fn part(&self, pods: Vec<Arc<Pod>>) -> (Vec<Arc<Pod>>, Vec<Arc<Pod>>) {
        let mut left: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        pods.into_iter().partition(|pod| {
            let mut is_against = false;
            let Some((namespace, all)) = self.0.get_key_value(&pod.key.namespace) else {
                return false;
            };
            for (name, budget) in all {
                let is_counted = pod.is_terminating || budget.going.contains(&pod.key.name);
                if is_counted || !budget.selector.matches(labels_of(&pod.object)) {
                    continue;
                }
                let left = left.entry((namespace, name)).or_insert(budget.allowed);
                *left -= 1;
                is_against |= *left < 0;
            }
            is_against
        })
    }
}
