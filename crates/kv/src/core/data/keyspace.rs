//! Databases of keys with their times of expiry.

mod undo;

use std::{collections::BTreeSet, fmt, sync::LazyLock};

use super::{Entry, Heap as _, Key, Milliseconds, Table, Used, Uses, Value, heap::tree_bytes};

use crate::core::chance;

/// So many logical databases there are, as in a Redis of default configuration.
pub const DATABASES: usize = 16;

/// A database beside them that no client can choose: what the cluster itself keeps.
pub const HIDDEN: usize = DATABASES;

/// Stands for all databases that nothing was put into.
static EMPTY: LazyLock<Database> = LazyLock::new(Database::default);

/// So many keys are looked at for one that ends, before the index of those is used, which draws
/// less evenly.
const EXPIRING_TRIES_MAX: usize = 16;

/// One logical database, as far as this partition holds it.
#[derive(Clone, Debug, Default)]
pub struct Database {
    entries: Table<Entry>,
    /// Keys that end, soonest first.
    expiries: BTreeSet<(Milliseconds, Key)>,
    /// Hashes with fields that end, by the time of the first; soonest first.
    field_expiries: BTreeSet<(Milliseconds, Key)>,
    /// What the keys of both indexes take of the heap.
    indexed_bytes: usize,
    /// What undoes changes, while that is noted.
    journal: Option<Box<undo::Journal>>,
}

impl Database {
    /// What the database takes of the heap, in bytes: keys, values, and what finds them.
    pub fn heap_bytes(&self) -> usize {
        let entry_bytes = size_of::<(Milliseconds, Key)>();
        let expiries = self.expiries.len() + self.field_expiries.len();
        self.entries.heap_bytes() + tree_bytes(expiries, entry_bytes) + self.indexed_bytes
    }

    /// What is known of the heap that keys and values take, and what it is when all are looked
    /// at.
    #[cfg(test)]
    pub(in crate::core) fn counted_bytes(&self) -> (usize, usize) {
        let known = self.entries.contents_bytes() + self.indexed_bytes;
        let entries = self.entries.iter();
        let entries = entries.map(|(key, entry)| key.heap_bytes() + entry.heap_bytes());
        let indexed = self.expiries.iter().chain(&self.field_expiries);
        let indexed = indexed.map(|(_, key)| key.heap_bytes());
        (known, entries.sum::<usize>() + indexed.sum::<usize>())
    }

    /// What a key that is there takes, in bytes, with its value; a large value is judged by so
    /// many samples.
    pub fn key_bytes(&self, key: &[u8], samples: usize) -> Option<usize> {
        let (_, key, entry) = self.entries.get_full(key)?;
        let once = Table::<Entry>::slot_bytes() + key.heap_bytes();
        let ends = match entry.expires_at_ms() {
            Some(_) => tree_bytes(1, size_of::<(Milliseconds, Key)>()) + key.heap_bytes(),
            None => 0,
        };
        Some(once + ends + entry.value.heap_bytes(samples))
    }

