//! The simulated store: every version of every key in memory, so that a crash can go back to
//! any moment since the last `persist`.
//!
//! Each batch is one step of a counter. A read at step s sees the last version of a key that
//! is not after s. A version is dropped when no crash and no snapshot can need it any more.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Batch, KeyRange, Pair, StoreError};
use crate::random;

/// Pairs that a scan copies at once.
const SCAN_CHUNK_PAIRS: usize = 64;

/// The disk under a simulated store: it outlives crashes. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimStore(Arc<Mutex<SimState>>);

#[derive(Clone, Default)]
struct SimState {
    tables: BTreeMap<&'static str, Table>,
    /// Keys with versions that may be dropped some day.
    stale: BTreeSet<(&'static str, Bytes)>,
    /// The last batch.
    step: u64,
    /// The last batch that a crash can't lose.
    durable: u64,
    /// Steps at which snapshots look, and how many do.
    snapshots: BTreeMap<u64, usize>,
    /// Counts openings and crashes: handles of an earlier life are dead.
    life: u64,
    failing: bool,
    poisoned: bool,
}

type Table = BTreeMap<Bytes, Versions>;
/// Ascending by step; `None` where the key was deleted.
type Versions = Vec<(u64, Option<Bytes>)>;

impl SimStore {
    /// An empty disk.
    pub fn new() -> Self {
        SimStore::default()
    }

    /// The machine loses power: of the batches since the last `persist` a random number of
    /// the newest is lost, and open handles die.
    pub fn crash(&self) {
        let state = &mut *self.0.lock();
        let kept = random::range(state.durable..=state.step);
        for table in state.tables.values_mut() {
            table.retain(|_, versions| {
                versions.retain(|(step, _)| *step <= kept);
                !versions.is_empty()
            });
        }
        state.step = kept;
        state.durable = kept;
        state.snapshots.clear();
        state.life += 1;
        state.prune();
    }

    /// Another disk that holds what this one holds now, as an image of a running machine does.
    pub fn image(&self) -> SimStore {
        let mut state = self.0.lock().clone();
        state.snapshots.clear();
        SimStore(Arc::new(Mutex::new(state)))
    }

    /// While `failing`, writes and `persist` fail as on a broken or full disk; the store then
    /// stays poisoned until it is opened again.
    pub fn set_failing(&self, failing: bool) {
        self.0.lock().failing = failing;
    }

    pub(super) fn open(&self, tables: &[&'static str]) -> SimHandle {
        let mut state = self.0.lock();
        for table in tables {
            state.tables.entry(table).or_default();
        }
        state.life += 1;
        state.poisoned = false;
        state.snapshots.clear();
        SimHandle {
            disk: self.clone(),
            life: state.life,
            names: tables.to_vec(),
        }
    }
}

impl SimState {
    fn check_life(&self, life: u64) -> Result<(), StoreError> {
        if self.life == life {
            Ok(())
        } else {
            Err(StoreError::Crashed)
        }
    }

    fn check_write(&mut self, life: u64) -> Result<(), StoreError> {
        self.check_life(life)?;
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        if self.failing {
            self.poisoned = true;
            return Err(StoreError::Disk {
                reason: "simulated failure".to_owned(),
                source: None,
            });
        }
        Ok(())
    }

    fn table(&self, name: &str) -> &Table {
        let table = self.tables.get(name);
        table.unwrap_or_else(|| panic!("the store was opened without a table {name:?}"))
    }

    fn apply(&mut self, batch: Batch) {
        self.step += 1;
        for write in batch.writes {
            let table = self.tables.get_mut(write.table);
            let table = table.unwrap_or_else(|| {
                panic!("the store was opened without a table {:?}", write.table)
            });
            let versions = table.entry(write.key.clone()).or_default();
            if versions.last().is_some_and(|(step, _)| *step == self.step) {
                versions.pop();
            }
            let is_delete = write.value.is_none();
            versions.push((self.step, write.value));
            if versions.len() > 1 || is_delete {
                self.stale.insert((write.table, write.key));
            }
        }
    }

    /// Drops the versions that neither a crash nor a snapshot can see.
    fn prune(&mut self) {
        let oldest_view = self.snapshots.keys().next().copied().unwrap_or(u64::MAX);
        let horizon = self.durable.min(oldest_view);
        let tables = &mut self.tables;
        self.stale.retain(|(name, key)| {
            let Some(table) = tables.get_mut(name) else {
                return false;
            };
            let Some(versions) = table.get_mut(key) else {
                return false;
            };
            let seen = versions.partition_point(|(step, _)| *step <= horizon);
            versions.drain(..seen.saturating_sub(1));
            if matches!(versions.as_slice(), [(step, None)] if *step <= horizon) {
                table.remove(key);
                return false;
            }
            versions.len() > 1 || matches!(versions.as_slice(), [(_, None)])
        });
    }
}

pub(super) struct SimHandle {
    disk: SimStore,
    life: u64,
    names: Vec<&'static str>,
}

impl SimHandle {
    pub(super) fn tables(&self) -> &[&'static str] {
        &self.names
    }

