//! What clients saw and replicas applied, and what must hold of it.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use atoll_kv::core::{
    partition::State,
    paxos::{Entry, LogIndex},
};

use super::registers::{KEYS, Op, Registers};
use crate::check::search::{Found, search};

/// A call of a client.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) client: usize,
    pub(super) key: usize,
    pub(super) op: Op,
    pub(super) invoked: u64,
    /// When it was answered, and what; a call that was refused is taken out.
    pub(super) returned: Option<(u64, u64)>,
}

/// A run's events, as the checkers read them.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) calls: Vec<Call>,
    /// What was applied at each place of the log first, and the state after it.
    applied: BTreeMap<LogIndex, (u64, u64)>,
    violations: Vec<String>,
}

fn fingerprint(value: &impl Hash) -> u64 {
    // Keyed with zeros: the same in every run.
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl History {
    /// A replica applied an entry.
    pub(super) fn applied(&mut self, node: usize, entry: &Entry) {
        let print = fingerprint(&entry.payload);
        let first = self.applied.entry(entry.index()).or_insert((print, 0));
        if first.0 != print {
            self.violate(format!(
                "replicas agree: node {node} applied another entry {} than was applied before",
                entry.index()
            ));
        }
    }

    /// A replica's state after what it applied.
    pub(super) fn state(&mut self, node: usize, state: &State<Registers>) {
        if state.applied.index == LogIndex::default() {
            return;
        }
        let print = fingerprint(&(&state.machine, state.now_ms));
        let Some((_, first)) = self.applied.get_mut(&state.applied.index) else {
            return;
        };
        if *first == 0 {
            *first = print;
        } else if *first != print {
            self.violate(format!(
                "replicas agree: node {node}'s state after entry {} is another",
                state.applied.index
            ));
        }
    }

    pub(super) fn violate(&mut self, violation: String) {
        // One line tells as much as a thousand.
        if self.violations.len() < 5 {
            self.violations.push(violation);
        }
    }

    /// Number of entries that were applied somewhere.
    pub(super) fn entries(&self) -> usize {
        self.applied.len()
    }

    /// What contradicts the properties, and the number of keys for which no order was found in
    /// time.
    pub(super) fn check(mut self) -> (Vec<String>, usize) {
        let mut undecided = 0;
        for key in 0..KEYS {
            let calls: Vec<&Call> = self.calls.iter().filter(|call| call.key == key).collect();
            let times: Vec<_> = calls
                .iter()
                .map(|call| (call.invoked, call.returned.map(|(at, _)| at)))
                .collect();
            let step = |value: &u64, at: usize| {
                let call = calls[at];
                let (after, answer) = call.op.on(*value);
                let fits = call.returned.is_none_or(|(_, seen)| seen == answer);
                fits.then_some(after)
            };
            match search(&times, 0, step) {
                Found::Order => {}
                Found::GaveUp => undecided += 1,
                Found::None(stuck) => {
                    let violation = format!(
                        "linearizable: key {key} has no order of its {} calls; none gets past {:?}",
                        calls.len(),
                        calls[stuck]
                    );
                    self.violations.push(violation);
                }
            }
        }
        (self.violations, undecided)
    }
}
