//! One replica's state of one partition of an eventual keyspace.
//!
//! Three things change it: a command of a client ([`execute`](Replica::execute)), which makes a
//! delta and joins it; a delta of another replica ([`merge`](Replica::merge)); and the news up to
//! where all members have everything ([`settle`](Replica::settle)), after which tombstones go.
//! All keep the tree of digests and the two indexes: of what is to be collected, by its stamp,
//! and of keys that end, by when.
//!
//! A key that has ended is hidden by its time, and its content goes when a replica writes that
//! down as a cut at the end ([`end`](Replica::end)): the one that set the end does it at once,
//! any other after [`ENDED_KEPT_MS`]. It is a write, not a thing that every replica does for
//! itself, since a replica that has yet to hear of the end may have moved it.

mod call;
mod collections;
mod keys;
mod snapshot;
mod strings;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::ReplicaId;

pub use call::{COMMAND_BYTES_MAX, COMMANDS, Done, check};

use super::{
    author::Author,
    clock::{Ahead, Clock, Stamp},
    item::{Item, Live, Place},
    merkle::{self, Tree},
};
use crate::core::data::{Key, Milliseconds};

/// A key that another replica let end is cut by this one after so long, in milliseconds.
pub const ENDED_KEPT_MS: u64 = 60_000;
/// Bytes of keys that are ended at one time: at least one of the longest fits.
const ENDED_BYTES_MAX: usize = 4 * call::KEY_BYTES_MAX;

/// What changed: items of which only that is there.
pub type Delta = Vec<(Key, Item)>;

/// A key in the order of the tree's leaves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct KeyPlace {
    place: u64,
    key: Key,
}

impl KeyPlace {
    fn of(key: &[u8]) -> KeyPlace {
        KeyPlace {
            place: merkle::place_of(key),
            key: key.into(),
        }
    }

    /// Not after any key of a place.
    fn first(place: u64) -> KeyPlace {
        KeyPlace {
            place,
            key: Key::default(),
        }
    }
}

/// A key's item, and where it stands in the tree and the indexes.
#[derive(Clone, Debug, Default)]
struct Entry {
    item: Item,
    /// Its part of its leaf.
    digest: u64,
    /// Not after the oldest thing to collect.
    due: Option<Stamp>,
    /// When this replica looks whether it has ended.
    ends_ms: Option<Milliseconds>,
}

/// How far an exchange of the items of some places has come: the key and, inside it, up to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The key that was begun.
    pub key: Key,
    /// Up to where it was told; none if that is all of it.
    pub place: Option<Place>,
}

/// The state.
#[derive(Clone, Debug)]
pub struct Replica {
    clock: Clock,
    entries: BTreeMap<KeyPlace, Entry>,
    tree: Tree,
    /// Every member has everything up to here; it was collected, or is about to be.
    stable: Stamp,
    due: BTreeSet<(Stamp, KeyPlace)>,
    ends: BTreeSet<(Milliseconds, KeyPlace)>,
    nothing: Item,
    bytes: usize,
}

/// About what a key takes in memory beyond its name, twice, and its item.
const KEY_BYTES: usize = 256;

impl Replica {
    /// Without keys. The author gave out no stamp after `last`.
    pub fn new(author: Author, last: Stamp) -> Replica {
        Replica {
            clock: Clock::new(author, last),
            entries: BTreeMap::new(),
            tree: Tree::default(),
            stable: Stamp::ZERO,
            due: BTreeSet::new(),
            ends: BTreeSet::new(),
            nothing: Item::default(),
            bytes: 0,
        }
    }

    /// Who it is.
    pub fn id(&self) -> ReplicaId {
        self.author().replica()
    }

    /// The same, in this life of its copy.
    pub fn author(&self) -> Author {
        self.clock.author()
    }

    /// A stamp that is after all that is here, and before all that will be written here.
    pub fn mark(&mut self, now_ms: Milliseconds) -> Stamp {
        self.clock.stamp(now_ms)
    }

    /// The greatest stamp given out or seen.
    pub fn last(&self) -> Stamp {
        self.clock.last()
    }

    /// Sees another's stamp, so that all that will be written here is after it.
    ///
    /// # Errors
    /// It is too far ahead.
    pub fn see(&mut self, stamp: Stamp, now_ms: Milliseconds) -> Result<(), Ahead> {
        Clock::check(stamp, now_ms)?;
        self.clock.see(stamp);
        Ok(())
    }

    /// Every member has everything up to here, as far as this replica has heard.
    pub fn stable(&self) -> Stamp {
        self.stable
    }

    /// The tree of digests.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Number of keys, with those of which only tombstones are left.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// About what it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of keys in which something is to be collected once it is stable: the tombstones'
    /// gauge.
    pub fn uncollected(&self) -> usize {
        self.due.len()
    }

    /// A key's item.
    pub fn item(&self, key: &[u8]) -> Option<&Item> {
        let entry = self.entries.get(&KeyPlace::of(key))?;
        Some(&entry.item)
    }

    /// A key's digest; 0 where there is no such key.
    pub fn digest(&self, key: &[u8]) -> u64 {
        let entry = self.entries.get(&KeyPlace::of(key));
        entry.map_or(0, |entry| entry.digest)
    }

