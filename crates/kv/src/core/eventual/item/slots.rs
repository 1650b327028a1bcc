//! Rows of registers, each by its name: members of a set, fields of a hash.
//!
//! A register is a value or its absence with the stamp of who wrote it; of two, the one with the
//! greater stamp stays (Shapiro, Preguiça, Baquero and Zawirski, "A comprehensive study of
//! Convergent and Commutative Replicated Data Types", 2011, section 3.2.1).

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::clock::Stamp;
use crate::core::data::Key;

/// What was last written under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::core::eventual) struct Slot {
    /// When, and by whom.
    pub(in crate::core::eventual) stamp: Stamp,
    /// None where it was taken out: a tombstone.
    pub(in crate::core::eventual) value: Option<Key>,
}

impl Slot {
    /// Which of two stays. Different values under one stamp come only from a mistake, and even
    /// then every replica keeps the same one.
    fn rank(&self) -> (Stamp, Option<&Key>) {
        (self.stamp, self.value.as_ref())
    }

    fn digest(&self, name: &[u8]) -> u64 {
        let seed = match &self.value {
            None => 0,
            Some(value) => xxh3_64_with_seed(value, 1),
        };
        self.stamp.mixed(xxh3_64_with_seed(name, seed))
    }
}

/// Registers by name, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::core::eventual) struct Slots {
    slots: BTreeMap<Key, Slot>,
    /// How many hold a value.
    present: usize,
    /// About what they take when they are sent, in bytes.
    bytes: usize,
    /// The sum of all digests, which does not depend on their order.
    digest: u64,
}

/// Bytes of a register that are no name and no value.
pub(super) const SLOT_BYTES: usize = 32;

/// About what a register takes when it is sent, in bytes.
pub(super) fn slot_bytes(name: &[u8], value: Option<&Key>) -> usize {
    SLOT_BYTES + name.len() + value.map_or(0, |value| value.len())
}

impl Slots {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn present(&self) -> usize {
        self.present
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Slot> {
        self.slots.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Slot)> {
        self.slots.iter()
    }

    /// Those after a name.
    pub(super) fn after(&self, name: Option<&Key>) -> impl Iterator<Item = (&Key, &Slot)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = name.map_or(Unbounded, Excluded);
        self.slots.range::<Key, _>((from, Unbounded))
    }

    fn count(&mut self, name: &[u8], slot: &Slot, comes: bool) {
        let present = usize::from(slot.value.is_some());
        let digest = slot.digest(name);
        let bytes = slot_bytes(name, slot.value.as_ref());
        if comes {
            self.bytes += bytes;
            self.present += present;
            self.digest = self.digest.wrapping_add(digest);
        } else {
            self.bytes -= bytes;
            self.present -= present;
            self.digest = self.digest.wrapping_sub(digest);
        }
    }

    /// Writes, unless what is there is newer.
    pub(in crate::core::eventual) fn put(&mut self, name: Key, slot: Slot) {
        match self.slots.get_mut(&*name) {
            Some(before) if slot.rank() <= before.rank() => {}
            Some(before) => {
                let before = std::mem::replace(before, slot.clone());
                self.count(&name, &before, false);
                self.count(&name, &slot, true);
            }
            None => {
                self.count(&name, &slot, true);
                self.slots.insert(name, slot);
            }
        }
    }

    /// Writes, whatever is there: for a delta that is being made.
    pub(in crate::core::eventual) fn replace(&mut self, name: Key, slot: Slot) {
        if let Some(before) = self.slots.remove(&*name) {
            self.count(&name, &before, false);
        }
        self.put(name, slot);
    }

    /// Joins another's, but for what is from before `cut` or not newer than `known`.
    pub(super) fn merge(&mut self, other: &Slots, cut: Stamp, known: Stamp) {
        for (name, slot) in &other.slots {
            if slot.stamp >= cut && slot.stamp > known {
                self.put(name.clone(), slot.clone());
            }
        }
    }

    /// Keeps only what passes.
    pub(super) fn retain(&mut self, passes: impl Fn(&Slot) -> bool) {
        let mut slots = std::mem::take(&mut self.slots);
        slots.retain(|name, slot| {
            let stays = passes(slot);
            if !stays {
                self.count(name, slot, false);
            }
            stays
        });
        self.slots = slots;
    }

    /// The oldest tombstone's stamp.
    pub(super) fn oldest_absent(&self) -> Option<Stamp> {
        if self.present == self.slots.len() {
            return None;
        }
        let absent = self.slots.values().filter(|slot| slot.value.is_none());
        absent.map(|slot| slot.stamp).min()
    }
}
