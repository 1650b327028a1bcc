//! What a request asks of one partition, as entries of the log and messages hold it.

use atoll_base::id::NodeId;
use bytes::Bytes;

use crate::core::{
    codec::{CodecError, Reader, Writer},
    data::{DATABASES, Packing},
};

/// The longest operation, in bytes: it becomes one record of the journal and one packet.
pub const OPERATION_BYTES_MAX: usize = 6 << 20;

/// Version of the encoded form.
const VERSION: u8 = 1;

/// What marks an operation that evicts keys.
const EVICT: u8 = 8;
/// What marks those that compare replicas.
const SUM: u8 = 9;
const COMPARE: u8 = 10;

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
    /// The database's index, below [`DATABASES`].
    pub database: usize,
    /// The command's words, its name first.
    pub words: Vec<Bytes>,
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
        let mut writer = Writer::default();
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
                writer.length(watched.len());
                for (database, key, version) in watched {
                    writer.length(*database).bytes(key).number(*version);
                }
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
        if bytes.get(..2) != Some(&[VERSION, TERMS]) {
            return Ok((Terms::default(), Operation::read(bytes)?));
        }
        let mut reader = Reader::new(bytes.slice(2..));
        let has = reader.byte()?;
        if has & !(HAS_PACKING | HAS_AUTHOR) != 0 {
            return Err(CodecError::Mark(has));
        }
        let mut terms = Terms::default();
        if has & HAS_PACKING != 0 {
            terms.packing = Some(Packing::read(&mut reader)?);
        }
        if has & HAS_AUTHOR != 0 {
            terms.author = Some(Author {
                node: NodeId(reader.number()?),
                client: reader.number()?,
            });
        }
        Ok((terms, Operation::read(reader.rest())?))
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
                let watched = (0..reader.count(3)?)
                    .map(|_| Ok((database(&mut reader)?, reader.bytes()?, reader.number()?)))
                    .collect::<Result<_, CodecError>>()?;
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
            mark => return Err(CodecError::Mark(mark)),
        };
        reader.finish()?;
        Ok(operation)
    }
}

fn write_call(writer: &mut Writer, call: &Call) {
    writer.length(call.database).length(call.words.len());
    for word in &call.words {
        writer.bytes(word);
    }
}

fn read_call(reader: &mut Reader) -> Result<Call, CodecError> {
    let database = database(reader)?;
    let words = (0..reader.count(1)?)
        .map(|_| reader.bytes())
        .collect::<Result<_, _>>()?;
    Ok(Call { database, words })
}

fn write_keys(writer: &mut Writer, keys: &[(usize, Bytes)]) {
    writer.length(keys.len());
    for (database, key) in keys {
        writer.length(*database).bytes(key);
    }
}

fn read_keys(reader: &mut Reader) -> Result<Vec<(usize, Bytes)>, CodecError> {
    (0..reader.count(2)?)
        .map(|_| Ok((database(reader)?, reader.bytes()?)))
        .collect()
}

fn database(reader: &mut Reader) -> Result<usize, CodecError> {
    let length = reader.number()?;
    usize::try_from(length)
        .ok()
        .filter(|index| *index < DATABASES)
        .ok_or(CodecError::Length { length })
}
