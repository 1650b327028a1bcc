//! The state machine of a partition: Redis's data types, driven by entries of the log.
//!
//! An [`Operation`] is what a request asks of one partition; an [`Answered`] is what it comes to.

mod answered;
mod operation;

use bytes::Bytes;

pub use answered::{ANSWER_BYTES_MAX, Answered};
pub use operation::{Author, Call, OPERATION_BYTES_MAX, Operation, Terms};

use super::{
    command::{self, Context, Effects, Event, Moment as CommandMoment},
    data::{Key, Keyspace, Milliseconds},
    partition::{Moment, Read, StateMachine},
    reply::Reply,
};

/// So many keys that have ended one entry removes.
const EXPIRE_MAX: usize = 256;

/// Redis's data types.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    keyspace: Keyspace,
    /// Events of keys since the driver last asked.
    events: Vec<Event>,
    /// Changes of keys since the driver last asked, if it asks.
    changes: Vec<Changed>,
    keeps_changes: bool,
    /// What the operation that runs comes with.
    terms: Terms,
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

    /// The databases.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Events of keys that entries brought about since this was last asked, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
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
            .take(EXPIRE_MAX)
            .map(|(database, key)| (database, Bytes::copy_from_slice(key)))
            .collect();
        (!keys.is_empty()).then(|| Operation::Expire(keys).encode())
    }

    /// Whether anything here ends by itself.
    pub fn has_expiring(&self) -> bool {
        self.keyspace.ended(Milliseconds::MAX).next().is_some()
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
            Operation::Call(call) => {
                let reply = self.call(at, &call, effects);
                match effects.blocks {
                    true => self.waits(at, &call, effects, reply),
                    false => Answered::Reply(reply),
                }
            }
            Operation::Transaction { calls, watched } => {
                let stands = |(database, key, version): &(usize, Bytes, u64)| {
                    self.version(at, *database, key) == *version
                };
                if !watched.iter().all(stands) {
                    return Answered::Discarded;
                }
                let step = |(place, call): (usize, &Call)| {
                    let at = CommandMoment {
                        seed: at.seed.rotate_left(17).wrapping_add(place as u64),
                        ..at
                    };
                    self.call(at, call, effects)
                };
                Answered::Executed(calls.iter().enumerate().map(step).collect())
            }
            Operation::Versions(keys) => {
                let versions = keys
                    .iter()
                    .map(|(database, key)| self.version(at, *database, key));
                Answered::Versions(versions.collect())
            }
            Operation::Expire(keys) => {
                for (database, key) in keys {
                    let mut context = Context::new(&mut self.keyspace, database, at, effects);
                    context.expire_if_ended(&key);
                }
                Answered::Reply(Reply::OK)
            }
        }
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

    /// Where a key stands: the place of its last change; 0 if there is none.
    fn version(&self, at: CommandMoment, database: usize, key: &[u8]) -> u64 {
        let entry = self.keyspace.database(database).get(key);
        entry
            .filter(|entry| !entry.has_ended(at.now_ms))
            .map_or(0, |entry| entry.version)
    }
}

fn refused(text: &str) -> Answered {
    Answered::Reply(Reply::Error(Bytes::copy_from_slice(text.as_bytes())))
}

impl StateMachine for Machine {
    type Reply = Answered;

    fn apply(&mut self, at: Moment, operation: &Bytes) -> Answered {
        let mut effects = Effects::default();
        let at = CommandMoment {
            now_ms: at.now_ms,
            seed: at.seed,
            version: at.index.0,
            reading: false,
        };
        let answered = self.run(at, operation, &mut effects);
        if self.keeps_changes {
            self.note_changes(&effects);
        }
        self.events.append(&mut effects.events);
        answered
    }

    fn read(&mut self, now_ms: Milliseconds, seed: u64, operation: &Bytes) -> Read<Answered> {
        let mut effects = Effects::default();
        let at = CommandMoment {
            now_ms,
            seed,
            version: 0,
            reading: true,
        };
        let answered = self.run(at, operation, &mut effects);
        if effects.ended.is_empty() {
            return Read::Reply(answered);
        }
        // Another owner's clock may be behind: that these keys are gone has to be known first.
        let mut keys: Vec<(usize, Key)> = effects.ended;
        keys.truncate(EXPIRE_MAX);
        let keys = keys
            .into_iter()
            .map(|(database, key)| (database, Bytes::from(key)))
            .collect();
        Read::After(Operation::Expire(keys).encode())
    }
}

#[cfg(test)]
mod tests;
