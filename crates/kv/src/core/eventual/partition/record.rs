//! What a partition writes to disk between snapshots, and how it comes back.

use atoll_base::id::{ConfigurationNumber, ReplicaId};
use bytes::Bytes;

use super::{Partition, Settings};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    data::Milliseconds,
    eventual::{
        clock::Stamp,
        error::DecodeError,
        membership::{MEMBERS_MAX, Members},
        replica::{Delta, Replica},
        wire::{read_delta, read_flag, write_delta},
    },
};

/// Version of the encoded form of records and of snapshots.
const VERSION: u8 = 1;

/// One thing to remember.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// This was joined.
    Joined {
        /// What.
        delta: Delta,
        /// Whether what is stable was joined, too.
        is_whole: bool,
    },
    /// Every member has everything up to here.
    Settled(Stamp),
    /// These keep the partition.
    Members(Members),
    /// Whether the replica has what the members had when it came.
    Filled(bool),
    /// The clock starts from here, in milliseconds.
    Reserved(Milliseconds),
}

fn write_members(to: &mut Writer, members: &Members) {
    to.number(members.number.0).length(members.replicas.len());
    for replica in &members.replicas {
        to.number(replica.0);
    }
}

fn read_members(from: &mut Reader) -> Result<Members, DecodeError> {
    let number = ConfigurationNumber(from.number()?);
    let count = from.count(1)?;
    let mut members = Members {
        number,
        replicas: Default::default(),
    };
    for _ in 0..count {
        members.replicas.insert(ReplicaId(from.number()?));
    }
    if !(1..=MEMBERS_MAX).contains(&count) || members.replicas.len() != count {
        return Err(DecodeError::Impossible(
            "members that are none, too many or twice there",
        ));
    }
    Ok(members)
}

impl Record {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::default();
        to.byte(VERSION);
        match self {
            Record::Joined { delta, is_whole } => {
                to.byte(0).byte(u8::from(*is_whole));
                write_delta(&mut to, delta);
            }
            Record::Settled(stable) => {
                to.byte(1);
                stable.write(&mut to);
            }
            Record::Members(members) => {
                to.byte(2);
                write_members(&mut to, members);
            }
            Record::Filled(is_filled) => {
                to.byte(3).byte(u8::from(*is_filled));
            }
            Record::Reserved(reserved_ms) => {
                to.byte(4).number(*reserved_ms);
            }
        }
        to.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are no record, or one of a newer version.
    pub fn decode(bytes: Bytes) -> Result<Record, DecodeError> {
        let mut from = Reader::new(bytes);
        from.version(VERSION)?;
        let record = match from.byte()? {
            0 => Record::Joined {
                is_whole: read_flag(&mut from)?,
                delta: read_delta(&mut from)?,
            },
            1 => Record::Settled(Stamp::read(&mut from)?),
            2 => Record::Members(read_members(&mut from)?),
            3 => Record::Filled(read_flag(&mut from)?),
            4 => Record::Reserved(from.number()?),
            mark => return Err(CodecError::Mark(mark).into()),
        };
        from.finish()?;
        Ok(record)
    }
}

impl Partition {
    /// All that is to be remembered. Records from before are needed no more.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::default();
        to.byte(VERSION).byte(u8::from(self.is_filled));
        to.number(self.reserved_ms);
        write_members(&mut to, self.membership.members());
        to.bytes(&self.replica.encode());
        to.finish()
    }

    /// What it was, from the last snapshot and all records since, in their order. `run` is higher
    /// at each start.
    ///
    /// # Errors
    /// The snapshot can't be read.
    pub fn restore(
        snapshot: Bytes,
        records: impl IntoIterator<Item = Record>,
        run: u32,
        settings: Settings,
    ) -> Result<Partition, DecodeError> {
        let mut from = Reader::new(snapshot);
        from.version(VERSION)?;
        let is_filled = read_flag(&mut from)?;
        let reserved_ms = from.number()?;
        let members = read_members(&mut from)?;
        let replica = Replica::decode(&from.bytes()?)?;
        from.finish()?;
        let mut partition = Partition::of(replica, members, is_filled, run, settings);
        partition.reserved_ms = reserved_ms;
        for record in records {
            match record {
                Record::Joined { delta, is_whole } => partition.replica.rejoin(&delta, is_whole),
                Record::Settled(stable) => partition.replica.settle(stable),
                Record::Members(members) => {
                    partition.membership.configure(members);
                }
                Record::Filled(is_filled) => partition.is_filled = is_filled,
                Record::Reserved(reserved_ms) => {
                    partition.reserved_ms = partition.reserved_ms.max(reserved_ms);
                }
            }
        }
        // Who came when is not remembered.
        let number = partition.membership.number();
        let others = partition.membership.others();
        partition.since = others.map(|member| (member, number)).collect();
        let start = Stamp::of_moment(partition.reserved_ms);
        partition.replica.resume(start);
        Ok(partition)
    }
}
