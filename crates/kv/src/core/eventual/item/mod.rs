//! What a key holds, and how two replicas' states of it become one.
//!
//! An item is a join of parts that each only grow, so that merging is commutative, associative
//! and idempotent, and the same from whole states as from deltas of them (Almeida, Shoker and
//! Baquero, "Delta state replicated data types", 2018): a delta is an item with little in it.
//!
//! - *The cut.* All that was written before this stamp is gone. DEL moves it to its own stamp;
//!   SET does, too, and leaves a string there (last writer wins). Where a key has ended by its
//!   time of expiry, the next write moves it to that end, so that what two replicas write after
//!   the end counts together.
//! - *Parts of a counter.* Each replica that increments has a part of its own, and a new one in
//!   each life of its copy ([`Author`]): since when, until when, and by how much in sum. Only that
//!   copy writes it, so the later one is right (the
//!   vectors of Shapiro and others 2011, section 3.1.3; one signed sum instead of two, since
//!   stamps tell which is newer). A part that began before the cut went with it, as a whole: SET
//!   and DEL begin a new generation. A replica whose part went begins another; what it tells of it
//!   holds the cut, too, so that nobody takes the new part for all that this replica ever added.
//! - *Members and fields.* For each a register, last writer wins ([`slots`]). So a set is
//!   Shapiro's LWW-element-Set (section 3.3.3), not an observed-remove set (3.3.5): who takes
//!   out what it has seen stamps it later, so both agree wherever one write knew of the other;
//!   where none did, the clock decides as it does for strings and fields, and a member costs one
//!   stamp, not a row of tags. Only what a replica sees is taken out, so tombstones are never
//!   more than there were members.
//! - *Expiry.* A register, too: a moment, or never. It goes with the cut. A key that has ended is
//!   not seen; every replica judges that by a time that is never before its stamps.
//!
//! Writes of different types at once all stay in the item. Seen is the type that was written to
//! last; the others are hidden ([`live`]), and go with the write that takes the last member of
//! the seen one out.
//!
//! *Collecting.* Once every member of the partition has all that was written up to a stamp,
//! tombstones from before it are taken out, and what comes from before it is ignored: it is
//! known, or it was known and is gone.

mod codec;
mod live;
mod pieces;
mod slots;
#[cfg(test)]
mod tests;

use std::{cmp::Ordering, collections::BTreeMap};

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(super) use codec::ITEM_BYTES_MIN;
pub use live::{Kind, Live};
pub use pieces::Place;
pub(super) use slots::{Slot, Slots};

use super::{author::Author, clock::Stamp};
use crate::core::data::{Key, Milliseconds};

/// When a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Expiry {
    /// When that was written.
    pub(super) stamp: Stamp,
    /// The moment; none is never.
    pub(super) at_ms: Option<Milliseconds>,
}

/// What one copy of a replica has added to a counter. Ordered by beginning, then by end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// The first increment.
    pub(super) since: Stamp,
    /// The last one.
    pub(super) stamp: Stamp,
    /// Their sum.
    pub(super) total: i128,
}

/// A key's state, or a delta of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// What was written before is gone.
    cut: Stamp,
    /// The newest write that moved the cut; never before the cut.
    by: Stamp,
    /// The string that was set at the cut.
    base: Option<Key>,
    expiry: Option<Expiry>,
    parts: BTreeMap<Author, Part>,
    members: Slots,
    fields: Slots,
}

impl Item {
    /// Whether there is nothing, not even a tombstone.
    pub fn is_empty(&self) -> bool {
        self.by.is_zero()
            && self.expiry.is_none()
            && self.parts.is_empty()
            && self.members.is_empty()
            && self.fields.is_empty()
    }

