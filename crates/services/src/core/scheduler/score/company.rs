//! How much a pod and those around would like to be together, or apart: its preferred terms,
//! theirs, and their required affinity, of which more is welcome.

use std::sync::Arc;

use super::super::{
    pod::Pod,
    snapshot::{Demand, Matcher, Slot, Snapshot, Topology},
};

/// What required affinity of a pod that is there counts for.
const REQUIRED_WEIGHT: i64 = 1;

/// By topology key: how welcome the pod is in each domain.
#[derive(Default)]
struct Welcome(Vec<(String, Arc<Topology>, Vec<i64>)>);

impl Welcome {
    fn of(&mut self, key: &str, topology: Arc<Topology>) -> (&Topology, &mut [i64]) {
        let place = self.0.iter().position(|(it, ..)| it == key);
        let place = place.unwrap_or_else(|| {
            let sums = vec![0; topology.domains_end()];
            self.0.push((key.to_owned(), topology, sums));
            self.0.len() - 1
        });
        let (_, topology, sums) = &mut self.0[place];
        (topology, sums)
    }
}

/// How welcome a pod is on each node; none if it is the same everywhere.
pub(super) fn welcome(snapshot: &mut Snapshot, pod: &Pod, feasible: &[Slot]) -> Option<Vec<i64>> {
    let mut welcome = Welcome::default();
    let is_soft = |demand| demand != Demand::Anti;
    snapshot.each_carried(pod, is_soft, |carried, topology| {
        let weight = match carried.demand {
            Demand::Prefers(weight) => weight,
            Demand::Affinity | Demand::Anti => REQUIRED_WEIGHT,
        };
        let (topology, sums) = welcome.of(&carried.term.topology_key, topology);
        for (slot, count) in carried.tally.iter() {
            if let Some(domain) = topology.domain(slot) {
                sums[domain] += weight * i64::from(count);
            }
        }
    });
    for (weight, term) in pod.terms.iter().flat_map(|terms| &terms.preferred) {
        let topology = snapshot.topology(&term.topology_key);
        let (topology, sums) = welcome.of(&term.topology_key, topology);
        for (slot, count) in snapshot.matched(Matcher::All(vec![term.clone()])).iter() {
            if let Some(domain) = topology.domain(slot) {
                sums[domain] += weight * i64::from(count);
            }
        }
    }
    if welcome.0.is_empty() {
        return None;
    }
    let on_node = |slot: &Slot| {
        let sums = welcome.0.iter();
        sums.filter_map(|(_, topology, sums)| Some(sums[topology.domain(*slot)?]))
            .sum()
    };
    Some(feasible.iter().map(on_node).collect())
}
