//! How many pods of which kind are on which node. Counted without end are pods by their owner,
//! and the terms that pods carry, since these concern pods that come after them; counted as long
//! as somebody asks are the pods that some term or constraint selects.

use std::collections::BTreeMap;

use super::{
    super::{
        pod::Pod,
        terms::{NamespaceLabels, Spread, Term},
    },
    Slot,
};

/// So many counts are kept for those who may ask again.
const COUNTERS_MAX: usize = 512;

/// How many on which node.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Tally(BTreeMap<Slot, u32>);

impl Tally {
    fn add(&mut self, slot: Slot) {
        *self.0.entry(slot).or_default() += 1;
    }

    fn remove(&mut self, slot: Slot) {
        if let Some(count) = self.0.get_mut(&slot) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&slot);
            }
        }
    }

    /// Where there are any, and how many.
    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (Slot, u32)> + '_ {
        self.0.iter().map(|(slot, count)| (*slot, *count))
    }
}

/// Which pods are counted.
#[derive(Clone, Debug)]
pub(in super::super) enum Matcher {
    /// Those that every one of these selects.
    All(Vec<Term>),
    /// Those that are spread together, but for those that are being deleted.
    Spread(Spread),
}

impl Matcher {
    /// Whether a pod is counted.
    pub(in super::super) fn matches(&self, pod: &Pod, namespaces: &dyn NamespaceLabels) -> bool {
        let namespace = &pod.key.namespace;
        match self {
            Matcher::All(terms) => terms
                .iter()
                .all(|term| term.matches(namespace, pod.labels(), namespaces)),
            Matcher::Spread(spread) => {
                !pod.is_terminating && spread.matches(namespace, pod.labels())
            }
        }
    }

    /// Whether it depends on labels of namespaces.
    fn selects_namespaces(&self) -> bool {
        match self {
            Matcher::All(terms) => terms.iter().any(Term::selects_namespaces),
            Matcher::Spread(_) => false,
        }
    }

    /// Matchers that have the same count the same.
    fn about(&self) -> String {
        match self {
            Matcher::All(terms) => {
                let about: Vec<&str> = terms.iter().map(|term| term.about.as_str()).collect();
                about.join("\n")
            }
            Matcher::Spread(spread) => spread.about.clone(),
        }
    }

    /// The namespace that all are in; none if they may be in several.
    fn scope(&self) -> Option<String> {
        match self {
            // If they are in two at once, there are none.
            Matcher::All(terms) => terms
                .iter()
                .find_map(Term::only_namespace)
                .map(str::to_owned),
            Matcher::Spread(spread) => Some(spread.namespace().to_owned()),
        }
    }
}

#[derive(Debug)]
struct Counter {
    matcher: Matcher,
    tally: Tally,
    used: u64,
}

/// What a pod that is there asks of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Demand {
    /// None of those beside it.
    Anti,
    /// There must be one of those beside it; more are welcome.
    Affinity,
    /// Rather with (more than 0) or without those.
    Prefers(i64),
}

/// A term that pods carry, and where they are.
#[derive(Debug)]
pub(in super::super) struct Carried {
    pub(in super::super) demand: Demand,
    pub(in super::super) term: Term,
    pub(in super::super) tally: Tally,
}

/// All counts. Scopes are namespaces; `None` is for what is about several.
#[derive(Debug, Default)]
pub(in super::super) struct Counts {
    owners: BTreeMap<String, Tally>,
    carried: BTreeMap<Option<String>, BTreeMap<String, Carried>>,
    counters: BTreeMap<Option<String>, BTreeMap<String, Counter>>,
    uses: u64,
}

impl Counts {
    /// A pod has come to a node.
    pub(super) fn add(&mut self, pod: &Pod, slot: Slot, namespaces: &dyn NamespaceLabels) {
        if let Some(owner) = pod.owner_uid.as_ref().filter(|_| !pod.is_terminating) {
            self.owners.entry(owner.clone()).or_default().add(slot);
        }
        for (demand, term) in demands(pod) {
            let scope = term.only_namespace().map(str::to_owned);
            let carried = self.carried.entry(scope).or_default();
            let carried = carried
                .entry(label(demand, term))
                .or_insert_with(|| Carried {
                    demand,
                    term: term.clone(),
                    tally: Tally::default(),
                });
            carried.tally.add(slot);
        }
        self.each_counter(pod, namespaces, |tally| tally.add(slot));
    }

