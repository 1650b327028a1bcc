//! MULTI, EXEC and WATCH (Redis: "Transactions").
//!
//! EXEC asks for all commands of keyspaces at once, and runs those that are about the connection
//! when it hears that the transaction was done, in their places among the others. The databases
//! that SELECT chooses in between are known before.

use bytes::{Bytes, BytesMut};
use foldhash::fast::RandomState;
use indexmap::{IndexMap, IndexSet};

use super::{
    Handled, Outcome, Session,
    ask::{Ask, Finish, Heard, Step},
    connection::database_index,
    pubsub,
    tally::End,
};
use crate::{
    api::{
        Answer, Body, Call, Condition, DatabaseKey, Hindrance, Step as TransactionStep,
        Transaction, Version,
    },
    core::{
        command::{Command, CommandError, Flags},
        reply::Reply,
    },
    face::resp::{Version as Protocol, write, write_array_header, write_error},
};

/// So many commands a transaction may have.
const QUEUED_MAX: usize = 1024 * 1024;

/// So many bytes all their words together may have.
const QUEUED_BYTES_MAX: usize = 512 * 1024 * 1024;

/// So many keys a connection may watch.
const WATCHED_MAX: usize = 1024 * 1024;

/// So many bytes all of them together may have.
const WATCHED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// These run at once even in MULTI.
const AT_ONCE: [&str; 6] = ["exec", "discard", "multi", "watch", "quit", "reset"];

/// A command that waits for EXEC, and why it will not be run, if it will not.
pub(super) type Queued = (&'static Command, Vec<Bytes>, Option<&'static str>);

/// Watched keys, and where they stood.
#[derive(Default)]
pub(super) struct Watched {
    keys: IndexMap<DatabaseKey, Version, RandomState>,
    /// Of all keys together.
    bytes: usize,
}

impl Watched {
    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// Commands since MULTI.
#[derive(Default)]
pub(super) struct Queue {
    calls: Vec<Queued>,
    bytes: usize,
    spoilt: bool,
}

impl Queue {
    /// EXEC will refuse.
    pub(super) fn spoil(&mut self) {
        self.spoilt = true;
        // Nobody will run them.
        self.calls = Vec::new();
    }

    /// Number of commands.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// What one of them would have to wait for.
    pub(super) fn hindrance(&self, condition: &dyn Condition) -> Option<Hindrance> {
        let mut calls = self.calls.iter();
        calls.find_map(|(command, words, _)| condition.hindrance(command, words))
    }

