//! Which nodes are one place: those whose label of a key has the same value. The domains of the
//! keys that pods ask about are kept, as numbers, for as many keys as are in use.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::Slot;

/// So many keys are kept; what was not used for longest goes first.
const KEYS_MAX: usize = 64;
/// So many values more than twice the nodes are kept of nodes that have gone.
const SPARE_VALUES_MAX: usize = 64;
/// The domain of a node that has no such label.
const NOWHERE: u32 = u32::MAX;

/// The domains of one key.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Topology {
    values: BTreeMap<String, u32>,
    of_slot: Vec<u32>,
}

impl Topology {
    /// The domain of a node; none if it has no such label.
    pub(in super::super) fn domain(&self, slot: Slot) -> Option<usize> {
        let domain = *self.of_slot.get(slot.index())?;
        (domain != NOWHERE).then_some(domain as usize)
    }

    /// More than the number of any domain.
    pub(in super::super) fn domains_end(&self) -> usize {
        self.values.len()
    }

    fn set(&mut self, slot: Slot, value: Option<&str>) {
        if self.of_slot.len() <= slot.index() {
            self.of_slot.resize(slot.index() + 1, NOWHERE);
        }
        let next = u32::try_from(self.values.len()).expect("fewer nodes than 2^32");
        self.of_slot[slot.index()] = match value {
            None => NOWHERE,
            Some(value) => match self.values.get(value) {
                Some(domain) => *domain,
                None => {
                    self.values.insert(value.to_owned(), next);
                    next
                }
            },
        };
    }
}

/// The domains of every key in use.
#[derive(Debug, Default)]
pub(in super::super) struct Topologies {
    by_key: BTreeMap<String, (u64, Arc<Topology>)>,
    uses: u64,
}

impl Topologies {
    /// The domains of a key, for nodes with these labels.
    pub(super) fn of<'a>(
        &mut self,
        key: &str,
        nodes: impl Iterator<Item = (Slot, &'a Map<String, Value>)>,
    ) -> Arc<Topology> {
        self.uses += 1;
        if let Some((used, topology)) = self.by_key.get_mut(key) {
            *used = self.uses;
            return topology.clone();
        }
        if self.by_key.len() >= KEYS_MAX {
            let oldest = self.by_key.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.by_key.remove(&oldest);
            }
        }
        let mut topology = Topology::default();
        for (slot, labels) in nodes {
            topology.set(slot, labels.get(key).and_then(Value::as_str));
        }
        let topology = Arc::new(topology);
        self.by_key
            .insert(key.to_owned(), (self.uses, topology.clone()));
        topology
    }

    /// A node has new labels, or is gone; there are so many now.
    pub(super) fn changed(
        &mut self,
        slot: Slot,
        labels: Option<&Map<String, Value>>,
        nodes: usize,
    ) {
        for (key, (_, topology)) in &mut self.by_key {
            let value = labels
                .and_then(|labels| labels.get(key))
                .and_then(Value::as_str);
            Arc::make_mut(topology).set(slot, value);
        }
        // They are made anew when they are asked for.
        let values_max = 2 * nodes + SPARE_VALUES_MAX;
        self.by_key
            .retain(|_, (_, topology)| topology.values.len() <= values_max);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn nodes_with_the_same_value_are_one_place() {
        let nodes = [
            json!({"z": "a"}),
            json!({"z": "b"}),
            json!({}),
            json!({"z": "a"}),
        ]
        .map(labels);
        let all = || (0..).map(Slot).zip(&nodes);
        let mut topologies = Topologies::default();
        let topology = topologies.of("z", all());
        let domains: Vec<Option<usize>> = (0..5).map(|slot| topology.domain(Slot(slot))).collect();
        assert_eq!(domains, [Some(0), Some(1), None, Some(0), None]);
        assert_eq!(topology.domains_end(), 2);
        topologies.changed(Slot(2), Some(&labels(json!({"z": "c"}))), 4);
        topologies.changed(Slot(0), None, 3);
        let topology = topologies.of("z", std::iter::empty());
        let domains: Vec<Option<usize>> = (0..4).map(|slot| topology.domain(Slot(slot))).collect();
        assert_eq!(domains, [None, Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn keys_and_values_that_nobody_needs_go() {
        let mut topologies = Topologies::default();
        for key in 0..200 {
            topologies.of("used", std::iter::empty());
            topologies.of(&key.to_string(), std::iter::empty());
        }
        assert_eq!(topologies.by_key.len(), KEYS_MAX);
        assert!(topologies.by_key.contains_key("used"));
        for host in 0..1_000 {
            topologies.of("host", std::iter::empty());
            topologies.changed(Slot(0), Some(&labels(json!({"host": host.to_string()}))), 1);
        }
        assert!(topologies.of("host", std::iter::empty()).domains_end() <= 2 + SPARE_VALUES_MAX);
    }
}
