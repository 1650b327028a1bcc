//! What nodes send each other about eventual partitions: many parcels in one frame of a peer
//! link. They have a service of their own there, so that a node of a version without eventual
//! keyspaces loses nothing else with them.

use atoll_base::id::{PartitionId, ReplicaId};
use bytes::Bytes;

use super::{error::DecodeError, message::Packet, quorum::Level};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    keyspaces::KeyspaceNumber,
    machine::{ANSWER_BYTES_MAX, Answered},
    reply::Reply,
};

/// Version of the encoded form.
const VERSION: u8 = 1;

/// A partition of a keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId {
    /// The keyspace.
    pub keyspace: KeyspaceNumber,
    /// The partition.
    pub partition: PartitionId,
}

/// One thing that a node tells another about a partition.
#[derive(Clone, Debug, PartialEq)]
pub enum Parcel {
    /// Between replicas.
    Packet(Packet),
    /// From a node that holds no replica that takes commands: do this for a client there.
    Request {
        /// The sender's number for it.
        id: u64,
        /// How many replicas have to have it, if it writes.
        write: Level,
        /// How many have to be asked, if it reads.
        read: Level,
        /// The command.
        words: Vec<Bytes>,
    },
    /// What became of it.
    Response {
        /// The number of the request.
        id: u64,
        /// The reply; none if nothing was done, so that somebody else may be asked.
        reply: Option<Reply>,
    },
}

/// Parcels for one node, being gathered.
#[derive(Debug)]
pub struct Bundle(Writer);

impl Bundle {
    /// Without parcels. `sender` is the replica that speaks.
    pub fn new(sender: ReplicaId) -> Bundle {
        let mut writer = Writer::default();
        writer.byte(VERSION).number(sender.0);
        Bundle(writer)
    }

    /// Adds a parcel.
    pub fn add(&mut self, room: RoomId, parcel: &Parcel) {
        let to = &mut self.0;
        to.number(room.keyspace.0.into());
        to.number(room.partition.0.into());
        match parcel {
            Parcel::Packet(packet) => {
                to.byte(0).bytes(&packet.encode());
            }
            Parcel::Request {
                id,
                write,
                read,
                words,
            } => {
                to.byte(1).number(*id);
                to.byte(write.code()).byte(read.code()).length(words.len());
                for word in words {
                    to.bytes(word);
                }
            }
            Parcel::Response { id, reply: None } => {
                to.byte(2).number(*id);
            }
            Parcel::Response {
                id,
                reply: Some(reply),
            } => {
                to.byte(3).number(*id);
                let mut bytes = Answered::Reply(reply.clone()).encode();
                if bytes.len() > ANSWER_BYTES_MAX {
                    let text = "ERR the reply is larger than the 6 MiB that nodes pass on to each other; read it in parts, or at a node that holds a replica";
                    let refused = Reply::Error(Bytes::from_static(text.as_bytes()));
                    bytes = Answered::Reply(refused).encode();
                }
                to.bytes(&bytes);
            }
        }
    }

    /// Size so far, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// As it is sent.
    pub fn encode(self) -> Bytes {
        self.0.finish()
    }

    /// Who speaks, and the parcels.
    ///
    /// # Errors
    /// These bytes are no bundle, or one of a newer version.
    pub fn decode(bytes: Bytes) -> Result<(ReplicaId, Vec<(RoomId, Parcel)>), DecodeError> {
        let mut from = Reader::new(bytes);
        from.version(VERSION)?;
        let sender = ReplicaId(from.number()?);
        let mut parcels = Vec::new();
        while !from.is_empty() {
            let room = read_room(&mut from)?;
            parcels.push((room, read_parcel(&mut from)?));
        }
        Ok((sender, parcels))
    }
}

fn read_room(from: &mut Reader) -> Result<RoomId, CodecError> {
    let keyspace = u32::try_from(from.number()?).map_err(|_| CodecError::Number)?;
    Ok(RoomId {
        keyspace: KeyspaceNumber(keyspace),
        partition: from.partition()?,
    })
}

fn read_parcel(from: &mut Reader) -> Result<Parcel, DecodeError> {
    Ok(match from.byte()? {
        0 => Parcel::Packet(Packet::decode(from.bytes()?)?),
        1 => {
            let id = from.number()?;
            let (write, read) = (read_level(from)?, read_level(from)?);
            let count = from.count(1)?;
            let words = (0..count).map(|_| from.bytes());
            Parcel::Request {
                id,
                write,
                read,
                words: words.collect::<Result<_, _>>()?,
            }
        }
        2 => Parcel::Response {
            id: from.number()?,
            reply: None,
        },
        3 => {
            let id = from.number()?;
            match Answered::decode(from.bytes()?)? {
                Answered::Reply(reply) => Parcel::Response {
                    id,
                    reply: Some(reply),
                },
                _ => return Err(DecodeError::Impossible("an answer that is no reply")),
            }
        }
        mark => return Err(CodecError::Mark(mark).into()),
    })
}

fn read_level(from: &mut Reader) -> Result<Level, CodecError> {
    let code = from.byte()?;
    Level::of_code(code).ok_or(CodecError::Mark(code))
}
