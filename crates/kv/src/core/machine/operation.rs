//! What a request asks of one partition, as entries of the log and messages hold it.

use atoll_base::id::NodeId;
use bytes::Bytes;

use super::{
    parts::{
        call_bytes, database, read_call, read_keys, read_script, read_watched, write_call,
        write_keys, write_script, write_watched,
    },
    transactions::{Transact, TransactionId},
};
use crate::core::{
    acl::Caller,
    codec::{CodecError, Reader, Writer},
    data::Packing,
};

/// The longest operation, in bytes: it becomes one record of the journal and one packet.
pub const OPERATION_BYTES_MAX: usize = 6 << 20;

/// Version of the encoded form.
const VERSION: u8 = 1;
/// About what the beginning of an operation takes.
const HEAD_BYTES: usize = 16;
/// What marks a script.
const SCRIPT: u8 = 5;
/// What marks a transaction with scripts.
const PROGRAM: u8 = 7;

/// What marks an operation that evicts keys.
const EVICT: u8 = 8;
/// What marks those that compare replicas.
const SUM: u8 = 9;
const COMPARE: u8 = 10;
/// What marks a step of a transaction over several partitions.
const TRANSACT: u8 = 11;
/// What marks that somebody is at work on one.
const TEND: u8 = 12;

/// What marks an operation that comes with terms.
const TERMS: u8 = 16;
/// Which terms those are.
const HAS_PACKING: u8 = 1;
const HAS_AUTHOR: u8 = 1 << 1;

/// The client that asks, where it is not to be told of its own changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author {
    /// The node that it is connected to.
    pub node: NodeId,
    /// Its number there.
    pub client: u64,
}

/// What an operation comes with, apart from what it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Limits of small forms that are not Redis's own.
    pub packing: Option<Packing>,
    /// Who asks.
    pub author: Option<Author>,
}

/// A command in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The database's index, up to [`HIDDEN`].
    pub database: usize,
    /// The command's words, its name first.
    pub words: Vec<Bytes>,
}

/// A script to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The database's index that it begins in.
    pub database: usize,
    /// Its text; of a function, its library's.
    pub code: Bytes,
    /// Which function of the library, if it is one.
    pub function: Option<Bytes>,
    /// `KEYS`
    pub keys: Vec<Bytes>,
    /// `ARGV`
    pub arguments: Vec<Bytes>,
    /// Whether it may change nothing.
    pub reads: bool,
    /// What it may do where no memory is left.
    pub when_full: WhenFull,
    /// Who has it run, if that user may not do everything.
    pub caller: Option<Caller>,
}

/// What a script may do where no memory is left, if it is one that may write (Redis: "Scripting
/// with Lua", "Script flags").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It says nothing of itself: it runs, but what may need memory is refused until it has
    /// changed something; then it can't be stopped in the middle.
    Limited,
    /// It has flags, `allow-oom` is none of them: it doesn't run.
    Refused,
    /// `allow-oom`: anything.
    Allowed,
}

/// One thing of a transaction with scripts in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run a command.
    Call(Call),
    /// Run a script.
    Script(Script),
}

/// One thing by which a script changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A command.
    Call(Call),
    /// This key of this database was found to have ended, or fields of it.
    Expired(usize, Bytes),
}

/// What the owner decided that a script comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What it changed, in order.
    pub changes: Vec<Change>,
    /// What it came to: an [`Answered`](super::Answered), encoded.
    pub answer: Bytes,
}

/// What a request asks of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Run a command.
    Call(Call),
    /// Run commands one after the other, if keys still stand where they stood.
    Transaction {
        /// The commands.
        calls: Vec<Call>,
        /// Database, key and version of each watched key.
        watched: Vec<(usize, Bytes, u64)>,
    },
    /// Tell where keys stand.
    Versions(Vec<(usize, Bytes)>),
    /// Remove those of these keys that have ended.
    Expire(Vec<(usize, Bytes)>),
    /// Have every replica sum up its data, at this place of the log.
    Sum,
    /// Compare what came of that with the owner's.
    Compare {
        /// Where the sum was made.
        index: u64,
        /// The owner's.
        sum: u64,
    },
    /// Run a command that waits where it finds nothing to do.
    Wait {
        /// When it was asked for, by its coordinator's clock.
        since_ms: u64,
        /// Whether it was run before.
        attempt: Attempt,
        /// The command.
        call: Call,
    },
    /// Remove these keys, since memory is short.
    Evict(Vec<(usize, Bytes)>),
    /// Run a script. It is never applied: the owner decides what it comes to.
    Script(Script),
    /// Do what was decided.
    Decided(Decided),
    /// A transaction with scripts in it; is decided, as they are.
    Program {
        /// What is done, in order.
        steps: Vec<Step>,
        /// Database, key and version of each watched key.
        watched: Vec<(usize, Bytes, u64)>,
    },
    /// Take a step of a transaction over several partitions.
    Transact(Transact),
    /// Do not take this transaction for left: its coordinator is at work on it. It changes
    /// nothing.
    Tend(TransactionId),
}

