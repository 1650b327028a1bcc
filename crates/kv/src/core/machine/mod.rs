//! The state machine of a partition: Redis's data types, driven by entries of the log.
//!
//! An [`Operation`] is what a request asks of one partition; an [`Answered`] is what it comes to.

mod answered;
mod observed;
mod operation;
mod parts;
mod replicated;
mod scripts;
mod transactions;

use std::collections::BTreeSet;

use bytes::Bytes;

pub use answered::{ANSWER_BYTES_MAX, Answered, Facts};
pub use operation::{
    Attempt, Author, Call, Change, Decided, OPERATION_BYTES_MAX, Operation, Script, Step, Terms,
    WhenFull,
};
pub use scripts::{Called, Extent, Home, Running, Surroundings};
pub use transactions::{
    BranchId, Decision, Locks, Prepare, Prepared, Settlement, Standing, Transact, Transacted,
    TransactionId, Transactions,
};

use super::{
    command::{self, Context, Effects, Event, Moment as CommandMoment},
    data::{Absences, HIDDEN, Key, Keyspace, Milliseconds, Uses, Value},
    reply::Reply,
    snapshot,
};

/// So many keys that have ended one entry removes.
const EXPIRE_MAX: usize = 256;

/// What EXEC answers where nothing of the transaction was done, before the reason.
pub const ABORTED: &str = "EXECABORT Transaction discarded because of: ";
/// What commands that may need memory are told where there is none.
pub const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// What is answered where the journal has no room (redis.io, "MISCONF error": a server that can't
/// append to its log refuses what changes data, and goes on reading).
pub(crate) const NO_SPACE: &str = "MISCONF Errors writing to the AOF file: No space left on device";
/// What is answered where a transaction holds what an owner should have waited for.
const LOCKED: &str = "TRYAGAIN A transaction holds a key of this command; nothing was done";
/// What is answered where a transaction that is decided outside holds a key for long.
const HELD: &str = "TRYAGAIN A transaction with others outside holds a key of this command; \
                    nothing was done";

/// Where a key stands that has ended and is not removed yet: as it never did before.
const ENDED: u64 = u64::MAX;

/// Redis's data types.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    keyspace: Keyspace,
    /// Events of keys since the driver last asked.
    events: Vec<Event>,
    /// Keys that were changed since the partition last asked, and whether any may have been.
    changed: Vec<(usize, Key)>,
    has_changed_databases: bool,
    /// Whether this node has no memory left, and nothing to evict.
    is_full: bool,
    /// Whether this node's journal has no room left.
    lacks_space: bool,
    /// Changes of keys since the driver last asked, if it asks.
    changes: Vec<Changed>,
    keeps_changes: bool,
    /// Whether somebody wants to hear of more than what went by itself.
    keeps_events: bool,
    /// Empty: room for what the next operation brings about.
    effects: Effects,
    /// Transactions over several partitions.
    transactions: Transactions,
    /// Since when keys are missing.
    absences: Absences,
    /// Those of them of which the driver has yet to hear that their coordinators are at work.
    tended: BTreeSet<TransactionId>,
    /// Those that are held for so long that nobody waits for them any more, as this node's driver
    /// says. It is no part of the state.
    held_for_long: BTreeSet<TransactionId>,
    /// The last sum of the data, and where in the log it was made.
    sum: Option<(u64, u64)>,
    /// What the operation that runs comes with.
    terms: Terms,
    /// Where this is, for scripts. It is no part of the state.
    home: Option<Home>,
}

/// What an entry changed, for those who cache it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// A key; none for any of all.
    pub key: Option<Bytes>,
    /// Who asked for it, where that is to be known.
    pub author: Option<Author>,
}

impl Machine {
    /// With these databases.
    pub(in crate::core) fn of(keyspace: Keyspace) -> Self {
        Machine {
            keyspace,
            ..Machine::default()
        }
    }

    /// Says where this is. Without it all keys are here, and nobody ends scripts.
    pub fn set_home(&mut self, home: Home) {
        self.home = Some(home);
    }

    /// The databases.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// The last sum of the data that was made here, and where in the log.
    pub fn sum(&self) -> Option<(u64, u64)> {
        self.sum
    }

    /// Compares the last sum with the owner's, if it is of the same place.
    ///
    /// # Panics
    /// They are not the same. Replicas that have applied the same must hold the same; to go on
    /// would spread what is wrong here.
    fn compare(&self, index: u64, owners: u64) {
        if let Some((at, own)) = self.sum
            && at == index
        {
            assert_eq!(
                own, owners,
                "the data of this replica after entry {index} is not the owner's: a defect of \
                 this program or of this machine. Remove the node, delete its folder, and join it \
                 again"
            );
        }
    }

    /// Whether this makes a value of the cluster's own shorter. To have fewer functions needs no
    /// memory.
    fn shrinks(&self, call: &Call) -> bool {
        let [_, key, value] = &call.words[..] else {
            return false;
        };
        let entry = self.keyspace.database(call.database).get(key);
        call.database == HIDDEN
            && matches!(entry.map(|entry| &entry.value), Some(Value::String(old)) if value.len() <= old.len())
    }

