//! What the pods around say to a pod: affinity, anti-affinity, both ways, and spreading. It is
//! counted once per domain when a pod's turn comes, so that each node is a few look-ups; what
//! would be without some pods is told by [`Around::change`].

use std::sync::Arc;

use super::{
    super::{
        pod::Pod,
        snapshot::{Demand, Facts, Matcher, Node, Slot, Snapshot, Topology, demands},
        terms::{Spread, Term},
    },
    Refusal,
};

const EXISTING_ANTI: &str = "node(s) didn't satisfy existing pods anti-affinity rules";
const ANTI: &str = "node(s) didn't match pod anti-affinity rules";
const AFFINITY: &str = "node(s) didn't match pod affinity rules";
const SPREAD: &str = "node(s) didn't match pod topology spread constraints";
const SPREAD_LABEL: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

/// A pod comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Change {
    Comes,
    Goes,
}

/// How many are in each domain of a topology.
#[derive(Debug)]
struct Domains {
    topology: Arc<Topology>,
    counts: Vec<u32>,
}

impl Domains {
    fn new(topology: Arc<Topology>) -> Domains {
        let counts = vec![0; topology.domains_end()];
        Domains { topology, counts }
    }

    fn at(&self, slot: Slot) -> Option<u32> {
        Some(self.counts[self.topology.domain(slot)?])
    }

    fn add(&mut self, slot: Slot, count: u32) {
        if let Some(domain) = self.topology.domain(slot) {
            self.counts[domain] += count;
        }
    }

    fn change(&mut self, slot: Slot, change: Change) {
        if let Some(domain) = self.topology.domain(slot) {
            match change {
                Change::Comes => self.counts[domain] += 1,
                Change::Goes => self.counts[domain] -= 1,
            }
        }
    }
}

/// How evenly those of one constraint are spread over the nodes that count.
#[derive(Debug)]
struct Evenness {
    rule: Spread,
    domains: Domains,
    /// Which nodes count, by their places.
    counts_node: Vec<bool>,
    /// Which domains there are.
    is_there: Vec<bool>,
    /// What the emptiest has.
    least: u32,
    /// Whether the pod will be counted itself.
    is_own: bool,
}

impl Evenness {
    fn find_least(&mut self) {
        let there = self
            .domains
            .counts
            .iter()
            .zip(&self.is_there)
            .filter(|(_, is)| **is);
        let count = there.clone().count();
        let least = there.map(|(count, _)| *count).min();
        self.least = match count < self.rule.domains_min {
            true => 0,
            // No node counts: none is too full.
            false => least.unwrap_or(u32::MAX),
        };
    }

    /// How many a domain of a node would have more than the emptiest; none if the node has none.
    fn skew(&self, slot: Slot) -> Option<i64> {
        let count = i64::from(self.domains.at(slot)?);
        Some(count + i64::from(self.is_own) - i64::from(self.least))
    }
}

/// What the pods around say to one pod.
#[derive(Debug, Default)]
pub(in super::super) struct Around {
    /// By topology key: pods that bear none like it beside them.
    existing_anti: Vec<(String, Domains)>,
    /// By its own terms: those that it does not bear.
    anti: Vec<Domains>,
    /// By its own terms: those that it needs beside it.
    affinity: Vec<Domains>,
    /// How many it finds, anywhere where there is a topology of one of the terms.
    affinity_found: u64,
    /// Whether it is one of those itself.
    is_own_affinity: bool,
    spread: Vec<Evenness>,
}

impl Around {
    /// Counts what concerns a pod. `tolerates` says of nodes whether it bears their taints.
    pub(super) fn new(
        snapshot: &mut Snapshot,
        pod: &Pod,
        tolerates: impl FnMut(&Snapshot, &Facts) -> bool,
    ) -> Around {
        let mut around = Around::default();
        around.count_existing_anti(snapshot, pod);
        if let Some(terms) = &pod.terms {
            around.anti = terms
                .anti_affinity
                .iter()
                .map(|term| domains(snapshot, term, vec![term.clone()]))
                .collect();
            around.count_affinity(snapshot, pod, &terms.affinity);
            around.count_spread(snapshot, pod, tolerates);
        }
        around
    }