    /// A pod that was added goes.
    pub(super) fn remove(&mut self, pod: &Pod, slot: Slot, namespaces: &dyn NamespaceLabels) {
        if let Some(owner) = pod.owner_uid.as_ref().filter(|_| !pod.is_terminating)
            && let Some(tally) = self.owners.get_mut(owner)
        {
            tally.remove(slot);
            if tally.0.is_empty() {
                self.owners.remove(owner);
            }
        }
        for (demand, term) in demands(pod) {
            let scope = term.only_namespace().map(str::to_owned);
            let Some(inside) = self.carried.get_mut(&scope) else {
                continue;
            };
            let label = label(demand, term);
            if let Some(carried) = inside.get_mut(&label) {
                carried.tally.remove(slot);
                if carried.tally.0.is_empty() {
                    inside.remove(&label);
                }
            }
            if inside.is_empty() {
                self.carried.remove(&scope);
            }
        }
        self.each_counter(pod, namespaces, |tally| tally.remove(slot));
    }

    fn each_counter(
        &mut self,
        pod: &Pod,
        namespaces: &dyn NamespaceLabels,
        change: impl Fn(&mut Tally),
    ) {
        if self.counters.is_empty() {
            return;
        }
        for scope in [Some(pod.key.namespace.clone()), None] {
            let inside = self.counters.get_mut(&scope);
            for counter in inside.into_iter().flat_map(BTreeMap::values_mut) {
                if counter.matcher.matches(pod, namespaces) {
                    change(&mut counter.tally);
                }
            }
        }
    }

    /// The pods of an owner that are not being deleted.
    pub(in super::super) fn of_owner(&self, uid: &str) -> Option<&Tally> {
        self.owners.get(uid)
    }

    /// The terms that may be about pods of a namespace.
    pub(in super::super) fn carried(&self, namespace: &str) -> impl Iterator<Item = &Carried> {
        let scopes = match self.carried.is_empty() {
            true => [None, None],
            false => [
                self.carried.get(&Some(namespace.to_owned())),
                self.carried.get(&None),
            ],
        };
        scopes.into_iter().flatten().flat_map(BTreeMap::values)
    }

    /// The pods that a matcher matches, if they are counted, else out of all pods.
    pub(super) fn matched<'a, P: Iterator<Item = (&'a Pod, Slot)>>(
        &mut self,
        matcher: Matcher,
        namespaces: &dyn NamespaceLabels,
        pods: impl FnOnce(Option<&str>) -> P,
    ) -> &Tally {
        self.uses += 1;
        let (scope, about) = (matcher.scope(), matcher.about());
        let is_known = self
            .counters
            .get(&scope)
            .is_some_and(|it| it.contains_key(&about));
        if !is_known {
            self.make_room();
        }
        let inside = self.counters.entry(scope.clone()).or_default();
        let counter = inside.entry(about).or_insert_with(|| {
            let mut tally = Tally::default();
            for (pod, slot) in pods(scope.as_deref()) {
                if matcher.matches(pod, namespaces) {
                    tally.add(slot);
                }
            }
            Counter {
                matcher,
                tally,
                used: 0,
            }
        });
        counter.used = self.uses;
        &counter.tally
    }

    /// Forgets the count that was not used for longest, if there are too many.
    fn make_room(&mut self) {
        let count: usize = self.counters.values().map(BTreeMap::len).sum();
        if count < COUNTERS_MAX {
            return;
        }
        let all = self.counters.iter().flat_map(|(scope, inside)| {
            inside
                .iter()
                .map(move |(about, counter)| (counter.used, scope, about))
        });
        let Some((_, scope, about)) = all.min() else {
            return;
        };
        let (scope, about) = (scope.clone(), about.clone());
        if let Some(inside) = self.counters.get_mut(&scope) {
            inside.remove(&about);
            if inside.is_empty() {
                self.counters.remove(&scope);
            }
        }
    }

    /// Labels of a namespace have changed, by which terms may select.
    pub(super) fn namespace_changed(&mut self) {
        for inside in self.counters.values_mut() {
            inside.retain(|_, counter| !counter.matcher.selects_namespaces());
        }
        self.counters.retain(|_, inside| !inside.is_empty());
    }
}

/// What a pod asks of others.
pub(in super::super) fn demands(pod: &Pod) -> impl Iterator<Item = (Demand, &Term)> {
    pod.terms.iter().flat_map(|terms| {
        let anti = terms.anti_affinity.iter().map(|term| (Demand::Anti, term));
        let affinity = terms.affinity.iter().map(|term| (Demand::Affinity, term));
        let preferred = terms.preferred.iter();
        let preferred = preferred.map(|(weight, term)| (Demand::Prefers(*weight), term));
        anti.chain(affinity).chain(preferred)
    })
}

fn label(demand: Demand, term: &Term) -> String {
    format!("{demand:?}\n{}\n{}", term.topology_key, term.about)
}