    /// Number of keys, those included that ended and were not removed yet.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key is there.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The key's entry, whether or not it has ended.
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The place of a key in the table's order.
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        self.entries.find(key)
    }

    /// The key's value, to change it in place.
    pub(in crate::core) fn get_mut(&mut self, key: &[u8]) -> Option<&mut Value> {
        let place = self.entries.find(key)?;
        self.at_mut(place)
    }

    /// The value of the key at a place, to change it in place.
    pub(in crate::core) fn at_mut(&mut self, place: usize) -> Option<&mut Value> {
        self.change_at(place).map(|entry| &mut entry.value)
    }

    /// The entry at a place, to change it in place; what it is now is noted first.
    fn change_at(&mut self, place: usize) -> Option<&mut Entry> {
        if let Some(journal) = &mut self.journal {
            let (key, entry) = self.entries.get_index(place)?;
            journal.changes(key, entry);
        }
        self.entries.get_index_mut(place)
    }

    /// Notes a use of the key at a place.
    fn use_at(&mut self, place: usize, again: impl FnOnce(Used) -> Used) {
        // It has no part on the heap.
        if let Some(entry) = self.entries.get_index_in_place(place) {
            entry.set_used(again(entry.used()));
        }
    }

    /// A key that ends, drawn by chance: exactly so where such keys are many, roughly where they
    /// are few. Takes logarithmic time.
    pub fn any_expiring(&self, chance: &mut u64) -> Option<(&Key, &Entry)> {
        let ((first_ms, _), (last_ms, _)) = (self.expiries.first()?, self.expiries.last()?);
        for _ in 0..EXPIRING_TRIES_MAX {
            let place = chance::below(chance, self.len());
            let found = self.at(place);
            if let Some((_, entry)) = found
                && entry.expires_at_ms().is_some()
            {
                return found;
            }
        }
        let span = usize::try_from(last_ms - first_ms).unwrap_or(usize::MAX - 1);
        let from_ms = first_ms.saturating_add(chance::below(chance, span + 1) as u64);
        let after = self.expiries.range((from_ms, Key::default())..).next();
        let (_, key) = after.or_else(|| self.expiries.first())?;
        let (_, key, entry) = self.entries.get_full(key)?;
        Some((key, entry))
    }

    /// Notes that a key was changed, if it is there, and brings the index of fields that end up
    /// to date; tells whether it is.
    pub(in crate::core) fn changed(&mut self, key: &[u8], version: u64) -> bool {
        let Some(entry) = self.find(key).and_then(|place| self.change_at(place)) else {
            return false;
        };
        entry.set_version(version);
        if let Value::Hash(hash) = &entry.value
            && hash.may_end()
        {
            self.index_fields(key);
        }
        true
    }

    /// Puts an entry in the place of what was there, which is returned.
    pub(in crate::core) fn insert(&mut self, key: &[u8], mut entry: Entry) -> Option<Entry> {
        let expires_at_ms = entry.expires_at_ms();
        // What another key's, or another database's, index knew of it means nothing here.
        if let Value::Hash(hash) = &mut entry.value {
            hash.leave_index();
        }
        if let Some(journal) = &mut self.journal {
            match self.entries.get(key) {
                Some(before) => journal.changes(key, before),
                None => journal.adds(key),
            }
        }
        // An existing key keeps its place in the order.
        let mut before = self.entries.insert(key.into(), entry);
        let expired_before = before.as_ref().and_then(Entry::expires_at_ms);
        self.index_expiry(key, expired_before, expires_at_ms);
        if let Some(before) = &mut before {
            self.forget_fields(key, before);
        }
        self.index_fields(key);
        before
    }

    /// Takes the key out.
    pub(in crate::core) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        if let Some(journal) = &mut self.journal
            && let Some((place, _, entry)) = self.entries.get_full(key)
        {
            journal.removes(key, place, entry);
        }
        let mut entry = self.entries.swap_remove(key)?;
        self.index_expiry(key, entry.expires_at_ms(), None);
        self.forget_fields(key, &mut entry);
        Some(entry)
    }

    /// Says when the key ends, if it is there.
    pub(in crate::core) fn expire_at(&mut self, key: &[u8], at_ms: Option<Milliseconds>) -> bool {
        let Some(entry) = self.find(key).and_then(|place| self.change_at(place)) else {
            return false;
        };
        let before = entry.expires_at_ms();
        entry.expire_at(at_ms);
        self.index_expiry(key, before, at_ms);
        true
    }

    fn index_expiry(
        &mut self,
        key: &[u8],
        before: Option<Milliseconds>,
        after: Option<Milliseconds>,
    ) {
        let index = &mut self.expiries;
        replace(index, &mut self.indexed_bytes, key, before, after);
    }

    /// Brings the index of fields that end up to date, after the key's value was changed in
    /// place.
    pub(in crate::core) fn index_fields(&mut self, key: &[u8]) {
        if let Some(Value::Hash(hash)) = self.entries.get_mut(key).map(|entry| &mut entry.value) {
            let (before, after) = hash.reindex();
            let index = &mut self.field_expiries;
            replace(index, &mut self.indexed_bytes, key, before, after);
        }
    }

    /// Takes a value that is here no more out of the index of fields that end.
    fn forget_fields(&mut self, key: &[u8], entry: &mut Entry) {
        if let Value::Hash(hash) = &mut entry.value {
            let before = hash.leave_index();
            let index = &mut self.field_expiries;
            replace(index, &mut self.indexed_bytes, key, before, None);
        }
    }

    /// Hashes with fields that have ended at `now_ms`, soonest first.
    pub fn with_ended_fields(&self, now_ms: Milliseconds) -> impl Iterator<Item = &Key> {
        self.field_expiries
            .iter()
            .take_while(move |(at_ms, _)| *at_ms < now_ms)
            .map(|(_, key)| key)
    }

    /// Keys that have ended at `now_ms`, soonest first.
    pub fn expired(&self, now_ms: Milliseconds) -> impl Iterator<Item = &Key> {
        self.expiries
            .iter()
            .take_while(move |(at_ms, _)| *at_ms < now_ms)
            .map(|(_, key)| key)
    }

    /// Number of keys with a time of expiry.
    pub fn expiring(&self) -> usize {
        self.expiries.len()
    }

    /// The entry at a place of the table's order; places are `0..len`.
    pub fn at(&self, place: usize) -> Option<(&Key, &Entry)> {
        self.entries.get_index(place)
    }
}