    /// Says what this node notes of the use of keys.
    pub fn set_uses(&mut self, uses: Uses) {
        self.keyspace.set_uses(uses);
    }

    /// Says whether this node has no memory left, and nothing to evict. While it is so, an owner
    /// refuses what may need more.
    pub fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// Says whether this node's journal has no room left. While it is so, an owner refuses
    /// whatever would have to be logged.
    pub fn set_lacks_space(&mut self, lacks_space: bool) {
        self.lacks_space = lacks_space;
    }

    /// Events of keys that entries brought about since this was last asked, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Whether all events of keys are kept for [`take_events`](Self::take_events), or those only
    /// of keys that went by themselves.
    pub fn keep_events(&mut self, keeps: bool) {
        self.keeps_events = keeps;
    }

    /// Whether changes of keys are kept for [`take_changes`](Self::take_changes).
    pub fn keep_changes(&mut self, keeps: bool) {
        self.keeps_changes = keeps;
        if !keeps {
            self.changes = Vec::new();
        }
    }

    /// Changes that entries brought about since this was last asked, in order.
    pub fn take_changes(&mut self) -> Vec<Changed> {
        std::mem::take(&mut self.changes)
    }

    fn note_changes(&mut self, effects: &Effects) {
        let author = self.terms.author;
        let keys = effects.changed.iter().map(|(_, key)| Changed {
            key: Some(Bytes::copy_from_slice(key)),
            author,
        });
        self.changes.extend(keys);
        if !effects.databases.is_empty() {
            self.changes.push(Changed { key: None, author });
        }
    }

    /// The operation that removes what has ended by now, if anything has.
    pub fn expire(&self, now_ms: Milliseconds) -> Option<Bytes> {
        let keys: Vec<(usize, Bytes)> = self
            .keyspace
            .ended(now_ms)
            // What is locked stays until it is let go.
            .filter(|(database, key)| !self.transactions.locks(*database, key))
            .take(EXPIRE_MAX)
            .map(|(database, key)| (database, Bytes::copy_from_slice(key)))
            .collect();
        (!keys.is_empty()).then(|| Operation::Expire(keys).encode())
    }

    /// Whether anything here ends by itself.
    pub fn has_expiring(&self) -> bool {
        self.keyspace.ended(Milliseconds::MAX).next().is_some()
    }

    /// Answers a request that changes nothing from what is here, whoever the owner is and
    /// whatever it knows by now. What has ended by `now_ms` is not there, as on a Redis replica,
    /// though nothing says so in the log.
    pub fn read_stale(&mut self, now_ms: Milliseconds, seed: u64, operation: &Bytes) -> Answered {
        self.look(now_ms, seed, operation).0
    }

    /// The answer to a request that changes nothing, and which keys were met that have ended.
    fn look(
        &mut self,
        now_ms: Milliseconds,
        seed: u64,
        operation: &Bytes,
    ) -> (Answered, Vec<(usize, Key)>) {
        let mut effects = Effects::default();
        let at = CommandMoment {
            now_ms,
            seed,
            version: 0,
            reading: true,
        };
        let answered = self.run(at, operation, &mut effects);
        (answered, effects.ended)
    }

