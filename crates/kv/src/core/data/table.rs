//! Tables by key that keep an order: by insertion, except that the last one takes the place of
//! a removed one. Replicas that did the same to a table agree on its order, whatever their
//! hashes.
//!
//! What is kept sits in rows of [`ROW_SLOTS`], so a table grows row by row: nothing is copied,
//! and no more than a row stands empty, where a vector that doubles has up to half of it unused.
//! A hash table of places (four bytes and a tag each) finds keys; of each key's hash half is
//! kept, so that the table of places can be made anew without looking at keys.
//!
//! A table knows how much of the heap it takes. A value that is lent out to be changed
//! ([`Table::get_mut`]) is not counted until the table is asked something again, by which time
//! it was given back: so the sum can't be wrong, whoever changes what.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{
    Key,
    heap::{Heap, allocation_bytes},
};

/// So many slots have one allocation.
const ROW_SLOTS: usize = 64;
/// The table of places shrinks when only one in so many of its slots is used.
const SPARSE_FRACTION: usize = 8;
/// What a place in the hash table takes, with its tag.
const PLACE_BYTES: usize = size_of::<u32>() + 1;

/// Values by key, in an order.
pub struct Table<V> {
    rows: Vec<Vec<Slot<V>>>,
    places: HashTable<u32>,
    hasher: RandomState,
    /// What keys and values take of the heap, the lent one's not counted.
    contents_bytes: usize,
    /// The place of the value that was lent out last.
    lent: Option<u32>,
}

#[derive(Clone)]
struct Slot<V> {
    key: Key,
    value: V,
    hash: u32,
}

impl<V: Heap> Slot<V> {
    fn heap_bytes(&self) -> usize {
        self.key.heap_bytes() + self.value.heap_bytes()
    }
}

/// Half a hash as a whole one: the table of places takes its tag from the upper end and the
/// slot from the lower one.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

fn index(place: u32) -> usize {
    place as usize
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Table {
            rows: Vec::new(),
            places: HashTable::new(),
            hasher: RandomState::default(),
            contents_bytes: 0,
            lent: None,
        }
    }
}

impl<V> Table<V> {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What a key takes here, apart from what it and its value take of the heap.
    pub fn slot_bytes() -> usize {
        // The table of places is filled to between seven sixteenths and seven eighths.
        size_of::<Slot<V>>() + PLACE_BYTES * 3 / 2
    }

    fn slot(&self, place: usize) -> &Slot<V> {
        &self.rows[place / ROW_SLOTS][place % ROW_SLOTS]
    }

    fn slot_mut(&mut self, place: usize) -> &mut Slot<V> {
        &mut self.rows[place / ROW_SLOTS][place % ROW_SLOTS]
    }

    fn slots(&self) -> impl DoubleEndedIterator<Item = &Slot<V>> {
        self.rows.iter().flatten()
    }

    fn hash(&self, key: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(key);
        // Both halves count.
        (hash ^ hash >> 32) as u32
    }

    /// The key's place.
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        self.find_hashed(self.hash(key), key)
    }

    fn find_hashed(&self, hash: u32, key: &[u8]) -> Option<usize> {
        let found = self.places.find(spread(hash), |place| {
            let slot = self.slot(index(*place));
            slot.hash == hash && *slot.key == *key
        });
        found.map(|place| index(*place))
    }

    /// The key's value.
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        self.find(key).map(|place| &self.slot(place).value)
    }

    /// The key's place, the key, and its value.
    pub fn get_full(&self, key: &[u8]) -> Option<(usize, &Key, &V)> {
        let place = self.find(key)?;
        let slot = self.slot(place);
        Some((place, &slot.key, &slot.value))
    }

    /// The key and value at a place; places are `0..len`.
    pub fn get_index(&self, place: usize) -> Option<(&Key, &V)> {
        let row = self.rows.get(place / ROW_SLOTS)?;
        let slot = row.get(place % ROW_SLOTS)?;
        Some((&slot.key, &slot.value))
    }

    /// Whether the key is there.
    pub fn contains_key(&self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Key, &V)> {
        self.slots().map(|slot| (&slot.key, &slot.value))
    }

    /// Keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Key> {
        self.slots().map(|slot| &slot.key)
    }

    /// Values in order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.slots().map(|slot| &slot.value)
    }
}

