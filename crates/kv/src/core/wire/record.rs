//! Records of the journal that all partitions of a node share.

use atoll_base::id::PartitionId;
use bytes::Bytes;

use super::parts::{
    read_ballot, read_configuration, read_entries, read_index, read_position, read_snapshot,
    write_ballot, write_configuration, write_entries, write_position, write_snapshot,
};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    paxos::Record,
};

/// Version of the encoded form.
const VERSION: u8 = 1;

/// A partition's record, as the journal holds it.
pub fn encode_record(partition: PartitionId, record: &Record) -> Bytes {
    let mut writer = Writer::default();
    writer.byte(VERSION).number(u64::from(partition.0));
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
            write_snapshot(&mut writer, snapshot);
        }
        Record::Compact(base) => {
            writer.byte(4);
            write_position(&mut writer, *base);
        }
    }
    writer.finish()
}

/// # Errors
/// These bytes are no record, or one of a newer version.
pub fn decode_record(bytes: Bytes) -> Result<(PartitionId, Record), CodecError> {
    let mut reader = Reader::new(bytes);
    let found = reader.byte()?;
    if found != VERSION {
        return Err(CodecError::Version {
            found,
            known: VERSION,
        });
    }
    let partition = u16::try_from(reader.number()?).map_err(|_| CodecError::Number)?;
    let record = match reader.byte()? {
        0 => Record::Promise(read_ballot(&mut reader)?),
        1 => Record::Configure(read_configuration(&mut reader)?),
        2 => Record::Append {
            after: read_index(&mut reader)?,
            entries: read_entries(&mut reader)?,
        },
        3 => Record::Install(read_snapshot(&mut reader)?),
        4 => Record::Compact(read_position(&mut reader)?),
        mark => return Err(CodecError::Mark(mark)),
    };
    reader.finish()?;
    Ok((PartitionId(partition), record))
}
