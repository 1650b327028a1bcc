//! What a request asks of one partition, as entries of the log and messages hold it.

use bytes::Bytes;

use crate::core::{
    codec::{CodecError, Reader, Writer},
    data::{DATABASES, Packing},
};

/// The longest operation, in bytes: it becomes one record of the journal and one packet.
pub const OPERATION_BYTES_MAX: usize = 6 << 20;

/// Version of the encoded form.
const VERSION: u8 = 1;

/// What marks an operation that comes with limits of small forms.
const PACKED: u8 = 16;

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
}

impl Operation {
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
        }
        writer.finish()
    }

    /// An operation, encoded, with limits of small forms that are not Redis's own.
    pub fn with_packing(operation: &[u8], packing: &Packing) -> Bytes {
        let mut writer = Writer::default();
        writer.byte(VERSION).byte(PACKED);
        packing.write(&mut writer);
        writer.raw(operation);
        writer.finish()
    }

    /// An operation, and the limits that it comes with.
    ///
    /// # Errors
    /// These bytes are no operation, or one of a newer version.
    pub fn decode_packed(bytes: Bytes) -> Result<(Option<Packing>, Operation), CodecError> {
        if bytes.get(..2) != Some(&[VERSION, PACKED]) {
            return Ok((None, Operation::read(bytes)?));
        }
        let mut reader = Reader::new(bytes.slice(2..));
        let packing = Packing::read(&mut reader)?;
        Ok((Some(packing), Operation::read(reader.rest())?))
    }

    /// An operation, without the limits that it may come with.
    ///
    /// # Errors
    /// These bytes are no operation, or one of a newer version.
    pub fn decode(bytes: Bytes) -> Result<Operation, CodecError> {
        Self::decode_packed(bytes).map(|(_, operation)| operation)
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