impl<V: Heap> Table<V> {
    /// The key's value, to be changed.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let place = self.find(key)?;
        self.get_index_mut(place)
    }

    /// The value at a place, to be changed.
    pub fn get_index_mut(&mut self, place: usize) -> Option<&mut V> {
        if place >= self.len() {
            return None;
        }
        self.lend(place);
        Some(&mut self.slot_mut(place).value)
    }

    /// The value at a place, to change what of it is not on the heap.
    pub fn get_index_in_place(&mut self, place: usize) -> Option<&mut V> {
        let row = self.rows.get_mut(place / ROW_SLOTS)?;
        row.get_mut(place % ROW_SLOTS).map(|slot| &mut slot.value)
    }

    /// Puts a value at a key, which keeps its place if it has one; returns what was there.
    pub fn insert(&mut self, key: Key, value: V) -> Option<V> {
        self.insert_full(key, value).1
    }

    /// The same, with the key's place.
    ///
    /// # Panics
    /// There are more than four billion keys.
    pub fn insert_full(&mut self, key: Key, value: V) -> (usize, Option<V>) {
        self.settle();
        let hash = self.hash(&key);
        if let Some(place) = self.find_hashed(hash, &key) {
            let slot = self.slot_mut(place);
            let before = std::mem::replace(&mut slot.value, value);
            let after_bytes = slot.value.heap_bytes();
            self.contents_bytes += after_bytes;
            self.contents_bytes -= before.heap_bytes();
            return (place, Some(before));
        }
        let place = self.len();
        let Ok(short) = u32::try_from(place) else {
            panic!("a table of more than four billion keys");
        };
        self.grow();
        self.places
            .insert_unique(spread(hash), short, |_| unreachable!("it just grew"));
        let slot = Slot { key, value, hash };
        self.contents_bytes += slot.heap_bytes();
        self.push(slot);
        (place, None)
    }

    /// Puts another value at a place, which exists.
    pub fn replace_at(&mut self, place: usize, value: V) -> V {
        self.settle();
        let slot = self.slot_mut(place);
        let before = std::mem::replace(&mut slot.value, value);
        let after_bytes = slot.value.heap_bytes();
        self.contents_bytes += after_bytes;
        self.contents_bytes -= before.heap_bytes();
        before
    }

    /// Takes a key out; the last one takes its place.
    pub fn swap_remove(&mut self, key: &[u8]) -> Option<V> {
        let place = self.find(key)?;
        self.swap_remove_index(place).map(|(_, value)| value)
    }

    /// Takes the key of a place out; the last one takes its place.
    pub fn swap_remove_index(&mut self, place: usize) -> Option<(Key, V)> {
        if place >= self.len() {
            return None;
        }
        self.settle();
        let last = self.len() - 1;
        let hash = self.slot(place).hash;
        let is_at = |at: usize| move |place: &u32| index(*place) == at;
        match self.places.find_entry(spread(hash), is_at(place)) {
            Ok(found) => found.remove(),
            Err(_) => unreachable!("every slot has its place"),
        };
        let mut slot = self.pop()?;
        if place != last {
            match self.places.find_mut(spread(slot.hash), is_at(last)) {
                // It fits: a place that is there does.
                Some(moved) => *moved = place as u32,
                None => unreachable!("every slot has its place"),
            }
            std::mem::swap(self.slot_mut(place), &mut slot);
        }
        self.contents_bytes -= slot.heap_bytes();
        self.shrink();
        Some((slot.key, slot.value))
    }

    /// Has the keys of two places, which exist, change places.
    pub fn swap_indices(&mut self, first: usize, second: usize) {
        if first == second {
            return;
        }
        self.settle();
        let hashes = [first, second].map(|place| spread(self.slot(place).hash));
        let is_it = |at: usize, place: &u32| index(*place) == [first, second][at];
        let [Some(of_first), Some(of_second)] = self.places.get_disjoint_mut(hashes, is_it) else {
            unreachable!("every slot has its place");
        };
        std::mem::swap(of_first, of_second);
        let (low, high) = (first.min(second), first.max(second));
        let (low_rows, high_rows) = self.rows.split_at_mut(high / ROW_SLOTS);
        // No row but the first of the upper ones holds the higher place.
        match low_rows.get_mut(low / ROW_SLOTS) {
            Some(row) => std::mem::swap(
                &mut row[low % ROW_SLOTS],
                &mut high_rows[0][high % ROW_SLOTS],
            ),
            None => high_rows[0].swap(low % ROW_SLOTS, high % ROW_SLOTS),
        }
    }

    /// What the table takes of the heap with all that is in it.
    pub fn heap_bytes(&self) -> usize {
        let rows = match &*self.rows {
            [] => 0,
            [only] => allocation_bytes(only.capacity() * size_of::<Slot<V>>()),
            many => many.len() * allocation_bytes(ROW_SLOTS * size_of::<Slot<V>>()),
        };
        let frame = self.rows.capacity() * size_of::<Vec<Slot<V>>>();
        let places = allocation_bytes(self.places.allocation_size());
        rows + allocation_bytes(frame) + places + self.contents_bytes()
    }

    /// What keys and values take of the heap.
    pub fn contents_bytes(&self) -> usize {
        let lent = self.lent.map(|place| self.slot(index(place)));
        self.contents_bytes + lent.map_or(0, Slot::heap_bytes)
    }

    fn lend(&mut self, place: usize) {
        self.settle();
        self.contents_bytes -= self.slot(place).heap_bytes();
        self.lent = u32::try_from(place).ok();
    }

    /// Counts what was lent out: it was given back, or nobody could ask.
    fn settle(&mut self) {
        if let Some(place) = self.lent.take() {
            self.contents_bytes += self.slot(index(place)).heap_bytes();
        }
    }

    /// Makes sure that one more place has room.
    fn grow(&mut self) {
        if self.places.len() < self.places.capacity() {
            return;
        }
        let full = self.places.num_buckets() / 8 * 7;
        let wanted = self.places.len() + 1;
        // What was removed left marks. Where only marks are in the way, the same size will do;
        // but not where it would be full again soon.
        let is_spacious = wanted <= full / 2;
        self.make_places(if is_spacious {
            wanted
        } else {
            wanted.max(full + 1)
        });
    }

    /// Makes the table of places anew, for so many. In the order of slots: memory is read in
    /// one go.
    fn make_places(&mut self, capacity: usize) {
        let mut places = HashTable::with_capacity(capacity);
        // As many as there are places, which fit.
        for (slot, place) in self.slots().zip(0_u32..) {
            places.insert_unique(spread(slot.hash), place, |_| {
                unreachable!("there is room for all")
            });
        }
        self.places = places;
    }

    fn shrink(&mut self) {
        let len = self.len();
        if len == 0 {
            self.places = HashTable::new();
            self.rows = Vec::new();
        } else if len > ROW_SLOTS && len < self.places.capacity() / SPARSE_FRACTION {
            self.make_places(2 * len);
            self.rows.shrink_to(2 * self.rows.len());
        }
    }

    fn push(&mut self, slot: Slot<V>) {
        match self.rows.last_mut() {
            Some(row) if row.len() < ROW_SLOTS => {
                // The first row begins small; no row is ever larger than it has to be.
                if row.len() == row.capacity() {
                    let room = row.len().clamp(1, ROW_SLOTS - row.len());
                    row.reserve_exact(room);
                }
                row.push(slot);
            }
            last => {
                let slots = if last.is_some() { ROW_SLOTS } else { 1 };
                let mut row = Vec::with_capacity(slots);
                row.push(slot);
                self.rows.push(row);
            }
        }
    }

    fn pop(&mut self) -> Option<Slot<V>> {
        let row = self.rows.last_mut()?;
        let slot = row.pop();
        if row.is_empty() {
            self.rows.pop();
        }
        slot
    }
}

mod traits;

#[cfg(test)]
mod tests;