/// Moves a key of an index from one time to another, and keeps count of what keys take.
fn replace(
    index: &mut BTreeSet<(Milliseconds, Key)>,
    indexed_bytes: &mut usize,
    key: &[u8],
    before: Option<Milliseconds>,
    after: Option<Milliseconds>,
) {
    if before == after {
        return;
    }
    let key = Key::from(key);
    let key_bytes = key.heap_bytes();
    if let Some(after) = after
        && index.insert((after, key.clone()))
    {
        *indexed_bytes += key_bytes;
    }
    if let Some(before) = before
        && index.remove(&(before, key))
    {
        *indexed_bytes -= key_bytes;
    }
}

/// All logical databases of one partition.
#[derive(Clone)]
pub struct Keyspace {
    /// Up to the last one that something was put into: most partitions have one, and whoever
    /// looks at all of them has no others to look at.
    databases: Vec<Database>,
    /// What this node notes of the use of keys.
    uses: Uses,
    /// Where the chance of that comes from. No part of what replicas agree on.
    chance: u64,
    /// Databases that were changed as a whole, while what undoes changes is noted.
    aside: Option<Vec<undo::Aside>>,
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace")
            .field("databases", &self.databases)
            .finish_non_exhaustive()
    }
}

impl Default for Keyspace {
    fn default() -> Self {
        Keyspace {
            databases: vec![Database::default()],
            uses: Uses::Last,
            chance: 0,
            aside: None,
        }
    }
}

impl Keyspace {
    /// One database; `index` is below [`DATABASES`], or [`HIDDEN`].
    pub fn database(&self, index: usize) -> &Database {
        self.databases.get(index).unwrap_or(&EMPTY)
    }

    /// Keys that have ended at `now_ms`, or have fields that have, with their databases.
    pub fn ended(&self, now_ms: Milliseconds) -> impl Iterator<Item = (usize, &Key)> {
        let databases = self.databases.iter().enumerate();
        databases.flat_map(move |(index, database)| {
            let keys = database.expired(now_ms);
            keys.chain(database.with_ended_fields(now_ms))
                .map(move |key| (index, key))
        })
    }

    /// Number of keys of all databases.
    pub fn len(&self) -> usize {
        self.databases.iter().map(Database::len).sum()
    }

    /// Whether no key is there.
    pub fn is_empty(&self) -> bool {
        self.databases.iter().all(Database::is_empty)
    }

    /// What is noted of the use of keys.
    pub fn uses(&self) -> Uses {
        self.uses
    }

    /// Says what is to be noted of the use of keys.
    pub fn set_uses(&mut self, uses: Uses) {
        self.uses = uses;
    }

    /// Notes that the key at a place of a database was used.
    pub(in crate::core) fn used(&mut self, index: usize, place: usize, now_ms: Milliseconds) {
        let (uses, chance) = (self.uses, &mut self.chance);
        self.databases[index].use_at(place, |used| match uses {
            Uses::Last => uses.first(now_ms),
            Uses::Frequency { .. } => uses.again(used, now_ms, chance::next(chance)),
        });
    }

    /// Notes that a key got another value, where the key was used as told.
    pub(in crate::core) fn used_instead(
        &mut self,
        index: usize,
        key: &[u8],
        used: Used,
        now_ms: Milliseconds,
    ) {
        let (uses, chance) = (self.uses, &mut self.chance);
        let database = &mut self.databases[index];
        if let Uses::Frequency { .. } = uses
            && let Some(place) = database.find(key)
        {
            let used = uses.again(used, now_ms, chance::next(chance));
            database.use_at(place, |_| used);
        }
    }

    /// Notes that a key was used as told.
    pub(in crate::core) fn set_used(&mut self, index: usize, key: &[u8], used: Used) {
        let database = &mut self.databases[index];
        if let Some(place) = database.find(key) {
            database.use_at(place, |_| used);
        }
    }

    /// What all of it takes of the heap, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let empty_bytes = self.databases.len() * size_of::<Database>();
        let held_bytes: usize = self.databases.iter().map(Database::heap_bytes).sum();
        empty_bytes + held_bytes
    }

    /// The same, to change it.
    pub(in crate::core) fn database_mut(&mut self, index: usize) -> &mut Database {
        self.make(index);
        &mut self.databases[index]
    }

    /// Makes room for a database, if it is one that nothing was put into yet.
    fn make(&mut self, index: usize) {
        let before = self.databases.len();
        if before <= index {
            let notes = self.aside.is_some();
            self.databases
                .resize_with(index + 1, || Database::empty(notes));
            if let Some(aside) = &mut self.aside {
                aside.push(undo::Aside::Made(before));
            }
        }
    }
}
