//! What the replicas should hold, said without merging anything: all writes that were not lost,
//! and what follows from them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{
    Author,
    clock::Stamp,
    item::Item,
    replica::{Delta, Replica},
};
use crate::core::data::{Key, parse_integer};

/// One write.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) by: Author,
    pub(super) stamp: Stamp,
    pub(super) key: Key,
    pub(super) item: Item,
    /// What it added, if it was an increment.
    pub(super) added: i128,
    /// Whether another replica has it on its disk.
    pub(super) is_told: bool,
}

/// All writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) writes: Vec<Write>,
}

impl Model {
    /// A replica has this on its disk now.
    pub(super) fn synced(&mut self, at: Author, delta: &Delta) {
        for write in &mut self.writes {
            let others = delta
                .iter()
                .filter(|(key, _)| write.by != at && *key == write.key);
            for (_, item) in others {
                let mut joined = item.clone();
                joined.merge(&write.item, Stamp::ZERO);
                write.is_told |= joined == *item;
            }
        }
    }

    /// A replica lost what it had not synced, and nobody had heard of it.
    pub(super) fn lose(&mut self, by: Author, stamps: &BTreeSet<Stamp>) {
        self.writes
            .retain(|write| write.by != by || !stamps.contains(&write.stamp));
    }

    /// Compares what a replica shows with what the writes say.
    pub(super) fn check(
        &self,
        replica: &Replica,
        lost: &BTreeSet<Author>,
        now_ms: u64,
    ) -> Result<(), String> {
        let mut keys: BTreeMap<&Key, Vec<&Write>> = BTreeMap::new();
        for write in &self.writes {
            if write.is_told || !lost.contains(&write.by) {
                keys.entry(&write.key).or_default().push(write);
            }
        }
        for (key, writes) in keys {
            let (expected, seen) = (expect(&writes, now_ms), see(replica, key, now_ms));
            if expected != seen {
                return Err(format!("{key:?} should be {expected:?} and is {seen:?}"));
            }
        }
        Ok(())
    }
}

/// A register: its name, when it was written, and what; nothing where it was taken out.
type Slot = (Key, Stamp, Option<Key>);

/// String, members, fields.
type Shown = (Option<String>, Vec<String>, Vec<(String, String)>);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn see(replica: &Replica, key: &Key, now_ms: u64) -> Shown {
    let live = replica.live(key, now_ms);
    (
        live.string().map(|string| text(&string)),
        live.members().map(|member| text(member)).collect(),
        live.fields()
            .map(|(field, value)| (text(field), text(value)))
            .collect(),
    )
}

fn expect(writes: &[&Write], now_ms: u64) -> Shown {
    let items = || writes.iter().map(|write| &write.item);
    let cut = items().map(Item::cut).max().unwrap_or_default();
    let expiries = items()
        .filter_map(Item::expiry)
        .filter(|expiry| expiry.stamp >= cut);
    let end = expiries
        .max()
        .and_then(|expiry| expiry.at_ms)
        .filter(|at_ms| *at_ms <= now_ms);
    let cut = cut.max(end.map_or(Stamp::ZERO, Stamp::of_moment));
    let base = items()
        .find(|item| item.cut() == cut && !cut.is_zero())
        .and_then(Item::base);
    let added = writes
        .iter()
        .filter(|write| write.item.parts().any(|part| part.since >= cut));
    let added: Vec<i128> = added.map(|write| write.added).collect();
    let string = match base.map(|base| (base, parse_integer(base))) {
        Some((base, None)) => Some(text(base)),
        Some((_, Some(base))) => Some((i128::from(base) + added.iter().sum::<i128>()).to_string()),
        None if added.is_empty() => None,
        None => Some(added.iter().sum::<i128>().to_string()),
    };
    let last = |slots: fn(&Item) -> Vec<Slot>| {
        let mut last: BTreeMap<Key, (Stamp, Option<Key>)> = BTreeMap::new();
        for (name, stamp, value) in items()
            .flat_map(slots)
            .filter(|(_, stamp, _)| *stamp >= cut)
        {
            let held = last.entry(name).or_insert((stamp, value.clone()));
            if stamp > held.0 {
                *held = (stamp, value);
            }
        }
        let there = last
            .into_iter()
            .filter_map(|(name, (_, value))| Some((text(&name), text(&value?))));
        there.collect::<Vec<_>>()
    };
    let members = last(Item::written_members)
        .into_iter()
        .map(|(name, _)| name);
    (string, members.collect(), last(Item::written_fields))
}