    pub(super) fn get(&self, table: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let state = self.disk.0.lock();
        state.check_life(self.life)?;
        Ok(state
            .table(table)
            .get(key)
            .and_then(|versions| value_at(versions, state.step)))
    }

    pub(super) fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let mut state = self.disk.0.lock();
        state.check_write(self.life)?;
        state.apply(batch);
        Ok(())
    }

    pub(super) fn persist(&self) -> Result<(), StoreError> {
        let mut state = self.disk.0.lock();
        state.check_write(self.life)?;
        state.durable = state.step;
        state.prune();
        Ok(())
    }

    pub(super) fn snapshot(&self) -> SimSnapshot {
        let mut state = self.disk.0.lock();
        let step = state.step;
        *state.snapshots.entry(step).or_default() += 1;
        SimSnapshot(Arc::new(SimView {
            disk: self.disk.clone(),
            life: self.life,
            step,
        }))
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        let state = self.disk.0.lock();
        let pairs = state.tables.values().flatten();
        let bytes = pairs.map(|(key, versions)| {
            let values: usize = versions
                .iter()
                .flat_map(|(_, value)| value)
                .map(Bytes::len)
                .sum();
            key.len() + values
        });
        bytes.sum::<usize>() as u64
    }
}

fn value_at(versions: &Versions, step: u64) -> Option<Bytes> {
    let seen = versions.partition_point(|(written, _)| *written <= step);
    versions[..seen].last().and_then(|(_, value)| value.clone())
}

pub(super) struct SimSnapshot(Arc<SimView>);

/// Keeps the versions of its step from being dropped.
struct SimView {
    disk: SimStore,
    life: u64,
    step: u64,
}

impl Drop for SimView {
    fn drop(&mut self) {
        let mut state = self.disk.0.lock();
        if state.life != self.life {
            return;
        }
        if let Some(count) = state.snapshots.get_mut(&self.step) {
            *count -= 1;
            if *count == 0 {
                state.snapshots.remove(&self.step);
            }
        }
    }
}

impl SimSnapshot {
    pub(super) fn get(&self, table: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let state = self.0.disk.0.lock();
        state.check_life(self.0.life)?;
        Ok(state
            .table(table)
            .get(key)
            .and_then(|versions| value_at(versions, self.0.step)))
    }

    pub(super) fn scan(&self, table: &str, (start, end): KeyRange<'_>) -> SimScan {
        let state = self.0.disk.0.lock();
        let name = *state.tables.get_key_value(table).map_or_else(
            || panic!("the store was opened without a table {table:?}"),
            |(name, _)| name,
        );
        SimScan {
            view: self.0.clone(),
            table: name,
            start: start.map(Bytes::copy_from_slice),
            end: end.map(Bytes::copy_from_slice),
            front: VecDeque::new(),
            back: VecDeque::new(),
            exhausted: false,
        }
    }
}

/// Copies pairs chunk by chunk from either end, so that the lock is held for moments.
pub(super) struct SimScan {
    view: Arc<SimView>,
    table: &'static str,
    /// What no chunk has covered yet.
    start: Bound<Bytes>,
    end: Bound<Bytes>,
    front: VecDeque<Pair>,
    back: VecDeque<Pair>,
    exhausted: bool,
}

impl SimScan {
    fn fetch(&mut self, backwards: bool) -> Result<(), StoreError> {
        let borrowed = (
            self.start.as_ref().map(|key| &**key),
            self.end.as_ref().map(|key| &**key),
        );
        if self.exhausted || super::is_empty(borrowed) {
            self.exhausted = true;
            return Ok(());
        }
        let state = self.view.disk.0.lock();
        state.check_life(self.view.life)?;
        let step = self.view.step;
        let range = state.table(self.table).range::<[u8], _>(borrowed);
        let visible = |(key, versions): (&Bytes, &Versions)| {
            value_at(versions, step).map(|value| (key.clone(), value))
        };
        if backwards {
            self.back
                .extend(range.rev().filter_map(visible).take(SCAN_CHUNK_PAIRS));
            match self.back.back() {
                Some((key, _)) => self.end = Bound::Excluded(key.clone()),
                None => self.exhausted = true,
            }
        } else {
            self.front
                .extend(range.filter_map(visible).take(SCAN_CHUNK_PAIRS));
            match self.front.back() {
                Some((key, _)) => self.start = Bound::Excluded(key.clone()),
                None => self.exhausted = true,
            }
        }
        Ok(())
    }

    fn step(&mut self, backwards: bool) -> Option<Result<Pair, StoreError>> {
        let near_is_empty = if backwards {
            self.back.is_empty()
        } else {
            self.front.is_empty()
        };
        if near_is_empty
            && !self.exhausted
            && let Err(error) = self.fetch(backwards)
        {
            self.exhausted = true;
            return Some(Err(error));
        }
        // What is left may be what the other end has fetched, farthest last.
        let pair = match backwards {
            false => self.front.pop_front().or_else(|| self.back.pop_back()),
            true => self.back.pop_front().or_else(|| self.front.pop_back()),
        };
        pair.map(Ok)
    }
}

impl Iterator for SimScan {
    type Item = Result<Pair, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false)
    }
}

impl DoubleEndedIterator for SimScan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true)
    }
}
