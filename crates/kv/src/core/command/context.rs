//! What a command works on.

use super::error::CommandError;
use crate::core::{
    chance,
    data::{
        Bucket, Database, Entry, Hash, Key, Keyspace, Kind, Milliseconds, NOTED_MAX, Packing, Used,
        Uses, Value,
    },
    reply::Reply,
};

/// When a command runs, and by which chance. Fixed by the owner before the command is logged,
/// so every replica sees the same.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The partition's time; it never goes back.
    pub now_ms: Milliseconds,
    /// Where the command's random numbers come from.
    pub seed: u64,
    /// The place of the command in the partition's log: the version of keys that it changes.
    pub version: u64,
    /// Whether it may change anything. Where it may not, keys that have ended are only noted.
    pub reading: bool,
}

/// A family of keyspace events; the letters of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventClass {
    /// `g`: DEL, EXPIRE, RENAME and the like.
    Generic,
    /// `$`
    String,
    /// `l`
    List,
    /// `s`
    Set,
    /// `h`
    Hash,
    /// `z`
    SortedSet,
    /// `t`
    Stream,
    /// `x`: a key ended.
    Expired,
    /// `e`: a key was evicted.
    Evicted,
    /// `n`: a new key.
    New,
}

/// One keyspace event, as subscribers may hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its family.
    pub class: EventClass,
    /// Its name: `set`, `expired`.
    pub name: &'static str,
    /// The database.
    pub database: usize,
    /// The key.
    pub key: Key,
}

/// What running a command brought about, apart from the reply and the change itself.
#[derive(Clone, Debug)]
pub struct Effects {
    /// Keys that were changed, added or removed, in order; a key may come more than once.
    pub changed: Vec<(usize, Key)>,
    /// Events in order.
    pub events: Vec<Event>,
    /// Ended keys, and hashes with ended fields, met while reading: they are to be removed by an
    /// entry of the log ([`Context::expire_if_ended`]) before the reply is given.
    pub ended: Vec<(usize, Key)>,
    /// Databases that were changed as a whole (emptied, exchanged): any key of theirs may have
    /// been changed, added or removed, and [`changed`](Self::changed) does not mention them.
    pub databases: Vec<usize>,
    /// Groups of keys of which one was removed.
    pub(in crate::core) removed: Vec<Bucket>,
    /// Of [`databases`](Self::databases), those in which more was changed than
    /// [`removed`](Self::removed) says.
    pub(in crate::core) replaced: Vec<usize>,
    /// The command found nothing to do and would wait, were that possible; its reply is for
    /// where it is not (in MULTI, in a script, or at the end of its time).
    pub blocks: bool,
    /// Whether all events are noted, or only those of keys that end or are evicted.
    pub keeps_events: bool,
}

impl Effects {
    /// Forgets everything, and keeps the room that it took.
    pub fn clear(&mut self) {
        self.changed.clear();
        self.events.clear();
        self.ended.clear();
        self.databases.clear();
        self.removed.clear();
        self.replaced.clear();
        self.blocks = false;
    }
}

impl Default for Effects {
    fn default() -> Self {
        Effects {
            changed: Vec::new(),
            events: Vec::new(),
            ended: Vec::new(),
            databases: Vec::new(),
            removed: Vec::new(),
            replaced: Vec::new(),
            blocks: false,
            keeps_events: true,
        }
    }
}

/// A keyspace, seen from one database at one moment.
#[derive(Debug)]
pub struct Context<'a> {
    keyspace: &'a mut Keyspace,
    database: usize,
    moment: Moment,
    random: u64,
    /// None where it is as in Redis.
    packing: Option<Packing>,
    is_of_script: bool,
    effects: &'a mut Effects,
}

impl<'a> Context<'a> {
    /// `database` is below [`DATABASES`](crate::core::data::DATABASES).
    pub fn new(
        keyspace: &'a mut Keyspace,
        database: usize,
        moment: Moment,
        effects: &'a mut Effects,
    ) -> Self {
        Context {
            keyspace,
            database,
            random: moment.seed,
            packing: None,
            is_of_script: false,
            moment,
            effects,
        }
    }