    /// Whether one of them may change something.
    pub(super) fn may_write(&self, condition: &dyn Condition) -> bool {
        let mut calls = self.calls.iter();
        calls.any(|(command, words, _)| condition.may_write(command, words))
    }
}

/// A transaction that is asked for.
pub(super) struct Transacted {
    queue: Vec<Queued>,
    version: Protocol,
}

/// A transaction that was done and whose replies are being written.
pub(super) struct Exec {
    /// EXEC.
    command: &'static Command,
    queue: std::vec::IntoIter<Queued>,
    replies: std::vec::IntoIter<Reply>,
    /// What is spoken at this place.
    version: Protocol,
    /// One of its commands ends the connection.
    closes: bool,
}

impl Exec {
    /// Replies from here on are of this version.
    pub(super) fn speak(&mut self, version: Protocol) {
        self.version = version;
    }
}

macro_rules! debug_without_words {
    ($($type:ident)*) => {$(
        impl std::fmt::Debug for $type {
            /// Without what clients sent: there may be passwords in it.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        }
    )*};
}
debug_without_words!(Queue Transacted Exec);

/// Whether the command is a step of the transaction itself, not one that is run here.
fn is_step((command, _, refused): &Queued) -> bool {
    refused.is_none()
        && (!command.flags.has(Flags::SESSION) || pubsub::publishes(command).is_some())
}

impl Session {
    /// Puts the command into the queue, if it belongs there.
    pub(super) fn queue(
        &mut self,
        command: &'static Command,
        words: &[Bytes],
    ) -> Result<bool, CommandError> {
        let Some(queue) = &mut self.queue else {
            return Ok(false);
        };
        if AT_ONCE.contains(&command.name) {
            return Ok(false);
        }
        if queue.spoilt {
            return Ok(true);
        }
        let bytes: usize = words
            .iter()
            .map(|word| word.len() + size_of::<Bytes>())
            .sum();
        queue.bytes = queue.bytes.saturating_add(bytes);
        if queue.calls.len() == QUEUED_MAX || queue.bytes > QUEUED_BYTES_MAX {
            return Err(CommandError::Text(format!(
                "ERR a transaction has at most {QUEUED_MAX} commands and {QUEUED_BYTES_MAX} bytes"
            )));
        }
        queue.calls.push((command, words.to_vec(), None));
        Ok(true)
    }

    /// Forgets the queue and what is watched.
    pub(super) fn end_transaction(&mut self) {
        self.watched = Watched::default();
        self.queue = None;
    }

    pub(super) fn run_transaction(
        &mut self,
        name: &str,
        words: &[Bytes],
        out: &mut BytesMut,
    ) -> Handled {
        match name {
            "multi" => {
                if self.queue.is_some() {
                    return Err(CommandError::Other("ERR MULTI calls can not be nested"));
                }
                self.queue = Some(Queue::default());
                Ok(Reply::OK.into())
            }
            "exec" => self.exec(out),
            "discard" => {
                if self.queue.is_none() {
                    return Err(CommandError::Other("ERR DISCARD without MULTI"));
                }
                self.end_transaction();
                Ok(Reply::OK.into())
            }
            "watch" => self.watch(&words[1..]),
            _ => {
                self.watched = Watched::default();
                Ok(Reply::OK.into())
            }
        }
    }

    fn watch(&mut self, keys: &[Bytes]) -> Handled {
        if self.queue.is_some() {
            return Err(CommandError::Other("ERR WATCH inside MULTI is not allowed"));
        }
        let database = self.database;
        let new: IndexSet<DatabaseKey, RandomState> = keys
            .iter()
            // A copy: a key should not keep alive all that came with it.
            .map(|key| Bytes::copy_from_slice(key))
            .map(|key| DatabaseKey { database, key })
            // A key that is watched already stays at the version it had then.
            .filter(|key| !self.watched.keys.contains_key(key))
            .collect();
        let bytes: usize = new.iter().map(|key| key.key.len()).sum();
        if self.watched.len() + new.len() > WATCHED_MAX
            || self.watched.bytes + bytes > WATCHED_BYTES_MAX
        {
            return Err(CommandError::Text(format!(
                "ERR a connection can watch {WATCHED_MAX} keys of {WATCHED_BYTES_MAX} bytes"
            )));
        }
        if new.is_empty() {
            return Ok(Reply::OK.into());
        }
        let new: Vec<DatabaseKey> = new.into_iter().collect();
        let ask = Ask::Api(self.request(Body::Versions(new.clone())));
        Ok(Outcome::wait(ask, Finish::Watch(new)))
    }

    pub(super) fn finish_watch(&mut self, keys: Vec<DatabaseKey>, heard: Heard) -> Handled {
        match heard {
            Heard::Api(Answer::Versions(versions)) if versions.len() == keys.len() => {
                self.watched.bytes += keys.iter().map(|key| key.key.len()).sum::<usize>();
                self.watched.keys.extend(keys.into_iter().zip(versions));
                Ok(Reply::OK.into())
            }
            other => Ok(other.into_reply().into()),
        }
    }

    /// Runs the queue.
    fn exec(&mut self, out: &mut BytesMut) -> Handled {
        let Some(mut queue) = self.queue.take() else {
            return Err(CommandError::Other("ERR EXEC without MULTI"));
        };
        let watched: Vec<(DatabaseKey, Version)> =
            std::mem::take(&mut self.watched).keys.into_iter().collect();
        if queue.spoilt {
            return Err(CommandError::Other(
                "EXECABORT Transaction discarded because of previous errors.",
            ));
        }
        self.check_places(&queue.calls)?;
        if queue.calls.is_empty() && watched.is_empty() {
            write_array_header(out, 0);
            return Ok(Outcome::Written);
        }
        for queued in &mut queue.calls {
            queued.2 = self.recheck(queued);
            if queued.0.name == "select" && queued.2.is_none() {
                queued.2 = self.recheck_select(&queued.1)?;
            }
        }
        let mut database = self.database;
        let mut steps = Vec::new();
        for queued in &queue.calls {
            let (command, words, refused) = queued;
            if refused.is_some() {
                continue;
            }
            if let Some(sharded) = pubsub::publishes(command) {
                steps.push(TransactionStep::Publish(pubsub::publication(
                    sharded, words,
                )));
            } else if is_step(queued) {
                self.note_reads(command, words);
                let call = Call {
                    command,
                    words: words.clone(),
                };
                steps.push(TransactionStep::Call { database, call });
            } else if command.name == "select" {
                database = database_index(words, self.settings.cluster).unwrap_or(database);
            }
        }
        let waits = queue.calls.iter().any(|queued| !is_step(queued));
        let ask = Ask::Api(self.request(Body::Transaction(Transaction {
            steps,
            watched,
            names: Vec::new(),
        })));
        let transacted = Transacted {
            queue: queue.calls,
            version: self.version,
        };
        Ok(Outcome::Ask {
            ask,
            finish: Finish::Exec(Box::new(transacted)),
            waits,
        })
    }

    /// The transaction was done or not; writes what comes of it.
    pub(super) fn begin_replies(
        &mut self,
        command: &'static Command,
        transacted: Transacted,
        heard: Heard,
        muted: bool,
        out: &mut BytesMut,
    ) -> Step {
        let Transacted { queue, version } = transacted;
        let steps = queue.iter().filter(|queued| is_step(queued)).count();
        let replies = match heard {
            Heard::Api(Answer::Executed(replies)) if replies.len() == steps => replies,
            Heard::Api(Answer::Discarded) => {
                self.note(Some(command), End::Done);
                write(out, version, &Reply::NullArray);
                return Step::Done;
            }
            other => {
                let reply = other.into_reply();
                self.note_reply(command, &reply);
                write(out, version, &reply);
                return Step::Done;
            }
        };
        write_array_header(out, queue.len());
        let exec = Exec {
            command,
            queue: queue.into_iter(),
            replies: replies.into_iter(),
            version,
            closes: false,
        };
        self.go_on(Box::new(exec), Step::Done, muted, out)
    }

    /// Writes the replies from here on, running what is run here. `before` is what the last of
    /// those came to.
    pub(super) fn go_on(
        &mut self,
        mut exec: Box<Exec>,
        mut before: Step,
        muted: bool,
        out: &mut BytesMut,
    ) -> Step {
        loop {
            match before {
                Step::Done => {}
                Step::Close => exec.closes = true,
                Step::Ask(..) => return before,
            }
            let Some(queued) = exec.queue.next() else {
                self.note(Some(exec.command), End::Done);
                return if exec.closes { Step::Close } else { Step::Done };
            };
            before = Step::Done;
            if is_step(&queued) {
                // There is one for each: they were counted.
                if let Some(reply) = exec.replies.next() {
                    self.note_reply(queued.0, &reply);
                    write(out, exec.version, &reply);
                }
                continue;
            }
            let (command, words, refused) = queued;
            if let Some(refused) = refused {
                let code = refused.split(' ').next().unwrap_or_default();
                self.note(Some(command), End::Rejected(code.into()));
                write_error(out, refused.as_bytes());
                continue;
            }
            let handled = self.run(command, words, out);
            if matches!(handled, Ok(Outcome::Ask { .. })) {
                return self.conclude(command, handled, muted, Some(exec), out);
            }
            before = self.conclude(command, handled, muted, None, out);
            exec.version = self.version;
        }
    }
}