/// Which run this is of a command that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The first.
    First,
    /// It found nothing, and a key was changed.
    Again,
    /// It will not wait any longer.
    Last,
}

impl Operation {
    /// What does nothing.
    pub fn nothing() -> Operation {
        Operation::Versions(Vec::new())
    }

    /// As the log and messages hold it.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_room(match self {
            Operation::Call(call) | Operation::Wait { call, .. } => HEAD_BYTES + call_bytes(call),
            _ => HEAD_BYTES,
        });
        writer.byte(VERSION);
        match self {
            Operation::Call(call) => {
                writer.byte(0);
                write_call(&mut writer, call);
            }
            Operation::Transaction { calls, watched } => {
                writer.byte(1).length(calls.len());
                for call in calls {
                    write_call(&mut writer, call);
                }
                write_watched(&mut writer, watched);
            }
            Operation::Versions(keys) => {
                writer.byte(2);
                write_keys(&mut writer, keys);
            }
            Operation::Expire(keys) => {
                writer.byte(3);
                write_keys(&mut writer, keys);
            }
            Operation::Wait {
                since_ms,
                attempt,
                call,
            } => {
                let attempt = match attempt {
                    Attempt::First => 0,
                    Attempt::Again => 1,
                    Attempt::Last => 2,
                };
                writer.byte(4).byte(attempt).number(*since_ms);
                write_call(&mut writer, call);
            }
            Operation::Evict(keys) => {
                writer.byte(EVICT);
                write_keys(&mut writer, keys);
            }
            Operation::Sum => {
                writer.byte(SUM);
            }
            Operation::Compare { index, sum } => {
                writer.byte(COMPARE).number(*index).number(*sum);
            }
            Operation::Script(script) => {
                writer.byte(SCRIPT);
                write_script(&mut writer, script);
            }
            Operation::Decided(decided) => {
                writer.byte(6).length(decided.changes.len());
                for change in &decided.changes {
                    match change {
                        Change::Call(call) => write_call(writer.byte(0), call),
                        Change::Expired(database, key) => {
                            writer.byte(1).length(*database).bytes(key);
                        }
                    }
                }
                writer.bytes(&decided.answer);
            }
            Operation::Program { steps, watched } => {
                writer.byte(PROGRAM).length(steps.len());
                for step in steps {
                    match step {
                        Step::Call(call) => write_call(writer.byte(0), call),
                        Step::Script(script) => write_script(writer.byte(1), script),
                    }
                }
                write_watched(&mut writer, watched);
            }
            Operation::Transact(transact) => transact.write(writer.byte(TRANSACT)),
            Operation::Tend(id) => id.write(writer.byte(TEND)),
        }
        writer.finish()
    }

    /// An operation, encoded, with its terms.
    pub fn with_terms(operation: Bytes, terms: &Terms) -> Bytes {
        let packing = terms.packing.map_or(0, |_| HAS_PACKING);
        let author = terms.author.map_or(0, |_| HAS_AUTHOR);
        if packing | author == 0 {
            return operation;
        }
        let mut writer = Writer::default();
        writer.byte(VERSION).byte(TERMS).byte(packing | author);
        if let Some(packing) = &terms.packing {
            packing.write(&mut writer);
        }
        if let Some(author) = &terms.author {
            writer.number(author.node.0).number(author.client);
        }
        writer.raw(&operation);
        writer.finish()
    }

    /// An operation, and its terms.
    ///
    /// # Errors
    /// These bytes are no operation, or one of a newer version.
    pub fn decode_with_terms(bytes: Bytes) -> Result<(Terms, Operation), CodecError> {
        let (terms, operation) = Self::split_terms(bytes)?;
        Ok((terms, Operation::read(operation)?))
    }

    /// An operation, encoded and without its terms, and these.
    fn split_terms(bytes: Bytes) -> Result<(Terms, Bytes), CodecError> {
        let mut terms = Terms::default();
        if bytes.get(..2) != Some(&[VERSION, TERMS]) {
            return Ok((terms, bytes));
        }
        let mut reader = Reader::new(bytes.slice(2..));
        let has = reader.byte()?;
        if has & !(HAS_PACKING | HAS_AUTHOR) != 0 {
            return Err(CodecError::Mark(has));
        }
        if has & HAS_PACKING != 0 {
            terms.packing = Some(Packing::read(&mut reader)?);
        }
        if has & HAS_AUTHOR != 0 {
            terms.author = Some(Author {
                node: NodeId(reader.number()?),
                client: reader.number()?,
            });
        }
        Ok((terms, reader.rest()))
    }

    /// Whether these bytes are of an operation that only the owner can tell what it comes to.
    pub fn is_decided(bytes: &Bytes) -> bool {
        matches!(Self::mark(bytes), Some(SCRIPT | PROGRAM))
    }

    /// Whether these bytes are of a step of a transaction over several partitions.
    pub fn is_transact(bytes: &Bytes) -> bool {
        Self::mark(bytes) == Some(TRANSACT)
    }

    /// Whether these bytes say that a coordinator is at work on a transaction.
    pub fn is_tend(bytes: &Bytes) -> bool {
        Self::mark(bytes) == Some(TEND)
    }

    /// What marks an operation, with or without terms.
    fn mark(bytes: &Bytes) -> Option<u8> {
        match bytes.get(..2)? {
            [VERSION, TERMS] => {
                let (_, operation) = Self::split_terms(bytes.clone()).ok()?;
                operation.get(1).copied()
            }
            [VERSION, mark] => Some(*mark),
            _ => None,
        }
    }

    /// An operation, without the terms that it may come with.
    ///
    /// # Errors
    /// These bytes are no operation, or one of a newer version.
    pub fn decode(bytes: Bytes) -> Result<Operation, CodecError> {
        Self::decode_with_terms(bytes).map(|(_, operation)| operation)
    }

    fn read(bytes: Bytes) -> Result<Operation, CodecError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let operation = match reader.byte()? {
            0 => Operation::Call(read_call(&mut reader)?),
            1 => {
                let calls = (0..reader.count(3)?)
                    .map(|_| read_call(&mut reader))
                    .collect::<Result<_, _>>()?;
                let watched = read_watched(&mut reader)?;
                Operation::Transaction { calls, watched }
            }
            2 => Operation::Versions(read_keys(&mut reader)?),
            3 => Operation::Expire(read_keys(&mut reader)?),
            4 => Operation::Wait {
                attempt: match reader.byte()? {
                    0 => Attempt::First,
                    1 => Attempt::Again,
                    2 => Attempt::Last,
                    mark => return Err(CodecError::Mark(mark)),
                },
                since_ms: reader.number()?,
                call: read_call(&mut reader)?,
            },
            SUM => Operation::Sum,
            COMPARE => Operation::Compare {
                index: reader.number()?,
                sum: reader.number()?,
            },
            EVICT => Operation::Evict(read_keys(&mut reader)?),
            SCRIPT => Operation::Script(read_script(&mut reader)?),
            6 => Operation::Decided(Decided {
                changes: (0..reader.count(3)?)
                    .map(|_| {
                        Ok(match reader.byte()? {
                            0 => Change::Call(read_call(&mut reader)?),
                            1 => Change::Expired(database(&mut reader)?, reader.bytes()?),
                            mark => return Err(CodecError::Mark(mark)),
                        })
                    })
                    .collect::<Result<_, _>>()?,
                answer: reader.bytes()?,
            }),
            PROGRAM => {
                let steps = (0..reader.count(3)?)
                    .map(|_| match reader.byte()? {
                        0 => read_call(&mut reader).map(Step::Call),
                        1 => read_script(&mut reader).map(Step::Script),
                        mark => Err(CodecError::Mark(mark)),
                    })
                    .collect::<Result<_, _>>()?;
                let watched = read_watched(&mut reader)?;
                Operation::Program { steps, watched }
            }
            TRANSACT => Operation::Transact(Transact::read(&mut reader)?),
            TEND => Operation::Tend(TransactionId::read(&mut reader)?),
            mark => return Err(CodecError::Mark(mark)),
        };
        reader.finish()?;
        Ok(operation)
    }
}
