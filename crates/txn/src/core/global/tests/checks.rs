//! What must hold.
//!
//! - No participant commits while another aborts; of a saga's steps, each is done after those
//!   before it and undone before them.
//! - The log decides a transaction once.
//! - What clients are told is what was decided.
//! - Keys of the control plane are written if and only if the log says committed, once.
//! - At the end: who voted yes in what was committed has committed, once; what was aborted is
//!   nowhere done.

use std::collections::BTreeMap;

use super::super::{
    Branch, Kind, Outcome, Place, Record, Report, TransactionId,
    participant::Happened,
    record::{Phase, Standing},
};

#[derive(Default)]
pub(super) struct Checks {
    violations: Vec<String>,
    /// The last record of each transaction.
    records: BTreeMap<TransactionId, Record>,
    decided: BTreeMap<TransactionId, Outcome>,
    told: BTreeMap<TransactionId, Outcome>,
    /// What happened at each place, in order.
    happened: BTreeMap<TransactionId, Vec<(Place, Outcome)>>,
    read_only: BTreeMap<Branch, ()>,
    /// Whose keys were written, each time.
    keys: Vec<Branch>,
    pub(super) crashes: u64,
    pub(super) conflicts: u64,
    /// Decisions that keys have refused.
    pub(super) refusals: u64,
    pub(super) taken_over: u64,
    /// Ends that participants came to before the log had decided.
    pub(super) by_peers: u64,
}

impl Checks {
    pub(super) fn violation(&self) -> Result<(), String> {
        match self.violations.first() {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }

    fn violate(&mut self, id: TransactionId, what: &str) {
        let happened = self.happened.get(&id);
        let record = self.records.get(&id);
        self.violations.push(format!(
            "{id}: {what}; happened: {happened:?}; record: {record:?}"
        ));
    }

    pub(super) fn written(&mut self, record: &Record) {
        let id = record.id;
        if let Some(outcome) = record.outcome() {
            let first = *self.decided.entry(id).or_insert(outcome);
            if first != outcome {
                self.violate(id, "the log decides twice");
            }
        } else if self.decided.contains_key(&id) {
            self.violate(id, "the log takes a decision back");
        }
        let before = self.records.insert(id, record.clone());
        if before.is_some_and(|it| it.owner != record.owner) {
            self.taken_over += 1;
        }
    }

    pub(super) fn told(&mut self, id: TransactionId, outcome: Outcome) {
        let first = *self.told.entry(id).or_insert(outcome);
        if first != outcome {
            self.violate(id, "clients are told different outcomes");
        }
    }

    /// Keys are written.
    pub(super) fn keys_written(&mut self, branch: Branch) {
        if self.keys.contains(&branch) {
            self.violate(branch.transaction, "keys are written twice");
        }
        if self.decided.contains_key(&branch.transaction) {
            self.violate(branch.transaction, "keys are written after the decision");
        }
        self.keys.push(branch);
    }

    /// How often, all together.
    pub(super) fn keys(&self) -> u64 {
        self.keys.len() as u64
    }

    pub(super) fn reported(&mut self, branch: Branch, report: Report) {
        if report == Report::ReadOnly {
            self.read_only.insert(branch, ());
        }
    }

    pub(super) fn happened(&mut self, it: Happened, kind: Kind) {
        let id = it.branch.transaction;
        let place = it.branch.place;
        self.by_peers += u64::from(kind != Kind::Saga && !self.decided.contains_key(&id));
        let all = self.happened.entry(id).or_default();
        all.push((place, it.outcome));
        let others = all.iter().filter(|(other, _)| *other != place);
        let differ = others.clone().any(|(_, outcome)| *outcome != it.outcome);
        if kind != Kind::Saga && differ {
            self.violate(id, "one participant commits while another aborts");
            return;
        }
        if kind != Kind::Saga {
            return;
        }
        // Steps that are done now: those before it and no others.
        let mut done: Vec<u16> = Vec::new();
        for (place, outcome) in all.iter() {
            done.retain(|it| it != &place.0);
            if *outcome == Outcome::Committed {
                done.push(place.0);
            }
        }
        done.sort_unstable();
        let before: Vec<u16> = (0..done.len()).map(|it| it as u16).collect();
        if done != before {
            self.violate(id, "steps are done or undone out of order");
        }
    }

    /// All is over.
    pub(super) fn at_end(&self) -> Result<(), String> {
        for (id, record) in &self.records {
            self.at_end_of(*id, record)
                .map_err(|what| format!("{what}; {record:?}; {:?}", self.happened.get(id)))?;
        }
        Ok(())
    }

    fn at_end_of(&self, id: TransactionId, record: &Record) -> Result<(), String> {
        if !matches!(record.phase, Phase::Ended { .. }) {
            return Err(format!("{id} was forgotten before its end"));
        }
        if record.is_mixed() {
            return Err(format!("{id} is mixed"));
        }
        let decided = self.decided.get(&id).copied();
        if self.told.get(&id).is_some_and(|it| Some(*it) != decided) {
            return Err(format!("{id}: a client was told otherwise"));
        }
        for (place, it) in (0..).map(Place).zip(&record.participants) {
            assert_eq!(it.standing == Standing::Enlisted, record.kind == Kind::Saga);
            let happened = self.happened.get(&id).into_iter().flatten();
            let here = happened.filter(|(at, _)| *at == place).map(|(_, it)| *it);
            let here: Vec<Outcome> = here.collect();
            let branch = Branch {
                transaction: id,
                place,
            };
            let should_be = it.is_keys() && decided == Some(Outcome::Committed);
            if self.keys.contains(&branch) != should_be {
                return Err(format!(
                    "{id}: keys of participant {place} are not as decided"
                ));
            }
            let right = match decided {
                _ if it.is_keys() => here.is_empty(),
                Some(Outcome::Committed) if self.read_only.contains_key(&branch) => here.is_empty(),
                Some(Outcome::Committed) => here == [Outcome::Committed],
                _ if record.kind == Kind::Saga => {
                    here.is_empty() || here == [Outcome::Committed, Outcome::Aborted]
                }
                // A late Prepare is prepared and aborted once more.
                _ => here.iter().all(|it| *it == Outcome::Aborted),
            };
            if !right {
                return Err(format!("{id}: participant {place} did {here:?}"));
            }
        }
        Ok(())
    }

    /// How many were decided so.
    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.decided.values().filter(|it| **it == outcome).count() as u64
    }
}