    /// Whether there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.existing_anti.is_empty()
            && self.anti.is_empty()
            && self.affinity.is_empty()
            && self.spread.is_empty()
    }

    fn count_existing_anti(&mut self, snapshot: &mut Snapshot, pod: &Pod) {
        let is_anti = |demand| demand == Demand::Anti;
        snapshot.each_carried(pod, is_anti, |carried, topology| {
            let key = &carried.term.topology_key;
            let domains = self.existing_anti_of(key, topology);
            for (slot, count) in carried.tally.iter() {
                domains.add(slot, count);
            }
        });
    }

    fn existing_anti_of(&mut self, key: &str, topology: Arc<Topology>) -> &mut Domains {
        let place = self.existing_anti.iter().position(|(it, _)| it == key);
        let place = place.unwrap_or_else(|| {
            self.existing_anti
                .push((key.to_owned(), Domains::new(topology)));
            self.existing_anti.len() - 1
        });
        &mut self.existing_anti[place].1
    }

    fn count_affinity(&mut self, snapshot: &mut Snapshot, pod: &Pod, terms: &[Term]) {
        for term in terms {
            let domains = domains(snapshot, term, terms.to_vec());
            self.affinity_found += domains.counts.iter().map(|it| u64::from(*it)).sum::<u64>();
            self.affinity.push(domains);
        }
        let all = Matcher::All(terms.to_vec());
        self.is_own_affinity = !terms.is_empty() && all.matches(pod, &snapshot.namespaces);
    }

    fn count_spread(
        &mut self,
        snapshot: &mut Snapshot,
        pod: &Pod,
        mut tolerates: impl FnMut(&Snapshot, &Facts) -> bool,
    ) {
        let all = pod.terms.iter().flat_map(|terms| &terms.spread);
        let required: Vec<&Spread> = all.filter(|it| it.is_required).collect();
        let topologies: Vec<Arc<Topology>> = required
            .iter()
            .map(|rule| snapshot.topology(&rule.topology_key))
            .collect();
        for (rule, topology) in required.iter().zip(&topologies) {
            let mut evenness = Evenness {
                rule: (*rule).clone(),
                counts_node: vec![false; snapshot.slots_end()],
                is_there: vec![false; topology.domains_end()],
                domains: Domains::new(topology.clone()),
                least: 0,
                is_own: rule.matches(&pod.key.namespace, pod.labels()),
            };
            for (slot, node, facts) in snapshot.all() {
                let has_all = topologies.iter().all(|it| it.domain(slot).is_some());
                let Some(domain) = topology.domain(slot).filter(|_| has_all) else {
                    continue;
                };
                let counts = (!rule.honors_node_rule || is_allowed(pod, node, facts))
                    && (!rule.honors_taints || tolerates(snapshot, facts));
                evenness.counts_node[slot.index()] = counts;
                evenness.is_there[domain] |= counts;
            }
            let tally = snapshot.matched(Matcher::Spread((*rule).clone()));
            for (slot, count) in tally.iter() {
                if evenness.counts_node[slot.index()] {
                    evenness.domains.add(slot, count);
                }
            }
            evenness.find_least();
            self.spread.push(evenness);
        }
    }

    /// Tells what would be if a pod were on a node, or not any more. What is around the pod
    /// itself must have been counted from a snapshot in which it was otherwise.
    pub(in super::super) fn change(
        &mut self,
        snapshot: &mut Snapshot,
        pod: &Pod,
        other: &Pod,
        slot: Slot,
        change: Change,
    ) {
        let namespace = &pod.key.namespace;
        for (demand, term) in demands(other) {
            let is_meant = demand == Demand::Anti
                && term.matches(namespace, pod.labels(), &snapshot.namespaces);
            if is_meant {
                let topology = snapshot.topology(&term.topology_key);
                self.existing_anti_of(&term.topology_key, topology)
                    .change(slot, change);
            }
        }
        let Some(terms) = &pod.terms else {
            return;
        };
        let is_meant =
            |term: &Term| term.matches(&other.key.namespace, other.labels(), &snapshot.namespaces);
        for (term, domains) in terms.anti_affinity.iter().zip(&mut self.anti) {
            if is_meant(term) {
                domains.change(slot, change);
            }
        }
        if terms.affinity.iter().all(is_meant) {
            for domains in &mut self.affinity {
                if domains.at(slot).is_some() {
                    domains.change(slot, change);
                    match change {
                        Change::Comes => self.affinity_found += 1,
                        Change::Goes => self.affinity_found -= 1,
                    }
                }
            }
        }
        for evenness in &mut self.spread {
            let is_counted = !other.is_terminating
                && evenness.counts_node[slot.index()]
                && evenness.rule.matches(&other.key.namespace, other.labels());
            if is_counted {
                evenness.domains.change(slot, change);
                evenness.find_least();
            }
        }
    }

    /// Why the pods around keep it from a node.
    pub(super) fn refusal(&self, slot: Slot) -> Option<Refusal> {
        self.refused_by_spread(slot)
            .or_else(|| self.refused_by_affinity(slot))
    }

    fn refused_by_spread(&self, slot: Slot) -> Option<Refusal> {
        self.spread
            .iter()
            .find_map(|evenness| match evenness.skew(slot) {
                None => Some(Refusal::hopeless(SPREAD_LABEL)),
                Some(skew) if skew > i64::from(evenness.rule.skew_max) => Some(Refusal::of(SPREAD)),
                Some(_) => None,
            })
    }

    fn refused_by_affinity(&self, slot: Slot) -> Option<Refusal> {
        let has_all = self
            .affinity
            .iter()
            .all(|domains| domains.at(slot).is_some());
        let finds_all = self
            .affinity
            .iter()
            .all(|domains| domains.at(slot) > Some(0));
        // The first of those that want to be together has to begin somewhere.
        let is_first = self.affinity_found == 0 && self.is_own_affinity;
        if !(has_all && (finds_all || is_first)) {
            return Some(Refusal::hopeless(AFFINITY));
        }
        if self.anti.iter().any(|domains| domains.at(slot) > Some(0)) {
            return Some(Refusal::of(ANTI));
        }
        let is_repelled = |(_, domains): &(String, Domains)| domains.at(slot) > Some(0);
        self.existing_anti
            .iter()
            .any(is_repelled)
            .then(|| Refusal::of(EXISTING_ANTI))
    }
}

/// Whether a pod's node selector and node affinity allow a node.
fn is_allowed(pod: &Pod, node: &Node, facts: &Facts) -> bool {
    pod.node_rule.allows(&node.name, &facts.labels)
}

/// How many pods that all terms select are in the domains of one of them.
fn domains(snapshot: &mut Snapshot, term: &Term, all: Vec<Term>) -> Domains {
    let topology = snapshot.topology(&term.topology_key);
    let mut domains = Domains::new(topology);
    for (slot, count) in snapshot.matched(Matcher::All(all)).iter() {
        domains.add(slot, count);
    }
    domains
}