    /// What is seen of a key.
    pub fn live(&self, key: &[u8], now_ms: Milliseconds) -> Live<'_> {
        let item = self.item(key).unwrap_or(&self.nothing);
        item.live(self.clock.moment_ms(now_ms))
    }

    /// Joins what others wrote. `is_whole` where it comes from a state that lacks nothing that
    /// this one could have collected, for a replica that is being filled; elsewhere, what is
    /// stable is ignored. Whether anything is another than before.
    ///
    /// # Errors
    /// A stamp is too far ahead; nothing was joined.
    pub fn merge(
        &mut self,
        delta: &Delta,
        is_whole: bool,
        now_ms: Milliseconds,
    ) -> Result<bool, Ahead> {
        let newest = delta.iter().map(|(_, item)| item.newest());
        let newest = newest.fold(Stamp::ZERO, Stamp::max);
        self.see(newest, now_ms)?;
        let known = if is_whole { Stamp::ZERO } else { self.stable };
        let mut is_changed = false;
        for (key, item) in delta {
            is_changed |= self.join(key, item, known);
        }
        Ok(is_changed)
    }

    /// Joins again what was joined before a restart.
    pub(super) fn rejoin(&mut self, delta: &Delta, is_whole: bool) {
        let known = if is_whole { Stamp::ZERO } else { self.stable };
        for (key, item) in delta {
            self.clock.see(item.newest());
            self.join(key, item, known);
        }
    }

    /// Goes on after a restart: what is written from now on is after this.
    pub(super) fn resume(&mut self, from: Stamp) {
        self.clock.see(from);
    }

    /// Whether the key's item is another than before.
    fn join(&mut self, key: &[u8], item: &Item, known: Stamp) -> bool {
        let stable = self.stable;
        self.change(KeyPlace::of(key), |entry| {
            if entry.due.is_some_and(|due| due <= stable) {
                entry.item.collect(stable);
                entry.due = entry.item.due();
            }
            entry.item.merge(item, known);
            entry.due = [entry.due, item.due()].into_iter().flatten().min();
        })
    }

    /// Changes a key's item, and all that depends on it. Whether it is another than before.
    fn change(&mut self, at: KeyPlace, change: impl FnOnce(&mut Entry)) -> bool {
        let mut entry = self.entries.remove(&at).unwrap_or_default();
        let (digest, due, ends_ms) = (entry.digest, entry.due, entry.ends_ms);
        let bytes = |entry: &Entry| match entry.item.is_empty() {
            true => 0,
            false => KEY_BYTES + 2 * at.key.len() + entry.item.bytes(),
        };
        let bytes_before = bytes(&entry);
        change(&mut entry);
        self.bytes = self.bytes - bytes_before + bytes(&entry);
        if entry.item.is_empty() {
            entry = Entry::default();
        } else {
            entry.digest = merkle::key_digest(at.place, entry.item.digest());
            entry.ends_ms = self.looks_ms(&entry.item);
        }
        let is_changed = digest != entry.digest;
        self.tree.change(at.place, digest, entry.digest);
        if due != entry.due {
            due.map(|due| self.due.remove(&(due, at.clone())));
            entry.due.map(|due| self.due.insert((due, at.clone())));
        }
        if ends_ms != entry.ends_ms {
            ends_ms.map(|ends_ms| self.ends.remove(&(ends_ms, at.clone())));
            entry
                .ends_ms
                .map(|ends_ms| self.ends.insert((ends_ms, at.clone())));
        }
        if !entry.item.is_empty() {
            self.entries.insert(at, entry);
        }
        is_changed
    }

    /// When this replica looks whether the key has ended.
    fn looks_ms(&self, item: &Item) -> Option<Milliseconds> {
        let expiry = item.expiry()?;
        let is_own = expiry.stamp.author().replica() == self.id();
        let kept_ms = if is_own { 0 } else { ENDED_KEPT_MS };
        Some(expiry.at_ms?.saturating_add(kept_ms))
    }

    /// Writes down that keys have ended, of at most so many keys, and of few enough that they fit
    /// one record and one message: the delta.
    pub fn end(&mut self, keys_max: usize, now_ms: Milliseconds) -> Delta {
        let moment_ms = self.clock.moment_ms(now_ms);
        let ended = self
            .ends
            .iter()
            .take_while(|(at_ms, _)| *at_ms <= moment_ms);
        let mut bytes = 0;
        let fitting = ended.take(keys_max).take_while(|(_, at)| {
            bytes += at.key.len();
            bytes <= ENDED_BYTES_MAX
        });
        let ended: Vec<KeyPlace> = fitting.map(|(_, at)| at.clone()).collect();
        let mut delta = Delta::new();
        for at in ended {
            let stamp = self.clock.stamp(now_ms);
            let expiry = self.entries.get(&at).and_then(|entry| entry.item.expiry());
            let Some(at_ms) = expiry.and_then(|expiry| expiry.at_ms) else {
                unreachable!("keys without an end are not in the index");
            };
            let mut item = Item::default();
            item.cut_at(Stamp::of_moment(at_ms), None, stamp);
            self.join(&at.key, &item, Stamp::ZERO);
            delta.push((at.key, item));
        }
        delta
    }

    /// Every member has everything up to here.
    pub fn settle(&mut self, stable: Stamp) {
        self.stable = self.stable.max(stable);
    }

    /// Takes out tombstones that are stable, of at most so many keys. Whether there are more.
    pub fn collect(&mut self, keys_max: usize) -> bool {
        let stable = self.stable;
        for _ in 0..keys_max {
            let Some((_, at)) = self.due.first().filter(|(due, _)| *due <= stable) else {
                return false;
            };
            self.change(at.clone(), |entry| {
                entry.item.collect(stable);
                entry.due = entry.item.due();
            });
        }
        self.due.first().is_some_and(|(due, _)| *due <= stable)
    }
}
