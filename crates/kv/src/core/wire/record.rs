//! Records of the journal that all partitions of a node share.

use atoll_base::id::PartitionId;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::parts::{
    read_ballot, read_configuration, read_entries, read_index, read_position, write_ballot,
    write_configuration, write_entries, write_position,
};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    eventual::{bundle::RoomId, noted::Noted},
    keyspaces::KeyspaceNumber,
    paxos::{Ballot, Configuration, Durable, Entry, Forgotten, LogIndex, Position, Record},
};

/// Version of the encoded form.
const VERSION: u8 = 1;
/// About what the beginning of a record takes, and what an entry takes apart from its payload.
const HEAD_BYTES: usize = 16;
const ENTRY_BYTES: usize = 24;

/// What a partition's record in the journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    /// A change of what the partition's replica may not forget; never an Install.
    Record(Record),
    /// A snapshot of another replica was taken over. Its bytes are in a file of their own.
    Installed {
        /// The last entry that it holds.
        base: Position,
        /// What the file must be.
        mark: FileMark,
    },
    /// Everything the replica knows but its log: a journal's reader begins here. Who has read
    /// what came before knows all of it.
    Checkpoint(Checkpoint),
    /// Entries of the log that a checkpoint tells of, after it, in as many records as it takes.
    Carried {
        /// The index that they follow.
        after: LogIndex,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// The replica has no part in the partition any more; nothing of what came before counts,
    /// and a reader may begin here.
    Forgotten(Forgotten),
    /// Of an eventual keyspace's partition.
    Noted(KeyspaceNumber, Noted),
}

/// What tells a file from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMark {
    /// Its length.
    pub bytes: u64,
    /// XXH3 of all of it.
    pub checksum: u64,
}

impl FileMark {
    /// Of a file with this content.
    pub fn of(content: &[u8]) -> FileMark {
        FileMark {
            bytes: content.len() as u64,
            checksum: xxh3_64(content),
        }
    }
}

/// Everything that a replica knows but its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The newest configuration that it has heard of.
    pub configuration: Configuration,
    /// The highest ballot promised.
    pub promised: Ballot,
    /// Where its snapshot ends.
    pub base: Position,
    /// Where its log ends: up to there entries are carried.
    pub last: LogIndex,
}

/// A partition's record, as the journal holds it.
pub fn encode_record(partition: PartitionId, record: &Record) -> Bytes {
    let mut writer = begin(partition, record_bytes(record));
    match record {
        Record::Promise(ballot) => {
            writer.byte(0);
            write_ballot(&mut writer, *ballot);
        }
        Record::Configure(configuration) => {
            writer.byte(1);
            write_configuration(&mut writer, configuration);
        }
        Record::Append { after, entries } => {
            writer.byte(2).number(after.0);
            write_entries(&mut writer, entries);
        }
        Record::Install(snapshot) => {
            writer.byte(3);
            write_position(&mut writer, snapshot.base);
            let mark = FileMark::of(&snapshot.state);
            writer.number(mark.bytes).number(mark.checksum);
        }
        Record::Compact(base) => {
            writer.byte(4);
            write_position(&mut writer, *base);
        }
    }
    writer.finish()
}

/// The records that a journal's reader can begin with in the place of everything before: a
/// checkpoint, and the log's entries in records of no more than `record_bytes_max` bytes, or one
/// entry.
///
/// # Panics
/// Entries after the base are not held any more.
pub fn encode_checkpoint(
    partition: PartitionId,
    durable: &Durable,
    record_bytes_max: usize,
) -> Vec<Bytes> {
    let (base, last) = (durable.log.base(), durable.log.last().index);
    assert_eq!(
        durable.log.start(),
        base,
        "entries after the base are forgotten"
    );
    let mut writer = begin(partition, ENTRY_BYTES);
    writer.byte(5);
    write_configuration(&mut writer, &durable.configuration);
    write_ballot(&mut writer, durable.promised);
    write_position(&mut writer, base);
    writer.number(last.0);
    let mut records = vec![writer.finish()];
    let mut after = base.index;
    while after < last {
        let entries = durable.log.tail(after.next(), record_bytes_max);
        let mut writer = begin(partition, ENTRY_BYTES);
        writer.byte(6).number(after.0);
        write_entries(&mut writer, &entries);
        records.push(writer.finish());
        after = LogIndex(after.0 + entries.len() as u64);
    }
    records
}

/// The record that a partition's replica was let go.
pub fn encode_forgotten(partition: PartitionId, forgotten: Forgotten) -> Bytes {
    let mut writer = begin(partition, ENTRY_BYTES);
    writer.byte(7).number(forgotten.configuration);
    writer.finish()
}

/// The record of an eventual keyspace's partition.
pub fn encode_noted(room: RoomId, noted: &Noted) -> Bytes {
    let mut writer = begin(room.partition, ENTRY_BYTES + noted.bytes());
    writer.byte(8).number(room.keyspace.0.into());
    noted.write(&mut writer);
    writer.finish()
}

/// About what a record takes, in bytes.
fn record_bytes(record: &Record) -> usize {
    match record {
        Record::Append { entries, .. } => entries
            .iter()
            .map(|entry| ENTRY_BYTES + entry.payload.bytes())
            .sum(),
        _ => ENTRY_BYTES,
    }
}

/// The beginning of a record, with room for about so many bytes to follow.
fn begin(partition: PartitionId, bytes: usize) -> Writer {
    let mut writer = Writer::with_room(HEAD_BYTES + bytes);
    writer.byte(VERSION).number(u64::from(partition.0));
    writer
}

/// # Errors
/// These bytes are no record, or one of a newer version.
pub fn decode_record(bytes: Bytes) -> Result<(PartitionId, Logged), CodecError> {
    let mut reader = Reader::new(bytes);
    reader.version(VERSION)?;
    let partition = reader.partition()?;
    let logged = match reader.byte()? {
        0 => Logged::Record(Record::Promise(read_ballot(&mut reader)?)),
        1 => Logged::Record(Record::Configure(read_configuration(&mut reader)?)),
        2 => {
            let (after, entries) = read_following(&mut reader)?;
            Logged::Record(Record::Append { after, entries })
        }
        3 => Logged::Installed {
            base: read_position(&mut reader)?,
            mark: FileMark {
                bytes: reader.number()?,
                checksum: reader.number()?,
            },
        },
        4 => Logged::Record(Record::Compact(read_position(&mut reader)?)),
        5 => Logged::Checkpoint(Checkpoint {
            configuration: read_configuration(&mut reader)?,
            promised: read_ballot(&mut reader)?,
            base: read_position(&mut reader)?,
            last: read_index(&mut reader)?,
        }),
        6 => {
            let (after, entries) = read_following(&mut reader)?;
            Logged::Carried { after, entries }
        }
        7 => Logged::Forgotten(Forgotten {
            configuration: reader.number()?,
        }),
        8 => {
            let keyspace = u32::try_from(reader.number()?).map_err(|_| CodecError::Number)?;
            let noted = Noted::read(reader)?;
            return Ok((partition, Logged::Noted(KeyspaceNumber(keyspace), noted)));
        }
        mark => return Err(CodecError::Mark(mark)),
    };
    reader.finish()?;
    Ok((partition, logged))
}

/// Entries that follow an index.
fn read_following(reader: &mut Reader) -> Result<(LogIndex, Vec<Entry>), CodecError> {
    let after = read_index(reader)?;
    let entries = read_entries(reader)?;
    let follows = entries.first().map(Entry::index) == Some(after.next());
    follows
        .then_some((after, entries))
        .ok_or(CodecError::Number)
}