    fn run(&mut self, at: CommandMoment, operation: &Bytes, effects: &mut Effects) -> Answered {
        // What can't be read was written by a newer version: every replica of this one refuses
        // it in the same words.
        let operation = match Operation::decode_with_terms(operation.clone()) {
            Ok((terms, operation)) => {
                self.terms = terms;
                operation
            }
            Err(error) => return refused(&format!("ERR unknown operation: {error}")),
        };
        match operation {
            Operation::Tend(id) => self.tend(id),
            Operation::Transact(_) if at.reading => refused("ERR a write came as a read"),
            Operation::Transact(transact) => self.transact(at, transact, effects),
            Operation::Call(call) => {
                let reply = self.call(at, &call, effects);
                match effects.blocks {
                    true => self.waits(at, &call, effects, reply),
                    false => Answered::Reply(reply),
                }
            }
            Operation::Wait { attempt, call, .. } => {
                let reply = self.call(at, &call, effects);
                if effects.blocks {
                    self.waits(at, &call, effects, reply)
                } else if attempt != Attempt::First
                    && is_wrong_type(&reply)
                    && self.finds_another_type(&call)
                {
                    // Somebody made something else of the key, which is not what it waits for.
                    let name = command::find(&call.words).map_or("", |command| command.name);
                    Answered::Waits {
                        reply: command::found_nothing(name),
                        words: None,
                    }
                } else {
                    Answered::Reply(reply)
                }
            }
            Operation::Transaction { calls, watched } => {
                if !self.stands(at, &watched) {
                    return Answered::Discarded;
                }
                let step =
                    |(place, call): (usize, &Call)| self.call(of_step(at, place), call, effects);
                Answered::Executed(calls.iter().enumerate().map(step).collect())
            }
            Operation::Versions(keys) => {
                let versions = keys.iter().map(|(database, key)| {
                    // What has ended is to be gone before anybody says where it stands.
                    Context::new(&mut self.keyspace, *database, at, effects).exists(key);
                    self.version(at, *database, key)
                });
                Answered::Versions(versions.collect())
            }
            Operation::Sum => {
                self.sum = Some((at.version, snapshot::sum(&self.keyspace)));
                Answered::Reply(Reply::OK)
            }
            Operation::Compare { index, sum } => {
                self.compare(index, sum);
                Answered::Reply(Reply::OK)
            }
            Operation::Evict(keys) => {
                for (database, key) in self.free(keys) {
                    Context::new(&mut self.keyspace, database, at, effects).evict(&key);
                }
                Answered::Reply(Reply::OK)
            }
            Operation::Expire(keys) => {
                for (database, key) in self.free(keys) {
                    let mut context = Context::new(&mut self.keyspace, database, at, effects);
                    context.expire_if_ended(&key);
                }
                Answered::Reply(Reply::OK)
            }
            Operation::Script(script) if at.reading => {
                self.read_steps(at, vec![Step::Script(script)], None, effects)
            }
            Operation::Program { steps, watched } if at.reading => {
                self.read_steps(at, steps, Some(&watched), effects)
            }
            // Our own mistake, or another's: every replica says the same.
            Operation::Script(_) | Operation::Program { .. } => {
                refused("ERR a script was logged that nobody has run")
            }
            Operation::Decided(_) if at.reading => refused("ERR a write came as a read"),
            Operation::Decided(decided) => self.redo(at, decided, effects),
        }
    }

    /// Those of these keys that no transaction has locked: what it was told of them has to stand.
    fn free(&self, keys: Vec<(usize, Bytes)>) -> Vec<(usize, Bytes)> {
        let mut keys = keys;
        keys.retain(|(database, key)| !self.transactions.locks(*database, key));
        keys
    }

    fn call(&mut self, at: CommandMoment, call: &Call, effects: &mut Effects) -> Reply {
        let Some(command) = command::find(&call.words) else {
            let text = "ERR a replica does not know this command: is the cluster being upgraded?";
            return Reply::Error(Bytes::from_static(text.as_bytes()));
        };
        if at.reading && command.flags.has(command::Flags::WRITE) {
            return Reply::Error(Bytes::from_static(b"ERR a write came as a read"));
        }
        let context = Context::new(&mut self.keyspace, call.database, at, effects);
        let mut context = context.packed(self.terms.packing);
        match command.run(&mut context, &call.words) {
            Ok(reply) => reply,
            Err(error) => Reply::Error(Bytes::from(error.to_string())),
        }
    }

    /// Whether a key that a command waits for has become something that it does not wait for.
    fn finds_another_type(&self, call: &Call) -> bool {
        let Some(awaited) = command::awaited_type(&call.words) else {
            return false;
        };
        let database = self.keyspace.database(call.database);
        command::awaited_keys(&call.words).any(|key| {
            let entry = database.get(key);
            entry.is_some_and(|entry| entry.value.type_name() != awaited)
        })
    }

    /// What a command that would wait answers: words that mean the same at every later try, too.
    fn waits(
        &mut self,
        at: CommandMoment,
        call: &Call,
        effects: &mut Effects,
        reply: Reply,
    ) -> Answered {
        let words = command::find(&call.words).and_then(|command| {
            let mut context = Context::new(&mut self.keyspace, call.database, at, effects);
            command::fix_last_ids(&mut context, command, &call.words)
        });
        Answered::Waits { reply, words }
    }

    /// Whether keys still stand where they stood.
    fn stands(&self, at: CommandMoment, watched: &[(usize, Bytes, u64)]) -> bool {
        let mut watched = watched.iter();
        watched.all(|(database, key, version)| self.version(at, *database, key) == *version)
    }

    /// Where a key stands: the place in the log of its last change or removal, or a later one;
    /// 0 if it never was there. No two states of a key have the same.
    fn version(&self, at: CommandMoment, database: usize, key: &[u8]) -> u64 {
        match self.keyspace.database(database).get(key) {
            None => self.absences.since(database, key),
            Some(entry) if entry.has_ended(at.now_ms) => ENDED,
            Some(entry) => entry.version().max(self.absences.whole(database)),
        }
    }
}

/// The moment of one of several commands: each has a chance of its own.
fn of_step(at: CommandMoment, place: usize) -> CommandMoment {
    CommandMoment {
        seed: at.seed.rotate_left(17).wrapping_add(place as u64),
        ..at
    }
}

fn is_wrong_type(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with(b"WRONGTYPE"))
}

fn refused(text: &str) -> Answered {
    Answered::Reply(Reply::Error(Bytes::copy_from_slice(text.as_bytes())))
}

#[cfg(test)]
mod script_tests;
#[cfg(test)]
mod tests;