    /// What is seen of it at a moment.
    pub fn live(&self, moment_ms: Milliseconds) -> Live<'_> {
        Live::new(self, moment_ms)
    }

    /// Moves the cut; `base` is the string that is set there.
    pub(super) fn cut_at(&mut self, cut: Stamp, base: Option<Key>, by: Stamp) {
        self.raise(cut, base);
        self.by = self.by.max(by);
    }

    /// Says when the key ends, unless what is there is newer.
    pub(super) fn expire(&mut self, expiry: Expiry) {
        if expiry.stamp >= self.cut {
            self.expiry = self.expiry.max(Some(expiry));
        }
    }

    /// Puts an author's part, unless what is there is newer.
    pub(super) fn count(&mut self, author: Author, part: Part) {
        if part.since >= self.cut {
            let held = self.parts.entry(author).or_insert(part);
            *held = part.max(*held);
        }
    }

    /// The registers of a set's members, to write in a delta.
    pub(super) fn members_mut(&mut self) -> &mut Slots {
        &mut self.members
    }

    /// The registers of a hash's fields, to write in a delta.
    pub(super) fn fields_mut(&mut self) -> &mut Slots {
        &mut self.fields
    }

    pub(super) fn expiry(&self) -> Option<Expiry> {
        self.expiry
    }

    /// Joins another state or a delta. What is not newer than `known` is ignored: all members
    /// have it, so here it is, or it was collected.
    pub fn merge(&mut self, other: &Item, known: Stamp) {
        if other.by > known {
            // A string from before is known; that it is missing here says that it is gone.
            let base = other.base.clone().filter(|_| other.cut > known);
            self.cut_at(other.cut, base, other.by);
        }
        if let Some(expiry) = other.expiry
            && expiry.stamp > known
        {
            self.expire(expiry);
        }
        for (author, part) in &other.parts {
            let held = self.parts.get(author);
            let is_held = held.is_some_and(|held| held.since == part.since);
            // It may have gone on after it was dropped here, at a replica that had yet to hear
            // what it was dropped for.
            if part.since > known || is_held {
                self.count(*author, *part);
            }
        }
        self.members.merge(&other.members, self.cut, known);
        self.fields.merge(&other.fields, self.cut, known);
    }

    fn raise(&mut self, cut: Stamp, base: Option<Key>) {
        match cut.cmp(&self.cut) {
            Ordering::Less => {}
            Ordering::Equal => self.base = self.base.take().max(base),
            Ordering::Greater => {
                self.cut = cut;
                self.base = base;
                self.expiry = self.expiry.filter(|expiry| expiry.stamp >= cut);
                self.parts.retain(|_, part| part.since >= cut);
                self.members.retain(|slot| slot.stamp >= cut);
                self.fields.retain(|slot| slot.stamp >= cut);
            }
        }
    }

    /// Takes out the tombstones up to a stamp up to which all members have everything.
    pub fn collect(&mut self, known: Stamp) {
        if self.by <= known {
            match self.base {
                None => (self.cut, self.by) = (Stamp::ZERO, Stamp::ZERO),
                Some(_) => self.by = self.cut,
            }
        }
        self.expiry = self
            .expiry
            .filter(|expiry| expiry.at_ms.is_some() || expiry.stamp > known);
        for slots in [&mut self.members, &mut self.fields] {
            if slots.present() < slots.len() {
                slots.retain(|slot| slot.value.is_some() || slot.stamp > known);
            }
        }
    }

    /// The stamp of the oldest thing that [`collect`](Self::collect) would take out.
    pub fn due(&self) -> Option<Stamp> {
        let cut =
            (self.by > self.cut || (self.base.is_none() && !self.by.is_zero())).then_some(self.by);
        let never = self.expiry.filter(|expiry| expiry.at_ms.is_none());
        let never = never.map(|expiry| expiry.stamp);
        let absent = [self.members.oldest_absent(), self.fields.oldest_absent()];
        [cut, never].into_iter().chain(absent).flatten().min()
    }

    /// The newest stamp of a write in it.
    pub fn newest(&self) -> Stamp {
        let expiry = self.expiry.map(|expiry| expiry.stamp);
        let parts = self.parts.values().map(|part| part.stamp);
        let members = self.members.iter().map(|(_, slot)| slot.stamp);
        let fields = self.fields.iter().map(|(_, slot)| slot.stamp);
        let all = parts.chain(members).chain(fields).chain(expiry);
        all.fold(self.by, Stamp::max)
    }

    /// Two states with the same digest are taken to be the same.
    pub fn digest(&self) -> u64 {
        let mut sum = self.members.digest().rotate_left(1);
        sum = sum.wrapping_add(self.fields.digest().rotate_left(2));
        if !self.by.is_zero() {
            let base = self
                .base
                .as_ref()
                .map_or(3, |base| xxh3_64_with_seed(base, 4));
            sum = sum.wrapping_add(self.by.mixed(self.cut.mixed(base)));
        }
        if let Some(expiry) = self.expiry {
            let at_ms = expiry.at_ms.map_or(5, |at_ms| at_ms.wrapping_add(6));
            sum = sum.wrapping_add(expiry.stamp.mixed(!at_ms));
        }
        for part in self.parts.values() {
            let total = xxh3_64_with_seed(&part.total.to_le_bytes(), 7);
            sum = sum.wrapping_add(part.stamp.mixed(part.since.mixed(total)));
        }
        sum
    }
}

/// What tests look at.
#[cfg(test)]
impl Item {
    pub(super) fn cut(&self) -> Stamp {
        self.cut
    }

    pub(super) fn base(&self) -> Option<&Key> {
        self.base.as_ref()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.values()
    }

    pub(super) fn written_members(&self) -> Vec<(Key, Stamp, Option<Key>)> {
        written(&self.members)
    }

    pub(super) fn written_fields(&self) -> Vec<(Key, Stamp, Option<Key>)> {
        written(&self.fields)
    }
}

#[cfg(test)]
fn written(slots: &Slots) -> Vec<(Key, Stamp, Option<Key>)> {
    let slots = slots.iter();
    slots
        .map(|(name, slot)| (name.clone(), slot.stamp, slot.value.clone()))
        .collect()
}