    /// With these limits of small forms; none is Redis's own.
    pub fn packed(self, packing: Option<Packing>) -> Self {
        Context { packing, ..self }
    }

    /// For a script, which may count on orders that a client may not.
    pub fn of_script(self) -> Self {
        Context {
            is_of_script: true,
            ..self
        }
    }

    /// Whether a script calls.
    pub fn is_of_script(&self) -> bool {
        self.is_of_script
    }

    /// How large small forms may get.
    pub fn packing(&self) -> Packing {
        self.packing.unwrap_or_default()
    }

    /// The partition's time.
    pub fn now_ms(&self) -> Milliseconds {
        self.moment.now_ms
    }

    /// The index of the chosen database.
    pub fn database_index(&self) -> usize {
        self.database
    }

    /// The chosen database, ended keys included.
    pub fn database(&self) -> &Database {
        self.keyspace.database(self.database)
    }

    /// Another database: what `work` does happens there.
    pub fn in_database<T>(&mut self, database: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.database, database);
        let result = work(self);
        self.database = before;
        result
    }

    /// The next random number, the same on every replica.
    pub fn random(&mut self) -> u64 {
        chance::next(&mut self.random)
    }

    /// A random number below `bound`, which is not 0.
    pub fn random_below(&mut self, bound: usize) -> usize {
        chance::below(&mut self.random, bound)
    }

    /// Makes sure that a key that has ended is gone, and so are fields of a hash: takes them
    /// out, or notes the key when reading. Tells the key's place if it is there and has not
    /// ended; a hash whose fields have all ended is not there.
    fn settle(&mut self, key: &[u8]) -> Option<usize> {
        let place = self.database().find(key)?;
        let (_, entry) = self.database().at(place)?;
        if !entry.has_ended(self.moment.now_ms) {
            return match &entry.value {
                Value::Hash(hash) if hash.has_ended_fields(self.moment.now_ms) => {
                    let all = hash.is_empty(self.moment.now_ms);
                    self.settle_fields(key);
                    (!all).then_some(place)
                }
                _ => Some(place),
            };
        }
        if self.moment.reading {
            self.effects.ended.push((self.database, key.into()));
        } else {
            self.expire(key);
        }
        None
    }

    /// The same, and notes that the key was used.
    fn use_key(&mut self, key: &[u8]) -> Option<usize> {
        let place = self.settle(key)?;
        let now_ms = self.moment.now_ms;
        // Who looks without a clock has no say in when it was used.
        if now_ms > 0 {
            self.keyspace.used(self.database, place, now_ms);
        }
        Some(place)
    }

    fn settle_fields(&mut self, key: &[u8]) {
        if self.moment.reading {
            self.effects.ended.push((self.database, key.into()));
            return;
        }
        let now_ms = self.moment.now_ms;
        let database = self.keyspace.database_mut(self.database);
        if let Some(Value::Hash(hash)) = database.get_mut(key) {
            hash.remove_ended(now_ms);
            self.changed(key, EventClass::Hash, "hexpired");
            self.remove_if_spent::<Hash>(key);
        }
    }

    /// Takes a key out because it has ended.
    fn expire(&mut self, key: &[u8]) {
        let removed = self
            .keyspace
            .database_mut(self.database)
            .remove(key)
            .is_some();
        if removed {
            self.changed(key, EventClass::Expired, "expired");
        }
    }

    /// Takes a key out if it has ended, and its fields that have; what an entry of the log that says so does.
    pub fn expire_if_ended(&mut self, key: &[u8]) {
        debug_assert!(!self.moment.reading);
        self.settle(key);
    }

    /// Takes a key out because memory is short.
    pub fn evict(&mut self, key: &[u8]) {
        if self.remove(key).is_some() {
            self.changed(key, EventClass::Evicted, "evicted");
        }
    }

    /// The key's entry, if it is there and has not ended. That is no use of the key: see
    /// [`value`](Self::value).
    pub fn entry(&mut self, key: &[u8]) -> Option<&Entry> {
        let place = self.settle(key)?;
        self.database().at(place).map(|(_, entry)| entry)
    }

    /// Whether the key is there; that is no use of it either.
    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.settle(key).is_some()
    }

    /// What is noted of the use of keys.
    pub fn uses(&self) -> Uses {
        self.keyspace.uses()
    }

    /// The key's value, of any type. That the key was used is noted, as by all that look at
    /// values.
    pub fn value(&mut self, key: &[u8]) -> Option<&Value> {
        let place = self.use_key(key)?;
        self.database().at(place).map(|(_, entry)| &entry.value)
    }

    /// The values of several keys, of any types, all at once.
    pub fn values(&mut self, keys: &[impl AsRef<[u8]>]) -> Vec<Option<&Value>> {
        let there: Vec<bool> = keys
            .iter()
            .map(|key| self.use_key(key.as_ref()).is_some())
            .collect();
        let database = self.database();
        // A key that was found may have another place by now: one that ended was taken out.
        keys.iter()
            .zip(there)
            .map(|(key, there)| {
                let entry = database.get(key.as_ref()).filter(|_| there);
                entry.map(|entry| &entry.value)
            })
            .collect()
    }

    /// The key's value of the type that the command means.
    ///
    /// # Errors
    /// [`CommandError::WrongType`]
    pub fn get<T: Kind>(&mut self, key: &[u8]) -> Result<Option<&T>, CommandError> {
        self.value(key)
            .map(|value| T::of(value).ok_or(CommandError::WrongType))
            .transpose()
    }

    /// The same, to change it; say [`changed`](Self::changed) afterwards, and
    /// [`remove_if_spent`](Self::remove_if_spent) where members were taken out.
    ///
    /// # Errors
    /// [`CommandError::WrongType`]
    pub fn get_mut<T: Kind>(&mut self, key: &[u8]) -> Result<Option<&mut T>, CommandError> {
        self.assert_writing();
        let Some(place) = self.use_key(key) else {
            return Ok(None);
        };
        self.keyspace
            .database_mut(self.database)
            .at_mut(place)
            .map(|value| T::of_mut(value).ok_or(CommandError::WrongType))
            .transpose()
    }

    /// The same; a key that is not there is added with `T::default()`. To be called when nothing
    /// can fail any more.
    ///
    /// # Errors
    /// [`CommandError::WrongType`]
    pub fn get_or_add<T: Kind + Default>(&mut self, key: &[u8]) -> Result<&mut T, CommandError> {
        self.assert_writing();
        if self.settle(key).is_none() {
            self.insert(key, T::default().into_value(), None);
        }
        match self.get_mut(key)? {
            Some(value) => Ok(value),
            None => unreachable!("the key was just added"),
        }
    }

    /// Puts a value, with its time of expiry, in the place of whatever was there. Say
    /// [`changed`](Self::changed) afterwards.
    pub fn insert(&mut self, key: &[u8], value: Value, expires_at_ms: Option<Milliseconds>) {
        self.assert_writing();
        let now_ms = self.moment.now_ms;
        let mut entry = Entry::new(value, expires_at_ms, self.moment.version);
        entry.set_used(self.keyspace.uses().first(now_ms));
        let before = self.keyspace.database_mut(self.database).insert(key, entry);
        if let Some(before) = before {
            // Another value, but the same key: how often it is used is not forgotten.
            self.keyspace
                .used_instead(self.database, key, before.used(), now_ms);
        } else {
            self.event(EventClass::New, "new", key);
        }
    }

    /// Says how a key was used that was just put there. No part of what replicas agree on.
    pub fn set_used(&mut self, key: &[u8], used: Used) {
        self.keyspace.set_used(self.database, key, used);
    }

    /// Takes a key out, if it is there and has not ended. Say [`changed`](Self::changed)
    /// afterwards.
    pub fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        self.assert_writing();
        self.settle(key)?;
        self.keyspace.database_mut(self.database).remove(key)
    }

    /// Puts a result in the place of whatever was at the key, and tells so; where the result
    /// has no members, the key goes (`del`).
    pub fn store<T: Kind>(&mut self, key: &[u8], value: T, class: EventClass, name: &'static str) {
        if !value.is_spent() {
            self.insert(key, value.into_value(), None);
            self.changed(key, class, name);
        } else if self.remove(key).is_some() {
            self.changed(key, EventClass::Generic, "del");
        }
    }

    /// Takes the key out if its value has no members left, and tells so (`del`).
    pub fn remove_if_spent<T: Kind>(&mut self, key: &[u8]) -> bool {
        let spent = self
            .database()
            .get(key)
            .and_then(|entry| T::of(&entry.value))
            .is_some_and(Kind::is_spent);
        if spent {
            self.keyspace.database_mut(self.database).remove(key);
            self.changed(key, EventClass::Generic, "del");
        }
        spent
    }

    /// Says when the key ends (never, if none); false if it is not there.
    pub fn expire_at(&mut self, key: &[u8], at_ms: Option<Milliseconds>) -> bool {
        self.assert_writing();
        self.settle(key).is_some()
            && self
                .keyspace
                .database_mut(self.database)
                .expire_at(key, at_ms)
    }

    /// Removes every key of the chosen database, and tells so.
    pub fn flush(&mut self) {
        self.assert_writing();
        let (index, database) = (self.database, self.keyspace.database(self.database));
        if database.len() <= NOTED_MAX {
            let places = (0..database.len()).filter_map(|place| database.at(place));
            let buckets = places.map(|(key, _)| Bucket::of(index, key));
            self.effects.removed.extend(buckets);
        } else {
            self.effects.replaced.push(index);
        }
        self.keyspace.flush(index);
        self.effects.databases.push(self.database);
    }

    /// Exchanges two databases, and tells so.
    pub fn swap_databases(&mut self, first: usize, second: usize) {
        self.assert_writing();
        if first != second {
            let both = [first, second];
            if both
                .iter()
                .any(|index| !self.keyspace.database(*index).is_empty())
            {
                self.effects.replaced.extend(both);
            }
            self.keyspace.swap(first, second);
            self.effects.databases.extend([first, second]);
        }
    }

    /// Tells that the key was changed, added or removed: watchers of it fail, caches of it are
    /// told, and subscribers hear of the event.
    pub fn changed(&mut self, key: &[u8], class: EventClass, name: &'static str) {
        self.touched(key);
        self.event(class, name, key);
    }

    /// Tells that the key was changed, without an event.
    pub fn touched(&mut self, key: &[u8]) {
        let version = self.moment.version;
        let database = self.keyspace.database_mut(self.database);
        if let Some(packing) = &self.packing
            && let Some(value) = database.get_mut(key)
        {
            packing.fit(value);
        }
        if !database.changed(key, version) {
            self.effects.removed.push(Bucket::of(self.database, key));
        }
        self.effects.changed.push((self.database, key.into()));
    }

    /// Tells of an event without a change.
    pub fn event(&mut self, class: EventClass, name: &'static str, key: &[u8]) {
        let goes_by_itself = matches!(class, EventClass::Expired | EventClass::Evicted);
        if !self.effects.keeps_events && !goes_by_itself {
            return;
        }
        self.effects.events.push(Event {
            class,
            name,
            database: self.database,
            key: key.into(),
        });
    }

    /// Says that the command would wait; `otherwise` is the reply where nobody can.
    pub fn block(&mut self, otherwise: Reply) -> Reply {
        self.effects.blocks = true;
        otherwise
    }

    /// Our own mistake, not a client's: a command that is flagged as reading writes.
    fn assert_writing(&self) {
        assert!(!self.moment.reading, "a reading command wrote");
    }
}
