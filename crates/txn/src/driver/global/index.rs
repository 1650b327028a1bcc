//! What the log holds of all transactions, in short: as this node knows it, to list it and to see
//! what nobody brings to its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{self, Unbounded},
};

use atoll_base::id::NodeId;
use parking_lot::Mutex;

use crate::core::global::{Kind, Record, TransactionId, Version, record::Phase};

/// A transaction in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which.
    pub id: TransactionId,
    /// Of its record.
    pub version: Version,
    /// How it is brought to its end.
    pub kind: Kind,
    /// Who does.
    pub owner: NodeId,
    /// How far it is.
    pub phase: Phase,
    /// When it began, milliseconds since the epoch.
    pub began_at_ms: u64,
    /// When it is given up, milliseconds since the epoch.
    pub deadline_ms: u64,
    /// How many take part.
    pub participants: u16,
    /// Whether some of them are known to have ended otherwise than the whole.
    pub is_mixed: bool,
}

impl Summary {
    fn of(version: Version, record: &Record) -> Self {
        Summary {
            id: record.id,
            version,
            kind: record.kind,
            owner: record.owner,
            phase: record.phase,
            began_at_ms: record.began_at_ms,
            deadline_ms: record.deadline_ms,
            participants: record.steps(),
            is_mixed: record.is_mixed(),
        }
    }

    /// Whether all know how it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Whether clients may still enlist, or take it back.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Active
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Index(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<TransactionId, Summary>,
    /// Those that have not ended.
    under_way: BTreeSet<TransactionId>,
    /// The others, by when they have.
    ended: BTreeSet<(u64, TransactionId)>,
    is_complete: bool,
}

impl State {
    fn put(&mut self, version: Version, record: &Record) {
        let summary = Summary::of(version, record);
        self.remove(record.id);
        match summary.phase {
            Phase::Ended { at_ms, .. } => self.ended.insert((at_ms, record.id)),
            _ => self.under_way.insert(record.id),
        };
        self.records.insert(record.id, summary);
    }

    fn remove(&mut self, id: TransactionId) {
        match self.records.remove(&id).map(|it| it.phase) {
            Some(Phase::Ended { at_ms, .. }) => self.ended.remove(&(at_ms, id)),
            _ => self.under_way.remove(&id),
        };
    }
}

impl Index {
    /// A record was written.
    pub fn put(&self, version: Version, record: &Record) {
        self.0.lock().put(version, record);
    }

    /// It was deleted.
    pub fn remove(&self, id: TransactionId) {
        self.0.lock().remove(id);
    }

    /// This is what the log holds, all of it.
    pub fn replace(&self, records: impl Iterator<Item = (Version, Record)>) {
        let mut state = State {
            is_complete: true,
            ..State::default()
        };
        for (version, record) in records {
            state.put(version, &record);
        }
        *self.0.lock() = state;
    }

    /// Whether the log was read as a whole once.
    pub fn is_complete(&self) -> bool {
        self.0.lock().is_complete
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    pub fn get(&self, id: TransactionId) -> Option<Summary> {
        self.0.lock().records.get(&id).copied()
    }

    /// Those that have not ended, in the order of their ids, after one of them and no more than
    /// `max`.
    pub fn under_way(&self, after: Option<TransactionId>, max: usize) -> Vec<Summary> {
        let state = self.0.lock();
        let ids = state.under_way.range((beyond(after), Unbounded)).take(max);
        ids.filter_map(|id| state.records.get(id).copied())
            .collect()
    }

    /// Those that ended at this moment or before, oldest first, no more than `max`.
    pub fn ended_by(&self, at_ms: u64, max: usize) -> Vec<Summary> {
        let state = self.0.lock();
        let ended = state.ended.iter().take_while(|(ended, _)| *ended <= at_ms);
        let ended = ended.take(max);
        ended
            .filter_map(|(_, id)| state.records.get(id).copied())
            .collect()
    }

    /// All, in the order of their ids, after one of them and no more than `max`.
    pub fn all(&self, after: Option<TransactionId>, max: usize) -> Vec<Summary> {
        let state = self.0.lock();
        let records = state.records.range((beyond(after), Unbounded));
        records.take(max).map(|(_, it)| *it).collect()
    }
}

fn beyond(after: Option<TransactionId>) -> Bound<TransactionId> {
    after.map_or(Unbounded, Bound::Excluded)
}
