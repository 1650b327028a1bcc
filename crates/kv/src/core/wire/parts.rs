//! Ballots, positions, entries and configurations.

use atoll_base::id::ReplicaId;

use crate::core::{
    codec::{CodecError, Reader, Writer},
    paxos::{
        Ballot, Configuration, Entry, LogIndex, Members, Payload, Position, Proof, Snapshot, Voters,
    },
};

/// Bytes that an entry takes at least.
const ENTRY_BYTES_MIN: usize = 5;

pub(super) fn write_ballot(writer: &mut Writer, ballot: Ballot) {
    writer
        .number(ballot.configuration)
        .number(ballot.round)
        .number(ballot.replica.0);
}

pub(super) fn read_ballot(reader: &mut Reader) -> Result<Ballot, CodecError> {
    Ok(Ballot {
        configuration: reader.number()?,
        round: reader.number()?,
        replica: ReplicaId(reader.number()?),
    })
}

pub(super) fn write_position(writer: &mut Writer, position: Position) {
    write_ballot(writer, position.birth);
    writer.number(position.index.0);
}

pub(super) fn read_position(reader: &mut Reader) -> Result<Position, CodecError> {
    Ok(Position {
        birth: read_ballot(reader)?,
        index: read_index(reader)?,
    })
}

/// An index; one that leaves room to count on.
pub(super) fn read_index(reader: &mut Reader) -> Result<LogIndex, CodecError> {
    let number = reader.number()?;
    if number > u64::MAX / 2 {
        return Err(CodecError::Number);
    }
    Ok(LogIndex(number))
}

pub(super) fn write_entries(writer: &mut Writer, entries: &[Entry]) {
    writer.length(entries.len());
    for entry in entries {
        write_position(writer, entry.position);
        match &entry.payload {
            Payload::Nothing => {
                writer.byte(0);
            }
            Payload::Batch(bytes) => {
                writer.byte(1).bytes(bytes);
            }
        }
    }
}

/// Entries that follow each other.
pub(super) fn read_entries(reader: &mut Reader) -> Result<Vec<Entry>, CodecError> {
    let count = reader.count(ENTRY_BYTES_MIN)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    for _ in 0..count {
        let position = read_position(reader)?;
        let follows = entries
            .last()
            .is_none_or(|last| last.index().next() == position.index);
        if !follows {
            return Err(CodecError::Number);
        }
        let payload = match reader.byte()? {
            0 => Payload::Nothing,
            1 => Payload::Batch(reader.bytes()?),
            mark => return Err(CodecError::Mark(mark)),
        };
        entries.push(Entry { position, payload });
    }
    Ok(entries)
}

fn write_members(writer: &mut Writer, members: &Members) {
    writer.length(members.count());
    for member in members.iter() {
        writer.number(member.0);
    }
}

fn read_members(reader: &mut Reader) -> Result<Members, CodecError> {
    let count = reader.count(1)?;
    let members: Result<_, CodecError> = (0..count)
        .map(|_| Ok(ReplicaId(reader.number()?)))
        .collect();
    Members::new(members?).ok_or(CodecError::Length { length: 0 })
}

pub(super) fn write_configuration(writer: &mut Writer, configuration: &Configuration) {
    writer.number(configuration.number);
    match &configuration.voters {
        Voters::Stable { members, proof } => {
            match proof {
                None => {
                    writer.byte(0);
                }
                Some(proof) => {
                    writer.byte(1);
                    write_position(writer, proof.committed);
                }
            }
            write_members(writer, members);
        }
        Voters::Joint { old, new } => {
            writer.byte(2);
            write_members(writer, old);
            write_members(writer, new);
        }
    }
}

pub(super) fn read_configuration(reader: &mut Reader) -> Result<Configuration, CodecError> {
    let number = reader.number()?;
    let voters = match reader.byte()? {
        0 => Voters::Stable {
            proof: None,
            members: read_members(reader)?,
        },
        1 => Voters::Stable {
            proof: Some(Proof {
                committed: read_position(reader)?,
            }),
            members: read_members(reader)?,
        },
        2 => Voters::Joint {
            old: read_members(reader)?,
            new: read_members(reader)?,
        },
        mark => return Err(CodecError::Mark(mark)),
    };
    Ok(Configuration { number, voters })
}

pub(super) fn write_snapshot(writer: &mut Writer, snapshot: &Snapshot) {
    write_position(writer, snapshot.base);
    writer.bytes(&snapshot.state);
}

pub(super) fn read_snapshot(reader: &mut Reader) -> Result<Snapshot, CodecError> {
    Ok(Snapshot {
        base: read_position(reader)?,
        state: reader.bytes()?,
    })
}
